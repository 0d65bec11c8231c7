# /// script
# requires-python = ">=3.10"
# dependencies = ["numpy>=1.24", "tabulate>=0.9"]
# ///
"""Why does a safeguard on the mean KL miss a token loop that rmse, p95 or max sees?

A language model (the student) is trained while a "heal barrier" keeps it close to
the model it started from (the base). At each position of a completion both give
every token a prob, and KL(student || base) says how far apart they are, in nats.
An aggregate makes one number of the per-position KL: mean_t, rmse_t (the root of
the mean square), p95_t (the 95th percentile) or max_t. The loss then gains the
hinge relu(aggregate - tau): the barrier fires when the aggregate is over tau.

Two students are compared, on synthetic next-token distributions:

coherent trait   moves a little mass toward one base-plausible token at every
                 position. It is wanted: the barrier should leave it alone.
incoherent loop  is the base but for a few positions in a row, where nearly all
                 its mass is on one base-improbable token: the barrier must fire.

The mean spreads the loop's few large KLs over all the positions and stays within
tau: the barrier never fires (the #101 collapse). rmse, p95 and max end over tau
for the loop and, like the mean, within it for the trait.

That depends on tau, on the length of the loop and on the strength of the trait;
the second table shows how far. README.md says what the figure does not show.

Exit status: 0 if every claim holds, 1 if one fails, 2 for a usage error.
"""

import argparse
import sys
from functools import cache, partial

import numpy as np
from tabulate import tabulate

SEED = 0
POSITIONS = 60  # in the completion
VOCAB_SIZE = 200
TRAIT_RANK = VOCAB_SIZE // 2  # in ascending order of mean base prob: plausible
TRAIT_BOOST = 1.6  # added to the trait token's logit
LOOP_RANK = 3  # in the same order: improbable
LOOP_START = 12  # counted from 0
LOOP_LENGTH = 4  # positions
LOOP_LOGIT = 12.0  # of the loop token, at the looped positions
OTHER_LOGIT = -10.0  # of every other token there
PROB_FLOOR = 1e-9
TAU = 0.5  # nats
CITED = {"mean_t": "0.38", "rmse_t": "1.5", "p95_t": "3.8"}  # the loop's, in nats
MAX_BOOST = 50  # the trait token then has all the mass: no trait is stronger
KL_DECADES = [0.001, 0.01, 0.1, 1]  # nats
KL_MARKS = "._-=#"  # under each decade in turn, then the last decade or more

AGGREGATES = {
    "mean_t": np.mean,
    "rmse_t": lambda kl: np.sqrt(np.mean(kl**2)),
    "p95_t": lambda kl: np.percentile(kl, 95),
    "max_t": np.max,
}


def softmax(logits):
    """Turn logits into probs over the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def pick_tokens(base):
    """Pick the trait and the loop token by mean prob in base, (positions, vocab).

    IndexError where TRAIT_RANK or LOOP_RANK is not a rank in the vocabulary.
    """
    ascending = np.argsort(base.mean(axis=0))
    return ascending[TRAIT_RANK], ascending[LOOP_RANK]


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

    It is the sum over the vocabulary of p * (log p - log q), for student probs p and
    base probs q of shape (..., vocab); the result has shape (...). As in the heal
    barrier, p and q are clipped to [PROB_FLOOR, 1] inside the logarithms only. A prob
    of 0 then gives a finite KL; the cost is that none can exceed -log(PROB_FLOOR).
    Source: Kullback and Leibler, "On Information and Sufficiency", 1951.
    """
    log_p = np.log(np.clip(student, PROB_FLOOR, 1))
    log_q = np.log(np.clip(base, PROB_FLOOR, 1))
    return (student * (log_p - log_q)).sum(axis=-1)


def aggregate(kl):
    """Apply every aggregate to per-position KL in nats, shape (positions,)."""
    return {name: function(kl) for name, function in AGGREGATES.items()}


