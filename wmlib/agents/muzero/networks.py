"""MuZero's three networks: representation h, dynamics g, prediction f.

None of them says what a state looks like: a hidden state means what it must so that rewards, values
and policies come out right, and nothing else.

Letters: B batch, S numbers in a hidden state, U units, A actions, K atoms of a number's support.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from wmlib.nets.heads import expected, signed_hyperbolic, signed_parabolic, two_hot_loss
from wmlib.typed import PositiveFloat, PositiveInt, typed


@typed
@dataclass(frozen=True)
class NetworkConfig:
    """Sizes. "Paper" is Schrittwieser et al. 2020; its networks are residual, of convolutions."""

    state: PositiveInt = 64
    """S, numbers in a hidden state (ours)"""
    units: PositiveInt = 128
    """U, in each hidden layer (ours)"""
    layers: PositiveInt = 2
    """hidden ones of h; g and f have one less, at least one (ours)"""
    value_support: PositiveFloat = 1.0
    """the largest value, of either sign, that can be said (paper: 1 on boards; what h takes to 300
    on Atari). It must hold every return that is seen: up to 500 in CartPole-v1"""
    reward_support: PositiveFloat = 1.0
    """the same of a reward"""
    atoms: PositiveInt = 1
    """of a support, on either side of 0, evenly spaced on the scale of h: K is twice as many and
    one more (paper: 300, on Atari)"""


def normed_mlp(inputs: int, units: int, layers: int, outputs: int) -> nn.Sequential:
    """(..., inputs) to (..., outputs), with so many hidden layers, normalised before each ReLU."""
    parts: list[nn.Module] = []
    for width in (inputs, *[units] * (layers - 1)):
        parts += [nn.Linear(width, units), nn.LayerNorm(units), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(units, outputs))


class Support(nn.Module):
    """Numbers as distributions over K atoms, evenly spaced on the scale of h.

    Args:
        name: of the numbers, for errors.
        reach: the largest, of either sign.
        half: atoms on either side of 0.
    """

    atoms: Tensor

    def __init__(self, name: str, reach: float, half: int) -> None:
        super().__init__()
        self.name, self.reach = name, reach
        end = float(signed_hyperbolic(torch.tensor(reach)))
        self.register_buffer("atoms", torch.linspace(-end, end, 2 * half + 1), persistent=False)

    def number(self, logits: Tensor) -> Tensor:
        """What logits (..., K) expect: (...)."""
        return signed_parabolic(expected(logits, self.atoms))

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy (...) of logits (..., K) against numbers (...)."""
        return two_hot_loss(logits, signed_hyperbolic(target), self.atoms)

    def check(self, numbers: np.ndarray) -> None:
        """Refuse numbers that would be cut off in silence.

        Raises:
            ValueError: one is above `reach`; says both.
        """
        if (largest := float(np.abs(numbers).max())) > self.reach * (1 + 1e-5):
            raise ValueError(
                f"{self.name}_support must hold every {self.name} that is seen: it reaches to "
                f"{self.reach:g}, and there is one of {largest:g}"
            )


class Networks(nn.Module):
    """h, g and f.

    Args:
        inputs: numbers in an observation.
        actions: A.
        config: sizes.
    """

    def __init__(self, inputs: int, actions: int, config: NetworkConfig) -> None:
        super().__init__()
        self.actions, self.config = actions, config
        S, U, below, K = config.state, config.units, max(1, config.layers - 1), 2 * config.atoms + 1
        self.values = Support("value", config.value_support, config.atoms)
        self.rewards = Support("reward", config.reward_support, config.atoms)
        self.h = normed_mlp(inputs, U, config.layers, S)
        self.g = normed_mlp(S + actions, U, below, S + K)
        self.f = normed_mlp(S, U, below, actions + K)
        with torch.no_grad():  # at first nothing is expected, and every action is as good
            for parameter in self.f[-1].parameters():
                parameter.zero_()
            for parameter in self.g[-1].parameters():
                parameter[S:] = 0

    def represent(self, observation: Tensor) -> Tensor:
        """h: observations (B, ...) to states (B, S)."""
        return scaled(self.h(observation.flatten(1)))

    def dynamics(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """g: states (B, S) and actions (B,) to next states (B, S) and logits of rewards (B, K)."""
        chosen = functional.one_hot(action, self.actions).to(state)  # (B, A)
        out = self.g(torch.cat([state, chosen], -1))  # (B, S + K)
        return scaled(out[:, : self.config.state]), out[:, self.config.state :]

    def predict(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """f: states (B, S) to logits of the policy (B, A) and of the value (B, K)."""
        out = self.f(state)  # (B, A + K)
        return out[:, : self.actions], out[:, self.actions :]


def scaled(state: Tensor) -> Tensor:
    """States (B, S) whose least number is 0 and whose largest is 1 (paper, appendix G)."""
    low, high = state.aminmax(dim=-1, keepdim=True)  # (B, 1) each
    return (state - low) / (high - low).clamp(min=1e-5)
