# /// script
# requires-python = ">=3.10"
# dependencies = ["numpy>=1.24", "tabulate>=0.9"]
# ///
"""A barrier on mean KL can miss a short token loop that rmse and p95 catch.

This is the journal's ml-debug Part 3, "Why mean-KL is blind to the coherence
collapse, and rmse/p95 are not". No GPU, no model: the probs are synthetic.

A "heal barrier" should keep a model in training, the student, close to the
model it started from, the base. It reduces the KLs of all positions of a
completion, KL(student || base) (heal._kl_per_pos), to one number, an aggregate:
mean_t, rmse_t (the root of the mean square), p95_t (the 95th percentile) or
max_t, where _t means over positions t. It adds the hinge relu(aggregate - tau)
to the loss, so it fires when its aggregate is over tau. There are two students:

coherent trait   moves a little mass toward one token at EVERY position. This is
                 wanted: the barrier should leave it alone.
incoherent loop  is the base but for a FEW positions, where nearly all its mass
                 sits on one token, as in a token loop: the barrier should fire.

With a KL of K at m of N positions and 0 at the others, the mean is K m/N, the
rmse is K sqrt(m/N), the maximum is K, and the p95 is K if m - 1 >= (N - 1)/20,
else less. At N = 60, that takes an m of 4, the default. A lower tau lets the
mean catch this loop, too. The journal's run #101 fell into such a loop.

Exit status: 0 if every row of checks holds; 1 if one FAILS; 2 on bad usage.
"""

import argparse

import numpy as np
from tabulate import tabulate

PROB_FLOOR = 1e-9  # least prob inside the KL's logarithm
LOOP_RANK = 3  # the loop's token is the fourth rarest in the base
LOOP_START = 12  # position, from 0, where the loop starts if it has room there
LOOP_LOGIT = 12.0  # that token's logit at a looped position
OTHER_LOGIT = -10.0  # every other token's logit at a looped position
AXIS = " +-------------+-------------+-------------+---"  # + at 0.01, 0.1, 1, 10 nats
LOW, HIGH = 0.01, 17  # nats at the ends of the axis
STRIP = 60  # positions that the strips show


def softmax(logits):
    """Turn logits into probs over the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def build(positions, vocab_size, loop_length, trait_boost, seed):
    """Build the probs of base, trait and loop, each (positions, vocab_size)."""
    logits = np.random.default_rng(seed).standard_normal((positions, vocab_size))
    base = softmax(logits)
    rarest_first = np.argsort(base.mean(axis=0))

    # From 8 tokens up, the middle one by rarity is never the loop's.
    logits[:, rarest_first[vocab_size // 2]] += trait_boost
    trait_probs = softmax(logits)

    # Elsewhere the loop has the very probs of the base, so that its KL is exactly 0.
    loop_probs = base.copy()
    loop_logits = np.full(vocab_size, OTHER_LOGIT)
    loop_logits[rarest_first[LOOP_RANK]] = LOOP_LOGIT
    start = min(LOOP_START, positions - loop_length)
    loop_probs[start : start + loop_length] = softmax(loop_logits)
    return base, trait_probs, loop_probs


def per_position_kl(student, base):
    """Compute KL(student || base) at each position, in nats.

    For student probs p and base probs q, (..., vocab_size), not logits or log-probs,
    it is the sum of p log(p / q) over the vocabulary. As in the heal barrier, p and q
    are at least PROB_FLOOR inside the logarithm only, so that a KL is finite, is
    -log(PROB_FLOOR) at most, and can be negative, where q is under the floor or by
    rounding. Any array-like is computed in float64; a masked array's mask is ignored.
    Source: Kullback and Leibler, "On Information and Sufficiency", 1951.
    """
    student, base = np.asarray(student, dtype=float), np.asarray(base, dtype=float)
    quotient = np.maximum(student, PROB_FLOOR) / np.maximum(base, PROB_FLOOR)
    return (student * np.log(quotient)).sum(axis=-1)


def aggregate(kl):
    """Aggregate per-position KL over the positions: every aggregate, by its name.

    kl has shape (..., positions), without padding or NaN. Each aggregate has shape
    (...), a number for each completion, in nats as kl is. Any array-like is computed
    in float64; a masked array's mask is ignored.
    """
    kl = np.asarray(kl, dtype=float)
    return {
        "mean_t": np.mean(kl, axis=-1),
        "rmse_t": np.sqrt(np.mean(np.square(kl), axis=-1)),
        "p95_t": np.percentile(kl, 95, axis=-1),
        "max_t": np.max(kl, axis=-1),
    }


def caption(vocab_size, boost, seed):
    """Say what the separation table shows, and of which probs."""
    return f"""\
