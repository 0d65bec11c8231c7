"""What the tests share: the defaults, closed forms, and readers of Markdown."""

import math
import re
import sys
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parent
README, SCRIPT = TESTS.with_name("README.md"), TESTS.with_name("kl_aggregation_demo.py")
sys.path.insert(0, str(SCRIPT.parent))

import kl_aggregation_demo as demo

DEFAULTS = vars(demo.read_args([]))  # the settings of build, once tau is taken out
TAU = DEFAULTS.pop("tau")


def base_probs(positions, vocab_size, seed, scale=1):
    """The base, and its tokens from the rarest to the likeliest."""
    normal = np.random.default_rng(seed).standard_normal((positions, vocab_size))
    base = np.exp(scale * normal)
    base /= base.sum(axis=1, keepdims=True)
    return base, np.argsort(base.sum(axis=0))


def trait_kl(q, boost):
    """Boosting a logit turns its prob q into q / d, and others into q * e**-boost / d."""
    d = q + (1 - q) * np.exp(-boost)
    return -np.log(d) - (1 - q / d) * boost


def looped_kl(looped, token):
    """One token leads by 22 nats, and the others' probs are floored at 1e-9."""
    others = looped.shape[1] - 1
    lead = 1 / (1 + others * math.exp(-22))
    rest = lead * math.exp(-22)
    logs = np.log(looped)
    kl = lead * (math.log(lead) - logs[:, token]) + rest * others * math.log(1e-9)
    return kl - rest * (logs.sum(axis=1) - logs[:, token])


def students(positions, vocab_size, loop_length, trait_boost, seed, scale=1):
    """The per-position KL of trait and loop by closed forms."""
    base, rarest_first = base_probs(positions, vocab_size, seed, scale)
    trait = trait_kl(base[:, rarest_first[vocab_size // 2]], trait_boost)
    start, loop = min(12, positions - loop_length), np.zeros(positions)
    where = slice(start, start + loop_length)
    loop[where] = looped_kl(base[where], rarest_first[3])
    return trait, loop


def aggregates(kl):
    """The aggregates of some KLs, by other means than the script's."""
    n, ordered = len(kl), np.sort(kl)
    return {
        "mean_t": math.fsum(kl) / n,
        "rmse_t": np.linalg.norm(kl) / math.sqrt(n),
        "p95_t": np.interp(0.95 * (n - 1), range(n), ordered),
        "max_t": ordered[-1],
    }


def tables(text):
    """The rows of each Markdown table in a text, as cells by column."""
    for lines in re.findall(r"(?m)(?:^\|.*\n)+", text):
        rows = [[c.strip(" `") for c in r.split("|")[1:-1]] for r in lines.split("\n")]
        yield [dict(zip(rows[0], row, strict=True)) for row in rows[2:-1]]


def misfits(figure):
    """The lines that are too wide, are not ASCII, or end in a blank, each with why."""
    width = 88 if re.search(r"\d{5}\.\dx", figure) else 80  # ratios of five digits
    for line in figure.split("\n"):
        if len(line) > width or not line.isascii() or line != line.rstrip():
            yield f"over {width} columns, not ASCII, or a blank at its end: {line}"
