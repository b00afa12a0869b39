"""Real transitions, remembered and drawn in batches.

Letters: B batch, D numbers in a state, A actions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from wmlib.scratch.checks import at_least
from wmlib.shapes import as_array
from wmlib.typed import PositiveInt, Seed, typed

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
CARTPOLE_SCALE = (2.4, 2.0, 0.2, 2.0)
"""What is much in CartPole's state [m, m/s, rad, rad/s]: position and angle where an episode ends,
and as large velocities (ours)."""


class Batch(NamedTuple):
    """Transitions."""

    states: Floats  # (B, D)
    actions: Integers  # (B,)
    rewards: Floats  # (B,)
    next_states: Floats  # (B, D); a row of NaN: the episode ended

    @classmethod
    def of(cls, rows: Floats) -> Batch:
        """From rows (B, 2 D + 2) of a buffer."""
        size = rows.shape[1] // 2 - 1
        states, following = rows[:, :size], rows[:, size + 2 :]  # (B, D) each
        return cls(states, rows[:, size].astype(np.int64), rows[:, size + 1], following)


class TransitionBuffer:
    """All real transitions, and batches drawn from them with replacement.

    Args:
        scale: (D,) what is much for each number of a state, > 0. Networks read states divided by
            it. (A running mean and deviation in its place shift while the agent gets better, and
            in our pilots CartPole was then learned and forgotten.)
        batch: B of a draw, >= 1.
        seed: of the draws.

    Raises:
        ValueError: a number is out of range.
    """

    @typed
    def __init__(self, scale: Any, *, batch: PositiveInt = 64, seed: Seed = 0) -> None:
        self.scale = as_array("scale", scale, "D", finite=True).astype(np.float32)  # (D,)
        if not (self.scale > 0).all():
            raise ValueError(f"scale must be D numbers above 0, got {scale!r}")
        self.batch = batch
        self._rng = np.random.default_rng([seed, 0])
        self._rows = np.empty((1024, 2 * self.size + 2), np.float32)  # s, a, r, s'
        self._count = 0

    @property
    def size(self) -> int:
        """D."""
        return self.scale.size

    def add(
        self, state: ArrayLike, action: int, reward: float, next_state: ArrayLike | None
    ) -> None:
        """Remember a real transition; `next_state` is None if it ended the episode for good.

        Raises:
            ValueError: a state is not D numbers, the action no integer >= 0, or a number is not
                finite (the message says how many transitions came before).
        """
        if self._count == len(self._rows):  # full: make as much room again
            self._rows = np.concatenate([self._rows, self._rows])
        self._rows[self._count] = self._row(state, action, reward, next_state)
        self._count += 1

    def random_state(self) -> Floats:
        """States (B, D) in which an action was taken, each drawn from all.

        Raises:
            ValueError: there is none yet.
        """
        return self.random_transition().states

    def random_transition(self) -> Batch:
        """B real transitions, each drawn from all; errors as `random_state`."""
        return Batch.of(self._draw(self.batch))

    def with_replayed(
        self, count: int, state: ArrayLike, action: ArrayLike, reward: ArrayLike,
        next_state: ArrayLike | None,
    ) -> Batch:  # fmt: skip
        """A single transition, the first of `count`: the others are drawn from all."""
        rows = self._draw(count)
        rows[0] = self._row(state, action, reward, next_state)
        return Batch.of(rows)

    def _draw(self, count: int) -> Floats:
        if self._count == 0:
            raise ValueError("the buffer is empty: add a transition first")
        return self._rows[self._rng.integers(self._count, size=count)]

    def _row(
        self, state: ArrayLike, action: ArrayLike, reward: ArrayLike, next_state: ArrayLike | None
    ) -> Floats:
        """A single transition as a row (2 D + 2,)."""
        before = as_floats("a state", state, self.size)  # (D,)
        after = before if next_state is None else as_floats("a state", next_state, self.size)
        number = at_least("action", action, 0)  # type: ignore[arg-type]  # refuses the others
        paid = as_array("a reward", reward).astype(np.float32)  # ()
        row = np.concatenate([before, [np.float32(number)], paid.reshape(1), after])
        if not np.isfinite(row).all():
            raise ValueError(
                f"a transition must be finite, got {row.tolist()} after {self._count} others"
            )
        if next_state is None:
            row[-self.size :] = np.nan
        return row

    def inputs(self, states: ArrayLike | None) -> Tensor:
        """What networks read of states (B, D): (B, D), divided by the scale.

        Raises:
            ValueError: the states are something else.
        """
        check_states(states, self.size)
        return torch.from_numpy(np.asarray(states, np.float32) / self.scale)

    def __len__(self) -> int:
        return self._count


def as_floats(name: str, value: ArrayLike | None, *axes: Any) -> Floats:
    """`value` as float32 numbers of this shape, or a ValueError."""
    floats: Floats = as_array(name, value, *axes).astype(np.float32, copy=False)
    return floats


def check_states(states: ArrayLike | None, size: int) -> None:
    """Raises ValueError: they are not states (B, D) or one (D,)."""
    as_array("states", states, *"B"[: np.ndim(states) > 1], size)  # type: ignore[arg-type]


def check_actions(actions: ArrayLike, count: int, rows: int | None = None) -> None:
    """Raises ValueError: they are not integers in 0..A-1, one for each of so many states."""
    found = np.asarray(actions)
    if found.dtype.kind not in "biu" or found.min(initial=0) < 0 or found.max(initial=0) >= count:
        raise ValueError(f"actions must be integers in 0..{count - 1}, got {actions!r:.80}")
    if rows is not None and found.size != rows:
        raise ValueError(f"{rows} states need as many actions, got {found.size}")
