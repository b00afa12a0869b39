"""The denoiser: a noisy next frame, the frames and actions before it, and the frame without noise.

A network that had to say the frame itself would be asked for nothing new where there is little
noise, and one that had to say the noise would be asked for nothing new where there is much. So it
is asked for a mixture that is worth saying at every noise level, and what it reads and says has
unit variance whatever the noise (Karras et al. 2022, table 1, "EDM"; Alonso et al. 2024).

Frames are in [-1, 1]. Where an episode has just begun there are fewer than L frames; in the places
of those that are missing stands grey (0), as with the authors, which no byte ever becomes, and no
action at all (the authors have the action 0 there).

Letters: B batch, T time, L past frames, C H W of a frame, A action.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wmlib.agents.diamond.unet import UNet, UNetConfig
from wmlib.typed import Finite, NonNegativeFloat, PositiveFloat, PositiveInt, typed


@typed
@dataclass(frozen=True)
class DenoiserConfig:
    """Noise and sizes. "Paper" is Alonso et al. 2024; sigmas are in pixels of [-1, 1]."""

    network: UNetConfig = field(default_factory=UNetConfig)
    past: PositiveInt = 4
    """L, frames that it sees, each with the action that was chosen there (paper: 4)"""
    data: PositiveFloat = 0.5
    """standard deviation of frames (paper: 0.5)"""
    offset: NonNegativeFloat = 0.3
    """deviation of the noise that a whole channel shares (paper: 0.3)"""
    mean: Finite = -0.4
    """of ln sigma in training (paper: -0.4)"""
    deviation: PositiveFloat = 1.2
    """of ln sigma in training (paper: 1.2)"""
    least: PositiveFloat = 2e-3
    """sigma in training, at least (paper: 2e-3)"""
    most: PositiveFloat = 20.0
    """at most (paper: 20)"""


class Scales(NamedTuple):
    """What stands around the network, (B,) or scalars."""

    input: Tensor
    """c_in, of the noisy frame"""
    skip: Tensor
    """c_skip, the share of the noisy frame that is kept"""
    output: Tensor
    """c_out, of what the network says"""
    noise: Tensor
    """c_noise, what it is told of the noise"""


def scales(sigma: Tensor, config: DenoiserConfig) -> Scales:
    """EDM's, so that the network's input and its target have unit variance for every sigma."""
    noise = sigma.square() + config.offset**2  # variance: of each pixel's noise, and the shared one
    whole = noise + config.data**2
    skip, output = config.data**2 / whole, config.data * (noise / whole).sqrt()
    return Scales(whole.rsqrt(), skip, output, noise.log() / 8)  # ln(deviation) / 4


def quantised(frames: Tensor) -> Tensor:
    """The nearest frames in [-1, 1] that bytes can say.

    The authors round down, which darkens a dream by half a level a frame on average.
    """
    levels = ((frames.clamp(-1, 1) + 1) / 2 * 255).round()
    return levels / 255 * 2 - 1


def pixels(observations: Tensor) -> Tensor:
    """Bytes or bools (..., H, W, C) as frames (..., C, H, W) in [-1, 1]."""
    largest = 1 if observations.dtype == torch.bool else 255
    return observations.movedim(-1, -3).float() / largest * 2 - 1


def present(first: Tensor) -> Tensor:
    """(T, B) whether a frame belongs to the same episode as the last one of its stretch.

    Args:
        first: (T, B) 1 where an episode begins.
    """
    later = first.flip(0).cumsum(0).flip(0) - first  # beginnings after it
    return later == 0


def context(frames: Tensor, chosen: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """What the denoiser reads: L frames (B, L, C, H, W), and what was chosen there (B, L, A).

    Args:
        frames: (L, B, C, H, W).
        chosen: (L, B, A), in each frame.
        first: (L, B) 1 where an episode begins: what lies before is blotted out.
    """
    there = present(first).to(frames)  # (L, B)
    shown = frames * there[..., None, None, None], chosen * there[..., None]
    return shown[0].movedim(1, 0), shown[1].movedim(1, 0)


class Denoiser(nn.Module):
    """A network between its scales.

    Args:
        config: noise and sizes.
        frame: (C, H, W).
        actions: A.
    """

    def __init__(self, config: DenoiserConfig, frame: tuple[int, int, int], actions: int) -> None:
        super().__init__()
        self.config = config
        self.network = UNet(config.network, frame, config.past, actions)

    def scales(self, sigma: Tensor) -> Scales:
        """Around the network at a noise level."""
        return scales(sigma, self.config)

    def levels(self, number: int, generator: torch.Generator | None) -> Tensor:
        """Noise levels (B,) to learn from."""
        config = self.config
        logs = config.mean + config.deviation * torch.randn(number, generator=generator)
        return logs.exp().clamp(config.least, config.most)

    def say(self, noisy: Tensor, around: Scales, past: Tensor, actions: Tensor) -> Tensor:
        """What the network says of noisy frames (B, C, H, W)."""
        output: Tensor = self.network(
            around.input * noisy, around.noise.flatten(), past / self.config.data, actions
        )
        return output

    @torch.no_grad()
    def denoise(self, noisy: Tensor, sigma: Tensor, past: Tensor, actions: Tensor) -> Tensor:
        """Frames (B, C, H, W) without their noise, of deviation sigma (a scalar): quantised."""
        around = self.scales(sigma.expand(len(noisy), 1, 1, 1))
        said = self.say(noisy, around, past, actions)
        return quantised(around.skip * noisy + around.output * said)

    def loss(
        self, frames: Tensor, actions: Tensor, first: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """How far what it says is from what it should: mean squared error, 1 for a new network.

        Ours: all frames that it is shown are real. The authors (`num_autoregressive_steps: 1`) also
        draw the frame after: the newest one that is shown is then what the network has just made of
        the noisy one here, without a gradient, and the loss is the mean of both. So theirs learns
        to go on from its own frames.

        Args:
            frames: (L + 1, B, C, H, W) in [-1, 1]; the last one is to be told.
            actions: (L + 1, B, A), each the one before its frame.
            first: (L + 1, B) 1 where an episode begins; if it does with the last, that counts
                nothing.
            generator: of noise and its levels.
        """
        past, chosen = context(frames[:-1], actions[1:], first[:-1])
        clean = frames[-1]  # (B, C, H, W)
        sigma = self.levels(len(clean), generator).to(clean)[:, None, None, None]
        own, shared = (
            torch.randn(shape, generator=generator).to(clean)
            for shape in (clean.shape, (*clean.shape[:2], 1, 1))
        )
        noisy = clean + sigma * own + self.config.offset * shared
        around = self.scales(sigma)
        target = (clean - around.skip * noisy) / around.output
        error = (self.say(noisy, around, past, chosen) - target).square().mean((1, 2, 3))  # (B,)
        counts = 1 - first[-1]
        return (counts * error).sum() / counts.sum().clamp(min=1)
