"""Small worlds for MuZero: a game of two players, and a walk of one."""

from typing import NamedTuple

import numpy as np


class After(NamedTuple):
    state: np.ndarray
    rewards: np.ndarray
    over: np.ndarray


class Nim:
    """A heap of five stones; take one or two; who takes the last one wins.

    Who is to move before a multiple of three has lost; from all others, take what leads to one.
    """

    name, shape, actions, players, stones = "nim", (6,), 2, 2, 5

    def start(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return np.full(count, self.stones)

    def observe(self, state: np.ndarray) -> np.ndarray:
        return np.eye(self.stones + 1, dtype=np.float32)[state]

    def legal(self, state: np.ndarray) -> np.ndarray:
        return state[:, None] >= np.array([1, 2])

    def step(self, state: np.ndarray, actions: np.ndarray) -> After:
        after = state - actions - 1
        assert (after >= 0).all()
        return After(after, (after == 0).astype(np.float32), after == 0)

    def optimal(self, moves: np.ndarray) -> float:
        """Share of the four heaps that can be won in which moves (5,), of heaps 1 to 5, win."""
        heaps = np.arange(1, 6)
        return float(np.mean((heaps - moves - 1)[heaps % 3 != 0] % 3 == 0))


class Walk:
    """Five cells in a row; the left end pays 2, the right end 10, and both end the walk.

    One begins beside the left end, and every other step costs 0.5: right is best.
    """

    name, shape, actions, players, cells = "walk", (5,), 2, 1, 5

    def start(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return np.ones(count, int)

    def observe(self, state: np.ndarray) -> np.ndarray:
        return np.eye(self.cells, dtype=np.float32)[state]

    def legal(self, state: np.ndarray) -> np.ndarray:
        return np.ones((len(state), 2), bool)

    def step(self, state: np.ndarray, actions: np.ndarray) -> After:
        after = state + np.where(actions == 0, -1, 1)
        over = (after == 0) | (after == self.cells - 1)
        return After(after, np.where(after == 0, 2.0, np.where(over, 10.0, -0.5)), over)
