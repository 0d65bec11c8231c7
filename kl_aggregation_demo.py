# /// script
# requires-python = ">=3.10"
# dependencies = ["numpy>=1.24", "tabulate>=0.9"]
# ///
"""Mean-KL is blind to the coherence collapse, and rmse/p95 are not.

This is the journal's ml-debug Part 3, shown for a loop at 4 of 60 positions, at a tau
of 0.5 nats. No GPU, no model: synthetic next-token probs in a vocabulary of 200.

A "heal barrier" should keep a model in training, the student, close to the model it
started from, the base. Of the KL(student || base) at each position t of a completion
(heal._kl_per_pos) it makes one number, an aggregate: mean_t, rmse_t (the root of the
mean square), p95_t (the 95th percentile) or max_t. It adds the hinge
relu(aggregate - tau) to the loss, so it fires when its aggregate is over tau.

coherent trait   moves a little mass toward one token at every position. This is
                 wanted, so the barrier should stay silent.
incoherent loop  puts nearly all mass on one token at a few positions and is the base
                 at all others. The barrier should fire.

With a KL of K at m of T positions and 0 elsewhere, the mean is K m/T, the rmse is
K sqrt(m/T) and the maximum is K. The p95 is K where m - 1 >= (T - 1)/20, else less.

Exit status: 1 if a note fails at the defaults, 0 for any other figure, 2 on bad usage.
"""

import argparse
import textwrap

import numpy as np
from tabulate import tabulate

LOOP_RANK = 3  # counted from 0: the loop's token is the fourth rarest in the base
LOOP_START = 12  # counted from 0: the loop starts at the thirteenth position
LOOP_LOGIT = 12.0  # of the loop's token, where it loops
OTHER_LOGIT = -10.0  # of every other token there
PROB_FLOOR = 1e-9  # inside the logarithms of the KL


def softmax(logits):
    """Turn logits into probs over the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def coherent_trait(base_logits, token, boost):
    """Build the probs, (positions, vocab), of a student that boosts token's logit."""
    logits = base_logits.copy()
    logits[:, token] += boost
    return softmax(logits)


def incoherent_loop(base_logits, token, length):
    """Build the probs, (positions, vocab), of a student that loops on token."""
    logits = base_logits.copy()
    looped = slice(LOOP_START, LOOP_START + length)
    logits[looped] = OTHER_LOGIT
    logits[looped, token] = LOOP_LOGIT
    return softmax(logits)


def per_position_kl(student, base):
    """Compute KL(student || base) at each position, in nats.

    For student probs p and base probs q of shape (..., vocab), it is the sum over the
    last axis of p * (log p - log q). As in the heal barrier, p and q are clipped to
    [PROB_FLOOR, 1] inside the logarithms only, so a KL is finite, is -log(PROB_FLOOR)
    at most, and can be negative where q is under the floor.
    Source: Kullback and Leibler, "On Information and Sufficiency", 1951.
    """
    log_p = np.log(np.clip(student, PROB_FLOOR, 1))
    log_q = np.log(np.clip(base, PROB_FLOOR, 1))
    return (student * (log_p - log_q)).sum(axis=-1)


AGGREGATES = {
    "mean_t": np.mean,
    "rmse_t": lambda kl: np.sqrt(np.mean(kl**2)),
    "p95_t": lambda kl: np.percentile(kl, 95),
    "max_t": np.max,
}


def aggregate(kl):
    """Apply every aggregate to per-position KL in nats, shape (positions,)."""
    return {name: function(kl) for name, function in AGGREGATES.items()}


def expectations(trait, loop, ratio, tau):
    """Map each note, on what the aggregates SHOULD be, to whether it holds."""
    return {
        f"""The loop's mean_t, {loop["mean_t"]:.3f}, SHOULD sit UNDER tau, or at it, so
        that relu(mean_t - tau) = 0 and the barrier never fires (the #101 collapse).
        """: loop["mean_t"] <= tau,
        f"""The SAME loop's rmse_t, {loop["rmse_t"]:.3f}, and p95_t,
        {loop["p95_t"]:.3f}, SHOULD both be well over tau, at least twice it, so that a
        barrier on either fires.
        """: min(loop["rmse_t"], loop["p95_t"]) >= 2 * tau,
        f"""The trait's max_t, {trait["max_t"]:.3f}, its largest aggregate, SHOULD be
        at most tau, so that no barrier fires on the trait.
        """: trait["max_t"] <= tau,
        f"""The point is that the sep ratio, before rounding, SHOULD GROW from mean_t,
        {ratio["mean_t"]:.1f}x, both to rmse_t, {ratio["rmse_t"]:.1f}x, and to p95_t,
        {ratio["p95_t"]:.1f}x, each over 1x, so that a tau between trait and loop has
        relatively more room. With no more room, an aggregate would buy nothing that
        another tau on mean_t would not.
        """: min(ratio["rmse_t"], ratio["p95_t"]) > max(ratio["mean_t"], 1),
    }


def citation(loop):
    """Map the note on what the journal cites of the loop to whether it holds."""
    cited = "0.38, 1.5 and 3.8"  # nats
    found = "{mean_t:.2g}, {rmse_t:.2g} and {p95_t:.2g}".format(**loop)
    return {
        f"""The loop's mean_t, rmse_t and p95_t SHOULD round to the journal's {cited}.
        """: found == cited,
    }


def fill(text, **indents):
    """Lay out text, whatever its blanks, in lines of at most 80 columns."""
    return textwrap.fill(" ".join(text.split()), 80, break_on_hyphens=False, **indents)


