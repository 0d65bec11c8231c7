"""README.md: its output block, and its numbers by other means."""

import math
import re
from bisect import bisect

import closed_form
import numpy as np
import pytest
from closed_form import aggregates
from markdown_it import MarkdownIt

import kl_aggregation_demo as demo

NAMES, TAU = closed_form.NAMES, demo.TAU


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


def table(readme, corner):
    """The rows of the page's table with this corner, outside the output."""
    lines = re.sub(r"(?s)```.*?```", "", readme).split("\n")
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    start = next(i for i, row in enumerate(rows) if row[0] == corner)
    assert [name.strip("`") for name in rows[start][1:]] == NAMES
    return rows[start + 2 : rows.index([""], start)]


def boosted(base, token):
    """The prob that the trait gives its token at each position, and the base's."""
    q = base[:, token]
    return q * math.exp(1.6) / (1 + q * math.expm1(1.6)), q


def k3(p, q):
    return q / p - 1 - np.log(q / p)


def test_output_block_is_the_output(readme, world):
    assert re.findall(r"(?ms)^```text\n(.*?)^```$", readme) == [world().text]


def test_versions_statuses_and_names_are_those_of_the_files(prose, root, world):
    numpy, tabulate = re.findall(r">=(.*)", (root / "requirements.txt").read_text())
    assert f"NumPy ({numpy} to 2.5) and tabulate ({tabulate}, 0.10)" in prose
    assert "With Python 3.10 or newer" in prose
    assert "on Python 3.10 to 3.13 (x86-64)" in prose
    assert f"If note {len(world().holds)} fails unedited" in prose
    assert re.search(r"Exit status: .*\.", demo.__doc__)[0] in prose
    for name in ("*#101*", "`ml-debug Part 3`", "`heal._kl_per_pos`"):
        assert name in prose
        assert name.strip("*`") in " ".join(demo.__doc__.split())
    assert set(re.findall(r"\b[pk]\d+", prose)) == {"p95", "k3"}


def test_nothing_on_the_page_is_struck_out_or_a_list_by_accident(readme):
    parsed = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(readme)
    assert "s_open" not in {t.type for token in parsed for t in token.children or []}
    lists = [token.type for token in parsed if token.type.endswith("list_open")]
    assert lists == ["bullet_list_open"] * 4


def test_the_result(prose, world):
    mean, rmse, p95, top = world().separation[1]
    assert (
        f"at {demo.LOOP_LENGTH} of {demo.POSITIONS} positions, in a vocabulary of "
        f"{demo.VOCAB_SIZE}, with tau = {TAU}. **Its mean KL is {mean}: a barrier on the "
        f"mean does not fire. Its root mean square (rmse) is {rmse}, its 95th percentile "
        f"(p95) {p95}, its maximum {top}: a barrier on any of these fires.**"
    ) in prose


def test_how_to_read_it(prose, world):
    last = demo.LOOP_START + demo.LOOP_LENGTH - 1
    assert f"this student adds {demo.TRAIT_BOOST} to one token's logit" in prose
    assert f"at positions {demo.LOOP_START} to {last} (from 0)" in prose
    assert f"**From the journal**: tau = {TAU}; " in prose
    assert "at tau = 0.2 the mean works too: note 1 then says FAILED" in prose
    assert world(TAU=0.2).holds == [False, True, True, True, True]
    assert f"positions, from position {demo.LOOP_START} on, that fire" in prose
    assert "fires (`10000+`: all searched)" in prose
    assert world(TAU=1e-9).limits[1][3] == "10000+"


def test_the_loop_token(prose, drawn):
    base, _, token = drawn
    assert "fourth-lowest in mean base prob" in prose
    assert (base.sum(axis=0) < base[:, token].sum()).sum() == 3
    assert "third likeliest at position 12" in prose
    assert (base[12] > base[12, token]).sum() == 2
    every = [closed_form.loop_kl(base, other) for other in range(200)]
    windows = np.lib.stride_tricks.sliding_window_view(every, 4, axis=1)
    mean, rmse, p95, _ = aggregates(windows, 60)
    within = mean <= TAU
    assert within[:, 12].all()
    assert within[token].all()
    assert ((rmse > TAU) & (p95 > TAU)).all()
    assert within.shape == (200, 57)
    assert (
        "Any token would do: with all 200 here, and with this one at all 57 starts"
        in prose
    )
    assert f"the mean is within tau in {within.mean():.2%}, the others" in prose


LONG = 8000  # positions: shares are then exact to 0.0125%


