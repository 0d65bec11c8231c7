"""The script as it stands, the script with settings edited, and what they print."""

import contextlib
import importlib.util
import io
import re
import sys
import tempfile
from pathlib import Path

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
    """The base's probs, by other means than the script's."""
    return closed_form.base_probs()


@pytest.fixture(scope="session")
def tokens(base):
    """The trait token and the loop token."""
    ranked = closed_form.ranked_tokens(base)
    return ranked[100], ranked[3]


@pytest.fixture
def edit(tmp_path):
    """Load the script as it is after a reader has edited settings at its top."""

    def load(**settings):
        source = SCRIPT.read_text(encoding="ascii")
        for name, value in settings.items():
            line = f"{name} = {value!r}"
            source, count = re.subn(rf"(?m)^{name} = .*$", line, source)
            assert count == 1, f"{name} is not a setting on one line"
        file = Path(tempfile.mkdtemp(dir=tmp_path)) / SCRIPT.name
        file.write_text(source, encoding="ascii")
        spec = importlib.util.spec_from_file_location("edited", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def run(monkeypatch):
    """Run a loaded script: its exit status, and what it printed."""

    def main(module):
        monkeypatch.setattr(sys, "argv", [SCRIPT.name])
        with contextlib.redirect_stdout(io.StringIO()) as out:
            status = module.main()
        return status, out.getvalue()

    return main
