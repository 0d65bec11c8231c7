import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # where the script is


@pytest.fixture
def run(capsys, monkeypatch):
    """Run the script in this process: its status, its output and its errors."""
    monkeypatch.setenv("NO_COLOR", "1")  # for argparse
    from kl_aggregation_demo import main

    def run(*arguments, **world):
        typed = [f"--{name.replace('_', '-')}={value}" for name, value in world.items()]
        try:
            return main([*arguments, *typed]), *capsys.readouterr()
        except SystemExit as end:
            return end.code, *capsys.readouterr()

    return run
