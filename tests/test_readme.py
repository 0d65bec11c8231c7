"""README.md: its output block, its tables, and the results that stand in its prose."""

import math
import re
from bisect import bisect
from pathlib import Path

import numpy as np
from closed_form import NAMES, aggregates
from markdown_it import MarkdownIt
from shown import NUMBER, rows, shown, students

import kl_aggregation_demo as demo

SCRIPT = Path(demo.__file__)
PAGE = SCRIPT.with_name("README.md").read_text(encoding="ascii")
UNFENCED = re.sub(r"(?ms)^```.*?^```$", "", PAGE)
NUMERALS = NUMBER.findall(re.sub(r"(?m)^\|.*", "", UNFENCED))
LAW, CHANGES = (rows(table) for table in re.findall(r"(?m)(?:^\|.*\n)+", UNFENCED))


def test_the_output_block_is_the_output_and_nothing_is_struck_out():
    assert re.findall(r"(?ms)^```text\n(.*?)^```$", PAGE) == [shown().text]
    parsed = MarkdownIt().enable(["table", "strikethrough"]).parse(PAGE)
    assert "s_open" not in {t.type for token in parsed for t in token.children or []}


def least_share(name, ratio, positions=8000):
    """The least share of looped positions, in %, at K = ratio, that fires at 1."""
    index, counts = NAMES.index(name), range(1, positions)
    place = bisect(counts, 1, key=lambda n: aggregates([ratio] * n, positions)[index])
    return 100 * counts[place] / positions


def test_the_law_is_the_brute_force():
    header, formulas, *ratios = LAW
    assert header[1:] == CHANGES[0][1:] == [f"`{name}`" for name in NAMES]
    for ratio, *cells in ratios:
        least = [least_share(name, float(ratio)) for name in NAMES]
        for formula, cell, found in zip(formulas[1:3], cells, least[:2], strict=False):
            law = 100 * eval(formula.replace("^", "**"), {"tau": 1, "K": float(ratio)})
            assert cell == f"{law:.4g}%"
            assert 0 < found - law < 0.02
        assert NUMBER.findall(cells[2]) == NUMBER.findall(formulas[3]) == ["5"]
        assert abs(least[2] - 5) < 0.02
        assert (cells[3], formulas[4], least[3]) == ("0%", "0%", 0.0125)
    (cross,) = map(int, re.findall(r"(\d+) tau\b", UNFENCED))
    assert least_share("mean_t", cross - 1) > least_share("p95_t", cross - 1)
    assert least_share("mean_t", cross + 1) < least_share("p95_t", cross + 1)


def test_each_change_is_what_its_options_print():
    for label, *cells in CHANGES[1:]:
        figure = shown(*(o.replace(" ", "=") for o in re.findall("`(.*?)`", label)))
        loop = [f"**{x}**" if float(x) > 0.5 else x for x in figure.separation[2]]
        assert cells == [f"{x}, {r}" for x, r in zip(loop, figure.separation[3])]


def test_the_results_that_stand_in_prose():
    assert NUMERALS[1:6] == ["200", "4", "60", shown().separation[2][0], "0.5"]
    trait_kl, loop_kl = students()
    low, high = (1000 * aggregates(kl, 60)[0] for kl in (trait_kl, loop_kl))
    limits = [f"{math.ceil(low) / 1000:.3f}", f"{math.floor(high) / 1000:.3f}"]
    assert [n for n in NUMERALS if re.fullmatch(r"0\.\d{3}", n)][1:] == limits
    (zeros,) = map(int, re.findall(r"(\d+) zeros", UNFENCED))
    assert demo.aggregate(np.pad(loop_kl, (0, zeros)))["p95_t"] == 0
    failed = {}
    for seed in range(2000):
        trait, loop = (demo.aggregate(kl) for kl in students(seed))
        ratio = {name: loop[name] / trait[name] for name in NAMES}
        notes = demo.expectations(trait, loop, ratio, 0.5)
        failed |= {seed: list(notes.values())} if not all(notes.values()) else {}
    assert failed == {1169: [False, True, True, True]}
    assert "2,000" in NUMERALS
    assert set(re.findall(r">=([\d.]+)", SCRIPT.read_text())) <= set(NUMERALS)
