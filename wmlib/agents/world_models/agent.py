"""V, M and C together: at the wheel of a real environment, and in the files of one folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F

from wmlib.agents.world_models.actions import as_taken
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.controller import LinearController, check_controller
from wmlib.agents.world_models.memory import MDNRNN
from wmlib.agents.world_models.recipes import ENV_ID
from wmlib.agents.world_models.starts import Starts, warm_up
from wmlib.agents.world_models.vision import VAE
from wmlib.checkpoint import load_checkpoint
from wmlib.episodes import run_episode
from wmlib.typed import (
    NonNegativeFloat,
    PositiveInt,
    Seed,
    Share,
    check_same,
    check_type,
    typed,
)


class WorldModelPolicy:
    """The agent of the paper: V sees, C acts on [z, h], M remembers what was done.

    Args:
        vision: V.
        memory: M.
        controller: one C.
        noise: smooth noise on each action, for collecting; each episode draws its standard
            deviation from [0, noise], so that it is driven now steadily, now badly. 0 for none.
            Where an action is a choice: the most of its decisions, a share in [0, 1], that an
            episode makes at random, each action equally likely; each episode draws its share.

    Raises:
        TypeError: a part is not V, M or C.
        ValueError: the parts do not fit together, or `noise` is out of range.
    """

    @typed
    def __init__(
        self,
        vision: VAE,
        memory: MDNRNN,
        controller: LinearController,
        noise: NonNegativeFloat = 0.0,
    ) -> None:
        check_same("V's latents", vision.config.latent, memory.config.latent)
        check_controller(memory.config, controller.config)
        check_same("the number of controllers that drive", len(controller.parameters), 1)
        if controller.config.choices is not None:
            check_type("noise", noise, Share)
        self.vision, self.memory, self.controller, self.noise = vision, memory, controller, noise

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._level = self.noise * rng.random() if self.noise else 0.0
        self._state = self.memory.initial(1)
        self._noise = np.zeros(self.memory.config.actions)

    @torch.no_grad()
    def act(self, observation: np.ndarray) -> np.ndarray | np.integer:
        """What to do now: (A,) float32, or a whole number where an action is a choice."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the same rounding in every worker, however many there are
        try:
            z = self.vision.posterior(self.vision.images(observation[None]))[0]  # (1, Z)
            features = torch.cat([z, self._state.hidden], 1)[:, : self.controller.config.features]
            action = self.controller.act(features[None])[0]  # (1, A)
            if self.noise and self.controller.config.choices:
                if self._rng.random() < self._level:
                    chosen = torch.tensor([self._rng.integers(action.shape[1])])
                    action = F.one_hot(chosen, action.shape[1]).to(action)
            elif self.noise:
                fresh = self._rng.standard_normal(len(self._noise))
                self._noise = 0.9 * self._noise + np.sqrt(1 - 0.9**2) * fresh
                action = action + torch.from_numpy(self._level * self._noise[None]).to(action)
                low = [-1.0 if name == "tanh" else 0.0 for name in self.controller.config.squash]
                action = action.clamp(action.new_tensor(low), action.new_ones(len(low)))
            self._state = self.memory.step(z, action, self._state)
            return as_taken(action[0].cpu().numpy(), self.controller.config.choices)
        finally:
            torch.set_num_threads(threads)


@dataclass(frozen=True)
class Agent:
    """V, M and C, trained together."""

    FILE: ClassVar = "controller.safetensors"
    KIND: ClassVar = "controller"  # of the file that holds the agent's manifest

    vision: VAE
    memory: MDNRNN
    controller: LinearController
    environment: str = ENV_ID
    """the id of what they were trained on"""

    @classmethod
    def load(cls, folder: str | Path) -> Agent:
        """The agent of a run's folder: vision, memory and controller .safetensors.

        Raises:
            FileNotFoundError: one of them is missing.
            DamagedFileError: one of them was cut short or altered.
        """
        folder = Path(folder)
        vision = VAE.load(folder / "vision.safetensors")
        memory = MDNRNN.load(folder / "memory.safetensors")
        controller = LinearController.load(folder / "controller.safetensors")
        _, manifest = load_checkpoint(folder / "controller.safetensors", "controller")
        return cls(vision, memory, controller, manifest["made"].get("environment", ENV_ID))

    def to(self, device: torch.device | str) -> Agent:
        """The agent on a device: V and M move there, as modules of PyTorch do."""
        vision, memory = self.vision.to(device), self.memory.to(device)
        return replace(self, vision=vision, memory=memory, controller=self.controller.to(device))

    def policy(self, noise: float = 0.0) -> WorldModelPolicy:
        """The agent at the wheel."""
        return WorldModelPolicy(self.vision, self.memory, self.controller, noise)


@typed
def after_real_steps(
    agent: Agent, *, seed: Seed, steps: PositiveInt = 30, action_repeat: PositiveInt = 3
) -> Starts:
    """One moment to dream from (S = 1): the last of `steps` real decisions that the agent took.

    Args:
        agent: what acts, in the environment that it was trained on.
        seed: of the episode.
        steps: decisions, >= 1; fewer where the episode ends.
        action_repeat: CarRacing's frames for each of them.
    """
    kwargs: dict[str, Any] = {"action_repeat": action_repeat} if agent.environment == ENV_ID else {}
    env = gym.make(agent.environment, **kwargs)
    episode = run_episode(env, agent.policy(), seed, max_steps=steps)
    env.close()
    choices = agent.controller.config.choices
    codes = Codes.of([episode], agent.vision.encode, choices=choices)
    starts = warm_up(agent.memory, codes, warm=len(episode) - 1)
    return starts.take(slice(-1, None))
