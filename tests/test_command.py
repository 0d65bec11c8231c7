"""The command in this process: its statuses, help, refusals, import and metadata."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from closed_form import DEFAULTS

import kl_aggregation_demo as demo

SCRIPT = Path(demo.__file__)
OPTIONS = {"tau": 0.5} | DEFAULTS
LEAST = {"tau": 0, "positions": 1, "loop_length": 1, "trait_boost": 0.1}
LEAST |= {"vocab_size": 8, "seed": 0}


def test_status_is_1_only_if_the_default_figure_does_not_hold(run, monkeypatch):
    assert run(**OPTIONS) == run() == (0, run()[1], "")
    draw = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: draw(seed + 1))
    assert run(**OPTIONS)[0] == 1  # as only note 5 fails
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert end.value.code == 1  # what main returns
    monkeypatch.setattr(demo, "LOOP_LOGIT", -5.0)
    assert (run()[0], run("--tau=0.6")[0]) == (1, 0)


def test_help_tells_the_docstring_and_the_default_and_least_values(run):
    _, text, _ = run("--help")
    assert demo.__doc__.strip() in text
    listed = " ".join(text.partition("options:")[2].split())
    for name, default in OPTIONS.items():
        rule = re.escape(f"({LEAST[name]} or more; default: {default})")
        assert re.search(rf"{name.upper()} [^()]+ {rule}", listed), name


REFUSED = {
    "--tau: must be finite, 0 or more": "--tau=-5e-324 --tau=nan --tau=inf",
    "--positions: must be 1 or more": "--positions=0",
    "--loop-length: must be 1 or more": "--loop-length=0 --loop-length=-4",
    "--trait-boost: must be finite, 0.1 or more": "--trait-boost=0.0999999999999",
    "--vocab-size: must be 8 or more": "--vocab-size=7",
    "--seed: must be 0 or more": "--seed=-1",
    "--loop-length: must be --positions or less": "--loop-length=61",
    "must be 10**8/--vocab-size or less": "--positions=500001 --vocab-size=1666667",
    "invalid int value: ": "--loop-length=4.5 --seed=nan --positions=inf",
    "invalid float value: ": "--tau=0,5 --trait-boost=",
    "unrecognized arguments: ": "stray --ta=1 --hel -x",
}


def test_what_describes_no_experiment_is_refused_in_a_line(run):
    for rule, arguments in REFUSED.items():
        for argument in arguments.split():
            status, output, error = run(argument)
            assert (status, output) == (2, ""), argument
            usage, *more, line = error.splitlines()
            assert usage.startswith("usage: ") and all(part[0] == " " for part in more)
            assert rule in line, argument
    assert run(**LEAST)[0] == run(tau=1.7e308, loop_length=60)[0] == 0
    assert demo.read_args(["--positions=500000"]).positions == 500_000


def test_importing_computes_and_prints_nothing(capfd, monkeypatch):
    monkeypatch.setattr(np.random, "default_rng", None)
    runpy.run_path(str(SCRIPT))
    assert capfd.readouterr() == ("", "")


def test_inline_metadata_names_the_same_requirements():
    opening, _, _ = SCRIPT.read_text().partition('"""')
    requirements = SCRIPT.with_name("requirements.txt").read_text().split()
    assert re.findall(r'"(\w*>=.*?)"', opening) == [">=3.10", *requirements]
