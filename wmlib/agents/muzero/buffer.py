"""What was played, step by step, and what a batch of it should teach.

Letters: N steps, B batch, K unrolled steps, A actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Played(NamedTuple):
    """Steps of whole games, one game after the other."""

    observations: np.ndarray
    """(N, ...) float32"""
    legal: np.ndarray
    """(N, A) bool"""
    actions: np.ndarray
    """(N,) int64"""
    rewards: np.ndarray
    """(N,) float32, for who acted"""
    policies: np.ndarray
    """(N, A) float32, shares of a search's visits"""
    values: np.ndarray
    """(N,) float32, what the action earns, says a search, that most simulations began with (paper:
    the mean of all simulations; but those that explore earn less than is there)"""
    ends: np.ndarray
    """(N,) int64, how many steps are left in the game, this one among them"""
    cut: np.ndarray
    """(N,) bool, whether the game was cut off after its last step, and could have gone on"""


class Batch(NamedTuple):
    """What to learn from: a step, and the K that followed."""

    observations: np.ndarray
    """(B, ...)"""
    actions: np.ndarray
    """(B, K)"""
    rewards: np.ndarray
    """(B, K) that those actions brought"""
    values: np.ndarray
    """(B, K + 1) before each of them, and after the last"""
    policies: np.ndarray
    """(B, K + 1, A); past a game's end all zeros, which asks for nothing"""
    known: np.ndarray
    """(B, K + 1) float32, 0 past where a game was cut off: nothing is asked there, else 1"""


class Buffer:
    """The last steps that were played.

    Args:
        capacity: steps; the oldest make way.
        discount: what the next step's value is worth to who acts: gamma, or -gamma where the
            opponent is to move there.
        horizon: n, steps of real reward in a value target, after which the search's own value
            stands; None: rewards to the end of the game.
        reach: the largest value that can be said. What a search says beyond it, because the model
            dreams a reward and then once more in a value, counts as this.
    """

    def __init__(
        self, capacity: int, discount: float, horizon: int | None, reach: float = np.inf
    ) -> None:
        self.capacity, self.discount, self.horizon = capacity, discount, horizon
        self.reach = reach
        self.total = 0
        """steps that were ever put in; step t lies at t % capacity"""
        self.kept: Played
        """arrays of `capacity` steps, from the first `extend` on"""

    def __len__(self) -> int:
        return min(self.total, self.capacity)

    def extend(self, played: Played) -> None:
        """Put in the steps of whole games."""
        if not self.total:
            self.kept = Played(
                *(np.zeros((self.capacity, *part.shape[1:]), part.dtype) for part in played)
            )
        place = (self.total + np.arange(len(played.actions))) % self.capacity
        for kept, part in zip(self.kept, played, strict=True):
            kept[place] = part
        self.total += len(place)

    def refresh(self, steps: np.ndarray, policies: np.ndarray, values: np.ndarray) -> None:
        """Take over what a new search says of steps (M,), as `anywhere` counts them."""
        self.kept.policies[steps % self.capacity] = policies
        self.kept.values[steps % self.capacity] = values

    def anywhere(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count,) steps drawn from all that are kept, each as likely."""
        return rng.integers(self.total - len(self), self.total, count)

    def draw(self, rng: np.random.Generator, batch: int, unroll: int) -> Batch:
        """A batch of B steps, each with the K that followed.

        Past the end a game stands still (the state is absorbing): whatever is done there brings
        nothing and is worth nothing. Past where it was cut off, nothing is known.
        """
        begin = self.anywhere(rng, batch)  # (B,)
        steps = begin[:, None] + np.arange(unroll + 1)  # (B, K + 1)
        alive = np.arange(unroll + 1) < self.kept.ends[begin % self.capacity, None]  # (B, K + 1)
        steps = np.where(alive, steps, begin[:, None])  # (B, K + 1) where a game is over: any step
        place = steps % self.capacity
        any_action = rng.integers(self.kept.policies.shape[1], size=(batch, unroll))  # (B, K)
        going = alive[:, :-1]  # (B, K)
        return Batch(
            self.kept.observations[begin % self.capacity],
            np.where(going, self.kept.actions[place[:, :-1]], any_action),
            np.where(going, self.kept.rewards[place[:, :-1]], 0).astype(np.float32),
            np.where(alive, self.targets(steps), 0).astype(np.float32),
            np.where(alive[..., None], self.kept.policies[place], 0),
            (alive | ~self.kept.cut[begin % self.capacity, None]).astype(np.float32),
        )

    def targets(self, steps: np.ndarray) -> np.ndarray:
        """(...) the value targets of steps (...): n rewards, and then what a search expected.

        Of a game that was cut off, the last search stands for all that would have come.
        """
        left = self.kept.ends[steps % self.capacity]  # (...)
        paying = left - self.kept.cut[steps % self.capacity]  # (...) steps whose rewards count
        most = int(left.max()) if self.horizon is None else self.horizon
        total, ahead = np.zeros(steps.shape), np.minimum(paying, most)
        for k in range(int(ahead.max())):
            reward = self.kept.rewards[(steps + k) % self.capacity]
            total += self.discount**k * np.where(k < ahead, reward, 0)
        beyond = self.kept.values[(steps + ahead) % self.capacity].clip(-self.reach, self.reach)
        targets: np.ndarray = total + self.discount**ahead * np.where(ahead < left, beyond, 0)
        return targets

    def state(self) -> dict[str, np.ndarray]:
        """All of it, as the arrays of a file."""
        kept = {name: part[: len(self)] for name, part in self.kept._asdict().items()}
        return {**kept, "total": np.array(self.total)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what `state` said."""
        self.total = 0
        self.extend(Played(*(np.array(arrays[name]) for name in Played._fields)))
        self.total = int(arrays["total"])
