"""MuZero (Schrittwieser et al. 2020): search in a model that says rewards, values and policies.

The rules stay outside: the agent sees observations, is told what is legal where it stands, and
learns what its actions lead to as far as that matters for rewards, values and policies.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wmlib.agents.muzero.buffer import Batch, Buffer
from wmlib.agents.muzero.config import MuZeroConfig, Spaces
from wmlib.agents.muzero.gym_world import numbers
from wmlib.agents.muzero.networks import Networks
from wmlib.agents.muzero.search import Root, Searched, Step, masked, search, with_noise
from wmlib.agents.muzero.self_play import World, drawn
from wmlib.checkpoint import load_agent, save_agent
from wmlib.runs import Row
from wmlib.training import seeded
from wmlib.typed import NonNegativeInt, check_same, typed


@dataclass(frozen=True)
class _Saved:
    """What is in the manifest of a trained agent."""

    spaces: Spaces
    config: MuZeroConfig


class MuZero:
    """An agent for any world of one player, or of two who move in turns.

    Args:
        spaces: of the world.
        config: of everything.
        seed: of the first weights and of all draws.
        device: that it computes on.
    """

    FILE, KIND = "agent.safetensors", "muzero"

    environment = ""
    """the name of what it was trained on, once it is saved"""

    @typed
    def __init__(
        self,
        spaces: Spaces,
        config: MuZeroConfig | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spaces, self.config = spaces, (config := config or MuZeroConfig())
        self.seed, self.device, self.updates = seed, torch.device(device), 0
        # What the next state is worth to who acts: a loss, if the opponent is to move there.
        self.discount = -config.discount if spaces.players == 2 else config.discount
        self.networks = seeded(
            seed, lambda: Networks(prod(spaces.shape), spaces.actions, config.networks)
        ).to(self.device)
        self.average = copy.deepcopy(self.networks).requires_grad_(False)
        self.modules: dict[str, nn.Module] = {"networks": self.networks, "average": self.average}
        self.adam = torch.optim.AdamW(
            self.networks.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.optimisers = {"adam": self.adam}

    @torch.inference_mode()
    def root(self, observations: np.ndarray) -> Root:
        """Where a search begins: observations (N, ...), seen by h and f."""
        networks = self.average
        state = networks.represent(torch.from_numpy(observations).to(self.device))  # (N, S)
        policy, value = networks.predict(state)
        return Root(array(policy.softmax(-1)), array(networks.values.number(value)), array(state))

    @torch.inference_mode()
    def recurrent_fn(self, states: np.ndarray, actions: np.ndarray) -> Step:
        """The model, as `search` knows it: states (N, S) and actions (N,), by g and f."""
        networks = self.average
        state, reward = networks.dynamics(
            torch.from_numpy(states).to(self.device), torch.from_numpy(actions).to(self.device)
        )
        policy, value = networks.predict(state)
        numbers = networks.rewards.number(reward), networks.values.number(value)  # (N,) each
        return Step(
            array(numbers[0]), self.discount, array(policy.softmax(-1)), array(numbers[1]),
            array(state),
        )  # fmt: skip

    def think(
        self, observations: np.ndarray, legal: np.ndarray, simulations: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Searched:  # fmt: skip
        """Search from observations (N, ...) with legal actions (N, A).

        Args:
            observations, legal: of each game.
            simulations: of each search; None: as in training.
            rng: of the root's noise; None: none.
        """
        root, config = self.root(observations), self.config
        prior = masked(root.prior, legal)  # (N, A)
        if rng is not None:
            prior = with_noise(prior, legal, config.noise, config.alpha, rng)
        count = config.simulations if simulations is None else simulations
        return search(root._replace(prior=prior), self.recurrent_fn, count, legal)

    def buffer(self) -> Buffer:
        """An empty one, for what this agent plays."""
        config = self.config
        return Buffer(config.capacity, self.discount, config.horizon, config.networks.value_support)

    def learn(self, buffer: Buffer, updates: int, rate: float = 1.0) -> Row:
        """So many updates, at `rate` of the learning rate; the mean of what they say."""
        rows = []
        for group in self.adam.param_groups:
            group["lr"] = rate * self.config.learning_rate
        for _ in range(updates):
            rng = np.random.default_rng([self.seed, 0, self.updates])
            rows.append(self.update(buffer.draw(rng, self.config.batch, self.config.unroll)))
        means = torch.stack(rows).mean(0).tolist()
        return dict(zip(("policy", "value", "reward"), means, strict=True))

    def update(self, batch: Batch) -> Tensor:
        """One update on a batch; the losses (3,) of policy, value and reward."""
        self.networks.values.check(batch.values)
        self.networks.rewards.check(batch.rewards)
        loss, parts = self.loss(batch)
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.networks.parameters()),
                self.config.average_rate,
            )  # fmt: skip
        self.updates += 1
        return parts.detach()

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What an update makes smaller, and its parts (3,): of policy, value and reward."""
        config, parts = self.config, losses(self.networks, batch, self.device)  # (3,)
        total = parts[0] + config.value_weight * parts[1] + config.reward_weight * parts[2]
        return total, parts

    def player(self, world: World, simulations: int = 50) -> MuZeroPlayer:
        """What plays in a world after so many simulations, with no noise; 0: by the network."""
        return MuZeroPlayer(self, world, simulations)

    def policy(self, explore: bool = False, simulations: int | None = None) -> MuZeroPolicy:
        """What plays one episode of an environment; None: as many simulations as in training."""
        count = self.config.simulations if simulations is None else simulations
        return MuZeroPolicy(self, explore, count)

    def save(self, folder: str | Path, made: Mapping[str, Any]) -> None:
        """As `agent.safetensors` in a folder; see `wmlib.checkpoint.save_agent`."""
        save_agent(self, _Saved(self.spaces, self.config), folder, made)

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> MuZero:
        """The agent that `save` saved; errors as `wmlib.checkpoint.load_agent`."""
        agent, environment = load_agent(
            cls, _Saved, lambda saved: cls(saved.spaces, saved.config, device=device), folder
        )
        agent.environment = environment
        return agent


