"""How far the result holds, and the picture: against closed forms on a wider grid."""

import closed_form
import numpy as np
import pytest

import kl_aggregation_demo as demo

NAMES = ["mean_t", "rmse_t", "p95_t", "max_t"]


@pytest.fixture(scope="module")
def aggregates_by_loop(base, tokens):
    return {
        str(length): closed_form.aggregates(
            closed_form.loop_kl(base, tokens[1], range(12, 12 + length))
        )
        for length in range(1, 49)
    }


@pytest.fixture(scope="module")
def aggregates_by_boost(base, tokens):
    """Multiples of 0.1 from 0.1 on, a hundred logits past the script's last."""
    return {
        f"{step / 10:.1f}": closed_form.aggregates(
            closed_form.trait_kl(base, tokens[0], step / 10)
        )
        for step in range(1, 1500)
    }


def first_over(tau, aggregates_by_setting):
    return [
        next((s for s, a in aggregates_by_setting.items() if a[name] > tau), "never")
        for name in NAMES
    ]


def rows(output):
    """The cells of the second table, label first, without its header."""
    lines = [line for line in output.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[5:]]


def test_range_table_to_the_byte(run):
    table = """\

| barrier first fires at (tau = 0.5)    | mean_t   | rmse_t   | p95_t   | max_t   |
|---------------------------------------|----------|----------|---------|---------|
| shortest loop, in positions           | 6        | 2        | 4       | 1       |
| false alarm: weakest boost, in logits | 4.0      | 3.8      | 3.2     | 2.8     |

"""
    assert table in run(demo)[1]


@pytest.mark.parametrize(
    "tau", [0.01, 0.09, 0.3, 0.5, 0.75, 1.0, 1.6, 3.0, 4.8, 5.0, 5.85, 6.5, 8.0, 9.0]
)
def test_range_table_is_the_brute_force(
    run, edit, tau, aggregates_by_loop, aggregates_by_boost
):
    loop_row, trait_row = rows(run(edit(TAU=tau))[1])
    assert loop_row[1:] == first_over(tau, aggregates_by_loop)
    assert trait_row[1:] == first_over(tau, aggregates_by_boost)


def test_brute_force_covers_never_the_last_loop_and_weaker_traits(
    aggregates_by_loop, aggregates_by_boost
):
    """The taus above meet each case that the table has to word."""
    assert first_over(4.8, aggregates_by_loop)[0] == "48"
    assert first_over(5.0, aggregates_by_loop)[0] == "never"
    assert first_over(9.0, aggregates_by_loop) == ["never"] * 4
    assert first_over(9.0, aggregates_by_boost) == ["never"] * 4
    assert first_over(0.01, aggregates_by_boost) == ["1.4", "1.2", "1.0", "0.7"]


def test_trait_sweep_starts_over_the_own_boost_and_ends_with_the_last(run, edit):
    # 2.75 is silent: the first multiple of 0.1 over it is 2.8, where max_t fires.
    assert rows(run(edit(TRAIT_BOOST=2.75))[1])[1][1:] == ["4.0", "3.8", "3.2", "2.8"]
    assert rows(run(edit(MAX_BOOST=4))[1])[1][1:] == ["4.0", "3.8", "3.2", "2.8"]
    # At this tau p95_t first fires at 3.1.
    assert rows(run(edit(MAX_BOOST=3, TAU=0.45))[1])[1][1:] == ["never"] * 3 + ["2.7"]
    assert rows(run(edit(MAX_BOOST=4, TAU=0.45))[1])[1][3] == "3.1"


def test_loop_sweep_ends_with_the_whole_completion(run, edit):
    base = closed_form.base_probs(positions=61)
    token = closed_form.ranked_tokens(base)[3]
    whole, but_one = (
        closed_form.aggregates(closed_form.loop_kl(base, token, range(length)))
        for length in (61, 60)
    )
    assert whole["mean_t"] > but_one["mean_t"]
    tau = (whole["mean_t"] + but_one["mean_t"]) / 2
    loop_row, _ = rows(run(edit(POSITIONS=61, LOOP_START=0, TAU=tau))[1])
    assert loop_row[1] == "61"


def test_nothing_known_not_to_fire_is_swept(run, edit):
    module = edit()
    boosts = recorded(module, "coherent_trait")
    lengths = recorded(module, "incoherent_loop")
    run(module)
    assert boosts == [1.6] + [step / 10 for step in range(17, 41)]
    assert lengths == [4, 1, 2, 3, 4, 5, 6]


def recorded(module, name):
    """The settings of every student that module's function of that name builds."""
    build, settings = getattr(module, name), []

    def record(base_logits, token, setting):
        settings.append(setting)
        return build(base_logits, token, setting)

    setattr(module, name, record)
    return settings


def test_at_its_last_boost_a_trait_can_grow_no_stronger(base, tokens):
    logits = np.log(base)
    last = demo.coherent_trait(logits, tokens[0], demo.MAX_BOOST)
    assert (last[:, tokens[0]] == 1).all()


def mark(nats):
    """One character for a KL, by its decade."""
    if nats < 0.001:
        return "."
    if nats < 0.01:
        return "_"
    if nats < 0.1:
        return "-"
    return "=" if nats < 1 else "#"


