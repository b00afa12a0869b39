"""Dreams that are pictures and nothing else: a denoiser, asked for one frame after the other.

No reward is foreseen and no end. For dreams that pay see `wmlib.agents.diamond.WorldModel`.

Letters: B batch, T time, L past frames, C H W of a frame, A action.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wmlib.agents.diamond.denoiser import Denoiser
from wmlib.agents.diamond.sampler import SamplerConfig, sample, schedule
from wmlib.typed import PositiveFloat, typed


@torch.no_grad()
def next_frames(
    denoiser: Denoiser, frames: Tensor, actions: Tensor, noise: Tensor, sigmas: Tensor
) -> Tensor:
    """Draw what comes after frames (B, L, C, H, W) and what was chosen there (B, L, A).

    Args:
        denoiser: that draws.
        frames: in [-1, 1], the newest last.
        actions: each chosen in its frame.
        noise: (B, C, H, W) that the new frames are drawn out of.
        sigmas: noise levels (n + 1,) of `wmlib.agents.diamond.schedule`.

    Returns:
        (B, C, H, W) in [-1, 1].
    """
    return sample(lambda x, sigma: denoiser.denoise(x, sigma, frames, actions), noise, sigmas)


@typed
@torch.no_grad()
def dream_frames(
    denoiser: Denoiser,
    frames: Tensor,
    actions: Tensor,
    sampler: SamplerConfig | None = None,
    generator: torch.Generator | None = None,
    width: PositiveFloat = 1.0,
) -> Tensor:
    """Dream on for T decisions whatever the actions lead to.

    Args:
        denoiser: that dreams.
        frames: (B, L, C, H, W) in [-1, 1], the newest last.
        actions: (B, L - 1 + T, A): those of the past, then those to dream with.
        sampler: of the frames.
        generator: of the noise.
        width: standard deviation of the noise that a frame begins with. 1 is the authors'; as wide
            as the first sigma is the theory's, and keeps more of what is left to chance.

    Returns:
        (B, T, C, H, W) in [-1, 1].

    Raises:
        ValueError: there is no action to dream with.
    """
    past = frames.shape[1]
    if actions.shape[1] < past:
        raise ValueError(f"actions must be {past} or more, got {actions.shape[1]}")
    sigmas, dreamed = schedule(sampler or SamplerConfig()).to(frames), []
    for t in range(actions.shape[1] - past + 1):
        noise = width * torch.randn(frames[:, -1].shape, generator=generator).to(frames)
        drawn = next_frames(denoiser, frames, actions[:, t : t + past], noise, sigmas)
        frames = torch.cat([frames[:, 1:], drawn[:, None]], 1)
        dreamed.append(drawn)
    return torch.stack(dreamed, 1)
