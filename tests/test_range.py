"""How far the result holds: every cell of the second table against brute force."""

import closed_form
import pytest

NAMES = closed_form.NAMES
HIGHEST_BOOST = 84  # logits, twice the last that the script tries


def loops(probs, token, start):
    """Aggregates by length of the loops that fit from start on."""
    kl = closed_form.loop_kl(probs, token, range(start, len(probs)))[start:]
    return {
        str(length): closed_form.spiked(kl[:length], len(probs))
        for length in range(1, len(kl) + 1)
    }


def completions(probs, token, start, length, longest):
    """Aggregates by length of the completions that hold one loop, shortest first."""
    looped = closed_form.loop_kl(probs, token, range(start, start + length))
    kl = looped[start : start + length]
    return {
        str(positions): closed_form.spiked(kl, positions)
        for positions in range(length, longest + 1)
    }


def traits(probs, token):
    """Aggregates by boost of the traits at multiples of 0.1 from 0.1 on."""
    boosts = [tenth / 10 for tenth in range(1, 10 * HIGHEST_BOOST)]
    return {
        f"{boost:.1f}": closed_form.aggregates(
            closed_form.trait_kl(probs, token, boost)
        )
        for boost in boosts
    }


def first_past(limits, by_setting):
    return [
        next((s for s, nats in by_setting.items() if nats[name] > limit), "never")
        for name, limit in zip(NAMES, limits, strict=True)
    ]


def last_past(tau, by_positions, longest):
    """The longest completion that fires, none shorter having failed to."""
    cells = []
    for name in NAMES:
        firing = [n for n, nats in by_positions.items() if nats[name] > tau]
        assert firing == list(by_positions)[: len(firing)]
        last = firing[-1] if firing else "never"
        cells.append("any" if last == str(longest) else last)
    return cells


@pytest.fixture(scope="module")
def by_loop(base, tokens):
    return loops(base, tokens[1], 12)


@pytest.fixture(scope="module")
def by_completion(base, tokens):
    return completions(base, tokens[1], 12, 4, 1000)


@pytest.fixture(scope="module")
def by_boost(base, tokens):
    return traits(base, tokens[0])


@pytest.mark.parametrize(
    "tau",
    [1e-5, 0.01, 0.09, 0.3, 0.45, 0.5, 0.75, 1.0, 1.6, 3.0, 4.8, 5.0, 5.85, 8.0, 9.0],
)
def test_rows_1_to_3_are_the_brute_force(world, tau, by_loop, by_completion, by_boost):
    loop_row, completion_row, boost_row, _ = world(TAU=tau).limits
    assert loop_row == first_past([tau] * 4, by_loop)
    assert completion_row == last_past(tau, by_completion, 1000)
    assert boost_row == first_past([tau] * 4, by_boost)


def test_brute_force_covers_never_any_the_last_loop_and_weak_traits(
    by_loop, by_completion, by_boost
):
    """The taus above meet each case that the table has to word."""
    assert first_past([4.8] * 4, by_loop)[0] == "48"
    assert first_past([5.0] * 4, by_loop)[0] == "never"
    assert first_past([9.0] * 4, by_loop) == ["never"] * 4
    assert first_past([9.0] * 4, by_boost) == ["never"] * 4
    assert first_past([1e-5] * 4, by_boost) == ["0.1"] * 4
    assert first_past([0.01] * 4, by_boost) == ["1.4", "1.2", "1.0", "0.7"]
    assert last_past(9.0, by_completion, 1000) == ["never"] * 4
    assert last_past(0.3, by_completion, 1000) == ["75", "any", "79", "any"]


@pytest.mark.parametrize("boost", [0.5, 1.6, 4.0, 8.0])
def test_rows_hold_for_other_traits(world, base, tokens, by_loop, by_boost, boost):
    """The third row does not depend on the demonstration's own boost, firing or not."""
    trait = closed_form.aggregates(closed_form.trait_kl(base, tokens[0], boost))
    *_, boost_row, own_row = world(TRAIT_BOOST=boost).limits
    assert boost_row == first_past([0.5] * 4, by_boost)
    assert own_row == first_past([trait[name] for name in NAMES], by_loop)


