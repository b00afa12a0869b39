"""The value beyond the horizon: what a short dream would have earned had it gone on.

A dream is trustworthy for a second or so; driving well pays later. A small network learns from the
dreams themselves what return a state [z, h] promises, by TD(lambda) (Sutton & Barto 2018, chapter
12).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wmlib.typed import PositiveFloat, PositiveInt, PositiveShare, Share, typed


@typed
@dataclass(frozen=True)
class ValueConfig:
    """Hyper-parameters of the value function."""

    features: PositiveInt = 288
    """F = Z + H, inputs"""
    units: PositiveInt = 256
    """of the one hidden layer (ours)"""
    discount: PositiveShare = 0.965
    """gamma, for each decision: a half-life of 19 decisions (ours)"""
    trace: Share = 0.95
    """lambda of the lambda-return (Dreamer: 0.95)"""
    learning_rate: PositiveFloat = 1e-3
    """Adam's (ours)"""
    target_rate: PositiveShare = 0.05
    """share of the new weights in the averaged target network, at each update (ours)"""


class ValueFunction(nn.Module):
    """Features (..., F) to discounted return (...), with a slowly averaged copy for targets."""

    @typed
    def __init__(self, config: ValueConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ValueConfig()
        last = nn.Linear(config.units, 1)
        nn.init.zeros_(last.weight)  # at first every state is worth nothing
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(nn.Linear(config.features, config.units), nn.SiLU(), last)
        self.target = copy.deepcopy(self.network).requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        values: Tensor = self.network(features)  # (..., 1)
        return values.squeeze(-1)

    @torch.no_grad()
    def slow(self, features: Tensor) -> Tensor:
        """The averaged network's value (...) of features (..., F)."""
        values: Tensor = self.target(features)  # (..., 1)
        return values.squeeze(-1)

    @torch.no_grad()
    def average(self) -> None:
        """Move the averaged network a step towards the trained one."""
        for old, new in zip(self.target.parameters(), self.network.parameters(), strict=True):
            old.lerp_(new, self.config.target_rate)

    def descend(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> float:
        """One step down a loss of this function; the averaged copy follows."""
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        self.average()
        return float(loss.detach())


def squared_error(value: ValueFunction, features: Tensor, returns: Tensor) -> Tensor:
    """Half the mean squared error of the values of features (..., F) against returns (...)."""
    loss: Tensor = 0.5 * (value(features) - returns).square().mean()
    return loss
