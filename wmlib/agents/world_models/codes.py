"""Episodes as V's codes: what M learns from in place of frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from wmlib.agents.world_models.actions import as_numbers
from wmlib.episodes import Episode
from wmlib.replay import draw_windows
from wmlib.shapes import Shape, check_shape
from wmlib.storage import digest
from wmlib.typed import check_same, check_type, typed


@typed
@dataclass(frozen=True)
class Codes:
    """Episodes as M sees them: all N observations of E episodes, one after the other.

    Attributes:
        mean: (N, Z) float32, posterior means.
        log_variance: (N, Z) float32.
        actions: (N, A) float32, one-hot where an action is a choice; the row of an episode's last
            observation is not used.
        rewards: (N,) float32, likewise; the reward that came after the action.
        ends: (N,) float32, 1 where the action ended the episode; NaN: not known.
        costs: (N,) float32 in [0, 1], of the observation after the action; NaN: not known.
        lengths: (E,) decisions in each episode; it has one observation more.
    """

    mean: Annotated[np.ndarray, Shape("N", "Z", dtype="float32")]
    log_variance: Annotated[np.ndarray, Shape("N", "Z", dtype="float32")]
    actions: Annotated[np.ndarray, Shape("N", "A", dtype="float32")]
    rewards: Annotated[np.ndarray, Shape("N", dtype="float32")]
    ends: Annotated[np.ndarray, Shape("N", dtype="float32")]
    costs: Annotated[np.ndarray, Shape("N", dtype="float32")]
    lengths: Annotated[np.ndarray, Shape("E", dtype="whole")]

    def __post_init__(self) -> None:
        for name in ("ends", "costs"):
            if ((getattr(self, name) < 0) | (getattr(self, name) > 1)).any():
                raise ValueError(f"{name} must be in [0, 1], or NaN where nobody knows")
        if (self.lengths < 1).any() or np.sum(self.lengths + 1) != len(self.mean):
            raise ValueError(
                f"lengths must count the decisions of episodes that fill {len(self.mean)} rows, "
                f"one row more than decisions for each, got {self.lengths}"
            )

    @classmethod
    @typed
    def of(
        cls,
        episodes: Iterable[Episode],
        encode: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
        cost: Callable[[np.ndarray], np.ndarray] | None = None,
        choices: int | None = None,
    ) -> Codes:
        """Encode episodes with `encode` (V's), keeping what M needs.

        Args:
            episodes: E of them, actions (T, A) float32; or, with `choices`, (T,) whole numbers.
            encode: observations (T + 1, ...) to posterior means and log variances (T + 1, Z).
            cost: observations (T, ...) to their costs (T,) in [0, 1]; by default nobody knows them.
            choices: A, of a `Discrete` space, whose actions M reads as one-hot vectors.

        Raises:
            ValueError: there are no episodes, their actions are others, or `cost` does not give one
                number for each observation, or `encode` not two codes.
            TypeError: one of the episodes is none.
        """
        columns: list[tuple[np.ndarray, ...]] = []
        lengths = []
        for episode in episodes:
            check_type("each of episodes", episode, Episode)
            actions = as_numbers(np.asarray(episode.actions), choices)  # (T, A)
            ends = np.zeros(len(episode) + 1, np.float32)
            ends[-2] = episode.terminated
            seen = np.asarray(episode.observations)
            costs = np.full(len(seen), np.nan, np.float32)
            if cost is not None:
                given = np.asarray(cost(seen[1:]))
                check_shape("what cost gives", given, np.ndarray, len(seen) - 1)
                costs[:-1] = given
            columns.append(
                (
                    *_encoded(encode, seen),
                    np.concatenate([actions, np.zeros_like(actions[:1])]),
                    np.concatenate([episode.rewards, np.zeros_like(episode.rewards[:1])]),
                    ends,
                    costs,
                )
            )
            lengths.append(len(episode))
        if not columns:
            raise ValueError("there are no episodes to encode; collect some first")
        mean, log_variance, actions, rewards, ended, costs = map(
            np.concatenate, zip(*columns, strict=True)
        )
        return cls(mean, log_variance, actions, rewards, ended, costs, np.array(lengths))

    @property
    def first(self) -> np.ndarray:
        """(E,) row of each episode's first observation."""
        rows: np.ndarray = np.cumsum(self.lengths + 1) - (self.lengths + 1)
        return rows

    def digest(self) -> str:
        """SHA-256 of all that the episodes hold, in their order."""
        return digest({name: getattr(self, name) for name in self.__dataclass_fields__}, {})

    @typed
    def windows(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Rows (B, T + 1) of random windows of `length` decisions within an episode."""
        which, start = draw_windows(self.lengths, rng, batch, length)
        rows: np.ndarray = (self.first[which] + start)[:, None] + np.arange(length + 1)
        return rows

    @typed
    def merged(self, other: Codes) -> Codes:
        """These episodes and then the others."""
        sizes = [(codes.mean.shape[1], codes.actions.shape[1]) for codes in (self, other)]
        check_same("latents and actions of other", sizes[1], sizes[0])
        names = self.__dataclass_fields__
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        return replace(self, **{name: np.concatenate(pair) for name, pair in pairs.items()})


def _encoded(
    encode: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What V says of one episode's observations: two arrays (T + 1, Z)."""
    posterior = encode(seen)
    check_type("what encode gives", posterior, tuple[np.ndarray, np.ndarray])
    for part in posterior:
        check_shape("what encode gives", part, np.ndarray, len(seen), posterior[0].shape[-1])
    return posterior
