"""DreamerV3's world model: one set of numbers for rewards and observations of any size.

Letters: B batch, T time, A action, F features of a state, O numbers in an observation, K bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from wmlib.agents.dreamerv3.rssm import RSSM, RSSMConfig, State, balanced, divergence, normed_mlp
from wmlib.nets.heads import expected, symexp_bins, symlog, two_hot_loss
from wmlib.typed import NonNegativeFloat, PositiveFloat, PositiveInt, typed


@typed
@dataclass(frozen=True)
class WorldModelConfig:
    """Hyper-parameters of the world model. "Paper" is Hafner et al. 2023 (April 2024)."""

    rssm: RSSMConfig = field(default_factory=RSSMConfig)
    units: PositiveInt = 128
    """in the hidden layers of encoder, decoder and heads (`size1m` of December 2024: 64)"""
    layers: PositiveInt = 2
    """of encoder and decoder (paper: 3 for vectors, and convolutions for pictures; ours: none, our
    pictures are 10 to 32 pixels a side)"""
    head_layers: PositiveInt = 1
    """of the heads (paper: 1)"""
    embedding: PositiveInt = 128
    """E, numbers that an observation is encoded into"""
    bins: PositiveInt = 255
    """K, of two-hot numbers (paper: 255)"""
    dynamics_weight: NonNegativeFloat = 1.0
    """of the prior's share of the divergence (paper: 1; January 2023: 0.5)"""
    representation_weight: NonNegativeFloat = 0.1
    """of the posterior's share (paper: 0.1)"""
    free_nats: NonNegativeFloat = 1.0
    """of the divergence, summed over the variables, that cost nothing (paper: 1)"""
    horizon: PositiveFloat = 333.0
    """decisions; the discount 1 - 1 / horizon is part of what the continue head learns"""


class WorldModelLoss(NamedTuple):
    """Terms of the loss, averaged over a batch (scalars)."""

    total: Tensor
    observation: Tensor
    """squared error, summed over an observation"""
    reward: Tensor
    """cross-entropy of the two-hot reward"""
    continues: Tensor
    divergence: Tensor
    """KL(posterior || prior) in nats, whole"""


class WorldModel(nn.Module):
    """Observations and actions to states; states to observations, rewards, and whether it goes on.

    Args:
        config: sizes and weights.
        shape: of an observation.
        pictures: whether observations are bytes or bools; if not, they are numbers of any size.
        actions: A.
    """

    bins: Tensor

    def __init__(
        self, config: WorldModelConfig, shape: tuple[int, ...], pictures: bool, actions: int
    ) -> None:
        super().__init__()
        self.config, self.shape, self.are_pictures = config, shape, pictures
        numbers = math.prod(shape)
        features = config.rssm.deterministic + config.rssm.variables * config.rssm.classes
        units, layers = config.units, config.layers
        self.encoder = normed_mlp(numbers, units, layers, config.embedding)
        self.rssm = RSSM(config.rssm, config.embedding, actions)
        self.decoder = normed_mlp(features, units, layers, numbers)
        # At first it expects exactly nothing.
        self.reward = normed_mlp(features, units, config.head_layers, config.bins, scale=0)
        self.goes_on = normed_mlp(features, units, config.head_layers, 1)
        self.register_buffer("bins", symexp_bins(config.bins), persistent=False)

    def numbers(self, observations: Tensor) -> Tensor:
        """Observations (..., *shape) as (..., O): in [0, 1] if pictures, else by symlog."""
        flat = observations.flatten(-len(self.shape)) if self.shape else observations[..., None]
        if flat.dtype == torch.uint8:
            return flat.float() / 255
        return flat.float() if self.are_pictures else symlog(flat.float())

    def paint(self, features: Tensor) -> Tensor:
        """(..., O) of features (..., F), in the scale of `numbers`."""
        painted: Tensor = self.decoder(features)
        return painted

    def expected_reward(self, features: Tensor) -> Tensor:
        """(...) of features (..., F), in the environment's units."""
        return expected(self.reward(features), self.bins)

    def reward_loss(self, features: Tensor, rewards: Tensor) -> Tensor:
        """Cross-entropy (...) against rewards (...) in the environment's units."""
        return two_hot_loss(self.reward(features), rewards, self.bins)

    def expected_continue(self, features: Tensor) -> Tensor:
        """(...) discounted probability that the episode goes on after arriving at a state."""
        return torch.sigmoid(self.goes_on(features).squeeze(-1))

    def step(
        self, state: State, action: Tensor, generator: torch.Generator | None
    ) -> tuple[State, Tensor, Tensor]:
        """One dreamed decision, see `wmlib.imagination.Model`; `continues` is discounted."""
        shape = len(action), self.config.rssm.variables
        uniform = torch.rand(shape, generator=generator).to(action)
        state = self.rssm.imagine(state, action, uniform)
        features = state.features
        return state, self.expected_reward(features), self.expected_continue(features)

    def loss(
        self, observations: Tensor, actions: Tensor, rewards: Tensor, first: Tensor, ended: Tensor,
        uniform: Tensor,
    ) -> tuple[WorldModelLoss, State]:  # fmt: skip
        """What the world model minimises on stretches of experience.

        Args:
            observations: (T, B, *shape).
            actions: (T, B, A), before each observation.
            rewards: (T, B) in the environment's units, with each observation.
            first, ended: (T, B) 0 or 1.
            uniform: (T, B, Z) in [0, 1).

        Returns:
            The loss, and the states (T, B, ...) from which dreams begin.
        """
        config = self.config
        seen = self.numbers(observations)  # (T, B, O)
        states, posterior = self.rssm.filter(self.encoder(seen), actions, first, uniform)
        features = states.features  # (T, B, F)
        observation = (self.paint(features) - seen).square().sum(-1).mean()
        reward = self.reward_loss(features, rewards).mean()
        discount = 1 - 1 / config.horizon
        continues = functional.binary_cross_entropy_with_logits(
            self.goes_on(features).squeeze(-1), discount * (1 - ended)
        )
        prior = self.rssm.prior(states.deterministic)  # (T, B, Z, K)
        of_prior, of_posterior = balanced(posterior, prior, config.free_nats)
        total = (
            observation + reward + continues
            + config.dynamics_weight * of_prior.mean()
            + config.representation_weight * of_posterior.mean()
        )  # fmt: skip
        nats = divergence(posterior, prior).mean().detach()
        return WorldModelLoss(total, observation, reward, continues, nats), states
