"""What the figure concludes: as it stands, and in changed worlds."""

import re
import sys

import closed_form
import numpy as np
import pytest
from markdown_it import MarkdownIt

import kl_aggregation_demo as demo

pytestmark = pytest.mark.filterwarnings("error")

# Settings, and which of the notes then fail.
WORLDS = [
    ({}, set()),
    ({"LOOP_LENGTH": 6}, {1, 6}),
    ({"TAU": 0.3}, {1}),
    ({"LOOP_LENGTH": 1}, {2, 3, 5, 6, 7}),
    ({"TAU": 1e-5}, {1, 4, 8}),  # rmse_t and p95_t fire from the same boost on
    ({"TAU": 1.3}, {8}),  # and, here, from the same loop on
    ({"TAU": 1.6}, {2, 8}),
    ({"TAU": 3.77}, {2, 8}),
    ({"TAU": 3.78}, {2, 3, 8}),
    ({"TAU": 3.79}, {2, 3, 8, 9}),
    ({"LOOP_LENGTH": 3}, {3, 5, 6, 7}),
    ({"TRAIT_BOOST": 2.6}, {7}),
    ({"TRAIT_BOOST": 3.0}, {4, 7}),
    ({"TRAIT_BOOST": 4.0}, {4, 7}),
    ({"TAU": 0.05}, {1, 4}),
    ({"SEED": 1}, {6}),
    ({"LOOP_RANK": 99}, {6}),
    ({"LOOP_START": 13}, {6}),
    ({"VOCAB_SIZE": 100}, {6}),
    ({"POSITIONS": 30}, {1, 6}),
    ({"POSITIONS": 20}, {1, 6, 9}),
    ({"POSITIONS": 150}, {3, 5, 6, 7}),
    ({"TAU": 9.0}, {2, 3, 8, 9}),
    ({"PROB_FLOOR": 1e-2}, {6}),
]


@pytest.mark.parametrize("settings, failing", WORLDS, ids=str)
def test_notes_and_exit_status_follow_the_world(world, settings, failing):
    figure = world(**settings)
    assert list(figure.holds) == list(range(1, 10))
    assert {number for number, holds in figure.holds.items() if not holds} == failing
    assert figure.status == (1 if failing else 0)


def test_every_note_fails_in_some_world():
    assert set.union(*(failing for _, failing in WORLDS)) == set(range(1, 10))


@pytest.mark.parametrize(
    "length, boost", [(4, 1.6), (1, 1.6), (3, 1.6), (6, 2.0), (30, 1.6), (4, 3.5)]
)
def test_what_notes_1_to_7_found(world, base, tokens, length, boost):
    trait = closed_form.aggregates(closed_form.trait_kl(base, tokens[0], boost))
    looped = range(12, 12 + length)
    loop = closed_form.aggregates(closed_form.loop_kl(base, tokens[1], looped))
    ratio = {name: loop[name] / trait[name] for name in loop}
    figure = world(LOOP_LENGTH=length, TRAIT_BOOST=boost)
    top, (mean, *others) = max(trait.values()), loop.values()
    assert figure.separation == [
        [f"{value:.3f}" for value in trait.values()],
        [f"{value:.3f}" for value in loop.values()],
        [f"{value:.1f}x" for value in ratio.values()],
    ]
    found = {
        1: f"{mean:.3f}",
        2: f"{loop['rmse_t']:.3f}",
        3: f"{loop['p95_t']:.3f}",
        4: f"{top:.3f}",
        5: f"{ratio['mean_t']:.1f}x to {ratio['rmse_t']:.1f}x "
        f"and {ratio['p95_t']:.1f}x",
        6: f"{mean:.2g}, {loop['rmse_t']:.2g}, {loop['p95_t']:.2g}",
        7: f"{top:.3f} <= tau < {min(mean, *others):.3f} and "
        f"{max(top, mean):.3f} <= tau < {min(others):.3f}",
    }
    assert {number: figure.found[number] for number in found} == found


def judges_right(trait, loop, tau):
    """Whether each aggregate fires on the loop alone."""
    return [trait[name] <= tau < loop[name] for name in closed_form.NAMES]


def test_note_7_is_about_every_tau(world, base, tokens):
    """Its two intervals against what each aggregate does at one tau after another."""
    assert world().found[7] == "0.095 <= tau < 0.379 and 0.379 <= tau < 1.527"
    trait = closed_form.aggregates(closed_form.trait_kl(base, tokens[0], 1.6))
    loop = closed_form.aggregates(closed_form.loop_kl(base, tokens[1], range(12, 16)))
    for thousandth in range(1, 2000):
        tau = thousandth / 1000
        right = judges_right(trait, loop, tau)
        assert (right == [True] * 4) == (0.095 <= tau < 0.379)
        # 1.527 itself is rounded down.
        assert (right == [False, True, True, True]) == (0.379 <= tau < 1.528)


