"""V, M and C at the wheel of a real environment, and the score that counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wmlib.checks import check_share, check_whole
from wmlib.collecting import collect
from wmlib.episodes import Policy


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

    def interval(self, level: float = 0.95, draws: int = 10_000) -> tuple[float, float]:
        """Bootstrap interval of the mean over episodes (percentiles, seed 0)."""
        check_share("level", level)
        check_whole("draws", draws, 1)
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


def interquartile_mean(numbers: np.ndarray) -> float:
    """Mean of what is left when a quarter of the numbers (N,) is cut off at either end."""
    if not len(numbers):
        raise ValueError("there are no numbers to take the mean of")
    cut = len(numbers) // 4
    return float(np.sort(numbers)[cut : len(numbers) - cut].mean())


def evaluate(
    policy: Policy,
    *,
    episodes: int,
    seed: int,
    action_repeat: int = 3,
    time_limit: float | None = None,
    n_jobs: int | None = None,
    progress: bool = True,
) -> Score:
    """Score a policy on the official `gymnasium.make("CarRacing-v3")`, in whole episodes.

    Args:
        policy: sees (64, 64, 3) frames, see `wmlib.envs.car_racing.official`.
        episodes: tracks, >= 1.
        seed: of the first track; the others follow.
        action_repeat: official frames for each decision.
        time_limit: seconds after which an episode, and with it the verdict, is given up.
        n_jobs: as for `wmlib.collecting.collect`.
        progress: show a bar.

    Raises:
        ValueError: a number is out of range.
        CollectError: as `wmlib.collecting.collect`.
    """
    check_whole("action_repeat", action_repeat, 1)
    driven = collect(
        policy, "wmlib/OfficialCarRacing-v3", episodes=episodes, seed=seed,
        env_kwargs={"action_repeat": action_repeat}, time_limit=time_limit, n_jobs=n_jobs,
        progress=progress,
    )  # fmt: skip
    return Score(
        "CarRacing-v3", tuple(e.total_reward for e in driven), tuple(e.seed for e in driven)
    )