@pytest.mark.parametrize("length", [1, 9])
def test_rows_hold_for_other_loops(world, base, tokens, by_loop, length):
    loop_row, completion_row, *_ = world(LOOP_LENGTH=length).limits
    assert loop_row == first_past([0.5] * 4, by_loop)
    by_length = completions(base, tokens[1], 12, length, 1000)
    assert completion_row == last_past(0.5, by_length, 1000)


def test_rows_hold_in_a_longer_completion(world):
    """Past 1,000 positions the completion itself is the longest that is tried."""
    probs = closed_form.base_probs(positions=1100)
    token = closed_form.ranked_tokens(probs)[3]
    kl = closed_form.loop_kl(probs, token, range(12, 112))[12:]
    by_length = {str(n): closed_form.spiked(kl[:n], 1100) for n in range(1, 101)}
    figure = world(POSITIONS=1100, TAU=0.35)
    assert figure.limits[0] == first_past([0.35] * 4, by_length)
    assert "up to 1100 " in figure.text
    *cells, top = figure.limits[1]
    assert top == "any"
    for name, cell in zip(NAMES, cells, strict=False):
        within, past = (closed_form.spiked(kl[:4], int(cell) + n) for n in (1, 0))
        assert within[name] <= 0.35 < past[name]


def test_a_loop_of_the_whole_completion_is_the_last_that_is_tried(world):
    probs = closed_form.base_probs(positions=61)
    by_length = loops(probs, closed_form.ranked_tokens(probs)[3], 0)
    whole, but_one = by_length["61"]["mean_t"], by_length["60"]["mean_t"]
    assert whole > but_one
    figure = world(POSITIONS=61, LOOP_START=0, TAU=(whole + but_one) / 2)
    assert figure.limits[0][0] == "61"
    figure = world(POSITIONS=61, LOOP_START=0, TAU=whole + 1e-6)
    assert figure.limits[0][0] == "never"


def test_no_loop_is_longer_than_the_room_for_it(world, by_loop):
    longest = by_loop["48"]["mean_t"]
    assert world(TAU=longest - 1e-6).limits[0][0] == "48"
    assert world(TAU=longest + 1e-6).limits[0][0] == "never"


def test_the_last_boost_is_as_strong_as_any(world, base, tokens):
    """Just under the KL of a trait with all the mass, the sweep still finds a boost."""
    limit = closed_form.aggregates(closed_form.trait_kl(base, tokens[0], HIGHEST_BOOST))
    for column, name in enumerate(NAMES):
        boost = float(world(TAU=limit[name] * (1 - 1e-9)).limits[2][column])
        assert 20 < boost <= 42
        assert world(TAU=limit[name] * (1 + 1e-9)).limits[2][column] == "never"


def test_the_longest_completion_that_is_tried(world, by_completion):
    """any is for one that fires at 1,000 positions, not at one fewer."""
    last, but_one = (by_completion[n]["rmse_t"] for n in ("1000", "999"))
    assert last < but_one
    assert world(TAU=(last + but_one) / 2).limits[1][1] == "999"
    assert world(TAU=last - 1e-9).limits[1][1] == "any"


def test_a_completion_with_no_room_beside_the_loop(world, base, tokens):
    """At this tau the loop's mean fires only while there is hardly another position."""
    kl = closed_form.loop_kl(base, tokens[1], range(12, 16))[12:16]
    assert (
        closed_form.spiked(kl, 4)["mean_t"] > 5.5 > closed_form.spiked(kl, 5)["mean_t"]
    )
    assert world(TAU=5.5).limits[1][0] == "4"
    assert world(TAU=5.7).limits[1][0] == "never"
