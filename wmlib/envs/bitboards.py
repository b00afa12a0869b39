"""Board games on whole numbers, a bit for each cell: the rules of `boards`, and games' random ends.

A column has one bit more than cells, which stays 0, so that no line goes on in the next column. An
action drops a stone into its pile: a column of Connect Four, a single cell of tic-tac-toe.

Letters: N positions, A actions, H cells of a pile, C cells, T moves.
"""

from __future__ import annotations

import numpy as np

from wmlib.envs.boards import TicTacToe

LAST = np.uint32(2**32 - 1)
ONE = np.uint64(1)


class Bitboards:
    """A game's rules. A position is two numbers: the stones of who is to move, and the other's.

    Args:
        game: whose rules they are; of 63 bits at most, a column's extra one counted.
    """

    def __init__(self, game: TicTacToe) -> None:
        stride = game.rows + 1
        row, column = np.divmod(np.arange(game.cells), game.columns)
        places = column * stride + game.rows - 1 - row  # (C,) the number of each cell's bit
        self.bits = ONE << places.astype(np.uint64)  # (C,)
        self.full = np.bitwise_or.reduce(self.bits)
        piles = np.sort(places).reshape(game.actions, -1)  # (A, H) from below
        if game.actions == game.cells:
            piles = places[:, None]
        self.piles = piles.astype(np.uint32)
        self.lowest = ONE << piles[:, 0].astype(np.uint64)  # (A,)
        self.pile = np.bitwise_or.reduce(ONE << piles.astype(np.uint64), axis=1)  # (A,)
        self.length = game.length
        self.steps = np.array([1, stride, stride - 1, stride + 1], np.uint64)
        """from a cell to the next of a line: down, across, and both diagonals"""

    def pack(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions (N, C) of a `Game` as stones (N,) of who is to move, and of the other."""
        own, other = ((cells == who) @ self.bits for who in (1, -1))
        return own, other

    def stones(self, taken: np.ndarray, actions: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The new stone of actions where stones lie; 0: the pile is full, it is not legal.

        Adding a bit below a pile carries to its first empty cell.
        """
        stones: np.ndarray = (taken + self.lowest[actions]) & self.pile[actions]
        return stones

    def won(self, stones: np.ndarray) -> np.ndarray:
        """(...) whether there is a line among the stones (...) of one player."""
        found = np.zeros(stones.shape, np.uint64)
        for step in self.steps:
            line = stones
            for k in range(1, self.length):
                line = line & (stones >> (step * np.uint64(k)))
            found |= line
        won: np.ndarray = found != 0
        return won

    def random_ends(
        self, own: np.ndarray, other: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """(N,) how games end, for who is to move now, if from here on both move at random.

        Every move is as likely of all that are legal. To draw that for whole games at once, each
        pile receives stones at random moments of its own, at one rate (a Poisson process): whatever
        has come, the next stone is as likely in each pile that is not full. The order of those
        moments is the game; what would come after a line is not looked at.
        """
        taken, N = own | other, len(own)
        free = (taken[:, None, None] >> self.piles) & ONE == 0  # (N, A, H)
        waits = rng.standard_exponential(free.shape, np.float32) * free
        moments = waits.cumsum(-1, dtype=np.float32).view(np.uint32)  # floats above 0 sort as such
        keys = np.where(free, moments & ~np.uint32(63) | self.piles, LAST).reshape(N, -1)
        keys.sort(1)  # (N, C)
        keys = keys[:, : int(free.sum((1, 2)).max(initial=0))]  # (N, T)
        stones = (keys != LAST) * (ONE << (keys & np.uint32(63)).astype(np.uint64))
        first = [np.full(N, keys.shape[1] + 2), np.full(N, keys.shape[1] + 2)]
        for who, before in enumerate((own, other)):
            mine = stones[:, who::2].copy()  # (N, T / 2)
            np.bitwise_or.accumulate(mine, axis=1, out=mine)
            won = self.won(mine | before[:, None])
            if won.shape[1]:
                first[who] = np.where(won.any(1), 2 * won.argmax(1) + who, first[who])
        ends: np.ndarray = np.sign(first[1] - first[0])
        return ends
