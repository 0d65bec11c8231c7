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

At other settings the verdict depends on two numbers: the share of the positions that
loop, and K / tau, where K is their KL. README.md has the law, and what is not shown.

Exit status: 0 if every note holds, 1 if one fails, 2 for bad usage or settings.
"""

import argparse
import sys
import textwrap
from bisect import bisect
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

AGGREGATES = {
    "mean_t": np.mean,
    "rmse_t": lambda kl: np.sqrt(np.mean(kl**2)),
    "p95_t": lambda kl: np.percentile(kl, 95),
    "max_t": np.max,
}


def setting_limits():
    """Give, by setting, the two limits that it must lie between and may not equal."""
    return {
        "SEED": (-1, np.inf),
        "LOOP_START": (-1, POSITIONS),
        "LOOP_LENGTH": (0, POSITIONS - LOOP_START + 1),
        "LOOP_RANK": (-1, TRAIT_RANK),
        "TRAIT_RANK": (LOOP_RANK, VOCAB_SIZE),
        "TRAIT_BOOST": (0, np.inf),
        "LOOP_LOGIT": (OTHER_LOGIT, np.inf),
        "PROB_FLOOR": (0, 1),
        "TAU": (0, np.inf),
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


def first_over(limits, sweep, kl_at, every=None):
    """Find the first value in a sweep at which each aggregate is over its limit.

    Return by name its place in the sweep and the value, or a word: "never" past the
    end, and every, if given, at the start. limits and kl_at(value), per-position KL,
    are in nats. No aggregate may fall along the sweep: the search is by bisection.
    """
    first, words = {}, {0: every, len(sweep): "never"}
    for name, function in AGGREGATES.items():
        place = bisect(sweep, limits[name], key=lambda value: function(kl_at(value)))
        first[name] = place, words.get(place) or sweep[place]
    return first


def make_notes(trait, loop, sep_ratio, loops, completions, boosts):
    """Make the notes, in order: {what should be: (whether it is, what is)}.

    trait and loop hold aggregates in nats by name, sep_ratio their loop / trait, and
    the others what first_over found.
    """
    mean, rmse, p95 = loop["mean_t"], loop["rmse_t"], loop["p95_t"]
    top = max(trait.values())
    grows = sep_ratio["mean_t"] < min(sep_ratio["rmse_t"], sep_ratio["p95_t"])
    ratios = "{mean_t:.1f}x to {rmse_t:.1f}x and {p95_t:.1f}x".format(**sep_ratio)
    digits = {name: f"{loop[name]:.2g}" for name in CITED}
    taus = [(top, min(loop.values())), (max(top, mean), min(rmse, p95))]
    spans = " and ".join(f"{low:.3f} <= tau < {high:.3f}" for low, high in taus)
    rows = loops, completions, boosts
    # How far into each sweep rmse_t starts to fire, less how far p95_t does.
    *sooner, later = (row["rmse_t"][0] - row["p95_t"][0] for row in rows)
    edges = ", ".join(f"{row['rmse_t'][1]} against {row['p95_t'][1]}" for row in rows)
    # p95_t interpolates at rank 0.95 * (POSITIONS - 1): no higher rank can move it.
    unseen = 5 * (POSITIONS - 1) // 100
    highest = -np.log(PROB_FLOOR)
    spiked = aggregate(np.repeat([highest, 0], [unseen, POSITIONS - unseen]))
    return {
        "the loop's mean_t should stay within tau, so that relu(mean_t - tau) = 0 and "
        "the barrier never fires, the #101 collapse": (mean <= TAU, f"{mean:.3f}"),
        "a barrier on the same loop's rmse_t should fire": (rmse > TAU, f"{rmse:.3f}"),
        "a barrier on the same loop's p95_t should fire": (p95 > TAU, f"{p95:.3f}"),
        "all four aggregates of the wanted trait should stay within tau, even the "
        "largest": (top <= TAU, f"{top:.3f}"),
        "the sep ratio should grow from mean_t to rmse_t and p95_t: were the mean's "
        "as high, outlier aggregates would buy nothing": (grows, ratios),
        f"the loop's {', '.join(CITED)} should be {', '.join(CITED.values())} as cited, "
        "unless a setting was edited or NumPy draws other "
        "numbers": (digits == CITED, ", ".join(digits.values())),
        "some tau should make all four fire on the loop and not on the trait, and some "
        "higher one all but mean_t": (all(low < high for low, high in taus), spans),
        "rmse_t should fire on a shorter loop, in a longer completion and only on a "
        "stronger trait than p95_t": (max(sooner) < 0 < later, edges),
        "the price of 8: positions too few for p95_t to see should, at the floor's "
        "highest KL, lift rmse_t over tau": (
            spiked["p95_t"] == 0 and spiked["rmse_t"] > TAU,
            f"{unseen} of {POSITIONS} at {highest:.1f} nats give "
            + "{p95_t:.3f} and {rmse_t:.3f}".format(**spiked),
        ),
    }


def list_item(number, should, holds, found):
    """Lay out a note as an item of a Markdown list."""
    text = f"{number}. {'ok' if holds else 'FAILED'}: {should}: {found}"
    return textwrap.fill(text, 80, subsequent_indent="   ")


def table(corner, *rows):
    """Lay out (label, format, value by aggregate) rows as a Markdown table."""
    body = [[label, *(show(row[n]) for n in AGGREGATES)] for label, show, row in rows]
    return tabulate(body, [corner, *AGGREGATES], "github", disable_numparse=True)


def picture(label, kl):
    """Draw per-position KL in nats as Markdown code: # over tau, a dot within it."""
    marks = "".join("#" if nats > TAU else "." for nats in kl)
    label, indent = f"    {label:<16}", " " * 20
    return textwrap.fill(marks, 80, initial_indent=label, subsequent_indent=indent)


