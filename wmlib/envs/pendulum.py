"""The pendulum from pixels: Gymnasium's Pendulum-v1, of which an agent sees a small grey picture.

Physics, torques and rewards are those of `gymnasium.envs.classic_control.PendulumEnv`, to the last
digit. One picture shows where the rod is and not how fast it turns: whoever drives must remember.

>>> import gymnasium, wmlib
>>> env = gymnasium.make("wmlib/PixelPendulum-v0")
>>> env.reset(seed=0)[0].shape, env.action_space
((32, 32, 1), Box(-2.0, 2.0, (1,), float32))

The picture is (32, 32, 1) uint8: a rod of 13 x 3 pixels that hangs on the middle, white on black,
its edges smoothed, so that a small turn shows as a change of grey.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control import PendulumEnv
from gymnasium.error import ResetNeeded

from wmlib.typed import PositiveInt, typed

SIDE = 32
"""pixels, of a picture"""
LENGTH, WIDTH = 13.0, 3.0
"""pixels, of the rod"""
DECISIONS = 200
"""physics steps of an episode, as in Pendulum-v1"""
ENLARGED = 8  # times, by `render`

_RIGHT = np.arange(SIDE, dtype=np.float32)[None] - (SIDE - 1) / 2  # (1, W) pixels from the middle
_UP = -_RIGHT.T  # (H, 1)


def draw(angle: float) -> np.ndarray:
    """The picture (32, 32, 1) uint8 of a rod at an angle, in radians, 0 upright, to the left."""
    x, y = np.float32(-np.sin(angle)), np.float32(np.cos(angle))
    along = x * _RIGHT + y * _UP  # (H, W) how far out on the line of the rod a pixel lies
    across = x * _UP - y * _RIGHT  # (H, W) how far beside it
    beyond = along - np.clip(along, 0, LENGTH)
    distance = np.sqrt(across * across + beyond * beyond)
    light = np.clip((WIDTH + 1) / 2 - distance, 0, 1)
    picture: np.ndarray = (255 * light + 0.5).astype(np.uint8)[..., None]
    return picture


class PixelPendulum(PendulumEnv):
    """Swing the rod up and hold it: (32, 32, 1) uint8 pictures, torques in [-2, 2].

    An episode is truncated after 200 physics steps and never terminated. The true state
    (angle, speed) is `state`.

    Args:
        action_repeat: physics steps a decision, whose rewards are added up; it divides 200
            (2 as in Dreamer and PlaNet).
        render_mode: None, or "rgb_array" for the picture, 8 times enlarged: (256, 256, 3) uint8.

    Raises:
        ValueError: an argument is out of range.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    @typed
    def __init__(
        self, action_repeat: PositiveInt = 2, render_mode: Literal["rgb_array"] | None = None
    ) -> None:
        if DECISIONS % action_repeat:
            raise ValueError(f"action_repeat must divide {DECISIONS}, got {action_repeat}")
        super().__init__()
        self.metadata = {**self.metadata, "render_fps": 20 / action_repeat}
        self.render_mode, self.action_repeat = render_mode, int(action_repeat)
        self.observation_space = spaces.Box(0, 255, (SIDE, SIDE, 1), np.uint8)
        self._left = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Hang the rod anywhere; `options` are Pendulum-v1's."""
        self._left = DECISIONS
        super().reset(seed=seed, options=options)
        return self._get_obs(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Turn for `action_repeat` physics steps.

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called, or the episode has ended.
        """
        if not self._left:
            raise ResetNeeded("there is no episode, or it has ended: call reset first")
        reward = 0.0
        for _ in range(self.action_repeat):
            picture, given, *_ = super().step(action)
            reward += float(given)
        self._left -= self.action_repeat
        return picture, reward, False, not self._left, {}

    def render(self) -> np.ndarray | None:
        """The picture, enlarged, if the mode is "rgb_array"."""
        if self.render_mode is None:
            return None
        return draw(self.state[0]).repeat(ENLARGED, 0).repeat(ENLARGED, 1).repeat(3, 2)

    def _get_obs(self) -> np.ndarray:
        return draw(self.state[0])
