"""Trajectory sampling: particles live through a plan in the networks of an ensemble.

Letters: E members, N particles, P plans (the population), T horizon, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from wmlib.agents.pets.ensemble import Ensemble
from wmlib.shapes import check_shape
from wmlib.typed import check_type

Reward = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What a step earns: observations (..., O), actions (..., A) and next observations (..., O), to
rewards (...). It is given, not learned."""
Propagation = Literal["TS1", "TSinf", "E"]


def check_particles(particles: int, members: int) -> None:
    """Raises ValueError: N is not a multiple of E."""
    if particles % members:
        raise ValueError(f"particles must be a multiple of {members} members, got {particles}")


class Particles(NamedTuple):
    """One step of N particles through each of P plans."""

    observations: Tensor
    """(N, P, O)"""
    actions: Tensor
    """(N, P, A)"""
    following: Tensor
    """(N, P, O)"""


def propagate(
    ensemble: Ensemble,
    start: Tensor,
    plans: Tensor,
    propagation: Propagation,
    particles: int,
    generator: torch.Generator,
) -> Iterator[Particles]:
    """Particles that live through plans in the networks (Chua et al. 2018, section 5).

    - "TSinf": a particle stays with one member for good; its spread is kept apart by member.
    - "TS1": at each step the particles are dealt to the members anew, as many to each, as in the
      authors' code. (The paper's text draws a member for each particle.) One deal serves all plans,
      which are compared under the same luck (the authors' code: one for each).
    - "E": a single particle, the mean of the members' means; no noise.

    The next observation is drawn from the member's Gaussian, or is its mean if it is not
    probabilistic. Particles that cannot differ ("TSinf" without noise) are run once a member.

    Args:
        ensemble: E members.
        start: (O,) where all plans begin, or (P, O).
        plans: (P, T, A).
        propagation: one of `Propagation`.
        particles: N, a multiple of E.
        generator: of noise and deals.

    Yields:
        T times, a step of all particles.

    Raises:
        ValueError: the propagation is unknown, N is not a multiple of E, or the start or the plans
            are something else.
    """
    check_shape("plans", plans, Tensor, "P", "T", "A")
    check_type("start", start, Tensor)
    check_shape("start", start, Tensor, *plans.shape[: start.ndim - 1], "O")
    e, (p, horizon, _) = ensemble.config.members, plans.shape
    check_type("propagation", propagation, Propagation)
    check_particles(particles, e)
    n = particles
    if propagation == "E":
        n = 1
    elif propagation == "TSinf" and not ensemble.config.probabilistic:
        n = e
    now = start.expand(n, p, -1)  # (N, P, O)
    for t in range(horizon):
        did = plans[:, t].expand(n, p, -1)  # (N, P, A)
        if propagation == "E":
            following = ensemble(now[0], did[0]).mean.mean(0, keepdim=True)  # (1, P, O)
        elif propagation == "TSinf":
            following = _draw(ensemble, now, did, generator)
        else:
            deal = torch.randperm(n, generator=generator, device=now.device)
            drawn = _draw(ensemble, now[deal], did, generator)
            following = torch.empty_like(drawn).index_copy_(0, deal, drawn)
        yield Particles(now, did, following)
        now = following


def _draw(
    ensemble: Ensemble, observations: Tensor, actions: Tensor, generator: torch.Generator
) -> Tensor:
    """The next observations (N, P, O), the first N / E particles by the first member, and so on."""
    rows = (ensemble.config.members, -1)
    mean, logvar = ensemble(
        observations.reshape(*rows, observations.shape[-1]),  # (E, N / E * P, O)
        actions.reshape(*rows, actions.shape[-1]),
    )
    if logvar is not None:
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        mean = torch.addcmul(mean, noise, (0.5 * logvar).exp())
    following: Tensor = mean.view(observations.shape)
    return following


def expected_returns(
    ensemble: Ensemble,
    reward: Reward,
    start: Tensor,
    plans: Tensor,
    propagation: Propagation,
    particles: int,
    generator: torch.Generator,
) -> Tensor:
    """What each plan earns on the average of its particles: (P,), undiscounted.

    That an episode may end is not foreseen, as in the paper: the reward must say what is bad.

    Args:
        reward: of a step.
        ensemble, start, plans, propagation, particles, generator: as for `propagate`.

    Raises:
        ValueError: as `propagate`, or the reward has another shape than (N, P).
    """
    steps = propagate(ensemble, start, plans, propagation, particles, generator)
    total = torch.zeros(1, 1, device=start.device)
    for step in steps:
        total = total + rewards_of(reward, step)  # (N, P)
    return total.mean(0)


def rewards_of(reward: Reward, step: Particles) -> Tensor:
    """The rewards (N, P) of one step.

    Raises:
        ValueError: the function returns something else.
    """
    given, shape = reward(*step), step.observations.shape[:-1]
    check_shape("what the reward function returns", given, Tensor, *shape)
    return given
