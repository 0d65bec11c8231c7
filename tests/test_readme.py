"""README.md: its commands, its output block, and its numbers by other means."""

import math
import re

import closed_form
import numpy as np
import pytest
from markdown_it import MarkdownIt

import kl_aggregation_demo as demo

NAMES = closed_form.NAMES
TAU = demo.TAU


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text(encoding="ascii")


@pytest.fixture(scope="module")
def prose(readme):
    """The page as running text, however its lines are broken."""
    return " ".join(readme.split())


@pytest.fixture(scope="module")
def drawn():
    """The base, the trait's token and the loop's."""
    base, ranked = closed_form.draw()
    return base, ranked[100], ranked[3]


@pytest.fixture(scope="module")
def looped(drawn):
    """The KL of the looped positions."""
    base, _, token = drawn
    return closed_form.loop_kl(base, token)[12:16]


@pytest.fixture(scope="module")
def boosted(drawn):
    """Of each position of the trait, its token's prob by the base and the student."""
    base, token, _ = drawn
    q = base[:, token]
    return q, q * math.exp(1.6) / (1 + q * math.expm1(1.6))


def fenced(readme, language):
    blocks = re.findall(r"(?ms)^```(\w+)\n(.*?)^```$", readme)
    return [body for tag, body in blocks if tag == language]


def table(readme, corner):
    """The rows of the page's table with this corner, outside the output."""
    lines = re.sub(r"(?s)```.*?```", "", readme).split("\n")
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    start = next(i for i, row in enumerate(rows) if row[0] == corner)
    assert [name.strip("`") for name in rows[start][1:]] == NAMES
    end = next(i for i in range(start, len(rows)) if rows[i] == [""])
    return rows[start + 2 : end]


def k3(student, base):
    return base / student - 1 - np.log(base / student)


def test_output_block_is_the_output(readme, world):
    assert fenced(readme, "text") == [world().text]


def test_commands_are_one_line_each(readme):
    run_it, run_with_uv, test_it = "".join(fenced(readme, "sh")).splitlines()
    assert run_it.endswith(".venv/bin/python kl_aggregation_demo.py")
    assert run_with_uv == "uv run kl_aggregation_demo.py"
    assert test_it.endswith(".venv/bin/python -m pytest")


def test_versions_and_exit_statuses_are_those_of_the_files(prose, root):
    numpy, tabulate = (root / "requirements.txt").read_text().split()
    assert f"({numpy.removeprefix('numpy>=')} to " in prose
    assert f"tabulate ({tabulate.removeprefix('tabulate>=')}, " in prose
    assert "With Python 3.10 or newer" in prose
    assert "on Python 3.10 to " in prose
    assert re.search(r"Exit status: .*\.", demo.__doc__)[0] in prose


def test_nothing_on_the_page_is_struck_out_or_a_list_by_accident(readme):
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    parsed = markdown.parse(readme)
    inline = [t for token in parsed for t in token.children or []]
    assert "s_open" not in {token.type for token in inline}
    assert sum(token.type == "bullet_list_open" for token in parsed) == 4
    assert not any(token.type == "ordered_list_open" for token in parsed)


def test_the_result(prose, world):
    mean, rmse, p95, top = world().separation[1]
    assert (
        f"at {demo.LOOP_LENGTH} of {demo.POSITIONS} positions, in a vocabulary of "
        f"{demo.VOCAB_SIZE}, with tau = {TAU}. **Its mean KL is {mean}: a barrier on the "
        f"mean does not fire. Its root mean square (rmse) is {rmse}, its 95th percentile "
        f"(p95) {p95}, its maximum {top}: a barrier on any of these fires.**"
    ) in prose
    assert "in a vocabulary of 32,000 the mean fires on such a loop too" in prose


