"""What the shell sees. `python tests/test_text.py` makes the texts of it anew."""

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
README = HERE.with_name("README.md")
COMMAND = [sys.executable, "-W", "error", str(HERE.with_name("kl_aggregation_demo.py"))]
BLOCK = re.compile(r"(?ms)(?<=^```text\n).*?(?=^```$)")
EVERY = "--tau=2.375 --positions=90 --loop-length=50 --trait-boost=5.25 --seed=7"
WORLDS = {"boost_4.txt": "--trait-boost=4", "positions_1000.txt": "--positions=1000"}
WORLDS |= {"every_option.txt": f"{EVERY} --vocab-size=300"}
# The separation table as the journal's own script printed it.
JOURNALS = """\
| student (60 positions)   | mean_t   | rmse_t   | p95_t   | max_t   |
|--------------------------|----------|----------|---------|---------|
| coherent trait           | 0.018    | 0.026    | 0.049   | 0.095   |
| incoherent loop          | 0.379    | 1.527    | 3.777   | 8.081   |
| sep ratio (loop/trait)   | 20.6x    | 57.7x    | 77.0x   | 85.4x   |
"""


def tables(text):
    """The rows of each Markdown table in a text, as cells by column."""
    for lines in re.findall(r"(?m)(?:^\|.*\n)+", text):
        rows = [[c.strip(" `") for c in r.split("|")[1:-1]] for r in lines.split("\n")]
        yield [dict(zip(rows[0], row, strict=True)) for row in rows[2:-1]]


def printed(options=""):
    """What the command prints, where it is run from another folder."""
    command, pipe = [*COMMAND, *options.split()], subprocess.PIPE
    return subprocess.run(command, check=False, stdout=pipe, cwd=HERE, text=True).stdout


def test_figures_are_their_texts_and_fit():
    (block,) = BLOCK.findall(README.read_text())
    for name, options in {"README.md": "", **WORLDS}.items():
        figure, text = printed(options), (HERE / name).read_text() if options else block
        assert figure == text, f"{name}: if right, run `python tests/test_text.py`"
        odd = [x for x in figure.split("\n") if len(x) > 80 or not x.isascii()]
        assert odd == [], name


def test_the_default_figure_has_the_numbers_of_the_journal(run):
    journals, shown = next(tables(JOURNALS)), next(tables(run()[1]))
    for expected, found in zip(journals, shown, strict=True):
        assert found == found | expected


def test_a_refusal_and_a_full_disk_are_no_success():
    for seed, status in {"--seed=1": 0, "--seed=-1": 2}.items():
        shell = subprocess.run([*COMMAND, seed], check=False, capture_output=True)
        assert (shell.returncode, shell.stdout == b"") == (status, status == 2)
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            assert subprocess.run(COMMAND, check=False, stdout=full).returncode != 0


if __name__ == "__main__":
    block, *texts = map(printed, ["", *WORLDS.values()])
    assert block and all(texts), "The script prints nothing: no text is made anew."
    README.write_text(BLOCK.sub(lambda _: block, README.read_text()))
    for name, text in zip(WORLDS, texts, strict=True):
        (HERE / name).write_text(text)