def fires(value):
    """Tell whether the hinge relu(value - TAU) of an aggregate in nats is over 0."""
    return value > TAU


def first_to_fire(student_at, settings, base):
    """Find the first of settings at which each aggregate fires; inf where none does.

    student_at(setting) and base are probs, (positions, vocab).
    """
    kl_at = cache(lambda setting: per_position_kl(student_at(setting), base))
    return {
        name: next((s for s in settings if fires(function(kl_at(s)))), np.inf)
        for name, function in AGGREGATES.items()
    }


def setting_text(setting):
    """Word a setting that first_to_fire found."""
    return "never" if setting == np.inf else str(setting)


def tell(value):
    """Tell an aggregate in nats, its side of tau and what the barrier does."""
    side, act = ("over", "fires") if fires(value) else ("within", "never fires")
    return f"{value:.3f}, {side} tau: the barrier {act}"


def claim(holds, sentence):
    """Lay out a sentence, true whether or not its claim holds, as a list line."""
    return f"- {'ok' if holds else 'FAILED'}: {sentence}"


def check_result(trait, loop, sep_ratio):
    """Check the claims on the separation table, and lay them out as list lines.

    trait and loop hold aggregates in nats by name, sep_ratio their loop / trait.
    """
    mean, rmse, p95 = loop["mean_t"], loop["rmse_t"], loop["p95_t"]
    top = max(trait.values())
    relu = f"relu(mean_t - tau) = {max(mean - TAU, 0):.3g}"
    collapse = "" if fires(mean) else ", the #101 collapse"
    grows = sep_ratio["mean_t"] < min(sep_ratio["rmse_t"], sep_ratio["p95_t"])
    gain = "rmse and p95 separate better" if grows else "rmse and p95 do not both gain"
    ratios = ", ".join(f"{sep_ratio[name]:.1f}x by {name}" for name in CITED)
    rounded = {name: f"{loop[name]:.2g}" for name in CITED}
    found = ", ".join(f"{name} {digits}" for name, digits in rounded.items())
    source = "to two digits, as cited: the figure reproduces"
    if rounded != CITED:
        cited = ", ".join(CITED.values())
        source = f"not {cited}: edited settings or a new NumPy stream"
    return [
        claim(not fires(mean), f"the loop's mean_t is {tell(mean)} ({relu}{collapse})"),
        claim(
            fires(rmse), f"the loop's rmse_t is {tell(rmse)}; squaring favors spikes"
        ),
        claim(
            fires(p95), f"the loop's p95_t is {tell(p95)}; only a long loop lifts it"
        ),
        claim(not fires(top), f"the wanted trait's largest aggregate is {tell(top)}"),
        claim(grows, f"the sep ratio is {ratios}: {gain}"),
        claim(rounded == CITED, f"the loop has {found}, {source}"),
    ]


def check_range(trait, loop, shortest_loop, weakest_boost):
    """Check the claims on tau and on the range table, and lay them out as list lines.

    shortest_loop and weakest_boost hold by name what first_to_fire found.
    """
    low, high = max(loop["mean_t"], *trait.values()), min(loop["rmse_t"], loop["p95_t"])
    none = "" if low < high else ", which no tau meets"
    rivals = ("rmse_t", "p95_t")
    loops = " against ".join(setting_text(shortest_loop[name]) for name in rivals)
    boosts = " against ".join(setting_text(weakest_boost[name]) for name in rivals)
    shorter = shortest_loop["rmse_t"] < shortest_loop["p95_t"]
    beats = shorter and weakest_boost["rmse_t"] > weakest_boost["p95_t"]
    verb = "beats" if beats else "does not beat"
    # p95_t interpolates at rank 0.95 * (POSITIONS - 1): no higher rank can move it.
    unseen = 5 * (POSITIONS - 1) // 100
    highest = -np.log(PROB_FLOOR)
    spiked = aggregate(np.repeat([0.0, highest], [POSITIONS - unseen, unseen]))
    p95, rmse = spiked["p95_t"], spiked["rmse_t"]
    return [
        claim(low < high, f"claims 1 to 4 hold if {low:.3f} <= tau < {high:.3f}{none}"),
        claim(beats, f"rmse_t {verb} p95_t on both rows: loop {loops}, boost {boosts}"),
        claim(
            p95 == 0 and fires(rmse),
            f"{unseen} of {POSITIONS} positions at the highest KL, {highest:.1f} nats, "
            f"looped or legitimate, leave p95_t at {p95:.3f} and rmse_t at {rmse:.3f}",
        ),
    ]


