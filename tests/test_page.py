"""README.md: its tables, and the results that stand in its prose."""

import re

import numpy as np
from closed_form import DEFAULTS, aggregates, students
from test_figure import failing
from test_text import README, tables

import kl_aggregation_demo as demo

PAGE = re.sub(r"(?ms)^```.*?^```$", "", README.read_text(encoding="utf-8"))
PROSE = " ".join(re.sub(r"(?m)^\|.*", "", PAGE).split())


def test_the_law_is_the_brute_force():
    formulas, *rows = next(rows for rows in tables(PAGE) if "K / tau" in rows[0])
    for row in rows:
        k = float(row.pop("K / tau"))
        laws = {"tau / K": 1 / k, "(tau / K)^2": k**-2, "about 5%": 0.05, "0%": 0}
        by_length = demo.aggregate(k * np.tri(1001, 1000, -1))  # 0 to 1000 are looped
        assert row.keys() == by_length.keys(), "README.md: a column for each aggregate"
        for name, cell in row.items():
            law = laws[formulas[name]]
            assert cell.removeprefix("about ") == f"{100 * law:.4g}%", (k, name)
            assert 0 <= np.argmax(by_length[name] > 1) - 1000 * law <= 1.1, (k, name)


def test_each_change_is_what_its_options_print(run):
    for row in next(rows for rows in tables(PAGE) if "options" in rows[0]):
        label = row.pop("options")
        trait, loop, _ = next(tables(run(*re.findall(r"--\S+|\d+", label))[1]))
        assert [*row] == [*trait][1:], "README.md: a column for each aggregate"
        for name, cell in row.items():
            low, high = trait[name], loop[name]
            works = f"{low} to {high}" if float(low) < float(high) else "none"
            bold = "**" if float(low) <= 0.5 < float(high) else ""
            assert cell == f"{bold}{works}{bold}", (label, name)


def test_results_in_prose():
    trait, loop = students(**DEFAULTS).values()
    strong, _ = students(**DEFAULTS | {"trait_boost": 4}).values()
    kept, strong_kept = (np.where(loop > 0, loop, kl) for kl in (trait, strong))
    k = loop[loop > 0].mean()
    for pattern, numbers in {
        r"(\d+) of (\d+) positions": ("4", "60"),
        r"divergence is (\S+),": f"{loop.mean():.3f}",
        r"any from (\S+) to (\S+) works": (f"{trait.mean():.3f}", f"{loop.mean():.3f}"),
        r"averages (\S+) nats, which is (\S+) tau": (f"{k:.2f}", f"{k / 0.5:.0f}"),
        r"over (\d+) tau": f"{1 / 0.05:.0f}",  # where tau / K is p95's 5%
        r"needs (\S+)% of": f"{50 / k:.1f}",
        r"has (\S+)%": f"{100 * 4 / 60:.1f}",
        r"mean of (\S+)\.": f"{kept.mean():.3f}",
        r"(\S+), above the": f"{strong_kept.mean():.3f}",
        r"above the trait's (\S+),": f"{strong.mean():.3f}",
    }.items():
        assert re.findall(pattern, PROSE) == [numbers], f"README.md: {pattern}"
    padding = 0, int(*re.findall(r"(\d+) zeros", PROSE))
    assert aggregates(np.pad(loop, padding))["p95_t"] == 0
    assert min(aggregates(loop)[name] for name in ("rmse_t", "p95_t", "max_t")) > 1.5


def test_notes_at_the_first_seeds():
    failed = {}
    for seed in range(1000 * int(*re.findall(r"first (\d+),000 seeds", PROSE))):
        base, *probs = demo.build(**DEFAULTS | {"seed": seed})
        kls = (demo.per_position_kl(p, base) for p in probs)
        failed[seed] = failing(*map(demo.aggregate, kls), tau=0.5)
    assert {seed: notes for seed, notes in failed.items() if notes} == {1169: [1]}
