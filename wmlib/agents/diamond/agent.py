"""DIAMOND (Alonso et al. 2024): an agent that learns in the dreams of a diffusion model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from wmlib.agents.diamond.denoiser import DenoiserConfig, pixels
from wmlib.agents.diamond.reward_end import RewardEndConfig
from wmlib.agents.diamond.unet import UNetConfig
from wmlib.agents.diamond.world_model import WorldModel, WorldModelConfig
from wmlib.checkpoint import load_agent, save_agent
from wmlib.envs.minatar import is_minatar
from wmlib.frames import FramePolicy, frames_and_choices
from wmlib.imagination import imagine
from wmlib.learning import MOST_UPDATES
from wmlib.nets.actor_critic import Acting, ActorCritic, ActorCriticConfig
from wmlib.reinforce import losses
from wmlib.runs import Row
from wmlib.sequences import Sequences, Stream
from wmlib.training import seeded
from wmlib.typed import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, typed


@typed
@dataclass(frozen=True)
class DiamondConfig:
    """Everything that decides a run. "Paper" is Alonso et al. 2024, on Atari, and its code."""

    world_model: WorldModelConfig = field(default_factory=WorldModelConfig)
    behaviour: ActorCriticConfig = field(
        default_factory=lambda: ActorCriticConfig(burn_in=3, discount=0.985, entropy=0.03)
    )
    """with the paper's discount, and burnt in on the L frames but for the newest, as in its code
    (entropy in the paper: 0.001; ours: with less it settles before it is good, in the wind)"""
    first: PositiveInt = 500
    """real steps of random play before anything is learned (paper: 5,000 to 10,000 of its own)"""
    ratio: PositiveFloat = 0.7
    """updates for each real step (paper: 4, of each network)"""
    behaviour_first: NonNegativeInt = 700
    """updates of the model alone, before there is anything to dream in (paper: 10,000)"""
    behaviour_every: PositiveInt = 2
    """updates from one of the behaviour to the next (paper: 1; ours: one of its updates costs as
    much as ten of the denoiser's)"""
    batch: PositiveInt = 32
    """stretches an update, of denoiser and reward model (paper: 32, and 70 % of them from the
    newest quarter of the episodes; ours: all are as likely)"""
    dreams: PositiveInt = 64
    """dreams an update of the behaviour (paper: 32; ours: fewer and steadier updates; and a dream
    that has ended is not begun anew, where the authors go on from other real frames)"""
    denoiser_rate: PositiveFloat = 1e-3
    """AdamW's (paper: 1e-4; ours: for a hundredth of its updates)"""
    reward_end_rate: PositiveFloat = 1e-3
    """AdamW's (paper: 1e-4)"""
    behaviour_rate: PositiveFloat = 1e-3
    """AdamW's (paper: 1e-4)"""
    decay: NonNegativeFloat = 1e-2
    """of the weights of denoiser and reward model (paper: 1e-2)"""
    warmup: PositiveInt = 100
    """updates over which the rates of the denoiser and of the reward model rise (paper: 100). Ours:
    counted from the first of all updates, so that the behaviour, which begins later than that by
    default, begins at its full rate (authors: over 100 of its own too)"""
    denoiser_clip: PositiveFloat = 1.0
    """largest norm of its gradient (paper: 1)"""
    clip: PositiveFloat = 100.0
    """of the others' (paper: 100)"""


MINATAR = DiamondConfig(
    world_model=WorldModelConfig(
        denoiser=DenoiserConfig(network=UNetConfig(fold=1)),
        reward_end=RewardEndConfig(channels=(32,)),
    ),
    behaviour=ActorCriticConfig(channels=(32,), burn_in=3, discount=0.985, entropy=0.03),
    first=5_000, ratio=0.125, behaviour_first=2_500, behaviour_every=4,
)  # fmt: skip
"""What decides a run in MinAtar's games (100,000 real steps), unless it is told; all of it ours.

Their frames of 10 x 10 can be halved once. The denoiser does so between its two levels, and folds
no pixels (nor does the paper's). The behaviour begins late: on 4,400 steps of random play in
Breakout, 79 % of next frames had exactly one ball after 800 updates, and 99 % after 2,400."""


def usual(env_id: str) -> DiamondConfig:
    """The configuration of a run that is told none."""
    return MINATAR if is_minatar(env_id) else DiamondConfig()


@typed
@dataclass(frozen=True)
class Spaces:
    """What the networks must know of an environment."""

    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    """(H, W, C) of a frame"""
    actions: PositiveInt
    """A, how many there are to choose among"""

    @property
    def frame(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        height, width, colours = self.shape
        return colours, height, width

    @classmethod
    def of(cls, observations: gym.Space, actions: gym.Space) -> Spaces:
        """Those of an environment.

        Raises:
            ValueError: DIAMOND cannot see it, or cannot act in it.
        """
        return cls(*frames_and_choices(observations, actions))


@dataclass(frozen=True)
class _Saved:
    """What is in the manifest of a trained agent."""

    spaces: Spaces
    config: DiamondConfig


class Diamond:
    """An agent for frames of bytes or bools, and for actions to choose among.

    Args:
        spaces: of the environment.
        config: of the run.
        seed: of the first weights, the batches, the noise and the dreams.
        device: that it computes on.

    Raises:
        ValueError: frames have sides that do not divide, or there is no action, or the sampler asks
            for noise levels that the denoiser never learns.
    """

    FILE, KIND = "agent.safetensors", "diamond"

    environment = ""
    """the id of what it was trained on, once it is saved"""

    @typed
    def __init__(
        self,
        spaces: Spaces,
        config: DiamondConfig | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spaces, self.config = spaces, (config := config or DiamondConfig())
        self.seed, self.device, self.updates = seed, torch.device(device), 0
        past, behaviour = config.world_model.denoiser.past, config.behaviour
        self.stretch = max(past + behaviour.horizon, behaviour.burn_in + 1)
        self.model = seeded(
            seed, lambda: WorldModel(config.world_model, spaces.frame, spaces.actions)
        )
        self.behaviour = seeded(
            seed + 1, lambda: ActorCritic(config.behaviour, spaces.shape, spaces.actions)
        )
        self.modules: dict[str, nn.Module] = {"model": self.model, "behaviour": self.behaviour}
        for module in self.modules.values():
            module.to(self.device)
        parts = {
            "denoiser": (self.model.denoiser, config.denoiser_rate, config.decay),
            "reward_end": (self.model.reward_end, config.reward_end_rate, config.decay),
            "behaviour": (self.behaviour, config.behaviour_rate, 0.0),
        }
        self.rates = {name: rate for name, (_, rate, _) in parts.items()}
        self.optimisers = {
            f"adam of {name}": torch.optim.AdamW(part.parameters(), rate, weight_decay=decay)
            for name, (part, rate, decay) in parts.items()
        }

    def learn(self, stream: Stream, updates: int) -> Row:
        """So many updates; the mean of what they say."""
        rows: dict[str, list[float]] = {}
        for _ in range(updates):
            for name, number in self.update(stream).items():
                rows.setdefault(name, []).append(number)
        return {name: float(np.mean(numbers)) for name, numbers in rows.items()}

    def update(self, stream: Stream) -> Row:
        """One update of the denoiser, of the reward model and, when it is due, of the behaviour."""
        rng = np.random.default_rng([self.seed, self.updates])
        generator = torch.Generator().manual_seed(self.seed * MOST_UPDATES + self.updates)
        config, past = self.config, self.config.world_model.denoiser.past

        def drawn(length: int, batch: int = config.batch) -> tuple[Tensor, ...]:
            return self.given(stream.draw(rng, batch, length))

        # The authors draw a frame more, to learn from the denoiser's own: see `Denoiser.loss`.
        frames, actions, _, first, _ = drawn(past + 1)
        denoising = self.model.denoiser.loss(frames, actions, first, generator)
        self._descend("denoiser", denoising, config.denoiser_clip)
        paid, over = self.model.reward_end.loss(*drawn(past + config.behaviour.horizon))
        self._descend("reward_end", paid + over, config.clip)
        row = {"denoising": denoising, "reward": paid, "end": over}
        dreamt = self.updates - config.behaviour_first
        if dreamt >= 0 and dreamt % config.behaviour_every == 0:
            lived = drawn(max(past, 1 + config.behaviour.burn_in), config.dreams)
            row |= self.behave(lived, generator)
        self.updates += 1
        return {name: float(number.detach()) for name, number in row.items()}

    def behave(self, lived: tuple[Tensor, ...], generator: torch.Generator) -> dict[str, Tensor]:
        """One update of the behaviour, in dreams that go on from stretches of experience."""
        frames, actions, _, first, ended = lived  # (T, B, ...)
        config, behaviour = self.config.behaviour, self.behaviour
        start = self.model.begin(frames, actions, first)
        burnt = len(frames) - 1 - config.burn_in
        carry = behaviour.burn_in((frames[burnt:-1] + 1) / 2, first[burnt:])
        acting = Acting(behaviour, carry, generator)
        with torch.no_grad():  # the behaviour learns by REINFORCE
            dream = imagine(self.model, acting, start, config.horizon, generator)
        loss = losses(behaviour, dream, 1 - ended[-1], carry)
        self._descend("behaviour", loss.actor + loss.critic, self.config.clip)
        return {"dreamed": loss.returns, "entropy": loss.entropy, "critic": loss.critic}

    def _descend(self, name: str, loss: Tensor, clip: float) -> None:
        adam = self.optimisers[f"adam of {name}"]
        adam.zero_grad()
        loss.backward()
        (group,) = adam.param_groups
        nn.utils.clip_grad_norm_(group["params"], clip)
        group["lr"] = min(1, (self.updates + 1) / self.config.warmup) * self.rates[name]
        adam.step()

    def given(self, batch: Sequences) -> tuple[Tensor, ...]:
        """A batch of stretches as the networks take it, (T, B, ...) each, actions one-hot."""
        observations, actions, *others = (
            torch.from_numpy(part).to(self.device).movedim(1, 0) for part in batch
        )
        chosen = functional.one_hot(actions, self.spaces.actions).float()
        return pixels(observations), chosen, *(other.float() for other in others)

    def seen(self, observation: np.ndarray) -> Tensor:
        """The frame (1, C, H, W) of an observation, in [0, 1]."""
        frame = torch.from_numpy(observation).to(self.device)
        return (pixels(frame)[None] + 1) / 2

    def policy(self, explore: bool = False) -> FramePolicy:
        """What plays, with no world model; when it explores it draws its actions."""
        return FramePolicy(self.behaviour, self.seen, explore)

    def save(self, folder: str | Path, made: Mapping[str, Any]) -> None:
        """As `agent.safetensors` in a folder; see `wmlib.checkpoint.save_agent`."""
        save_agent(self, _Saved(self.spaces, self.config), folder, made)

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> Diamond:
        """The agent that `save` saved; errors as `wmlib.checkpoint.load_agent`."""
        agent, environment = load_agent(
            cls, _Saved, lambda saved: cls(saved.spaces, saved.config, device=device), folder
        )
        agent.environment = environment
        return agent


def fitted(config: DiamondConfig, observations: gym.Space, actions: gym.Space) -> Diamond:
    """A new agent for an environment.

    Raises:
        ValueError: as `Spaces.of`, or its frames have sides that do not divide.
    """
    return Diamond(Spaces.of(observations, actions), config)
