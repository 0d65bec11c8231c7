"""What the figure shows, at its defaults and at options that a reader may try."""

import math
import re

import numpy as np
import pytest
from closed_form import DEFAULTS, NAMES, figure
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


def world(**settings):
    return shown(*options(settings))


@pytest.mark.parametrize("settings", WORLDS, ids=str)
def test_every_number_and_mark_is_that_of_the_closed_forms(settings):
    found, expected = world(**settings), figure(**DEFAULTS | settings)
    for part in ("settings", "separation", "marks"):
        assert getattr(found, part) == getattr(expected, part), part
    assert found.in_notes[:4] == expected.in_notes
    assert found.status == 0


def test_every_verdict_and_note_is_that_of_the_closed_forms():
    notes = []
    for settings in WORLDS:
        found, expected = world(**settings), figure(**DEFAULTS | settings)
        assert found.verdicts == expected.verdicts, settings
        assert found.holds == expected.holds + ([] if settings else [True]), settings
        notes.append(expected.holds)
    by_note = set(zip(*notes, strict=True))
    assert len(by_note) == 4
    assert all(set(holds) == {True, False} for holds in by_note)


def test_the_words_are_the_same_in_every_world_and_fit():
    for settings in WORLDS:
        found = world(**settings)
        assert found.words == shown().words
        assert not re.search(r"\b(nan|inf)|-0\.0|[^\n -~]", found.text)
        assert max(map(len, found.text.splitlines())) <= 80
        parsed = MarkdownIt().enable(["table", "strikethrough"]).parse(found.text)
        blocks = [t.type.split("_")[0] for t in parsed if t.level == 0 <= t.nesting]
        assert blocks == ["table", "paragraph", "code", "paragraph", "table", "ordered"]
        assert sum(t.type == "list_item_open" for t in parsed) == len(found.holds)
        strips = found.text.split("\n\n")[2].split("\n")[:-1]
        assert len({line.rindex(" ") for line in strips}) == 1
        assert len(strips) == 2 * math.ceil(len(found.marks[0]) / 60)
    assert len(shown().text.splitlines()) <= 34


def test_an_aggregate_of_exactly_tau_does_not_fire():
    trait, loop = (demo.aggregate(kl) for kl in students())
    for student, aggregates in enumerate((trait, loop)):
        for column, tau in enumerate(aggregates.values()):
            at, under = world(tau=tau), world(tau=np.nextafter(tau, 0))
            assert at.verdicts[student][column].lower() == "silent"
            assert under.verdicts[student][column].lower() == "fires"
        # The last was the maximum.
        assert at.marks[student].count("-") == under.marks[student].count("-") + 1
    edges = [loop["mean_t"], np.nextafter(loop["rmse_t"] / 2, 9), trait["max_t"]]
    for note, tau in enumerate(edges):
        both = world(tau=tau), world(tau=np.nextafter(tau, 0))
        assert [found.holds[note] for found in both] == [note != 1, note == 1]


@pytest.mark.parametrize("worse", ["rmse_t", "p95_t"])
@pytest.mark.parametrize("mean", [0.5, 2.0])
def test_the_sep_ratio_must_grow_to_both_and_over_1x(mean, worse):
    nats, most = dict.fromkeys(NAMES, 0.0), max(mean, 1.0)
    for value in (most, np.nextafter(most, 9)):
        ratio = {"mean_t": mean, "rmse_t": 3.0, "p95_t": 3.0, worse: value}
        *_, holds = demo.expectations(nats, nats, ratio, 0.5).values()
        assert holds == (value > most)


def test_kl_by_hand():
    p = np.array([[1 / 2, 1 / 2, 0], [1 / 2, 1 / 4, 1 / 4]])
    q = np.array([[1 / 4, 1 / 4, 1 / 2], [1 / 4, 1 / 2, 1 / 4]])
    # Row 1: 2 * 1/2 log 2. Row 2: 1/2 log 2 - 1/4 log 2 + 0.
    by_hand = [math.log(2), math.log(2) / 4]
    assert demo.per_position_kl(p, q) == pytest.approx(by_hand, rel=1e-12)
    # Row 1 reversed, with the floor under the student's zero.
    reverse = -math.log(2) / 2 + (math.log(1 / 2) - math.log(1e-9)) / 2
    assert demo.per_position_kl(q, p)[0] == pytest.approx(reverse)
    # Clipped at 1 as well, but inside the logarithms only.
    assert demo.per_position_kl(np.array([2.0]), np.array([1.0])) == 0


def test_aggregates_by_hand():
    # mean 7/4; mean square 25/4; rank 0.95 * 3 = 2.85, so 3 + 0.85 * (4 - 3).
    by_hand = {"mean_t": 1.75, "rmse_t": 2.5, "p95_t": 3.85, "max_t": 4.0}
    assert demo.aggregate(np.array([4.0, 0.0, 3.0, 0.0])) == pytest.approx(by_hand)