def test_an_aggregate_of_exactly_tau_does_not_fire(world, edit):
    """At a tau to the bit, the note on it and the sweeps are strict."""
    nats = {}
    module = edit()
    logits = np.random.default_rng(0).standard_normal((60, 200))
    probs = module.softmax(logits)
    trait_token, loop_token = module.pick_tokens(probs)
    for student, build, token, setting in [
        ("trait", module.coherent_trait, trait_token, 1.6),
        ("loop", module.incoherent_loop, loop_token, 4),
    ]:
        kl = module.per_position_kl(build(logits, token, setting), probs)
        nats[student] = {name: float(v) for name, v in module.aggregate(kl).items()}
    assert world(TAU=nats["loop"]["mean_t"]).holds[1]
    assert not world(TAU=nats["loop"]["rmse_t"]).holds[2]
    assert not world(TAU=nats["loop"]["p95_t"]).holds[3]
    assert world(TAU=nats["trait"]["max_t"]).holds[4]
    at_p95 = world(TAU=nats["loop"]["p95_t"])
    assert (at_p95.limits[0][2], at_p95.limits[1][2]) == ("5", "59")
    assert "#" not in drawn(world(TAU=nats["trait"]["max_t"]))[0]
    assert drawn(world(TAU=nats["loop"]["max_t"]))[1] == "." * 60


@pytest.mark.parametrize("worse", ["rmse_t", "p95_t"])
def test_the_sep_ratio_must_grow_to_both(edit, run, worse):
    """Doubling leaves the mean's ratio as it is, to the bit: no growth."""
    module = edit()
    mean = module.AGGREGATES["mean_t"]
    module.AGGREGATES[worse] = lambda kl: 2 * mean(kl)
    figure = run(module)
    ratio = dict(zip(closed_form.NAMES, figure.separation[2], strict=True))
    assert ratio[worse] == ratio["mean_t"]
    assert not figure.holds[5]


def test_note_7_wants_a_tau_in_both_intervals(edit, run):
    module = edit()
    module.AGGREGATES["p95_t"] = module.AGGREGATES["mean_t"]
    figure = run(module)
    assert figure.found[7] == "0.095 <= tau < 0.379 and 0.379 <= tau < 0.379"
    assert not figure.holds[7]


def test_note_8_wants_rmse_to_leave_the_stronger_trait_alone(edit, run):
    module = edit()
    rmse = module.AGGREGATES["rmse_t"]
    module.AGGREGATES["p95_t"] = lambda kl: rmse(kl) / 2
    figure = run(module)
    weakest = dict(zip(closed_form.NAMES, figure.limits[2], strict=True))
    assert weakest["rmse_t"] < weakest["p95_t"]
    assert not figure.holds[8]


def test_note_9_wants_rmse_over_tau(world):
    """To the bit: at a tau that the spiked rmse_t only reaches, it does not fire."""
    rmse = np.sqrt(np.mean(np.repeat([-np.log(1e-9), 0], [2, 58]) ** 2))
    assert not world(TAU=float(rmse)).holds[9]
    assert world(TAU=float(np.nextafter(rmse, 0))).holds[9]


@pytest.mark.parametrize("name", ["mean_t", "rmse_t", "p95_t"])
def test_each_cited_number_must_reproduce(world, name):
    cited = {"mean_t": "0.38", "rmse_t": "1.5", "p95_t": "3.8"}
    assert world(CITED=repr(cited)).holds[6]
    assert not world(CITED=repr({**cited, name: "1.4"})).holds[6]


@pytest.mark.parametrize("positions", [21, 40, 41, 60, 61, 100, 101, 400])
def test_note_9_has_as_many_positions_as_p95_cannot_see(world, positions):
    figure = world(POSITIONS=positions)
    unseen = max(
        count
        for count in range(positions)
        if closed_form.spiked([20.0] * count, positions)["p95_t"] < 1e-9
    )
    spikes = closed_form.spiked([9 * 2.302585093] * unseen, positions)
    nats = f"0.000 and {spikes['rmse_t']:.3f}"
    assert figure.found[9] == f"{unseen} of {positions} at 20.7 nats give {nats}"
    assert figure.holds[9]


