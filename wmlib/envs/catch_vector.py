"""PixelCatch, many games at once, in one pass of NumPy.

N games, each with a generator of its own: game i is `PixelCatch` seeded with seed + i.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from wmlib.envs.catch import (
    ACTIONS,
    COLUMNS,
    NEEDS_RESET,
    PICTURES,
    ROWS,
    STEPS,
    Board,
    PixelCatch,
    enlarged,
    weather,
)
from wmlib.typed import PositiveFloat, PositiveInt, Share, typed


class PixelCatchVector(VectorEnv[Any, Any, np.ndarray]):
    """N games of PixelCatch at once, computed together: what `gymnasium.make_vec` makes.

    Environment i is a `PixelCatch` with seed + i, board for board, as in Gymnasium's
    `SyncVectorEnv`. The reset mode is the next-step one, as there by default: the step after an
    episode's last one takes no notice of the actions, returns the first pictures of the next
    episodes, and gives rewards of 0. All episodes have 9 steps, so that all N begin and end
    together, and one in ten steps is such a reset.

    Observations (N, 16, 16, 1) uint8, actions (N,) whole numbers 0 to 2, rewards (N,) float64,
    terminations and truncations (N,) bool.

    `board` is the true state, a `Board` of a row and two arrays (N,), or None before `reset`.

    Args:
        num_envs: N, >= 1.
        wind: as in `PixelCatch`.
        scale: as in `PixelCatch`.
        render_mode: as in `PixelCatch`; `render` gives a tuple of N pictures.

    Raises:
        ValueError: as in `PixelCatch`, or `num_envs` is not a whole number >= 1.
    """

    metadata = {**PixelCatch.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    @typed
    def __init__(
        self,
        num_envs: PositiveInt = 1,
        wind: Share = 0.0,
        scale: PositiveFloat = 1.0,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        single = PixelCatch(wind, scale, render_mode)
        self.num_envs = int(num_envs)
        self.wind, self.scale, self.render_mode = single.wind, single.scale, render_mode
        self.single_observation_space = single.observation_space
        self.single_action_space = single.action_space
        self.observation_space = batch_space(single.observation_space, self.num_envs)
        self.action_space = batch_space(single.action_space, self.num_envs)
        self.board: Board | None = None
        self._generators: tuple[np.random.Generator, ...] = ()
        self._seeds: tuple[int, ...] = ()

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generator of each environment, as in `SyncVectorEnv`."""
        self._seed(None)
        return self._generators

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed of each environment's generator, as in `SyncVectorEnv`."""
        self._seed(None)
        return self._seeds

    def _seed(self, seed: int | None) -> None:
        if seed is None and self._generators:
            return
        seeds = (None if seed is None else seed + i for i in range(self.num_envs))
        self._generators, self._seeds = zip(*map(seeding.np_random, seeds), strict=True)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Drop N new balls.

        Args:
            seed: environment i gets `seed + i`; None goes on with the generators there are.
            options: none are known.

        Returns:
            The first pictures, (N, 16, 16, 1) uint8, and an empty info.

        Raises:
            ValueError: `options` has a "reset_mask": the environments are reset together.
        """
        if options and "reset_mask" in options:
            raise ValueError("no reset_mask: all environments are reset together")
        self._seed(seed)
        return self._begin(), {}

    def step(
        self, actions: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Move N paddles; the balls fall, and may drift. Or begin anew, if all have ended.

        Args:
            actions: (N,) whole numbers 0 to 2.

        Returns:
            Pictures (N, 16, 16, 1) uint8, rewards, terminations, truncations and an empty info.

        Raises:
            ValueError: the actions are anything else.
            gymnasium.error.ResetNeeded: `reset` was not called.
        """
        if self.board is None:
            raise ResetNeeded(NEEDS_RESET)
        moves = self._checked(actions) - 1  # (N,)
        rewards, never = np.zeros(self.num_envs), np.zeros(self.num_envs, bool)
        row, columns, paddles = self.board
        if row == STEPS:
            return self._begin(), rewards, never, never.copy(), {}
        paddles = (paddles + moves).clip(0, COLUMNS - 1)
        columns = (columns + self._gusts[row]).clip(0, COLUMNS - 1)
        self.board = Board(row + 1, columns, paddles)
        ended = row + 1 == STEPS
        if ended:
            rewards = np.where(columns == paddles, self.scale, -self.scale)
        return self._pictures(), rewards, never | ended, never, {}

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The pictures, enlarged, if the mode is "rgb_array".

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called.
        """
        if self.render_mode is None:
            return None
        if self.board is None:
            raise ResetNeeded(NEEDS_RESET)
        return tuple(enlarged(picture) for picture in self._pictures())

    def _begin(self) -> np.ndarray:
        draws = np.empty((self.num_envs, ROWS))
        for generator, own in zip(self._generators, draws, strict=True):
            generator.random(out=own)
        columns, gusts = weather(draws, self.wind)  # (N,), (N, STEPS)
        self._gusts = gusts.T.copy()  # (STEPS, N)
        self.board = Board(0, columns, np.full(self.num_envs, COLUMNS // 2))
        return self._pictures()

    def _pictures(self) -> np.ndarray:
        assert self.board is not None
        pictures: np.ndarray = PICTURES[self.board]  # (N, H, W, 1); indexed by arrays: a copy
        return pictures

    def _checked(self, actions: Any) -> np.ndarray:
        try:
            given = np.asarray(actions)
        except ValueError:  # rows of different lengths
            given = np.empty(0)
        good = given.shape == (self.num_envs,) and given.dtype.kind in "iu"
        if not good or given.min() < 0 or given.max() >= len(ACTIONS):
            raise ValueError(f"actions must be {self.num_envs} of 0, 1 and 2, got {actions!r}")
        return given.astype(np.int64)
