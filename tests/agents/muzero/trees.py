"""A search tree of one game in plain Python, as the paper's pseudocode has it, and exact models."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from wmlib.agents.muzero import Root, Step
from wmlib.envs.finite import FiniteMDPs


class Node:
    def __init__(self, prior: float) -> None:
        self.prior, self.visits, self.total = prior, 0, 0.0
        self.reward = self.discount = 0.0
        self.children: dict[int, Node] = {}
        self.state = None

    @property
    def worth(self) -> float:
        """Q of the action that leads here; 0 of one that was never taken."""
        return self.total / self.visits if self.visits else 0.0


class Bounds:
    def __init__(self, value: float) -> None:
        self.low = self.high = value

    def update(self, value: float) -> None:
        self.low, self.high = min(self.low, value), max(self.high, value)

    def scaled(self, value: float) -> float:
        return (value - self.low) / max(self.high - self.low, 1e-9)


def score(parent: Node, child: Node, bounds: Bounds, c1: float, c2: float) -> float:
    """Upper confidence bound of a child."""
    count = 1 + sum(other.visits for other in parent.children.values())
    weight = math.sqrt(count) * (c1 + math.log((count + c2 + 1) / c2))
    exploring = weight * child.prior / (1 + child.visits)
    return (bounds.scaled(child.worth) if child.visits else 0.0) + exploring


def run_mcts(
    prior: np.ndarray, value: float, state: np.ndarray, recurrent_fn: Callable, simulations: int,
    legal: np.ndarray, c1: float = 1.25, c2: float = 19652.0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Visits (A,) and values (A,) of the root's actions, of one game."""
    root, bounds = Node(1.0), Bounds(value)
    root.state = state
    root.children = {a: Node(float(prior[a])) for a in range(len(prior)) if legal[a]}
    for _ in range(simulations):
        node, path = root, []
        while node.children:
            parent = node
            action = max(
                parent.children,
                key=lambda a: (score(parent, parent.children[a], bounds, c1, c2), -a),
            )
            node = parent.children[action]
            path.append(node)
            if node.visits and node.discount == 0:
                break  # nothing follows
        step = recurrent_fn(parent.state[None], np.array([action]))
        node.state, node.reward = step.state[0], float(step.reward[0])
        node.discount = float(np.broadcast_to(step.discount, 1)[0])
        node.children = {a: Node(float(p)) for a, p in enumerate(step.prior[0])}
        earned = float(step.value[0])
        for node in reversed(path):
            earned = node.reward + node.discount * earned
            node.total += earned
            node.visits += 1
            bounds.update(node.worth)
    visits, values = np.zeros(len(prior)), np.zeros(len(prior))
    for action, child in root.children.items():
        visits[action], values[action] = child.visits, child.worth
    return visits, values


def exact(mdps: FiniteMDPs, noise: float = 1.0) -> tuple[Root, Callable]:
    """Random finite worlds as a search knows them: their steps are exact, priors say nothing, and
    values are off by normal noise of a deviation of `noise`."""
    truth = mdps.values().max(2)  # (W, S)
    guesses = truth + noise * np.random.default_rng(1).normal(size=truth.shape)  # (W, S)

    def uniform(count: int) -> np.ndarray:
        return np.full((count, mdps.actions), 1 / mdps.actions)

    def recurrent_fn(states: np.ndarray, actions: np.ndarray) -> Step:
        rewards, goes_on, after = mdps.step(states, actions)
        discounts, values = mdps.discount * goes_on, guesses[tuple(after.T)]
        return Step(rewards, discounts, uniform(len(after)), values, after)

    start = mdps.start()
    return Root(uniform(len(start)), guesses[:, 0], start), recurrent_fn
