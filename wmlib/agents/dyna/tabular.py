"""Dyna: learn a model from real steps, and learn from imagined steps in it (Sutton 1991).

The tabular algorithms of Sutton & Barto (2018), chapter 8, for worlds that are finite and
deterministic: Dyna-Q (section 8.2); Dyna-Q+ (8.3), which goes back to look where it has not been
for long; and prioritized sweeping (8.4), which imagines first what matters most. Beside them what
they all approach: exact value iteration.

>>> from wmlib.agents.dyna import DynaConfig, DynaQ, episode_lengths
>>> from wmlib.envs.maze import Maze
>>> maze = Maze()
>>> episode_lengths(DynaQ(maze, DynaConfig(planning=50), seed=1), maze, episodes=5)

The agents are made of parts, a `QTable` and a `TabularModel`. With a `Visited` these also fit the
article's own loop, `wmlib.scratch.dyna_train`.

One convention throughout: the state that follows is None where the episode ended for good. Nothing
comes after such an end, so nothing is bootstrapped from it. (In arrays of states it is -1.)

Letters: S states, A actions.
"""

from __future__ import annotations

import heapq
import math
from itertools import count
from typing import Any

import gymnasium as gym
import numpy as np

from wmlib.agents.dyna.tables import (
    DynaConfig,
    QTable,
    Seed,
    TabularModel,
    table_size,
)
from wmlib.scratch.checks import at_least
from wmlib.typed import typed


class DynaQ:
    """Dyna-Q, and with a bonus Dyna-Q+: acts, learns a model, and learns from imagined steps.

    After each real step: one step of Q-learning from it, the model takes note of it, and
    `config.planning` further steps of Q-learning from pairs drawn at random, a state first and
    then an action: among those tried, or with a bonus among all (Sutton & Barto 2018, sections
    8.2 and 8.3). The bonus is paid in imagination only.

    What is drawn for acting does not depend on how much is planned: agents of one seed, with any
    number of planning steps, live through the same first episode of a maze that pays only at
    the goal.

    Args:
        env: with Discrete states and actions; only its spaces are read.
        config: of everything.
        seed: of acting and planning.

    Raises:
        ValueError: the spaces are not Discrete, or do not begin at 0.
    """

    @typed
    def __init__(
        self, env: gym.Env[Any, Any], config: DynaConfig | None = None, *, seed: Seed = 0
    ) -> None:
        self.config = config or DynaConfig()
        acting, self._rng = np.random.default_rng(seed).spawn(2)
        states, actions = table_size(env)
        self.policy = QTable(states, actions, self.config, seed=acting)
        self.model = TabularModel(states, actions)
        self.updates = 0
        """of action values, real and imagined"""
        self._all = list(range(actions))

    def act(self, state: int) -> int:
        """An action, epsilon-greedy."""
        return self.policy.act(state)

    def learn(self, state: int, action: int, reward: float, next_state: int | None) -> None:
        """From a real transition and, after it, from imagined ones."""
        self.policy.learn(state, action, reward, next_state)
        self.updates += 1
        self.model.update(state, action, reward, next_state)
        self.plan(self.config.planning)

    def plan(self, updates: int) -> None:
        """Learn from so many imagined transitions; without any experience, from none."""
        at_least("updates", updates, 0)
        model, learn, bonus = self.model, self.policy.learn, self.config.bonus
        visited = model.visited
        if not visited:
            return
        for first, second in self._rng.random((updates, 2)).tolist():
            state = visited[int(first * len(visited))]
            actions = self._all if bonus else model.tried[state]
            action = actions[int(second * len(actions))]
            next_state, reward = model.imagine(state, action)
            if bonus:
                reward += bonus * math.sqrt(model.idle(state, action))
            learn(state, action, reward, next_state)
        self.updates += updates


class PrioritizedSweeping(DynaQ):
    """Dyna that imagines first what would change most (Sutton & Barto 2018, section 8.4).

    A queue holds the pairs whose value is off by more than `config.threshold`. After each real
    step, at most `config.planning` of them are updated, the most urgent first; each update makes
    what leads to that state more urgent. There is no update outside of the queue, and no bonus.

    Arguments and errors are those of `DynaQ`; a bonus is refused with a ValueError.
    """

    def __init__(
        self, env: gym.Env[Any, Any], config: DynaConfig | None = None, *, seed: Seed = 0
    ) -> None:
        super().__init__(env, config, seed=seed)
        if self.config.bonus:
            raise ValueError(f"prioritized sweeping has no bonus, got {self.config.bonus}")
        self._heap: list[tuple[float, int, tuple[int, int]]] = []
        self._urgency: dict[tuple[int, int], float] = {}  # of what is in the queue
        self._order = count()  # of two equally urgent pairs the older goes first

    def learn(self, state: int, action: int, reward: float, next_state: int | None) -> None:
        """Take note of a real transition, then update what has become urgent."""
        self.model.update(state, action, reward, next_state)
        self._queue(state, action)
        self.plan(self.config.planning)

    def plan(self, updates: int) -> None:
        """Update so many pairs, the most urgent first; fewer if the queue runs empty."""
        at_least("updates", updates, 0)
        while updates > 0 and self._heap:
            urgency, _, (state, action) = heapq.heappop(self._heap)
            if self._urgency.get((state, action)) != -urgency:
                continue  # it has since been queued as more urgent, and done
            del self._urgency[state, action]
            next_state, reward = self.model.imagine(state, action)
            self.policy.learn(state, action, reward, next_state)
            self.updates += 1
            updates -= 1
            for pair in self.model.before(state):
                self._queue(*pair)

    def _queue(self, state: int, action: int) -> None:
        next_state, reward = self.model.imagine(state, action)
        urgency = abs(self.policy.error(state, action, reward, next_state))
        if urgency > max(self.config.threshold, self._urgency.get((state, action), 0.0)):
            self._urgency[state, action] = urgency
            heapq.heappush(self._heap, (-urgency, next(self._order), (state, action)))
