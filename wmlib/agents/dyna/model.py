"""A small ensemble of networks that say what comes next, what it pays and whether it is the end.

Letters: B batch, D numbers in a state, A actions, E members of the ensemble.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from wmlib.agents.dyna.buffer import (
    Floats,
    Integers,
    TransitionBuffer,
    check_actions,
    check_states,
)
from wmlib.training import check_finite, seeded
from wmlib.typed import PositiveFloat, PositiveInt, Seed, typed


@typed
@dataclass(frozen=True)
class NeuralModelConfig:
    """Hyper-parameters of `NeuralModel`."""

    members: PositiveInt = 5
    """E (Chua et al. 2018: 5)"""
    units: PositiveInt = 64
    """of each of the two hidden layers (ours)"""
    batch: PositiveInt = 64
    """transitions from which each member learns in an update (ours)"""
    learning_rate: PositiveFloat = 1e-3
    """Adam's (Chua et al. 2018: 1e-3)"""
    end_weight: PositiveFloat = 10.0
    """how much more a transition that ended the episode weighs in the cross-entropy, > 0: ends are
    rare (10 in the code of Ha & Schmidhuber 2018). The odds of an imagined end are divided by it,
    or ends would be imagined that much too often."""


class NeuralModel:
    """E networks that say what follows a state and an action: its change, the reward, the end.

    They differ by their first weights and by the batches they learn from. Each real transition
    brings one update, of every member on a batch of its own. The loss is the squared error of the
    change of state, in units of its standard deviation so far, plus that of the reward, plus the
    cross-entropy of the end.

    Args:
        actions: A.
        buffer: the real transitions, which `dyna_train` adds to.
        config: of the networks.
        seed: of the first weights and all draws.
        device: of the networks; what goes in and comes out is NumPy's.

    Raises:
        ValueError: there is no action, or another argument is not as it must be.
    """

    @typed
    def __init__(
        self,
        actions: PositiveInt,
        buffer: TransitionBuffer,
        config: NeuralModelConfig | None = None,
        *,
        seed: Seed = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config = config or NeuralModelConfig()
        self.actions, self.buffer = actions, buffer
        self.network = seeded(
            seed, lambda: _Networks(buffer.size + actions, buffer.size + 2, config)
        ).to(device)
        self._optimiser = torch.optim.Adam(
            self.network.parameters(), lr=config.learning_rate, fused=True
        )
        self._rng = np.random.default_rng([seed, 1])
        self._changes, self._squares = 0, np.zeros(buffer.size)
        self._unit = np.ones(buffer.size, np.float32)  # (D,) root mean square of a change
        self._end_weight = torch.tensor(config.end_weight)
        self._loss = torch.zeros(())

    @property
    def loss(self) -> float:
        """Of the last update, the mean over members; 0 before the first."""
        return float(self._loss)

    def update(
        self, state: ArrayLike, action: int, reward: float, next_state: ArrayLike | None
    ) -> None:
        """One update, from a real transition and others replayed from the buffer.

        Raises:
            ValueError: the transition is none, see `TransitionBuffer.add`.
            NotFiniteError: the loss is not finite.
        """
        check_actions(action, self.actions)
        members, size = self.config.members, self.buffer.size
        some = self.buffer.with_replayed(
            members * self.config.batch, state, action, reward, next_state
        )
        change = some.next_states - some.states  # (E * B, D)
        if next_state is not None:
            self._changes += 1
            self._squares += np.square(change[0])
            self._unit = np.sqrt(self._squares / self._changes).astype(np.float32) + 1e-6
        inputs = self._inputs(some.states, some.actions).view(members, -1, size + self.actions)
        target = torch.from_numpy(change / self._unit).view(members, -1, size)  # (E, B, D)
        paid = torch.from_numpy(some.rewards).view(members, -1)  # (E, B)
        ended = target[..., 0].isnan()  # (E, B)
        said = self.network(inputs)  # (E, B, D + 2)
        off = (said[..., :size] - target).masked_fill(ended[..., None], 0.0)  # (E, B, D)
        loss = off.square().mean() + (said[..., size] - paid).square().mean()
        loss = loss + nn.functional.binary_cross_entropy_with_logits(
            said[..., -1], ended.float(), pos_weight=self._end_weight
        )
        self._loss = descend(self._optimiser, loss, "the model")

    def imagine(self, states: ArrayLike, actions: ArrayLike) -> tuple[Floats, Floats]:
        """What, for each state, one member drawn for it says would follow.

        Args:
            states: (B, D), or one (D,).
            actions: (B,) integers in 0..A-1, or one.

        Returns:
            next states (B, D), a row of NaN where the episode would end (drawn with the probability
            that the member gives it, less the weight of ends), and rewards (B,); for one state (D,)
            and ().

        Raises:
            ValueError: the states or actions are something else.
        """
        check_states(states, self.buffer.size)
        check_actions(actions, self.actions, len(np.atleast_2d(states)))
        given = np.atleast_2d(np.asarray(states, np.float32))  # (B, D)
        rows, size = len(given), self.buffer.size
        inputs = self._inputs(given, np.atleast_1d(actions))
        with torch.inference_mode():
            said = self.network(inputs.expand(self.config.members, -1, -1)).numpy()
        chosen = self._rng.integers(self.config.members, size=rows)
        said = said[chosen, np.arange(rows)]  # (B, D + 2)
        next_states = given + self._unit * said[:, :size]  # (B, D)
        log_odds = said[:, -1] - math.log(self.config.end_weight)  # (B,) of an end
        next_states[self._rng.random(rows) < 1 / (1 + np.exp(-log_odds))] = np.nan
        rewards = said[:, size]
        return (next_states[0], rewards[0]) if np.ndim(states) == 1 else (next_states, rewards)

    def _inputs(self, states: Floats, actions: Integers) -> Tensor:
        """(B, D + A): scaled states, and actions one-hot."""
        hot = torch.from_numpy(np.eye(self.actions, dtype=np.float32)[actions])  # (B, A)
        return torch.cat([self.buffer.inputs(states), hot], 1)


class _Networks(nn.Module):
    """E networks of two hidden layers, all in one batched matrix product a layer."""

    def __init__(self, inputs: int, outputs: int, config: NeuralModelConfig) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for below, above in pairwise((inputs, config.units, config.units, outputs)):
            bound = below**-0.5  # as nn.Linear
            for kind, rows in ((self.weights, below), (self.biases, 1)):
                values = torch.empty(config.members, rows, above).uniform_(-bound, bound)
                kind.append(nn.Parameter(values))

    def forward(self, x: Tensor) -> Tensor:
        """(E, B, inputs) -> (E, B, outputs), both on the CPU, wherever the networks are."""
        (first, second, last) = zip(self.weights, self.biases, strict=True)
        x = x.to(self.weights[0].device)
        for weight, bias in (first, second):
            x = torch.relu(torch.baddbmm(bias, x, weight))  # (E, B, units)
        weight, bias = last
        return torch.baddbmm(bias, x, weight).cpu()


def descend(optimiser: torch.optim.Optimizer, loss: Tensor, what: str) -> Tensor:
    """One step down `loss`, which is returned without its graph."""
    value = loss.detach()
    check_finite(float(value), f"learning {what}: the loss")
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return value
