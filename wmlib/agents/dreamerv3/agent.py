"""DreamerV3 (Hafner et al. 2023): one configuration for every world."""

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

from wmlib.agents.dreamerv3.behaviour import (
    Actor,
    BehaviourConfig,
    Critic,
    Range,
    losses,
    replay_loss,
)
from wmlib.agents.dreamerv3.rssm import State
from wmlib.agents.dreamerv3.world_model import WorldModel, WorldModelConfig
from wmlib.checkpoint import load_agent, save_agent
from wmlib.imagination import imagine
from wmlib.learning import MOST_UPDATES
from wmlib.runs import Row
from wmlib.sequences import Sequences, Stream
from wmlib.spaces import box
from wmlib.training import seeded
from wmlib.typed import PositiveFloat, PositiveInt, typed


@typed
@dataclass(frozen=True)
class DreamerV3Config:
    """Everything that decides a run: no number of it hangs on the world.

    "Paper" is Hafner et al. 2023, in the authors' code of April 2024.
    """

    world_model: WorldModelConfig = field(default_factory=WorldModelConfig)
    behaviour: BehaviourConfig = field(default_factory=BehaviourConfig)
    first: PositiveInt = 500
    """real steps of random play before anything is learned (ours)"""
    ratio: PositiveFloat = 1.0
    """updates for each real step (paper: replayed observations for each real one, 32 to 1,024; ours
    replays 8 * 16 = 128)"""
    batch: PositiveInt = 8
    """stretches an update (paper: 16)"""
    length: PositiveInt = 16
    """T, observations in a stretch (paper: 64). Ours begins knowing nothing, see `RSSM.filter`"""
    learning_rate: PositiveFloat = 1e-3
    """Adam's, of all networks but the actor (paper: 4e-5; ours: for a hundredth of its updates).
    Adam keeps 0.99 of its mean square and adds 1e-8 (authors: LaProp, 0.999 and 1e-20)"""
    actor_rate: PositiveFloat = 1e-4
    """the actor's (paper: 4e-5 too; January 2023: a third of the world model's; ours: it must not
    settle before there is a model to learn from)"""
    warmup: PositiveInt = 50
    """updates over which both rates rise (paper: 1,000)"""
    clip: PositiveFloat = 0.3
    """largest gradient of a weight matrix, as a share of its norm (paper: 0.3)"""


@dataclass(frozen=True)
class Spaces:
    """What the networks must know of an environment."""

    shape: tuple[int, ...]
    """of an observation"""
    pictures: bool
    """whether observations are bytes or bools; if not, numbers of any size"""
    choices: int | None
    """how many actions there are to choose among; None if actions are numbers"""
    low: tuple[float, ...] = ()
    """least of each number"""
    high: tuple[float, ...] = ()

    @property
    def actions(self) -> int:
        """A."""
        return self.choices or len(self.low)

    @classmethod
    def of(cls, observations: gym.Space, actions: gym.Space) -> Spaces:
        """Those of an environment.

        Raises:
            ValueError: DreamerV3 cannot see it, or cannot act in it.
        """
        pictures = observations.dtype in (np.uint8, np.bool_)
        seen = box(observations).shape, pictures
        if isinstance(actions, gym.spaces.Discrete) and actions.start == 0:
            return cls(*seen, int(actions.n))
        if not isinstance(actions, gym.spaces.Box) or not _is_bounded(actions):
            raise ValueError(f"actions must be Discrete(n) or a bounded Box (A,), got {actions}")
        return cls(*seen, None, tuple(actions.low.tolist()), tuple(actions.high.tolist()))


@dataclass(frozen=True)
class _Saved:
    """What is in the manifest of a trained agent."""

    spaces: Spaces
    config: DreamerV3Config


