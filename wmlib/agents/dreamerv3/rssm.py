"""DreamerV3's state-space model: dice that are classes, and a recurrent path in blocks.

As in Dreamer, a recurrent path carries on what is known and a random part says what may be. Here
the random part is Z categorical variables of K classes each, drawn with the gradient of their
probabilities; and the recurrent cell is split into blocks that share their inputs and not their
weights, which costs less (Hafner et al. 2023, "Mastering Diverse Domains through World Models"; the
code of April 2024).

Letters: B batch (any leading axes), T time, H deterministic, G blocks, Z variables, K classes,
E embedding, A action.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wmlib.nets.heads import straight_through, unimix
from wmlib.typed import PositiveInt, ProperShare, typed


@typed
@dataclass(frozen=True)
class RSSMConfig:
    """Sizes of the model. "Paper" is `size1m`, the smallest in the authors' code of December 2024
    (commit f8817c4; the smallest of April is `size12m`)."""

    deterministic: PositiveInt = 256
    """H (paper: 512)"""
    blocks: PositiveInt = 8
    """G, of the recurrent cell (paper: 8)"""
    variables: PositiveInt = 16
    """Z (paper: 32)"""
    classes: PositiveInt = 16
    """K (paper: 4 to 96, by size)"""
    units: PositiveInt = 128
    """in hidden layers (paper: 64)"""
    unimix: ProperShare = 0.01
    """share of the uniform distribution in every categorical one (paper: 0.01)"""


class Normed(nn.Sequential):
    """Linear, RMSNorm, SiLU: every hidden layer of DreamerV3."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__(nn.Linear(inputs, units), nn.RMSNorm(units, eps=1e-4), nn.SiLU())


def normed_mlp(
    inputs: int, units: int, layers: int, outputs: int, scale: float = 1.0
) -> nn.Sequential:
    """(..., inputs) to (..., outputs), with so many such layers before the last.

    Args:
        scale: of the first weights of the last layer; 0 for a network that says nothing at first.
    """
    hidden = [Normed(inputs if i == 0 else units, units) for i in range(layers)]
    last = nn.Linear(units if layers else inputs, outputs)
    with torch.no_grad():
        last.weight.mul_(scale)
        last.bias.mul_(scale)
    return nn.Sequential(*hidden, last)


class BlockLinear(nn.Module):
    """G linear layers side by side: (..., G, I) to (..., G, O)."""

    def __init__(self, blocks: int, inputs: int, outputs: int) -> None:
        super().__init__()
        reach = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(blocks, inputs, outputs).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.zeros(blocks, outputs))

    def forward(self, x: Tensor) -> Tensor:
        product = torch.bmm(x.transpose(0, 1), self.weight)  # (G, B, O)
        return product.transpose(0, 1) + self.bias


