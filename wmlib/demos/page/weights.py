"""Weights for the page: V's decoder, M and C, small enough to travel inside it.

The matrices of V and M are rounded to 8 or 16 bits (`wmlib.demos.page.blocks`); biases, starts and
C, all of them small, stay float32. `quantisation_cost` measures what the rounding costs.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.controller import LinearController, check_controller
from wmlib.agents.world_models.dream import Dream
from wmlib.agents.world_models.memory import MDNRNN
from wmlib.agents.world_models.mixture import log_likelihood
from wmlib.agents.world_models.starts import Starts, check_starts, warm_up
from wmlib.agents.world_models.vision import VAE
from wmlib.demos.page.blocks import BLOCK, pack, unpack
from wmlib.demos.page.settings import whole
from wmlib.episodes import Episode
from wmlib.typed import PositiveInt, check_same, check_type, typed

MOST_STARTS = 64


@typed
@dataclass(frozen=True)
class WeightsConfig:
    """How the weights of a page are rounded."""

    vision_bits: Literal[8, 16] = 8
    """of a number in V's matrices: 8 or 16 (ours)"""
    memory_bits: Literal[8, 16] = 8
    """of a number in M's matrices: 8 or 16 (ours)"""
    denoiser_bits: Literal[8, 16] = 8
    """of a number in a denoiser's kernels and matrices: 8 or 16 (ours)"""
    block: PositiveInt = BLOCK
    """numbers that share a scale (ours: 64, which adds half a bit to each number)"""


def pack_models(
    vision: VAE,
    memory: MDNRNN | None = None,
    controller: LinearController | None = None,
    starts: Starts | None = None,
    config: WeightsConfig | None = None,
    others: Mapping[str, np.ndarray] | None = None,
) -> bytes:
    """What a page needs of an agent: V's decoder, and if given M, C and moments to start from.

    Args:
        vision: V; its encoder stays behind.
        memory: M.
        controller: one C for this M.
        starts: S of this M, at most 64.
        config: of the rounding.
        others: arrays that the page needs besides, by name; they stay float32.

    Raises:
        ValueError: the parts do not fit together, there are more starts than 64, or a number is
            NaN or infinite; the message names which.
    """
    check_models(vision, memory, controller, starts)
    config = config or WeightsConfig()
    arrays = decoder_arrays(vision) | decoder_order(vision)
    about: dict[str, Any] = {"vision": dataclasses.asdict(vision.config)}
    if memory is not None:
        arrays |= memory_arrays(memory)
        about["memory"] = dataclasses.asdict(memory.config)
    bits = {
        name: config.vision_bits if name.startswith("vision.") else config.memory_bits
        for name, array in arrays.items()
        if array.ndim > 1
    }
    if controller is not None:
        arrays["controller.weight"] = _numpy(controller.weight[0])  # (A, F)
        arrays["controller.bias"] = _numpy(controller.bias[0])  # (A,)
        about["controller"] = dataclasses.asdict(controller.config)
    if starts is not None:
        arrays |= {f"starts.{name}": _numpy(part) for name, part in starts.dreamed().items()}
    return pack({**arrays, **(others or {})}, bits, about, config.block)


def check_models(
    vision: VAE,
    memory: MDNRNN | None = None,
    controller: LinearController | None = None,
    starts: Starts | None = None,
) -> None:
    """Refuse parts that do not fit together, by name; errors as `pack_models`."""
    if memory is None:
        if controller is not None or starts is not None:
            raise ValueError("C and starts need their M, got none")
        return
    check_same("V's latents", vision.config.latent, memory.config.latent)
    if starts is not None:
        check_starts(memory, starts)
        check_type("the number of starts", len(starts.z), whole(1, MOST_STARTS))
    if controller is not None:
        check_same("the number of controllers that drive", len(controller.parameters), 1)
        check_controller(memory.config, controller.config)


@torch.no_grad()
def decoder_order(vision: VAE) -> dict[str, np.ndarray]:
    """The numbers of z, the one that moves V's picture most first, as `latents.order` (Z,).

    Each is moved from -2 to 2 while the others rest at 0, about as far as codes reach whose prior
    is the standard normal; what changes is the mean squared difference of the pixels.
    """
    far = 2 * torch.eye(vision.config.latent)  # (Z, Z)
    where = next(vision.parameters()).device
    low, high = (vision.reconstruct(sign * far.to(where)) for sign in (-1, 1))  # (Z, C, H, W)
    change = (high - low).square().mean((1, 2, 3))  # (Z,)
    return {"latents.order": _numpy(change.argsort(descending=True, stable=True))}


