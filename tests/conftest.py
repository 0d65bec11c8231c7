"""The script, run in this process with settings edited, and what it then prints."""

import contextlib
import importlib
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
def run():
    """Run the script, edited by setting its globals, and take apart what it prints."""

    def figure(**settings):
        demo = importlib.import_module("kl_aggregation_demo")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["kl_aggregation_demo.py"])
            for name, value in settings.items():
                patch.setattr(demo, name, value)
            with contextlib.redirect_stdout(io.StringIO()) as out:
                status = demo.main()
        return read(out.getvalue(), status)

    return figure


@pytest.fixture(scope="session")
def world(run):
    """The same figure, run once however many tests ask for it."""
    return cache(run)


def read(text, status):
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
