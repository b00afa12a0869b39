"""What an agent asks of an environment's spaces: their sizes, or an error that names the space."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import gymnasium as gym
import numpy as np


def choices(space: gym.Space, name: str = "actions") -> int:
    """How many there are to choose among.

    Raises:
        ValueError: the space is not Discrete, or does not begin at 0.
    """
    if not isinstance(space, gym.spaces.Discrete) or space.start != 0:
        raise ValueError(f"{name} must be Discrete(n) from 0, got {space}")
    return int(space.n)


def box(space: gym.Space, axes: int | None = None, name: str = "observations") -> gym.spaces.Box:
    """The space itself: a Box of any shape, or of so many axes.

    Raises:
        ValueError: it is another space.
    """
    if not isinstance(space, gym.spaces.Box) or axes not in (None, len(space.shape)):
        what = "" if axes is None else f", of {axes} {'axis' if axes == 1 else 'axes'}"
        raise ValueError(f"{name} must be a Box of numbers{what}, got {space}")
    return space


def bounded_box(space: gym.Space, name: str = "actions") -> gym.spaces.Box:
    """The space itself.

    Raises:
        ValueError: it is not a bounded Box of one axis.
    """
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1 or not space.is_bounded():
        raise ValueError(f"{name} must be in a bounded Box of one axis, got {space}")
    return space


def frame(
    space: gym.Space, types: Collection[Any] = (np.uint8, np.bool_), least: int = 1
) -> tuple[int, int, int]:
    """The shape (H, W, C) of the frames in a space, whose numbers are of these types.

    Raises:
        ValueError: it holds no frames, others, or frames with a side shorter than `least`.
    """
    shape = space.shape if isinstance(space, gym.spaces.Box) else None
    if shape is None or len(shape) != 3 or space.dtype not in types or min(shape[:2]) < least:
        kinds = " or ".join(np.dtype(kind).name for kind in types)
        sides = f", at least {least} x {least}" * (least > 1)
        raise ValueError(f"observations must be frames (H, W, C) of {kinds}{sides}, got {space}")
    height, width, colours = shape
    return height, width, colours
