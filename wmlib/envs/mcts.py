"""Plain Monte-Carlo tree search: it knows the rules of a game, and nothing of how to play it.

From each new node a game is played to its end at random (a roll-out), and how it ends is all that
is learned (UCT, Kocsis and Szepesvári 2006). Many games are searched at once.

Letters: N games, A actions, M = (R + 1) * N nodes for R roll-outs, E = M * A edges, W games whose
walk goes on.
"""

from __future__ import annotations

import numpy as np

from wmlib.envs.bitboards import Bitboards
from wmlib.envs.boards import TicTacToe, any_of
from wmlib.typed import PositiveFloat, PositiveInt, typed

MOST_NODES = 2_000_000
"""of all the trees that grow at a time, more or less"""


class MCTSPlayer:
    """Makes the move that most of its roll-outs began with; of several, each as likely.

    Args:
        game: whose rules it searches with.
        rollouts: of each move, in a tree that begins anew.
        c: how much an edge that was seldom taken counts, on a scale where a game lost is -1 and one
            won is 1.
    """

    @typed
    def __init__(self, game: TicTacToe, rollouts: PositiveInt, c: PositiveFloat = 2**0.5) -> None:
        self.rules, self.rollouts, self.c = Bitboards(game), rollouts, c

    def move(self, cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Moves (N,) at positions (N, C)."""
        parts = -(-len(cells) * (self.rollouts + 1) // MOST_NODES)
        visits = np.concatenate([self.visits(some, rng) for some in np.array_split(cells, parts)])
        return any_of(visits == visits.max(1, keepdims=True), rng)

    def visits(self, cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(N, A) how many roll-outs from positions (N, C) began with each action.

        From a node with n visits goes the action with the largest

            mean of what it earned + c * sqrt(log(n) / its own visits),

        and before any other one that was never taken, each as likely.
        """
        rules, N, A = self.rules, len(cells), len(self.rules.lowest)
        M = (self.rollouts + 1) * N
        own, other = np.zeros((2, M), np.uint64)
        own[:N], other[:N] = rules.pack(cells)
        child = np.full(M * A, -1, np.int32)  # (E,) the node behind an edge; -1: none
        visits, means, rare = np.zeros((3, M * A), np.float32)  # (E,) rare: 1 / sqrt(visits)
        n, q, r = (edges.reshape(M, A) for edges in (visits, means, rare))  # the same numbers
        q[:N] = self._fresh(own[:N] | other[:N], rng)
        counts = np.zeros(M, np.int32)
        logs = np.log(np.arange(1, self.rollouts + 2))
        curious = (self.c * np.sqrt(logs)).astype(np.float32)
        games, last = np.arange(N), np.empty(N, int)  # last: the edge that a walk ends with
        for new in range(N, M, N):
            walking, node, path = games, games, list[tuple[np.ndarray, np.ndarray]]()
            while len(walking):  # (W,)
                scores = q[node] + curious[counts[node], None] * r[node]  # (W, A)
                edge = node * A + scores.argmax(1)  # (W,)
                path.append((walking, edge))
                last[walking] = edge
                follows = child[edge]  # (W,)
                going = follows >= 0
                walking, node = walking[going], follows[going]
            parent, action = np.divmod(last, A)
            before = own[parent]
            after = before | rules.stones(before | other[parent], action)  # (N,)
            here = slice(new, new + N)
            own[here], other[here] = other[parent], after
            won, taken = rules.won(after), own[here] | after
            child[last] = np.where(won | (taken == rules.full), -1, new + games)
            q[here] = self._fresh(taken, rng)
            value = np.where(won, -1, rules.random_ends(own[here], after, rng))  # (N,) to move next
            earned = list[np.ndarray]()
            for walking, _ in reversed(path):
                value[walking] = -value[walking]
                earned.append(value[walking])
            walked = np.concatenate([edge for _, edge in reversed(path)])
            ends, seen = np.concatenate(earned), visits[walked] + 1
            counts[walked // A] += 1
            visits[walked], rare[walked] = seen, 1 / np.sqrt(seen)
            mean = np.where(seen > 1, means[walked], 0)
            means[walked] = mean + (ends - mean) / seen
        return n[:N].copy()

    def _fresh(self, taken: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(N, A) of edges that were never taken: above all means, at random; -inf: not legal."""
        legal = self.rules.stones(taken[:, None]) != 0
        return np.where(legal, 1e3 + 1e3 * rng.random(legal.shape, np.float32), -np.inf)
