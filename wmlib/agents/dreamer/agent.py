"""Dreamer (Hafner et al. 2020, "Dream to Control"): behaviour from latent imagination."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from wmlib.agents.dreamer.behaviour import Actor, BehaviourConfig, exploring, losses
from wmlib.agents.dreamer.rssm import State
from wmlib.agents.dreamer.world_model import WorldModel, WorldModelConfig
from wmlib.checkpoint import load_agent, save_agent
from wmlib.imagination import imagine
from wmlib.learning import MOST_UPDATES
from wmlib.nets.mlp import mlp
from wmlib.runs import Row
from wmlib.sequences import Sequences, Stream
from wmlib.spaces import bounded_box, frame
from wmlib.training import seeded
from wmlib.typed import NonNegativeFloat, PositiveFloat, PositiveInt, typed


@typed
@dataclass(frozen=True)
class DreamerConfig:
    """Everything that decides a run, besides its environment, steps and seed."""

    world_model: WorldModelConfig = field(default_factory=WorldModelConfig)
    behaviour: BehaviourConfig = field(default_factory=BehaviourConfig)
    first: PositiveInt = 1000
    """real steps of random play before anything is learned (paper: 5,000)"""
    ratio: PositiveFloat = 0.4
    """updates for each real step (paper: 0.1)"""
    batch: PositiveInt = 16
    """stretches an update (paper: 50)"""
    length: PositiveInt = 25
    """T, observations in a stretch (paper: 50)"""
    model_rate: PositiveFloat = 2e-3
    """Adam's, of the world model (paper: 6e-4; ours: for a hundredth of its updates)"""
    actor_rate: PositiveFloat = 3e-4
    """(paper: 8e-5)"""
    value_rate: PositiveFloat = 3e-4
    """(paper: 8e-5)"""
    clip: PositiveFloat = 100.0
    """largest norm of a gradient (paper: 100)"""
    exploration: NonNegativeFloat = 0.3
    """standard deviation of the noise added to actions played, of a range of 2 (paper: 0.3)"""
    low: tuple[float, ...] = (-1.0,)
    """least of each action; the environment says it"""
    high: tuple[float, ...] = (1.0,)
    """most of each action; the environment says it"""


