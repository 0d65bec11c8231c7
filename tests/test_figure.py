"""What the figure shows, as it stands and in edited worlds."""

import math
import re

import closed_form
import numpy as np
import pytest
from markdown_it import MarkdownIt

import kl_aggregation_demo as demo

pytestmark = pytest.mark.filterwarnings("error")

WORLDS = [
    {},
    {"SEED": 1},
    {"POSITIONS": 30},
    {"POSITIONS": 120, "TAU": 0.005},
    {"POSITIONS": 4, "LOOP_START": 0},
    {"TRAIT_RANK": 150, "LOOP_RANK": 150},
    {"TRAIT_BOOST": 3.0},
    {"TRAIT_BOOST": 12.25},
    {"TRAIT_BOOST": 0.1},
    {"LOOP_START": 0, "LOOP_LENGTH": 60},
    {"LOOP_LENGTH": 1},
    {"LOOP_LENGTH": 3},
    {"LOOP_LENGTH": 6},
    {"LOOP_LOGIT": 2.0, "OTHER_LOGIT": -10, "PROB_FLOOR": 6e-5},
    {"LOOP_LOGIT": 2.0, "OTHER_LOGIT": -10, "PROB_FLOOR": 1e-300},
    {"LOOP_LOGIT": 1000, "OTHER_LOGIT": -1000},
    {"TAU": 1e-5},
    {"TAU": 1 / 120},
    {"TAU": 0.05},
    {"TAU": 0.2},
    {"TAU": 0.77},
    {"TAU": 4.8},
    {"TAU": 5.5},
    {"TAU": 5.7},
    {"TAU": 123.456},
    # At the ends of what is allowed.
    {"SEED": 4294967295, "TRAIT_RANK": 199, "LOOP_RANK": 0, "TRAIT_BOOST": 42},
    {"POSITIONS": 1, "LOOP_START": 0, "LOOP_LENGTH": 1, "VOCAB_SIZE": 2000, "TAU": 12},
    {"VOCAB_SIZE": 2, "TRAIT_RANK": 1, "LOOP_RANK": 0},
    {"LOOP_START": 59, "LOOP_LENGTH": 1, "LOOP_RANK": 199, "TRAIT_RANK": 0},
    {"LOOP_LENGTH": 48, "LOOP_LOGIT": -9.0},
    {"LOOP_LOGIT": 1000, "OTHER_LOGIT": 999},
    {"TAU": 1e-9},
    {"TAU": 1000},
]


@pytest.mark.parametrize("settings", WORLDS, ids=str)
def test_every_number_is_that_of_the_closed_forms(world, settings):
    shown, expected = world(**settings), closed_form.figure(vars(demo) | settings)
    for part, value in vars(expected).items():
        assert getattr(shown, part) == value, part
    assert shown.numbered == [1, 2, 3, 4, 5]
    assert shown.status == (0 if all(expected.holds) else 1)


@pytest.mark.parametrize("settings", WORLDS, ids=str)
def test_the_words_are_the_same_in_every_world_and_fit(world, settings):
    shown = world(**settings)
    assert shown.words == world().words
    assert not re.search(r"\b(nan|inf)\b|-0\.0", shown.text)
    assert shown.text.isascii()
    _, _, strip, paragraph, _, _ = shown.text.split("\n\n")
    assert max(map(len, shown.text.splitlines())) <= 80
    assert len(world().text.splitlines()) <= 34
    assert len(paragraph.splitlines()) <= 6
    marks = [line.split()[-1] for line in strip.splitlines()]
    assert len(marks) == 2 * math.ceil(len("".join(marks)) / 120)
    assert len({line.rindex(" ") for line in strip.splitlines()}) == 1
    parsed = (
        MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(shown.text)
    )
    top = [t.type for t in parsed if t.level == 0 and t.nesting >= 0]
    blocks = " ".join(block.removesuffix("_open") for block in top)
    assert blocks == "heading table code_block paragraph ordered_list table"
    assert sum(t.type == "list_item_open" for t in parsed) == 5
    inline = {t.type for block in parsed for t in block.children or []}
    assert inline <= {"text", "softbreak"}


