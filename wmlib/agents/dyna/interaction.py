"""A life: one agent in one environment, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import gymnasium as gym

from wmlib.scratch.checks import check_step
from wmlib.typed import PositiveInt, typed


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


@typed
def episode_lengths(agent: Any, env: gym.Env[Any, Any], episodes: PositiveInt) -> list[int]:
    """Let an agent `live` for so many whole episodes, >= 1; returns the steps of each.

    Raises:
        ValueError: there is no episode, or as `live`.
    """
    lengths = []
    life = live(agent, env)
    for _ in range(episodes):
        lengths.append(1 + next(n for n, step in enumerate(life) if step.done))
    return lengths
