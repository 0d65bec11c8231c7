"""The script as it stands, the script with settings edited, and what they print."""

import contextlib
import importlib.util
import io
import re
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import closed_form
import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "kl_aggregation_demo.py"
sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def script():
    return SCRIPT


@pytest.fixture(scope="session")
def base():
    """The base's probs as lists, by other means than the script's."""
    return closed_form.base_probs()


@pytest.fixture(scope="session")
def tokens(base):
    """The trait token and the loop token."""
    ranked = closed_form.ranked_tokens(base)
    return ranked[100], ranked[3]


@pytest.fixture(scope="session")
def edit(tmp_path_factory):
    """Load the script as it is after a reader has edited settings at its top."""
    folder = tmp_path_factory.mktemp("edited")

    def load(**settings):
        source = SCRIPT.read_text(encoding="ascii")
        for name, value in settings.items():
            text = f"float('{value}')" if isinstance(value, float) else str(value)
            line = f"{name} = {text}"
            source, count = re.subn(rf"(?m)^{name} = .*$", line, source)
            assert count == 1, f"{name} is not a setting on one line"
        file = Path(tempfile.mkdtemp(dir=folder)) / SCRIPT.name
        file.write_text(source, encoding="ascii")
        spec = importlib.util.spec_from_file_location("edited", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def run():
    """Run a loaded script, and take apart what it printed, but for the words.

    holds and found have the verdict and the measurement of each note by its number,
    separation and limits the cells of the two tables, row by row.
    """

    def figure(module):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [SCRIPT.name])
            with contextlib.redirect_stdout(io.StringIO()) as out:
                status = module.main()
        text = out.getvalue()
        items = re.findall(r"^(\d)\. (ok|FAILED): (.*(?:\n   .*)*)", text, re.MULTILINE)
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")[1:]]
            for line in text.splitlines()
            if line.startswith("| ")
        ]
        return SimpleNamespace(
            status=status,
            text=text,
            holds={int(number): verdict == "ok" for number, verdict, _ in items},
            found={
                int(number): " ".join(words.split()).rpartition(": ")[2]
                for number, _, words in items
            },
            separation=rows[1:4],
            limits=rows[5:],
        )

    return figure


@pytest.fixture(scope="session")
def world(edit, run):
    """The figure that the script shows once settings are edited."""
    return cache(lambda **settings: run(edit(**settings)))