class BlockGRU(nn.Module):
    """A recurrent cell in G blocks: (B, H) and inputs (B, U) to (B, H)."""

    def __init__(self, config: RSSMConfig, inputs: int) -> None:
        super().__init__()
        g, h = config.blocks, config.deterministic
        self.blocks = g
        self.mix = BlockLinear(g, h // g + inputs, h // g)
        self.norm, self.activation = nn.RMSNorm(h, eps=1e-4), nn.SiLU()
        self.gates = BlockLinear(g, h // g, 3 * h // g)

    def forward(self, state: Tensor, inputs: Tensor) -> Tensor:
        own = state.unflatten(-1, (self.blocks, -1))  # (B, G, H / G)
        shared = inputs[..., None, :].expand(-1, self.blocks, -1)  # (B, G, U)
        mixed = self.mix(torch.cat([own, shared], -1)).flatten(-2)  # (B, H)
        mixed = self.activation(self.norm(mixed)).unflatten(-1, (self.blocks, -1))
        reset, candidate, update = self.gates(mixed).chunk(3, -1)  # (B, G, H / G) each
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update - 1)  # at first it keeps most of what it was
        return torch.lerp(own, candidate, update).flatten(-2)


class State(NamedTuple):
    """What the model takes to be so."""

    deterministic: Tensor
    """(B, H)"""
    stochastic: Tensor
    """(B, Z * K), each variable's class as ones and zeros"""

    @property
    def features(self) -> Tensor:
        """(B, H + Z K), what the heads, the actor and the critic read."""
        return torch.cat(self, -1)


class RSSM(nn.Module):
    """A state and an action to the next state, with or without what is seen.

    Args:
        config: sizes.
        embedding: E, numbers that an observation is encoded into.
        actions: A, numbers, or classes as ones and zeros.
    """

    def __init__(self, config: RSSMConfig, embedding: int, actions: int) -> None:
        super().__init__()
        if config.deterministic % config.blocks:
            raise ValueError(
                f"blocks must divide deterministic, got {config.blocks} and {config.deterministic}"
            )
        self.config = config
        h, u, numbers = config.deterministic, config.units, config.variables * config.classes
        self.from_state = Normed(h, u)
        self.from_dice = Normed(numbers, u)
        self.from_action = Normed(actions, u)
        self.cell = BlockGRU(config, 3 * u)
        self.to_prior = normed_mlp(h, u, 2, numbers)
        self.to_posterior = normed_mlp(h + embedding, u, 1, numbers)

    def initial(self, batch: int) -> State:
        """Knowing nothing: zeros."""
        like, config = self.cell.mix.weight.new_zeros, self.config
        numbers = config.variables * config.classes
        return State(like(batch, config.deterministic), like(batch, numbers))

    def carry(self, state: State, action: Tensor) -> Tensor:
        """The deterministic path: (B, H) after an action (B, A)."""
        action = action / action.abs().clamp(min=1).detach()
        inputs = [
            self.from_state(state.deterministic), self.from_dice(state.stochastic),
            self.from_action(action),
        ]  # fmt: skip
        carried: Tensor = self.cell(state.deterministic, torch.cat(inputs, -1))
        return carried

    def prior(self, deterministic: Tensor) -> Tensor:
        """Log-probabilities (B, Z, K) of the dice before anything is seen."""
        return self._mixed(self.to_prior(deterministic))

    def posterior(self, deterministic: Tensor, embedding: Tensor) -> Tensor:
        """Log-probabilities (B, Z, K) of the dice once the observation (B, E) is known."""
        return self._mixed(self.to_posterior(torch.cat([deterministic, embedding], -1)))

    def _mixed(self, logits: Tensor) -> Tensor:
        shape = self.config.variables, self.config.classes
        return unimix(logits.unflatten(-1, shape), self.config.unimix)

    def imagine(self, state: State, action: Tensor, uniform: Tensor) -> State:
        """One step without seeing; uniform (B, Z) throws the dice."""
        deterministic = self.carry(state, action)
        return State(deterministic, throw(self.prior(deterministic), uniform))

    def observe(
        self, state: State, action: Tensor, embedding: Tensor, uniform: Tensor
    ) -> tuple[State, Tensor]:
        """One step with its observation (B, E): the state and its posterior (B, Z, K)."""
        deterministic = self.carry(state, action)
        posterior = self.posterior(deterministic, embedding)
        return State(deterministic, throw(posterior, uniform)), posterior

    def filter(
        self, embeddings: Tensor, actions: Tensor, first: Tensor, uniform: Tensor
    ) -> tuple[State, Tensor]:
        """Follow stretches of experience, and forget where an episode begins.

        Ours: a stretch that begins in the middle of an episode begins from zeros as well. The
        authors (`replay_context: 1`) begin from the state that is stored with the step before it,
        and store it anew after each training on that step.

        Args:
            embeddings: (T, B, E) of the observations.
            actions: (T, B, A), each the one before its observation.
            first: (T, B) 1 where an episode begins, else 0.
            uniform: (T, B, Z) in [0, 1).

        Returns:
            States, each part (T, B, ...), and the posteriors (T, B, Z, K).
        """
        state, steps = self.initial(embeddings.shape[1]), []
        goes_on = 1 - first[..., None]  # (T, B, 1)
        for t in range(len(embeddings)):
            known = State(*(part * goes_on[t] for part in state))
            state, posterior = self.observe(
                known, actions[t] * goes_on[t], embeddings[t], uniform[t]
            )
            steps.append((*state, posterior))
        *parts, posteriors = (torch.stack(part) for part in zip(*steps, strict=True))
        return State(*parts), posteriors


def throw(log_probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Throw dice (B, Z, K) by uniform numbers (B, Z): what comes, as ones and zeros (B, Z K)."""
    return straight_through(log_probabilities, uniform).flatten(-2)


def divergence(one: Tensor, other: Tensor) -> Tensor:
    """KL(one || other) in nats, summed over the variables: log-probabilities (B, Z, K) to (B,)."""
    return (one.exp() * (one - other)).sum((-2, -1))


def balanced(posterior: Tensor, prior: Tensor, free: float) -> tuple[Tensor, Tensor]:
    """What each side of the divergence owes: (B,) for the prior, (B,) for the posterior.

    The prior learns to forecast a posterior that is held fixed; the posterior learns, less, to be
    what a fixed prior can forecast. Below `free` nats neither owes anything.
    """
    dynamics = divergence(posterior.detach(), prior)
    representation = divergence(posterior, prior.detach())
    return dynamics.clamp(min=free), representation.clamp(min=free)