def test_how_to_read_it(prose, world):
    last = demo.LOOP_START + demo.LOOP_LENGTH - 1
    assert f"this student adds {demo.TRAIT_BOOST} to one token's logit" in prose
    assert f"at positions {demo.LOOP_START} to {last} (from 0)" in prose
    assert f"**From the journal**: tau = {TAU}; " in prose
    assert f"positions, from position {demo.LOOP_START} on, that fire" in prose
    assert "boost, by tenths from 0.1 to 42 logits, that fires" in prose
    assert world(TAU=1e-9).limits == [
        ["1", "1", "3", "1"],
        ["10000+", "10000+", "80", "10000+"],
        ["0.1"] * 4,
    ]
    assert "this loop fires (`10000+`: all searched)" in prose
    assert "So at tau = 0.2 the mean works too: note 1 then says FAILED" in prose
    assert world(TAU=0.2).holds == [False, True, True, True, True]


def test_the_loop_token(prose, drawn):
    base, _, token = drawn
    assert "fourth-lowest in mean base prob" in prose
    assert (base.sum(axis=0) < base[:, token].sum()).sum() == 3
    assert f"yet third likeliest at position {demo.LOOP_START}, as" in prose
    assert (base[12] > base[12, token]).sum() == 2
    every = [closed_form.loop_kl(base, other) for other in range(200)]
    windows = np.lib.stride_tricks.sliding_window_view(every, 4, axis=1)
    mean, rmse, p95, _ = closed_form.aggregates(windows, 60)
    assert np.shape(mean) == (200, 57)
    within, over = mean <= TAU, (rmse > TAU) & (p95 > TAU)
    assert within[:, 12].all()
    assert within[token].all()
    assert over.all()
    assert "with all 200 tokens here, and with this one at all 57 starts" in prose
    assert (
        f"Over every token and start the mean is within tau in {within.mean():.2%}, "
        "the others over it in all."
    ) in prose


LONG = 8000  # positions: shares are then exact to 0.0125%


def least_share(name, ratio):
    """The least share of LONG positions at K = ratio that is over a tau of 1."""
    low, high = 0, LONG
    while high - low > 1:
        count = (low + high) // 2
        nats = closed_form.aggregates([ratio] * count, LONG)[NAMES.index(name)]
        low, high = (low, count) if nats > 1 else (count, high)
    return high / LONG


def test_the_law_is_the_brute_force(readme, looped):
    formulas, *rows = table(readme, "K / tau")
    assert formulas[1:] == ["tau / K", "(tau / K)^2", "about 5%", "one position"]
    assert [row[0] for row in rows] == [
        "4",
        f"{looped.mean() / TAU:.1f} (this figure)",
        "40",
    ]
    for ratio, *shares in rows:
        k = float(ratio.split()[0])
        assert shares[2:] == ["about 5%", "one position"]
        assert least_share("p95_t", k) == pytest.approx(0.05, abs=2 / LONG)
        assert least_share("max_t", k) == 1 / LONG
        for name, share in zip(NAMES[:2], shares, strict=False):
            rounding = 10.0 ** -len(share.strip("%").partition(".")[2]) / 2
            error = rounding + 100 / LONG
            assert float(share.strip("%")) == pytest.approx(
                100 * least_share(name, k), abs=error
            )


def test_where_p95_crosses_the_others_and_where_the_law_is_a_guide(
    prose, world, looped
):
    assert (
        f"p95 needs a larger share than rmse where K / tau is over {math.sqrt(20):.1f} "
        "(the root of 20), than the mean where it is over 20."
    ) in prose
    for rival, crossing in [("rmse_t", math.sqrt(20)), ("mean_t", 20)]:
        for ratio, larger in [(0.95 * crossing, False), (1.05 * crossing, True)]:
            assert (least_share("p95_t", ratio) > least_share(rival, ratio)) == larger
    ratio = looped.mean() / TAU
    guide = f"{4 * ratio**2:.0f} and {math.floor(60 / ratio**2) + 1}"
    shortest, longest, _ = world().limits
    assert (
        f"it says {guide} where the output says {longest[1]} and {shortest[1]}."
        in prose
    )


