"""The figure as data: its numbers in many worlds, its checks, where its marks stand."""

from functools import partial
from itertools import product

import numpy as np
import pytest
from helpers import DEFAULTS, TESTS, aggregates, demo, lines, students, tables

FORMS = [np.asarray, np.ndarray.tolist, partial(np.ma.masked_array, mask=True)]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options", lines("worlds.txt"))
def test_numbers_are_those_of_the_closed_forms(options):
    demo.main(options.split())  # without a warning
    settings = vars(demo.read_args(options.split()))
    del settings["tau"]
    base, *probs = demo.build(**settings)
    for p, kl in zip(probs, students(**settings), strict=True):
        found, closed_form = demo.per_position_kl(p, base), aggregates(kl)
        assert found == pytest.approx(kl, rel=1e-9)
        ask = "aggregates of tests/helpers.py should have each aggregate's closed form"
        assert [*demo.aggregate(found)] == [*closed_form], ask
        assert demo.aggregate(found) == pytest.approx(closed_form, rel=1e-9)


def test_kl_is_floored_on_both_sides_and_can_be_negative():
    p, q = [1e-10, 1 - 1e-10], [0, 1]  # the first token has the floor's quotient, 1
    assert demo.per_position_kl(p, q) == pytest.approx(-1e-10, rel=1e-5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", FORMS)
def test_any_array_like_has_the_float64_result(form):
    base, trait, loop = halves = np.float16(demo.build(3, 200, 1, 1.6, 0))
    batch = demo.per_position_kl(form(halves[[[1, 2], [2, 0]]]), form(base))
    for (i, j), student in zip(product((0, 1), repeat=2), (trait, loop, loop, base)):
        expected = demo.per_position_kl(student.astype(float), base.astype(float))
        assert batch[i, j] == pytest.approx(expected), (i, j)
    for kl in np.float16([1e-4, 3e-4]), np.full(70_000, 2, np.float16):
        expected = demo.aggregate(kl.astype(float))
        assert demo.aggregate(form(kl)) == pytest.approx(expected)


def failing(low=0.5, top=1.0, mean=0.99, rmse=2.01, p95=2.01):
    """The rows that fail if all but what is given, in units of tau, are just within."""
    trait = {"mean_t": low / 4, "rmse_t": 1 / 4, "p95_t": 1 / 4, "max_t": top / 4}
    loop = {"mean_t": mean / 4, "rmse_t": rmse / 4, "p95_t": p95 / 4}
    ratio = {name: nats / trait[name] for name, nats in loop.items()}
    predicted = demo.predictions(trait, loop, ratio, tau=1 / 4)
    for row, (_, inequality, holds) in zip(
        next(tables(demo.checks(predicted))), predicted
    ):
        assert holds == eval(inequality.replace("x", "")), inequality
        assert row[""] == ("holds" if holds else "FAILS")
    return [number for number, (_, _, holds) in enumerate(predicted, 1) if not holds]


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


def test_marks_stand_in_the_order_of_their_numbers_with_the_bar_between():
    random = np.exp(np.random.default_rng(0).uniform(-7, 3.03, (500, 3)))
    few = [0, 5e-324, 0.01, 0.37, 0.379, 0.5, 0.5 + 2e-16, 8.081, 16.9, 20.7]
    for trait, loop, tau in [*product(few, few, [*few, 1e299]), *random]:
        drawn, world = demo.bar(trait, loop, tau), (trait, loop, tau)
        ordered = sorted([(trait, "T"), (loop, "L"), (tau, "|")], key=lambda m: m[0])
        assert [c for c in drawn if c not in "= "] == [m for _, m in ordered], world
        between = set(range(drawn.index("T") + 1, drawn.index("L")))
        filled = {i for i, c in enumerate(drawn) if c == "="}
        assert filled == between - {drawn.index("|")}, world


@pytest.mark.parametrize("text", (TESTS / "drawings.txt").read_text().split("\n\n"))
def test_a_drawing_of_rows_named_by_their_numbers_is_its_text(text):
    rows = [line.split()[:2] for line in text.splitlines()[2:-1]]
    trait = {f"{t} {loop}": float(t) for t, loop in rows}
    loop = {f"{t} {loop}": float(loop) for t, loop in rows}
    tau = float(text.split()[-1])
    assert demo.drawing(trait, loop, tau).splitlines()[3:-1] == text.splitlines()


def test_every_mark_of_a_strip_at_its_edges():
    edges = {0.0: ".", -1e-17: "-", 5e-324: "-", 0.499: "-", 9.501: "+", 20.7: "+"}
    for digit in range(1, 10):
        edges |= {digit - 0.499: str(digit), digit + 0.499: str(digit)}
    assert demo.strip(np.array([*edges])) == "".join(edges.values())
    shown = demo.strips(np.full(61, 0.1), np.full(61, 9.0)).split()
    assert [shown[i] for i in (2, 5, 6, 7)] == ["-" * 60, "9" * 60, "first", "60"]
