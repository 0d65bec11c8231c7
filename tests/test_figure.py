"""The figure as data: its numbers in many worlds, its checks, where its marks stand."""

import math
from itertools import permutations, product

import numpy as np
import pytest
from helpers import DEFAULTS, aggregates, demo, lines, run, students, tables


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options", lines("worlds.txt"))
def test_numbers_are_those_of_the_closed_forms(options):
    assert run(*options.split()).error == ""
    settings = vars(demo.read_args(options.split()))
    del settings["tau"]
    base, *probs = demo.build(**settings)
    for p, kl in zip(probs, students(**settings), strict=True):
        found, closed_form = demo.per_position_kl(p, base), aggregates(kl)
        assert found == pytest.approx(kl, rel=1e-9)
        ask = "aggregates of tests/helpers.py should have each aggregate's closed form"
        assert [*demo.aggregate(found)] == [*closed_form], ask
        assert demo.aggregate(found) == pytest.approx(closed_form, rel=1e-9)


def test_kl_by_hand():
    p, q = [1 / 2, 1 / 2, 0], [1 / 4, 1 / 4, 1 / 2]
    assert demo.per_position_kl(p, q) == pytest.approx(math.log(2), rel=1e-12)
    floored = -math.log(2) / 2 + math.log(0.5 / 1e-9) / 2  # under p's zero
    assert demo.per_position_kl(q, p) == pytest.approx(floored, rel=1e-12)
    assert demo.per_position_kl([1e-10, 1 - 1e-10], [0, 1]) < 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", ["float16", "list", "masked"])
def test_any_array_like_has_the_float64_result(form):
    def given(x):
        halves = np.float16(x)
        masked = np.ma.masked_array(halves, mask=True)
        return {"float16": halves, "list": halves.tolist(), "masked": masked}[form]

    base, trait, loop = demo.build(3, 200, 1, 1.6, 0)
    batch = demo.per_position_kl(given([[trait, loop], [loop, base]]), given(base))
    for (i, j), student in zip(product((0, 1), repeat=2), (trait, loop, loop, base)):
        p, q = (np.float16(x).astype(float) for x in (student, base))
        assert batch[i, j] == pytest.approx(demo.per_position_kl(p, q)), (i, j)
    for kl in np.float16([1e-4, 3e-4]).astype(float), np.full(70_000, 2.0):
        assert demo.aggregate(given(kl)) == pytest.approx(demo.aggregate(kl))


def failing(low=0.5, top=1.0, mean=0.99, rmse=2.01, p95=2.01):
    """The rows that fail if all but what is given, in units of tau, are just within."""
    trait = {"mean_t": low / 4, "rmse_t": 1 / 4, "p95_t": 1 / 4, "max_t": top / 4}
    loop = {"mean_t": mean / 4, "rmse_t": rmse / 4, "p95_t": p95 / 4}
    ratio = {name: nats / trait[name] for name, nats in loop.items()}
    predicted = demo.predictions(trait, loop, ratio, tau=1 / 4)
    rows = next(tables(demo.checks(predicted)))
    for row, (_, inequality, holds) in zip(rows, predicted, strict=True):
        assert holds == eval(inequality.replace("x", "")), inequality
        assert (row["check"], row[""]) == (inequality, "holds" if holds else "FAILS")
    return [i for i, (_, _, holds) in enumerate(predicted, 1) if not holds]


def test_each_row_holds_just_within_its_edge_and_fails_at_it():
    assert failing() == []
    assert failing(mean=1.0) == [1]
    assert failing(rmse=2.0) == [2]
    assert failing(p95=2.0) == [3]
    assert failing(top=1.01) == [4]
    assert failing(low=0.25, mean=0.75, rmse=3.0, p95=3.01) == [5]
    assert failing(low=0.25, mean=0.75, rmse=3.01, p95=3.0) == [6]