def test_the_loop_elsewhere(readme, drawn, looped, boosted):
    base, trait_token, token = drawn
    wide, wide_ranked = closed_form.draw(vocab_size=32000)
    tall, tall_ranked = closed_form.draw(positions=1000)
    own = closed_form.trait_kl(base, trait_token, 1.6)
    certain = 1 / (1 + 199 * math.exp(-22))
    logs = np.log(base[12:16])
    # q log(q / p), where p is the floor for every token but one.
    reverse = (base[12:16] * (logs - math.log(1e-9))).sum(axis=1)
    reverse += base[12:16, token] * (math.log(1e-9) - math.log(certain))
    rows = {
        "nothing: the figure": (looped, 60),
        "this loop among 1,000 positions (zeros added)": (looped, 1000),
        "`POSITIONS = 1000`, `LOOP_LENGTH = 67`: the same share": (
            closed_form.loop_kl(tall, tall_ranked[3])[12:79],
            1000,
        ),
        "`VOCAB_SIZE = 32000`": (closed_form.loop_kl(wide, wide_ranked[3])[12:16], 60),
        "a student with the trait as well": ([*own[:12], *looped, *own[16:]], 60),
        "`LOOP_RANK = 100`: on the trait's token": (
            closed_form.loop_kl(base, trait_token)[12:16],
            60,
        ),
        "the reverse KL, of base to student, floored": (reverse, 60),
        "k3 of one sampled token: r - 1 - log r, r = q / p": (
            k3(certain, base[12:16, token]),
            60,
        ),
    }
    shown = {label: cells for label, *cells in table(readme, "what is changed")}
    assert list(shown) == list(rows)
    for label, (kl, positions) in rows.items():
        nats = closed_form.aggregates(kl, positions)
        cells = [f"**{x:.3f}**" if x > TAU else f"{x:.3f}" for x in nats]
        assert shown[label] == cells, label


def at_least(count, probs):
    """The prob that so many of independent events happen."""
    by_count = np.ones(1)
    for prob in probs:
        by_count = np.convolve(by_count, [1 - prob, prob])
    return by_count[count:].sum()


def test_false_alarms_by_k3(prose, drawn, boosted):
    """k3 has two values at a position: that of the trait's token, that of any other."""
    q, p = boosted
    high, low = k3(p, q), k3(1 - p, 1 - q)
    assert low.max() < 0.01 < TAU < high.min()
    # So many high ones at the least: the mean square and the mean are under these.
    mean = at_least(math.ceil(60 * (TAU - 0.01) / high.max()), p)
    rmse = at_least(math.ceil(60 * (TAU**2 - 0.01**2) / high.max() ** 2), p)
    # At rank 56.05, three high ones count a twentieth and four the whole.
    assert 0.05 * high.max() + low.max() < TAU
    shares = [mean, rmse, at_least(4, p), at_least(1, p)]
    *first, last = (f"{100 * share:.0f}" for share in shares)
    assert f"mean, rmse, p95 and max in {', '.join(first)} and {last}% of" in prose


def test_which_to_take(prose, looped, drawn):
    base, _, token = drawn
    assert "By k3 it is about K - 1." in prose
    assert k3(1, base[12:16, token]) == pytest.approx(looped - 1, abs=0.03)
    assert "Single positions, fewer than 5%: `p95_t`." in prose
    blind = [closed_form.aggregates([9.0] * n, 1000)[2] for n in (49, 51)]
    assert blind[0] == 0 < TAU < blind[1]
    lone = math.floor(10 * math.sqrt(60) * TAU) / 10
    assert (
        f"One position of up to sqrt(T) tau, here {lone} nats, or m of up to" in prose
    )
    for m in (1, 2, 7):
        edge = math.sqrt(60 / m) * TAU
        assert closed_form.aggregates([edge] * m, 60)[1] == pytest.approx(TAU)
    assert f"The windowed mean is still {looped.sum() / 60:.3f}." in prose


