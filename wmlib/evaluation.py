"""A policy in a real environment, and the score that counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from wmlib.collecting import collect
from wmlib.episodes import Policy
from wmlib.shapes import Shape
from wmlib.typed import PositiveInt, Share, typed


@dataclass(frozen=True)
class Score:
    """What a policy scored: one undiscounted return for each seed."""

    environment: str
    returns: tuple[float, ...]
    seeds: tuple[int, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.returns))

    @property
    def sd(self) -> float:
        """Standard deviation between episodes (n - 1)."""
        return float(np.std(self.returns, ddof=1)) if len(self.returns) > 1 else 0.0

    @property
    def iqm(self) -> float:
        """Interquartile mean: the mean of the middle half (Agarwal et al. 2021)."""
        return interquartile_mean(np.array(self.returns))

    @typed
    def interval(self, level: Share = 0.95, draws: PositiveInt = 10_000) -> tuple[float, float]:
        """Bootstrap interval of the mean over episodes (percentiles, seed 0)."""
        sample = np.random.default_rng(0).choice(self.returns, (draws, len(self.returns)))
        low, high = np.quantile(sample.mean(1), [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: mean, sd, iqm, interval, returns, seeds, environment."""
        return {
            "environment": self.environment,
            "mean": self.mean,
            "sd": self.sd,
            "iqm": self.iqm,
            "interval95": self.interval(),
            "returns": list(self.returns),
            "seeds": list(self.seeds),
        }


@typed
def interquartile_mean(numbers: Annotated[np.ndarray, Shape("N")]) -> float:
    """Mean of what is left when a quarter of the numbers (N,) is cut off at either end."""
    cut = len(numbers) // 4
    return float(np.sort(numbers)[cut : len(numbers) - cut].mean())


def evaluate(
    policy: Policy,
    env_id: str,
    *,
    episodes: int,
    seed: int,
    env_kwargs: Mapping[str, Any] | None = None,
    time_limit: float | None = None,
    n_jobs: int | None = None,
    progress: bool = True,
) -> Score:
    """Score a policy in whole episodes of an environment.

    Args:
        policy: what acts.
        env_id: as for `wmlib.collecting.collect`.
        episodes: how many, >= 1.
        seed: of the first; the others follow.
        env_kwargs: handed to `gymnasium.make`.
        time_limit: seconds after which an episode, and with it the verdict, is given up.
        n_jobs: as for `wmlib.collecting.collect`.
        progress: show a bar.

    Raises:
        ValueError: a number is out of range, or the environment is unknown.
        CollectError: as `wmlib.collecting.collect`.
    """
    played = collect(
        policy, env_id, episodes=episodes, seed=seed, env_kwargs=env_kwargs,
        time_limit=time_limit, n_jobs=n_jobs, progress=progress,
    )  # fmt: skip
    return Score(env_id, tuple(e.total_reward for e in played), tuple(e.seed for e in played))
