"""The experiment by other means: each student's KL in closed form, in plain Python.

Nothing here comes from the script, so that the two can hold each other.
"""

import math

import numpy as np

NAMES = ["mean_t", "rmse_t", "p95_t", "max_t"]


def base_probs(seed=0, positions=60, vocab_size=200):
    weights = np.exp(
        np.random.default_rng(seed).standard_normal((positions, vocab_size))
    )
    return (weights / weights.sum(axis=1, keepdims=True)).tolist()


def ranked_tokens(base):
    """Tokens by their prob summed over the positions, ascending."""
    return sorted(range(len(base[0])), key=lambda t: math.fsum(row[t] for row in base))


def trait_kl(base, token, boost):
    """Boosting one logit turns q into q * e**boost / z there and q / z elsewhere."""
    kl = []
    for row in base:
        z = 1 + row[token] * math.expm1(boost)
        kl.append(row[token] * math.exp(boost) / z * boost - math.log(z))
    return kl


def loop_kl(base, token, looped, gap=22.0, floor=1e-9):
    """The loop token leads every other by the same gap in logits; no KL elsewhere."""
    others = len(base[0]) - 1
    lead = 1 / (1 + others * math.exp(-gap))
    rest = lead * math.exp(-gap)
    kl = [0.0] * len(base)
    for position in looped:
        logs = [math.log(q) for q in base[position]]
        kl[position] = lead * (math.log(lead) - logs[token])
        kl[position] += rest * others * math.log(max(rest, floor))
        kl[position] -= rest * (math.fsum(logs) - logs[token])
    return kl


def aggregates(kl, zeros=0):
    """Of some KLs, none below 0, with so many zeros beside them."""
    positions, ordered = len(kl) + zeros, sorted(kl)

    def at(rank):
        return ordered[rank - zeros] if rank >= zeros else 0.0

    rank = 0.95 * (positions - 1)
    below, above = at(math.floor(rank)), at(math.ceil(rank))
    return {
        "mean_t": math.fsum(kl) / positions,
        "rmse_t": math.sqrt(math.fsum(x * x for x in kl) / positions),
        "p95_t": below + (rank - math.floor(rank)) * (above - below),
        "max_t": at(positions - 1),
    }


def spiked(kl, positions):
    """The aggregates of some KLs among zeros, over so many positions in all."""
    return aggregates(kl, positions - len(kl))
