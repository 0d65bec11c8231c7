"""The command as a reader types it, and the files that stand beside it."""

import os
import re
import subprocess
import sys

import pytest


@pytest.fixture
def command(script, tmp_path):
    """Run the script, or an edited copy, as a command from a folder of its own."""

    def run(*arguments, file=script, **settings):
        return subprocess.run(
            [sys.executable, str(file), *arguments],
            cwd=settings.pop("cwd", tmp_path),
            env={**os.environ, **settings.pop("env", {})},
            capture_output="stdout" not in settings,
            check=False,
            text=True,
            timeout=60,
            **settings,
        )

    return run


def test_two_runs_agree_to_the_byte_wherever_they_start(command, root):
    first, second = command(), command(cwd=root)
    assert first.returncode == second.returncode == 0
    assert first.stdout == second.stdout != ""
    assert first.stderr == second.stderr == ""


def test_failing_claim_ends_with_status_1_and_the_whole_output(command, edit):
    result = command(file=edit(SEED=1).__file__)
    assert result.returncode == 1
    assert len(result.stdout.splitlines()) == len(command().stdout.splitlines())
    assert result.stderr == ""


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_prints_what_the_script_shows(command, flag):
    result = command(flag)
    assert result.returncode == 0
    assert "Why does a safeguard on the mean KL miss a token loop" in result.stdout
    assert "\nincoherent loop  is the base but for" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("argument", ["stray", "--tau=1", "--hel", "-x", ""])
def test_any_other_argument_is_a_usage_error(command, argument):
    result = command(argument)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "usage: kl_aggregation_demo.py" in result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_a_full_disk_is_not_success(command, arguments, unbuffered):
    with open("/dev/full", "w") as full:
        result = command(
            *arguments,
            env={"PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
        )
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
