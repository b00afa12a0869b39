"""How long a dream knows more than a guess: open-loop forecasts beside what really came.

From a real moment M dreams on under given actions, and sees no further frame. Its forecast is as
good as what it can tell apart from forecasts that need no model: that nothing changes, or that
everything looks like the average.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
import torch

from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.memory import MDNRNN, State
from wmlib.agents.world_models.mixture import Temperature
from wmlib.agents.world_models.starts import followed, warm_up
from wmlib.shapes import Shape
from wmlib.typed import NonNegativeInt, PositiveInt, Seed, check_same, typed


class Forecasts(NamedTuple):
    """Dreams of D samples from each of M real moments, T decisions long."""

    rows: np.ndarray
    """(M, T + 1) rows in the codes (and in all that is aligned with them): the moment the dream
    begins in, and what really followed"""
    codes: np.ndarray
    """(D, M, T, Z) float32, dreamed; to be held against `codes.mean[rows[:, 1:]]`"""
    rewards: np.ndarray
    """(D, M, T) float32, dreamed; to be held against `codes.rewards[rows[:, :-1]]`"""


@typed
@torch.no_grad()
def forecast(
    memory: MDNRNN,
    codes: Codes,
    *,
    horizon: PositiveInt,
    moments: PositiveInt | Annotated[np.ndarray, Shape("M", dtype="whole")],
    dreams: PositiveInt = 8,
    warm: NonNegativeInt = 16,
    temperature: Temperature = 1.0,
    seed: Seed = 0,
) -> Forecasts:
    """Dream open-loop from real moments, under the actions that were really taken.

    Those who took them saw the real road. Where a dream makes up another, their actions are not
    what anybody would do there: see `benchmarks/compounding.py` for what that costs.

    Args:
        memory: M.
        codes: of real episodes.
        horizon: T, decisions ahead, >= 1.
        moments: how many, drawn without replacement from all that are followed by T decisions (all
            of them where there are fewer); or (M,) the rows of the moments themselves.
        dreams: D, samples from each moment, >= 1.
        warm: real decisions that M has read before the moment, >= 0.
        temperature: tau of the dreams, > 0.
        seed: of the moments drawn and of the samples.

    Raises:
        ValueError: a number is out of range, no episode is long enough, a row is none of the
            moments that can be asked, or the codes do not fit M.
    """
    starts = warm_up(memory, codes, warm, batch=len(codes.lengths))
    places, rows = followed(codes, starts, horizon)
    some = choose(rows, moments, seed)  # (M,)
    begin, after = starts.take(places[some]), rows[some, None] + np.arange(horizon + 1)
    actions = torch.from_numpy(codes.actions[after[:, :-1]])  # (M, T, A)
    generator = torch.Generator().manual_seed(seed)
    dreamed = [
        memory.rollout(begin.z, State(begin.hidden, begin.cell), actions, temperature, generator)
        for _ in range(dreams)
    ]
    z, rewards = (torch.stack(part).numpy() for part in zip(*dreamed, strict=True))
    return Forecasts(after, z, rewards)


def choose(rows: np.ndarray, moments: int | np.ndarray, seed: int) -> np.ndarray:
    """Places among `rows` (N,) of so many drawn moments, or of the moments named; rising.

    Raises:
        ValueError: a moment that is named is not among the rows.
    """
    if isinstance(moments, int):
        return np.sort(np.random.default_rng(seed).permutation(len(rows))[:moments])
    order = np.argsort(rows)
    found: np.ndarray = order[np.searchsorted(rows, moments, sorter=order).clip(max=len(rows) - 1)]
    if not np.array_equal(rows[found], moments):
        raise ValueError("a moment must be a row that enough decisions lie before and after")
    return found


def fair_errors(draws: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Squared errors of M's best guess, without the chance that is in the mean of a few draws.

    The mean of D draws misses the mean of all draws by their variance / D. That much is taken off,
    so that on average the result is the error of the mean of infinitely many draws. No model has a
    smaller one than the model that is right. At one moment it may be negative.

    Args:
        draws: (D, M, T, ...) of the forecast, D >= 2.
        real: (M, T, ...), what came.

    Returns:
        (M, T), summed over what else there is.

    Raises:
        ValueError: there are fewer than two draws, or the shapes do not fit.
    """
    chance = spreads(draws) / len(draws)  # (M, T)
    check_same("the shape of what came", real.shape, draws.shape[1:])
    missed = np.square(draws.mean(0, dtype=np.float64) - real)  # (M, T, ...)
    return _summed(missed) - chance


def spreads(draws: np.ndarray) -> np.ndarray:
    """Unbiased variance (M, T) between draws (D, M, T, ...), summed over what else there is.

    If the model is right, it is on average what `fair_errors` gives: what comes is one more draw.

    Raises:
        ValueError: there are fewer than two draws.
    """
    if len(draws) < 2:
        raise ValueError(f"a spread needs at least 2 draws, got {len(draws)}")
    return _summed(draws.var(0, dtype=np.float64, ddof=1))


def _summed(errors: np.ndarray) -> np.ndarray:
    """(M, T, ...) to (M, T)."""
    total: np.ndarray = errors.sum(tuple(range(2, errors.ndim)))
    return total
