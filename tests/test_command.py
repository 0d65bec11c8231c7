"""The command as a reader types it, and the files that stand beside it."""

import math
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture
def command(script, tmp_path):
    """Run the script, or an edited copy, as a command from a folder of its own."""

    def start(file=script, **settings):
        return subprocess.run(
            [sys.executable, str(file)],
            cwd=tmp_path,
            env={**os.environ, **settings.pop("env", {})},
            capture_output="stdout" not in settings,
            check=False,
            text=True,
            timeout=60,
            **settings,
        )

    return start


@pytest.fixture
def leave(edit, monkeypatch, capsys):
    """Run an edited script that ends early: its status, output and error."""

    def ended(*arguments, **settings):
        module = edit(**settings)
        monkeypatch.setattr(sys, "argv", ["kl_aggregation_demo.py", *arguments])
        with pytest.raises(SystemExit) as end:
            module.main()
        return end.value.code, *capsys.readouterr()

    return ended


def test_two_runs_agree_to_the_byte_wherever_they_start(command, world):
    """One as a command in a folder of its own, one in this process."""
    result = command()
    assert result.returncode == 0
    assert result.stdout == world().text != ""
    assert result.stderr == ""


def test_a_failing_note_ends_with_status_1_and_the_whole_output(command, edit, run):
    module = edit(SEED=1)
    result = command(file=module.__file__)
    assert result.returncode == 1
    assert result.stdout == run(module).text
    assert result.stderr == ""


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_prints_what_the_script_shows(leave, flag):
    status, output, error = leave(flag)
    assert status == 0
    assert "Why does a safeguard on the mean KL miss a token loop" in output
    assert "\nincoherent loop  is the base but for" in output
    assert error == ""


@pytest.mark.parametrize("argument", ["stray", "--tau=1", "--hel", "-x", ""])
def test_any_other_argument_is_a_usage_error(leave, argument):
    status, output, error = leave(argument)
    assert status == 2
    assert output == ""
    assert "usage: kl_aggregation_demo.py" in error


# Each rule just past either of its ends; the setting to be named comes first.
@pytest.mark.parametrize(
    "settings",
    [
        {"SEED": -1},
        {"LOOP_START": -1},
        {"LOOP_START": 60},
        {"LOOP_START": 100},
        {"LOOP_LENGTH": 0},
        {"LOOP_LENGTH": 49},
        {"LOOP_LENGTH": 100},
        {"LOOP_RANK": -1},
        {"LOOP_RANK": 100},
        {"LOOP_RANK": 3, "VOCAB_SIZE": 4},
        {"TRAIT_RANK": 200},
        {"TRAIT_BOOST": 0.0},
        {"TRAIT_BOOST": -0.5},
        {"TRAIT_BOOST": math.inf},
        {"TRAIT_BOOST": math.nan},
        {"LOOP_LOGIT": -10.0},
        {"LOOP_LOGIT": math.inf},
        {"LOOP_LOGIT": math.nan},
        {"PROB_FLOOR": 0},
        {"PROB_FLOOR": 1},
        {"TAU": 0.0},
        {"TAU": math.inf},
        {"TAU": math.nan},
        # Of a trait whose KL is 0, or rounding, the sep ratio would be no number.
        {"TRAIT_BOOST": 1e-20},
        {"TRAIT_BOOST": 1e-10},
        {"TRAIT_BOOST": 1.6, "PROB_FLOOR": 0.1},
    ],
    ids=str,
)
def test_settings_that_describe_no_experiment_are_refused(leave, settings):
    status, output, error = leave(**settings)
    (name, value), *_ = settings.items()
    assert status == 2
    assert output == ""
    named = re.escape(f"{name} = {value}")
    assert re.fullmatch(rf"{named} must [^\n]+\n", error), error


@pytest.mark.parametrize(
    "settings, low, high",
    [
        ({"SEED": -5}, "-1", "inf"),
        ({"LOOP_START": 60}, "-1", "60"),
        ({"LOOP_LENGTH": 49}, "0", "49"),
        ({"LOOP_RANK": 3, "VOCAB_SIZE": 4}, "-1", "2"),
        ({"TRAIT_RANK": 200}, "3", "200"),
        ({"LOOP_LOGIT": -11.0}, "-10.0", "inf"),
        ({"PROB_FLOOR": 2}, "0", "1"),
    ],
    ids=str,
)
def test_a_refusal_tells_between_what_the_setting_must_lie(leave, settings, low, high):
    _, _, error = leave(**settings)
    _, _, limits = error.partition(" must ")
    assert re.findall(r"[-+.\d]+|inf", limits) == [low, high]


@pytest.mark.parametrize(
    "settings",
    [
        {"LOOP_START": 0},
        {"LOOP_START": 59, "LOOP_LENGTH": 1},
        {"LOOP_LENGTH": 48},
        {"LOOP_RANK": 0},
        {"LOOP_RANK": 99},
        {"TRAIT_RANK": 4},
        {"TRAIT_RANK": 199},
        {"TRAIT_BOOST": 1e-5},
        {"TRAIT_BOOST": 1e300},
        {"LOOP_LOGIT": -9.9},
        {"LOOP_LOGIT": 1e300},
        {"OTHER_LOGIT": -math.inf},
        {"PROB_FLOOR": 1e-300},
        {"PROB_FLOOR": 0.05},
        {"TAU": 1e-300},
        {"TAU": 1e300},
        {"VOCAB_SIZE": 8},
        {"POSITIONS": 1, "LOOP_START": 0, "LOOP_LENGTH": 1},
    ],
    ids=str,
)
def test_settings_just_within_the_rules_are_not(world, settings):
    assert len(world(**settings).holds) == 9


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_not_success(command):
    def fill(unbuffered):
        with open("/dev/full", "w") as full:
            return command(
                env={"PYTHONUNBUFFERED": unbuffered},
                stdout=full,
                stderr=subprocess.PIPE,
            )

    with ThreadPoolExecutor() as pool:
        for result in pool.map(fill, ["", "1"]):
            assert result.returncode != 0
            assert "No space left on device" in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_a_closed_standard_output_is_not_success(script):
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, str(script)]
    result = subprocess.run(shell, check=False, stderr=subprocess.DEVNULL)
    assert result.returncode != 0


def test_inline_metadata_names_the_same_requirements(root, script):
    opening = re.match(r"# /// script\n((?:# .*\n)+?)# ///\n", script.read_text())
    assert opening, "the script must open with PEP 723 metadata"
    metadata = opening[1]
    assert '# requires-python = ">=3.10"\n' in metadata
    dependencies = re.search(r"dependencies = \[(.*)\]", metadata)[1]
    requirements = (root / "requirements.txt").read_text().split()
    assert re.findall(r'"(.*?)"', dependencies) == requirements
    assert [re.match(r"\w+", line)[0] for line in requirements] == ["numpy", "tabulate"]
