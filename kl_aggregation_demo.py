# /// script
# requires-python = ">=3.10"
# dependencies = ["numpy>=1.24", "tabulate>=0.9"]
# ///
"""Mean-KL is blind to the coherence collapse, and rmse/p95 are not.

This is the journal's ml-debug Part 3. It holds for a loop at 4 of 60 positions,
in a vocabulary of 200, at a tau of 0.5 nats: the mean stays under tau. No GPU,
no model: the probs are synthetic.

A "heal barrier" should keep a model in training, the student, close to the
model it started from, the base. It makes one number, an aggregate, of the
KL(student || base) at each position of a completion (heal._kl_per_pos): mean_t,
rmse_t (the root of the mean square), p95_t (the 95th percentile) or max_t. It
adds the hinge relu(aggregate - tau) to the loss, so it fires when its aggregate
is over tau. There are two students:

coherent trait   moves a little mass toward one token at EVERY position. This is
                 wanted: the barrier should leave it alone.
incoherent loop  is the base but for a FEW positions, where nearly all its mass
                 sits on one token, as in a token loop: the barrier should fire.

Where the loop is nearly certain of its token, its KL is about -log of the prob
of that token in the base. With a KL of K nats at m of T positions and 0 at all
others, the mean is K m/T, the rmse is K sqrt(m/T), the maximum is K, and the
p95 is K if m - 1 >= (T - 1)/20, else less. At T = 60, that takes an m of 4.

Exit status: 0; 1 if a note fails at the default options; 2 on bad usage.
"""

import argparse

import numpy as np
from tabulate import tabulate

PROB_FLOOR = 1e-9  # least prob inside the KL's logarithm
LOOP_RANK = 3  # the loop's token is the fourth rarest in the base
LOOP_START = 12  # position, from 0, where the loop starts if it has room there
LOOP_LOGIT = 12.0  # that token's logit at a looped position
OTHER_LOGIT = -10.0  # every other token's logit at a looped position
WIDTH = 48  # columns of a bar: the axis, and one more at either end
STRIP = 60  # positions that the strips show


def softmax(logits):
    """Turn logits into probs over the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def coherent_trait(base_logits, token, boost):
    """Build the probs, (positions, vocab_size), of the base with token boosted."""
    logits = base_logits.copy()
    logits[:, token] += boost
    return softmax(logits)


def incoherent_loop(base, token, length):
    """Build the probs, (positions, vocab_size), of the base with a loop on token."""
    logits = np.full(base.shape[-1], OTHER_LOGIT)
    logits[token] = LOOP_LOGIT
    start = min(LOOP_START, len(base) - length)
    probs = base.copy()
    probs[start : start + length] = softmax(logits)
    return probs


def build(positions, vocab_size, loop_length, trait_boost, seed):
    """Build the probs of base, trait and loop, each (positions, vocab_size)."""
    base_logits = np.random.default_rng(seed).standard_normal((positions, vocab_size))
    base = softmax(base_logits)
    rarest_first = np.argsort(base.mean(axis=0))
    middle, rare = rarest_first[vocab_size // 2], rarest_first[LOOP_RANK]
    trait = coherent_trait(base_logits, middle, trait_boost)
    loop = incoherent_loop(base, rare, loop_length)
    return base, trait, loop


def per_position_kl(student, base):
    """Compute KL(student || base) at each position, in nats.

    For student probs p and base probs q, (..., vocab_size), not logits or log-probs,
    it is the sum of p log(p / q) over the vocabulary. As in the heal barrier, p and q
    are at least PROB_FLOOR inside the logarithm only, so that a KL is finite, is
    -log(PROB_FLOOR) at most, and can be negative where q is under the floor.
    Source: Kullback and Leibler, "On Information and Sufficiency", 1951.
    """
    quotient = np.maximum(student, PROB_FLOOR) / np.maximum(base, PROB_FLOOR)
    return (student * np.log(quotient)).sum(axis=-1)


def aggregate(kl):
    """Aggregate per-position KL over the positions: every aggregate, by its name.

    kl has shape (..., positions), without padding or NaN, and is not masked. Each
    aggregate has shape (...), a number for each completion, in nats as kl is.
    """
    return {
        "mean_t": np.mean(kl, axis=-1),
        "rmse_t": np.sqrt(np.mean(np.square(kl), axis=-1)),
        "p95_t": np.percentile(kl, 95, axis=-1),
        "max_t": np.max(kl, axis=-1),
    }


def separation_table(trait, loop, ratio, positions):
    """Lay out both students' aggregates, in nats, and their ratio as Markdown."""
    rows = [
        ["coherent trait", *(f"{nats:.3f}" for nats in trait.values())],
        ["incoherent loop", *(f"{nats:.3f}" for nats in loop.values())],
        ["sep ratio (loop/trait)", *(f"{times:.1f}x" for times in ratio.values())],
    ]
    return tabulate(rows, [f"student ({positions} positions)", *ratio], "github")


