"""The command: texts, statuses, refusals, help. Run as a program, it makes texts anew."""

import os
import re
import subprocess
import sys

import pytest
from helpers import BLOCKS, PAGE, README, SCRIPT, TESTS, demo, lines, tables

OTHER = TESTS / "every_option.txt"
EVERY, SHOWN = OTHER.read_text().split("\n", 1)  # its options, and their figure
FIGURES = {"": BLOCKS["text"], EVERY: SHOWN}


def shell(options="", stdout=subprocess.PIPE):
    """Run the command as from a shell, in another folder."""
    command = [sys.executable, "-W", "error", str(SCRIPT), *options.split()]
    return subprocess.run(command, check=False, stdout=stdout, cwd=TESTS, text=True)


@pytest.mark.parametrize("options", FIGURES)
def test_the_figure_is_its_text_and_says_in_the_status_if_a_row_fails(options):
    ended = shell(options)
    ask = f"with {options or 'no option'}: if right, `python tests/test_command.py`"
    assert ended.stdout == FIGURES[options], ask
    assert ended.returncode == ("FAILS" in ended.stdout)


def test_the_default_figure_has_the_numbers_of_the_journal():
    texts = (TESTS / "journal.txt").read_text(), BLOCKS["text"]
    for expected, found in zip(*(next(tables(text)) for text in texts), strict=True):
        assert found == found | expected, "the journal's numbers should stay"


def test_the_figure_is_written_in_one_piece(monkeypatch):
    pieces = []
    monkeypatch.setattr(sys.stdout, "write", pieces.append)
    demo.main([])
    assert len([*filter(None, pieces)]) == 1


@pytest.mark.parametrize("failing", range(6))
def test_the_status_is_1_if_any_one_row_fails(failing, monkeypatch):
    rows = [("a row", "0 < 1", i != failing) for i in range(6)]
    monkeypatch.setattr(demo, "predictions", lambda *_: rows)
    assert demo.main([]) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_no_success():
    with open("/dev/full", "w") as full:
        assert shell(stdout=full).returncode != 0


@pytest.mark.parametrize("line", lines("refused.txt"))
def test_what_describes_no_experiment_is_refused_in_a_line(line, capsys):
    argument, rule = line.split(maxsplit=1)
    with pytest.raises(SystemExit, match="^2$"):
        demo.main([argument])
    printed = capsys.readouterr()
    assert printed.out == ""
    usage, *more, last = printed.err.splitlines()
    assert usage.startswith("usage: ") and all(part[0] == " " for part in more)
    assert last.partition(": error: ")[2] == rule


@pytest.mark.parametrize("line", lines("taken.txt"))
def test_the_least_and_the_largest_values_are_taken(line):
    demo.read_args(line.split())


@pytest.mark.parametrize("line", lines("help.txt"))
def test_help_tells_each_option_with_its_values(line, capsys):
    with pytest.raises(SystemExit, match="^0$"):
        demo.main(["--help"])
    text = capsys.readouterr().out
    assert demo.__doc__.strip() in text
    assert line.format(**vars(demo.read_args([]))) in " ".join(text.split())


def test_inline_metadata_names_the_same_requirements():
    opening, _, _ = SCRIPT.read_text().partition('"""')
    requirements = SCRIPT.with_name("requirements.txt").read_text().split()
    assert re.findall(r'"(\w*>=.*?)"', opening) == [">=3.10", *requirements]


if __name__ == "__main__":
    block, other = shell().stdout, shell(EVERY).stdout
    assert block and other, "The script prints nothing: no text is made anew."
    README.write_text(PAGE.replace(BLOCKS["text"], block), encoding="utf-8")
    OTHER.write_text(f"{EVERY}\n{other}")
