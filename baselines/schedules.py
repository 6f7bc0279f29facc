"""Learning-rate schedules as plain functions of the step: nothing to store, nothing to get out of step."""

from __future__ import annotations

import math

SCHEDULES = ("constant", "linear", "cosine", "cosine_with_restarts", "cosine_annealing_warm_restarts")


def factor(name: str, step: int, steps: int, warmup: int, cycles: int, t_0: int, t_mult: int) -> float:
    """What the learning rate is multiplied with at ``step`` (from 0) of ``steps``.

    The first four equal transformers' schedulers of the same names (``cycles`` restarts for the fourth).
    The last is SGDR (Loshchilov and Hutter, equation 5), as torch's ``CosineAnnealingWarmRestarts`` stepped
    once an iteration; ``t_0`` is the length of its first cycle, and each is ``t_mult`` times the one before.
    """
    if step < warmup:
        return step / max(1, warmup)
    if name == "constant":
        return 1.0
    if name == "cosine_annealing_warm_restarts":
        place, length = step - warmup, t_0
        while place >= length:
            place, length = place - length, length * t_mult
        return 0.5 * (1 + math.cos(math.pi * place / length))
    share = (step - warmup) / max(1, steps - warmup)
    if name == "linear":
        return max(0.0, 1.0 - share)
    if name == "cosine_with_restarts":
        return 0.0 if share >= 1 else max(0.0, 0.5 * (1 + math.cos(math.pi * ((cycles * share) % 1.0))))
    return max(0.0, 0.5 * (1 + math.cos(math.pi * share)))
