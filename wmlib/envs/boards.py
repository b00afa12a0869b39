"""Board games of two players, many at once: tic-tac-toe and Connect Four.

A position is seen by who is to move: 1 is a stone of theirs, -1 one of the opponent, 0 nothing. All
functions take N positions and return N of whatever they return; none of them keeps a state.

>>> from wmlib.envs.boards import TicTacToe, minimax
>>> game = TicTacToe()
>>> cells, rewards, over = game.step(game.start(2), np.array([4, 0]))
>>> solution = minimax(game)
>>> len(solution.cells), int(solution.values[0])  # every position; with best play it is a draw
(4520, 0)

Letters: N positions, C cells, A actions, L lines that win, P all positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np


class After(NamedTuple):
    """What a move leads to."""

    cells: np.ndarray
    """(N, C) as the other player sees them, who is to move now"""
    rewards: np.ndarray
    """(N,) 1 for who has just made a line, else 0"""
    over: np.ndarray
    """(N,) whether the game has ended: a line, or no cell is empty"""


class Game(Protocol):
    """A game of two players who move in turns."""

    name: str
    shape: tuple[int, ...]
    """of an observation"""
    actions: int
    """A"""
    players: int
    limit: int | None
    """moves after which a game is cut off"""

    def start(self, count: int, rng: np.random.Generator | None = None) -> np.ndarray:
        """So many empty boards (N, C); nothing of them is random."""
        ...

    def legal(self, cells: np.ndarray) -> np.ndarray:
        """(N, A) which moves may be made at positions (N, C)."""
        ...

    def step(self, cells: np.ndarray, actions: np.ndarray) -> After:
        """Make a move (N,) at each of the positions (N, C); ValueError if one is not legal."""
        ...

    def observe(self, cells: np.ndarray) -> np.ndarray:
        """(N, ...) float32, all that a player sees of positions (N, C)."""
        ...


class TicTacToe:
    """Three in a row on 3 x 3 cells; action a is the cell a, row by row."""

    name, rows, columns, length = "tic-tac-toe", 3, 3, 3
    players = 2
    limit: int | None = None

    def __init__(self) -> None:
        self.cells = self.rows * self.columns
        self.actions = self.cells
        self.shape: tuple[int, ...] = (2, self.rows, self.columns)
        self.lines = lines(self.rows, self.columns, self.length)  # (L, length)

    def start(self, count: int, rng: np.random.Generator | None = None) -> np.ndarray:
        return np.zeros((count, self.cells), np.int8)

    def legal(self, cells: np.ndarray) -> np.ndarray:
        free: np.ndarray = cells == 0
        return free

    def landing(self, cells: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """(N,) the cell in which the stone of a legal move ends."""
        return actions

    def step(self, cells: np.ndarray, actions: np.ndarray) -> After:
        cells, games = np.asarray(cells), np.arange(len(cells))
        allowed = self.legal(cells)[games, actions]  # (N,)
        if not allowed.all():
            wrong = int(allowed.argmin())
            raise ValueError(f"move {int(actions[wrong])} is not legal at {cells[wrong].tolist()}")
        after = cells.copy()
        after[games, self.landing(cells, actions)] = 1
        won = (after[:, self.lines] == 1).all(-1).any(-1)  # (N,) of (N, L, length)
        return After(-after, won.astype(np.float32), won | (after != 0).all(1))

    def observe(self, cells: np.ndarray) -> np.ndarray:
        planes = np.stack([cells == 1, cells == -1], 1)  # (N, 2, C)
        return planes.reshape(-1, *self.shape).astype(np.float32)  # (N, 2, rows, columns)


class ConnectFour(TicTacToe):
    """Four in a row on 6 x 7 cells, the top row first; action a drops a stone into column a."""

    name, rows, columns, length = "connect-four", 6, 7, 4

    def __init__(self) -> None:
        super().__init__()
        self.actions = self.columns

    def legal(self, cells: np.ndarray) -> np.ndarray:
        free: np.ndarray = cells[:, : self.columns] == 0
        return free

    def landing(self, cells: np.ndarray, actions: np.ndarray) -> np.ndarray:
        boards = cells.reshape(-1, self.rows, self.columns)
        free = (boards[np.arange(len(cells)), :, actions] == 0).sum(1)  # (N,) from the top
        cell: np.ndarray = (free - 1) * self.columns + actions
        return cell


BOARDS = {kind.name: kind for kind in (TicTacToe, ConnectFour)}


def board(name: str) -> TicTacToe:
    """The game of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in BOARDS:
        raise ValueError(f"there is no board game {name!r}; there are {', '.join(BOARDS)}")
    return BOARDS[name]()