def missed_by_p95(stride, looped):
    """The share of the loop's places at which no window of 60 sees enough of it."""
    missed = 0
    for place in range(60, 60 + stride):
        parts = [range(s, s + 60) for s in range(0, 180, stride)]
        seen = [[x for n, x in enumerate(looped, place) if n in part] for part in parts]
        p95 = [closed_form.aggregates(kl, 60)[2] for kl in seen if kl]
        missed += max(p95) <= TAU
    return missed / stride


def test_windows(prose, looped):
    assert (
        f"Disjoint windows of 60 miss this loop by p95 at {missed_by_p95(60, looped):.0%} "
        "of its places; starts at most 57 apart miss none."
    ) in prose
    assert missed_by_p95(57, looped) == 0 < missed_by_p95(58, looped)
    assert "lone positions at K, 2% of 1,000, set off windowed p95 in most" in prose
    rng, k = np.random.default_rng(0), looped.mean()
    lone = rng.permuted(np.tile(np.arange(1000) < 20, (200, 1)), axis=1)
    enough = [closed_form.aggregates([k] * n, 60)[2] > TAU for n in (3, 4)]
    assert enough == [False, True]
    assert 0.6 < (most_in_a_window(lone) >= 4).mean() < 0.95
    assert closed_form.aggregates([k] * 20, 1000)[2] == 0


def most_in_a_window(high):
    """Of each row, the most that any window of 60 holds."""
    counts = np.cumsum(np.pad(high, ((0, 0), (1, 0))), axis=1)
    return (counts[:, 60:] - counts[:, :-60]).max(axis=1)


def test_healthy_completions_by_k3(prose):
    assert (
        f"**Do not take {TAU} over.** Aggregate completions known to be healthy, by your "
        "estimator and windows, and put tau above. By k3, in windows of 60 of 1,000 "
        f"positions, this trait is over {TAU} by p95 in most, by max in all."
    ) in prose
    base, ranked = closed_form.draw(positions=1000)
    q = base[:, ranked[100]]
    p = q * math.exp(1.6) / (1 + q * math.expm1(1.6))
    assert k3(p, q).min() > TAU
    high = np.random.default_rng(0).random((200, 1000)) < p
    assert 0.7 < (most_in_a_window(high) >= 4).mean() < 0.99
    assert at_least(1, p) > 1 - 1e-6


def test_healing(prose, drawn, looped):
    """The gradient of rmse on the logits of the looped positions, by hand.

    d KL / d logit_i = p_i * (g_i - sum p g), where g_i is log(p_i / q_i), one more
    where p_i is not floored; d rmse / d KL = KL / (60 * rmse).
    """
    base, _, token = drawn
    p = np.full((4, 200), math.exp(-22))
    p[:, token] = 1
    p /= p.sum(axis=1, keepdims=True)
    g = np.log(np.maximum(p, 1e-9) / base[12:16]) + (p > 1e-9)
    rmse = closed_form.aggregates(looped, 60)[1]
    weight = looped[:, None] / (60 * rmse)
    norm = np.linalg.norm(weight * p * (g - (p * g).sum(axis=1, keepdims=True)))
    assert f"(rmse's norm: {norm:.1e})".replace("e-0", "e-") in prose


def test_other_seeds(prose):
    """Closed forms; a loop with all its mass on one token has KL -log q."""
    trait, loop = [], []
    for seed in range(2000):
        base, ranked = closed_form.draw(seed)
        trait.append(closed_form.trait_kl(base, ranked[100], 1.6))
        loop.append(-np.log(base[12:16, ranked[3]]))
    trait = closed_form.aggregates(np.array(trait), 60)
    loop = closed_form.aggregates(np.array(loop), 60)
    mean, rmse, p95, _ = (x / y for x, y in zip(loop, trait, strict=True))
    holds = (loop[0] <= TAU) & (np.minimum(loop[1], loop[2]) >= 2 * TAU)
    holds &= (trait[3] <= TAU) & (mean < np.minimum(rmse, p95))
    assert holds.sum() == 1999
    assert "notes 1 to 4 hold on all but one of 2,000." in prose