class DreamerV3:
    """An agent for any Box of observations, and for choices or bounded numbers as actions.

    Args:
        spaces: of the environment.
        config: the same for every world.
        seed: of the first weights, the batches and the dreams.
        device: that it computes on.
    """

    FILE, KIND = "agent.safetensors", "dreamerv3"

    environment = ""
    """the id of what it was trained on, once it is saved"""

    @typed
    def __init__(
        self,
        spaces: Spaces,
        config: DreamerV3Config | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spaces, self.config = spaces, (config := config or DreamerV3Config())
        self.seed, self.device, self.updates = seed, torch.device(device), 0
        self.stretch = config.length
        model, behaviour, rssm = config.world_model, config.behaviour, config.world_model.rssm
        features = rssm.deterministic + rssm.variables * rssm.classes
        self.model = seeded(
            seed, lambda: WorldModel(model, spaces.shape, spaces.pictures, spaces.actions)
        )
        discrete = spaces.choices is not None
        self.actor = seeded(seed + 1, lambda: Actor(features, spaces.actions, discrete, behaviour))
        self.critic = seeded(seed + 2, lambda: Critic(features, behaviour, model.bins))
        self.spread = Range(behaviour.range_rate)
        self.modules: dict[str, nn.Module] = {
            "model": self.model, "actor": self.actor, "critic": self.critic, "spread": self.spread
        }  # fmt: skip
        for module in self.modules.values():
            module.to(self.device)
        learned = [*self.model.parameters(), *self.critic.network.parameters()]
        acting = list(self.actor.parameters())
        self.weights = [*learned, *acting]
        self.rates = config.learning_rate, config.actor_rate
        self.adam = torch.optim.Adam([{"params": learned}, {"params": acting}], betas=(0.9, 0.99))
        self.optimisers = {"adam": self.adam}

    def learn(self, stream: Stream, updates: int) -> Row:
        """So many updates of all networks; the mean of what they say."""
        rows = []
        for _ in range(updates):
            rng = np.random.default_rng([self.seed, self.updates])
            rows.append(self.update(stream.draw(rng, self.config.batch, self.config.length)))
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    def update(self, batch: Sequences) -> Row:
        """One update of all networks on a batch of stretches."""
        generator = torch.Generator().manual_seed(self.seed * MOST_UPDATES + self.updates)
        observations, actions, *others = (
            torch.from_numpy(part).to(self.device).movedim(1, 0) for part in batch
        )  # (T, B, ...)
        rewards, first, ended = (other.float() for other in others)
        config, behaviour = self.config, self.config.behaviour
        variables = config.world_model.rssm.variables
        uniform = torch.rand(*first.shape, variables, generator=generator).to(self.device)
        of_model, states = self.model.loss(
            observations, self.given(actions), rewards, first, ended, uniform
        )
        start = State(*(part.detach().flatten(0, 1) for part in states))  # (T * B, ...)
        with torch.no_grad():  # the actor learns by REINFORCE
            dream = imagine(
                self.model, lambda features: self.actor.draw(features, generator), start,
                behaviour.horizon, generator,
            )  # fmt: skip
        begins = 1 - ended.flatten()  # (T * B,)
        loss, returns = losses(dream, begins, self.actor, self.critic, self.spread, behaviour)
        of_replay = replay_loss(
            self.critic, states.features, rewards, first, ended,
            returns[0].unflatten(0, first.shape), 1 - 1 / config.world_model.horizon,
            behaviour.trace,
        )  # fmt: skip
        replayed = behaviour.replay_weight * of_replay
        self._descend(of_model.total + loss.actor + loss.critic + replayed)
        self.updates += 1
        row = {name: float(term.detach()) for name, term in of_model._asdict().items()}
        return row | {
            "dreamed": float(loss.returns), "entropy": float(loss.entropy),
            "critic": float(loss.critic.detach()),
            "range": float(self.spread.high - self.spread.low),
        }  # fmt: skip

    def _descend(self, loss: Tensor) -> None:
        self.adam.zero_grad()
        loss.backward()
        clip_adaptively(self.weights, self.config.clip)
        share = min(1, (self.updates + 1) / self.config.warmup)
        for group, rate in zip(self.adam.param_groups, self.rates, strict=True):
            group["lr"] = share * rate
        self.adam.step()
        self.critic.follow()

    def given(self, actions: Tensor) -> Tensor:
        """The environment's actions as the networks take them: (..., A)."""
        if self.spaces.choices is not None:
            return functional.one_hot(actions, self.spaces.choices).float()
        low, high = self._bounds()
        return 2 * (actions - low) / (high - low) - 1

    def taken(self, action: Tensor) -> np.ndarray | np.integer:
        """The networks' action (A,) as the environment takes it."""
        if self.spaces.choices is not None:
            return np.int64(action.argmax())
        low, high = self._bounds()
        played: np.ndarray = (low + (action.clamp(-1, 1) + 1) / 2 * (high - low)).cpu().numpy()
        return played

    def _bounds(self) -> tuple[Tensor, Tensor]:
        low, high = (
            torch.tensor(b, device=self.device) for b in (self.spaces.low, self.spaces.high)
        )
        return low, high

    def policy(self, explore: bool = False) -> DreamerV3Policy:
        """What plays; when it explores it draws its actions, else it takes the likeliest (ours: the
        authors' draws them when it is examined, too)."""
        return DreamerV3Policy(self, explore)

    def save(self, folder: str | Path, made: Mapping[str, Any]) -> None:
        """As `agent.safetensors` in a folder; see `wmlib.checkpoint.save_agent`."""
        save_agent(self, _Saved(self.spaces, self.config), folder, made)

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> DreamerV3:
        """The agent that `save` saved; errors as `wmlib.checkpoint.load_agent`."""
        agent, environment = load_agent(
            cls, _Saved, lambda saved: cls(saved.spaces, saved.config, device=device), folder
        )
        agent.environment = environment
        return agent


def _is_bounded(actions: gym.spaces.Box) -> bool:
    return len(actions.shape) == 1 and actions.is_bounded()


def clip_adaptively(weights: list[nn.Parameter], share: float) -> None:
    """Scale down each gradient whose norm is above `share` of its weights' norm, or of 0.001."""
    pairs = [(one.detach(), one.grad) for one in weights if one.grad is not None]
    there, gradients = (list(part) for part in zip(*pairs, strict=True))
    most = torch.stack(torch._foreach_norm(there))
    most = share * most.clamp(min=1e-3)
    norms = torch.stack(torch._foreach_norm(gradients)).clamp(min=1e-12)
    torch._foreach_mul_(gradients, list((most / norms).clamp(max=1)))


class DreamerV3Policy:
    """Plays by what it has seen since the episode began."""

    def __init__(self, agent: DreamerV3, explore: bool) -> None:
        self.agent, self.explore = agent, explore

    def reset(self, rng: np.random.Generator) -> None:
        self._generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        self.state = self.agent.model.rssm.initial(1)
        """what it takes to be so after the last observation"""
        self._action = torch.zeros(1, self.agent.spaces.actions, device=self.agent.device)

    @torch.no_grad()
    def act(self, observation: np.ndarray) -> np.ndarray | np.integer:
        """An action for an observation."""
        agent, model = self.agent, self.agent.model
        seen = model.numbers(torch.from_numpy(np.array(observation)).to(agent.device)[None, None])
        uniform = torch.rand(
            1, 1, agent.config.world_model.rssm.variables, generator=self._generator
        )
        self.state, _ = model.rssm.observe(
            self.state, self._action, model.encoder(seen)[0], uniform[0].to(agent.device)
        )
        features = self.state.features
        actor = agent.actor
        self._action = (
            actor.draw(features, self._generator) if self.explore else actor.mode(features)
        )
        return agent.taken(self._action[0])
