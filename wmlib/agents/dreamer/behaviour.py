"""Dreamer's behaviour: an actor that learns by the gradient of dreamed returns.

The actor acts in the dream, the dream pays, and since every step of it is a differentiable
function, the return can be differentiated by the actor's weights, through the dynamics.

Letters: S starts, T horizon, A action, F features of a state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from wmlib.agents.dreamer.rssm import State
from wmlib.imagination import Trajectory
from wmlib.nets.mlp import mlp
from wmlib.returns import lambda_returns
from wmlib.typed import NonNegativeFloat, PositiveFloat, PositiveInt, Share, typed


@typed
@dataclass(frozen=True)
class BehaviourConfig:
    """Hyper-parameters of actor and value. "Paper" is Hafner et al. 2020, or the authors' code."""

    horizon: PositiveInt = 15
    """T, dreamed decisions (paper: 15)"""
    discount: Share = 0.99
    """gamma (paper: 0.99)"""
    trace: Share = 0.95
    """lambda (paper: 0.95)"""
    units: PositiveInt = 64
    """in a hidden layer (paper: 300 or 400)"""
    actor_layers: PositiveInt = 3
    """hidden ones (paper: 4)"""
    value_layers: PositiveInt = 2
    """hidden ones (paper: 3)"""
    first_deviation: PositiveFloat = 1.0
    """of actions before the tanh, at first (authors' code: 5; ours: most draws of 5 end where the
    tanh is flat, and pass no gradient)"""
    mean_scale: PositiveFloat = 5.0
    """means before the tanh are within this (authors' code: 5)"""
    entropy: NonNegativeFloat = 0.1
    """what a nat of the played action's entropy is worth, in units of the return (paper: nothing;
    ours: an actor whose draws all end where the tanh is flat gets no gradient to come back by)"""


class Actor(nn.Module):
    """Features (..., F) to a Gaussian, squashed by tanh into [-1, 1]."""

    def __init__(self, features: int, actions: int, config: BehaviourConfig) -> None:
        super().__init__()
        self.config, self.actions = config, actions
        self.network = mlp(features, config.units, config.actor_layers, 2 * actions)
        self.raw = math.log(math.expm1(config.first_deviation))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation (..., A), before the tanh."""
        mean, raw = self.network(features).chunk(2, -1)
        scale = self.config.mean_scale
        return scale * torch.tanh(mean / scale), functional.softplus(raw + self.raw) + 1e-4

    def draw(self, features: Tensor, noise: Tensor) -> Tensor:
        """Actions (..., A) in [-1, 1], from standard normal noise (..., A)."""
        mean, deviation = self(features)
        return torch.tanh(mean + deviation * noise)

    def entropy(self, features: Tensor, noise: Tensor) -> Tensor:
        """Of the actions played, in nats (...), as noise (..., A) has it: unbiased.

        It is the Gaussian's, and the mean logarithm of the tanh's slope; so it falls where draws
        end on the flat parts, be it by their mean or by their deviation (Haarnoja et al. 2018,
        appendix C).
        """
        mean, deviation = self(features)
        drawn = mean + deviation * noise
        slope = 2 * (math.log(2) - drawn - functional.softplus(-2 * drawn))  # ln(1 - tanh^2)
        entropy: Tensor = 0.5 * math.log(2 * math.pi * math.e) + deviation.log() + slope
        return entropy.sum(-1)

    def mode(self, features: Tensor) -> Tensor:
        """The action (..., A) that is played when nothing is to be explored."""
        mean, _ = self(features)
        return torch.tanh(mean)


def exploring(actor: Actor, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """The actor in a dream: features (S, F) to drawn actions (S, A)."""

    def act(features: Tensor) -> Tensor:
        read = features.detach()  # the actor cannot change what it has seen
        noise = torch.randn(len(read), actor.actions, generator=generator)
        return actor.draw(read, noise.to(read))

    return act


def weights_of(begins: Tensor, continues: Tensor, discount: float) -> Tensor:
    """How much each step counts: the chance (T, S) that it is reached, discounted."""
    return torch.cat([begins[None], discount * continues[:-1]]).cumprod(0).detach()


def losses(
    dream: Trajectory[State], begins: Tensor, value: nn.Module, config: BehaviourConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """The actor's and the value's loss, and the mean dreamed return.

    The actor's is minus the lambda-return, with its gradient through the dream; the value's is half
    the squared error to the lambda-return, which is held fixed.

    Args:
        dream: from states that were lived.
        begins: (S,) what a dream counts: 0 where the episode had ended, for nothing follows there.
        value: features (..., F) to (..., 1).
        config: discount and trace.
    """
    values = value(dream.features).squeeze(-1)  # (T + 1, S)
    returns = lambda_returns(dream.rewards, dream.continues, values, config.discount, config.trace)
    weights = weights_of(begins, dream.continues, config.discount)  # (T, S)
    actor_loss = -(weights * returns).mean()
    again = value(dream.features[:-1].detach()).squeeze(-1)  # (T, S)
    value_loss = 0.5 * (weights * (again - returns.detach()).square()).mean()
    return actor_loss, value_loss, returns.detach().mean()
