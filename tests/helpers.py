"""What the tests share: the defaults, closed forms, and runs of the script."""

import contextlib
import io
import math
import os
import re
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parent
README, SCRIPT = TESTS.with_name("README.md"), TESTS.with_name("kl_aggregation_demo.py")
sys.path.insert(0, str(SCRIPT.parent))
os.environ["NO_COLOR"] = "1"  # for argparse

import kl_aggregation_demo as demo

DEFAULTS = vars(demo.read_args([]))  # the settings of build, once tau is taken out
TAU = DEFAULTS.pop("tau")
Run = namedtuple("Run", "status output error")


def run(*arguments):
    """Run the script in this process."""
    output, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):
        try:
            status = demo.main(arguments)
        except SystemExit as end:
            status = end.code
    return Run(status, output.getvalue(), error.getvalue())


def assert_fits(figure):
    width = 88 if re.search(r"\d{5}\.\dx", figure) else 80  # ratios of five digits
    for line in figure.split("\n"):
        assert len(line) <= width, f"over {width} columns, as helpers.py allows: {line}"
        assert line.isascii() and line == line.rstrip(), line


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
    trait, loop = -np.log(d) - (1 - q / d) * trait_boost, np.zeros(positions)
    # One token leads by 22 nats, and the others' probs are floored at 1e-9.
    start, others = min(12, positions - loop_length), vocab_size - 1
    rest = 1 / (math.exp(22) + others)
    lead = rest * math.exp(22)
    logs = np.log(base[start : start + loop_length])
    token = logs[:, rarest_first[3]]
    floored = others * math.log(1e-9) - (logs.sum(axis=1) - token)
    loop[start : start + loop_length] = lead * (math.log(lead) - token) + rest * floored
    return trait, loop


def aggregates(kl):
    """The aggregates of some KLs, by other means than the script's."""
    n = len(kl)
    return {
        "mean_t": math.fsum(kl) / n,
        "rmse_t": np.linalg.norm(kl) / math.sqrt(n),
        "p95_t": np.interp(0.95 * (n - 1), range(n), np.sort(kl)),
        "max_t": max(kl),
    }
