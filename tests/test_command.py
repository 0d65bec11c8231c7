"""The command: texts, statuses, refusals, help. Run as a program, it makes texts anew."""

import os
import re
import subprocess
import sys

import helpers
import pytest
from helpers import DEFAULTS, README, SCRIPT, TAU, TESTS, demo, lines, run, tables

COMMAND = [sys.executable, "-W", "error", str(SCRIPT)]
BLOCK = re.compile(r"(?ms)(?<=^```text\n).*?(?=^```$)")
OTHER = TESTS / "every_option.txt"
EVERY = "--tau=6.375 --positions=1241 --loop-length=1007 --trait-boost=1.25"
EVERY += " --vocab-size=1003 --seed=20261"


def shell(*options, stdout=subprocess.PIPE):
    """Run the command as from a shell, in another folder."""
    command, pipe = [*COMMAND, *options], subprocess.PIPE
    return subprocess.run(command, check=False, stdout=stdout, stderr=pipe, cwd=TESTS)


def printed(options=""):
    ended = shell(*options.split())
    assert ended.returncode in (0, 1), ended.stderr.decode()
    return ended.stdout.decode()


def test_figures_are_their_texts_and_fit():
    texts = {"": BLOCK.search(README.read_text())[0], EVERY: OTHER.read_text()}
    for options, text in texts.items():
        helpers.assert_fits(printed(options))
        ask = f"with {options or 'no option'}: if right, `python tests/test_command.py`"
        assert printed(options) == text, ask


def test_the_default_figure_has_the_numbers_of_the_journal():
    texts = (TESTS / "journal.txt").read_text(), run().output
    for expected, found in zip(*(next(tables(text)) for text in texts), strict=True):
        assert found == found | expected


def test_the_figure_is_written_in_one_piece(monkeypatch):
    pieces = []
    monkeypatch.setattr(sys.stdout, "write", pieces.append)
    demo.main([])
    assert len([*filter(None, pieces)]) == 1


@pytest.mark.parametrize("failing", [None, *range(6)])
def test_the_status_is_1_if_any_one_row_fails(failing, monkeypatch):
    rows = [("a row", "0 < 1", i != failing) for i in range(6)]
    monkeypatch.setattr(demo, "predictions", lambda *_: rows)
    assert run().status == int(failing is not None)


def test_the_status_reaches_the_shell_and_a_full_disk_is_no_success():
    for seed, status in {"--seed=0": 0, "--seed=1169": 1, "--seed=-1": 2}.items():
        ended = shell(seed)
        assert (ended.returncode, ended.stdout == b"") == (status, status == 2), seed
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            assert shell(stdout=full).returncode != 0


@pytest.mark.parametrize("line", lines("refused.txt"))
def test_what_describes_no_experiment_is_refused_in_a_line(line):
    argument, rule = line.split(maxsplit=1)
    refused = run(argument)
    assert (refused.status, refused.output) == (2, "")
    usage, *more, last = refused.error.splitlines()
    assert usage.startswith("usage: ") and all(part[0] == " " for part in more)
    assert last.partition(": error: ")[2] == rule


@pytest.mark.parametrize("line", lines("taken.txt"))
def test_the_least_and_the_largest_values_are_taken(line):
    demo.read_args(line.split())


@pytest.mark.parametrize("line", lines("help.txt"))
def test_help_tells_each_option_with_its_values(line):
    text = run("--help").output
    assert demo.__doc__.strip() in text
    assert line.format(tau=TAU, **DEFAULTS) in " ".join(text.split())


def test_inline_metadata_names_the_same_requirements():
    opening, _, _ = SCRIPT.read_text().partition('"""')
    requirements = SCRIPT.with_name("requirements.txt").read_text().split()
    assert re.findall(r'"(\w*>=.*?)"', opening) == [">=3.10", *requirements]


if __name__ == "__main__":
    block = printed()
    README.write_text(BLOCK.sub(lambda _: block, README.read_text()))
    OTHER.write_text(printed(EVERY))
