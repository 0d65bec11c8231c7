"""README.md: its tables, and the results that stand in its prose."""

import re

import numpy as np
from closed_form import DEFAULTS, aggregates, students
from test_text import README

import kl_aggregation_demo as demo

PAGE = re.sub(r"(?ms)^```.*?^```$", "", README.read_text(encoding="ascii"))
PROSE = " ".join(re.sub(r"(?m)^\|.*", "", PAGE).split())


def tables(text):
    """The rows of each Markdown table in a text, as cells by column."""
    for lines in re.findall(r"(?m)(?:^\|.*\n)+", text):
        rows = [[c.strip(" `") for c in r.split("|")[1:-1]] for r in lines.split("\n")]
        yield [dict(zip(rows[0], row, strict=True)) for row in rows[2:-1]]


LAW, CHANGES = tables(PAGE)


def least_shares(ratio, positions=1000):
    """The least share of looped positions at which each aggregate of K fires at 1."""
    by_length = demo.aggregate(ratio * np.tri(positions + 1, positions, -1))
    return {name: np.argmax(nats > 1) / positions for name, nats in by_length.items()}


def test_the_law_is_the_brute_force():
    for row in LAW[1:]:
        k = float(row.pop("K / tau"))
        laws = {"tau / K": 1 / k, "(tau / K)^2": k**-2, "about 5%": 0.05, "0%": 0}
        for name, cell in row.items():
            law = laws[LAW[0][name]]
            assert cell.removeprefix("about ") == f"{100 * law:.4g}%", name
            assert abs(least_shares(k)[name] - law) < 1.1e-3, name
    assert least_shares(19)["mean_t"] > least_shares(19)["p95_t"]
    assert least_shares(21)["mean_t"] < least_shares(21)["p95_t"]


def test_each_change_is_what_its_options_print(run):
    for row in CHANGES:
        _, printed, _ = run(*re.findall(r"--\S+|\d+", row.pop("options")))
        trait, loop, _ = next(tables(printed))
        for name, cell in row.items():
            low, high = trait[name], loop[name]
            works = f"{low} to {high}" if float(low) < float(high) else "none"
            bold = "**" if float(low) <= 0.5 < float(high) else ""
            assert cell == f"{bold}{works}{bold}", name


def test_results_in_prose():
    trait, loop = students(**DEFAULTS).values()
    strong, _ = students(**DEFAULTS | {"trait_boost": 4}).values()
    kept, strong_kept = (np.where(loop > 0, loop, kl) for kl in (trait, strong))
    means = {f"{kl.mean():.3f}" for kl in (trait, loop, kept, strong, strong_kept)}
    assert set(re.findall(r"\b\d\.\d{3}\b", PROSE)) == means
    looped, k = loop[loop > 0], loop[loop > 0].mean()
    assert f"{len(looped)} of {len(loop)} positions" in PROSE
    assert set(re.findall(r"([\d.]+) nats", PROSE)) == {"0.5", f"{k:.2f}"}
    assert set(re.findall(r"(\d+) tau", PROSE)) == {f"{k / 0.5:.0f}", "20"}
    assert set(re.findall(r"[\d.]+%", PROSE)) == {f"{0.5 / k:.1%}", f"{4 / 60:.1%}"}
    (zeros,) = map(int, re.findall(r"(\d+) zeros", PROSE))
    assert aggregates(np.pad(loop, (0, zeros)))["p95_t"] == 0
    assert min([*aggregates(loop).values()][1:]) > 3 * 0.5  # "more than three times"


def test_notes_at_the_first_2000_seeds():
    failed = {}
    for seed in range(2000):
        base, *probs = demo.build(**DEFAULTS | {"seed": seed})
        trait, loop = (demo.aggregate(demo.per_position_kl(p, base)) for p in probs)
        ratio = {name: loop[name] / trait[name] for name in trait}
        notes = demo.predictions(trait, loop, ratio, tau=0.5, is_default=False)
        holds = [holds for holds, *_ in notes]
        failed |= {} if all(holds) else {seed: holds}
    assert failed == {1169: [False, True, True, True]}
