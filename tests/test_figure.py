"""The figure as data: its numbers in many worlds, its notes, where its marks stand."""

import math
from itertools import product

import numpy as np
import pytest
from closed_form import DEFAULTS, aggregates, students

import kl_aggregation_demo as demo

WORLDS = [
    *({"positions": number} for number in (4, 15, 16, 30, 61, 1000)),
    *({"loop_length": number} for number in (1, 3, 6, 48, 49, 60)),
    *({"trait_boost": number} for number in (0.1, 3.0, 4.0, 12.25, 1e300)),
    *({"vocab_size": number} for number in (8, 9, 1000, 32000)),
    *({"seed": number} for number in (0, 1, 1169, 2**40)),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_numbers_are_those_of_the_closed_forms(world, run):
    assert run(**world)[::2] == (0, "")
    base, *probs = demo.build(**DEFAULTS | world)
    expected = students(**DEFAULTS | world)
    for p, (student, kl) in zip(probs, expected.items(), strict=True):
        where = f"{student} at {world}"
        found = demo.per_position_kl(p, base)
        assert found == pytest.approx(kl, rel=1e-9), where
        assert demo.aggregate(found).keys() == aggregates(kl).keys(), "closed_form.py"
        assert demo.aggregate(found) == pytest.approx(aggregates(kl), rel=1e-9), where


def failing(trait, loop, tau):
    """The numbers of the notes that fail, but for the journal's."""
    ratio = {name: loop[name] / trait[name] for name in trait}
    notes = demo.predictions(trait, loop, ratio, tau, is_default=False)
    return [number for number, (holds, *_) in enumerate(notes, 1) if not holds]


def edge(mean=0.99, rmse=2.01, p95=2.01, low=0.5, top=1.0, tau=0.25):
    """The notes that fail where, in units of tau, by default each just holds."""
    trait = {"mean_t": low, "rmse_t": 1.0, "p95_t": 1.0, "max_t": top}
    loop = {"mean_t": mean, "rmse_t": rmse, "p95_t": p95, "max_t": 9.0}
    students = ({name: tau * x for name, x in kl.items()} for kl in (trait, loop))
    return failing(*students, tau)


def test_each_note_holds_at_its_edge_and_fails_past_it():
    assert edge() == []
    assert edge(mean=1.0) == [1]
    assert edge(rmse=2.0) == edge(p95=2.0) == [2]
    assert edge(top=1.001) == [3]
    assert edge(0.75, 3.0, 3.1, low=0.25) == edge(0.75, 3.1, 3.0, low=0.25) == [4]
    listed = demo.numbered([(True, "a"), (False, "b", "c")])
    assert listed.endswith("\n1. holds: a\n2. FAILS: b\n   c")


def test_kl_and_aggregates_by_hand():
    p, q = np.array([1 / 2, 1 / 2, 0]), np.array([1 / 4, 1 / 4, 1 / 2])
    assert demo.per_position_kl(p, q) == pytest.approx(math.log(2), rel=1e-12)
    floored = -math.log(2) / 2 + math.log(0.5 / 1e-9) / 2  # under p's zero
    assert demo.per_position_kl(q, p) == pytest.approx(floored, rel=1e-12)
    assert demo.per_position_kl(np.array([1e-10, 1 - 1e-10]), np.array([0, 1])) < 0
    # mean 7/4; mean square 25/4; rank 0.95 * 3 = 2.85, so 3 + 0.85 * (4 - 3).
    by_hand = {"mean_t": 1.75, "rmse_t": 2.5, "p95_t": 3.85, "max_t": 4.0}
    batch = demo.aggregate(np.array([[4.0, 0.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    for name, number in by_hand.items():
        assert batch[name] == pytest.approx([number, 0.0]), name


def test_some_bars_and_every_verdict_at_its_edge():
    assert demo.bar(0.01, 1.00, 0.1) == " T=============|=============L".ljust(48)
    assert demo.bar(0.01, 0.101, 0.1) == " T=============|L".ljust(48)
    assert demo.bar(0.01, 0.10, 0.1) == " T============L|".ljust(48)
    assert demo.bar(0.00, 0.00, 0.0) == "TL|".ljust(48)
    assert demo.bar(20.7, 20.7, 20) == "|TL".rjust(48)
    assert demo.verdict(1.0, 1.01, 1.0) == "works"
    assert demo.verdict(1.0, 1.0, 1.0) == "misses the loop"
    assert demo.verdict(1.01, 1.01, 1.0) == "fires on both"
    assert demo.verdict(1.01, 1.0, 1.0) == "fires on trait only"


def test_marks_stand_in_the_order_of_their_numbers_with_the_bar_between():
    random = np.exp(np.random.default_rng(0).uniform(-7, 3.03, (500, 3)))
    few = [0, 5e-324, 0.01, 0.37, 0.379, 0.5, 0.5 + 2e-16, 8.081, 16.9, 20.7]
    for trait, loop, tau in [*product(few, few, [*few, 1e308]), *random]:
        drawn, world = demo.bar(trait, loop, tau), (trait, loop, tau)
        ordered = sorted([(trait, "T"), (loop, "L"), (tau, "|")], key=lambda m: m[0])
        assert [c for c in drawn if c not in "= "] == [m for _, m in ordered], world
        between = set(range(drawn.index("T") + 1, drawn.index("L")))
        filled = {i for i, c in enumerate(drawn) if c == "="}
        assert filled == between - {drawn.index("|")}, world


def test_the_axis_stands_above_the_bars():
    drawn = demo.drawing({"t": 0.1, "eight_at": 1}, {"t": 9.0, "eight_at": 0.1}, 0.5)
    *_, labels, axis, first, second, legend = drawn.split("\n")
    start = first.index(demo.bar(0.1, 9.0, 0.5))
    assert start == second.index(demo.bar(1, 0.1, 0.5))
    for nats, column in {0.01: 1, 0.1: 15, 1: 29, 10: 43}.items():
        for decades in (-0.49 / 14, 0.49 / 14):  # half a column at most
            assert demo.column(nats * 10**decades) == column
        assert axis[start + column] == "+"
        assert f"{labels} "[start + column :].startswith(f"{nats:g} ")
    assert axis.rindex("-") == start + demo.column(20)
    assert legend.split()[:4] == ["T", "trait", "L", "loop"]


def test_every_mark_of_a_strip_at_its_edges():
    edges = {0.0: ".", -1e-17: "-", 5e-324: "-", 0.5: "-", 0.5 + 2e-16: "1", 20.7: "9"}
    for digit in range(1, 9):
        edges |= {digit + 0.499: str(digit), digit + 0.501: str(digit + 1)}
    for nats, mark in edges.items():
        assert demo.strip_mark(nats) == mark, nats
    drawn = demo.strips(np.array([0.1]), np.array([9.0]), demo.read_args([]))
    assert "    coherent trait  -\n    incoherent loop 9\n" in drawn