def verdict(trait, loop, tau):
    """Say what a barrier at tau does; it should fire on the loop only."""
    if loop > tau:
        return "fires on both" if trait > tau else "works"
    return "fires on trait only" if trait > tau else "misses the loop"


def column(nats):
    """Find the column of nats on the log axis: 1 at 0.01 or less, 46 at 17 or more."""
    return 1 + round(14 * np.log10(min(max(nats, 0.01), 17) / 0.01))


def bar(trait, loop, tau):
    """Draw trait (T), loop (L), tau (|) and the taus that work (=) on the axis.

    The marks stand in the order of their numbers, however close, so that what is
    over tau is right of its line. Of equal numbers, T is left of L and L of |.
    """
    nats = {"T": trait, "L": loop, "|": tau}
    ascending = sorted(nats, key=nats.get)
    split = ascending.index("|")
    under, over = ascending[:split], ascending[split + 1 :]
    place = {"|": min(max(column(tau), 2), WIDTH - 3)}  # two marks fit on either side
    for mark in reversed(under):
        place[mark] = min(column(nats[mark]), min(place.values()) - 1)
    for mark in over:
        place[mark] = max(column(nats[mark]), max(place.values()) + 1)

    marks = {i: mark for mark, i in place.items()}
    works = range(place["T"], place["L"])
    return "".join(marks.get(i, "=" if i in works else " ") for i in range(WIDTH))


def drawing(trait, loop, tau):
    """Draw every aggregate of trait and loop beside tau, with the verdict in words."""
    pairs = {name: (trait[name], loop[name]) for name in trait}
    rows = "\n".join(
        f"    {name:<8}{bar(*pair, tau)} {verdict(*pair, tau)}"
        for name, pair in pairs.items()
    )
    return f"""\
A barrier adds relu(aggregate - tau) to the loss, so it fires when its aggregate
is over tau. It works if it fires on the loop and not on the trait:

    nats   <=0.01          0.1           1             10      (log scale)
             +-------------+-------------+-------------+---  at tau = {tau:g}:
{rows}
             T trait   L loop   | tau   === taus that work (L/T: sep ratio)"""


def strip_mark(nats):
    """Show a KL in nats as one character."""
    if nats == 0:
        return "."
    return "-" if nats <= 0.5 else f"{min(nats, 9):.0f}"


def strips(trait_kl, loop_kl, args):
    """Draw the per-position KL of trait and loop, a mark a position."""
    vocab, boost, seed = args.vocab_size, args.trait_boost, args.seed
    length, positions = args.loop_length, args.positions
    nats = loop_kl.sum()
    shown = f"first {STRIP}" if positions > STRIP else ""
    return f"""\
Synthetic KL(student || base) by position: vocabulary {vocab}, trait boost {boost},
seed {seed}. The loop has {nats:.2f} nats in all, at {length} of {positions} positions.
mean_t is that / {positions}. p95_t reaches a loop's KL only at over 5% of positions:

    coherent trait  {"".join(map(strip_mark, trait_kl[:STRIP]))}
    incoherent loop {"".join(map(strip_mark, loop_kl[:STRIP]))}
    {shown:<16}. zero   - up to 0.5   1-9 nats, rounded (9: or more)"""