def lines(rows: int, columns: int, length: int) -> np.ndarray:
    """(L, length) the cells of every line of that length: across, down and both diagonals."""
    found = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        for row in range(rows - (length - 1) * down):
            for column in range(columns):
                if 0 <= column + (length - 1) * right < columns:
                    found.append(
                        [(row + i * down) * columns + column + i * right for i in range(length)]
                    )
    return np.array(found)


@dataclass(frozen=True)
class Solution:
    """The value of every position from which a game goes on."""

    cells: np.ndarray
    """(P, C), in the order of how many stones lie"""
    values: np.ndarray
    """(P,) of who is to move, with best play on both sides: 1, 0 or -1"""
    actions: np.ndarray
    """(P, A) value of each move; -inf of what is not legal"""

    @property
    def best(self) -> np.ndarray:
        """(P, A) whether a move is one of the best."""
        best: np.ndarray = self.actions == self.values[:, None]
        return best

    def find(self, cells: np.ndarray) -> np.ndarray:
        """(N,) where positions (N, C) stand.

        Raises:
            ValueError: one of them cannot be reached, or the game is over there.
        """
        codes, wanted = code(self.cells), code(cells)  # (P,), (N,)
        order = np.argsort(codes)
        nearest = np.searchsorted(codes[order], wanted).clip(max=len(order) - 1)  # (N,)
        place: np.ndarray = order[nearest]  # (N,)
        if (codes[place] != wanted).any():
            wrong = int((codes[place] != wanted).argmax())
            raise ValueError(f"no game goes on from {cells[wrong].tolist()}")
        return place


def code(cells: np.ndarray) -> np.ndarray:
    """(N,) a number for each of the positions (N, C), of which no two have the same."""
    codes: np.ndarray = (cells + 1).astype(np.int64) @ (3 ** np.arange(cells.shape[1]))  # (N,)
    return codes


def minimax(game: TicTacToe) -> Solution:
    """The exact value of every position that can be reached, from the last ones back.

    Raises:
        ValueError: the board has more than 12 cells: too many positions to list.
    """
    if game.cells > 12:
        raise ValueError(f"minimax lists every position, which {game.name} has too many of")
    layers = [game.start(1)]
    while len(layers[-1]):
        _, (after, _, over) = every_move(game, layers[-1])
        _, first = np.unique(code(after[~over]), return_index=True)
        layers.append(after[~over][first])
    later, solved = np.empty(0), []  # values (P,) of the layer below
    known = layers[-1]
    for cells in reversed(layers[:-1]):
        (where, moves), (after, rewards, over) = every_move(game, cells)
        ahead = np.zeros(len(after))  # (M,) of the moves
        order = np.argsort(code(known))
        place = np.searchsorted(code(known)[order], code(after[~over]))
        ahead[~over] = later[order[place]]
        values = np.full((len(cells), game.actions), -np.inf)  # (P, A)
        values[where, moves] = rewards - ahead  # what the other player gets is lost
        known, later = cells, values.max(1)
        solved.append((cells, later, values))
    return Solution(*(np.concatenate(parts) for parts in zip(*reversed(solved), strict=True)))


def every_move(game: Game, cells: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], After]:
    """All M legal moves at positions (N, C): of which position (M,), which (M,), and what then."""
    where, moves = np.nonzero(game.legal(cells))  # (M,) each
    return (where, moves), game.step(cells[where], moves)


class Player(Protocol):
    """What moves."""

    def move(self, cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Moves (N,) at positions (N, C)."""
        ...


class RandomPlayer:
    """Any legal move, each as likely."""

    def __init__(self, game: Game) -> None:
        self.game = game

    def move(self, cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return any_of(self.game.legal(cells), rng)


class PerfectPlayer:
    """One of the best moves, each as likely."""

    def __init__(self, game: TicTacToe) -> None:
        self.solution = minimax(game)

    def move(self, cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return any_of(self.solution.best[self.solution.find(cells)], rng)


def any_of(allowed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) one of the true entries in each row of (N, A), each as likely."""
    drawn: np.ndarray = np.where(allowed, rng.random(allowed.shape), -1).argmax(1)
    return drawn
