"""How long a dream knows more than a guess: open-loop forecasts beside what really came.

From a real moment M dreams on under the very actions that were taken, and sees no further frame.
Its forecast is as good as what it can tell apart from forecasts that need no model: that nothing
changes, or that everything looks like the average.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from wmlib.dream import followed, warm_up
from wmlib.memory import MDNRNN, Codes, State, check_temperature


class Forecasts(NamedTuple):
    """Dreams of D samples from each of M real moments, T decisions long."""

    rows: np.ndarray
    """(M, T + 1) rows in the codes (and in all that is aligned with them): the moment the dream
    begins in, and what really followed"""
    codes: np.ndarray
    """(D, M, T, Z) float32, dreamed; to be held against `codes.mean[rows[:, 1:]]`"""
    rewards: np.ndarray
    """(D, M, T) float32, dreamed; to be held against `codes.rewards[rows[:, :-1]]`"""


@torch.no_grad()
def forecast(
    memory: MDNRNN,
    codes: Codes,
    *,
    horizon: int,
    moments: int,
    dreams: int = 8,
    warm: int = 16,
    temperature: float = 1.0,
    seed: int = 0,
) -> Forecasts:
    """Dream open-loop from real moments, under the actions that were really taken.

    Args:
        memory: M.
        codes: of real episodes.
        horizon: T, decisions ahead, >= 1.
        moments: M, drawn without replacement from all that are followed by T decisions; all of
            them where there are fewer.
        dreams: D, samples from each moment, >= 1.
        warm: real decisions that M has read before the moment, >= 0.
        temperature: tau of the dreams, > 0.
        seed: of the moments drawn and of the samples.

    Raises:
        ValueError: a number is out of range, no episode is long enough, or the codes do not fit M.
    """
    for name, number in (("moments", moments), ("dreams", dreams)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    check_temperature(temperature)
    starts = warm_up(memory, codes, warm, batch=len(codes.lengths))
    places, rows = followed(codes, warm, horizon)
    some = np.sort(np.random.default_rng(seed).permutation(len(places))[:moments])  # (M,)
    begin, after = starts.take(places[some]), rows[some, None] + np.arange(horizon + 1)
    actions = torch.from_numpy(codes.actions[after[:, :-1]])  # (M, T, A)
    generator = torch.Generator().manual_seed(seed)
    dreamed = [
        memory.rollout(begin.z, State(begin.hidden, begin.cell), actions, temperature, generator)
        for _ in range(dreams)
    ]
    z, rewards = (torch.stack(part).numpy() for part in zip(*dreamed, strict=True))
    return Forecasts(after, z, rewards)
