"""Play tic-tac-toe against MuZero: networks and search run in the page, and the tree is drawn.

Each node is drawn as a linear probe reads its hidden state. The rules in the page are for the
reader's board, and to mark nodes that no game reaches; the search never asks them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from wmlib.agents.muzero import MuZero
from wmlib.demos.page.settings import settings, whole
from wmlib.demos.page.still import pictures, still
from wmlib.demos.tic_tac_toe.weights import check_moves, pack_player
from wmlib.typed import check_type, typed

Simulations = whole(0, 200)


class PlayTicTacToe(anywidget.AnyWidget):
    """A game against an agent that was never told the rules.

    What happened can be read from Python: `moves` of the game so far, cells 0 to 8 row by row,
    which may be set as well; `simulations` of a search, 0 to 200, likewise; and `visits`, how many
    simulations of the last search began with each cell.

    Args:
        agent: that plays tic-tac-toe.
        simulations: of its search; 0: it plays by the network alone.
        moves: with which the game begins.

    Raises:
        TypeError: `agent` is no MuZero, or a number is none.
        ValueError: it plays something else, a weight is NaN or infinite, a number is out of range,
            or a move is not legal.
    """

    _esm = Path(__file__).with_name("bundle.js")
    _css = Path(__file__).with_name("bundle.css")

    weights = traitlets.Bytes().tag(sync=True)
    still = traitlets.Unicode().tag(sync=True)
    simulations = traitlets.Int(50).tag(sync=True)
    moves = traitlets.List(traitlets.Int()).tag(sync=True)
    visits = traitlets.List(traitlets.Int()).tag(sync=True)

    @typed
    def __init__(self, agent: MuZero, *, simulations: int = 50, moves: Sequence[int] = ()) -> None:
        self._check("simulations", simulations)
        self._check("moves", list(moves))
        super().__init__(
            weights=pack_player(agent),
            still=still(
                pictures(_empty()[None], "An empty board of three by three cells", 160),
                "Play tic-tac-toe against MuZero, whose tree of thoughts grows while it thinks.",
            ),
            simulations=simulations,
            moves=list(moves),
        )

    def _check(self, name: str, value: Any) -> None:
        if name == "moves":
            check_moves(value)
        else:
            check_type(name, value, Simulations)

    _settings = settings("simulations", "moves")


def _empty() -> np.ndarray:
    """A picture of an empty board: (61, 61, 3) uint8."""
    picture = np.full((61, 61, 3), 255, np.uint8)
    picture[[20, 40]] = picture[:, [20, 40]] = 90
    return picture
