"""The dream of World Models as a Gymnasium environment."""

from __future__ import annotations

from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from wmlib.agents.world_models.actions import as_numbers, choices_of
from wmlib.agents.world_models.dream import Price
from wmlib.agents.world_models.memory import MDNRNN
from wmlib.agents.world_models.mixture import Temperature
from wmlib.agents.world_models.starts import Starts, check_starts
from wmlib.agents.world_models.vision import VAE
from wmlib.agents.world_models.world import World, WorldState, payment
from wmlib.imagination import ImaginedEnv
from wmlib.shapes import as_array
from wmlib.typed import PositiveFloat, PositiveInt, check_same, typed


class DreamEnv(ImaginedEnv[WorldState]):
    """The dream as an environment: M is the world, a reset picks a real moment to start from.

    Observations are the features [z, h] (Z + H,), which is what C reads; `render` decodes z with V.

    Args:
        memory: M.
        starts: moments to start from.
        action_space: of the real environment.
        horizon: decisions after which an episode is truncated, >= 1.
        temperature: > 0.
        vision: V; needed for `render_mode="rgb_array"` only.
        render_mode: None or "rgb_array".
        pace: see `wmlib.agents.world_models.dream.most_paid`.
        price: what a cost of 1 takes away from a reward.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 17}  # noqa: RUF012

    @typed
    def __init__(
        self,
        memory: MDNRNN,
        starts: Starts,
        action_space: gym.Space,
        horizon: PositiveInt = 100,
        temperature: Temperature = 1.0,
        vision: VAE | None = None,
        render_mode: Literal["rgb_array"] | None = None,
        pace: PositiveFloat | None = None,
        price: Price = 0.0,
    ) -> None:
        world, pay = World(memory, temperature), payment(memory, pace, price)
        check_starts(memory, starts)
        choices = choices_of(action_space)
        box = action_space.shape if isinstance(action_space, gym.spaces.Box) else None
        if (memory.config.actions,) not in (box, (choices,)):
            raise ValueError(
                f"M knows {memory.config.actions} actions, the space is {action_space}"
            )
        if render_mode and vision is None:
            raise ValueError("render_mode 'rgb_array' needs vision, the V that decodes the dream")
        if vision is not None:
            check_same("latents of vision", vision.config.latent, memory.config.latent)
        sizes = memory.config.latent, memory.config.hidden
        bounds = np.array([np.finfo(np.float32).max, 1.0], np.float32)  # an LSTM's h is a tanh
        high = np.repeat(bounds, sizes)  # (Z + H,)

        def begin(row: int) -> WorldState:
            some = starts.take(slice(row, row + 1))
            return world.begin(some.z, some.hidden, some.cell)

        def read(action: Any) -> Tensor:
            return _read(action, memory.config.actions, choices)

        def picture(state: WorldState) -> np.ndarray:
            assert vision is not None
            return vision.decode(state.z[0].cpu().numpy())  # (H, W, C)

        super().__init__(
            world, begin, len(starts.z), gym.spaces.Box(-high, high, dtype=np.float32),
            action_space, read, horizon, pay, picture if render_mode else None,
        )  # fmt: skip

    @typed
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start from a random moment, or from the one that `options={"start": row}` names."""
        return super().reset(seed=seed, options=options)


def _read(action: Any, actions: int, choices: int | None) -> Tensor:
    """What M reads of an action: (A,) float32, one-hot of a choice."""
    if choices is not None:
        action = as_numbers(np.asarray(action), choices)  # (A,)
    numbers = as_array("an action", action, actions, finite=True)
    return torch.as_tensor(numbers, dtype=torch.float32)
