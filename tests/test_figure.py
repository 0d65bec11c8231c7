"""What the figure shows, at its defaults and at options that a reader may try."""

import math
import re

import numpy as np
import pytest
from closed_form import DEFAULTS, figure
from markdown_it import MarkdownIt
from shown import options, shown, students

import kl_aggregation_demo as demo

pytestmark = pytest.mark.filterwarnings("error")

TRIED = {
    "tau": [5e-324, 1 / 120, 0.05, 0.2, 0.77, 4.8, 5.5, 123.456],
    "positions": [16, 30, 61, 1000],
    "loop_length": [1, 3, 6, 48],
    "trait_boost": [0.1, 3.0, 12.25, 1e300],
    "vocab_size": [8, 9, 1000, 32000],
    "seed": [1, 2**40],
}
WORLDS = [{}, *({name: value} for name, values in TRIED.items() for value in values)]
WORLDS += [
    {"positions": 120, "tau": 0.005},
    {"positions": 13, "loop_length": 1, "vocab_size": 8},
    {"loop_length": 30, "tau": 0.25},
    {"vocab_size": 2000, "seed": 3, "tau": 2.5, "trait_boost": 8.0},
]


@pytest.mark.parametrize("settings", WORLDS, ids=str)
def test_every_number_and_mark_is_that_of_the_closed_forms(settings):
    found, expected = shown(*options(settings)), figure(**DEFAULTS | settings)
    for part in ("settings", "separation", "marks"):
        assert getattr(found, part) == getattr(expected, part), part
    assert found.in_notes[:4] == expected.in_notes
    assert found.status == 0


def test_every_verdict_and_note_is_that_of_the_closed_forms():
    notes = []
    for settings in WORLDS:
        found, expected = shown(*options(settings)), figure(**DEFAULTS | settings)
        assert found.verdicts == expected.verdicts, settings
        assert found.holds == expected.holds + ["holds"] * (settings == {}), settings
        notes.append(expected.holds)
    # Each fails in some of these worlds, and no two always do together.
    assert [len(set(note)) for note in set(zip(*notes, strict=True))] == [2, 2, 2, 2]


def test_the_words_are_the_same_in_every_world_and_fit():
    assert len({shown(*options(settings)).words for settings in WORLDS}) == 1
    for settings in WORLDS:
        found = shown(*options(settings))
        assert not re.search(r"\b(nan|inf)|-0\.0|[^\n -~]", found.text)
        assert max(map(len, found.text.splitlines())) <= 80
        parsed = MarkdownIt().enable(["table", "strikethrough"]).parse(found.text)
        blocks = [t.type.split("_")[0] for t in parsed if t.level == 0 <= t.nesting]
        assert blocks == ["table", "paragraph", "code", "paragraph", "table", "ordered"]
        assert sum(t.type == "list_item_open" for t in parsed) == len(found.holds)
        strips = found.text.split("\n\n")[2].split("\n")[:-1]
        assert len({line.rindex(" ") for line in strips}) == 1
        assert len(strips) == 2 * math.ceil(len(found.marks[0]) / 60)


def test_an_aggregate_of_exactly_tau_does_not_fire():
    trait, loop = (demo.aggregate(kl) for kl in students())
    for student, aggregates in enumerate((trait, loop)):
        for column, tau in enumerate(aggregates.values()):
            at, under = (shown(f"--tau={t}") for t in (tau, np.nextafter(tau, 0)))
            assert at.verdicts[student + 1][column].lower() == "silent"
            assert under.verdicts[student + 1][column].lower() == "fires"
        # The last was the maximum.
        assert at.marks[student].count("-") == under.marks[student].count("-") + 1


def holds(mean=1.0, rmse=2.0, p95=2.0, top=1.0, ratios=(2.0, 2.01, 2.01)):
    """Which notes hold at a tau of 1, where by default they just do."""
    loop = {"mean_t": mean, "rmse_t": rmse, "p95_t": p95}
    ratio = dict(zip(loop, ratios, strict=True))
    return list(demo.expectations({"max_t": top}, loop, ratio, 1.0).values())


def test_each_note_holds_at_its_edge_and_fails_past_it():
    assert holds() == holds(ratios=(0.5, 1.01, 1.01)) == [True, True, True, True]
    assert holds(mean=1.01) == [False, True, True, True]
    assert holds(rmse=1.99) == holds(p95=1.99) == [True, False, True, True]
    assert holds(top=1.01) == [True, True, False, True]
    for ratios in [(2, 2, 3), (2, 3, 2), (0.5, 1, 3), (0.5, 3, 1)]:
        assert holds(ratios=ratios) == [True, True, True, False]


def test_kl_by_hand():
    p = np.array([[1 / 2, 1 / 2, 0], [1 / 2, 1 / 4, 1 / 4]])
    q = np.array([[1 / 4, 1 / 4, 1 / 2], [1 / 4, 1 / 2, 1 / 4]])
    # Row 1: 2 * 1/2 log 2. Row 2: 1/2 log 2 - 1/4 log 2 + 0.
    by_hand = [math.log(2), math.log(2) / 4]
    assert demo.per_position_kl(p, q) == pytest.approx(by_hand, rel=1e-12)
    # Row 1 reversed, with the floor under the student's zero.
    reverse = -math.log(2) / 2 + (math.log(1 / 2) - math.log(1e-9)) / 2
    assert demo.per_position_kl(q, p)[0] == pytest.approx(reverse)
    # The student's and the base's logarithm, each clipped at 1 as well.
    assert not demo.per_position_kl(np.array([[2], [1]]), np.array([[1], [2]])).any()


def test_aggregates_by_hand():
    # mean 7/4; mean square 25/4; rank 0.95 * 3 = 2.85, so 3 + 0.85 * (4 - 3).
    by_hand = {"mean_t": 1.75, "rmse_t": 2.5, "p95_t": 3.85, "max_t": 4.0}
    assert demo.aggregate(np.array([4.0, 0.0, 3.0, 0.0])) == pytest.approx(by_hand)
