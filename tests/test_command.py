"""The command as a reader types it, what it refuses, and the files beside it."""

import importlib.util
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import closed_form
import numpy as np
import pytest

import kl_aggregation_demo as demo

SCRIPT = Path(demo.__file__)


def command(file=SCRIPT, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    line = [sys.executable, str(file)]
    return subprocess.run(line, check=False, text=True, timeout=60, **options)


def test_two_runs_agree_to_the_byte_wherever_they_start(world, tmp_path):
    """One as a command in a folder of its own, one in this process."""
    result = command(cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == world().text


def test_an_edit_changes_the_figure_and_a_failing_note_the_status(world, tmp_path):
    file, source = tmp_path / "edited.py", SCRIPT.read_text()
    for name, value in {"SEED": 1, "VOCAB_SIZE": 120}.items():
        source, count = re.subn(rf"(?m)^({name}\b.*?) = \S+", rf"\1 = {value}", source)
        assert count == 1
    file.write_text(source)
    result = command(file=file)
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout == world(SEED=1, VOCAB_SIZE=120, TRAIT_RANK=60).text


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_the_docstring_as_it_is_laid_out(call, flag):
    status, output, error = call(flag)
    assert (status, error) == (0, "")
    assert demo.__doc__.strip() in output


def test_the_docstring_states_the_settings():
    shown = re.search(r"Shown in .*? nats", demo.__doc__)[0]
    settings = [demo.VOCAB_SIZE, demo.LOOP_LENGTH, demo.POSITIONS, demo.TAU]
    assert re.findall(r"[\d.]+", shown) == [str(value) for value in settings]


@pytest.mark.parametrize("argument", ["stray", "--tau=1", "--hel", "-x", ""])
def test_any_other_argument_is_a_usage_error(call, argument):
    status, output, error = call(argument)
    assert (status, output) == (2, "")
    assert "usage: kl_aggregation_demo.py" in error


# The least and the greatest value of each setting, all others being as they are.
# test_figure.py shows worlds at all of them but the greatest sizes and floor.
ENDS = {
    "SEED": (0, 4294967295),
    "POSITIONS": (1, 1000000),
    "VOCAB_SIZE": (2, 1000000),
    "TRAIT_RANK": (0, 199),
    "TRAIT_BOOST": (0.1, 42),
    "LOOP_RANK": (0, 199),
    "LOOP_START": (0, 59),
    "LOOP_LENGTH": (1, 48),
    "OTHER_LOGIT": (-1000, 999),
    "LOOP_LOGIT": (-9.0, 1000),
    "PROB_FLOOR": (1e-300, 1),
    "TAU": (1e-9, 1000),
}


def bad_values(name):
    low, high = ENDS[name]
    if type(getattr(demo, name)) is int:
        past = [low - 1, high + 1, low + 0.5, float(high)]
    else:
        past = [math.nextafter(low, -math.inf), math.nextafter(high, math.inf)]
    return [*past, math.nan, math.inf, -math.inf, "4", None, [1], 1j]


@pytest.mark.parametrize("name", ENDS)
def test_a_setting_that_describes_no_experiment_is_refused_by_name(call, name):
    for value in bad_values(name):
        status, output, error = call(**{name: value})
        assert (status, output) == (2, "")
        named = f"{name} = {value!r} "
        assert error.startswith(named)
        assert error.count("\n") == error.endswith("\n") == 1
        ends = re.findall(r"-?\d[-.e\d]*", error.removeprefix(named))
        assert [float(end) for end in ends] == list(ENDS[name])


def test_a_refusal_is_told_as_a_person_would(call):
    error = "LOOP_LENGTH = 49 must be a whole number from 1 to 48\n"
    assert call(LOOP_LENGTH=49) == (2, "", error)
    assert call(TAU=0) == (2, "", "TAU = 0 must be a number from 1e-09 to 1000\n")


def test_the_floor_stays_under_the_least_base_prob(call, world):
    least = float(call(PROB_FLOOR=0.5)[2].split()[-1])
    assert least == pytest.approx(closed_form.draw()[0].min())
    error = f"PROB_FLOOR = {least} must be under the least base prob, {least}\n"
    assert call(PROB_FLOOR=least) == (2, "", error)
    assert world(PROB_FLOOR=math.nextafter(least, 0)).status == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_not_success(monkeypatch, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with open("/dev/full", "w") as full:
        result = command(stdout=full)
    assert result.returncode != 0
    assert "No space left on device" in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_a_closed_standard_output_is_not_success():
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, SCRIPT]
    result = subprocess.run(shell, check=False, text=True, stderr=subprocess.PIPE)
    assert result.returncode != 0
    assert "no attribute 'write'" in result.stderr


def test_importing_computes_and_prints_nothing(capfd, monkeypatch):
    def refuse(*_):
        raise AssertionError("computed on import")

    monkeypatch.setattr(np.random, "default_rng", refuse)
    for name in ("exp", "log", "mean", "max", "argsort"):
        monkeypatch.setattr(np, name, refuse)
    spec = importlib.util.spec_from_file_location("imported", SCRIPT)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert capfd.readouterr() == ("", "")


def test_inline_metadata_names_the_same_requirements(root):
    opening = re.match(r"# /// script\n((?:# .*\n)+?)# ///\n", SCRIPT.read_text())
    assert '# requires-python = ">=3.10"\n' in opening[1]
    dependencies = re.search(r"dependencies = \[(.*)\]", opening[1])[1]
    requirements = (root / "requirements.txt").read_text().split()
    assert re.findall(r'"(.*?)"', dependencies) == requirements
    assert [re.match(r"\w+", line)[0] for line in requirements] == ["numpy", "tabulate"]
