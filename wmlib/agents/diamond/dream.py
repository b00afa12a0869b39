"""Dreams that are pictures and nothing else: a denoiser, asked for one frame after the other.

No reward is foreseen and no end. For dreams that pay see `wmlib.agents.diamond.WorldModel`.

Letters: B batch, T time, L past frames, C H W of a frame, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

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


def film(
    denoiser: Denoiser,
    frames: Tensor,
    actions: Tensor,
    act: Callable[[Tensor], Tensor],
    draw: Callable[[], Tensor],
    sigmas: Tensor,
) -> Iterator[Tensor]:
    """Dream without end: frames (B, C, H, W), one decision after the other.

    Args:
        denoiser: that dreams.
        frames: (B, L, C, H, W) in [-1, 1], the newest last.
        actions: (B, L - 1, A), each chosen in its frame; in the newest nothing is chosen yet.
        act: newest frames (B, C, H, W) to actions (B, A).
        draw: the noise (B, C, H, W) of the next frames.
        sigmas: noise levels (n + 1,).
    """
    while True:
        chosen = torch.cat([actions, act(frames[:, -1])[:, None]], 1)  # (B, L, A)
        drawn = next_frames(denoiser, frames, chosen, draw(), sigmas)
        frames, actions = torch.cat([frames[:, 1:], drawn[:, None]], 1), chosen[:, 1:]
        yield drawn


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
    script = actions[:, past - 1 :].unbind(1)
    given = iter(script)
    dream = film(
        denoiser, frames, actions[:, : past - 1], lambda _: next(given),
        lambda: width * torch.randn(frames[:, -1].shape, generator=generator).to(frames),
        schedule(sampler or SamplerConfig()).to(frames),
    )  # fmt: skip
    return torch.stack([next(dream) for _ in script], 1)