def test_so_many_positions_over_tau_are_enough_for_p95_and_no_fewer():
    for n in (1, 2, 20, 21, 22, 23, 60, 61, 62, 399, 1241):
        by_count = demo.aggregate(1.0001 * np.tri(n + 1, n, -1))["p95_t"]  # 0 to n over
        assert demo.enough_for_p95(n) == np.argmax(by_count > 1), f"{n} positions"
    n, m = DEFAULTS["positions"], DEFAULTS["loop_length"]
    said = f"At N = {n}, that takes an m of {demo.enough_for_p95(n)}, the default."
    assert said in " ".join(demo.__doc__.split()), f"the docstring should say: {said}"
    assert demo.enough_for_p95(n) == m, "the docstring should not call m the default"


VERDICTS = {(False, True): "works", (False, False): "misses the loop"}
VERDICTS |= {(True, True): "fires on both", (True, False): "fires on trait only"}


def test_marks_stand_in_the_order_of_their_numbers_with_bar_and_verdict():
    random = np.exp(np.random.default_rng(0).uniform(-7, 3.03, (500, 3)))
    few = [0, 5e-324, 0.01, 0.37, 0.379, 0.5, 0.5 + 2e-16, 8.081, 16.9, 20.7]
    for trait, loop, tau in [*product(few, few, [*few, 1e299]), *random]:
        drawn, world = demo.bar(trait, loop, tau), (trait, loop, tau)
        ordered = sorted([(trait, "T"), (loop, "L"), (tau, "|")], key=lambda m: m[0])
        assert [c for c in drawn if c not in "= "] == [m for _, m in ordered], world
        between = set(range(drawn.index("T") + 1, drawn.index("L")))
        filled = {i for i, c in enumerate(drawn) if c == "="}
        assert filled == between - {drawn.index("|")}, world
        assert demo.verdict(*world) == VERDICTS[trait > tau, loop > tau], world


def test_marks_give_way_by_a_column_and_keep_within_the_axis():
    assert demo.bar(0.01, 0.101, 0.1) == " T=============|L".ljust(48)
    assert demo.bar(0.01, 0.10, 0.1) == " T============L|".ljust(48)
    assert demo.bar(0.00, 0.00, 0.0) == "TL|".ljust(48)
    assert demo.bar(20.7, 20.7, 20) == "|TL".rjust(48)


def test_the_axis_stands_above_the_bars_and_tau_under_its_line():
    lines = demo.drawing({"t": 0.1, "eight_at": 1}, {"t": 9.0, "eight_at": 0.1}, 0.5)
    *_, labels, axis, first, second, hung, _ = lines.split("\n")
    start = first.index(demo.bar(0.1, 9.0, 0.5))
    assert start == second.index(demo.bar(1, 0.1, 0.5))
    assert hung.index("tau = 0.5") == first.index("|")
    for nats, column in {0.01: 1, 0.1: 15, 1: 29, 10: 43}.items():
        for decades in (-0.49 / 14, 0.49 / 14):  # half a column at most
            assert demo.column(nats * 10**decades) == column
        assert axis[start + column] == "+"
        assert labels[start + column :].startswith(f"{nats:g} ")
    assert axis.rindex("-") == start + demo.column(17) == start + demo.column(20)


def test_an_end_of_the_axis_clips_only_what_lies_beyond_it():
    for number in (0.0099, 0.01, 17, 17.01):
        low, high = "<=" * (number < 0.01), ">=17" * (number > 17)
        expected = f"nats {low}0.01 0.1 1 10 {high} (log scale)".split()
        for trait, loop, tau in set(permutations([number, 1, 1])):
            labels = demo.drawing({"max_t": trait}, {"max_t": loop}, tau).split("\n")[3]
            assert labels.split() == expected, (trait, loop, tau)


def test_every_mark_of_a_strip_at_its_edges():
    edges = {0.0: ".", -1e-17: "-", 5e-324: "-", 0.499: "-", 9.501: "+", 20.7: "+"}
    for digit in range(1, 10):
        edges |= {digit - 0.499: str(digit), digit + 0.499: str(digit)}
    assert demo.strip(np.array([*edges])) == "".join(edges.values())
    strips = demo.strips(np.full(61, 0.1), np.full(61, 9.0)).split()
    assert strips[2:3] + strips[5:8] == ["-" * 60, "9" * 60, "first", "60"]
