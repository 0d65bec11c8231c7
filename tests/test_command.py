"""The command as a reader types it, what it refuses, and the files beside it."""

import math
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from closed_form import DEFAULTS
from shown import NUMBER, options, run, shown

import kl_aggregation_demo as demo

SCRIPT = Path(demo.__file__)
COMMAND = [sys.executable, str(SCRIPT)]


def test_the_command_prints_the_figure_wherever_it_starts(tmp_path):
    env = os.environ | {"FORCE_COLOR": "1"}
    where = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True}
    result = subprocess.run(COMMAND, check=True, **where)
    assert (result.stdout, result.stderr) == (shown().text, "")


def test_help_tells_the_statuses_and_every_default():
    status, text, error = run("--help")
    assert (status, error) == (0, "")
    assert demo.__doc__.strip() in text
    _, _, listed = text.partition("options:")
    for argument in options(DEFAULTS):
        option, value = argument.split("=")
        told = rf"{option}\b[^(]*[a-z]\s+\(default:\s+{re.escape(value)}\)"
        assert re.search(told, listed)
    stated = NUMBER.findall(demo.__doc__.split("\n\n")[1])
    assert stated == ["3", "4", "60", "0.5", "200"]


def test_status_is_1_only_if_the_default_figure_does_not_hold(monkeypatch):
    typed = options(DEFAULTS)
    assert run(*typed) == run() == (0, shown().text, "")
    draw = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: draw(seed + 1))
    assert run(*typed)[0] == run()[0] == 1  # as only note 5 fails
    monkeypatch.setattr(demo, "LOOP_LOGIT", -5.0)
    assert (run()[0], run("--tau=0.6")[0]) == (1, 0)


# The options that a rule names, its number, and values of the first that break it.
REFUSED = [
    ("--tau", "0", ["0", "-1e-9", "nan", "inf", "-inf"]),
    ("--loop-length", "1", ["0", "-4"]),
    ("--loop-length --positions", "61", ["49"]),
    ("--positions --loop-length", "16", ["15", "0", "-60"]),
    ("--positions --vocab-size", "100,000,000", ["500001"]),
    ("--trait-boost", "0.1", [math.nextafter(0.1, 0), "-1.6", "nan", "inf", "-inf"]),
    ("--vocab-size", "8", ["7", "0", "-200"]),
    ("--seed", "0", ["-1"]),
]


def refusal(argument):
    """What the one line after the usage says."""
    status, output, error = run(argument)
    assert (status, output) == (2, "")
    usage, *more, line = error.splitlines()
    assert "usage:" in usage
    assert all(part.startswith(" ") for part in more)
    return line.partition("error:")[2]


@pytest.mark.parametrize(("named", "number", "values"), REFUSED)
def test_a_value_that_describes_no_experiment_is_refused(named, number, values):
    for value in values:
        rule = refusal(f"{named.split()[0]}={value}")
        assert all(option in rule for option in named.split())
        assert NUMBER.findall(rule) == [number]


def test_the_largest_completion_is_read():
    assert demo.read_settings(["--positions=500000"]).positions == 500_000


UNREADABLE = ["stray", "--ta=1", "--hel", "-x", "", "--loop-length=4.5", "--seed=nan"]
UNREADABLE += ["--positions=inf", "--vocab-size=2e2", *options(dict.fromkeys(DEFAULTS))]


@pytest.mark.parametrize("argument", UNREADABLE)
def test_what_cannot_be_read_is_a_usage_error(argument):
    assert argument.partition("=")[0] in refusal(argument)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_not_success():
    with open("/dev/full", "w") as full:
        result = subprocess.run(COMMAND, check=False, stdout=full)
    assert result.returncode != 0


def test_importing_computes_and_prints_nothing(capfd, monkeypatch):
    for name in ("exp", "log", "argsort", "percentile"):
        monkeypatch.setattr(np, name, None)
    monkeypatch.setattr(np.random, "default_rng", None)
    runpy.run_path(str(SCRIPT))
    assert capfd.readouterr() == ("", "")


def test_inline_metadata_names_the_same_requirements():
    opening, _, _ = SCRIPT.read_text().partition('"""')
    assert '# requires-python = ">=3.10"\n' in opening
    requirements = SCRIPT.with_name("requirements.txt").read_text().split()
    assert re.findall(r'"([a-z]+>=.*?)"', opening) == requirements
    assert len(requirements) == 2
