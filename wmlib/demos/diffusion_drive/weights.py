"""A denoiser for the page: its network, the noise levels of its sampler, and moments to start from.

Kernels and matrices are rounded to 8 or 16 bits (`wmlib.demos.page.blocks`), all else stays
float32. `quantisation_cost` measures what the rounding costs.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from wmlib.agents.diamond import Denoiser, SamplerConfig, film, pixels, schedule
from wmlib.agents.diamond.sampler import check_learned
from wmlib.agents.diamond.unet import AdaptiveGroupNorm
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.memory import MDNRNN
from wmlib.agents.world_models.starts import Starts, warm_up
from wmlib.agents.world_models.vision import VAE
from wmlib.demos.page.blocks import pack, unpack
from wmlib.demos.page.settings import whole
from wmlib.demos.page.weights import MOST_STARTS, WeightsConfig
from wmlib.episodes import Episode
from wmlib.shapes import check_shape
from wmlib.typed import PositiveInt, check_same, check_type, typed

STEPS = (1, 2, 3, 5)
"""questions to the denoiser for a frame, among which the reader chooses"""
SIDE, COLOURS, ACTIONS = 64, 3, 3
"""of a frame of CarRacing, and its steering, gas and brake"""
LANES, PIXELS = 8, 4
"""channels and neighbouring pixels that the page's convolution sums at a time"""
FRAME_BITS = 16
"""of a pixel on its way to the page, which rounds it to the byte that it was"""


class Moments(NamedTuple):
    """S moments of real drives, from which a page dreams."""

    frames: np.ndarray
    """(S, L, 64, 64, 3) uint8, the newest last"""
    actions: np.ndarray
    """(S, L - 1, 3) float32, what was done in all of them but the newest"""
    starts: Starts | None = None
    """the same moments for V and M, if they dream beside it"""


@typed
def moments(
    episodes: Sequence[Episode],
    decision: PositiveInt,
    *,
    past: PositiveInt = 4,
    world: tuple[VAE, MDNRNN] | None = None,
) -> Moments:
    """One moment of each episode: the frame in which its `decision` (from 0) is to be made.

    Args:
        episodes: of CarRacing, each longer than that.
        decision: at least L - 1.
        past: L, frames that the denoiser sees.
        world: V and M, which then have seen the same episodes from their beginnings on.

    Raises:
        ValueError: an episode is too short, or there are none.
    """
    shortest = min((len(episode) for episode in episodes), default=0)
    check_type("decision", decision, Annotated[int, Field(ge=past - 1, lt=shortest)])
    seen = slice(decision + 1 - past, decision + 1)
    frames = np.stack([np.asarray(episode.observations[seen]) for episode in episodes])
    actions = np.stack([episode.actions[decision + 1 - past : decision] for episode in episodes])
    if world is None:
        return Moments(frames, actions)
    vision, memory = world
    warm = warm_up(memory, Codes.of(episodes, vision.encode), decision, batch=len(episodes))
    return Moments(frames, actions, warm.take(slice(0, len(episodes))))  # its first are these


def pack_denoiser(
    denoiser: Denoiser,
    begin: Moments,
    sampler: SamplerConfig | None = None,
    config: WeightsConfig | None = None,
) -> bytes:
    """What a page needs to dream with a denoiser: all of it.

    Args:
        denoiser: of frames of CarRacing.
        begin: at most 64 moments.
        sampler: whose noise levels the page uses, whatever the number of steps.
        config: of the rounding.

    Raises:
        ValueError: the parts do not fit together, or a number is NaN or infinite; the message
            names which.
    """
    sampler, config = sampler or SamplerConfig(), config or WeightsConfig()
    check_denoiser(denoiser, begin, sampler)
    arrays, bits = _weights(denoiser, config)
    arrays["moments.frames"] = begin.frames / np.float32(255)
    bits["moments.frames"] = FRAME_BITS
    arrays["moments.actions"] = begin.actions
    for steps in STEPS:
        levels = schedule(dataclasses.replace(sampler, steps=steps))  # (n + 1,)
        arrays[f"sigmas.{steps}"] = levels.numpy()
    about = {
        "network": dataclasses.asdict(denoiser.config.network),
        "denoiser": {
            "data": denoiser.config.data, "offset": denoiser.config.offset, "levels": 255,
        },
        "past": denoiser.config.past,
        "actions": ACTIONS,
        "side": SIDE,
        "steps": STEPS,
    }  # fmt: skip
    return pack(arrays, bits, about, config.block)


