"""Dreamer's world model: an RSSM that must paint what it saw and say what it earned.

Letters: B batch, T time, A action, F features of a state, C H W of a picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from wmlib.agents.dreamer.rssm import RSSM, RSSMConfig, State, divergence
from wmlib.nets.conv import check_halving, decoder, encoder, features_of
from wmlib.nets.mlp import mlp
from wmlib.typed import NonNegativeFloat, PositiveFloat, PositiveInt, typed


@typed
@dataclass(frozen=True)
class WorldModelConfig:
    """Hyper-parameters of the world model. "Paper" is Hafner et al. 2020, or the authors' code."""

    frame: tuple[PositiveInt, PositiveInt, PositiveInt] = (32, 32, 1)
    """(H, W, C) of the pictures (paper: 64 x 64 in colour)"""
    actions: PositiveInt = 1
    """A"""
    rssm: RSSMConfig = field(default_factory=RSSMConfig)
    channels: tuple[PositiveInt, ...] = (8, 16)
    """after each convolution, which halves the sides (paper: 32, 64, 128, 256; ours: for pictures
    of 32 x 32 on two cores)"""
    embedding: PositiveInt = 128
    """E, numbers that a picture is encoded into (paper: 1024)"""
    units: PositiveInt = 64
    """in the hidden layers of the heads (paper: 300 or 400)"""
    layers: PositiveInt = 2
    """hidden ones (paper: 2)"""
    free_nats: NonNegativeFloat = 0.2
    """of the mean divergence, that cost nothing (paper: 3, for pictures of 64 x 64 in colour; ours:
    a small grey one tells about a nat, so with 3 the prior would owe nothing, and dreams drift)"""
    reward_scale: PositiveFloat = 0.1
    """what rewards are multiplied by before the model sees them (paper: 1, for rewards of at most
    2; ours: a decision at the pendulum costs up to 33)"""
    continues: bool = False
    """whether a head says that the episode goes on (paper: no; its worlds do not end)"""
    continue_weight: NonNegativeFloat = 10.0
    """of that head's loss (authors' code: 10)"""

    def __post_init__(self) -> None:
        check_halving(self.frame, self.channels)


class WorldModelLoss(NamedTuple):
    """Terms of the loss, in nats an observation, averaged over a batch (scalars)."""

    total: Tensor
    picture: Tensor
    """half the squared error, summed over a picture: a Gaussian of unit variance"""
    reward: Tensor
    divergence: Tensor
    """KL(posterior || prior), before the free nats"""
    continues: Tensor
    """cross-entropy, 0 without that head"""


class WorldModel(nn.Module):
    """Pictures and actions to states; states to pictures, rewards, and whether it goes on."""

    def __init__(self, config: WorldModelConfig) -> None:
        super().__init__()
        self.config = config
        shape, embedding = (config.frame, config.channels), config.embedding
        features = config.rssm.deterministic + config.rssm.stochastic
        self.encoder = nn.Sequential(
            encoder(*shape, nn.ELU), nn.Linear(features_of(*shape), embedding), nn.ELU()
        )
        self.rssm = RSSM(config.rssm, embedding, config.actions)
        self.decoder = nn.Sequential(
            mlp(features, embedding, 1, features_of(*shape)), decoder(*shape, nn.ELU)
        )
        self.reward = mlp(features, config.units, config.layers, 1)
        self.goes_on = mlp(features, config.units, config.layers, 1) if config.continues else None

    def pictures(self, frames: Tensor) -> Tensor:
        """uint8 frames (..., H, W, C) to (..., C, H, W) in [-0.5, 0.5]."""
        return frames.movedim(-1, -3).float() / 255 - 0.5

    def embed(self, pictures: Tensor) -> Tensor:
        """(T, B, C, H, W) to (T, B, E)."""
        embedding: Tensor = self.encoder(pictures.flatten(0, 1))
        return embedding.view(*pictures.shape[:2], -1)

    def paint(self, state: State) -> Tensor:
        """Pictures (..., C, H, W) of states."""
        features = state.features
        pictures: Tensor = self.decoder(features.flatten(0, -2))
        return pictures.view(*features.shape[:-1], *pictures.shape[1:])

    def expected_reward(self, features: Tensor) -> Tensor:
        """(...) of features (..., F), in the model's scale."""
        reward: Tensor = self.reward(features)
        return reward.squeeze(-1)

    def expected_continue(self, features: Tensor) -> Tensor:
        """(...) probability that the episode goes on after arriving at a state."""
        if self.goes_on is None:
            return torch.ones_like(features[..., 0])
        return torch.sigmoid(self.goes_on(features).squeeze(-1))

    def step(
        self, state: State, action: Tensor, generator: torch.Generator | None
    ) -> tuple[State, Tensor, Tensor]:
        """One dreamed decision, see `wmlib.imagination.Model`; rewards in the model's scale."""
        noise = torch.randn(state.stochastic.shape, generator=generator)
        state = self.rssm.imagine(state, action, noise.to(action))
        features = state.features
        return state, self.expected_reward(features), self.expected_continue(features)

    def loss(
        self, frames: Tensor, actions: Tensor, rewards: Tensor, first: Tensor, ended: Tensor,
        noise: Tensor,
    ) -> tuple[WorldModelLoss, State]:  # fmt: skip
        """The negative evidence lower bound of stretches of experience.

        Args:
            frames: (T, B, H, W, C) uint8.
            actions: (T, B, A) in [-1, 1], before each frame.
            rewards: (T, B) in the environment's units, with each frame.
            first, ended: (T, B) 0 or 1.
            noise: (T, B, Z) standard normal.

        Returns:
            The loss, and the states (T, B, ...) from which dreams begin.
        """
        config = self.config
        pictures = self.pictures(frames)  # (T, B, C, H, W)
        states, posterior, prior = self.rssm.filter(self.embed(pictures), actions, first, noise)
        squared = (self.paint(states) - pictures).square().sum((-3, -2, -1))  # (T, B)
        picture = 0.5 * squared.mean()
        known = 1 - first  # the first observation came with no reward
        missed = self.expected_reward(states.features) - config.reward_scale * rewards  # (T, B)
        reward = 0.5 * (known * missed.square()).mean()
        nats = divergence(posterior, prior).mean()
        goes_on = torch.zeros(())
        if self.goes_on is not None:
            logits = self.goes_on(states.features).squeeze(-1)  # (T, B)
            goes_on = functional.binary_cross_entropy_with_logits(logits, 1 - ended)
        total = (
            picture + reward + nats.clamp(min=config.free_nats) + config.continue_weight * goes_on
        )
        return WorldModelLoss(total, picture, reward, nats, goes_on), states