def decoder_arrays(vision: VAE) -> dict[str, np.ndarray]:
    """V's decoder, as `vision.NAME` for the names of its state."""
    return {
        f"vision.{name}": _numpy(tensor)
        for name, tensor in vision.state_dict().items()
        if name.startswith(("from_code.", "deconvolutions."))
    }


def memory_arrays(memory: MDNRNN) -> dict[str, np.ndarray]:
    """M, as `memory.NAME`; the LSTM's two biases, which are always added, as one.

    The head for a cost stays behind: no demo asks it anything.
    """
    state = {
        f"memory.{name}": _numpy(tensor)
        for name, tensor in memory.state_dict().items()
        if not name.startswith("cost.")
    }
    biases = [state.pop(f"memory.lstm.bias_{which}_l0") for which in ("ih", "hh")]
    return {**state, "memory.lstm.bias": biases[0] + biases[1]}


def as_packed(agent: Agent, config: WeightsConfig | None = None) -> Agent:
    """The agent that a page runs: a copy whose weights went through `pack_models`."""
    return Agent(*rounded(agent.vision, agent.memory, config), agent.controller)


def rounded(vision: VAE, memory: MDNRNN, config: WeightsConfig | None = None) -> tuple[VAE, MDNRNN]:
    """The V and M that a page runs: copies whose weights went through `pack_models`."""
    arrays, _ = unpack(pack_models(vision, memory, config=config))
    vision, memory = copy.deepcopy((vision, memory))
    bias = arrays.pop("memory.lstm.bias")
    arrays["memory.lstm.bias_ih_l0"], arrays["memory.lstm.bias_hh_l0"] = bias, 0 * bias
    for prefix, module in (("vision.", vision), ("memory.", memory)):
        _replace(module, {n.removeprefix(prefix): a for n, a in arrays.items() if prefix in n})
    return vision, memory


@torch.no_grad()
def quantisation_cost(
    agent: Agent,
    episodes: Sequence[Episode],
    config: WeightsConfig | None = None,
    *,
    horizon: int = 100,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """What rounding costs on real episodes: each measure as it is, and as a page has it.

    Returns:
        pairs (original, rounded), by name:
        `squared_error` of V's reconstruction of a frame, summed over its pixels (values in [0, 1]);
        `code_nats` of M, the log likelihood of the next code for each latent number;
        `reward_error`, root mean square of M's expected reward of a decision against the real one;
        `dream_return`, mean return of C's dreams of `horizon` decisions at temperature 1, from the
        same moments and with the same noise.

    Raises:
        ValueError: there are no episodes, or the parts do not fit together.
    """
    codes = Codes.of(episodes, agent.vision.encode)
    frames = np.concatenate([np.asarray(episode.observations) for episode in episodes])
    measured = [
        _measure(each, codes, frames, horizon, seed) for each in (agent, as_packed(agent, config))
    ]
    return {name: (measured[0][name], measured[1][name]) for name in measured[0]}


def _measure(
    agent: Agent, codes: Codes, frames: np.ndarray, horizon: int, seed: int
) -> dict[str, float]:
    vision, memory = agent.vision, agent.memory
    squared = [
        (vision.reconstruct(torch.from_numpy(z)) - vision.images(x)).square().sum((1, 2, 3))
        for z, x in zip(_batches(codes.mean), _batches(frames), strict=True)
    ]
    nats, errors = [], []
    for first, length in zip(codes.first, codes.lengths, strict=True):
        now = slice(first, first + length)
        z, target = (torch.from_numpy(codes.mean[first + i : first + i + length]) for i in (0, 1))
        hidden, _ = memory(z[None], torch.from_numpy(codes.actions[now])[None])  # (1, T, H)
        prediction = memory.predict(hidden[0])
        nats.append(log_likelihood(prediction, target) / memory.config.latent)
        errors.append(memory.expected_reward(prediction) - torch.from_numpy(codes.rewards[now]))
    warm = int(min(16, codes.lengths.max() - 1))
    starts = warm_up(memory, codes, warm)
    some = starts.take(slice(None, None, -(-len(starts.z) // 256)))  # at most 256
    noise = torch.Generator().manual_seed(seed)
    returns = Dream(memory).returns(agent.controller, some, horizon=horizon, generator=noise)
    return {
        "squared_error": float(torch.cat(squared).mean()),
        "code_nats": float(torch.cat(nats).mean()),
        "reward_error": float(torch.cat(errors).square().mean().sqrt()),
        "dream_return": float(returns.mean()),
    }


def _batches(array: np.ndarray, size: int = 256) -> list[np.ndarray]:
    return [array[i : i + size] for i in range(0, len(array), size)]


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().cpu().numpy()
    return array


def _replace(module: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    module.load_state_dict({**module.state_dict(), **tensors})