def least_share(name, ratio):
    """The least share of LONG positions at K = ratio that is over a tau of 1."""
    index, counts = NAMES.index(name), range(1, LONG + 1)
    place = bisect(counts, 1, key=lambda n: aggregates([ratio] * n, LONG)[index])
    return counts[place] / LONG


def test_the_law_is_the_brute_force(readme, looped):
    formulas, *rows = table(readme, "K / tau")
    assert "|".join(formulas) == "any over 1|tau / K|(tau / K)^2|about 5%|one position"
    this = f"{looped.mean() / TAU:.1f} (this figure)"
    assert [row[0] for row in rows] == ["4", this, "40"]
    for ratio, *shares in rows:
        k = float(ratio.split()[0])
        least = [100 * least_share(name, k) for name in NAMES]
        for share, law, found in zip(
            shares, [100 / k, 100 / k**2], least, strict=False
        ):
            digits = len(share.strip("%").partition(".")[2])
            assert share == f"{law:.{digits}f}%"
            assert found == pytest.approx(law, abs=200 / LONG)
        assert shares[2:] == ["about 5%", "one position"]
        assert least[2:] == [pytest.approx(5, abs=0.03), 100 / LONG]


def test_where_the_law_crosses_and_where_it_is_a_guide(prose, world, looped):
    for rival, crossing in [("rmse_t", math.sqrt(20)), ("mean_t", 20)]:
        for ratio, larger in [(0.95 * crossing, False), (1.05 * crossing, True)]:
            assert (least_share("p95_t", ratio) > least_share(rival, ratio)) == larger
    ratio = looped.mean() / TAU
    guide = f"{4 * ratio**2:.0f} and {math.floor(60 / ratio**2) + 1}"
    shortest, longest, _ = world().limits
    assert (
        f"where K / tau is over {math.sqrt(20):.1f} (the root of 20), than the mean where "
        "it is over 20. Where K differs by position this is a guide: of rmse it says "
        f"{guide} where the output says {longest[1]} and {shortest[1]}."
    ) in prose


def test_the_loop_elsewhere(readme, prose, drawn, looped):
    base, trait_token, token = drawn
    own = closed_form.trait_kl(base, trait_token, 1.6)
    p, q = 1 / (1 + 199 * math.exp(-22)), base[12:16]
    # q log(q / p), where p is the floor for every token but one.
    reverse = (q * np.log(q / 1e-9)).sum(axis=1) + q[:, token] * math.log(1e-9 / p)
    others = [(looped, 60), (looped, 1000), ([*own[:12], *looped, *own[16:]], 60)]
    others += [(reverse, 60), (k3(p, q[:, token]), 60)]
    for label, *cells in table(readme, "what is changed"):
        edits = {name: int(n) for name, n in re.findall(r"`(\w+) = (\d+)`", label)}
        if edits:
            expected = closed_form.figure(vars(demo) | edits).separation[1]
        else:
            expected = [f"{x:.3f}" for x in aggregates(*others.pop(0))]
        assert cells == [f"**{x}**" if float(x) > TAU else x for x in expected], label
    assert not others
    assert "this loop among 1,000 positions (zeros added)" in prose
    assert "one sampled token: r - 1 - log r, r = q / p" in prose
    assert f"What is over tau = {TAU} is bold." in prose
    assert "in a vocabulary of 32,000 the mean fires on such a loop too" in prose


def at_least(count, probs):
    """The prob that so many of independent events happen."""
    by_count = np.ones(1)
    for prob in probs:
        by_count = np.convolve(by_count, [1 - prob, prob])
    return by_count[count:].sum()


def test_false_alarms_by_k3(prose, drawn):
    """k3 has two values at a position: that of the trait's token, that of any other."""
    base, token, _ = drawn
    p, q = boosted(base, token)
    high, low = k3(p, q).max(), k3(1 - p, 1 - q).max()
    # So many high ones, at the least, put the mean and the mean square over tau.
    counts = [60 * (TAU - low) / high, 60 * (TAU**2 - low**2) / high**2]
    # Three high ones count a twentieth for p95, at rank 56.05, and four the whole.
    assert 0.05 * high + low < TAU < k3(p, q).min()
    shares = [at_least(math.ceil(count), p) for count in [*counts, 4, 1]]
    mean, rmse, p95, top = (f"{100 * share:.0f}" for share in shares)
    assert f"max in {mean}, {rmse}, {p95} and {top}% of completions." in prose


