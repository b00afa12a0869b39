"""Dreamer with a part taken out, to see what the part is worth.

An RSSM without its path and one without its dice (Hafner et al. 2019, section 4, compare the
three), and an actor that learns from dreams without a gradient through them.

Letters: T horizon, S starts, A action, Z stochastic, F features of a state.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional

from wmlib.agents.dreamer.behaviour import Actor
from wmlib.agents.dreamer.rssm import RSSM, Belief, State
from wmlib.agents.dreamer.world_model import WorldModel


class DiceOnly(RSSM):
    """An RSSM that forgets its path: all that lasts beyond a step has been drawn.

    The cell begins every step with zeros. What the model knows must pass through the draw before.
    """

    def imagine(self, state: State, action: Tensor, noise: Tensor) -> State:
        return self._forget(super().imagine(state, action, noise))

    def observe(
        self, state: State, action: Tensor, embedding: Tensor, noise: Tensor
    ) -> tuple[State, Belief, Belief]:
        state, posterior, prior = super().observe(state, action, embedding, noise)
        return self._forget(state), posterior, prior

    def _forget(self, state: State) -> State:
        return State(torch.zeros_like(state.deterministic), state.stochastic)


class PathOnly(RSSM):
    """An RSSM that throws no dice: what it believes is a point, and one future follows.

    The divergence of two points is half their squared distance, in units of the least deviation. So
    that distances cannot be made cheap by making all numbers small, those of a point have mean 0
    and variance 1.
    """

    def draw(self, belief: Belief, noise: Tensor) -> Tensor:
        return belief.mean

    def _belief(self, numbers: Tensor) -> Belief:
        mean, _ = numbers.chunk(2, -1)  # (B, Z)
        mean = functional.layer_norm(mean, mean.shape[-1:])
        return Belief(mean, torch.full_like(mean, self.config.least_deviation))


def use_rssm(model: WorldModel, kind: type[RSSM]) -> None:
    """Put another kind of RSSM into a world model; its weights, and who trains them, stay."""
    old = model.rssm
    new = kind(old.config, model.config.embedding, model.config.actions)
    for name, part in old.named_children():
        setattr(new, name, part)
    model.rssm = new


def recording(
    actor: Actor, generator: torch.Generator
) -> tuple[Callable[[Tensor], Tensor], list[Tensor]]:
    """The actor in a dream whose actions pass no gradient, and all that it draws.

    Returns:
        features (S, F) to actions (S, A); and a list that grows by the draws (S, A) of each step,
        before the tanh, which `reinforce` asks about: of an action near 1 they cannot be had back.
    """
    drawn: list[Tensor] = []

    @torch.no_grad()
    def act(features: Tensor) -> Tensor:
        mean, deviation = actor(features)
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        drawn.append(mean + deviation * noise)
        return torch.tanh(drawn[-1])

    return act, drawn


def reinforce(actor: Actor, features: Tensor, drawn: Tensor, advantages: Tensor) -> Tensor:
    """The actor's loss by REINFORCE: draws that paid become more likely (Williams 1992).

    Args:
        actor: that learns.
        features: (T, S, F) of the states that it was in.
        drawn: (T, S, A) what it drew there, before the tanh (which moves no density of theirs by
            the actor's weights).
        advantages: (T, S) what the draws were worth, weighted, less a baseline.
    """
    likelihood: Tensor = Normal(*actor(features.detach())).log_prob(drawn).sum(-1)  # (T, S)
    return -(likelihood * advantages.detach()).mean()
