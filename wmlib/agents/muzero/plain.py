"""The same search for one game in plain Python, as the paper's pseudocode has it: slow, and plain.

Its visits are those of `wmlib.agents.muzero.search`, which a test holds.

Letter: A actions.
"""

from __future__ import annotations

import math

import numpy as np

from wmlib.agents.muzero.search import RecurrentFn


class Node:
    """A state, and the edge that leads to it."""

    def __init__(self, prior: float) -> None:
        self.prior, self.visits, self.total = prior, 0, 0.0
        self.reward = self.discount = 0.0
        self.children: dict[int, Node] = {}
        self.state: np.ndarray = np.empty(0)

    @property
    def worth(self) -> float:
        """Q of the action that leads here; 0 of one that was never taken."""
        return self.total / self.visits if self.visits else 0.0


class Bounds:
    """The least and the largest value met in a tree."""

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
    prior: np.ndarray, value: float, state: np.ndarray, recurrent_fn: RecurrentFn, simulations: int,
    legal: np.ndarray, c1: float = 1.25, c2: float = 19652.0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Visits (A,) and values (A,) of the root's actions; arguments as `search`, of one game."""
    root, bounds = Node(1.0), Bounds(value)
    root.state = state
    root.children = {a: Node(float(prior[a])) for a in range(len(prior)) if legal[a]}
    for _ in range(simulations):
        node, path = root, []
        while node.children:
            parent = node
            scores = {a: score(node, child, bounds, c1, c2) for a, child in node.children.items()}
            action = max(scores, key=scores.__getitem__)  # of equal ones the first
            node = parent.children[action]
            path.append(node)
            if node.visits and node.discount == 0:
                break  # nothing follows
        step = recurrent_fn(parent.state[None], np.array([action]))
        node.state, node.reward = step.state[0], float(step.reward[0])
        node.discount = float(np.broadcast_to(step.discount, (1,))[0])
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