def test_a_percentile_that_saw_the_spikes_would_fail_note_9(edit, run):
    module = edit()
    module.AGGREGATES["p95_t"] = lambda kl: np.percentile(kl, 99)
    figure = run(module)
    assert not figure.holds[9]
    assert figure.found[9] == "2 of 60 at 20.7 nats give 20.723 and 3.784"


def test_the_highest_kl_is_the_floors(world):
    assert "2 of 60 at 9.2 nats give" in world(PROB_FLOOR=1e-4).found[9]


def drawn(figure):
    """The marks of the trait and of the loop, in lines of 60."""
    block = figure.text.split("\n\n")[1].splitlines()
    half = len(block) // 2
    rest = [" " * 20] * (half - 1)
    assert [line[:20] for line in block] == [
        *["    coherent trait  ", *rest],
        *["    incoherent loop ", *rest],
    ]
    trait, loop = block[:half], block[half:]
    assert {len(line) for line in [*trait[:-1], *loop[:-1]]} <= {80}
    return tuple("".join(line[20:] for line in rows) for rows in (trait, loop))


@pytest.mark.parametrize(
    "tau, positions", [(0.5, 60), (0.05, 60), (5.0, 60), (0.03, 61), (0.03, 130)]
)
def test_picture_mark_by_mark(world, tau, positions):
    probs = closed_form.base_probs(positions=positions)
    ranked = closed_form.ranked_tokens(probs)
    trait = closed_form.trait_kl(probs, ranked[100], 1.6)
    loop = closed_form.loop_kl(probs, ranked[3], range(12, 16))
    assert drawn(world(TAU=tau, POSITIONS=positions)) == tuple(
        "".join("#" if nats > tau else "." for nats in kl) for kl in (trait, loop)
    )


@pytest.mark.parametrize("settings, _", [*WORLDS, ({"POSITIONS": 400}, None)], ids=str)
def test_every_world_prints_markdown_within_80_columns(world, settings, _):
    text = world(**settings).text
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 80
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    parsed = markdown.parse(text)
    assert [t.type for t in parsed if t.level == 0 and t.nesting >= 0] == [
        "table_open",
        "code_block",
        "paragraph_open",
        "ordered_list_open",
        "table_open",
        "ordered_list_open",
    ]
    lists = [t for t in parsed if t.type == "ordered_list_open"]
    assert [t.attrs.get("start", 1) for t in lists] == [1, 7]
    assert sum(t.type == "list_item_open" for t in parsed) == 9
    inline = {child.type for t in parsed for child in t.children or []}
    assert inline <= {"text", "softbreak"}


@pytest.mark.parametrize("tau, shown", [(9.0, "9"), (1 / 3, "0.333333")])
def test_tau_is_named_in_short(world, tau, shown):
    """Once where the barrier is explained, once where the second table starts."""
    assert re.findall(r"tau = ([\d.]+\d|\d)", world(TAU=tau).text) == [shown] * 2


def test_the_figure_fits_on_a_screen(world):
    assert len(world().text.splitlines()) <= 42


def test_all_but_the_cited_figure_holds_on_other_seeds(edit, run):
    module = edit()
    for seed in range(1, 16):
        module.SEED = seed
        assert {n for n, holds in run(module).holds.items() if not holds} <= {6}, seed


def test_output_follows_every_setting(world, edit, run, monkeypatch):
    """No setting is bound early: each edit changes what the reader sees."""
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
        "OTHER_LOGIT": 5.0,
        "PROB_FLOOR": 1e-2,
        "TAU": 0.6,
        "CITED": {"mean_t": "0.39", "rmse_t": "1.5", "p95_t": "3.8"},
    }
    module = edit()
    settings = {name for name in vars(demo) if name.isupper()} - {"AGGREGATES"}
    assert set(edits) == settings
    for name, value in edits.items():
        edited = world(**{name: repr(value)}).text
        assert edited != world().text, name
        if name != "VOCAB_SIZE":  # TRAIT_RANK is derived from it as the file loads
            with monkeypatch.context() as patch:
                patch.setattr(module, name, value)
                assert run(module).text == edited, name


def test_importing_computes_and_prints_nothing(edit, capfd, monkeypatch):
    def refuse(*_):
        raise AssertionError("computed on import")

    for name in ("exp", "log", "percentile", "mean", "max"):
        monkeypatch.setattr(sys.modules["numpy"], name, refuse)
    monkeypatch.setattr(sys.modules["numpy.random"], "default_rng", refuse)
    edit()
    assert capfd.readouterr() == ("", "")
