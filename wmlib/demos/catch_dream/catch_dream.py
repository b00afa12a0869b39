"""Play Catch in a dream: the reader at the paddle of a game that DreamerV3 has learned.

Nothing of the game is in the page. What follows a move, what it pays and when it is over is what
the agent's world model believes, from the first picture on. The agent can play, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import anywidget
import numpy as np
import torch
import traitlets
from pydantic import Field

from wmlib.agents.dreamerv3 import DreamerV3
from wmlib.demos.catch_dream.weights import pack_catcher, starts
from wmlib.demos.page.settings import settings
from wmlib.demos.page.still import pictures, still
from wmlib.envs.catch import COLUMNS, SIDE
from wmlib.typed import check_type, typed

Column = Annotated[int, Field(ge=0, le=COLUMNS - 1)]
PageSeed = Annotated[int, Field(ge=0, lt=2**32)]


class CatchDream(anywidget.AnyWidget):
    """The game that an agent has learned, to be played in the page by the reader or by the agent.

    What happened can be read from Python: `start` (the column in which the ball begins, which may
    be set, too), and of the game so far `moves`, a list of 0, 1 and 2 for left, stay and right,
    and `believed_return`.

    Args:
        agent: that learned PixelCatch, or the windy one.
        start: column of the first ball, 0 to 4.
        seed: of the dice, in [0, 2**32); the same seed, start and moves make the same dream.
        bits: of a number in a matrix of weights.

    Raises:
        TypeError: `agent` is no DreamerV3, or a number is none.
        ValueError: it plays something else, a weight is NaN or infinite, or a number is out of
            range.
    """

    _esm = Path(__file__).with_name("bundle.js")
    _css = Path(__file__).with_name("bundle.css")

    weights = traitlets.Bytes().tag(sync=True)
    still = traitlets.Unicode().tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    start = traitlets.Int(0).tag(sync=True)
    moves = traitlets.List(traitlets.Int()).tag(sync=True)
    believed_return = traitlets.Float(0.0).tag(sync=True)

    @typed
    def __init__(
        self,
        agent: DreamerV3,
        *,
        start: Column = 0,
        seed: PageSeed = 0,
        bits: Literal[8, 16] = 8,
    ) -> None:
        super().__init__(
            weights=pack_catcher(agent, seed, bits),
            still=still(
                pictures(_painted(agent, seed), "What the model paints of the first moment of "
                         "five games", 96),
                "Play Catch in a dream: you move the paddle of a game that a world model imagines, "
                "from one of these moments on.",
            ),
            start=start,
            seed=seed,
        )  # fmt: skip

    def _check(self, name: str, value: Any) -> None:
        check_type(name, value, Column)

    _settings = settings("start")


@torch.no_grad()
def _painted(agent: DreamerV3, seed: int) -> np.ndarray:
    """What it paints of the first moments: (5, 16, 16, 3) uint8."""
    painted = agent.model.paint(starts(agent, seed).features).clamp(0, 1)  # (5, O)
    grey = (255 * painted).round().byte().view(COLUMNS, SIDE, SIDE, 1)
    shown: np.ndarray = grey.expand(-1, -1, -1, 3).cpu().numpy()
    return shown
