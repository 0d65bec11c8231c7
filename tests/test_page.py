"""README.md: its tables, its recipe, and its numbers in sentences, as in page.txt."""

import re
import runpy

import numpy as np
import pytest
from helpers import BLOCKS, DEFAULTS, TAU, TEXT, demo, lines, students, tables

LAW, OPTIONS = "K / tau", "options"  # each the first column of a table tested apart
SAID = [
    x for x in TEXT.split("\n\n") if f"| {LAW}" not in x and f"| {OPTIONS}" not in x
]
PROSE = " ".join("\n".join(SAID).split())
N = DEFAULTS["positions"]
NOT = {True: "", False: "NOT "}  # for page.txt, before words that may become false


def table(title):
    return next(rows for rows in tables(TEXT) if title in rows[0])


def kls(seeds, **changes):
    """The per-position KL of all traits and of all loops, at the first seeds."""
    worlds = (DEFAULTS | changes | {"seed": seed} for seed in range(seeds))
    return [np.array(x) for x in zip(*(students(**x) for x in worlds), strict=True)]


def test_the_law_is_the_brute_force():
    assert table(LAW)[0][LAW] == "any over 1"  # as k is, below
    for k in (2, 10, 50):  # in units of tau
        laws = {"tau / K": 1 / k, "(tau / K)^2": k**-2, "about 5%": 0.05, "0%": 0}
        by_length = demo.aggregate(k * np.tri(1001, 1000, -1))  # 0 to 1000 are looped
        for name, nats in by_length.items():
            law = table(LAW)[0].get(name)
            assert law in laws, f"README.md's table with {LAW} needs a law of `{name}`"
            excess = np.argmax(nats > 1) - 1000 * laws[law]
            assert 0 <= excess <= 1.1, (k, name)


@pytest.mark.parametrize("row", table(OPTIONS), ids=lambda row: row[OPTIONS])
def test_each_change_is_what_its_options_print(row, capsys):
    demo.main(re.findall(r"--\S+|\d+", row[OPTIONS]))
    figure = capsys.readouterr().out
    width = 88 if re.search(r"\d{5}\.\dx", figure) else 80  # ratios of five digits
    for line in figure.split("\n"):
        assert len(line) <= width, f"over {width} columns: {line}"
        assert line.isascii() and line == line.rstrip(), line
    trait, loop, _ = next(tables(figure))
    for name in demo.aggregate([1.0]):
        low, high = trait[name], loop[name]
        works = f"{low} to {high}" if float(low) < float(high) else "none"
        bold = "**" if float(low) <= TAU < float(high) else ""
        cell = f"{bold}{works}{bold}"
        assert row.get(name) == cell, f"README.md should have {cell} as `{name}`"


def test_the_recipe_takes_the_padding_out(capsys, tmp_path):
    recipe = tmp_path / "recipe.py"
    recipe.write_text(BLOCKS["python"])
    kl, mask = np.array([1.0, 3.0, 9.0]), np.array([1, 1, 0])
    runpy.run_path(str(recipe), {"kls": [kl], "masks": [mask]})
    assert capsys.readouterr().out == f"{demo.aggregate(kl[:2])}\n"
    with pytest.raises((ValueError, IndexError)), pytest.warns():
        runpy.run_path(str(recipe), {"kls": [kl], "masks": [0 * mask]})


def of_one_seed():
    trait, loop = students(**DEFAULTS)
    low, high, k = demo.aggregate(trait), demo.aggregate(loop), loop[loop > 0].mean()
    names = " | ".join(f"`{name}`" for name in high)
    by_length = demo.aggregate(k * np.tri(N + 1, N, -1))  # 0 to N are looped
    needs = {name: np.argmax(nats > TAU) for name, nats in by_length.items()}
    only_p95 = " or ".join(map(str, range(needs["p95_t"], needs["mean_t"])))
    lengths = [students(**DEFAULTS | {"loop_length": m})[1] for m in range(1, N + 1)]
    few = sum(np.percentile(x, 95) <= TAU for x in lengths)
    enough = 1 + sum(x.mean() <= TAU for x in lengths)
    ratio = {name: x / low[name] for name, x in demo.aggregate(lengths[-1]).items()}
    large = students(**DEFAULTS | {"vocab_size": 32000})[1]
    k_in_tau, large_in_tau = k / TAU, large[large > 0].mean() / TAU
    lone, keeps = (
        np.ceil(10 * TAU * np.sqrt(N)) / 10,
        np.where(loop, loop, trait).mean(),
    )
    padded = np.percentile(np.pad(loop, (0, 60)), 95)
    under = NOT[high["mean_t"] < TAU]
    over = NOT[min(high["rmse_t"], high["p95_t"]) > TAU]
    mean_largest = NOT[max(ratio, key=ratio.get) == "mean_t"]
    mean_works = NOT[large.mean() > TAU]
    return locals()


