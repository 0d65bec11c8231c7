"""What the script prints and concludes: as it stands, and in changed worlds."""

import sys

import pytest

import kl_aggregation_demo as demo

pytestmark = pytest.mark.filterwarnings("error")

TABLE = """\
| student (60 positions)   | mean_t   | rmse_t   | p95_t   | max_t   |
|--------------------------|----------|----------|---------|---------|
| coherent trait           | 0.018    | 0.026    | 0.049   | 0.095   |
| incoherent loop          | 0.379    | 1.527    | 3.777   | 8.081   |
| sep ratio (loop/trait)   | 20.6x    | 57.7x    | 77.0x   | 85.4x   |
"""

CLAIMS = """\
- ok: the loop's mean_t is 0.379, within tau: the barrier never fires (relu(mean_t - tau) = 0, the #101 collapse)
- ok: the loop's rmse_t is 1.527, over tau: the barrier fires; squaring favors spikes
- ok: the loop's p95_t is 3.777, over tau: the barrier fires; only a long loop lifts it
- ok: the wanted trait's largest aggregate is 0.095, within tau: the barrier never fires
- ok: the sep ratio is 20.6x by mean_t, 57.7x by rmse_t, 77.0x by p95_t: rmse and p95 separate better
- ok: the loop has mean_t 0.38, rmse_t 1.5, p95_t 3.8, to two digits, as cited: the figure reproduces
- ok: claims 1 to 4 hold if 0.379 <= tau < 1.527
- ok: rmse_t beats p95_t on both rows: loop 2 against 4, boost 3.8 against 3.2
- ok: 2 of 60 positions at the highest KL, 20.7 nats, looped or legitimate, leave p95_t at 0.000 and rmse_t at 3.784
""".splitlines()

# Each claim of CLAIMS in turn, in a world in which it fails.
FAILED_CLAIMS = """\
- FAILED: the loop's mean_t is 0.570, over tau: the barrier fires (relu(mean_t - tau) = 0.0697)
- FAILED: the loop's rmse_t is 0.481, within tau: the barrier never fires; squaring favors spikes
- FAILED: the loop's p95_t is 0.186, within tau: the barrier never fires; only a long loop lifts it
- FAILED: the wanted trait's largest aggregate is 0.671, over tau: the barrier fires
- FAILED: the sep ratio is 13.3x by mean_t, 42.2x by rmse_t, 3.8x by p95_t: rmse and p95 do not both gain
- FAILED: the loop has mean_t 0.4, rmse_t 1.6, p95_t 5.5, not 0.38, 1.5, 3.8: edited settings or a new NumPy stream
- FAILED: claims 1 to 4 hold if 1.528 <= tau < 1.527, which no tau meets
- FAILED: rmse_t does not beat p95_t on both rows: loop never against 9, boost 11.4 against 9.1
- FAILED: 0 of 20 positions at the highest KL, 20.7 nats, looped or legitimate, leave p95_t at 0.000 and rmse_t at 0.000
""".splitlines()
FAILING_WORLDS = [
    {"LOOP_LENGTH": 6},
    {"LOOP_LENGTH": 1},
    {"LOOP_LENGTH": 3},
    {"TRAIT_BOOST": 3.0},
    {"LOOP_LENGTH": 3},
    {"SEED": 1},
    {"TRAIT_BOOST": 4.0},
    {"TAU": 5.8},
    {"POSITIONS": 20},
]

# Settings, and which of the claims (numbered from 1) then fail.
CHANGED_WORLDS = [
    ({}, set()),
    ({"LOOP_LENGTH": 6}, {1, 6}),
    ({"TAU": 0.3}, {1}),
    ({"LOOP_LENGTH": 1}, {2, 3, 5, 6, 7}),
    ({"TAU": 1.6}, {2, 8}),
    ({"TAU": 3.77}, {2, 8}),
    ({"TAU": 3.78}, {2, 3, 8}),
    ({"TAU": 3.79}, {2, 3, 8, 9}),
    ({"LOOP_LENGTH": 3}, {3, 5, 6, 7}),
    ({"TRAIT_BOOST": 3.0}, {4}),
    ({"TRAIT_BOOST": 4.0}, {4, 7}),
    ({"TAU": 0.05}, {1, 4}),
    ({"TRAIT_BOOST": 0.0}, {5}),
    ({"TRAIT_BOOST": 0.0, "LOOP_LENGTH": 2}, {3, 5, 6, 7}),
    ({"SEED": 1}, {6}),
    ({"LOOP_RANK": 100}, {6}),
    ({"LOOP_START": 13}, {6}),
    ({"VOCAB_SIZE": 100}, {6}),
    ({"POSITIONS": 30}, {1, 6}),
    ({"POSITIONS": 20}, {1, 6, 9}),
    ({"TAU": 9.0}, {2, 3, 8, 9}),
    ({"PROB_FLOOR": 1e-2}, {6}),
]


def claims(output):
    return [line for line in output.splitlines() if line.startswith("- ")]


def test_separation_table_to_the_byte(run):
    _, output = run(demo)
    assert output.startswith(TABLE + "\n")


def test_notes_state_tau_and_the_barrier(run, edit):
    line = (
        "tau = {} nats. The barrier adds relu(aggregate - tau) to the loss: "
        "it fires when the aggregate is over tau."
    )
    assert line.format(0.5) in run(demo)[1].splitlines()
    assert line.format(0.25) in run(edit(TAU=0.25))[1].splitlines()


