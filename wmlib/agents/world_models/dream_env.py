"""The dream as a Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch

from wmlib.agents.world_models.actions import as_numbers, choices_of
from wmlib.agents.world_models.memory import MDNRNN, State
from wmlib.agents.world_models.mixture import check_temperature, sample
from wmlib.agents.world_models.starts import Starts, check_starts
from wmlib.agents.world_models.vision import VAE
from wmlib.typed import typed


class DreamEnv(gym.Env[np.ndarray, Any]):
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
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 17}  # noqa: RUF012

    @typed
    def __init__(
        self,
        memory: MDNRNN,
        starts: Starts,
        action_space: gym.Space,
        horizon: int = 100,
        temperature: float = 1.0,
        vision: VAE | None = None,
        render_mode: str | None = None,
    ) -> None:
        check_temperature(temperature)
        if horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {horizon}")
        check_starts(memory, starts)
        self.choices = choices_of(action_space)
        box = action_space.shape if isinstance(action_space, gym.spaces.Box) else None
        if (memory.config.actions,) not in (box, (self.choices,)):
            raise ValueError(
                f"M knows {memory.config.actions} actions, the space is {action_space}"
            )
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        if render_mode and vision is None:
            raise ValueError("render_mode 'rgb_array' needs vision, the V that decodes the dream")
        if vision is not None and vision.config.latent != memory.config.latent:
            raise ValueError(
                f"vision has {vision.config.latent} latents, M has {memory.config.latent}"
            )
        sizes = memory.config.latent, memory.config.hidden
        bounds = np.array([np.finfo(np.float32).max, 1.0], np.float32)  # an LSTM's h is a tanh
        high = np.repeat(bounds, sizes)  # (Z + H,)
        self.observation_space = gym.spaces.Box(-high, high, dtype=np.float32)
        self.action_space = action_space
        self.memory, self.starts, self.vision = memory, starts, vision
        self.horizon, self.temperature, self.render_mode = horizon, temperature, render_mode

    @typed
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start from a random moment, or from the one that `options={"start": row}` names."""
        super().reset(seed=seed)
        row = (options or {}).get("start")
        if row is None:
            row = int(self.np_random.integers(len(self.starts.z)))
        elif not isinstance(row, int | np.integer) or not 0 <= row < len(self.starts.z):
            raise ValueError(f"start must be in [0, {len(self.starts.z)}), got {row!r}")
        self._generator = torch.Generator().manual_seed(int(self.np_random.integers(2**62)))
        start = self.starts.take(slice(row, row + 1))
        self._z, self._state, self._steps = start.z, State(start.hidden, start.cell), 0
        return self._observation(), {"start": row}

    @torch.no_grad()
    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Let M say what happens; the end is drawn from M's termination head."""
        if not hasattr(self, "_z"):
            raise gym.error.ResetNeeded("call reset before step")
        if self.choices is not None:
            action = as_numbers(np.asarray(action), self.choices)  # (A,)
        try:
            given = torch.as_tensor(np.asarray(action), dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):  # not numbers
            given = torch.empty(0)
        if given.shape != (self.memory.config.actions,) or not torch.isfinite(given).all():
            raise ValueError(
                f"an action must be {self.memory.config.actions} finite numbers, got {action!r}"
            )
        self._state = self.memory.step(self._z, given[None], self._state)
        prediction = self.memory.predict(self._state.hidden)
        self._z = sample(prediction, self.temperature, self._generator)
        self._steps += 1
        ended = torch.rand((), generator=self._generator) < torch.sigmoid(prediction.end[0])
        reward = float(self.memory.expected_reward(prediction)[0])
        return self._observation(), reward, bool(ended), self._steps >= self.horizon, {}

    def render(self) -> np.ndarray | None:
        """What V decodes from z: (H, W, C) uint8."""
        if self.render_mode is None or self.vision is None:
            return None
        return self.vision.decode(self._z[0].numpy())

    def _observation(self) -> np.ndarray:
        return torch.cat([self._z[0], self._state.hidden[0]]).numpy()
