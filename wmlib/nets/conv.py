"""Convolutions for small pictures: each layer halves the sides, or doubles them.

No layers at all are allowed: then the features are the pixels themselves.

Letters: B batch, C H W of a picture, F features.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from torch import nn


def features_of(frame: Sequence[int], channels: Sequence[int]) -> int:
    """F, the numbers that `encoder` makes of a picture of shape `frame` (H, W, C)."""
    height, width, colours = frame
    last = channels[-1] if channels else colours
    return int(height * width * last // 4 ** len(channels))


def encoder(
    frame: Sequence[int], channels: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU
) -> nn.Sequential:
    """Pictures (B, C, H, W) to features (B, F)."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise((frame[2], *channels)):
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), activation()]
    return nn.Sequential(*layers, nn.Flatten())


def decoder(
    frame: Sequence[int], channels: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU
) -> nn.Sequential:
    """Features (B, F) to pictures (B, C, H, W) of any numbers: the way back."""
    height, width, colours = frame
    times, last = 2 ** len(channels), channels[-1] if channels else colours
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise((*channels[::-1], colours)):
        layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), activation()]
    small = nn.Unflatten(1, (last, height // times, width // times))
    return nn.Sequential(small, *layers[:-1])


def check_halving(frame: Sequence[int], channels: Sequence[int]) -> None:
    """Refuse pictures whose sides cannot be halved as often as there are layers.

    Raises:
        ValueError: names both.
    """
    height, width, _ = frame
    times = 2 ** len(channels)
    if height % times or width % times:
        raise ValueError(
            f"frames must have sides that {len(channels)} convolutions can halve, multiples of "
            f"{times}, got frame {height} x {width} and channels {tuple(channels)}"
        )
