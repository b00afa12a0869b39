"""Stretches of real experience for models that remember: all episodes end to end.

A stretch may run from one episode into the next. Where an episode begins it says so, and whoever
reads it forgets what was before. That way short episodes (Catch has 9 decisions) fill a batch too,
and the last picture of an episode is learned from as often as any other.

Letters: B batch, T time, A action.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from wmlib.episodes import Episode
from wmlib.typed import PositiveInt, check_same, typed


class Sequences(NamedTuple):
    """B stretches of T observations, each with what led to it."""

    observations: np.ndarray
    """(B, T, ...) as in the episodes"""
    actions: np.ndarray
    """(B, T, A) float32, or (B, T) int64, before the observation; 0 where there is none"""
    rewards: np.ndarray
    """(B, T) float32, with the observation; 0 where there is none"""
    first: np.ndarray
    """(B, T) bool: whether an episode begins here"""
    ended: np.ndarray
    """(B, T) bool: whether the environment ended the episode here (a limit does not count)"""


class Stream:
    """Episodes laid end to end in arrays, which grow.

    Args:
        arrays: of an earlier stream, as `arrays` gives them; None to begin with nothing.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray] | None = None) -> None:
        self._arrays = {name: np.array(part) for name, part in (arrays or {}).items()}
        self._used = len(self._arrays["first"]) if arrays else 0

    def __len__(self) -> int:
        """Observations so far."""
        return self._used

    @typed
    def extend(self, episode: Episode) -> None:
        """Add an episode.

        Raises:
            ValueError: its observations or actions are of another shape or dtype than the first's.
        """
        n = len(episode) + 1
        first, ended = np.zeros(n, bool), np.zeros(n, bool)
        first[0], ended[-1] = True, episode.terminated
        parts = {
            "observations": episode.observations,
            "actions": np.concatenate([np.zeros_like(episode.actions[:1]), episode.actions]),
            "rewards": np.concatenate([np.zeros(1, np.float32), episode.rewards]),
            "first": first,
            "ended": ended,
        }
        for name in ("observations", "actions"):
            both = parts[name], self._arrays.get(name, parts[name])
            check_same(f"{name} of a stream", *(f"{one.shape[1:]} {one.dtype}" for one in both))
        for name, part in parts.items():
            there = self._arrays.get(name)
            if there is None or self._used + n > len(there):
                larger = np.empty((2 * (self._used + n), *part.shape[1:]), part.dtype)
                if there is not None:
                    larger[: self._used] = there[: self._used]
                self._arrays[name] = there = larger
            there[self._used : self._used + n] = part
        self._used += n

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it, by the names of `Sequences`, each (observations, ...)."""
        return {name: array[: self._used] for name, array in self._arrays.items()}

    @typed
    def draw(self, rng: np.random.Generator, batch: PositiveInt, length: PositiveInt) -> Sequences:
        """Draw stretches, uniformly among all there are, with replacement.

        Raises:
            ValueError: there are fewer observations than `length`, or a number is out of range.
        """
        if length > len(self):
            raise ValueError(f"length must be at most {len(self)}, got {length}")
        begin = rng.integers(len(self) - length + 1, size=batch)  # (B,)
        rows = begin[:, None] + np.arange(length)  # (B, T)
        return Sequences(**{name: array[rows] for name, array in self._arrays.items()})
