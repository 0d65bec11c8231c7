"""The script, run in this process with settings edited, and what it then prints."""

import io
import re
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# A number, but for those in p95_t and #101.
NUMBER = re.compile(r"(?<![\w#.])\d+(?:\.\d+)?(?:e[+-]\d+)?\b")


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def call():
    """Run the script with its globals set: its status, output and error."""

    def script(*arguments, **settings):
        import kl_aggregation_demo as demo

        out, error = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["kl_aggregation_demo.py", *arguments])
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", error)
            for name, value in settings.items():
                patch.setattr(demo, name, value)
            try:
                status = demo.main()
            except SystemExit as end:
                status = end.code
        return status, out.getvalue(), error.getvalue()

    return script


@pytest.fixture(scope="session")
def run(call):
    """Run the script with settings edited, and take apart what it prints."""

    def figure(**settings):
        status, text, error = call(**settings)
        assert error == ""
        return read(text, status)

    return figure


@pytest.fixture(scope="session")
def world(run):
    """The same figure, run once however many tests ask for it."""
    return cache(run)


def read(text, status):
    """Take a figure apart: its words with the numbers out of them, and its data."""
    heading, separation, strip, paragraph, notes, limits = text.split("\n\n")
    lines = [line.rsplit(" ", 1) for line in strip.split("\n")]
    trait, loop = lines[: len(lines) // 2], lines[len(lines) // 2 :]
    items = [" ".join(item.split()) for item in re.split(r"\n(?=\d)", notes)]
    parts = [re.fullmatch(r"(\d)\. (ok|FAILED): (.*): (.*)", item) for item in items]
    should = [part[3] for part in parts]
    header, rows = cells(separation)
    limit_header, limit_rows = cells(limits)
    words = [
        heading,
        *header,
        *(row[0] for row in rows),
        *(label for label, _ in lines),
    ]
    words += [paragraph, *should, *limit_header, *(row[0] for row in limit_rows)]
    words = " ".join(" ".join(words).split())
    return SimpleNamespace(
        text=text,
        status=status,
        words=NUMBER.sub("N", words),
        numbers=NUMBER.findall(words),
        separation=[row[1:] for row in rows],
        marks=["".join(marks for _, marks in student) for student in (trait, loop)],
        numbered=[int(part[1]) for part in parts],
        holds=[part[2] == "ok" for part in parts],
        found=[part[4] for part in parts],
        limits=[row[1:] for row in limit_rows],
    )


def cells(table):
    """The header of a table and its rows."""
    lines = [line.strip("|").split("|") for line in table.strip().split("\n")]
    header, _, *rows = [[cell.strip() for cell in line] for line in lines]
    return header, rows
