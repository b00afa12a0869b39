"""DreamerV3 with a part taken out, to see which scale of rewards the part is for.

What is a number of the configuration is taken out there; what is a function, here, in a new agent
that has not learned yet. Weights, and who trains them, stay.

Letters: T time, B batch, S starts, F features of a state, K bins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from wmlib.agents.dreamerv3.agent import DreamerV3, DreamerV3Config
from wmlib.agents.dreamerv3.behaviour import Critic, Range
from wmlib.agents.dreamerv3.world_model import WorldModel

REACH = 20.0
"""of evenly spaced bins: as far to either side as the exponents of DreamerV3's own"""
NOTHING = 1e-8
"""share of the uniform distribution where there should be none"""


class NumberModel(WorldModel):
    """A world model whose reward head says a number and learns by squared error."""

    def expected_reward(self, features: Tensor) -> Tensor:
        output: Tensor = self.reward(features)[..., 0]
        return output

    def reward_loss(self, features: Tensor, rewards: Tensor) -> Tensor:
        return 0.5 * (self.expected_reward(features) - rewards).square()


class NumberCritic(Critic):
    """A critic that says a number and learns by squared error."""

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = self.network(features)[..., 0]
        return output

    def loss(self, features: Tensor, returns: Tensor) -> Tensor:
        output = self.forward(features)
        slow: Tensor = self.slow(features)[..., 0].detach()
        return 0.5 * ((output - returns).square() + (output - slow).square())


class Unit(Range):
    """Advantages are divided by 1, however far apart returns are."""

    @torch.no_grad()
    def follow(self, returns: Tensor) -> Tensor:
        super().follow(returns)
        return torch.ones_like(self.high)


def say_numbers(agent: DreamerV3) -> None:
    """Rewards and values by squared error, not in two hot bins."""
    agent.model.__class__, agent.critic.__class__ = NumberModel, NumberCritic


def space_evenly(agent: DreamerV3) -> None:
    """The bins of rewards and values lie evenly on [-20, 20], and not as symexp has them."""
    for module in (agent.model, agent.critic):
        module.bins = torch.linspace(-REACH, REACH, len(module.bins)).to(module.bins)


def forget_the_range(agent: DreamerV3) -> None:
    """Advantages stay as large as rewards make them."""
    agent.spread.__class__ = Unit


def without_free_nats(config: DreamerV3Config) -> DreamerV3Config:
    """The divergence costs from the first nat on."""
    return replace(config, world_model=replace(config.world_model, free_nats=0.0))


def without_balance(config: DreamerV3Config) -> DreamerV3Config:
    """Prior and posterior owe the same share of the divergence, the mean of what they owed."""
    model = config.world_model
    share = (model.dynamics_weight + model.representation_weight) / 2
    return replace(
        config, world_model=replace(model, dynamics_weight=share, representation_weight=share)
    )


def without_unimix(config: DreamerV3Config) -> DreamerV3Config:
    """Dice and choices may become as certain as they like.

    Not quite: a share of nothing at all would have logarithms of 0, and gradients that are no
    numbers. This one is lost beside any chance that float32 tells from 1.
    """
    model = config.world_model
    return replace(
        config, world_model=replace(model, rssm=replace(model.rssm, unimix=NOTHING)),
        behaviour=replace(config.behaviour, unimix=NOTHING),
    )  # fmt: skip


CHANGED: dict[str, Callable[[DreamerV3], None]] = {
    "without two-hot": say_numbers,
    "without symexp bins": space_evenly,
    "without return range": forget_the_range,
}
"""parts that are functions: what takes each out of a new agent"""
SET: dict[str, Callable[[DreamerV3Config], DreamerV3Config]] = {
    "without free nats": without_free_nats,
    "without balance": without_balance,
    "without unimix": without_unimix,
}
"""parts that are numbers of the configuration: what takes each out of it"""
