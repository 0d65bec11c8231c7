"""Run the script in this process, and take apart what it prints."""

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from types import SimpleNamespace

import numpy as np

import kl_aggregation_demo as demo

NUMBER = re.compile(r"(?<![\w.#])\d+(?:[.,]\d+)*(?:e[+-]\d+)?")


def options(settings):
    """The arguments that a reader types for some settings."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]


def run(*arguments):
    """The status, the output and the errors of the script."""
    out, error = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(error):
        try:
            status = demo.main(list(arguments))
        except SystemExit as end:
            status = end.code
    return status, out.getvalue(), error.getvalue()


@cache
def shown(*arguments):
    """The figure's text, its data, and its words without any numbers."""
    status, text, error = run(*arguments)
    assert error == ""
    separation, caption, strips, barrier, verdicts, notes = text.split("\n\n")
    separation, verdicts = rows(separation), rows(verdicts)
    *strips, legend = strips.split("\n")
    labels, marks = zip(*(strip.rsplit(" ", 1) for strip in strips), strict=True)
    half = len(marks) // 2
    notes = [" ".join(note.split()) for note in re.split(r"\n(?=\d)", notes)]
    notes = [re.fullmatch(r"\d\. (\w+): (.*)", note).groups() for note in notes]
    words = [*labels, caption, legend, barrier]
    words += [row[0] for row in separation + verdicts] + [note for _, note in notes[:4]]
    return SimpleNamespace(
        status=status,
        text=text,
        settings=NUMBER.findall(f"{separation[0][0]} {caption} {verdicts[0][0]}"),
        separation=[row[1:] for row in separation],
        marks=["".join(marks[:half]), "".join(marks[half:])],
        verdicts=[row[1:] for row in verdicts],
        holds=[verdict for verdict, _ in notes],
        in_notes=[re.findall(r"\d+\.\d{3}|\d+\.\dx", note) for _, note in notes],
        words=NUMBER.sub("N", " ".join(" ".join(words).split())),
    )


def rows(table):
    """The cells of a Markdown table, without the line under its header."""
    lines = [line.strip("|").split("|") for line in table.strip().split("\n")]
    return [[cell.strip() for cell in line] for line in lines[:1] + lines[2:]]


def students(seed=0):
    """The script's own per-position KL of trait and loop, as in the default figure."""
    base_logits = np.random.default_rng(seed).standard_normal((60, 200))
    base = demo.softmax(base_logits)
    ascending = np.argsort(base.mean(axis=0))
    trait = demo.coherent_trait(base_logits, ascending[100], 1.6)
    loop = demo.incoherent_loop(base_logits, ascending[3], 4)
    return demo.per_position_kl(trait, base), demo.per_position_kl(loop, base)
