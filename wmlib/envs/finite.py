"""Finite worlds drawn at random, whose exact values are known: what a search is measured against.

Letters: W worlds, S states, A actions.
"""

from __future__ import annotations

import numpy as np

from wmlib.typed import PositiveFloat, PositiveInt, ProperShare, Seed, typed


class FiniteMDPs:
    """W worlds of S states and A actions each, in which nothing is random once they are drawn.

    Rewards are uniform in [0, 1], the next state is any, and one step in ten ends the episode. A
    state of world w is the pair (w, s), so that arrays (W, 2) of states walk in all worlds at once.

    Args:
        worlds, states, actions: how many.
        discount: gamma, below 1.
        seed: that they are drawn with.
        ends: the share of steps that end an episode.
    """

    @typed
    def __init__(
        self, worlds: PositiveInt, states: PositiveInt = 8, actions: PositiveInt = 3,
        discount: ProperShare = 0.8, seed: Seed = 0, ends: ProperShare = 0.1,
    ) -> None:  # fmt: skip
        rng, size = np.random.default_rng(seed), (worlds, states, actions)
        self.actions, self.discount = actions, discount
        self.rewards = rng.random(size)  # (W, S, A)
        self.following = rng.integers(states, size=size)  # (W, S, A)
        self.goes_on = rng.random(size) >= ends  # (W, S, A)

    def start(self) -> np.ndarray:
        """(W, 2) the state 0 of each world."""
        worlds = np.arange(len(self.rewards))
        return np.stack([worlds, np.zeros_like(worlds)], 1)

    def step(
        self, states: np.ndarray, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What actions (N,) lead to from states (N, 2).

        Returns:
            rewards (N,), whether the episode goes on (N,), and the next states (N, 2).
        """
        worlds = states[:, 0]
        place = worlds, states[:, 1], actions
        after = np.stack([worlds, self.following[place]], 1)  # (N, 2)
        return self.rewards[place], self.goes_on[place], after

    @typed
    def values(self, tolerance: PositiveFloat = 1e-12) -> np.ndarray:
        """(W, S, A) Q of the best policy, by value iteration (Sutton & Barto 2018, section 4.4)."""
        worlds = np.arange(len(self.rewards))[:, None, None]
        values: np.ndarray = np.zeros_like(self.rewards)  # (W, S, A)
        while True:
            ahead = values.max(2)[worlds, self.following] * self.goes_on  # (W, S, A)
            old, values = values, self.rewards + self.discount * ahead
            if np.abs(values - old).max() <= tolerance * (1 - self.discount):
                return values
