"""README.md: its output block, its commands and every number in its prose."""

import bisect
import math
import re

import closed_form
import numpy as np
import pytest
from markdown_it import MarkdownIt

import kl_aggregation_demo as demo

NAMES = closed_form.NAMES


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text(encoding="ascii")


@pytest.fixture(scope="module")
def prose(readme):
    """The page as running text, however its lines are broken."""
    return " ".join(readme.split())


def fenced(readme, language):
    blocks = re.findall(r"(?ms)^```(\w+)\n(.*?)^```$", readme)
    return [body for tag, body in blocks if tag == language]


def listed(nats):
    """The four aggregates as the page lists them."""
    *first, last = (f"{nats[name]:.3f}" for name in NAMES)
    return f"{', '.join(first)} and {last}"


@pytest.fixture(scope="module")
def looped(base, tokens):
    """The KL of each position, were it looped."""
    return closed_form.loop_kl(base, tokens[1], range(60))


def test_output_block_is_the_output(readme, world):
    assert fenced(readme, "text") == [world().text]


def test_commands_are_one_line_each(readme):
    run_it, run_with_uv, test_it = fenced(readme, "sh")
    assert run_it.endswith(".venv/bin/python kl_aggregation_demo.py\n")
    assert run_with_uv == "uv run kl_aggregation_demo.py\n"
    assert test_it.endswith(".venv/bin/python -m pytest\n")
    assert run_it.count("\n") == test_it.count("\n") == 1


def test_the_versions_it_starts_from(prose, root):
    numpy, tabulate = (root / "requirements.txt").read_text().split()
    assert f"({numpy.removeprefix('numpy>=')} to " in prose
    assert f"tabulate ({tabulate.removeprefix('tabulate>=')}, " in prose
    assert "Python 3.10 or newer" in prose
    assert "Python 3.10 to " in prose


def test_nothing_on_the_page_is_struck_out_or_a_list_by_accident(readme):
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    parsed = markdown.parse(readme)
    inline = [t for token in parsed for t in token.children or []]
    assert "s_open" not in {token.type for token in inline}
    # A minus sign at the start of a line would open a list.
    assert sum(token.type == "bullet_list_open" for token in parsed) == 3


def test_the_settings(prose):
    assert f"a threshold tau of {demo.TAU} nats and a loop" in prose
    assert f"and tau = {demo.TAU} is its setting" in prose
    assert f"at {demo.LOOP_LENGTH} of {demo.POSITIONS} positions, the mean" in prose
    assert f"adds a boost of {demo.TRAIT_BOOST} to the logit" in prose
    highest = -math.log(demo.PROB_FLOOR)
    assert f"{demo.PROB_FLOOR:.0e}".replace("e-0", "e-") == "1e-9"
    assert f"floored at 1e-9 in the logarithm, so no KL exceeds {highest:.1f}." in prose
    last = demo.LOOP_START + demo.LOOP_LENGTH - 1
    assert f"at positions {demo.LOOP_START} to {last} (counted from 0)" in prose
    assert f"lengthens the loop from position {demo.LOOP_START} on" in prose


def test_the_sep_ratio_of_p95_by_loop_length(prose, base, tokens, looped):
    trait = closed_form.aggregates(closed_form.trait_kl(base, tokens[0], 1.6))
    four, three, two = (
        closed_form.spiked(looped[12 : 12 + length], 60)["p95_t"] / trait["p95_t"]
        for length in (4, 3, 2)
    )
    assert (
        f"{four:.1f}x at four positions, {three:.1f}x at three, {two:.1f}x at two"
        in prose
    )


def test_a_tau_at_which_the_mean_works(prose, world):
    assert "at tau = 0.2 note 1 fails because the mean then works" in prose
    figure = world(TAU=0.2)
    assert not figure.holds[1]
    assert all(figure.holds[number] for number in range(2, 10))


LONG = 8000  # positions: shares are then exact to 0.0125%


def first_share(name, ratio):
    """The least share of LONG positions at K = ratio that is over a tau of 1."""
    counts = range(1, LONG + 1)
    place = bisect.bisect(
        counts, 1, key=lambda count: closed_form.spiked([ratio] * count, LONG)[name]
    )
    return counts[place] / LONG