KL(student || base), in nats, is aggregated over positions t: mean, root mean
square (rmse_t), 95th percentile and maximum. Ratios are taken before rounding.
The probs are synthetic: vocabulary {vocab_size}, trait boost {boost}, seed {seed}."""


def separation_table(trait, loop, ratio, positions):
    """Lay out both students' aggregates, in nats, and their ratio as Markdown."""
    rows = [
        ["coherent trait", *(f"{nats:.3f}" for nats in trait.values())],
        ["incoherent loop", *(f"{nats:.3f}" for nats in loop.values())],
        ["sep ratio (loop/trait)", *(f"{times:.1f}x" for times in ratio.values())],
    ]
    return tabulate(rows, [f"student ({positions} positions)", *ratio], "github")


def verdict(t_nats, l_nats, tau):
    """Say what a barrier at tau does; it should fire on the loop only."""
    if l_nats > tau:
        return "fires on both" if t_nats > tau else "works"
    return "fires on trait only" if t_nats > tau else "misses the loop"


def column(nats):
    """Find the column of nats on AXIS, where 1 nat is at 29 and a decade is 14."""
    return 29 + round(14 * np.log10(min(max(nats, LOW), HIGH)))


def tau_column(tau):
    """Find the column of tau, which leaves two on either side for T and L."""
    return min(max(column(tau), 2), len(AXIS) - 2)


def bar(t_nats, l_nats, tau):
    """Draw trait (T), loop (L), tau (|) and the taus that work (=) on the axis."""
    nats = {"T": t_nats, "L": l_nats, "|": tau}
    marks = sorted(nats, key=nats.get)  # of equals, T is left of L, and L of |
    split = marks.index("|")
    place = {"|": tau_column(tau)}
    # Outward from tau, each mark is at least a column past the one before.
    for mark in reversed(marks[:split]):
        place[mark] = min(column(nats[mark]), min(place.values()) - 1)
    for mark in marks[split + 1 :]:
        place[mark] = max(column(nats[mark]), max(place.values()) + 1)
    cells = [" "] * (len(AXIS) + 1)
    for i in range(place["T"], place["L"]):
        cells[i] = "="
    for mark, i in place.items():
        cells[i] = mark
    return "".join(cells)


def drawing(trait, loop, tau):
    """Draw every aggregate of trait and loop beside tau, with the verdict in words."""
    drawn = [*trait.values(), *loop.values(), tau]
    low = f"<={LOW}" if min(drawn) < LOW else f"{LOW}"
    high = f">={HIGH}" if max(drawn) > HIGH else ""
    pairs = {name: (trait[name], loop[name]) for name in trait}
    bars = "\n".join(
        f"    {name:<8}{bar(*pair, tau)} {verdict(*pair, tau)}"
        for name, pair in pairs.items()
    )
    return f"""\
A barrier adds relu(aggregate - tau) to the loss, so it fires when its aggregate
is over tau. It works if it fires on the loop and not on the trait:

    nats   {low:>6}          0.1           1             10 {high:<4} (log scale)
            {AXIS}
{bars}
            {"":{tau_column(tau)}}tau = {tau:g}
    T trait   L loop   === taus that work: T <= tau < L (sep ratio: L/T)"""


def predictions(trait, loop, ratio, tau):
    """List what SHOULD be, each with an inequality in numbers and whether it holds."""
    mean, rmse, p95 = loop["mean_t"], loop["rmse_t"], loop["p95_t"]
    mx, rx, px = ratio["mean_t"], ratio["rmse_t"], ratio["p95_t"]
    top, twice = trait["max_t"], f"2 * {tau:g}"
    return [
        ("loop's mean_t sits UNDER tau", f"{mean:.4g} < {tau:g}", mean < tau),
        ("SAME loop's rmse_t well over tau", f"{rmse:.4g} > {twice}", rmse > 2 * tau),
        ("SAME loop's p95_t well over tau", f"{p95:.4g} > {twice}", p95 > 2 * tau),
        ("trait's max_t not over tau", f"{top:.4g} <= {tau:g}", top <= tau),
        ("sep ratio GROWS from mean_t to rmse_t", f"{mx:.2f}x < {rx:.2f}x", mx < rx),
        ("sep ratio GROWS from mean_t to p95_t", f"{mx:.2f}x < {px:.2f}x", mx < px),
    ]


