"""Self-play: many games side by side, so that one call of the network serves all of them.

Letters: N games, A actions, M moves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from wmlib.agents.muzero.buffer import Played
from wmlib.agents.muzero.search import Searched


class World(Protocol):
    """Games that are played: any number of them at once, of one player or of two in turns.

    A state is an array whose first axis counts the games.
    """

    name: str
    shape: tuple[int, ...]
    """of an observation"""
    actions: int
    """A"""
    players: int
    """1, or 2 who move in turns and of whom one wins what the other loses"""
    limit: int | None
    """moves after which a game is cut off that could go on"""

    def start(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """States (N, ...) of so many new games."""
        ...

    def observe(self, state: np.ndarray) -> np.ndarray:
        """(N, ...) float32, what who is to move sees."""
        ...

    def legal(self, state: np.ndarray) -> np.ndarray:
        """(N, A) bool, what may be done."""
        ...

    def step(self, state: np.ndarray, actions: np.ndarray) -> Any:
        """What actions (N,) lead to: states, rewards (N,) of who acted, and whether it is over."""
        ...


def play(
    world: World,
    think: Callable[[np.ndarray, np.ndarray], Searched],
    state: np.ndarray,
    temperature: float,
    rng: np.random.Generator,
    most: float = np.inf,
) -> Played:
    """Play games from their states (N, ...) to their ends, or until they are cut off.

    Args:
        world: in which.
        think: observations (N, ...) and what is legal (N, A) to what a search says.
        state: (N, ...) where the games stand.
        temperature: a move is drawn by its visits to the power of 1 / temperature.
        rng: that moves are drawn with.
        most: moves of all games together; who would need more is cut off. At least one is made in
            each.
    """
    games, owners = np.arange(len(state)), []
    rows: list[tuple[np.ndarray, ...]] = []
    made, limit = 0, np.inf if world.limit is None else world.limit
    while len(games):
        seen, legal = world.observe(state), world.legal(state)
        searched = think(seen, legal)
        moves = drawn(searched.visits, temperature, rng)  # (N,)
        state, rewards, over = world.step(state, moves)
        made += len(games)
        stops = len(rows) + 1 >= limit or made + np.count_nonzero(~over) > most
        cut = ~over & stops  # (N,)
        rows.append((seen, legal, moves, rewards, searched.policy, searched.greedy, cut))
        owners.append(games)
        going = ~over & ~cut  # (N,)
        state, games = state[going], games[going]
    return in_order(rows, owners)


def in_order(rows: list[tuple[np.ndarray, ...]], owners: list[np.ndarray]) -> Played:
    """Steps that were taken side by side, game after game."""
    owner = np.concatenate(owners)  # (M,)
    order = np.argsort(owner, kind="stable")  # (M,) the steps of a game stay in their order
    seen, legal, moves, rewards, policies, values, cut = (
        np.concatenate(parts)[order] for parts in zip(*rows, strict=True)
    )
    owner = owner[order]
    after = np.searchsorted(owner, owner, "right")  # (M,) where the next game begins
    left = after - np.arange(len(owner))  # (M,)
    return Played(
        seen, legal, moves.astype(np.int64), rewards.astype(np.float32),
        policies.astype(np.float32), values.astype(np.float32), left, cut[after - 1],
    )  # fmt: skip


def drawn(visits: np.ndarray, temperature: float, rng: np.random.Generator) -> np.ndarray:
    """Moves (N,) drawn by visits (N, A) to the power of 1 / temperature."""
    weights = (visits / visits.max(1, keepdims=True)) ** (1 / temperature)  # (N, A)
    cumulated = weights.cumsum(1)  # (N, A)
    below = cumulated <= rng.random(len(visits))[:, None] * cumulated[:, -1:]
    moves: np.ndarray = below.sum(1)
    return moves


def random_states(
    world: World, moves: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """States after so many random moves (N,), and how many moves that took.

    A game that ends on the way begins anew, with one random move less to make.
    """
    moves, state, taken = moves.copy(), world.start(len(moves), rng), 0
    left = moves.copy()  # (N,)
    while (going := left > 0).any():
        legal = world.legal(state[going])
        drawn_moves = np.where(legal, rng.random(legal.shape), -1).argmax(1)
        after, _, over = world.step(state[going], drawn_moves)
        taken += len(over)
        which = np.flatnonzero(going)
        state[which], left[which] = after, left[which] - 1
        ended = which[over]
        moves[ended] -= 1
        state[ended], left[ended] = world.start(len(ended), rng), moves[ended]
    return state, taken