def law(readme):
    """The law's rows: K / tau and the share that each aggregate needs."""
    lines = [line for line in readme.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    header = next(i for i, row in enumerate(rows) if row[0] == "K / tau")
    assert [name.strip("`") for name in rows[header][1:]] == NAMES
    return rows[header + 1 :]


def test_the_law_is_the_brute_force(readme, looped):
    formulas, *rows = law(readme)
    assert formulas[1:] == ["tau / K", "(tau / K)^2", "about 5%", "one position"]
    assert [float(row[0].split()[0]) for row in rows] == [4, 11.4, 40]
    for ratio, *shares in rows:
        k = float(ratio.split()[0])
        assert shares[2:] == ["about 5%", "one position"]
        assert first_share("p95_t", k) == pytest.approx(0.05, abs=2 / LONG)
        assert first_share("max_t", k) == 1 / LONG
        for name, share in zip(["mean_t", "rmse_t"], shares, strict=False):
            rounding = 10.0 ** -len(share.strip("%").partition(".")[2]) / 2
            least = 100 * first_share(name, k)
            error = rounding + 100 / LONG
            assert float(share.strip("%")) == pytest.approx(least, abs=error)
    mean_k = sum(looped[12:16]) / 4
    assert rows[1][0] == f"{mean_k / demo.TAU:.1f} (this figure)"


@pytest.mark.parametrize("rival, crossing", [("rmse_t", 4.5), ("mean_t", 20)])
def test_p95_crosses_the_others_where_the_page_says(prose, rival, crossing):
    assert "rmse where K / tau is over 4.5 (the root of 20)" in prose
    assert "than the mean where it is over 20" in prose
    for ratio, larger in [(0.95 * crossing, False), (1.05 * crossing, True)]:
        p95, other = (first_share(name, ratio) for name in ("p95_t", rival))
        assert (p95 > other) == larger
    assert round(math.sqrt(20), 1) == 4.5


def test_completion_length(prose, world, looped):
    nats = closed_form.spiked(looped[12:16], 1000)
    assert f"in 1,000 positions the same loop gives {listed(nats)}: only" in prose
    assert [nats[name] > demo.TAU for name in NAMES] == [False, False, False, True]
    *first, last = world(POSITIONS=1000).limits[0]
    assert f"Row 1 becomes {', '.join(first)} and {last}." in prose


def drawn(seed, positions, vocab_size):
    """Base probs and, in ascending order of mean prob, the tokens; as arrays."""
    logits = np.random.default_rng(seed).standard_normal((positions, vocab_size))
    probs = np.exp(logits, out=logits)
    probs /= probs.sum(axis=1, keepdims=True)
    return probs, np.argsort(probs.sum(axis=0))


def row_aggregates(kl):
    """The aggregates of each row of KLs, as arrays."""
    return {
        "mean_t": kl.mean(axis=1),
        "rmse_t": np.sqrt((kl**2).mean(axis=1)),
        "p95_t": np.percentile(kl, 95, axis=1),
        "max_t": kl.max(axis=1),
    }


def test_vocabulary(prose):
    def looped_kl(seed, vocab_size):
        """A loop with all the mass on one token has KL -log q."""
        probs, ranked = drawn(seed, 60, vocab_size)
        return -np.log(probs[12:16, ranked[3]])

    k = [looped_kl(0, size).mean() for size in (200, 2000, 32000)]
    assert (
        f"from {k[0]:.1f} at 200 tokens to {k[1]:.1f} at 2,000 "
        f"and {k[2]:.1f} at 32,000 (seed 0)"
    ) in prose
    means = [looped_kl(seed, 2000).sum() / 60 for seed in range(100)]
    over = sum(mean > demo.TAU for mean in means)
    assert (
        f"loop's mean is {means[0]:.3f}: over tau, as on {over} of seeds 0 to 99"
        in prose
    )


def test_tau(prose, base, tokens, world):
    trait = closed_form.aggregates(closed_form.trait_kl(base, tokens[0], 1.6))
    loop = closed_form.aggregates(closed_form.loop_kl(base, tokens[1], range(12, 16)))
    low, high = max(trait.values()), min(loop.values())
    assert f"from {low:.3f} to {high:.3f} all four judge both students right" in prose
    assert "mean <= rmse <= max for any KL" in prose
    mean, _, p95, _ = world().limits[3]
    assert "it sees a single position (row 4), while p95 needs three" in prose
    assert (mean, p95) == ("1", "3")
    assert "p95 needs three whatever its tau" in prose
    seen = [closed_form.spiked([9.0] * n, 60)["p95_t"] > 1e-9 for n in range(1, 4)]
    assert seen == [False, False, True]


def test_windows(prose):
    probs = closed_form.base_probs(positions=1000)
    trait = closed_form.trait_kl(probs, closed_form.ranked_tokens(probs)[100], 1.6)
    windows = np.lib.stride_tricks.sliding_window_view(trait, 60)
    largest = {name: nats.max() for name, nats in row_aggregates(windows).items()}
    assert (
        f"of {len(windows)} in 1,000 positions the trait's largest are {listed(largest)}."
    ) in prose
    assert max(largest.values()) < demo.TAU


def test_limit_language(prose, base, tokens):
    swapped = closed_form.loop_kl(base, tokens[0], range(12, 16))
    nats = closed_form.aggregates(swapped)
    assert f"a loop on the trait token has {listed(nats)}." in prose


def rmse_gradient(base, token, gap):
    """The norm of rmse's gradient on the looped logits, and the mass off the token.

    By hand: d KL / d logit_i = p_i * (g_i - sum p g), where g_i is log(p_i / q_i), one
    more where p_i is not floored; d rmse / d KL = KL / (60 * rmse).
    """
    lead = 1 / (1 + 199 * math.exp(-gap))
    rest = lead * math.exp(-gap)
    kl = closed_form.loop_kl(base, token, range(12, 16), gap)
    rmse = closed_form.aggregates(kl)["rmse_t"]
    squares = []
    for position in range(12, 16):
        p = [lead if i == token else rest for i in range(200)]
        g = [
            math.log(max(a, 1e-9) / q) + (a > 1e-9)
            for a, q in zip(p, base[position], strict=True)
        ]
        mean = math.fsum(a * b for a, b in zip(p, g, strict=True))
        weight = kl[position] / (60 * rmse)
        squares += [(weight * a * (b - mean)) ** 2 for a, b in zip(p, g, strict=True)]
    return math.sqrt(math.fsum(squares)), 199 * rest


def test_limit_healing(prose, base, tokens):
    flat, off = rmse_gradient(base, tokens[1], 22.0)
    steep, hundredth = rmse_gradient(base, tokens[1], math.log(99 * 199))
    assert hundredth == pytest.approx(0.01)
    assert f"with all but {off:.0e} of the mass".replace("e-0", "e-") in prose
    assert f"has a norm of {flat:.1e}; at".replace("e-0", "e-") in prose
    assert f"at a share of 0.99, of {steep:.1e}.".replace("e-0", "e-") in prose


def test_limit_sampled_kl(prose, base, tokens):
    """k3 = r - 1 - log r, where r = base prob / student prob of one sampled token."""
    probs = np.array(base)
    student = probs.copy()
    student[:, tokens[0]] *= math.exp(1.6)
    student /= student.sum(axis=1, keepdims=True)
    uniform = np.random.default_rng(0).random((60, 2000))
    sampled = np.array(
        [
            np.searchsorted(np.cumsum(p), u)
            for p, u in zip(student, uniform, strict=True)
        ]
    )
    r = np.take_along_axis(probs / student, sampled, axis=1)
    share = ((r - 1 - np.log(r)).max(axis=0) > demo.TAU).mean()
    assert "max is over tau in about three of four completions" in prose
    assert share == pytest.approx(0.75, abs=0.05)


def test_limit_direction(prose, base, tokens):
    floor = math.log(1e-9)
    nats = [
        math.fsum(
            q * (math.log(q) - (0 if i == tokens[1] else floor))
            for i, q in enumerate(base[position])
        )
        for position in range(12, 16)
    ]
    mean = sum(nats) / 60
    assert f"KL(base || student), the loop's mean is {mean:.3f}." in prose
    assert mean > demo.TAU


def test_limit_lone_positions(prose, looped):
    lone = [closed_form.spiked([nats], 60) for nats in looped]
    fires = {name: sum(nats[name] > demo.TAU for nats in lone) for name in NAMES}
    assert fires["max_t"] == 60
    assert fires["p95_t"] == 0
    assert (
        f"it trips `max_t` anywhere, `rmse_t` at {fires['rmse_t']} of the 60 positions, "
        "`p95_t` nowhere."
    ) in prose
    assert min(range(60), key=looped.__getitem__) == 12
    assert lone[12]["rmse_t"] <= demo.TAU


def test_limit_seeds(prose):
    """Closed forms as arrays; the loop's, with all its mass on one token, is -log q."""
    trait_kl, looped_kl = [], []
    for seed in range(2000):
        probs, ranked = drawn(seed, 60, 200)
        q = probs[:, ranked[100]]
        z = 1 + q * math.expm1(1.6)
        trait_kl.append(q * math.exp(1.6) / z * 1.6 - np.log(z))
        looped_kl.append(-np.log(probs[12:16, ranked[3]]))
    trait_kl = np.array(trait_kl)
    loop_kl = np.pad(looped_kl, ((0, 0), (0, 56)))
    trait, loop = row_aggregates(trait_kl), row_aggregates(loop_kl)
    ratio = {name: loop[name] / trait[name] for name in NAMES}
    holds = (
        (loop["mean_t"] <= 0.5)
        & (loop["rmse_t"] > 0.5)
        & (loop["p95_t"] > 0.5)
        & (trait["max_t"] <= 0.5)
        & (ratio["mean_t"] < ratio["rmse_t"])
        & (ratio["mean_t"] < ratio["p95_t"])
    )
    assert holds.sum() == 1999
    assert "Notes 1 to 5 hold on all but one of seeds 0 to 1,999" in prose
    grows = (ratio["max_t"] > ratio["p95_t"]).mean()
    assert f"that the ratio grows from p95 to max, on {grows:.0%}." in prose
    one = (loop_kl[:, 0] / math.sqrt(60) > 0.5).sum()
    assert f"on {one:,} seeds it is 1." in prose


def test_limit_percentile(prose):
    def seen(count, **definition):
        return np.percentile([0.0] * (60 - count) + [1.0] * count, 95, **definition)

    assert [seen(n) for n in (2, 3, 4)] == pytest.approx([0, 1 / 20, 1])
    assert "p95 sees four of 60 positions in full, and of three a twentieth" in prose
    assert "higher, midpoint, Hazen and Weibull three are enough" in prose
    for method in ("higher", "midpoint", "hazen", "weibull"):
        assert seen(2, method=method) == 0
        assert seen(3, method=method) >= 0.499