def array(tensor: Tensor) -> np.ndarray:
    """A tensor as the search takes it."""
    numbers: np.ndarray = tensor.cpu().numpy()
    return numbers


def losses(networks: Networks, batch: Batch, device: torch.device | str = "cpu") -> Tensor:
    """The losses (3,) of policy, value and reward, each a mean over a batch.

    The model is unrolled over the K actions that were taken. What is said of the first state counts
    once, and what is said after each of the K steps 1 / K; the gradient that flows back into each
    state from the next is halved (paper, appendix G).
    """
    observations, actions, rewards, values, policies, known = (
        torch.from_numpy(part).to(device) for part in batch
    )
    K = actions.shape[1]
    states, logits = unrolled(networks, observations, actions)
    policy, value = networks.predict(torch.stack(states).flatten(0, 1))  # ((K + 1) * B, ...)
    weights = known.T / torch.tensor([1.0, *[K] * K], device=device)[:, None]  # (K + 1, B)
    of_policy = -(policies.movedim(1, 0).flatten(0, 1) * policy.log_softmax(-1)).sum(-1)
    of_value = networks.values.loss(value, values.T.flatten())  # ((K + 1) * B,)
    of_reward = networks.rewards.loss(torch.stack(logits), rewards.T)  # (K, B)
    first = (weights * part.unflatten(0, (K + 1, -1)) for part in (of_policy, of_value))
    of_reward = known.T[:-1] * of_reward
    return torch.stack([*(part.sum(0).mean() for part in first), of_reward.sum(0).mean() / K])


def unrolled(
    networks: Networks, observations: Tensor, actions: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """From observations (B, ...) along actions (B, K): K + 1 states (B, S), K logits of rewards."""
    states, logits = [networks.represent(observations)], []
    for action in actions.unbind(1):
        following, reward = networks.dynamics(half_gradient(states[-1]), action)
        states.append(following)
        logits.append(reward)
    return states, logits


def half_gradient(state: Tensor) -> Tensor:
    """The same numbers, through which half of a gradient flows."""
    return 0.5 * state + 0.5 * state.detach()


def most_visited(searched: Searched) -> np.ndarray:
    """(N,) the action that most simulations began with, and of equal ones the better."""
    rank = searched.actions / (np.ptp(searched.actions) + 1)  # (N, A) less than 1 apart
    most: np.ndarray = (searched.visits + 0.5 * rank).argmax(1)
    return most


class MuZeroPolicy:
    """Plays an episode of a Gymnasium environment, from one observation at a time."""

    @typed
    def __init__(self, agent: MuZero, explore: bool, simulations: NonNegativeInt) -> None:
        self.agent, self.explore, self.simulations = agent, explore, simulations

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def act(self, observation: np.ndarray) -> np.int64:
        """An action for an observation (...)."""
        agent, seen = self.agent, numbers(np.asarray(observation))[None]  # (1, ...)
        if not self.simulations:
            return np.int64(agent.root(seen).prior[0].argmax())
        legal = np.ones((1, agent.spaces.actions), bool)
        rng = self._rng if self.explore else None
        searched = agent.think(seen, legal, self.simulations, rng)
        moves = drawn(searched.visits, 1.0, self._rng) if self.explore else most_visited(searched)
        return np.int64(moves[0])


class MuZeroPlayer:
    """Takes the action that `most_visited` says, in many games at once."""

    @typed
    def __init__(self, agent: MuZero, world: Any, simulations: NonNegativeInt) -> None:
        check_same("spaces of the world", Spaces.of(world), agent.spaces)
        self.agent, self.world, self.simulations = agent, world, simulations

    def move(self, state: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Actions (N,) at states (N, ...) of the world. Nothing is drawn."""
        seen, legal = self.world.observe(state), self.world.legal(state)
        if not self.simulations:
            prior = self.agent.root(seen).prior  # (N, A)
            likeliest: np.ndarray = np.where(legal, prior, -1).argmax(1)
            return likeliest
        return most_visited(self.agent.think(seen, legal, self.simulations))
