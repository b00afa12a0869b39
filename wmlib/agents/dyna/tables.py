"""Tables: a value for each state and action, and what followed when it was last tried.

Letters: S states, A actions.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from wmlib.spaces import choices
from wmlib.typed import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    PositiveShare,
    ProperShare,
    Share,
    typed,
)

Seed = NonNegativeInt | np.random.Generator


@typed
@dataclass(frozen=True)
class DynaConfig:
    """Hyper-parameters of the agents."""

    step_size: PositiveShare = 0.1
    """alpha in (0, 1] (Sutton & Barto, example 8.1)"""
    discount: ProperShare = 0.95
    """gamma in [0, 1), for each step (example 8.1)"""
    exploration: Share = 0.1
    """epsilon in [0, 1], the share of random actions (example 8.1)"""
    planning: NonNegativeInt = 5
    """n, imagined updates for each real step; prioritized sweeping: at most so many"""
    bonus: NonNegativeFloat = 0.0
    """kappa >= 0 of Dyna-Q+; 0 is Dyna-Q. A pair not tried for tau real steps is imagined to pay
    kappa * sqrt(tau) more than it did [reward]"""
    threshold: NonNegativeFloat = 1e-4
    """theta >= 0 of prioritized sweeping: smaller changes do not enter the queue [value]"""


class QTable:
    """Action values, all 0 at first, and the epsilon-greedy policy on them.

    Args:
        states, actions: S and A, each >= 1.
        config: step size, discount and exploration are read.
        seed: of the exploration and of the choice among actions of equal value.

    Raises:
        ValueError: there is no state or no action.
    """

    @typed
    def __init__(
        self,
        states: PositiveInt,
        actions: PositiveInt,
        config: DynaConfig | None = None,
        *,
        seed: Seed = 0,
    ) -> None:
        self.config = config or DynaConfig()
        self.rows = [[0.0] * actions for _ in range(states)]  # (S, A)
        self._alpha, self._gamma = self.config.step_size, self.config.discount
        self._rng = np.random.default_rng(seed)

    @property
    def values(self) -> NDArray[np.float64]:
        """A copy of Q, (S, A)."""
        return np.array(self.rows)

    def act(self, state: int) -> int:
        """An action: a random one with probability epsilon, else a best one."""
        row = self.rows[state]
        if self._rng.random() < self.config.exploration:
            return int(self._rng.random() * len(row))
        best = max(row)
        ties = [action for action, value in enumerate(row) if value == best]
        return ties[0] if len(ties) == 1 else ties[int(self._rng.random() * len(ties))]

    def error(self, state: int, action: int, reward: float, next_state: int | None) -> float:
        """r + gamma max_a Q(s', a) - Q(s, a); the second term is 0 if `next_state` is None."""
        ahead = 0.0 if next_state is None else self._gamma * max(self.rows[next_state])
        return reward + ahead - self.rows[state][action]

    def learn(self, state: int, action: int, reward: float, next_state: int | None) -> None:
        """One step of Q-learning, Q(s, a) += alpha * error, from a real transition or not."""
        self.rows[state][action] += self._alpha * self.error(state, action, reward, next_state)


class TabularModel:
    """What is believed of a deterministic world: each pair does what it did the last time.

    A pair that was never tried is believed to lead back to its state and to pay nothing, as in
    Dyna-Q+ (Sutton & Barto 2018, section 8.3).

    Args:
        states, actions: S and A, each >= 1.

    Raises:
        ValueError: there is no state or no action.
    """

    @typed
    def __init__(self, states: PositiveInt, actions: PositiveInt) -> None:
        self.time = 0
        """real transitions seen"""
        self.visited: list[int] = []
        """states in which an action was tried, in the order of their first time"""
        self.tried: list[list[int]] = [[] for _ in range(states)]
        """the actions tried in each state, in the order of their first time"""
        # (S, A) each, as lists: what comes after, what it pays, and when it was last so
        self._after: list[list[int | None]] = [[s] * actions for s in range(states)]
        self._rewards = [[0.0] * actions for _ in range(states)]
        self._when = [[0] * actions for _ in range(states)]
        self._before: list[dict[tuple[int, int], None]] = [{} for _ in range(states)]
        self._wrong: deque[bool] = deque(maxlen=100)

    def update(self, state: int, action: int, reward: float, next_state: int | None) -> None:
        """Believe a real transition; `next_state` is None if it ended the episode."""
        after, rewards = self._after[state], self._rewards[state]
        new = action not in self.tried[state]
        self._wrong.append(new or after[action] != next_state or rewards[action] != reward)
        if new:
            if not self.tried[state]:
                self.visited.append(state)
            self.tried[state].append(action)
        elif (old := after[action]) is not None:
            self._before[old].pop((state, action), None)
        if next_state is not None:
            next_state = int(next_state)
            self._before[next_state][state, action] = None
        after[action], rewards[action] = next_state, float(reward)
        self.time += 1
        self._when[state][action] = self.time

    def imagine(self, state: int, action: int) -> tuple[int | None, float]:
        """What would follow, and the reward; None: the episode would end."""
        return self._after[state][action], self._rewards[state][action]

    def idle(self, state: int, action: int) -> int:
        """tau: real transitions since the pair was last tried; never: since the beginning."""
        return self.time - self._when[state][action]

    def before(self, state: int) -> list[tuple[int, int]]:
        """The pairs (state, action) that were tried and are believed to lead to `state`."""
        return list(self._before[state])

    @property
    def loss(self) -> float:
        """Share of the last 100 real transitions that were not foreseen, in [0, 1]."""
        return sum(self._wrong) / max(len(self._wrong), 1)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which pairs were tried, (S, A)."""
        return self.last_tried > 0

    @property
    def last_tried(self) -> NDArray[np.int64]:
        """The real transition, counted from 1, at which each pair was last tried; 0: never."""
        return np.array(self._when, dtype=np.int64)  # (S, A)

    @property
    def next_states(self) -> NDArray[np.int64]:
        """Where each pair leads, (S, A); -1: to the end of the episode, or it was never tried."""
        ended = [[-1 if s is None else s for s in row] for row in self._after]  # (S, A)
        return np.where(self.known, ended, -1)

    @property
    def rewards(self) -> NDArray[np.float64]:
        """What each pair pays, (S, A); 0 if it was never tried."""
        return np.array(self._rewards)


class Visited:
    """The states acted in so far: the buffer that the article's `dyna_train` asks for.

    Args:
        seed: of `random_state`.
    """

    def __init__(self, *, seed: Seed = 0) -> None:
        self._states: dict[int, None] = {}
        self._order: list[int] = []
        self._transitions = 0
        self._rng = np.random.default_rng(seed)

    def add(self, state: int, action: int, reward: float, next_state: int | None) -> None:
        """Take note of a real transition."""
        self._transitions += 1
        if state not in self._states:
            self._states[state] = None
            self._order.append(int(state))

    def random_state(self) -> int:
        """One of the states acted in, each as likely as any other.

        Raises:
            ValueError: there is none yet.
        """
        if not self._order:
            raise ValueError("the buffer is empty: add a transition first")
        return self._order[int(self._rng.random() * len(self._order))]

    def __len__(self) -> int:
        """Real transitions seen."""
        return self._transitions


@typed
def table_size(env: gym.Env[Any, Any]) -> tuple[int, int]:
    """(S, A) of an environment with Discrete states and actions.

    Raises:
        ValueError: it is no environment, or a space is not Discrete or does not begin at 0.
    """
    states = choices(env.observation_space, "observation_space")
    return states, choices(env.action_space, "action_space")
