"""V, M and C at the wheel of a real environment, and the score that counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from wmlib.checks import check_kind, check_number, check_share, check_whole
from wmlib.controller import LinearController
from wmlib.data import Policy, collect
from wmlib.memory import MDNRNN
from wmlib.vision import VAE


class WorldModelPolicy:
    """The agent of the paper: V sees, C acts on [z, h], M remembers what was done.

    Args:
        vision: V.
        memory: M.
        controller: one C.
        noise: smooth noise on each action, for collecting; each episode draws its standard
            deviation from [0, noise], so that it is driven now steadily, now badly. 0 for none.

    Raises:
        TypeError: a part is not V, M or C.
        ValueError: the parts do not fit together, or `noise` is negative.
    """

    def __init__(
        self, vision: VAE, memory: MDNRNN, controller: LinearController, noise: float = 0.0
    ) -> None:
        for name, part, kind in (
            ("vision", vision, VAE), ("memory", memory, MDNRNN),
            ("controller", controller, LinearController),
        ):  # fmt: skip
            check_kind(name, part, kind)
        sizes = {vision.config.latent, memory.config.latent, controller.config.latent}
        actions = len(controller.config.squash)
        if actions != memory.config.actions:
            raise ValueError(f"M has {memory.config.actions} actions, C {actions}")
        if len(sizes) > 1 or controller.config.hidden not in (0, memory.config.hidden):
            raise ValueError(
                f"V has z {vision.config.latent}, M z {memory.config.latent} and h "
                f"{memory.config.hidden}, C z {controller.config.latent} and h "
                f"{controller.config.hidden}"
            )
        if len(controller.parameters) != 1:
            raise ValueError(f"one controller drives, got {len(controller.parameters)}")
        check_number("noise", noise, 0)
        self.vision, self.memory, self.controller, self.noise = vision, memory, controller, noise

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._level = self.noise * rng.random() if self.noise else 0.0
        self._state = self.memory.initial(1)
        self._noise = np.zeros(self.memory.config.actions)

    @torch.no_grad()
    def act(self, observation: np.ndarray) -> np.ndarray:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the same rounding in every worker, however many there are
        try:
            z = self.vision.posterior(self.vision.images(observation[None]))[0]  # (1, Z)
            features = torch.cat([z, self._state.hidden], 1)[:, : self.controller.config.features]
            action = self.controller.act(features[None])[0]  # (1, A)
            if self.noise:
                fresh = self._rng.standard_normal(len(self._noise))
                self._noise = 0.9 * self._noise + np.sqrt(1 - 0.9**2) * fresh
                action = action + torch.from_numpy(self._level * self._noise[None]).float()
                low = [-1.0 if name == "tanh" else 0.0 for name in self.controller.config.squash]
                action = action.clamp(torch.tensor(low), torch.ones(len(low)))
            self._state = self.memory.step(z, action, self._state)
            return action[0].numpy()
        finally:
            torch.set_num_threads(threads)


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
        policy: sees (64, 64, 3) frames, see `wmlib.envs.official`.
        episodes: tracks, >= 1.
        seed: of the first track; the others follow.
        action_repeat: official frames for each decision.
        time_limit: seconds after which an episode, and with it the verdict, is given up.
        n_jobs: as for `wmlib.data.collect`.
        progress: show a bar.

    Raises:
        ValueError: a number is out of range.
        CollectError: as `wmlib.data.collect`.
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
