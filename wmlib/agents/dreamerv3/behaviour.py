"""DreamerV3's behaviour: one actor and one critic for rewards of any size and any actions.

The critic says returns as two-hot numbers. Advantages are divided by the range of returns, but only
where that is above 1: large returns are scaled down, small ones are left small, and the entropy
bonus keeps its meaning in between. The actor learns by REINFORCE, for choices as for numbers.

Letters: S starts, T horizon, A action, F features of a state, K bins.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from wmlib.agents.dreamerv3.rssm import State, normed_mlp
from wmlib.imagination import Trajectory
from wmlib.nets.heads import expected, straight_through, symexp_bins, two_hot_loss, unimix
from wmlib.returns import lambda_returns
from wmlib.typed import NonNegativeFloat, PositiveInt, PositiveShare, ProperShare, Share, typed


@typed
@dataclass(frozen=True)
class BehaviourConfig:
    """Hyper-parameters of actor and critic. "Paper" is Hafner et al. 2023 (April 2024)."""

    horizon: PositiveInt = 15
    """T, dreamed decisions (paper: 15)"""
    trace: Share = 0.95
    """lambda (paper: 0.95)"""
    units: PositiveInt = 128
    """in a hidden layer (`size1m` of December 2024: 64)"""
    layers: PositiveInt = 2
    """hidden ones (paper: 3)"""
    entropy: NonNegativeFloat = 3e-4
    """what a nat of entropy is worth, in units of the range of returns (paper: 3e-4)"""
    unimix: ProperShare = 0.01
    """share of the uniform distribution in a choice (paper: 0.01)"""
    range_rate: PositiveShare = 0.01
    """of the average of the range of returns (paper: 0.01)"""
    slow_rate: PositiveShare = 0.02
    """of the average of the critic's weights (paper: 0.02)"""
    replay_weight: NonNegativeFloat = 0.3
    """of the critic's loss on what really happened (paper: 0.3)"""
    deviations: tuple[float, float] = (0.1, 1.0)
    """least and most, of actions that are numbers (paper: 0.1 and 1)"""


