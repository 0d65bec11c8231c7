"""README.md: its tables, its recipe, and its numbers in sentences, as in page.txt."""

import re
import runpy

import helpers
import numpy as np
import pytest
from helpers import DEFAULTS, TAU, aggregates, demo, lines, run, tables

FENCED = re.compile(r"(?ms)^```(\w+)\n(.*?)^```$")
PAGE = helpers.README.read_text(encoding="utf-8")
TEXT = FENCED.sub("", PAGE)
LAW, OPTIONS, SEEDS = "K / tau", "options", "seeds"  # a column of each tested table
SAID = [x for x in TEXT.split("\n\n") if LAW not in x and "| options" not in x]
PROSE = " ".join(re.sub(r"\(https:\S+\)", "", "\n".join(SAID)).split())
N = DEFAULTS["positions"]


def table(title):
    return next(rows for rows in tables(TEXT) if title in rows[0])


def students(**world):
    return helpers.students(**DEFAULTS | world)


def unless(holds):
    return "" if holds else "NOT "


def kls(seeds, **world):
    """The per-position KL of all traits and of all loops, at the first seeds."""
    pairs = (students(seed=seed, **world) for seed in range(seeds))
    return [np.array(kl) for kl in zip(*pairs, strict=True)]


@pytest.mark.parametrize("title", [LAW, OPTIONS, SEEDS])
@pytest.mark.parametrize("name", demo.aggregate([1.0]))
def test_each_table_has_a_column_for_each_aggregate(title, name):
    assert name in table(title)[0], f"README.md, the table with {title}: add `{name}`"


def test_the_law_is_the_brute_force():
    for k in (2, 10, 50):  # in units of tau
        laws = {"tau / K": 1 / k, "(tau / K)^2": k**-2, "about 5%": 0.05, "0%": 0}
        by_length = demo.aggregate(k * np.tri(1001, 1000, -1))  # 0 to 1000 are looped
        for name, formula in [*table(LAW)[0].items()][1:]:
            assert formula in laws, f"laws, here, should have {formula}, of {name}"
            excess = np.argmax(by_length[name] > 1) - 1000 * laws[formula]
            assert 0 <= excess <= 1.1, (k, name)


def test_each_change_is_what_its_options_print():
    for row in table(OPTIONS):
        label = row.pop(OPTIONS)
        shown = run(*re.findall(r"--\S+|\d+", label))
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


def of_one_seed():
    trait, loop = students()
    low, high, k = aggregates(trait), aggregates(loop), loop[loop > 0].mean()
    by_length = demo.aggregate(k * np.tri(N + 1, N, -1))  # 0 to N are looped
    fires = {name: nats > TAU for name, nats in by_length.items()}
    needs = {name: np.argmax(x) for name, x in fires.items()}
    only_p95 = " or ".join(map(str, np.flatnonzero(fires["p95_t"] & ~fires["mean_t"])))
    lengths = [students(loop_length=m)[1] for m in range(1, N + 1)]
    few = sum(np.percentile(x, 95) <= TAU for x in lengths)
    enough = 1 + sum(x.mean() <= TAU for x in lengths)
    ratio = {name: nats / low[name] for name, nats in aggregates(lengths[-1]).items()}
    large = students(vocab_size=32000)[1]
    k_in_tau, large_in_tau = k / TAU, large[large > 0].mean() / TAU
    lone = np.ceil(10 * TAU * np.sqrt(N)) / 10
    keeps = np.where(loop, loop, trait).mean()
    padded = np.percentile(np.pad(loop, (0, 60)), 95)
    under, over = (
        unless(high["mean_t"] < TAU),
        unless(high["rmse_t"] > TAU < high["p95_t"]),
    )
    mean_largest = unless(max(ratio, key=ratio.get) == "mean_t")
    mean_works = unless(large.mean() > TAU)
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
    journals_in_bound = 0.5 / bound
    peaked = np.mean(kls(300, scale=3)[1].mean(axis=1) > TAU)

    long_trait, long_loop = kls(100, positions=2000)
    kept = demo.aggregate(np.where(long_loop, long_loop, long_trait))
    most = {name: x.max() for name, x in demo.aggregate(long_trait).items()}
    long = {name: x.min() / most[name] for name, x in kept.items()}
    one = unless(loop_kl[:, 12].min() / N > bound)
    drifts = unless(kls(200, trait_boost=1.7)[0].mean(axis=1).min() > bound)
    max_best = unless(max(long, key=long.get) == "max_t")
    return locals()


def slopes(p, q):
    """The norms of the gradient of each position's KL on the logits of p."""
    log = np.log(p / q)
    return np.linalg.norm(p * (log - np.sum(p * log, -1, keepdims=True)), axis=-1)


def of_probs():
    base, p, loop = demo.build(**DEFAULTS)
    chance = p[p > base]  # the trait's token is the only one that gains
    sampled = 1 - np.prod(1 - chance)
    hits = np.random.default_rng(0).random((20_000, N)) < chance
    exact, fewer = [], []
    for estimate in (lambda log: log, lambda log: log + np.expm1(-log)):  # k1, k3
        own = estimate(np.log(p / base).max(axis=1))
        other = estimate(np.log(p / base).min(axis=1))
        exact.append(own.min() > TAU > other.max())
        trait = demo.aggregate(np.where(hits, own, other))
        sampled_p95 = np.mean(trait["p95_t"] > TAU)
        seen = aggregates(estimate(np.log(loop / base).max(axis=1)))
        ratio = {name: nats / trait[name].mean() for name, nats in seen.items()}
        fewer.append(ratio["rmse_t"] < ratio["mean_t"] > ratio["max_t"])
    exact, fewer = unless(all(exact)), unless(all(fewer))

    looped = loop.max(axis=1) > 0.99
    p, q = loop[looped], base[looped]
    finished = f"{slopes(p, q).mean():.0e}".replace("e-0", "e-")
    token, rising = p > 0.99, np.arange(0.01, 1, 0.01).reshape(-1, 1, 1)
    probs = np.where(token, rising, q * (1 - rising) / (1 - q[token][:, np.newaxis]))
    kl = demo.per_position_kl(probs, q)
    first = np.argmax(np.square(kl).sum(axis=1) / N > TAU**2)
    risen, steep = rising.item(first), sorted(slopes(probs[first], q))
    never = unless(kl.sum(axis=1).max() / N < TAU)
    return locals()


@pytest.fixture(scope="module")
def facts():
    """The numbers of page.txt, by their names there; NOT, where its words are false."""
    return of_one_seed() | of_many_seeds() | of_probs() | DEFAULTS | {"tau": TAU}


@pytest.mark.parametrize("claim", lines("page.txt"))
def test_the_page_has_each_line_of_page_txt(claim, facts):
    line = claim.format(**facts)
    assert line in PROSE, f"README.md should say, by tests/page.txt: {line}"


def test_the_page_has_no_other_number(facts):
    prose = PROSE
    for claim in lines("page.txt"):
        prose = prose.replace(claim.format(**facts), "")
    unheld = re.findall(r"(?<![\w.])\d[\d.,]*\b", prose)
    assert not unheld, (
        f"tests/page.txt should hold these numbers of README.md: {unheld}"
    )
