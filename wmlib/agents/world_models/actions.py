"""Actions as M reads them: A numbers each.

A Box's actions are A numbers already. Of a choice among A (a `Discrete` space) M reads a one-hot
vector: 1 for what was chosen, 0 for the others. C answers in the same numbers, in dreams and in
the real world; only here do they become what an environment takes, and the other way round.
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from wmlib.shapes import check_shape
from wmlib.spaces import choices


def choices_of(space: gym.Space) -> int | None:
    """How many actions a `Discrete` space holds; None for a space whose actions are numbers.

    Raises:
        ValueError: its first action is not 0.
    """
    if not isinstance(space, gym.spaces.Discrete):
        return None
    return choices(space)


def as_numbers(actions: np.ndarray, choices: int | None) -> np.ndarray:
    """What an environment took to what M reads.

    Args:
        actions: (T, A) float32; or (...) whole numbers from 0 to `choices` - 1.
        choices: of a `Discrete` space, A; None for a Box.

    Returns:
        (..., A) float32.

    Raises:
        ValueError: they are others.
    """
    if choices is None:
        name = "actions (whole numbers need choices)"
        check_shape(name, actions, np.ndarray, "T", "A", dtype="float32")
        return actions
    if actions.dtype.kind not in "iu" or not ((actions >= 0) & (actions < choices)).all():
        raise ValueError(f"actions must be whole numbers from 0 to {choices - 1}, got {actions!r}")
    rows: np.ndarray = np.eye(choices, dtype=np.float32)[actions]
    return rows


def as_taken(numbers: np.ndarray, choices: int | None) -> np.ndarray | np.integer:
    """What C answers, (A,) float32, to what an environment takes: as it is, or a whole number."""
    return numbers if choices is None else numbers.argmax()
