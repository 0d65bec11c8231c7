"""The figure's numbers by other means than the script's: closed forms and sorting."""

import math

import numpy as np

DEFAULTS = {"positions": 60, "vocab_size": 200}
DEFAULTS |= {"loop_length": 4, "trait_boost": 1.6, "seed": 0}


def loop_kl(looped, token):
    """One token leads by 22 nats, and the others' probs are floored at 1e-9."""
    others = looped.shape[1] - 1
    lead = 1 / (1 + others * math.exp(-22))
    rest = lead * math.exp(-22)
    logs = np.log(looped)
    kl = lead * (math.log(lead) - logs[:, token]) + rest * others * math.log(1e-9)
    return kl - rest * (logs.sum(axis=1) - logs[:, token])


def students(positions, vocab_size, loop_length, trait_boost, seed):
    """The per-position KL of both students, by the name that the figure gives them."""
    base = np.exp(np.random.default_rng(seed).standard_normal((positions, vocab_size)))
    base /= base.sum(axis=1, keepdims=True)
    rarest_first = np.argsort(base.sum(axis=0))
    # Boosting one logit turns its q into q / d, and others into q * e**-boost / d.
    q = base[:, rarest_first[vocab_size // 2]]
    d = q + (1 - q) * np.exp(-trait_boost)
    trait, loop = -np.log(d) - (1 - q / d) * trait_boost, np.zeros(positions)
    looped = np.arange(loop_length) + min(12, positions - loop_length)
    loop[looped] = loop_kl(base[looped], rarest_first[3])
    return {"coherent trait": trait, "incoherent loop": loop}


def aggregates(kl):
    """The aggregates of some KLs, by the name that the figure gives them."""
    ordered, rank = sorted(kl), 0.95 * (len(kl) - 1)
    low, high = math.floor(rank), math.ceil(rank)
    return {
        "mean_t": math.fsum(ordered) / len(ordered),
        "rmse_t": math.sqrt(math.fsum(x * x for x in ordered) / len(ordered)),
        "p95_t": ordered[low] + (rank - low) * (ordered[high] - ordered[low]),
        "max_t": ordered[-1],
    }
