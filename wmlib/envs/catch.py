"""PixelCatch, the world in which the modern agents are compared: a ball falls, a paddle waits.

The rules are those of Catch in bsuite (Osband et al. 2020, "Behaviour Suite for Reinforcement
Learning"): a board of 10 rows and 5 columns, 9 steps an episode, +1 or -1 at its end. What we
changed: the agent sees a picture of 16 x 16 pixels in place of the board; the ball may drift in the
wind, so that there is something to forecast that is not certain; rewards can be scaled; and an
episode that has ended asks for `reset`, where bsuite's begins the next one by itself.

>>> import gymnasium, wmlib
>>> env = gymnasium.make("wmlib/PixelCatch-v0")
>>> observation, info = env.reset(seed=0)
>>> observation.shape, env.unwrapped.board
((16, 16, 1), Board(row=0, column=3, paddle=2))
>>> gymnasium.make("wmlib/WindyPixelCatch-v0").unwrapped.wind
0.1
>>> gymnasium.make_vec("wmlib/PixelCatch-v0", num_envs=64).reset(seed=0)[0].shape
(64, 16, 16, 1)

**The picture** is (16, 16, 1) uint8, 0 or 255. One channel, because colour would say nothing here
and every model would pay for it three times; 16 a side, because that halves evenly and is quick on
a CPU. A cell is 1.5 pixels high and 3 wide, and a ball in it lights every pixel that it touches,
2 x 3 of them, in pixel rows 0 to 14. The paddle is a bar of 1 x 3 pixels below its cell, in pixel
row 15, so that ball and paddle never hide one another and look different: bsuite marks both with
the same 1, and leaves open which is which when the ball has landed beside the paddle. Pixel column
15 stays dark. The ball is as large as fits, because a loss that is summed over pixels (a VAE's)
weighs it by its size: to leave it out costs 6 in squared error, to say in which of the 50 cells it
is costs ln 50 = 3.9 nats. `draw` makes a picture of a board, `read` a board of a picture.

**The wind**: in each of the 9 steps, the last one too, the ball falls one row; with probability
`wind` it also moves one column, to the left or to the right with equal chance; at a wall, a move
into the wall leaves it in its column. The steps are independent of one another and of what the
paddle does. `drift` gives this distribution.

**Seeds**: `reset` draws the 10 uniform numbers of an episode at once, with wind or without: one
for the first column, one for each step's wind. Seeds and actions that are the same therefore give
the same boards in `PixelCatch` and in `PixelCatchVector`, and with the same seed the balls start in
the same columns whatever the wind.

Letters: N environments, H W C of a picture.
"""

from __future__ import annotations

import math
import operator
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from wmlib.shapes import as_array
from wmlib.typed import PositiveFloat, Share, typed

ROWS, COLUMNS = 10, 5
SIDE = 16
"""pixels, of a picture"""
STEPS = ROWS - 1
"""of every episode: the ball is in row 0 at first, and in row 9 after the last"""
ACTIONS = ("left", "stay", "right")
"""The actions 0 to 2: where the paddle goes, by one column; it stays at a wall."""
ENLARGED = 16  # times, by `render`: a film of 16 x 16 pixels is hard to see
NEEDS_RESET = "there is no episode, or it has ended: call reset first"


class Board(NamedTuple):
    """Where things are: whole numbers, or arrays (...) of them for many boards."""

    row: Any
    """of the ball: 0 (top) to 9, where the episode ends"""
    column: Any
    """of the ball: 0 (left) to 4"""
    paddle: Any
    """column of the paddle, which is in row 9: 0 to 4"""


def _ball_pixels() -> np.ndarray:
    """(ROWS, COLUMNS, H, W): 1 where a ball in the cell lights the pixel, or 0."""
    pixels = np.zeros((ROWS, COLUMNS, SIDE, SIDE))
    for row in range(ROWS):
        top, bottom = math.floor(1.5 * row), math.ceil(1.5 * (row + 1))
        for column in range(COLUMNS):
            pixels[row, column, top:bottom, 3 * column : 3 * column + 3] = 1
    return pixels


def _paddle_pixels() -> np.ndarray:
    """(COLUMNS, H, W): 1 where a paddle in the column lights the pixel, or 0."""
    pixels = np.zeros((COLUMNS, SIDE, SIDE))
    for column in range(COLUMNS):
        pixels[column, -1, 3 * column : 3 * column + 3] = 1
    return pixels


_BALLS, _PADDLES = _ball_pixels(), _paddle_pixels()
PICTURES = (255 * (_BALLS[:, :, None] + _PADDLES)).astype(np.uint8)[..., None]
"""(ROWS, COLUMNS, COLUMNS, H, W, 1) uint8: of every board there is"""


def draw(board: Board) -> np.ndarray:
    """The picture of a board, or of many.

    Args:
        board: whole numbers, or arrays (...) of them.

    Returns:
        (..., 16, 16, 1) uint8, 0 or 255.

    Raises:
        ValueError: a number is not whole or out of range.
    """
    parts = tuple(np.asarray(part) for part in board)
    for name, part, size in zip(Board._fields, parts, PICTURES.shape[:3], strict=True):
        if part.dtype.kind not in "iu" or not ((part >= 0) & (part < size)).all():
            raise ValueError(f"{name} must be whole numbers from 0 to {size - 1}, got {part}")
    pictures: np.ndarray = PICTURES[parts]
    return pictures.copy()


