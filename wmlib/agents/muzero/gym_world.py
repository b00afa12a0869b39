"""Gymnasium environments side by side, as the world of one player that MuZero plays in.

Letters: N games, A actions.
"""

from __future__ import annotations

from typing import NamedTuple

import gymnasium as gym
import numpy as np

from wmlib.collecting import specification
from wmlib.spaces import box, choices


class After(NamedTuple):
    """What actions lead to."""

    state: np.ndarray
    """(N,) the same games, one step on"""
    rewards: np.ndarray
    """(N,) float32"""
    over: np.ndarray
    """(N,) bool, whether the environment has ended the episode"""


class Game:
    """One episode, and what was seen of it last."""

    def __init__(self, env: gym.Env, seed: int) -> None:
        self.env = env
        self.seen = env.reset(seed=seed)[0]

    def step(self, action: int) -> tuple[float, bool]:
        """Its reward, and whether that was the end; a limit of its own counts as one."""
        self.seen, reward, ended, late, _ = self.env.step(action)
        return float(reward), ended or late


class GymWorld:
    """Any number of episodes of one environment, each in an instance of its own.

    A state (N,) is an array of games that go on: one cannot return to a state that was left. The
    environment's time limit is taken off it and is the world's `limit`, since a game that is cut
    off could have gone on: what would have come is not nothing.

    Args:
        env_id: a registered id, or "module:id", with a Box of observations and Discrete actions.
        seeds: from which those of the episodes are drawn.

    Raises:
        ValueError: it is unknown, or has other spaces.
    """

    players = 1

    def __init__(self, env_id: str, seeds: range = range(2**31)) -> None:
        self._spec, self._seeds = specification(env_id), seeds
        self.name, self.limit = env_id, self._spec.max_episode_steps
        env = self._make()
        self.shape, self.actions = fitted(env.observation_space, env.action_space)

    def _make(self) -> gym.Env:
        return gym.make(self._spec, max_episode_steps=-1)

    def start(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(N,) new episodes."""
        state = np.empty(count, object)
        for i in range(count):
            state[i] = Game(self._make(), int(rng.integers(self._seeds.start, self._seeds.stop)))
        return state

    def observe(self, state: np.ndarray) -> np.ndarray:
        """(N, ...) float32."""
        return numbers(np.stack([game.seen for game in state]))

    def legal(self, state: np.ndarray) -> np.ndarray:
        """(N, A) every action, everywhere."""
        return np.ones((len(state), self.actions), bool)

    def step(self, state: np.ndarray, actions: np.ndarray) -> After:
        """Take actions (N,)."""
        pairs = [game.step(int(action)) for game, action in zip(state, actions, strict=True)]
        rewards, over = zip(*pairs, strict=True)
        return After(state, np.array(rewards, np.float32), np.array(over))


def fitted(observations: gym.Space, actions: gym.Space) -> tuple[tuple[int, ...], int]:
    """The shape of an observation, and the number of actions.

    Raises:
        ValueError: observations are no Box, or actions are not Discrete(n).
    """
    return box(observations).shape, choices(actions)


def numbers(observations: np.ndarray) -> np.ndarray:
    """What the network reads, float32: of pictures of bytes, shares of 255."""
    read: np.ndarray = observations.astype(np.float32)
    return read / 255 if observations.dtype == np.uint8 else read
