"""What agents ask of an environment's spaces."""

from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest

from wmlib.spaces import bounded_box, box, choices, frame

CHOICES = gym.spaces.Discrete(3)
BOUNDED = gym.spaces.Box(-1, 1, (2,))
HALF = gym.spaces.Box(-np.inf, 1, (2,))
FRAMES = gym.spaces.Box(0, 255, (4, 2, 3), np.uint8)
MASKS = gym.spaces.Box(0, 1, (4, 2, 3), np.bool_)
GREY = gym.spaces.Box(0, 255, (4, 2), np.uint8)


def test_what_fits_is_told() -> None:
    assert choices(CHOICES) == 3 and type(choices(CHOICES)) is int
    assert box(HALF) is HALF and box(HALF, axes=1) is HALF and box(FRAMES) is FRAMES
    assert bounded_box(BOUNDED) is BOUNDED
    assert frame(FRAMES) == frame(MASKS) == frame(FRAMES, [np.uint8], least=2) == (4, 2, 3)


@pytest.mark.parametrize(
    ("ask", "space", "message"),
    [
        (choices, BOUNDED, r"actions must be Discrete\(n\) from 0, got Box"),
        (choices, gym.spaces.Discrete(3, start=1), r"from 0, got Discrete\(3, start=1\)"),
        (lambda space: choices(space, "a move"), BOUNDED, "^a move must be"),
        (box, CHOICES, r"observations must be a Box of numbers, got Discrete\(3\)"),
        (lambda space: box(space, axes=2), BOUNDED, "a Box of numbers, of 2 axes, got Box"),
        (bounded_box, CHOICES, r"actions must be in a bounded Box of one axis, got Discrete\(3\)"),
        (bounded_box, HALF, "bounded Box of one axis, got Box"),
        (bounded_box, GREY, "bounded Box of one axis, got Box"),
        (frame, CHOICES, r"must be frames \(H, W, C\) of uint8 or bool, got Discrete\(3\)"),
        (frame, GREY, r"must be frames \(H, W, C\)"),
        (frame, gym.spaces.Box(0, 1, (4, 2, 3)), "of uint8 or bool, got Box"),
        (lambda space: frame(space, [np.uint8]), MASKS, "of uint8, got Box"),
        (lambda space: frame(space, least=3), FRAMES, "bool, at least 3 x 3, got Box"),
    ],
)
def test_another_space_is_named(
    ask: Callable[[gym.Space], object], space: gym.Space, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ask(space)