def read(pictures: np.ndarray) -> Board:
    """The board in a picture, or in many: `draw` the other way round.

    Of any other picture, such as a model's blurred forecast, it is the board whose drawing is
    nearest by squared error: each drawing has equally many bright pixels, so that this is the ball
    and the paddle on whose pixels the most light falls. `draw(read(pictures))` tells whether the
    pictures were drawings.

    Args:
        pictures: (..., 16, 16, 1), finite numbers.

    Returns:
        Arrays (...) int64; NumPy's whole numbers for one picture.

    Raises:
        ValueError: another shape, or no finite numbers.
    """
    light = as_array("pictures", pictures, ..., SIDE, SIDE, 1, finite=True)
    flat = light.reshape(*light.shape[:-3], SIDE * SIDE).astype(np.float64)  # (..., H * W)
    cell = (flat @ _BALLS.reshape(-1, SIDE * SIDE).T).argmax(-1)  # (...)
    paddle = (flat @ _PADDLES.reshape(-1, SIDE * SIDE).T).argmax(-1)  # (...)
    return Board(cell // COLUMNS, cell % COLUMNS, paddle)


@typed
def drift(wind: Share) -> np.ndarray:
    """The true distribution of the ball's next column, which a model's forecast is held against.

    Args:
        wind: probability of a move in a step, in [0, 1].

    Returns:
        (5, 5) float64; row c is the distribution of the next column of a ball in column c. That
        of k steps is `np.linalg.matrix_power(drift(wind), k)`.

    Raises:
        ValueError: the wind is not in [0, 1].
    """
    chances = np.zeros((COLUMNS, COLUMNS))
    for column in range(COLUMNS):
        chances[column, column] += 1 - wind
        chances[column, max(column - 1, 0)] += wind / 2
        chances[column, min(column + 1, COLUMNS - 1)] += wind / 2
    return chances


def weather(draws: np.ndarray, wind: float) -> tuple[np.ndarray, np.ndarray]:
    """What an episode's draws (..., ROWS) in [0, 1) decide.

    Returns:
        The ball's first column (...) and what the wind adds to it in each step (..., STEPS):
        -1 for a draw below wind / 2, +1 for one between that and wind, or 0; int64.
    """
    first = (draws[..., 0] * COLUMNS).astype(np.int64)  # (...)
    later = draws[..., 1:]  # (..., STEPS)
    return first, (later < wind).astype(np.int64) - 2 * (later < wind / 2)


def enlarged(picture: np.ndarray) -> np.ndarray:
    """(16, 16, 1) to (256, 256, 3)."""
    return picture.repeat(ENLARGED, 0).repeat(ENLARGED, 1).repeat(3, 2)


class PixelCatch(gym.Env[Any, Any]):
    """Catch the ball: (16, 16, 1) uint8 pictures, Discrete(3) actions, 9 steps an episode.

    The ball starts in row 0, in a random column, each equally likely; the paddle in the middle.
    A step moves the paddle (see `ACTIONS`) and lets the ball fall one row and drift. The step that
    brings the ball to the bottom row ends the episode (`terminated`) with a reward of `scale` if
    the paddle is in its column, and -`scale` if not; all others give 0. No episode is truncated,
    and `info` is empty. Picture, wind and seeds: see the module. One picture shows the whole
    state, and the paddle always has time to reach the column in which the ball started.

    `board` is the true state, a `Board` of whole numbers, or None before the first `reset`.

    Args:
        wind: probability, in [0, 1], that the ball drifts in a step; 0 for bsuite's rules.
        scale: of the rewards, > 0.
        render_mode: None, or "rgb_array" for `render` to give the picture, 16 times enlarged:
            (256, 256, 3) uint8.

    Raises:
        ValueError: an argument is out of range, or another `render_mode`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    @typed
    def __init__(
        self,
        wind: Share = 0.0,
        scale: PositiveFloat = 1.0,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        self.wind, self.scale = float(wind), float(scale)
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, 255, (SIDE, SIDE, 1), np.uint8)
        self.action_space = spaces.Discrete(len(ACTIONS))
        self.board: Board | None = None
        self._gusts: list[int] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Drop a new ball. No `options` are known.

        Returns:
            The first picture, (16, 16, 1) uint8, and an empty info.
        """
        super().reset(seed=seed)
        column, gusts = weather(self.np_random.random(ROWS), self.wind)
        self._gusts = gusts.tolist()
        self.board = Board(0, int(column), COLUMNS // 2)
        return PICTURES[self.board].copy(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move the paddle; the ball falls, and may drift.

        Returns:
            The picture (16, 16, 1) uint8, reward (0, or `scale` or -`scale` at the end),
            terminated, False, and an empty info.

        Raises:
            ValueError: the action is not 0, 1 or 2.
            gymnasium.error.ResetNeeded: `reset` was not called, or the episode has ended.
        """
        if self.board is None or self.board.row == STEPS:
            raise ResetNeeded(NEEDS_RESET)
        try:
            action = operator.index(action)
        except TypeError:
            raise ValueError(f"action must be 0, 1 or 2, got {action!r}") from None
        if not 0 <= action < len(ACTIONS):
            raise ValueError(f"action must be 0, 1 or 2, got {action!r}")
        row, column, paddle = self.board
        paddle = min(max(paddle + action - 1, 0), COLUMNS - 1)
        column = min(max(column + self._gusts[row], 0), COLUMNS - 1)
        self.board = Board(row + 1, column, paddle)
        reward, ended = 0.0, row + 1 == STEPS
        if ended:
            reward = self.scale if column == paddle else -self.scale
        return PICTURES[self.board].copy(), reward, ended, False, {}

    def render(self) -> np.ndarray | None:
        """The picture, enlarged, if the mode is "rgb_array".

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called.
        """
        if self.render_mode is None:
            return None
        if self.board is None:
            raise ResetNeeded(NEEDS_RESET)
        return enlarged(PICTURES[self.board])
