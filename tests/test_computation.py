"""The two steps that define the figure, on cases worked by hand."""

import math

import numpy as np
import pytest

import kl_aggregation_demo as demo


def test_kl_in_its_own_direction():
    p = np.array([[1 / 2, 1 / 2, 0], [1 / 2, 1 / 4, 1 / 4]])
    q = np.array([[1 / 4, 1 / 4, 1 / 2], [1 / 4, 1 / 2, 1 / 4]])
    # Row 1: 2 * 1/2 log 2. Row 2: 1/2 log 2 - 1/4 log 2 + 0.
    by_hand = [math.log(2), math.log(2) / 4]
    np.testing.assert_allclose(demo.per_position_kl(p, q), by_hand, rtol=1e-12)
    # Row 1 reversed, with the floor under the student's zero.
    reverse = -math.log(2) / 2 + (math.log(1 / 2) - math.log(1e-9)) / 2
    assert demo.per_position_kl(q, p)[0] == pytest.approx(reverse)


def test_kl_is_clipped_inside_the_logarithms_only():
    certain, opposite = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert demo.per_position_kl(certain, opposite) == pytest.approx(-math.log(1e-9))
    assert demo.per_position_kl(np.array([2.0]), np.array([1.0])) == 0
    # Clipped outside as well, the zero would bring in 1e-9 * log(2e-9) = -2e-8.
    kl = demo.per_position_kl(opposite, np.array([0.5, 0.5]))
    assert kl == pytest.approx(math.log(2), abs=1e-12)


def test_aggregates():
    # mean 7/4; mean square 25/4; rank 0.95 * 3 = 2.85, so 3 + 0.85 * (4 - 3).
    by_hand = {"mean_t": 1.75, "rmse_t": 2.5, "p95_t": 3.85, "max_t": 4.0}
    assert demo.aggregate(np.array([4.0, 0.0, 3.0, 0.0])) == pytest.approx(by_hand)