class Actor(nn.Module):
    """Features (..., F) to a distribution of actions: a choice among A, or A numbers in [-1, 1]."""

    def __init__(
        self, features: int, actions: int, discrete: bool, config: BehaviourConfig
    ) -> None:
        super().__init__()
        self.config, self.actions, self.discrete = config, actions, discrete
        outputs = actions if discrete else 2 * actions
        # At first every choice is as good.
        self.network = normed_mlp(features, config.units, config.layers, outputs, scale=0.01)

    def choice(self, features: Tensor) -> Tensor:
        """Log-probabilities (..., A) of a choice."""
        return unimix(self.network(features), self.config.unimix)

    def numbers(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation (..., A) of numbers."""
        mean, raw = self.network(features).chunk(2, -1)
        least, most = self.config.deviations
        return torch.tanh(mean), least + (most - least) * torch.sigmoid(raw + 2)

    def draw(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """An action (..., A), a choice as ones and zeros; without a gradient."""
        with torch.no_grad():
            if self.discrete:
                log_probabilities = self.choice(features)
                uniform = torch.rand(features.shape[:-1], generator=generator)
                return straight_through(log_probabilities, uniform.to(features))
            mean, deviation = self.numbers(features)
            return mean + deviation * torch.randn(mean.shape, generator=generator).to(mean)

    def mode(self, features: Tensor) -> Tensor:
        """The likeliest action (..., A)."""
        if self.discrete:
            best = self.choice(features).argmax(-1)
            return functional.one_hot(best, self.actions).to(features)
        return self.numbers(features)[0]

    def log_probability(self, features: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Of an action (..., A), and the distribution's entropy: (...) each."""
        if self.discrete:
            logs = self.choice(features)
            return (logs * action).sum(-1), -(logs.exp() * logs).sum(-1)
        normal = torch.distributions.Normal(*self.numbers(features))
        return normal.log_prob(action).sum(-1), normal.entropy().sum(-1)


class Critic(nn.Module):
    """Features (..., F) to a two-hot return (...), with a slowly averaged copy."""

    bins: Tensor

    def __init__(self, features: int, config: BehaviourConfig, bins: int = 255) -> None:
        super().__init__()
        self.rate = config.slow_rate
        self.network = normed_mlp(features, config.units, config.layers, bins, scale=0)
        self.slow = copy.deepcopy(self.network).requires_grad_(False)
        self.register_buffer("bins", symexp_bins(bins), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        return expected(self.network(features), self.bins)

    def loss(self, features: Tensor, returns: Tensor) -> Tensor:
        """Cross-entropy (...) against returns (...), and against what the slow copy says."""
        logits = self.network(features)
        slow = expected(self.slow(features), self.bins).detach()
        return two_hot_loss(logits, returns, self.bins) + two_hot_loss(logits, slow, self.bins)

    @torch.no_grad()
    def follow(self) -> None:
        """Move the slow copy a step towards the critic."""
        for old, new in zip(self.slow.parameters(), self.network.parameters(), strict=True):
            old.lerp_(new, self.rate)


class Range(nn.Module):
    """How far apart returns are: an average of their 5th and 95th percentiles."""

    low: Tensor
    high: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    @torch.no_grad()
    def follow(self, returns: Tensor) -> Tensor:
        """Take note of returns (...); what advantages are divided by, at least 1."""
        ends = torch.quantile(returns.flatten(), returns.new_tensor([0.05, 0.95]))
        for kept, end in zip((self.low, self.high), ends, strict=True):
            kept.lerp_(end, self.rate)
        return (self.high - self.low).clamp(min=1)


class BehaviourLoss(NamedTuple):
    """Scalars."""

    actor: Tensor
    critic: Tensor
    returns: Tensor
    """mean dreamed return"""
    entropy: Tensor


def losses(
    dream: Trajectory[State], begins: Tensor, actor: Actor, critic: Critic, spread: Range,
    config: BehaviourConfig,
) -> tuple[BehaviourLoss, Tensor]:  # fmt: skip
    """The actor's and the critic's loss on dreams, and the dreamed returns (T, S).

    Args:
        dream: from states that were lived.
        begins: (S,) what a dream counts: 0 where the episode had ended, for nothing follows there.
        actor, critic, spread, config: whose losses they are.
    """
    with torch.no_grad():
        values = critic(dream.features)  # (T + 1, S)
        returns = lambda_returns(dream.rewards, dream.continues, values, 1.0, config.trace)
        going = torch.cat([begins[None], dream.continues[:-1]])
        weights = going.cumprod(0)  # (T, S)
        advantages = (returns - values[:-1]) / spread.follow(returns)  # (T, S)
    read = dream.features[:-1]
    logs, entropy = actor.log_probability(read, dream.actions)  # (T, S) each
    actor_loss = -(weights * (logs * advantages + config.entropy * entropy)).mean()
    critic_loss = (weights * critic.loss(read, returns)).mean()
    told = BehaviourLoss(actor_loss, critic_loss, returns.mean(), entropy.mean().detach())
    return told, returns


def replay_loss(
    critic: Critic, features: Tensor, rewards: Tensor, first: Tensor, ended: Tensor,
    begun: Tensor, discount: float, trace: float,
) -> Tensor:  # fmt: skip
    """The critic's loss on what really happened.

    Args:
        features: (T, B, F) of the states.
        rewards, first, ended: (T, B) as in `WorldModel.loss`.
        begun: (T, B) what dreams that begin there return, which stands for all that lies beyond.
        discount: gamma.
        trace: lambda.
    """
    with torch.no_grad():
        goes_on = (1 - ended[1:]) * discount  # (T - 1, B)
        # Where the next observation begins an episode, nothing real follows: the dream must do.
        mixing = trace * (1 - first[1:])
        following, returns = begun[-1], []
        for t in reversed(range(len(goes_on))):
            mixed = (1 - mixing[t]) * begun[t + 1] + mixing[t] * following
            following = rewards[t + 1] + goes_on[t] * mixed
            following = torch.where(first[t + 1] == 1, begun[t], following)
            returns.append(following)
        targets = torch.stack(returns[::-1])  # (T - 1, B)
    followed = 1 - first[1:]  # (T - 1, B)
    return (followed * critic.loss(features[:-1], targets)).mean()
