"""What all of them approach: exact value iteration, and the path that it finds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wmlib.shapes import as_array
from wmlib.typed import NonNegativeInt, PositiveFloat, ProperShare, typed


@typed
def value_iteration(
    next_states: Any, rewards: Any, discount: ProperShare, tolerance: PositiveFloat = 1e-12
) -> NDArray[np.float64]:
    """The action values of a deterministic world under its best policy.

    `Q(s, a) = r + gamma max_a' Q(s', a')`, swept over all pairs until none is off by more than
    `tolerance` (Sutton & Barto 2018, section 4.4). The world is a `TabularModel`'s, what it
    believes, or the true one of `wmlib.envs.maze.Maze.transitions`.

    Args:
        next_states: (S, A) integers in -1..S-1; -1: nothing follows.
        rewards: (S, A).
        discount: gamma in [0, 1).
        tolerance: of each value, > 0.

    Returns:
        Q, (S, A).

    Raises:
        ValueError: shapes differ or are not (S, A), or a number is out of range.
    """
    after = as_array("next_states", next_states, "S", "A", dtype="whole")
    paid = as_array("rewards", rewards, *after.shape, finite=True).astype(np.float64)  # (S, A)
    if after.min() < -1 or after.max() >= len(after):
        raise ValueError(f"next_states must be integers in -1..{len(after) - 1}")
    values = np.zeros_like(paid)  # (S, A)
    while True:
        ahead = np.where(after < 0, 0.0, values.max(axis=1)[after])  # (S, A)
        old, values = values, paid + discount * ahead
        if discount * np.abs(values - old).max() <= tolerance * (1 - discount):
            return values


@typed
def greedy_path(values: Any, next_states: Any, start: NonNegativeInt) -> list[int]:
    """The states on the best way from `start`, by action values and a belief of what follows.

    Args:
        values: (S, A), an array or a list of lists; of equal values the first counts.
        next_states: (S, A) integers, -1 where nothing follows.
        start: a state.

    Returns:
        The states in their order. The last is -1 if the way ends there, at the end of the episode;
        else the way would go in a circle, from its last state to one already on it.

    Raises:
        ValueError: `start` is no state.
    """
    if start >= len(values):
        raise ValueError(f"start must be one of {len(values)} states from 0, got {start}")
    path, seen = [int(start)], {int(start)}
    while True:
        row = values[path[-1]]
        state = int(next_states[path[-1]][max(range(len(row)), key=row.__getitem__)])
        if state in seen:
            return path
        path.append(state)
        if state < 0:
            return path
        seen.add(state)
