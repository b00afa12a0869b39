"""The denoiser's network: a small U-Net that is told noise level and actions at every block.

Going down it halves the picture, going up it doubles it again, and what it saw on the way down is
laid beside what comes up. Where it normalises, the scale and the shift of every channel hang on the
conditions (adaptive group norm). It is the authors' (Alonso et al. 2024), smaller, without their
attention in the middle; and it first folds each 2 x 2 pixels into channels, so that every
convolution has a quarter of the places to visit.

Letters: B batch, C H W of a picture, D conditions, A action, L past frames.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from wmlib.typed import PositiveInt, typed


@typed
@dataclass(frozen=True)
class UNetConfig:
    """Sizes. "Paper" is Alonso et al. 2024, whose pictures are 64 x 64 x 3."""

    channels: tuple[PositiveInt, ...] = (16, 32)
    """of each level, the finest first; each level has half the sides (paper: 64, four times)"""
    depth: PositiveInt = 1
    """residual blocks of a level, on either way (paper: 2)"""
    waves: PositiveInt = 32
    """of the noise level, each a sine and a cosine: D is twice as many (paper: 128)"""
    group: PositiveInt = 32
    """channels that are normalised together, where there are so many (paper: 32)"""
    fold: PositiveInt = 2
    """pixels a side that become channels at the entrance (paper: 1, that is, none; ours: on one
    core every pixel counts)"""


class FourierFeatures(nn.Module):
    """A number (B,) as sines and cosines (B, D) of random frequencies, which are not learned."""

    frequencies: Tensor

    def __init__(self, waves: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(waves))

    def forward(self, number: Tensor) -> Tensor:
        angle = 2 * math.pi * number[:, None] * self.frequencies  # (B, D / 2)
        return torch.cat([angle.cos(), angle.sin()], -1)


class AdaptiveGroupNorm(nn.Module):
    """Group norm of (B, C, H, W), whose scale and shift are read off the conditions (B, D)."""

    def __init__(self, channels: int, conditions: int, group: int) -> None:
        super().__init__()
        self.groups = max(1, channels // group)
        self.linear = nn.Linear(conditions, 2 * channels)

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        scale, shift = self.linear(conditions)[..., None, None].chunk(2, 1)  # (B, C, 1, 1) each
        moved: Tensor = functional.group_norm(x, self.groups, eps=1e-5) * (1 + scale) + shift
        return moved


class Block(nn.Module):
    """Two convolutions beside a way round them: (B, C, H, W) to (B, C', H, W)."""

    def __init__(self, inputs: int, outputs: int, conditions: int, group: int) -> None:
        super().__init__()
        self.norm1 = AdaptiveGroupNorm(inputs, conditions, group)
        self.conv1 = conv(inputs, outputs)
        self.norm2 = AdaptiveGroupNorm(outputs, conditions, group)
        self.conv2 = conv(outputs, outputs)
        self.round = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.conv2.weight)  # at first only the way round counts

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x, conditions)))
        h = self.conv2(functional.silu(self.norm2(h, conditions)))
        passed: Tensor = self.round(x) + h
        return passed


class Blocks(nn.ModuleList):
    """So many blocks in a row, all told the same.

    Args:
        inputs, outputs: channels of the first and after it.
        depth: how many.
        conditions, group: as of a block.
    """

    def __init__(self, inputs: int, outputs: int, depth: int, conditions: int, group: int) -> None:
        pairs = itertools.pairwise((inputs, *[outputs] * depth))
        super().__init__(Block(*pair, conditions, group) for pair in pairs)

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        for block in self:
            x = block(x, conditions)
        return x


class UNet(nn.Module):
    """A noisy frame and what came before it, to a frame of the same shape.

    Args:
        config: sizes.
        frame: (C, H, W) of a frame.
        past: L.
        actions: A.

    Raises:
        ValueError: the sides cannot be folded and halved so often.
    """

    def __init__(
        self, config: UNetConfig, frame: tuple[int, int, int], past: int, actions: int
    ) -> None:
        super().__init__()
        self.fold, conditions = config.fold, 2 * config.waves
        colours, *sides = frame
        times = config.fold * 2 ** (len(config.channels) - 1)
        if any(side % times for side in sides):
            raise ValueError(f"frames must have sides that {times} divides, got {sides}")
        pixels, channels = colours * config.fold**2, config.channels
        self.noise = FourierFeatures(config.waves)
        self.acted = nn.Linear(past * actions, conditions)
        self.mix = nn.Sequential(
            nn.Linear(conditions, conditions), nn.SiLU(), nn.Linear(conditions, conditions)
        )
        self.first = conv((past + 1) * pixels, channels[0])

        def blocks(inputs: int, outputs: int) -> Blocks:
            return Blocks(inputs, outputs, config.depth, conditions, config.group)

        above = (channels[0], *channels[:-1])  # what comes down to each level
        self.down = nn.ModuleList(blocks(*pair) for pair in zip(above, channels, strict=True))
        self.coarser = nn.ModuleList(conv(size, size, stride=2) for size in channels[:-1])
        self.middle = blocks(channels[-1], channels[-1])
        self.up = nn.ModuleList(
            blocks(2 * size, finer) for finer, size in zip(above, channels, strict=True)
        )
        self.finer = nn.ModuleList(conv(size, size) for size in channels[:-1])
        self.norm = nn.GroupNorm(max(1, channels[0] // config.group), channels[0])
        self.last = conv(channels[0], pixels)
        for parameter in self.last.parameters():  # at first it says nothing
            nn.init.zeros_(parameter)

    def forward(self, noisy: Tensor, noise: Tensor, past: Tensor, actions: Tensor) -> Tensor:
        """(B, C, H, W) of a noisy frame, its noise (B,), frames (B, L, C, H, W), (B, L, A)."""
        conditions = self.mix(self.noise(noise) + self.acted(actions.flatten(1)))  # (B, D)
        seen = torch.cat([past.flatten(1, 2), noisy], 1)  # (B, (L + 1) C, H, W)
        x = self.first(functional.pixel_unshuffle(seen, self.fold))
        skips = []
        for level, blocks in enumerate(self.down):
            x = x if level == 0 else self.coarser[level - 1](x)
            x = blocks(x, conditions)
            skips.append(x)
        x = self.middle(x, conditions)
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat([x, skips[level]], 1), conditions)
            if level > 0:
                x = self.finer[level - 1](functional.interpolate(x, scale_factor=2.0))
        drawn: Tensor = self.last(functional.silu(self.norm(x)))
        return functional.pixel_shuffle(drawn, self.fold)


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3 x 3, with the sides kept or halved."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1)
