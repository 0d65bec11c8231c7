"""README.md: its output block, its commands and every number in its prose."""

import math
import re

import closed_form
import pytest

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


def test_reason_the_mean_is_blind(readme):
    base = closed_form.base_probs()
    loop_token = closed_form.ranked_tokens(base)[3]
    mean_kl = sum(closed_form.loop_kl(base, loop_token, range(12, 16))) / 4
    assert f"K = {mean_kl:.1f}, tau = {demo.TAU}:" in readme
    share = demo.TAU / mean_kl
    assert f"{share:.1%} of the positions against {share**2:.1%}" in readme
    # The algebra itself, at m = 4 of T = 60 positions with one K at each.
    level = [2.0] * 4 + [0.0] * 56
    mean, rmse = sum(level) / 60, math.sqrt(sum(kl * kl for kl in level) / 60)
    assert mean == pytest.approx(2.0 * 4 / 60)
    assert rmse == pytest.approx(2.0 * math.sqrt(4 / 60))
