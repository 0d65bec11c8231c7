"""README.md: its tables, its recipe, and its numbers in sentences, as in page.txt."""

import re
import runpy

import helpers
import numpy as np
import pytest
from helpers import DEFAULTS, TAU, aggregates, demo, students, tables

FENCED = re.compile(r"(?ms)^```(\w+)\n(.*?)^```$")
PAGE = helpers.README.read_text(encoding="utf-8")
TEXT = FENCED.sub("", PAGE)
LAW, OPTIONS, SEEDS = "K / tau", "options", "seeds"  # a column of each tested table
N = DEFAULTS["positions"]


def table(title):
    return next(rows for rows in tables(TEXT) if title in rows[0])


def kls(seeds, **world):
    """The per-position KL of all traits and of all loops, at the first seeds."""
    worlds = (DEFAULTS | world | {"seed": seed} for seed in range(seeds))
    return [np.array(x) for x in zip(*(students(**x) for x in worlds), strict=True)]


@pytest.mark.parametrize("title", [LAW, OPTIONS, SEEDS])
def test_each_table_has_a_column_for_each_aggregate(title):
    assert [*table(title)[0]][-4:] == [*demo.aggregate([1.0])]


def test_the_law_is_the_brute_force():
    for k in (2, 10, 50):  # in units of tau
        laws = {"tau / K": 1 / k, "(tau / K)^2": k**-2, "about 5%": 0.05, "0%": 0}
        by_length = demo.aggregate(k * np.tri(1001, 1000, -1))  # 0 to 1000 are looped
        for name, nats in by_length.items():
            law = laws[table(LAW)[0][name]]
            assert 0 <= np.argmax(nats > 1) - 1000 * law <= 1.1, (k, name)


def test_each_change_is_what_its_options_print():
    for row in table(OPTIONS):
        label = row.pop(OPTIONS)
        shown = helpers.run(*re.findall(r"--\S+|\d+", label))
        assert shown.error == "", f"README.md: {label}"
        helpers.assert_fits(shown.output)
        trait, loop, _ = next(tables(shown.output))
        for name, cell in row.items():
            low, high = trait[name], loop[name]
            works = f"{low} to {high}" if float(low) < float(high) else "none"
            bold = "**" if float(low) <= TAU < float(high) else ""
            assert cell == f"{bold}{works}{bold}", (label, name)


def test_the_recipe_takes_the_padding_out(capsys, tmp_path):
    recipe = tmp_path / "recipe.py"
    recipe.write_text(dict(FENCED.findall(PAGE))["python"])
    kl, mask = np.array([1.0, 3.0, 9.0]), np.array([1, 1, 0])
    runpy.run_path(str(recipe), {"kls": [kl], "masks": [mask]})
    assert capsys.readouterr().out == f"{demo.aggregate(kl[:2])}\n"
    with pytest.raises((ValueError, IndexError)), pytest.warns():
        runpy.run_path(str(recipe), {"kls": [kl], "masks": [0 * mask]})


