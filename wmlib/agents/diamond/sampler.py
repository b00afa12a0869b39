"""Out of noise, a picture: Euler's steps along the probability flow of a denoiser.

A denoiser says what is left of a noisy x when its noise is gone. From there to x is the direction
in which noise grows; a step goes the other way, to a smaller noise, and asks again. The sampler
knows the denoiser only as a function of x and sigma (Karras et al. 2022, algorithm 1 without its
second order, as Alonso et al. 2024 use it).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wmlib.typed import PositiveFloat, PositiveInt, typed


@typed
@dataclass(frozen=True)
class SamplerConfig:
    """How noise becomes a frame. "Paper" is Alonso et al. 2024."""

    steps: PositiveInt = 3
    """n, questions to the denoiser for a frame (paper: 3)"""
    most: PositiveFloat = 5.0
    """sigma of the first question, in pixels of [-1, 1] (paper: 5)"""
    least: PositiveFloat = 2e-3
    """of the last one (paper: 2e-3)"""
    curve: PositiveFloat = 7.0
    """rho: the larger, the more of the steps are small ones (paper: 7)"""


def check_learned(config: SamplerConfig, least: float, most: float) -> None:
    """Refuse sigmas that a denoiser, which knows those from `least` to `most`, never learned."""
    if not least <= config.least <= config.most <= most:
        raise ValueError(
            f"sigma must be in [{least:g}, {most:g}], which the denoiser learns, got "
            f"{config.most:g} to {config.least:g}"
        )


def schedule(config: SamplerConfig) -> Tensor:
    """Noise levels (n + 1,), falling, the last one 0: `(a + t (b - a))^rho`, t from 0 to 1.

    Here a and b are the rho-th roots of the most and the least.

    Raises:
        ValueError: the least is not below the most.
    """
    if config.least >= config.most:
        raise ValueError(f"least must be below most, got {config.least} and {config.most}")
    root = 1 / config.curve
    roots = torch.linspace(config.most**root, config.least**root, config.steps)
    return torch.cat([roots**config.curve, torch.zeros(1)])


def sample(denoise: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigmas: Tensor) -> Tensor:
    """From noise x (B, ...) to what the denoiser takes for data, in as many steps as asked.

    Args:
        denoise: x (B, ...) and a sigma, a scalar, to x without its noise.
        x: where it begins. The authors begin with a unit Gaussian, and not with one as wide as the
            first sigma: less chance, and less drift.
        sigmas: (n + 1,) falling, the last one 0, see `schedule`.
    """
    for sigma, following in itertools.pairwise(sigmas):
        slope = (x - denoise(x, sigma)) / sigma
        x = x + slope * (following - sigma)
    return x
