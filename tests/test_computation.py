"""From logits to aggregates: hand-worked cases and independent arithmetic."""

import math

import closed_form
import numpy as np
import pytest

import kl_aggregation_demo as demo


@pytest.fixture(scope="module")
def base_logits():
    return np.random.default_rng(0).standard_normal((60, 200))


@pytest.fixture(scope="module")
def base_array(base):
    return np.array(base)


def test_softmax_over_the_last_axis():
    logits = np.log([[1.0, 3.0], [1.0, 1.0]])
    np.testing.assert_allclose(demo.softmax(logits), [[0.25, 0.75], [0.5, 0.5]])
    np.testing.assert_allclose(demo.softmax(logits[0]), [0.25, 0.75])


def test_softmax_of_huge_logits_neither_overflows_nor_vanishes():
    logits = np.log([[1.0, 3.0], [1.0, 1.0]]) + [[2000.0], [-2000.0]]
    np.testing.assert_allclose(demo.softmax(logits), [[0.25, 0.75], [0.5, 0.5]])
    np.testing.assert_allclose(demo.softmax(logits[0]), [0.25, 0.75])


def test_tokens_have_the_stated_ranks_in_the_demonstration(base_array, tokens):
    assert demo.pick_tokens(base_array) == tokens


def test_tokens_are_ranked_by_mean_prob_over_the_positions():
    # Alone, the first two positions would rank the tokens the other way round.
    falling = np.arange(200.0, 0.0, -1.0)
    rising = np.arange(1.0, 601.0, 3.0)
    probs = np.array([falling, falling, rising, rising])
    assert demo.pick_tokens(probs) == (100, 3)


def test_trait_shifts_one_log_odds_by_the_boost_everywhere(base_logits, base_array):
    student = demo.coherent_trait(base_logits, 7, 1.6)
    odds, base_odds = (p[:, 7] / (1 - p[:, 7]) for p in (student, base_array))
    np.testing.assert_allclose(np.log(odds / base_odds), np.full(60, 1.6))
    ratio = np.delete(student, 7, axis=1) / np.delete(base_array, 7, axis=1)
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape))


def test_loop_is_the_base_except_where_it_loops(base_logits, base_array):
    student = demo.incoherent_loop(base_logits, 7, 4)
    elsewhere = [position for position in range(60) if position not in range(12, 16)]
    np.testing.assert_allclose(student[elsewhere], base_array[elsewhere], rtol=1e-13)
    looped = student[[12, 13, 14, 15]]
    assert (looped[:, 7] > 0.999).all()
    others = np.delete(looped, 7, axis=1)
    np.testing.assert_allclose(np.log(looped[:, [7]] / others), np.full((4, 199), 22.0))


def test_loop_is_as_long_as_asked(base_logits):
    for length in (1, 6):
        student = demo.incoherent_loop(base_logits, 7, length)
        assert np.flatnonzero(student[:, 7] > 0.999).tolist() == list(
            range(12, 12 + length)
        )


def test_students_leave_the_base_logits_alone(base_logits):
    before = base_logits.copy()
    demo.coherent_trait(base_logits, 7, 1.6)
    demo.incoherent_loop(base_logits, 7, 4)
    np.testing.assert_array_equal(base_logits, before)


def test_students_are_distributions(base_logits):
    for student in (
        demo.coherent_trait(base_logits, 7, 1.6),
        demo.incoherent_loop(base_logits, 7, 4),
    ):
        assert (student >= 0).all()
        np.testing.assert_allclose(student.sum(axis=1), np.ones(60))


def test_both_students_agree_with_the_closed_form(base_logits, base, base_array):
    for boost in (0.1, 1.6, 12.0):
        student = demo.coherent_trait(base_logits, 7, boost)
        kl = demo.per_position_kl(student, base_array)
        np.testing.assert_allclose(kl, closed_form.trait_kl(base, 7, boost), atol=1e-6)
    for length in (1, 4, 48):
        student = demo.incoherent_loop(base_logits, 7, length)
        kl = demo.per_position_kl(student, base_array)
        looped = range(12, 12 + length)
        np.testing.assert_allclose(kl, closed_form.loop_kl(base, 7, looped), atol=1e-9)


def test_kl_worked_by_hand_in_its_own_direction():
    p = np.array([[1 / 2, 1 / 2, 0], [1 / 2, 1 / 4, 1 / 4]])
    q = np.array([[1 / 4, 1 / 4, 1 / 2], [1 / 4, 1 / 2, 1 / 4]])
    # Row 1: 2 * 1/2 log 2. Row 2: 1/2 log 2 - 1/4 log 2 + 0.
    by_hand = [math.log(2), math.log(2) / 4]
    np.testing.assert_allclose(demo.per_position_kl(p, q), by_hand, rtol=1e-12)
    # Row 1 reversed, with the floor under the student's zero.
    reverse = -math.log(2) / 2 + (math.log(1 / 2) - math.log(1e-9)) / 2
    assert demo.per_position_kl(q, p)[0] == pytest.approx(reverse)


def test_kl_is_zero_for_equal_and_never_negative(base_array):
    assert (demo.per_position_kl(base_array, base_array) == 0).all()
    assert (demo.per_position_kl(base_array, base_array[::-1]) > 0).all()
    almost = base_array * (1 + 1e-9 * np.cos(np.arange(200)))
    almost /= almost.sum(axis=1, keepdims=True)
    assert (demo.per_position_kl(almost, base_array) > -1e-15).all()


def test_kl_of_zero_probs_is_what_the_floor_implies():
    certain, opposite = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert demo.per_position_kl(certain, opposite) == pytest.approx(-math.log(1e-9))
    below_floor = np.array([1e-30, 1 - 1e-30])
    assert demo.per_position_kl(certain, below_floor) == pytest.approx(-math.log(1e-9))


def test_kl_clips_inside_the_logarithms_only():
    even = np.array([0.5, 0.5])
    # Clipped outside as well, the zero would bring in 1e-9 * log(2e-9) = -2e-8.
    kl = demo.per_position_kl(np.array([0.0, 1.0]), even)
    assert kl == pytest.approx(math.log(2), abs=1e-12)


def test_kl_clips_probs_that_exceed_one():
    assert demo.per_position_kl(np.array([2.0]), np.array([1.0])) == 0
    assert demo.per_position_kl(np.array([1.0]), np.array([2.0])) == 0


def test_aggregates_worked_by_hand():
    # mean 7/4; mean square 25/4; rank 0.95 * 3 = 2.85, so 3 + 0.85 * (4 - 3).
    by_hand = {"mean_t": 1.75, "rmse_t": 2.5, "p95_t": 3.85, "max_t": 4.0}
    result = demo.aggregate(np.array([4.0, 0.0, 3.0, 0.0]))
    assert list(result) == list(by_hand)
    assert result == pytest.approx(by_hand)
