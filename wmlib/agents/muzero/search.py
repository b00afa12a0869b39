"""MuZero's tree search: it knows a model and nothing else, no rules and no world.

Many games are searched at once. In each, a simulation walks from the root by pUCT to an edge that
nobody has taken yet (or behind which nothing follows), asks the model once what lies behind it, and
carries what it hears back up.

Letters: B games, N simulations, A actions, I = (N + 1) * B nodes, E = I * A edges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from wmlib.typed import PositiveFloat, PositiveInt, typed


class Root(NamedTuple):
    """Where the search begins, as representation and prediction say."""

    prior: np.ndarray
    """(B, A) how likely a good player takes each action; rows sum to 1"""
    value: np.ndarray
    """(B,) for who is to move"""
    state: np.ndarray
    """(B, ...) hidden states"""


class Step(NamedTuple):
    """What the model says of an action, as dynamics and prediction say."""

    reward: np.ndarray
    """(B,) for who acts"""
    discount: np.ndarray | float
    """(B,) what a unit of the next state's value is worth to who acts: gamma; -gamma where the
    opponent is to move there; 0 where nothing follows"""
    prior: np.ndarray
    """(B, A) in the next state"""
    value: np.ndarray
    """(B,) of the next state, for who is to move there"""
    state: np.ndarray
    """(B, ...) the next state"""


class Searched(NamedTuple):
    """What a search found at its roots."""

    visits: np.ndarray
    """(B, A) how many simulations began with each action; rows sum to N"""
    actions: np.ndarray
    """(B, A) mean of what those simulations earned, 0 where there were none"""

    @property
    def value(self) -> np.ndarray:
        """(B,) mean of what all simulations earned."""
        total: np.ndarray = (self.visits * self.actions).sum(1) / self.visits.sum(1)
        return total

    @property
    def greedy(self) -> np.ndarray:
        """(B,) what the action earned that most simulations began with: what to expect of a player
        who does not explore."""
        best: np.ndarray = self.actions[np.arange(len(self.visits)), self.visits.argmax(1)]
        return best

    @property
    def policy(self) -> np.ndarray:
        """(B, A) share of the simulations that began with each action."""
        shares: np.ndarray = self.visits / self.visits.sum(1, keepdims=True)
        return shares


RecurrentFn = Callable[[np.ndarray, np.ndarray], Step]
"""states (B, ...) and actions (B,) to what follows"""


@typed
def search(
    root: Root,
    recurrent_fn: RecurrentFn,
    simulations: PositiveInt,
    legal: np.ndarray | None = None,
    c1: PositiveFloat = 1.25,
    c2: PositiveFloat = 19652.0,
) -> Searched:
    """Grow a tree of `simulations` nodes under each root (Schrittwieser et al. 2020, appendix B).

    From a node with N visits (its own expansion is the first) goes the action with the largest

        Q' + P * sqrt(N) / (1 + n) * (c1 + log((N + c2 + 1) / c2)),

    with n visits of the action, its prior P, and Q = mean of reward + discount * what follows. Q'
    is Q scaled so that the least and the largest value met in this tree so far (the root's own is
    the first, and then every Q) are 0 and 1: the paper's equation 5. An action that was never taken
    has Q' = 0. Of equal actions the first goes. (DeepMind's published pseudocode scales what
    follows, before the reward is added, and on boards between fixed bounds, -1 and 1, where ours
    opens at the root's value in every world; mctx scales among siblings.)

    Args:
        root: of each game.
        recurrent_fn: the model: states and actions to what follows.
        simulations: N, in each game.
        legal: (B, A) what may be done at the root; None: all. Below it, the model must know.
        c1, c2: how much a prior counts, as in the paper.

    Raises:
        ValueError: `simulations` is below 1, or nothing is legal in one of the games.
    """
    B, A = root.prior.shape
    I = (simulations + 1) * B  # noqa: E741
    allowed = np.ones((B, A), bool) if legal is None else legal
    check_legal(allowed)
    child = np.full(I * A, -1)  # (E,) the node behind an edge; -1: none
    visits, rewards, discounts = np.zeros((3, I * A))  # (E,) each
    values = np.full(I * A, -np.inf)  # (E,) -inf: never taken
    n, q = visits.reshape(I, A), values.reshape(I, A)  # the same numbers, node by node
    priors, counts = np.zeros((I, A)), np.ones(I, int)
    states = np.empty((I, *root.state.shape[1:]), root.state.dtype)
    priors[:B], states[:B] = root.prior, root.state
    low, high = root.value.astype(float), root.value.astype(float)  # (B,) each
    N = np.arange(simulations + 2)
    weights = np.sqrt(N) * (c1 + np.log((N + c2 + 1) / c2))  # by a node's visits
    games, last = np.arange(B), np.empty(B, int)  # last: the edge that a walk ends with
    for new in range(B, I, B):
        spread = np.maximum(high - low, 1e-9)  # (B,)
        walking, node, path = games, games, list[tuple[np.ndarray, np.ndarray]]()
        while len(walking):  # (W,) of the games
            scaled = (q[node] - low[walking][:, None]) / spread[walking][:, None]  # (W, A)
            curious = weights[counts[node]][:, None] * priors[node] / (1 + n[node])  # (W, A)
            scores = np.maximum(scaled, 0) + curious
            if not path:
                scores[~allowed] = -np.inf
            edge = node * A + scores.argmax(1)  # (W,)
            path.append((walking, edge))
            last[walking] = edge
            follows = child[edge]  # (W,)
            walking, node = walking[follows >= 0], follows[follows >= 0]
        step = recurrent_fn(states[last // A], last % A)
        rewards[last], discounts[last] = step.reward, step.discount
        child[last] = np.where(discounts[last] == 0, -1, new + games)
        priors[new : new + B], states[new : new + B] = step.prior, step.state
        value, earned = step.value.astype(float), list[np.ndarray]()  # (B,) for who is to move
        for walking, edge in reversed(path):
            value[walking] = rewards[edge] + discounts[edge] * value[walking]
            earned.insert(0, value[walking])
        owners, walked = (np.concatenate(parts) for parts in zip(*path, strict=True))
        counts[walked // A] += 1
        visits[walked] += 1
        mean = np.where(visits[walked] > 1, values[walked], 0)
        mean += (np.concatenate(earned) - mean) / visits[walked]
        values[walked] = mean
        np.minimum.at(low, owners, mean)
        np.maximum.at(high, owners, mean)
    return Searched(n[:B].copy(), np.where(n[:B] > 0, q[:B], 0))


def check_legal(legal: np.ndarray) -> None:
    """Refuse roots (B, A) at which nothing may be done."""
    if not legal.any(1).all():
        raise ValueError(f"nothing is legal at root {int(legal.any(1).argmin())}")


def masked(prior: np.ndarray, legal: np.ndarray) -> np.ndarray:
    """Priors (B, A) of legal actions alone, which sum to 1 again."""
    kept = np.where(legal, prior.astype(float) + 1e-9, 0)  # (B, A) even where none is likely
    shares: np.ndarray = kept / kept.sum(1, keepdims=True)
    return shares


def with_noise(
    prior: np.ndarray, legal: np.ndarray, share: float, alpha: float, rng: np.random.Generator
) -> np.ndarray:
    """Priors (B, A) mixed with draws from a Dirichlet distribution over legal actions (B, A).

    Args:
        prior: (B, A), 0 where it is not legal.
        legal: (B, A).
        share: of the noise, in [0, 1].
        alpha: of the distribution: the smaller, the fewer actions share the noise.
        rng: that it is drawn with.
    """
    drawn = (rng.standard_gamma(alpha, prior.shape) + 1e-30) * legal  # (B, A)
    mixed: np.ndarray = (1 - share) * prior + share * drawn / drawn.sum(1, keepdims=True)
    return mixed