def numbered(notes):
    """Lay out notes, each after whether it holds, as a Markdown list."""
    return "\n".join(
        fill(f"{i}. {'holds' if holds else 'fails'}: {note}", subsequent_indent="   ")
        for i, (note, holds) in enumerate(notes.items(), 1)
    )


def table(corner, *rows):
    """Lay out rows of (label, show, value by aggregate) as a Markdown table."""
    body = [[label, *map(show, values.values())] for label, show, values in rows]
    return tabulate(body, [corner, *AGGREGATES], "github", disable_numparse=True)


def separation_table(trait, loop, ratio, positions):
    """Lay out the aggregates of both students, in nats, and their sep ratios."""
    return table(
        f"student ({positions} positions)",
        ("coherent trait", "{:.3f}".format, trait),
        ("incoherent loop", "{:.3f}".format, loop),
        ("sep ratio (loop/trait)", "{:.1f}x".format, ratio),
    )


def verdicts(trait, loop, tau):
    """Lay out what a barrier on each aggregate does, and what a barrier is."""
    barrier = """A barrier adds relu(aggregate - tau) to the loss: it fires when its
        aggregate is over tau. Capitals in the table mark what is not wanted. Each note
        checks a prediction (SHOULD): note 1, that mean_t is SILENT on the loop."""
    return f"{fill(barrier)}\n\n" + table(
        f"barrier at tau = {tau:g}",
        ("trait (wanted: silent)", lambda x: "FIRES" if x > tau else "silent", trait),
        ("loop (wanted: fires)", lambda x: "fires" if x > tau else "SILENT", loop),
    )


def kl_strip(label, kl, tau):
    """Draw per-position KL in nats as Markdown code, a mark a position, 60 a line."""
    digits = np.clip(np.rint(kl), 1, 9).astype(int).astype(str)
    marks = "".join(np.select([kl == 0, kl <= tau], [".", "-"], digits))
    return fill(marks, initial_indent=f"    {label:<16}", subsequent_indent=" " * 20)


def picture(trait_kl, loop_kl, settings):
    """Draw the per-position KL of both students, with a caption and a legend."""
    caption = f"""Synthetic KL(student || base) by position (vocabulary
        {settings.vocab_size}, boost {settings.trait_boost}, seed {settings.seed}):"""
    trait_strip = kl_strip("coherent trait", trait_kl, settings.tau)
    loop_strip = kl_strip("incoherent loop", loop_kl, settings.tau)
    legend = f"{'':20}. zero | - up to tau | 1-9 over tau: nearest of 1-9 nats"
    return "\n".join([fill(caption), "", trait_strip, loop_strip, legend])


def read_settings(arguments):
    """Parse the options, or end in a usage error."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for option, default, meaning in (
        ("--tau", 0.5, "where the barrier starts to fire, in nats"),
        ("--loop-length", 4, "looped positions"),
        ("--positions", 60, "positions of the completion"),
        ("--trait-boost", 1.6, "what the trait adds to the logit of its token"),
        ("--vocab-size", 200, "tokens of the vocabulary"),
        ("--seed", 0, "of the base's random logits"),
    ):
        shown = f"{meaning} (default: {default})"
        parser.add_argument(option, type=type(default), default=default, help=shown)
    settings = parser.parse_args(arguments)

    if not 0 < settings.tau < np.inf:
        parser.error("--tau must be a finite number over 0")
    if settings.loop_length < 1:
        parser.error("--loop-length must be 1 or more")
    if settings.positions < (least := LOOP_START + settings.loop_length):
        parser.error(f"--positions must be {least} or more for this --loop-length")
    if not 0.1 <= settings.trait_boost < np.inf:  # near 0, no sep ratio
        parser.error("--trait-boost must be a finite number, 0.1 or more")
    least_vocab = 2 * (LOOP_RANK + 1)  # the trait's token is then not the loop's
    if settings.vocab_size < least_vocab:
        parser.error(f"--vocab-size must be {least_vocab} or more")
    if settings.seed < 0:
        parser.error("--seed must be 0 or more")
    if settings.positions * settings.vocab_size > (most := 10**8):  # 6 GB of memory
        parser.error(f"--positions times --vocab-size must be {most:,} or less")
    return settings


def main(arguments=None):
    """Print the figure; return 1 if a note fails at the defaults, else 0."""
    settings = read_settings(arguments)
    shape = settings.positions, settings.vocab_size

    base_logits = np.random.default_rng(settings.seed).standard_normal(shape)
    base = softmax(base_logits)
    rarest_first = np.argsort(base.mean(axis=0))
    middle, rare = rarest_first[[settings.vocab_size // 2, LOOP_RANK]]
    trait_student = coherent_trait(base_logits, middle, settings.trait_boost)
    loop_student = incoherent_loop(base_logits, rare, settings.loop_length)

    trait_kl = per_position_kl(trait_student, base)
    loop_kl = per_position_kl(loop_student, base)
    trait, loop = aggregate(trait_kl), aggregate(loop_kl)
    ratio = {name: loop[name] / trait[name] for name in AGGREGATES}
    notes = expectations(trait, loop, ratio, settings.tau)
    is_default = settings == read_settings([])
    if is_default:
        notes |= citation(loop)

    print(
        separation_table(trait, loop, ratio, settings.positions),
        picture(trait_kl, loop_kl, settings),
        verdicts(trait, loop, settings.tau),
        numbered(notes),
        sep="\n\n",
    )
    return int(is_default and not all(notes.values()))


if __name__ == "__main__":
    raise SystemExit(main())
