"""The official CarRacing-v3, seen through V's eyes: what every final score is measured on."""

from __future__ import annotations

from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded

from wmlib.typed import PositiveInt, typed

FPS = 50  # frames of the official environment in a second of the car's
ROWS = 84  # of 96; below them lies the bar of indicators, which the 2018 paper crops away
SIDE = 64


def area_matrix(source: int, target: int) -> np.ndarray:
    """(target, source) weights of an area resize: row i averages what pixel i covers."""
    edges = np.arange(target + 1) * (source / target)
    left, right = np.arange(source), np.arange(1, source + 1)
    overlap = np.minimum(edges[1:, None], right) - np.maximum(edges[:-1, None], left)
    weights: np.ndarray = np.maximum(overlap, 0) * (target / source)
    return weights


_DOWN, _ACROSS = area_matrix(ROWS, SIDE), area_matrix(96, SIDE)


def crop_and_resize(frame: np.ndarray) -> np.ndarray:
    """An official frame (96, 96, 3) uint8 to V's (64, 64, 3) uint8: rows 0-83, area-resized."""
    if frame.shape != (96, 96, 3) or frame.dtype != np.uint8:
        raise ValueError(f"expected a (96, 96, 3) uint8 frame, got {frame.shape} {frame.dtype}")
    small = np.einsum(
        "ij,jkc,lk->ilc", _DOWN, frame[:ROWS].astype(np.float64), _ACROSS, optimize=True
    )
    resized: np.ndarray = np.rint(small).astype(np.uint8)
    return resized


class OfficialCarRacing(gym.Wrapper):
    """`gymnasium.make("CarRacing-v3")` with V's frames and repeated actions.

    Args:
        action_repeat: official frames for each decision, >= 1. ``metadata["render_fps"]`` is
            50 / ``action_repeat``: a film of one picture a decision plays at the car's own speed.
        render_mode: None, or a mode of the official environment: "rgb_array", "human",
            "state_pixels".

    Raises:
        ValueError: for any other ``action_repeat`` or ``render_mode``.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["human", "rgb_array", "state_pixels"], "render_fps": FPS
    }  # fmt: skip

    @typed
    def __init__(
        self,
        action_repeat: PositiveInt = 1,
        render_mode: Literal["human", "rgb_array", "state_pixels"] | None = None,
    ) -> None:
        super().__init__(gym.make("CarRacing-v3", render_mode=render_mode))
        self.observation_space = gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        self.action_repeat = int(action_repeat)
        self.metadata = {**self.metadata, "render_fps": FPS / self.action_repeat}

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        frame, _ = self.env.reset(**kwargs)
        return crop_and_resize(frame), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Drive `action_repeat` frames with one action.

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called, or not since this environment was
                copied from another: Box2D's world is not copied.
        """
        if self.get_wrapper_attr("car") is None:
            raise ResetNeeded(
                "step needs a track: call reset first (a copied environment starts without one)"
            )
        total, frames, terminated, truncated = 0.0, 0, False, False
        while frames < self.action_repeat and not (terminated or truncated):
            frame, reward, terminated, truncated, _ = self.env.step(action)
            total += float(reward)
            frames += 1
        return crop_and_resize(frame), total, terminated, truncated, {"frames": frames}