def facts():
    """The numbers of page.txt by their names there; what is said in words is asserted."""
    count = ["none", "one", "two", "three", "four", "five", "six", "seven"]
    trait, loop = students(**DEFAULTS)
    low, high, k = aggregates(trait), aggregates(loop), loop[loop > 0].mean()
    assert high["mean_t"] < TAU < min(high["rmse_t"], high["p95_t"])
    keeps, padded = (
        np.where(loop, loop, trait).mean(),
        np.percentile([*loop, *[0] * 60], 95),
    )
    fires = {
        name: x > TAU for name, x in demo.aggregate(k * np.tri(N + 1, N, -1)).items()
    }
    needs = {name: np.argmax(x) for name, x in fires.items()}  # of 0 to N looped
    only_p95 = " or ".join(map(str, np.flatnonzero(fires["p95_t"] & ~fires["mean_t"])))
    lengths = [students(**DEFAULTS | {"loop_length": m})[1] for m in range(1, 8)]
    few = count[sum(np.percentile(x, 95) <= TAU for x in lengths)].capitalize()
    enough = count[sum(x.mean() <= TAU for x in lengths) + 1]
    large = students(**DEFAULTS | {"vocab_size": 32000})[1]
    k_in_tau, large_in_tau = k / TAU, large[large > 0].mean() / TAU
    lone = np.ceil(10 * TAU * np.sqrt(N)) / 10

    trait_kl, loop_kl = kls(2000)
    trait, loop = demo.aggregate(trait_kl), demo.aggregate(loop_kl)
    ratio = {name: loop[name] / trait[name] for name in trait}
    median = {name: np.median(x) for name, x in ratio.items()}
    margin = {name: x.min() / trait[name].max() for name, x in loop.items()}
    max_largest = np.mean(ratio["max_t"] == np.max([*ratio.values()], axis=0))
    fails = np.zeros(6, int)
    for seed in range(2000):
        now = ({name: x[seed] for name, x in kl.items()} for kl in (trait, loop, ratio))
        fails += [not holds for *_, holds in demo.predictions(*now, TAU)]
    failing = count[fails[0]], count[fails[1:].max()]
    bound = np.ceil(1e4 * trait["mean_t"].max()) / 1e4
    tau_in_bound = TAU / bound
    assert bound < loop_kl[:, 12].min() / N  # the mean of a loop of one position
    assert bound < kls(200, trait_boost=1.7)[0].mean(axis=1).min()
    peaked = np.mean(kls(300, scale=3)[1].mean(axis=1) > TAU)
    trait_kl, loop_kl = kls(100, positions=2000)
    trait, loop = map(demo.aggregate, (trait_kl, np.where(loop_kl, loop_kl, trait_kl)))
    long = {name: x.min() / trait[name].max() for name, x in loop.items()}

    base, p, loop = demo.build(**DEFAULTS)
    chance = p[p > base]  # the trait's token is the only one that gains
    hits = np.random.default_rng(0).random((20_000, N)) < chance
    sampled = 1 - np.prod(1 - chance)
    for estimate in (lambda log: log, lambda log: log + np.expm1(-log)):  # k1, k3
        own, other = (
            estimate(np.log(p / base).max(axis=1)),
            estimate(np.log(p / base).min(axis=1)),
        )
        assert own.min() > TAU > other.max()
        kl = demo.aggregate(np.where(hits, own, other))
        sampled_p95 = np.mean(kl["p95_t"] > TAU)
        looped = aggregates(estimate(np.log(loop / base).max(axis=1)))
        ratio = {name: nats / kl[name].mean() for name, nats in looped.items()}
        assert max(ratio["rmse_t"], ratio["max_t"]) < ratio["mean_t"]

    looped = loop.max(axis=1) > 0.99
    p, q = loop[looped], base[looped]
    log = np.log(p / q)
    slope = np.linalg.norm(p * (log - (p * log).sum(axis=1, keepdims=True)), axis=1)
    assert f"{slope.min():.0e} {slope.max():.0e}" == "1e-06 1e-06"
    q, prob = q[p > 0.99], np.arange(0.01, 1, 0.01)[:, np.newaxis]
    kl = prob * np.log(prob / q) + (1 - prob) * np.log((1 - prob) / (1 - q))
    assert kl.sum(axis=1).max() / N < TAU
    risen = prob[np.argmax(np.square(kl).sum(axis=1) / N > TAU**2), 0]
    return {"tau": TAU, **DEFAULTS, **locals()}


def test_the_page_has_each_line_of_page_txt_and_no_other_number():
    lines, now = (helpers.TESTS / "page.txt").read_text().splitlines(), facts()
    claims = [line.format(**now) for line in lines]
    blocks = [x for x in TEXT.split("\n\n") if LAW not in x and "| options" not in x]
    prose = " ".join(re.sub(r"\(https:\S+\)", "", "\n".join(blocks)).split())
    missing = [claim for claim in claims if claim not in prose]
    assert not missing, "\n".join(
        ["README.md should say, by tests/page.txt:", *missing]
    )
    for claim in claims:
        prose = prose.replace(claim, "")
    unheld = re.findall(r"(?<![\w.])\d[\d.,]*\b", prose)
    assert not unheld, (
        f"tests/page.txt should hold these numbers of README.md: {unheld}"
    )
