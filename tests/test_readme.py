"""README.md: its output block, its commands and every number in its prose."""

import math
import re

import closed_form
import numpy as np
import pytest
from markdown_it import MarkdownIt

import kl_aggregation_demo as demo


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text(encoding="ascii")


def fenced(readme, language):
    blocks = re.findall(r"(?ms)^```(\w+)\n(.*?)^```$", readme)
    return [body for tag, body in blocks if tag == language]


def test_output_block_is_the_output(readme, run):
    assert fenced(readme, "text") == [run(demo)[1]]


def test_commands_are_one_line_each(readme):
    run_it, run_with_uv, test_it = fenced(readme, "sh")
    assert run_it.endswith(".venv/bin/python kl_aggregation_demo.py\n")
    assert run_with_uv == "uv run kl_aggregation_demo.py\n"
    assert test_it.endswith(".venv/bin/python -m pytest\n")
    assert run_it.count("\n") == test_it.count("\n") == 1


@pytest.fixture(scope="module")
def prose(readme):
    """The page as running text, however its lines are broken."""
    return " ".join(readme.split())


def test_the_versions_it_starts_from(prose, root):
    numpy, tabulate = (root / "requirements.txt").read_text().split()
    assert f"(from {numpy.removeprefix('numpy>=')} to " in prose
    assert f"tabulate ({tabulate.removeprefix('tabulate>=')}, " in prose
    assert "Python 3.10 or newer" in prose
    assert "Python 3.10 to " in prose


def test_the_two_students(prose):
    looped = f"at {demo.LOOP_LENGTH} of {demo.POSITIONS} positions"
    assert f"loops on one token {looped}" in prose
    assert f"has {demo.TRAIT_BOOST} added to the logit" in prose
    last = demo.LOOP_START + demo.LOOP_LENGTH - 1
    assert f"at positions {demo.LOOP_START} to {last} (counting from 0)" in prose
    assert f"from position {demo.LOOP_START} on, and raises the trait's" in prose
    assert f"boost from {demo.TRAIT_BOOST}, until each aggregate fires" in prose


def test_why_the_mean_is_blind(prose, base, tokens):
    mean_kl = sum(closed_form.loop_kl(base, tokens[1], range(12, 16))) / 4
    share = demo.TAU / mean_kl
    assert (
        f"K = {mean_kl:.1f}, tau = {demo.TAU}: "
        f"{share:.1%} of the positions against {share**2:.1%}"
    ) in prose
    # The algebra itself, at m = 4 of T = 60 positions with one K at each.
    level = closed_form.aggregates([2.0] * 4 + [0.0] * 56)
    assert level["mean_t"] == pytest.approx(2.0 * 4 / 60)
    assert level["rmse_t"] == pytest.approx(2.0 * math.sqrt(4 / 60))


def test_limit_synthetic(prose, base, tokens):
    trait_token, loop_token = tokens
    *probs, last = (base[position][loop_token] for position in range(12, 16))
    listed = ", ".join(f"{prob:.3f}" for prob in probs)
    assert f"base probs {listed} and {last:.4f}, where uniform is {1 / 200}." in prose
    assert "no token is improbable at every position" in prose
    assert min(max(probs) for probs in zip(*base)) > 1 / 200
    swapped = closed_form.aggregates(
        closed_form.loop_kl(base, trait_token, range(12, 16))
    )
    assert (
        f"looping on the trait token instead gives mean_t {swapped['mean_t']:.3f}, "
        f"rmse_t {swapped['rmse_t']:.3f}, p95_t {swapped['p95_t']:.3f}."
    ) in prose


def test_limit_the_mean_is_not_blind_as_a_statistic(prose, base, tokens):
    trait = closed_form.aggregates(closed_form.trait_kl(base, tokens[0], 1.6))
    means = [
        closed_form.aggregates(
            closed_form.loop_kl(base, tokens[1], range(12, 12 + length))
        )["mean_t"]
        for length in range(8)
    ]
    assert f"its sep ratio is {means[4] / trait['mean_t']:.1f}x." in prose
    assert "with six looped positions of 60 it fires" in prose
    assert means[5] <= 0.5 < means[6]


def test_limit_luck_of_the_seed(prose):
    grows, holds, seeds = 0, 0, range(2000)
    for seed in seeds:
        logits = np.random.default_rng(seed).standard_normal((60, 200))
        base = demo.softmax(logits)
        trait_token, loop_token = demo.pick_tokens(base)
        students = (
            demo.coherent_trait(logits, trait_token, 1.6),
            demo.incoherent_loop(logits, loop_token, 4),
        )
        trait, loop = (
            demo.aggregate(demo.per_position_kl(student, base)) for student in students
        )
        ratio = {name: loop[name] / trait[name] for name in trait}
        grows += ratio["max_t"] > ratio["p95_t"]
        verdict = demo.check_result(trait, loop, ratio)[:5]
        holds += all(line.startswith("- ok: ") for line in verdict)
    share = f"{grows / len(seeds):.0%}"
    assert f"Over seeds 0 to 1,999 the ratio grows from p95 to max on {share}." in prose
    assert "hold on all of these seeds but one." in prose
    assert holds == len(seeds) - 1


def test_limit_one_legitimate_spike(prose, base, tokens):
    spiked = [
        closed_form.aggregates(closed_form.loop_kl(base, tokens[1], [position]))
        for position in range(60)
    ]
    rmse = [aggregates["rmse_t"] for aggregates in spiked]
    assert all(aggregates["max_t"] > 0.5 for aggregates in spiked)
    over = sum(value > 0.5 for value in rmse)
    assert (
        "One looped position trips `max_t` wherever it stands, and `rmse_t` "
        f"({min(rmse):.3f} to {max(rmse):.3f}) at {over} of the 60 positions; "
        "the other is 12, where the loop happens to start."
    ) in prose
    assert [position for position in range(60) if rmse[position] <= 0.5] == [12]


def test_limit_p95_and_its_rank(prose):
    assert f"sits at rank 0.95 * 59 = {0.95 * 59:.2f}, so it ignores up to two" in prose
    p95 = [
        closed_form.aggregates([0.0] * (60 - len(spikes)) + spikes)["p95_t"]
        for spikes in ([9.0], [9.0, 8.0], [9.0, 8.0, 7.0], [9.0, 8.0, 7.0, 7.0])
    ]
    assert p95 == pytest.approx([0.0, 0.0, 7.0 / 20, 7.0])
    assert "a third adds a twentieth of the smallest, a fourth the whole of it" in prose


def test_output_renders_as_two_tables_a_code_block_a_paragraph_and_lists(run):
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = markdown.parse(run(demo)[1])
    assert [
        token.type for token in tokens if token.level == 0 and token.nesting >= 0
    ] == [
        "table_open",
        "code_block",
        "paragraph_open",
        "bullet_list_open",
        "table_open",
        "bullet_list_open",
    ]
    inline = [child for token in tokens for child in token.children or []]
    assert {child.type for child in inline} == {"text"}


def test_page_is_short_and_strikes_nothing_out(readme):
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    inline = [t for token in markdown.parse(readme) for t in token.children or []]
    assert "s_open" not in {token.type for token in inline}
    assert len(readme.splitlines()) <= 120