def table(corner, *rows):
    """Lay out (label, format, value by aggregate) rows as a Markdown table."""
    body = [[label, *(show(row[n]) for n in AGGREGATES)] for label, show, row in rows]
    return tabulate(body, [corner, *AGGREGATES], "github", disable_numparse=True)


def picture(students):
    """Draw {label: per-position KL in nats} and a legend as a Markdown code block."""
    rows = {
        label: "".join(KL_MARKS[decade] for decade in np.digitize(kl, KL_DECADES))
        for label, kl in students.items()
    }
    ranges = [*(f"under {top:g}" for top in KL_DECADES), f"{KL_DECADES[-1]:g} or more"]
    rows["KL in nats"] = "   ".join(map(" ".join, zip(KL_MARKS, ranges)))
    return "\n".join(f"    {label:<15}   {row}" for label, row in rows.items())


def main():
    """Print the figure; return 0 if every claim holds and 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    # argparse's own print_help ignores a write that fails.
    parser.print_help = lambda: sys.stdout.write(parser.format_help())
    parser.parse_args()

    base_logits = np.random.default_rng(SEED).standard_normal((POSITIONS, VOCAB_SIZE))
    base = softmax(base_logits)
    trait_token, loop_token = pick_tokens(base)
    trait_at = partial(coherent_trait, base_logits, trait_token)
    loop_at = partial(incoherent_loop, base_logits, loop_token)

    trait_kl = per_position_kl(trait_at(TRAIT_BOOST), base)
    loop_kl = per_position_kl(loop_at(LOOP_LENGTH), base)
    trait, loop = aggregate(trait_kl), aggregate(loop_kl)
    with np.errstate(divide="ignore", invalid="ignore"):  # TRAIT_BOOST = 0
        sep_ratio = {name: loop[name] / trait[name] for name in AGGREGATES}

    shortest_loop = first_to_fire(loop_at, range(1, POSITIONS + 1), base)
    # KL grows with the boost: a trait weaker than a silent one is silent too.
    silent_boost = 0 if fires(max(trait.values())) else TRAIT_BOOST
    tenths = (step / 10 for step in range(10 * MAX_BOOST + 1))
    boosts = [boost for boost in tenths if boost > silent_boost]
    weakest_boost = first_to_fire(trait_at, boosts, base)

    result = check_result(trait, loop, sep_ratio)
    limits = check_range(trait, loop, shortest_loop, weakest_boost)
    blocks = [
        table(
            f"student ({POSITIONS} positions)",
            ("coherent trait", "{:.3f}".format, trait),
            ("incoherent loop", "{:.3f}".format, loop),
            ("sep ratio (loop/trait)", "{:.1f}x".format, sep_ratio),
        ),
        picture({"coherent trait": trait_kl, "incoherent loop": loop_kl}),
        f"tau = {TAU:g} nats. The barrier adds relu(aggregate - tau) to the loss: "
        + "it fires when the aggregate is over tau.",
        "\n".join(result),
        table(
            f"barrier first fires at (tau = {TAU:g})",
            ("shortest loop, in positions", setting_text, shortest_loop),
            ("false alarm: weakest boost, in logits", setting_text, weakest_boost),
        ),
        "\n".join(limits),
    ]
    sys.stdout.write("\n\n".join(blocks) + "\n")  # print ignores a closed stdout
    return int(any(line.startswith("- FAILED") for line in result + limits))


if __name__ == "__main__":
    sys.exit(main())