def test_every_note_fails_in_some_world_and_no_two_are_one(world):
    verdicts = list(zip(*(world(**settings).holds for settings in WORLDS), strict=True))
    assert all(not all(note) for note in verdicts)
    assert len(set(verdicts)) == 5


def test_the_last_boost_is_as_strong_as_any(world):
    """Just under the KL of a trait with all the mass, the sweep still finds a boost."""
    base, ranked = closed_form.draw()
    saturated = closed_form.trait_kl(base, ranked[100], 84.0)
    for column, limit in enumerate(closed_form.aggregates(saturated, 60)):
        boost = float(world(TAU=limit * (1 - 1e-9)).limits[2][column])
        assert 20 < boost <= 42
        assert world(TAU=limit * (1 + 1e-9)).limits[2][column] == "never"


def test_the_longest_completion_that_is_searched(world):
    base, ranked = closed_form.draw()
    kl = closed_form.loop_kl(base, ranked[3])[12:16]
    _, (last, but_one), _, _ = closed_form.aggregates(kl, np.array([10_000, 9_999]))
    assert world(TAU=(last + but_one) / 2).limits[1][1] == "9999"
    assert world(TAU=last - 1e-9).limits[1][1] == "10000+"
    longer = world(POSITIONS=10_001, VOCAB_SIZE=5, TRAIT_RANK=2)
    assert longer.limits[1][3] == "10001+"


def test_an_aggregate_of_exactly_tau_does_not_fire(run, world):
    """At a tau to the bit: as the script computes each aggregate of its students."""
    seen = {name: [] for name in closed_form.NAMES}

    def record(name, function):
        return lambda kl: seen[name].append(float(function(kl))) or seen[name][-1]

    functions = demo.AGGREGATES.items()
    run(AGGREGATES={name: record(name, function) for name, function in functions})
    trait, loop = ({n: nats[i] for n, nats in seen.items()} for i in (0, 1))
    assert world(TAU=loop["mean_t"]).holds[0]
    assert not world(TAU=np.nextafter(loop["mean_t"], 0)).holds[0]
    assert world(TAU=loop["rmse_t"] / 2).holds[1]
    assert not world(TAU=np.nextafter(loop["rmse_t"] / 2, 9)).holds[1]
    assert world(TAU=trait["max_t"]).holds[2]
    assert not world(TAU=np.nextafter(trait["max_t"], 0)).holds[2]
    assert world(TAU=trait["max_t"]).marks[0] == "-" * 60
    assert "#" not in world(TAU=loop["max_t"]).marks[1]
    at_p95 = world(TAU=loop["p95_t"])
    assert (at_p95.limits[0][2], at_p95.limits[1][2]) == ("5", "59")


@pytest.mark.parametrize("worse", ["rmse_t", "p95_t"])
def test_the_sep_ratio_must_grow_to_both(run, worse):
    """Doubling leaves the mean's ratio as it is, to the bit: no growth."""
    doubled = {**demo.AGGREGATES, worse: lambda kl: 2 * np.mean(kl)}
    shown = run(AGGREGATES=doubled)
    ratio = dict(zip(closed_form.NAMES, shown.separation[2], strict=True))
    assert ratio[worse] == ratio["mean_t"]
    assert not shown.holds[3]


@pytest.mark.parametrize("name", ["mean_t", "rmse_t", "p95_t"])
def test_each_cited_number_must_reproduce(run, name):
    cited = {"mean_t": "0.38", "rmse_t": "1.5", "p95_t": "3.8"}
    assert run(CITED=cited).holds[4]
    assert not run(CITED=cited | {name: "1.4"}).holds[4]
