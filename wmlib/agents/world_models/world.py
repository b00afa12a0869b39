"""M as a model to dream in, at a temperature: what `wmlib.imagination` asks of one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmlib.agents.world_models.dream import check_price, most_paid, paid
from wmlib.agents.world_models.memory import MDNRNN, State
from wmlib.agents.world_models.mixture import Prediction, Temperature, sample
from wmlib.imagination import Pay
from wmlib.typed import typed


class WorldState(NamedTuple):
    """Where B dreams are, and what the decision that led there cost."""

    z: Tensor
    """(B, Z) codes"""
    hidden: Tensor
    """(B, H)"""
    cell: Tensor
    """(B, H)"""
    cost: Tensor
    """(B,) in [0, 1]; 0 at a start"""

    @property
    def features(self) -> Tensor:
        """(B, Z + H), what C reads: [z, h]"""
        return torch.cat([self.z, self.hidden], 1)


class World:
    """M, whose every next code is a sample of its own (`draw`).

    Args:
        memory: M.
        temperature: > 0, see `wmlib.agents.world_models.mixture.sample`.
    """

    @typed
    def __init__(self, memory: MDNRNN, temperature: Temperature = 1.0) -> None:
        self.memory, self.temperature = memory, temperature

    def begin(self, z: Tensor, hidden: Tensor, cell: Tensor) -> WorldState:
        """The state of dreams that begin with codes (B, Z) and M's memory (B, H) of what was."""
        return WorldState(z, hidden, cell, torch.zeros_like(z[:, 0]))

    def step(
        self, state: WorldState, action: Tensor, generator: torch.Generator | None
    ) -> tuple[WorldState, Tensor, Tensor]:
        """One decision: the state after actions (B, A), rewards (B,) and continues (B,)."""
        carried = self.memory.step(state.z, action, State(state.hidden, state.cell))  # (B, H) each
        prediction = self.memory.predict(carried.hidden)
        z = self.draw(prediction, generator)  # (B, Z)
        return (
            WorldState(z, *carried, torch.sigmoid(prediction.cost)),
            self.memory.expected_reward(prediction),
            torch.sigmoid(-prediction.end),
        )

    def draw(self, prediction: Prediction, generator: torch.Generator | None) -> Tensor:
        """The next codes (B, Z)."""
        return sample(prediction, self.temperature, generator)


def payment(memory: MDNRNN, pace: float | None = None, price: float = 0.0) -> Pay[WorldState]:
    """What a dream pays: M's reward, best at a pace (see `most_paid`), less the price of the cost.

    Raises:
        ValueError: the pace or the price is out of range, or M cannot charge it.
    """
    check_price(memory, price)
    most = most_paid(memory.config, pace)
    return lambda reward, state: paid(reward, most) - price * state.cost