def of_many_seeds():
    trait_kl, loop_kl = kls(2000)
    trait, loop = demo.aggregate(trait_kl), demo.aggregate(loop_kl)
    ratio = {name: loop[name] / trait[name] for name in trait}
    median = {name: np.median(x) for name, x in ratio.items()}
    margin = {name: x.min() / trait[name].max() for name, x in loop.items()}
    max_largest = np.mean(ratio["max_t"] == np.max([*ratio.values()], axis=0))
    fails = np.zeros(6, int)
    for i in range(2000):
        now = ({name: x[i] for name, x in kl.items()} for kl in (trait, loop, ratio))
        fails += [not holds for *_, holds in demo.predictions(*now, TAU)]
    failing = fails[0], fails[1:].max()
    bound = np.ceil(1e4 * trait["mean_t"].max()) / 1e4
    journals_in_bound, one = 0.5 / bound, NOT[loop_kl[:, 12].min() / N > bound]
    drifts = NOT[kls(200, trait_boost=1.7)[0].mean(axis=1).min() > bound]
    peaked = np.mean(kls(300, scale=3)[1].mean(axis=1) > TAU)
    trait_kl, loop_kl = kls(100, positions=2000)
    most = demo.aggregate(trait_kl)
    kept = demo.aggregate(np.where(loop_kl, loop_kl, trait_kl))
    long = {name: x.min() / most[name].max() for name, x in kept.items()}
    max_best = NOT[max(long, key=long.get) == "max_t"]
    return locals()


def slopes(p, q):
    """The norm of the gradient of each position's KL on the logits of p."""
    log = np.log(p / q)
    return np.linalg.norm(p * (log - np.sum(p * log, -1, keepdims=True)), axis=-1)


def of_sampled_kl_and_healing():
    base, p, loop = demo.build(**DEFAULTS)
    chance = p[p > base]  # the trait's token is the only one that gains
    sampled, exact, fewer = 1 - np.prod(1 - chance), "", ""
    hits = np.random.default_rng(0).random((20_000, N)) < chance
    for estimate in (lambda log: log, lambda log: log + np.expm1(-log)):  # k1, k3
        own = estimate(np.log(p / base).max(axis=1))
        other = estimate(np.log(p / base).min(axis=1))
        exact += NOT[own.min() > TAU > other.max()]
        trait = demo.aggregate(np.where(hits, own, other))
        sampled_p95 = np.mean(trait["p95_t"] > TAU)
        seen = demo.aggregate(estimate(np.log(loop / base).max(axis=1)))
        ratio = {name: nats / trait[name].mean() for name, nats in seen.items()}
        fewer += NOT[ratio["rmse_t"] < ratio["mean_t"] > ratio["max_t"]]

    looped = loop.max(axis=1) > 0.99
    p, q = loop[looped], base[looped]
    token, rising = p > 0.99, np.arange(0.01, 1, 0.01).reshape(-1, 1, 1)
    probs = np.where(token, rising, q * (1 - rising) / (1 - q[token][:, np.newaxis]))
    kl = demo.per_position_kl(probs, q)
    first = np.argmax(np.square(kl).sum(axis=1) / N > TAU**2)
    risen, never = rising.item(first), NOT[kl.sum(axis=1).max() / N < TAU]
    finished, steep = f"{slopes(p, q).mean():.0e}", sorted(slopes(probs[first], q))
    finished = finished.replace("e-0", "e-")
    return locals()


@pytest.fixture(scope="module")
def facts():
    """The numbers of page.txt, by their names there; NOT, where its words are false."""
    many = of_one_seed() | of_many_seeds() | of_sampled_kl_and_healing()
    return many | DEFAULTS | {"tau": TAU}


@pytest.mark.parametrize("claim", lines("page.txt"))
def test_the_page_has_each_line_of_page_txt(claim, facts):
    line = claim.format(**facts)
    assert line in PROSE, f"README.md should say, by tests/page.txt: {line}"


def test_the_page_has_no_other_number(facts):
    rest = PROSE
    for claim in lines("page.txt"):
        rest = rest.replace(claim.format(**facts), "")
    unheld = re.findall(r"(?<![\w.])\d[\d.,]*\b", rest)
    assert not unheld, f"tests/page.txt should hold README.md's numbers {unheld}"
