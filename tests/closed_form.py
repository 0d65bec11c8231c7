"""The figure by other means: closed forms for the KL, a brute force for each search.

Nothing here comes from the script, so that the two can hold each other.
"""

import math
from types import SimpleNamespace

import numpy as np

NAMES = ["mean_t", "rmse_t", "p95_t", "max_t"]


def draw(seed=0, positions=60, vocab_size=200):
    """The base's probs, and its tokens by their prob summed over the positions."""
    probs = np.random.default_rng(seed).standard_normal((positions, vocab_size))
    probs = np.exp(probs, out=probs)
    probs /= probs.sum(axis=1, keepdims=True)
    return probs, np.argsort(probs.sum(axis=0))


def trait_kl(base, token, boost):
    """Boosting one logit turns q into q * e**boost / z there and q / z elsewhere."""
    q = base[:, token]
    z = 1 + q * np.expm1(boost)
    return q * np.exp(boost) / z * boost - np.log(z)


def loop_kl(base, token, gap=22.0, floor=1e-9):
    """The KL of each position were it looped: one token leads all others by gap."""
    others = base.shape[1] - 1
    lead = 1 / (1 + others * math.exp(-gap))
    rest = lead * math.exp(-gap)
    logs = np.log(base)
    kl = lead * (math.log(lead) - logs[:, token])
    kl += rest * others * math.log(max(rest, floor))
    return kl - rest * (logs.sum(axis=1) - logs[:, token])


def aggregates(kl, positions):
    """Mean, rmse, p95 and max of KLs, (..., n), with zeros up to so many positions."""
    ordered, zeros = np.sort(kl, axis=-1), positions - np.shape(kl)[-1]

    def at(rank):
        place = np.maximum(rank - zeros, 0)
        return np.where(rank >= zeros, np.take(ordered, place, axis=-1), 0.0)

    rank = 0.95 * (np.asarray(positions) - 1)
    low, high = np.floor(rank).astype(int), np.ceil(rank).astype(int)
    return (
        np.sum(kl, axis=-1) / positions,
        np.sqrt(np.sum(np.square(kl), axis=-1) / positions),
        at(low) + (rank - low) * (at(high) - at(low)),
        at(positions - 1),
    )


def figure(settings):
    """All that the figure shows at some settings, by name, but for its words."""
    s = SimpleNamespace(**settings)
    base, ranked = draw(s.SEED, s.POSITIONS, s.VOCAB_SIZE)
    trait = trait_kl(base, ranked[s.TRAIT_RANK], s.TRAIT_BOOST)
    gap = s.LOOP_LOGIT - s.OTHER_LOGIT
    kl = loop_kl(base, ranked[s.LOOP_RANK], gap, s.PROB_FLOOR)[s.LOOP_START :]
    looped = kl[: s.LOOP_LENGTH]
    traits = aggregates(trait, s.POSITIONS)
    mean, rmse, p95, _ = loops = aggregates(looped, s.POSITIONS)
    ratios = [loop / own for loop, own in zip(loops, traits, strict=True)]
    mean_ratio, rmse_ratio, p95_ratio, _ = ratios

    def marks(nats):
        return "".join("#" if x > s.TAU else "-" if x else "." for x in nats)

    def first(values, by_value):
        """Of values, the first whose aggregate is over tau."""
        hits = [np.flatnonzero(np.asarray(row) > s.TAU) for row in by_value]
        return [str(values[hit[0]]) if len(hit) else "never" for hit in hits]

    lengths = [aggregates(kl[:n], s.POSITIONS) for n in range(1, len(kl) + 1)]
    completions = np.arange(max(10_000, s.POSITIONS), s.LOOP_LENGTH - 1, -1)
    longest = first(completions, aggregates(looped, completions))
    boosts = np.arange(1, 421) / 10
    stronger = trait_kl(base, ranked[s.TRAIT_RANK], boosts[:, None])
    silent = np.zeros(s.POSITIONS)
    silent[s.LOOP_START :][: s.LOOP_LENGTH] = looped
    tau = f"{s.TAU:g}"
    return SimpleNamespace(
        separation=[
            [f"{nats:.3f}" for nats in traits],
            [f"{nats:.3f}" for nats in loops],
            [f"{ratio:.1f}x" for ratio in ratios],
        ],
        marks=[marks(trait), marks(silent)],
        holds=[
            mean <= s.TAU,
            rmse >= 2 * s.TAU and p95 >= 2 * s.TAU,
            max(traits) <= s.TAU,
            rmse_ratio > mean_ratio and p95_ratio > mean_ratio,
            (f"{mean:.2g}", f"{rmse:.2g}", f"{p95:.2g}") == ("0.38", "1.5", "3.8"),
        ],
        found=[
            f"{mean:.3f}",
            f"{rmse:.3f} and {p95:.3f}",
            f"at most {max(traits):.3f}",
            f"{mean_ratio:.1f}x to {rmse_ratio:.1f}x and {p95_ratio:.1f}x",
            f"{mean:.2g}, {rmse:.2g}, {p95:.2g}",
        ],
        limits=[
            first(range(1, len(kl) + 1), zip(*lengths, strict=True)),
            [cell + "+" * (cell == str(completions[0])) for cell in longest],
            first(boosts, aggregates(stronger, s.POSITIONS)),
        ],
        # In the order in which the words name them; 0 is a KL's, then a hinge's.
        numbers=[str(s.POSITIONS), "0", tau, f"{s.TRAIT_BOOST:g}", "0"]
        + ["0.38", "1.5", "3.8", tau, str(s.POSITIONS)],
    )