def main():
    """Print the figure; return 0 if every note holds and 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.parse_args()
    for name, (low, high) in setting_limits().items():
        if not low < (value := globals()[name]) < high:
            parser.exit(2, f"{name} = {value} must be over {low} and under {high}\n")

    base_logits = np.random.default_rng(SEED).standard_normal((POSITIONS, VOCAB_SIZE))
    base = softmax(base_logits)
    trait_token, loop_token = pick_tokens(base)

    @cache
    def trait_kl_at(boost):
        return per_position_kl(coherent_trait(base_logits, trait_token, boost), base)

    def loop_kl_at(length):
        return per_position_kl(incoherent_loop(base_logits, loop_token, length), base)

    trait_kl, loop_kl = trait_kl_at(TRAIT_BOOST), loop_kl_at(LOOP_LENGTH)
    trait, loop = aggregate(trait_kl), aggregate(loop_kl)
    if min(trait.values()) < sys.float_info.epsilon:  # floored, or mere rounding
        parser.exit(2, f"{TRAIT_BOOST = } must give a KL over 0 at {PROB_FLOOR = }\n")
    sep_ratio = {name: loop[name] / trait[name] for name in AGGREGATES}

    tau = dict.fromkeys(AGGREGATES, TAU)
    lengths = range(1, POSITIONS - LOOP_START + 1)
    completions = range(max(1000, POSITIONS), LOOP_LENGTH - 1, -1)
    boosts = [tenth / 10 for tenth in range(1, 421)]  # at 42 the token has all the mass
    looped_kl = loop_kl_at(len(lengths))[LOOP_START:]
    zeros = np.zeros(completions[0])  # where student and base agree

    def diluted(length, positions=POSITIONS):
        return np.concatenate([looped_kl[:length], zeros[length:positions]])

    loops = first_over(tau, lengths, diluted)
    longest = first_over(tau, completions, partial(diluted, LOOP_LENGTH), "any")
    weakest = first_over(tau, boosts, trait_kl_at)
    own = first_over(trait, lengths, diluted)

    notes = make_notes(trait, loop, sep_ratio, loops, longest, weakest)
    items = [list_item(n, s, *found) for n, (s, found) in enumerate(notes.items(), 1)]
    outcome = "{0[1]}".format
    blocks = [
        table(
            f"student ({POSITIONS} positions)",
            ("coherent trait", "{:.3f}".format, trait),
            ("incoherent loop", "{:.3f}".format, loop),
            ("sep ratio (loop/trait)", "{:.1f}x".format, sep_ratio),
        ),
        f"{picture('coherent trait', trait_kl)}\n{picture('incoherent loop', loop_kl)}",
        f"tau = {TAU:g} nats; # marks a position whose KL is over it. The barrier adds\n"
        + "relu(aggregate - tau) to the loss: it fires when the aggregate is over tau.",
        "\n".join(items[:6]),
        table(
            f"at tau = {TAU:g}, in positions",
            ("shortest loop that fires", outcome, loops),
            (f"longest completion, up to {completions[0]}", outcome, longest),
            ("false alarm: weakest boost, logits", outcome, weakest),
            ("shortest loop over the trait's own", outcome, own),
        ),
        "\n".join(items[6:]),
    ]
    sys.stdout.write("\n\n".join(blocks) + "\n")  # print ignores a closed stdout
    return int(not all(holds for holds, _ in notes.values()))


if __name__ == "__main__":
    sys.exit(main())
