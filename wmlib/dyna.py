"""Dyna: learn a model from real steps, and learn from imagined steps in it (Sutton 1991).

The tabular algorithms of Sutton & Barto (2018), chapter 8, for worlds that are finite and
deterministic: Dyna-Q (section 8.2); Dyna-Q+ (8.3), which goes back to look where it has not been
for long; and prioritized sweeping (8.4), which imagines first what matters most. Beside them what
they all approach: exact value iteration.

>>> from wmlib.dyna import DynaConfig, DynaQ, episode_lengths
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
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wmlib.scratch.checks import at_least, check_step, within

Seed = int | np.random.Generator


@dataclass(frozen=True)
class DynaConfig:
    """Hyper-parameters of the agents."""

    step_size: float = 0.1
    """alpha in (0, 1] (Sutton & Barto, example 8.1)"""
    discount: float = 0.95
    """gamma in [0, 1), for each step (example 8.1)"""
    exploration: float = 0.1
    """epsilon in [0, 1], the share of random actions (example 8.1)"""
    planning: int = 5
    """n, imagined updates for each real step; prioritized sweeping: at most so many"""
    bonus: float = 0.0
    """kappa >= 0 of Dyna-Q+; 0 is Dyna-Q. A pair not tried for tau real steps is imagined to pay
    kappa * sqrt(tau) more than it did [reward]"""
    threshold: float = 1e-4
    """theta >= 0 of prioritized sweeping: smaller changes do not enter the queue [value]"""

    def __post_init__(self) -> None:
        within("step_size", self.step_size, "(0, 1]")
        within("discount", self.discount, "[0, 1)")
        within("exploration", self.exploration, "[0, 1]")
        at_least("planning", self.planning, 0)
        for name in ("bonus", "threshold"):
            within(name, getattr(self, name), "[0, inf)")


class QTable:
    """Action values, all 0 at first, and the epsilon-greedy policy on them.

    Args:
        states, actions: S and A, each >= 1.
        config: step size, discount and exploration are read.
        seed: of the exploration and of the choice among actions of equal value.

    Raises:
        ValueError: there is no state or no action.
    """

    def __init__(
        self, states: int, actions: int, config: DynaConfig | None = None, *, seed: Seed = 0
    ) -> None:
        at_least("states", states, 1)
        at_least("actions", actions, 1)
        check_config(config)
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

    def __init__(self, states: int, actions: int) -> None:
        at_least("states", states, 1)
        at_least("actions", actions, 1)
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

    def __init__(
        self, env: gym.Env[Any, Any], config: DynaConfig | None = None, *, seed: Seed = 0
    ) -> None:
        check_config(config)
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


class Step(NamedTuple):
    """One real step."""

    state: int
    action: int
    reward: float
    next_state: int
    done: bool
    """whether the episode is over, by its end or by a time limit"""


class Learner(Protocol):
    """What `live` asks of an agent."""

    def act(self, state: int) -> int: ...

    def learn(self, state: int, action: int, reward: float, next_state: int | None) -> None: ...


def live(agent: Learner, env: gym.Env[Any, Any]) -> Iterator[Step]:
    """Act and learn for ever, episode after episode; each real step is yielded once learned from.

    Args:
        agent: learns.
        env: is stepped.

    Raises:
        ValueError: what a step says is not finite (it names the state and the action).
    """
    while True:
        state, _ = env.reset()
        done = False
        while not done:
            action = agent.act(state)
            next_state, reward, terminated, truncated, _ = env.step(action)
            check_step(f"action {action} in state {state}", next_state, reward)
            done = terminated or truncated
            agent.learn(state, action, float(reward), None if terminated else next_state)
            yield Step(state, action, float(reward), next_state, done)
            state = next_state


def episode_lengths(agent: Learner, env: gym.Env[Any, Any], episodes: int) -> list[int]:
    """Let an agent `live` for so many whole episodes, >= 1; returns the steps of each.

    Raises:
        ValueError: there is no episode, or as `live`.
    """
    at_least("episodes", episodes, 1)
    lengths = []
    life = live(agent, env)
    for _ in range(episodes):
        lengths.append(1 + next(n for n, step in enumerate(life) if step.done))
    return lengths


def value_iteration(
    next_states: ArrayLike, rewards: ArrayLike, discount: float, tolerance: float = 1e-12
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
    try:
        after, paid = np.asarray(next_states), np.asarray(rewards, dtype=np.float64)  # (S, A)
    except (TypeError, ValueError):
        raise ValueError("next_states and rewards must both be numbers (S, A)") from None
    if after.ndim != 2 or after.shape != paid.shape or after.size == 0:
        raise ValueError(
            f"next_states and rewards must both be (S, A), got {after.shape} and {paid.shape}"
        )
    if after.dtype.kind not in "iu" or after.min() < -1 or after.max() >= len(after):
        raise ValueError(f"next_states must be integers in -1..{len(after) - 1}")
    if not np.isfinite(paid).all():
        raise ValueError("rewards must be finite, got a NaN or an infinity")
    within("discount", discount, "[0, 1)")
    within("tolerance", tolerance, "(0, inf)")
    values = np.zeros_like(paid)  # (S, A)
    while True:
        ahead = np.where(after < 0, 0.0, values.max(axis=1)[after])  # (S, A)
        old, values = values, paid + discount * ahead
        if discount * np.abs(values - old).max() <= tolerance * (1 - discount):
            return values


def greedy_path(values: Any, next_states: Any, start: int) -> list[int]:
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
    if at_least("start", start, 0) >= len(values):
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


def check_config(config: object) -> None:
    """Raises ValueError: it is something else than a `DynaConfig` or None."""
    if not isinstance(config, DynaConfig | None):
        raise ValueError(f"config must be a DynaConfig or None, got {config!r}")


def table_size(env: gym.Env[Any, Any]) -> tuple[int, int]:
    """(S, A) of an environment with Discrete states and actions.

    Raises:
        ValueError: it is no environment, or a space is not Discrete or does not begin at 0.
    """
    if not isinstance(env, gym.Env):
        raise ValueError(f"env must be a Gymnasium environment, got {env!r}")
    sizes = []
    for name in ("observation_space", "action_space"):
        space = getattr(env, name)
        if not isinstance(space, gym.spaces.Discrete) or space.start != 0:
            raise ValueError(f"{name} must be Discrete(n) from 0, for a table, got {space}")
        sizes.append(int(space.n))
    return sizes[0], sizes[1]