def test_picture_character_by_character(run, base, tokens):
    trait = closed_form.trait_kl(base, tokens[0], 1.6)
    loop = closed_form.loop_kl(base, tokens[1], range(12, 16))
    picture = f"""\

    coherent trait    {"".join(map(mark, trait))}
    incoherent loop   {"".join(map(mark, loop))}
    KL in nats        . under 0.001   _ under 0.01   - under 0.1   = under 1   # 1 or more

"""
    assert picture in run(demo)[1]


def test_picture_shows_a_low_trait_and_a_loop_of_four_full_marks(run):
    trait, loop = (line[22:] for line in run(demo)[1].splitlines()[6:8])
    assert len(trait) == len(loop) == 60
    assert set(trait) == {"_", "-"}
    assert loop == "." * 12 + "#" * 4 + "." * 44


def test_picture_at_the_edges_of_its_decades():
    edges = [0.001, 0.01, 0.1, 1.0]
    kl = [-1e-17, 0.0, *np.nextafter(edges, 0), *edges, 1e9]
    marks = ".." + "._-=" + "_-=#" + "#"
    assert demo.picture({"any": kl}).splitlines()[0] == f"    any               {marks}"


def check_range(**changes):
    """check_range on aggregates that hold, but for the given changes."""
    numbers = {
        "trait": {"mean_t": 0.1, "rmse_t": 0.2, "p95_t": 0.3, "max_t": 0.4},
        "loop": {"mean_t": 0.25, "rmse_t": 1.0, "p95_t": 2.0, "max_t": 9.0},
        "shortest_loop": {"mean_t": 6, "rmse_t": 2, "p95_t": 4, "max_t": 1},
        "weakest_boost": {"mean_t": 4.0, "rmse_t": 3.8, "p95_t": 3.2, "max_t": 2.8},
    }
    for name, change in changes.items():
        numbers[name] = {**numbers[name], **change}
    return demo.check_range(**numbers)


@pytest.mark.parametrize(
    "changes, line",
    [
        ({}, "- ok: claims 1 to 4 hold if 0.400 <= tau < 1.000"),
        (
            {"loop": {"mean_t": 0.75}},
            "- ok: claims 1 to 4 hold if 0.750 <= tau < 1.000",
        ),
        ({"loop": {"p95_t": 0.5}}, "- ok: claims 1 to 4 hold if 0.400 <= tau < 0.500"),
        (
            {"loop": {"p95_t": 0.4}},
            "- FAILED: claims 1 to 4 hold if 0.400 <= tau < 0.400, which no tau meets",
        ),
    ],
)
def test_taus_between_what_must_not_fire_and_what_must(changes, line):
    assert check_range(**changes)[0] == line


@pytest.mark.parametrize(
    "changes, verdict, measured",
    [
        ({}, "ok: rmse_t beats", "loop 2 against 4, boost 3.8 against 3.2"),
        (
            {"shortest_loop": {"p95_t": np.inf}, "weakest_boost": {"rmse_t": np.inf}},
            "ok: rmse_t beats",
            "loop 2 against never, boost never against 3.2",
        ),
        (
            {"shortest_loop": {"p95_t": 2}},
            "FAILED: rmse_t does not beat",
            "loop 2 against 2, boost 3.8 against 3.2",
        ),
        (
            {"weakest_boost": {"rmse_t": 3.2}},
            "FAILED: rmse_t does not beat",
            "loop 2 against 4, boost 3.2 against 3.2",
        ),
        (
            {"weakest_boost": {"rmse_t": 3.0}},
            "FAILED: rmse_t does not beat",
            "loop 2 against 4, boost 3.0 against 3.2",
        ),
    ],
)
def test_rmse_must_beat_p95_on_both_rows(changes, verdict, measured):
    line = f"- {verdict} p95_t on both rows: {measured}"
    assert check_range(**changes)[1] == line


@pytest.mark.parametrize("positions", [21, 40, 41, 60, 61, 100, 101, 400])
def test_p95_sees_one_more_position_but_no_fewer(positions, run, edit):
    module = edit(POSITIONS=positions)
    line = run(module)[1].splitlines()[-1]
    unseen = int(line.split()[2])
    assert line.startswith(f"- ok: {unseen} of {positions} positions at the highest KL")
    spikes = [20.0] * (unseen + 1) + [0.0] * (positions - unseen - 1)
    assert closed_form.aggregates(spikes)["p95_t"] > 0.1


def test_a_percentile_that_saw_the_spikes_would_fail_the_last_claim(run, edit):
    module = edit()
    module.AGGREGATES["p95_t"] = lambda kl: np.percentile(kl, 99)
    assert run(module)[1].splitlines()[-1] == (
        "- FAILED: 2 of 60 positions at the highest KL, 20.7 nats, looped or "
        "legitimate, leave p95_t at 20.723 and rmse_t at 3.784"
    )


def test_highest_kl_is_the_floors(run, edit):
    line = run(edit(PROB_FLOOR=1e-4))[1].splitlines()[-1]
    assert "at the highest KL, 9.2 nats," in line