def predictions(trait, loop, ratio, tau, is_default):
    """Yield a note for each prediction: whether it holds, and the note's lines."""
    mean, rmse, p95 = loop["mean_t"], loop["rmse_t"], loop["p95_t"]
    mean_x, rmse_x, p95_x = ratio["mean_t"], ratio["rmse_t"], ratio["p95_t"]
    highest = max(trait.values())
    yield (
        mean < tau,
        f"The loop's mean_t, {mean:.3f}, SHOULD sit UNDER tau, so that",
        "relu(mean_t - tau) = 0 and the barrier never fires on it (the #101 collapse).",
    )
    yield (
        rmse > 2 * tau and p95 > 2 * tau,
        f"The SAME loop's rmse_t, {rmse:.3f}, and p95_t, {p95:.3f}, SHOULD be",
        "well over tau (more than twice it), so that a barrier on either fires.",
    )
    yield (
        highest <= tau,
        f"The trait's largest aggregate, {highest:.3f}, SHOULD NOT be over tau.",
    )
    yield (
        rmse_x > mean_x and p95_x > mean_x,
        f"The sep ratio SHOULD GROW, from mean_t, {mean_x:.1f}x, to both",
        f"rmse_t, {rmse_x:.1f}x, and p95_t, {p95_x:.1f}x. That is the point: a larger",
        "ratio is more room for tau. If any tau works for mean_t, an aggregate with no",
        "more room would buy nothing.",
    )
    if is_default:
        cited = "0.38, 1.5 and 3.8"
        yield (
            f"{mean:.2g}, {rmse:.2g} and {p95:.2g}" == cited,
            "The loop's mean_t, rmse_t and p95_t SHOULD round to the journal's",
            f"{cited}.",
        )


def numbered(notes):
    """Lay out notes, (holds, *lines), as a Markdown list."""
    lines = ["Each SHOULD is a prediction; note 1 predicts that mean_t misses:", ""]
    for number, (holds, first, *more) in enumerate(notes, 1):
        lines.append(f"{number}. {'holds' if holds else 'FAILS'}: {first}")
        lines += [f"   {line}" for line in more]
    return "\n".join(lines)


def read_args(argv):
    """Parse the options, and whether all are defaults, or end in a usage error."""
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
        shown = f"{meaning} ({least} or more; default: {default})"
        parser.add_argument(option, type=type(default), default=default, help=shown)
    args = parser.parse_args(argv)
    args.is_default = args == parser.parse_args([])

    for option, default, least, _ in options:
        value = getattr(args, option[2:].replace("-", "_"))
        if not least <= value < np.inf:
            finite = "finite, " if isinstance(default, float) else ""
            parser.error(f"argument {option}: must be {finite}{least} or more")
    if args.loop_length > args.positions:
        parser.error("argument --loop-length: must be --positions or less")
    if args.positions * args.vocab_size > 10**8:  # up to 7 GB
        parser.error("argument --positions: must be 10**8/--vocab-size or less")
    return args


def main(argv=None):
    """Print the figure; return 1 if a note fails at the defaults, else 0."""
    args = read_args(argv)
    base, trait_probs, loop_probs = build(
        args.positions, args.vocab_size, args.loop_length, args.trait_boost, args.seed
    )
    trait_kl = per_position_kl(trait_probs, base)
    loop_kl = per_position_kl(loop_probs, base)
    trait, loop = aggregate(trait_kl), aggregate(loop_kl)
    ratio = {name: loop[name] / trait[name] for name in trait}
    notes = list(predictions(trait, loop, ratio, args.tau, args.is_default))
    print(
        separation_table(trait, loop, ratio, args.positions),
        drawing(trait, loop, args.tau),
        strips(trait_kl, loop_kl, args),
        numbered(notes),
        sep="\n\n",
    )
    return int(args.is_default and not all(holds for holds, *_ in notes))


if __name__ == "__main__":
    raise SystemExit(main())
