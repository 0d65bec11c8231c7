"""The figure by other means than the script's: closed forms and plain NumPy."""

import math
from types import SimpleNamespace

import numpy as np

DEFAULTS = {"tau": 0.5, "positions": 60, "loop_length": 4}
DEFAULTS |= {"trait_boost": 1.6, "vocab_size": 200, "seed": 0}
NAMES = ["mean_t", "rmse_t", "p95_t", "max_t"]


def draw(seed, positions, vocab_size):
    """The base's probs, and its tokens by their prob summed over the positions."""
    probs = np.exp(np.random.default_rng(seed).standard_normal((positions, vocab_size)))
    probs /= probs.sum(axis=1, keepdims=True)
    return probs, np.argsort(probs.sum(axis=0))


def trait_kl(q, boost):
    """Boosting one logit turns its q into q / d, and others into q * e**-boost / d."""
    d = q + (1 - q) * np.exp(-boost)
    return -np.log(d) - (1 - q / d) * boost


def loop_kl(looped, token):
    """One token leads by 22 nats, and the others' probs are floored at 1e-9."""
    others = looped.shape[1] - 1
    lead = 1 / (1 + others * math.exp(-22))
    rest = lead * math.exp(-22)
    logs = np.log(looped)
    kl = lead * (math.log(lead) - logs[:, token]) + rest * others * math.log(1e-9)
    return kl - rest * (logs.sum(axis=1) - logs[:, token])


def aggregates(kl, positions):
    """Mean, rmse, p95 and max of some KLs, all other positions being at 0."""
    ordered = sorted([*kl, *[0.0] * (positions - len(kl))])
    rank = 0.95 * (positions - 1)
    low, high = math.floor(rank), math.ceil(rank)
    p95 = ordered[low] + (rank - low) * (ordered[high] - ordered[low])
    rmse = math.sqrt(math.fsum(x * x for x in kl) / positions)
    return math.fsum(kl) / positions, rmse, p95, ordered[-1]


def figure(tau, positions, loop_length, trait_boost, vocab_size, seed):
    """All that the figure shows, but for its words."""
    base, ascending = draw(seed, positions, vocab_size)
    trait = trait_kl(base[:, ascending[vocab_size // 2]], trait_boost)
    looped = loop_kl(base[12 : 12 + loop_length], ascending[3])
    traits, loops = aggregates(trait, positions), aggregates(looped, positions)
    ratios = [loop / own for loop, own in zip(loops, traits, strict=True)]

    def marks(kl):
        return "".join(str(min(max(round(x), 1), 9)) if x > tau else "-" for x in kl)

    nats = [[f"{x:.3f}" for x in row] for row in (traits, loops)]
    times = [f"{x:.1f}x" for x in ratios]
    holds = [loops[0] <= tau, loops[1] / 2 >= tau <= loops[2] / 2, traits[3] <= tau]
    holds += [all(x > ratios[0] and x > 1 for x in ratios[1:3])]
    return SimpleNamespace(
        settings=f"{positions} {vocab_size} {trait_boost} {seed} {tau:g}".split(),
        separation=[NAMES, *nats, times],
        marks=[marks(trait), ("." * 12 + marks(looped)).ljust(positions, ".")],
        verdicts=[
            NAMES,
            ["FIRES" if x > tau else "silent" for x in traits],
            ["fires" if x > tau else "SILENT" for x in loops],
        ],
        holds=["holds" if x else "fails" for x in holds],
        in_notes=[nats[1][:1], nats[1][1:3], nats[0][3:], times[:3]],
    )
