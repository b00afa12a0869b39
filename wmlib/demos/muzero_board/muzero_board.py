"""Play a board game against MuZero: networks and search run in the page, and the tree is drawn.

Each node of tic-tac-toe is drawn as a linear probe reads its hidden state. The rules in the page
are for the reader's board, to draw nodes of Connect Four, and to mark nodes that no game reaches;
below its root the search never asks them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import numpy as np
import traitlets

from wmlib.agents.muzero import MuZero
from wmlib.demos.muzero_board.weights import check_moves, pack_player
from wmlib.demos.page.settings import settings, whole
from wmlib.demos.page.still import pictures, still
from wmlib.envs.boards import ConnectFour, TicTacToe
from wmlib.typed import check_type, typed

Simulations = whole(0, 200)


class PlayBoard(anywidget.AnyWidget):
    """A game against an agent that was never told the rules.

    What happened can be read from Python: `moves` of the game so far, which may be set as well;
    `simulations` of a search, 0 to 200, likewise; and `visits`, how many simulations of the last
    search began with each move.

    Args:
        agent: that plays this game.
        simulations: of its search; 0: it plays by the network alone.
        moves: with which the game begins.

    Raises:
        TypeError: `agent` is no MuZero, or a number is none.
        ValueError: it plays something else, a weight is NaN or infinite, a number is out of range,
            or a move is not legal.
    """

    _esm = Path(__file__).with_name("bundle.js")
    _css = Path(__file__).with_name("bundle.css")

    GAME: ClassVar[TicTacToe]

    title = traitlets.Unicode().tag(sync=True)  # of the game, in a sentence
    weights = traitlets.Bytes().tag(sync=True)
    still = traitlets.Unicode().tag(sync=True)
    simulations = traitlets.Int(50).tag(sync=True)
    moves = traitlets.List(traitlets.Int()).tag(sync=True)
    visits = traitlets.List(traitlets.Int()).tag(sync=True)

    @typed
    def __init__(self, agent: MuZero, *, simulations: int = 50, moves: Sequence[int] = ()) -> None:
        self._check("simulations", simulations)
        self._check("moves", list(moves))
        game = self.GAME
        super().__init__(
            weights=pack_player(agent, game),
            still=still(
                pictures(
                    _empty(game)[None],
                    f"An empty board of {game.rows} rows and {game.columns} columns",
                    160 * game.columns // 3,
                ),
                f"Play {self.title} against MuZero, whose tree of thoughts grows while it thinks.",
            ),
            simulations=simulations,
            moves=list(moves),
        )

    def _check(self, name: str, value: Any) -> None:
        if name == "moves":
            check_moves(self.GAME, value)
        else:
            check_type(name, value, Simulations)

    _settings = settings("simulations", "moves")


class PlayTicTacToe(PlayBoard):
    """Tic-tac-toe; a move is a cell, 0 to 8, row by row."""

    GAME = TicTacToe()
    title = traitlets.Unicode("tic-tac-toe").tag(sync=True)


class PlayConnectFour(PlayBoard):
    """Connect Four; a move is a column, 0 to 6."""

    GAME = ConnectFour()
    title = traitlets.Unicode("Connect Four").tag(sync=True)


def _empty(game: TicTacToe) -> np.ndarray:
    """A picture of an empty board: (20 rows + 1, 20 columns + 1, 3) uint8."""
    picture = np.full((20 * game.rows + 1, 20 * game.columns + 1, 3), 255, np.uint8)
    picture[20:-1:20] = picture[:, 20:-1:20] = 90
    return picture