def test_every_claim_as_it_stands(run):
    status, output = run(demo)
    assert status == 0
    assert claims(output) == CLAIMS


def test_a_failed_claim_states_what_was_measured(run, edit):
    assert len(FAILING_WORLDS) == len(FAILED_CLAIMS) == len(CLAIMS)
    for number, settings in enumerate(FAILING_WORLDS):
        assert claims(run(edit(**settings))[1])[number] == FAILED_CLAIMS[number]


@pytest.mark.parametrize("settings, failing", CHANGED_WORLDS)
def test_claims_and_exit_status_follow_the_world(run, edit, settings, failing):
    status, output = run(edit(**settings))
    found = {
        number
        for number, line in enumerate(claims(output), start=1)
        if line.startswith("- FAILED: ")
    }
    assert found == failing
    assert status == (1 if failing else 0)
    assert all(line.startswith(("- ok: ", "- FAILED: ")) for line in claims(output))


def test_an_aggregate_of_exactly_tau_does_not_fire():
    named = ("mean_t", "rmse_t", "p95_t", "max_t")
    at_tau, over = dict.fromkeys(named, 0.5), dict.fromkeys(named, 0.75)
    lines = demo.check_result(at_tau, at_tau, over)
    assert lines[0].startswith("- ok: the loop's mean_t is 0.500, within tau")
    assert lines[1].startswith("- FAILED: the loop's rmse_t is 0.500, within tau")
    assert lines[2].startswith("- FAILED: the loop's p95_t is 0.500, within tau")
    assert lines[3].startswith("- ok: the wanted trait's largest aggregate is 0.500, w")


@pytest.mark.parametrize(
    "rmse, p95, verdict",
    [(3.0, 3.0, "ok"), (2.0, 3.0, "FAILED"), (3.0, 2.0, "FAILED")],
)
def test_the_sep_ratio_must_grow_to_both(rmse, p95, verdict):
    nats = {"mean_t": 0.1, "rmse_t": 0.2, "p95_t": 0.3, "max_t": 0.4}
    sep_ratio = {"mean_t": 2.0, "rmse_t": rmse, "p95_t": p95, "max_t": 1.0}
    line = demo.check_result(nats, nats, sep_ratio)[4]
    assert line.startswith(f"- {verdict}: the sep ratio is 2.0x by mean_t, ")


@pytest.mark.parametrize("name", ["mean_t", "rmse_t", "p95_t"])
def test_each_cited_number_must_reproduce(name):
    trait = {"mean_t": 0.1, "rmse_t": 0.2, "p95_t": 0.3, "max_t": 0.4}
    cited = {"mean_t": 0.375001, "rmse_t": 1.5499, "p95_t": 3.8499, "max_t": 8.0}
    assert demo.check_result(trait, cited, cited)[5].startswith("- ok: ")
    other = {**cited, name: cited[name] * 1.1}
    assert demo.check_result(trait, other, other)[5].startswith("- FAILED: ")


def test_all_but_the_cited_figure_holds_on_seeds_0_to_199(run, monkeypatch):
    for seed in range(200):
        monkeypatch.setattr(demo, "SEED", seed)
        lines = claims(run(demo)[1])
        assert len(lines) == 9
        del lines[5]
        assert all(line.startswith("- ok: ") for line in lines), (seed, lines)


def test_every_world_prints_ascii_within_the_screen(run, edit, capfd):
    for settings, _ in CHANGED_WORLDS:
        _, output = run(edit(**settings))
        assert output.isascii()
        assert len(output.splitlines()) <= 40
        assert max(map(len, output.splitlines())) <= 120, settings
    assert capfd.readouterr().err == ""


def test_output_follows_every_setting(run, edit):
    """No setting is bound early: each edit changes what the reader sees."""
    before = run(demo)[1]
    edits = {
        "SEED": 2,
        "POSITIONS": 40,
        "VOCAB_SIZE": 180,
        "TRAIT_RANK": 150,
        "TRAIT_BOOST": 1.7,
        "LOOP_RANK": 4,
        "LOOP_START": 11,
        "LOOP_LENGTH": 5,
        "LOOP_LOGIT": -8.0,
        "OTHER_LOGIT": 10.0,
        "PROB_FLOOR": 1e-2,
        "TAU": 0.6,
        "MAX_BOOST": 3,
        "KL_DECADES": [0.001, 0.02, 0.1, 1],
        "KL_MARKS": ".:-=#",
        "CITED": {"mean_t": "0.39", "rmse_t": "1.5", "p95_t": "3.8"},
    }
    settings = {name for name in vars(demo) if name.isupper()} - {"AGGREGATES"}
    assert set(edits) == settings
    for name, value in edits.items():
        assert run(edit(**{name: value}))[1] != before, name
        module = edit()
        setattr(module, name, value)
        if name != "VOCAB_SIZE":  # TRAIT_RANK is derived from it as the file loads
            assert run(module)[1] == run(edit(**{name: value}))[1], name


def test_importing_computes_and_prints_nothing(edit, capfd, monkeypatch):
    def refuse(*_):
        raise AssertionError("computed on import")

    for name in ("exp", "log", "percentile", "mean", "max"):
        monkeypatch.setattr(sys.modules["numpy"], name, refuse)
    monkeypatch.setattr(sys.modules["numpy.random"], "default_rng", refuse)
    edit()
    assert capfd.readouterr() == ("", "")
