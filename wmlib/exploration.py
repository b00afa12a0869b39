"""Acting at random: the policies that collect before anything is learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
from pydantic import Field

from wmlib.spaces import bounded_box
from wmlib.typed import Finite, NonNegativeFloat, check_same, typed


@typed
@dataclass(frozen=True)
class ExplorationConfig:
    """How the random driver moves, in units of each action's half range around its middle."""

    bias_mean: tuple[Finite, ...] = (0.0, -0.6, -1.2)
    """mean of an episode's constant bias: straight on, a fifth of the gas, no brake (piloted)"""
    bias_sd: tuple[NonNegativeFloat, ...] = (0.15, 0.3, 0.2)
    """standard deviation of that bias between episodes (ours: piloted)"""
    noise_sd: tuple[NonNegativeFloat, ...] = (0.4, 0.4, 0.4)
    """stationary standard deviation of the noise around the bias (ours: piloted)"""
    memory: Annotated[float, Field(ge=0, lt=1)] = 0.8
    """correlation of the noise from one decision to the next, in [0, 1) (ours: piloted)"""


class SmoothRandomPolicy:
    """Random exploration that goes somewhere: smooth noise around a bias drawn once an episode.

    White noise averages out to a car that stands still. Noise with a memory holds a curve or the
    gas for half a second, and a bias for the whole episode makes some episodes fast and some slow,
    so that the data covers more of the track.

    Args:
        space: a Box with finite bounds and one axis of A actions.
        config: as many entries for each field as there are actions; None for the default, which
            is `ExplorationConfig` for CarRacing's space and a plain one for any other.

    Raises:
        ValueError: the space is not such a Box, or the configuration has another length or a number
            out of range.
    """

    @typed
    def __init__(self, space: gym.Space, config: ExplorationConfig | None = None) -> None:
        space = bounded_box(space)
        (n,) = space.shape
        if config is None:
            drives = np.array_equal(space.low, (-1, 0, 0)) and np.array_equal(space.high, (1, 1, 1))
            plain = ExplorationConfig((0.0,) * n, (0.3,) * n, (0.6,) * n)
            config = ExplorationConfig() if drives else plain
        check_exploration(config, n)
        self.config = config
        self.middle = (space.high + space.low) / 2  # (A,)
        self.half = (space.high - space.low) / 2  # (A,)

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._bias = rng.normal(self.config.bias_mean, self.config.bias_sd)  # (A,)
        self._noise = rng.normal(0.0, self.config.noise_sd)  # (A,)

    def act(self, observation: np.ndarray) -> np.ndarray:
        keep = self.config.memory
        fresh = self._rng.normal(0.0, self.config.noise_sd)  # (A,)
        self._noise = keep * self._noise + np.sqrt(1 - keep**2) * fresh
        unit = np.clip(self._bias + self._noise, -1.0, 1.0)
        return (self.middle + self.half * unit).astype(np.float32)


class UniformRandomPolicy:
    """Any action of the space is as likely as any other, in every decision anew."""

    def __init__(self, space: gym.Space) -> None:
        self.space = space

    def reset(self, rng: np.random.Generator) -> None:
        self.space.seed(int(rng.integers(2**31)))

    def act(self, observation: np.ndarray) -> Any:
        return self.space.sample()


def random_policy(space: gym.Space) -> SmoothRandomPolicy | UniformRandomPolicy:
    """How to explore a space at random: smoothly a bounded Box, evenly a Discrete one.

    Raises:
        ValueError: the space is neither.
    """
    if isinstance(space, gym.spaces.Discrete):
        return UniformRandomPolicy(space)
    return SmoothRandomPolicy(space)


def check_exploration(config: ExplorationConfig, actions: int) -> None:
    """Refuse a configuration that is not one for so many actions."""
    for name in ("bias_mean", "bias_sd", "noise_sd"):
        check_same(f"entries of {name}, one an action,", len(getattr(config, name)), actions)
