"""The command as a reader types it, what it refuses, and the files beside it."""

import importlib.util
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kl_aggregation_demo as demo

SCRIPT = Path(demo.__file__)


def command(*arguments, file=SCRIPT, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    line = [sys.executable, str(file), *arguments]
    return subprocess.run(line, check=False, text=True, timeout=60, **options)


def test_two_runs_agree_to_the_byte_wherever_they_start(world, tmp_path):
    """One as a command in a folder of its own, one in this process."""
    result = command(cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout == world().text
    assert result.stderr == ""


def test_an_edit_changes_the_figure_and_a_failing_note_the_status(world, tmp_path):
    file, source = tmp_path / "edited.py", SCRIPT.read_text()
    for name, value in {"SEED": 1, "VOCAB_SIZE": 120}.items():
        source, count = re.subn(rf"(?m)^({name}\b.*?) = \S+", rf"\1 = {value}", source)
        assert count == 1
    file.write_text(source)
    result = command(file=file)
    assert result.returncode == 1
    assert result.stdout == world(SEED=1, VOCAB_SIZE=120, TRAIT_RANK=60).text
    assert result.stderr == ""


@pytest.fixture
def leave(monkeypatch, capsys):
    """Run the script, edited by setting its globals, to an early end."""

    def ended(*arguments, **settings):
        monkeypatch.setattr(sys, "argv", ["kl_aggregation_demo.py", *arguments])
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
            for name, value in settings.items():
                patch.setattr(demo, name, value)
            demo.main()
        return end.value.code, *capsys.readouterr()

    return ended


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_the_docstring_as_it_is_laid_out(leave, flag):
    status, output, error = leave(flag)
    assert status == 0
    assert demo.__doc__.strip() in output
    assert error == ""


def test_the_docstring_states_the_settings():
    doc = " ".join(demo.__doc__.split())
    assert (
        f"vocabulary of {demo.VOCAB_SIZE}, for a loop at {demo.LOOP_LENGTH} of " in doc
    )
    assert f" of {demo.POSITIONS} positions and tau = {demo.TAU} nats" in doc
    assert "Exit status: 0 if every note holds, 1 if one fails, 2 for bad" in doc


@pytest.mark.parametrize("argument", ["stray", "--tau=1", "--hel", "-x", ""])
def test_any_other_argument_is_a_usage_error(leave, argument):
    status, output, error = leave(argument)
    assert status == 2
    assert output == ""
    assert "usage: kl_aggregation_demo.py" in error


# The least and the greatest value of each setting, all others being as they are.
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
REAL = {"TRAIT_BOOST", "OTHER_LOGIT", "LOOP_LOGIT", "PROB_FLOOR", "TAU"}
# What must go with a value for the rules of the settings after it.
BESIDE = {
    ("POSITIONS", 1): {"LOOP_START": 0, "LOOP_LENGTH": 1},
    ("VOCAB_SIZE", 2): {"TRAIT_RANK": 1, "LOOP_RANK": 0},
    ("LOOP_START", 59): {"LOOP_LENGTH": 1},
    ("OTHER_LOGIT", 999): {"LOOP_LOGIT": 1000},
}


def bad_values(name):
    low, high = ENDS[name]
    past = [math.nextafter(low, -math.inf), math.nextafter(high, math.inf)]
    if name not in REAL:
        past = [low - 1, high + 1, low + 0.5, float(low)]
    return [*past, math.nan, math.inf, -math.inf, "4", None, [1], 1j]


@pytest.mark.parametrize("name", ENDS)
def test_a_setting_that_describes_no_experiment_is_refused_by_name(leave, name):
    for value in bad_values(name):
        status, output, error = leave(**{name: value})
        assert status == 2
        assert output == ""
        assert error.startswith(f"{name} = {value!r} ")
        assert error.index("\n") == len(error) - 1
        ends = re.findall(r"-?\d[-.e\d]*", error.removeprefix(f"{name} = {value!r}"))
        assert [float(end) for end in ends] == list(ENDS[name])
        assert ("whole" in error) == (name not in REAL)


@pytest.mark.parametrize(
    "name, value",
    [
        (name, value)
        for name, ends in ENDS.items()
        for value in ends
        if value != 1000000 and (name, value) != ("PROB_FLOOR", 1)
    ],
)
def test_a_setting_at_either_of_its_ends_is_not(world, name, value):
    shown = world(**{name: value}, **BESIDE.get((name, value), {}))
    assert shown.words == world().words


def test_the_floor_stays_under_the_least_base_prob(leave, world):
    status, output, error = leave(PROB_FLOOR=0.5)
    assert (status, output) == (2, "")
    assert error.startswith("PROB_FLOOR = 0.5 ")
    assert error.index("\n") == len(error) - 1
    least = float(error.split()[-1])
    probs = np.exp(np.random.default_rng(0).standard_normal((60, 200)))
    assert least == pytest.approx((probs / probs.sum(axis=1, keepdims=True)).min())
    assert leave(PROB_FLOOR=least)[0] == 2
    assert world(PROB_FLOOR=math.nextafter(least, 0)).status == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_not_success(unbuffered):
    with open("/dev/full", "w") as full:
        result = command(
            stdout=full, env={**os.environ, "PYTHONUNBUFFERED": unbuffered}
        )
    assert result.returncode != 0
    assert "No space left on device" in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_a_closed_standard_output_is_not_success():
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, SCRIPT]
    result = subprocess.run(shell, check=False, stderr=subprocess.DEVNULL)
    assert result.returncode != 0


def test_importing_computes_and_prints_nothing(capfd, monkeypatch):
    def refuse(*_):
        raise AssertionError("computed on import")

    for module, names in [
        (np, ["exp", "log", "mean", "max"]),
        (np.random, ["default_rng"]),
    ]:
        for name in names:
            monkeypatch.setattr(module, name, refuse)
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
