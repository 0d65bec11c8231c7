"""What the shell sees. `python tests/test_text.py` makes the texts of it anew."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
README = HERE.with_name("README.md")
COMMAND = [sys.executable, "-W", "error", str(HERE.with_name("kl_aggregation_demo.py"))]
BLOCK = re.compile(r"(?ms)(?<=^```text\n).*?(?=^```$)")
WORLDS = {"boost_4.txt": "--trait-boost=4", "positions_1000.txt": "--positions=1000"}

# The separation table as the journal's own script printed it.
JOURNALS = """\
| student (60 positions)   | mean_t   | rmse_t   | p95_t   | max_t   |
|--------------------------|----------|----------|---------|---------|
| coherent trait           | 0.018    | 0.026    | 0.049   | 0.095   |
| incoherent loop          | 0.379    | 1.527    | 3.777   | 8.081   |
| sep ratio (loop/trait)   | 20.6x    | 57.7x    | 77.0x   | 85.4x   |
"""


def printed(*options):
    """What the command prints, where it is run from another folder."""
    return subprocess.check_output([*COMMAND, *options], cwd=HERE, text=True)


def test_figures_are_their_texts():
    figure = printed()
    assert BLOCK.findall(README.read_text()) == [figure]
    assert figure.startswith(JOURNALS)
    for name, option in WORLDS.items():
        assert printed(option) == (HERE / name).read_text()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_refusal_and_a_full_disk_are_no_success():
    refused = subprocess.run([*COMMAND, "--seed=-1"], check=False, capture_output=True)
    assert (refused.returncode, refused.stdout) == (2, b"")
    with open("/dev/full", "w") as full:
        assert subprocess.run(COMMAND, check=False, stdout=full).returncode != 0


if __name__ == "__main__":
    README.write_text(BLOCK.sub(lambda _: printed(), README.read_text()))
    for name, option in WORLDS.items():
        (HERE / name).write_text(printed(option))