def _weights(
    denoiser: Denoiser, config: WeightsConfig
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """All that the network holds, by name, and the bits of what is rounded."""
    arrays = {name: part.cpu().numpy() for name, part in denoiser.network.state_dict().items()}
    return arrays, {n: config.denoiser_bits for n, array in arrays.items() if array.ndim > 1}


def check_denoiser(denoiser: Denoiser, begin: Moments, sampler: SamplerConfig) -> None:
    """Refuse what does not draw frames of CarRacing, or not in this page; errors as above."""
    network, config = denoiser.network, denoiser.config
    check_same("the denoiser's colours", network.last.out_channels // network.fold**2, COLOURS)
    check_same(
        "the denoiser's actions (a car has steering, gas and brake)",
        network.acted.in_features // config.past, ACTIONS,
    )  # fmt: skip
    check_shape(
        "moments.frames", begin.frames, np.ndarray, "S", config.past, SIDE, SIDE, COLOURS,
        dtype="uint8",
    )  # fmt: skip
    shape = len(begin.frames), config.past - 1, ACTIONS
    check_shape("moments.actions", begin.actions, np.ndarray, *shape, dtype="float32", finite=True)
    check_type("the number of moments", len(begin.frames), whole(1, MOST_STARTS))
    channels, coarsest = config.network.channels, network.fold * 2 ** (len(network.down) - 1)
    norms = [part for part in network.modules() if isinstance(part, AdaptiveGroupNorm)]
    together = [part.linear.out_features // 2 // part.groups for part in norms]
    if any(size % LANES for size in channels) or SIDE % (coarsest * PIXELS):
        raise ValueError(
            f"the page draws with channels in {LANES}s and rows of pixels in {PIXELS}s at every "
            f"level, got {channels} and {SIDE / coarsest:g} pixels at the last"
        )
    if any(size % PIXELS for size in together):
        raise ValueError(
            f"the page normalises channels in {PIXELS}s, got groups of {min(together)}: "
            f"group = {config.network.group}"
        )
    check_learned(sampler, config.least, config.most)


def as_packed(denoiser: Denoiser, config: WeightsConfig | None = None) -> Denoiser:
    """The denoiser that a page runs: a copy whose weights are rounded as `pack_denoiser` does."""
    config = config or WeightsConfig()
    arrays, _ = unpack(pack(*_weights(denoiser, config), {}, config.block))
    denoiser = copy.deepcopy(denoiser)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    denoiser.network.load_state_dict(tensors)
    return denoiser


@torch.no_grad()
def dream(
    denoiser: Denoiser,
    begin: Moments,
    actions: np.ndarray,
    sampler: SamplerConfig | None = None,
    seed: int = 0,
    wide: bool = False,
) -> Tensor:
    """What a page dreams from each moment with this seed: (S, T, 3, 64, 64) in [-1, 1].

    Args:
        denoiser: `as_packed`, if it shall be the page's.
        begin: S moments.
        actions: (T, 3) that the reader chooses, or (S, T, 3).
        sampler: and its steps.
        seed: of NumPy's RandomState; every moment gets the same noise.
        wide: whether a frame begins with noise as wide as the first sigma.
    """
    sigmas, draws = schedule(sampler or SamplerConfig()), np.random.RandomState(seed)
    frames = pixels(torch.from_numpy(begin.frames))  # (S, L, 3, 64, 64)
    chosen = torch.from_numpy(begin.actions)  # (S, L - 1, 3)
    told = torch.from_numpy(np.broadcast_to(actions, (len(frames), *actions.shape[-2:])).copy())
    script = told.float().unbind(1)  # (S, 3) each
    following = iter(script)

    def draw() -> Tensor:
        noise = torch.from_numpy(draws.standard_normal(frames.shape[2:])).float()
        noise = noise * sigmas[0] if wide else noise
        return noise.expand(len(frames), -1, -1, -1)

    frame = film(denoiser, frames, chosen, lambda _: next(following), draw, sigmas)
    return torch.stack([next(frame) for _ in script], 1)


@typed
def quantisation_cost(
    denoiser: Denoiser,
    begin: Moments,
    sampler: SamplerConfig | None = None,
    config: WeightsConfig | None = None,
    *,
    horizon: PositiveInt = 10,
    seed: int = 0,
) -> np.ndarray:
    """What rounding costs a dream, in levels of 255: how far a page's pixels are from float32's.

    Both dream from the same moments, with the same noise, and go on doing what was done last.

    Returns:
        (T,) mean absolute difference of a pixel in each frame of the dreams.
    """
    actions = np.repeat(begin.actions[:, -1:], horizon, 1)  # (S, T, 3)
    both = denoiser, as_packed(denoiser, config)
    ours, theirs = (dream(each, begin, actions, sampler, seed) for each in both)
    levels: np.ndarray = (255 / 2 * (ours - theirs).abs()).mean((0, 2, 3, 4)).numpy()
    return levels