def checks(predicted):
    """Lay out predictions as Markdown, and say what follows from them."""
    headers = ["prediction of what SHOULD hold", "check", ""]
    rows = [
        [f"{number}: {words}", inequality, "holds" if holds else "FAILS"]
        for number, (words, inequality, holds) in enumerate(predicted, 1)
    ]
    return f"""\
{tabulate(rows, headers, "github", disable_numparse=True)}

If row 1 holds, relu(mean_t - tau) = 0 on the loop: a barrier on mean_t
never fires there, as in the #101 collapse. If T < L, taus from T up to L work,
and the sep ratio, L/T, is their margin. Rows 5 and 6 are the point: if mean_t
had as much margin as rmse_t and p95_t, some tau for it would do as well, and
these two would buy nothing."""


def enough_for_p95(positions):
    """Count the positions over tau that make p95_t fire, whatever the others hold."""
    return 1 + int(np.ceil((positions - 1) / 20))


def dilution(trait_kl, loop_kl, trait, loop, tau):
    """Say where the students differ from the base, and what makes aggregates fire."""
    n, total, mean = len(loop_kl), loop_kl.sum(), loop["mean_t"]
    t_n, l_n = np.count_nonzero(trait_kl), np.count_nonzero(loop_kl)
    t_up, l_up = trait["rmse_t"] / trait["mean_t"], loop["rmse_t"] / loop["mean_t"]
    lim, m, over = np.sqrt(n) * tau, enough_for_p95(n), (loop_kl > tau).sum()
    return f"""\
The loop differs from the base at {l_n} of {n} positions, the trait at {t_n}. The
loop's KLs sum to {total:.3f} nats, so its mean_t is that / {n} = {mean:.3f}. Uneven
KLs raise rmse_t / mean_t: row 5 holds if the loop's, {l_up:.1f}, is over the trait's,
{t_up:.1f}. One KL over tau is enough to make max_t fire, {m} will do for p95_t, and
one over sqrt({n}) tau ({lim:.3g} nats) for rmse_t. The loop has {over} over tau."""


def strip(kl):
    """Draw per-position KL, in nats, a mark a position."""
    nats = kl[:STRIP].tolist()
    return "".join("." if x == 0 else "-123456789+"[min(round(x), 10)] for x in nats)


def strips(trait_kl, loop_kl):
    """Draw both students' per-position KL, with a key to the marks."""
    cut = f"first {STRIP}" if len(loop_kl) > STRIP else ""
    return f"""\
    coherent trait  {strip(trait_kl)}
    incoherent loop {strip(loop_kl)}
    {cut:<16}. exactly 0   - under 0.5   1-9 rounded nats   + 9.5 or more"""


def read_args(argv):
    """Parse the options, or end in a usage error."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    options = [  # option, default, least value, meaning
        ("--tau", 0.5, 0, "where a barrier starts to fire, in nats"),
        ("--positions", 60, 1, "positions of the completion"),
        ("--loop-length", 4, 1, "looped positions"),
        ("--trait-boost", 1.6, 0.1, "what the trait adds to the logit of its token"),
        ("--vocab-size", 200, 8, "tokens of the vocabulary"),
        ("--seed", 0, 0, "of the base's random logits"),
    ]
    for option, default, least, meaning in options:
        text = f"{meaning} ({least} or more; default: {default})"
        parser.add_argument(option, type=type(default), default=default, help=text)
    args = parser.parse_args(argv)

    for option, _, least, _ in options:
        value = getattr(args, option[2:].replace("-", "_"))
        if not least <= value < 1e300:  # so that no multiple of tau is infinite
            parser.error(f"argument {option}: must be {least} or more, under 1e300")
    if args.loop_length > args.positions:
        parser.error("--loop-length must be --positions or less")
    if args.positions * args.vocab_size > 10**8:  # up to 7 GB
        parser.error("--positions times --vocab-size must be 10**8 or less")
    return args


def main(argv=None):
    """Print the figure; return 0 if every prediction holds, else 1."""
    args = read_args(argv)
    base, trait_probs, loop_probs = build(
        args.positions, args.vocab_size, args.loop_length, args.trait_boost, args.seed
    )
    trait_kl = per_position_kl(trait_probs, base)
    loop_kl = per_position_kl(loop_probs, base)
    trait, loop = aggregate(trait_kl), aggregate(loop_kl)
    ratio = {name: loop[name] / trait[name] for name in trait}
    predicted = predictions(trait, loop, ratio, args.tau)
    figure = [
        caption(args.vocab_size, args.trait_boost, args.seed),
        separation_table(trait, loop, ratio, args.positions),
        drawing(trait, loop, args.tau),
        checks(predicted),
        dilution(trait_kl, loop_kl, trait, loop, args.tau),
        strips(trait_kl, loop_kl),
    ]
    # In one write, as head may close an unbuffered pipe before a second.
    print("\n\n".join(figure) + "\n", end="")
    return int(not all(holds for *_, holds in predicted))


if __name__ == "__main__":
    raise SystemExit(main())
