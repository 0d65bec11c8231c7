"""What the tests share: the page, the data files, the defaults, and closed forms."""

import math
import os
import re
import sys
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parent
README, SCRIPT = TESTS.with_name("README.md"), TESTS.with_name("kl_aggregation_demo.py")
sys.path.insert(0, str(SCRIPT.parent))
os.environ["NO_COLOR"] = "1"  # for argparse

import kl_aggregation_demo as demo

PAGE = README.read_text(encoding="utf-8")
FENCED = re.compile(r"(?ms)^```(\w+)\n(.*?)^```$")
BLOCKS, TEXT = dict(FENCED.findall(PAGE)), FENCED.sub("", PAGE)
DEFAULTS = vars(demo.read_args([]))  # the settings of build, once tau is taken out
TAU = DEFAULTS.pop("tau")


def lines(name):
    return (TESTS / name).read_text().splitlines()


def tables(text):
    """The rows of each Markdown table in a text, as cells by column."""
    for table in re.findall(r"(?m)(?:^\|.*\n)+", text):
        rows = [[c.strip(" `") for c in r.split("|")[1:-1]] for r in table.split("\n")]
        yield [dict(zip(rows[0], row, strict=True)) for row in rows[2:-1]]


def students(positions, vocab_size, loop_length, trait_boost, seed, scale=1):
    """The per-position KL of trait and loop by closed forms, with scaled logits."""
    normal = np.random.default_rng(seed).standard_normal((positions, vocab_size))
    base = np.exp(scale * normal)
    base /= base.sum(axis=1, keepdims=True)
    rarest_first = np.argsort(base.sum(axis=0))
    # Boosting one logit turns its q into q / d, and others into q * e**-boost / d.
    q = base[:, rarest_first[vocab_size // 2]]
    d = q + (1 - q) * np.exp(-trait_boost)
    trait = -np.log(d) - (1 - q / d) * trait_boost
    # One token leads by 22 nats, and the others' probs are floored at 1e-9.
    rest = 1 / (math.exp(22) + vocab_size - 1)
    lead, logs = rest * math.exp(22), np.log(base)
    token = logs[:, rarest_first[3]]
    floored = (vocab_size - 1) * math.log(1e-9) - (logs.sum(axis=1) - token)
    since = np.arange(positions) - min(12, positions - loop_length)
    looped = lead * (math.log(lead) - token) + rest * floored
    return trait, np.where((since >= 0) & (since < loop_length), looped, 0)


def aggregates(kl):
    """The aggregates of some KLs, by other means than the script's."""
    return {
        "mean_t": math.fsum(kl) / len(kl),
        "rmse_t": np.linalg.norm(kl) / math.sqrt(len(kl)),
        "p95_t": np.interp(0.95 * (len(kl) - 1), range(len(kl)), np.sort(kl)),
        "max_t": max(kl),
    }
