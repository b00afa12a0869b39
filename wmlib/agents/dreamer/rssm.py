"""The recurrent state-space model (RSSM): a state that is part certainty, part dice.

A recurrent path carries on what is known (deterministic); beside it a Gaussian says what may be
(stochastic). The *prior* says what comes before the picture is seen, the *posterior* after
(Hafner et al. 2019, "Learning Latent Dynamics for Planning from Pixels"; 2020, "Dream to Control").

Letters: B batch (any leading axes), T time, H deterministic, Z stochastic, E embedding, A action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from wmlib.nets.mlp import mlp
from wmlib.typed import PositiveFloat, PositiveInt, typed


@typed
@dataclass(frozen=True)
class RSSMConfig:
    """Sizes of the RSSM."""

    deterministic: PositiveInt = 64
    """H (paper: 200)"""
    stochastic: PositiveInt = 16
    """Z (paper: 30)"""
    units: PositiveInt = 64
    """in hidden layers (paper: 200)"""
    least_deviation: PositiveFloat = 0.1
    """added to the standard deviations (authors' code: 0.1)"""


class Belief(NamedTuple):
    """A Gaussian over the stochastic part of a state."""

    mean: Tensor
    """(B, Z)"""
    deviation: Tensor
    """(B, Z) > 0"""


class State(NamedTuple):
    """What the model takes to be so."""

    deterministic: Tensor
    """(B, H)"""
    stochastic: Tensor
    """(B, Z), drawn"""

    @property
    def features(self) -> Tensor:
        """(B, H + Z), what the heads, the actor and the value read."""
        return torch.cat(self, -1)

    def detach(self) -> State:
        return State(*(part.detach() for part in self))


class RSSM(nn.Module):
    """A state and an action to the next state, with or without its picture.

    Args:
        config: sizes.
        embedding: E, numbers that a picture is encoded into.
        actions: A.
    """

    def __init__(self, config: RSSMConfig, embedding: int, actions: int) -> None:
        super().__init__()
        self.config = config
        h, z = config.deterministic, config.stochastic
        self.inputs = nn.Sequential(nn.Linear(z + actions, h), nn.ELU())
        self.cell = nn.GRUCell(h, h)
        self.to_prior = mlp(h, config.units, 1, 2 * z)
        self.to_posterior = mlp(h + embedding, config.units, 1, 2 * z)

    def initial(self, batch: int) -> State:
        """Knowing nothing: zeros."""
        like = self.cell.weight_hh.new_zeros
        return State(like(batch, self.config.deterministic), like(batch, self.config.stochastic))

    def carry(self, state: State, action: Tensor) -> Tensor:
        """The deterministic path: (B, H) after an action (B, A)."""
        inputs = self.inputs(torch.cat([state.stochastic, action], -1))  # (B, H)
        hidden: Tensor = self.cell(inputs, state.deterministic)
        return hidden

    def prior(self, deterministic: Tensor) -> Belief:
        """What the stochastic part may be, the picture unseen."""
        return self._belief(self.to_prior(deterministic))

    def posterior(self, deterministic: Tensor, embedding: Tensor) -> Belief:
        """What it may be, once the picture is seen: embedding (B, E)."""
        return self._belief(self.to_posterior(torch.cat([deterministic, embedding], -1)))

    def _belief(self, numbers: Tensor) -> Belief:
        mean, raw = numbers.chunk(2, -1)  # (B, Z) each
        return Belief(mean, functional.softplus(raw) + self.config.least_deviation)

    def draw(self, belief: Belief, noise: Tensor) -> Tensor:
        """The stochastic part (B, Z), from standard normal noise (B, Z)."""
        return belief.mean + belief.deviation * noise

    def imagine(self, state: State, action: Tensor, noise: Tensor) -> State:
        """One step without a picture."""
        hidden = self.carry(state, action)
        return State(hidden, self.draw(self.prior(hidden), noise))

    def observe(
        self, state: State, action: Tensor, embedding: Tensor, noise: Tensor
    ) -> tuple[State, Belief, Belief]:
        """One step with its picture: the state, its posterior and its prior."""
        hidden = self.carry(state, action)
        prior, posterior = self.prior(hidden), self.posterior(hidden, embedding)
        return State(hidden, self.draw(posterior, noise)), posterior, prior

    def filter(
        self, embeddings: Tensor, actions: Tensor, first: Tensor, noise: Tensor
    ) -> tuple[State, Belief, Belief]:
        """Follow stretches of experience, and forget where an episode begins.

        Args:
            embeddings: (T, B, E) of the observations.
            actions: (T, B, A), each the one before its observation.
            first: (T, B) 1 where an episode begins, else 0.
            noise: (T, B, Z) standard normal.

        Returns:
            States, posteriors and priors, each part (T, B, ...).
        """
        state, steps = self.initial(embeddings.shape[1]), []
        goes_on = 1 - first[..., None]  # (T, B, 1)
        for t in range(len(embeddings)):
            known = State(*(part * goes_on[t] for part in state))
            state, posterior, prior = self.observe(
                known, actions[t] * goes_on[t], embeddings[t], noise[t]
            )
            steps.append((*state, *posterior, *prior))
        parts = [torch.stack(part) for part in zip(*steps, strict=True)]
        return State(*parts[:2]), Belief(*parts[2:4]), Belief(*parts[4:])


def divergence(posterior: Belief, prior: Belief) -> Tensor:
    """KL(posterior || prior) in nats, summed over the stochastic part: (B,)."""
    ratio = (posterior.deviation / prior.deviation).square()
    apart = ((posterior.mean - prior.mean) / prior.deviation).square()
    return 0.5 * (ratio + apart - 1 - ratio.log()).sum(-1)