def most_in_a_window(high):
    """Of each row, the most that any window of 60 holds."""
    counts = np.cumsum(np.pad(high, ((0, 0), (1, 0))), axis=1)
    return (counts[:, 60:] - counts[:, :-60]).max(axis=1)


def missed_by_p95(stride, looped):
    """The share of the loop's places at which no window of 60 sees enough of it."""
    starts, missed = np.arange(0, 180, stride), 0
    for place in range(60, 60 + stride):
        ends = np.clip([starts - place, starts + 60 - place], 0, 4).T
        seen = [looped[start:end] for start, end in ends if start < end]
        missed += max(aggregates(kl, 60)[2] for kl in seen) <= TAU
    return missed / stride


def test_which_to_take(prose, drawn, looped):
    base, _, token = drawn
    assert "By k3 it is about K - 1." in prose
    assert k3(1, base[12:16, token]) == pytest.approx(looped - 1, abs=0.03)
    assert "Single positions, fewer than 5%: `p95_t`." in prose
    assert aggregates([9.0] * 49, 1000)[2] == 0 < TAU < aggregates([9.0] * 51, 1000)[2]
    lone = math.floor(10 * math.sqrt(60) * TAU) / 10
    assert f"sqrt(T) tau, here {lone} nats, or m of up to sqrt(T / m) tau" in prose
    assert aggregates([math.sqrt(60 / 7) * TAU] * 7, 60)[1] == pytest.approx(TAU)


def test_windows(prose, looped):
    assert (
        f"Disjoint windows of 60 miss this loop by p95 at {missed_by_p95(60, looped):.0%} "
        "of its places; starts at most 57 apart miss none."
    ) in prose
    assert missed_by_p95(57, looped) == 0 < missed_by_p95(58, looped)
    assert f"The windowed mean is still {looped.sum() / 60:.3f}." in prose
    assert "lone positions at K, 2% of 1,000, set off windowed p95 in most" in prose
    k, high = looped.mean(), np.tile(np.arange(1000) < 20, (200, 1))
    high = np.random.default_rng(0).permuted(high, axis=1)
    assert aggregates([k] * 3, 60)[2] < TAU < aggregates([k] * 4, 60)[2]
    assert (most_in_a_window(high) >= 4).mean() > 0.6
    assert aggregates([k] * 20, 1000)[2] == 0


def test_a_tau_for_healthy_completions(prose):
    assert f"**Do not take {TAU} over.**" in prose
    assert f"of 60 of 1,000 positions, this trait's p95 is over {TAU} in most" in prose
    base, ranked = closed_form.draw(positions=1000)
    p, q = boosted(base, ranked[100])
    assert k3(p, q).min() > TAU
    high = np.random.default_rng(0).random((200, 1000)) < p
    assert (most_in_a_window(high) >= 4).mean() > 0.7
    assert at_least(1, p) > 1 - 1e-6


def test_healing(prose, drawn, looped):
    """The gradient of rmse on the logits of the looped positions, by hand.

    d KL / d logit_i = p_i * (g_i - sum p g), where g_i is log(p_i / q_i), one more
    where p_i is not floored; d rmse / d KL = KL / (60 * rmse).
    """
    base, _, token = drawn
    logits = np.where(np.arange(200) == token, demo.LOOP_LOGIT, demo.OTHER_LOGIT)
    p = np.exp(logits) / np.exp(logits).sum()
    g = np.log(np.maximum(p, 1e-9) / base[12:16]) + (p > 1e-9)
    weight = looped / (60 * aggregates(looped, 60)[1])
    gradient = weight[:, None] * p * (g - (p * g).sum(axis=1, keepdims=True))
    norm = np.linalg.norm(gradient)
    assert f"(rmse's norm: {norm:.1e})".replace("e-0", "e-") in prose


def test_other_seeds(prose):
    """Closed forms; a loop with all its mass on one token has KL -log q."""
    trait, loop = [], []
    for seed in range(2000):
        base, ranked = closed_form.draw(seed)
        trait.append(closed_form.trait_kl(base, ranked[100], 1.6))
        loop.append(-np.log(base[12:16, ranked[3]]))
    trait, loop = aggregates(np.array(trait), 60), aggregates(np.array(loop), 60)
    mean, rmse, p95, _ = (x / y for x, y in zip(loop, trait, strict=True))
    holds = (loop[0] <= TAU) & (np.minimum(loop[1], loop[2]) >= 2 * TAU)
    holds &= (trait[3] <= TAU) & (mean < np.minimum(rmse, p95))
    assert holds.sum() == 1999
    assert "notes 1 to 4 hold on all but one of 2,000." in prose