class Dreamer:
    """An agent for pictures (H, W, C) uint8 and actions in a bounded box of one axis.

    Args:
        config: of everything; see `fitted`.
        seed: of the first weights, the batches and the dreams.
        device: that it computes on.
    """

    FILE, KIND = "agent.safetensors", "dreamer"

    environment = ""
    """the id of what it was trained on, once it is saved"""

    @typed
    def __init__(
        self,
        config: DreamerConfig | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config = config or DreamerConfig()
        self.seed, self.device, self.updates = seed, torch.device(device), 0
        self.stretch = config.length
        shape = config.world_model
        features = shape.rssm.deterministic + shape.rssm.stochastic
        behaviour = config.behaviour
        self.model = seeded(seed, lambda: WorldModel(shape)).to(device)
        self.actor = seeded(seed + 1, lambda: Actor(features, shape.actions, behaviour)).to(device)
        self.value = seeded(
            seed + 2, lambda: mlp(features, behaviour.units, behaviour.value_layers, 1)
        ).to(device)
        self.modules: dict[str, nn.Module] = {
            "model": self.model, "actor": self.actor, "value": self.value
        }  # fmt: skip
        rates = config.model_rate, config.actor_rate, config.value_rate
        self.optimisers = {
            f"{name}_adam": torch.optim.Adam(module.parameters(), lr=rate)
            for (name, module), rate in zip(self.modules.items(), rates, strict=True)
        }

    def learn(self, stream: Stream, updates: int) -> Row:
        """So many updates of all three networks; the mean of what they say."""
        rows = []
        for _ in range(updates):
            rng = np.random.default_rng([self.seed, self.updates])
            rows.append(self.update(stream.draw(rng, self.config.batch, self.config.length)))
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    def update(self, batch: Sequences) -> Row:
        """One update on a batch of stretches."""
        generator = torch.Generator().manual_seed(self.seed * MOST_UPDATES + self.updates)
        frames, actions, *others = (
            torch.from_numpy(part).to(self.device).movedim(1, 0) for part in batch
        )  # (T, B, ...)
        rewards, first, ended = (other.float() for other in others)
        z = self.config.world_model.rssm.stochastic
        noise = torch.randn(*first.shape, z, generator=generator).to(self.device)
        loss, states = self.model.loss(frames, self.centred(actions), rewards, first, ended, noise)
        self._descend("model", loss.total)
        start = State(*(part.detach().flatten(0, 1) for part in states))  # (T * B, ...)
        begins = 1 - ended.flatten()  # (T * B,)
        actor_loss, value_loss, returns = self.behave(start, begins, generator)
        entropy = self.entropy(start, begins, generator)
        self._descend("actor", actor_loss - self.config.behaviour.entropy * entropy)
        self._descend("value", value_loss)
        self.updates += 1
        row = {name: float(term.detach()) for name, term in loss._asdict().items()}
        behaviour = {"dreamed": returns, "value_loss": value_loss, "entropy": entropy}
        return row | {name: float(term.detach()) for name, term in behaviour.items()}

    def behave(
        self, start: State, begins: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Dream from states (S, ...), and what the dreams say; see `behaviour.losses`."""
        act, horizon = exploring(self.actor, generator), self.config.behaviour.horizon
        dream = imagine(self.model, act, start, horizon, generator)
        return losses(dream, begins, self.value, self.config.behaviour)

    def entropy(self, start: State, begins: Tensor, generator: torch.Generator) -> Tensor:
        """Of the actions where dreams begin, in nats: its mean, 0 at states that do not count."""
        noise = torch.randn(len(begins), self.actor.actions, generator=generator)
        return (begins * self.actor.entropy(start.features, noise.to(begins))).mean()

    def _descend(self, name: str, loss: Tensor) -> None:
        weights, optimiser = list(self.modules[name].parameters()), self.optimisers[f"{name}_adam"]
        optimiser.zero_grad()
        loss.backward(inputs=weights)  # and no other network's, though the loss hangs on them
        nn.utils.clip_grad_norm_(weights, self.config.clip)
        optimiser.step()

    def centred(self, actions: Tensor) -> Tensor:
        """Actions of the environment's range in [-1, 1]."""
        low, high = self._bounds()
        return 2 * (actions - low) / (high - low) - 1

    def spread(self, actions: Tensor) -> Tensor:
        """Actions in [-1, 1] in the environment's range."""
        low, high = self._bounds()
        return low + (actions + 1) / 2 * (high - low)

    def _bounds(self) -> tuple[Tensor, Tensor]:
        low, high = (
            torch.tensor(b, device=self.device) for b in (self.config.low, self.config.high)
        )
        return low, high

    def policy(self, explore: bool = False) -> DreamerPolicy:
        """What plays: the state is filtered from what is seen."""
        return DreamerPolicy(self, explore)

    def save(self, folder: str | Path, made: Mapping[str, Any]) -> None:
        """As `agent.safetensors` in a folder; see `wmlib.checkpoint.save_agent`."""
        save_agent(self, self.config, folder, made)

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> Dreamer:
        """The agent that `save` saved; errors as `wmlib.checkpoint.load_agent`."""
        agent, environment = load_agent(
            cls, DreamerConfig, lambda config: cls(config, device=device), folder
        )
        agent.environment = environment
        return agent


def fitted(config: DreamerConfig, observations: gym.Space, actions: gym.Space) -> DreamerConfig:
    """The configuration for the pictures and actions of an environment.

    Raises:
        ValueError: Dreamer cannot see or act in such a space.
    """
    seen, actions = frame(observations, [np.uint8]), bounded_box(actions)
    model = dataclasses.replace(config.world_model, frame=seen, actions=actions.shape[0])
    low, high = (tuple(bound.tolist()) for bound in (actions.low, actions.high))
    return dataclasses.replace(config, world_model=model, low=low, high=high)


class DreamerPolicy:
    """Plays by what it has seen since the episode began."""

    def __init__(self, agent: Dreamer, explore: bool) -> None:
        self.agent, self.explore = agent, explore

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.state = self.agent.model.rssm.initial(1)
        self._action = torch.zeros(1, self.agent.config.world_model.actions)

    @torch.no_grad()
    def act(self, observation: np.ndarray) -> np.ndarray:
        """An action (A,) for a picture (H, W, C)."""
        agent, model = self.agent, self.agent.model
        frame = torch.from_numpy(observation).to(agent.device)[None, None]  # (1, 1, H, W, C)
        embedding = model.embed(model.pictures(frame))[0]  # (1, E)
        self.state, _, _ = model.rssm.observe(
            self.state, self._action.to(agent.device), embedding,
            self._noise(self.state.stochastic.shape),
        )  # fmt: skip
        features = self.state.features
        if self.explore:
            action = agent.actor.draw(features, self._noise(self._action.shape))
            noise = agent.config.exploration * self._noise(action.shape)
            action = (action + noise).clamp(-1, 1)
        else:
            action = agent.actor.mode(features)
        self._action = action
        played: np.ndarray = agent.spread(action[0]).cpu().numpy()  # (A,)
        return played

    def _noise(self, shape: torch.Size) -> Tensor:
        draw = self._rng.standard_normal(shape, dtype=np.float32)
        return torch.from_numpy(draw).to(self.agent.device)
