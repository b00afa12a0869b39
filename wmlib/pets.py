"""PETS: planning through a model that knows how much to trust itself (Chua et al. 2018).

Probabilistic Ensembles with Trajectory Sampling. What a plan is worth, particles find out: each of
them lives through it in the networks of `wmlib.ensemble`, and their rewards are averaged, so a plan
must do well on average over what the data leave open. `wmlib.planning` searches for the best plan
at every real step. After each trial the networks learn from all real steps so far.

Letters: E members, N particles, P plans (the population), T horizon, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from wmlib.data import Episode, run_episode
from wmlib.ensemble import Ensemble, EnsembleConfig
from wmlib.planning import CEMConfig, Planner, UniformPolicy
from wmlib.training import History, seeded

Reward = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What a step earns: observations (..., O), actions (..., A) and next observations (..., O), to
rewards (...). It is given, not learned."""

PROPAGATIONS = ("TS1", "TSinf", "E")
VARIANTS = ("D", "P", "DE", "PE")


def check_propagation(propagation: str, particles: int, members: int) -> None:
    """Raises ValueError: it is none of `PROPAGATIONS`, or N is not a multiple of E."""
    if propagation not in PROPAGATIONS:
        raise ValueError(f"propagation must be one of {PROPAGATIONS}, got {propagation!r}")
    if particles < 1 or particles % members:
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
    propagation: str,
    particles: int,
    generator: torch.Generator,
) -> Iterator[Particles]:
    """Particles that live through plans in the networks (Chua et al. 2018, section 5).

    - "TSinf": a particle stays with one member for good; its spread is kept apart by member.
    - "TS1": at each step the particles are dealt to the members anew, as many to each. One deal
      serves all plans, which are compared under the same luck (the authors' code: one for each).
    - "E": a single particle, the mean of the members' means; no noise.

    The next observation is drawn from the member's Gaussian, or is its mean if it is not
    probabilistic. Particles that cannot differ ("TSinf" without noise) are run once a member.

    Args:
        ensemble: E members.
        start: (O,) where all plans begin, or (P, O).
        plans: (P, T, A).
        propagation: one of `PROPAGATIONS`.
        particles: N, a multiple of E.
        generator: of noise and deals.

    Yields:
        T times, a step of all particles.

    Raises:
        ValueError: the propagation is unknown, or N is not a multiple of E.
    """
    e, (p, horizon, _) = ensemble.config.members, plans.shape
    check_propagation(propagation, particles, e)
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
    propagation: str,
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
    if not isinstance(given, Tensor) or given.shape != shape:
        found = tuple(given.shape) if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise ValueError(
            f"the reward function must return a tensor (N, P), here {tuple(shape)}, got {found}"
        )
    return given


@dataclass(frozen=True)
class PETSConfig:
    """Hyper-parameters of PETS."""

    propagation: str = "TSinf"
    """one of `PROPAGATIONS`, see `propagate` (paper: TSinf in the authors' code)"""
    particles: int = 10
    """N, a multiple of the members (paper: 20; ours: for two cores)"""
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    cem: CEMConfig = field(default_factory=CEMConfig)

    def __post_init__(self) -> None:
        check_propagation(self.propagation, self.particles, self.ensemble.members)

    def variant(self, name: str) -> PETSConfig:
        """The ablations of the paper: a deterministic (D) or probabilistic (P) network, or an
        ensemble (E) of either, else as this configuration.

        Raises:
            ValueError: the name is none of `VARIANTS`.
        """
        if name not in VARIANTS:
            raise ValueError(f"a variant must be one of {VARIANTS}, got {name!r}")
        members = self.ensemble.members if name.endswith("E") else 1
        networks = replace(self.ensemble, members=members, probabilistic=name.startswith("P"))
        return replace(self, ensemble=networks)


class Trained(NamedTuple):
    """The outcome of `train_pets`."""

    planner: Planner
    """the policy"""
    ensemble: Ensemble
    """the model, as it was in the last trial"""
    episodes: list[Episode]
    """the trials, the first of random actions"""
    losses: list[History]
    """of each learning, one before each trial but the first"""

    @property
    def returns(self) -> list[float]:
        """The real return of each trial."""
        return [episode.total_reward for episode in self.episodes]


def train_pets(
    env: gym.Env,
    reward: Reward,
    config: PETSConfig | None = None,
    *,
    trials: int = 10,
    seed: int = 0,
    max_steps: int | None = None,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> Trained:
    """A trial of random actions; then, trial after trial, learn from all steps so far and act.

    Args:
        env: a Gymnasium environment whose observations are a Box and whose actions a bounded Box,
            of one axis each (others: `gymnasium.wrappers.FlattenObservation`).
        reward: of a step, on tensors.
        config: of the model and the search.
        trials: episodes in all, >= 1.
        seed: >= 0; trial i has the environment's seed `1000 seed + i`.
        max_steps: decisions after which a trial is cut; None for the environment's own end.
        device: of the model.
        progress: show a bar.

    Raises:
        ValueError: a space, a number or the shape of the rewards is not as it must be, or an
            observation is not finite.
        NotFiniteError: a loss of the model is NaN or infinite.
    """
    if trials < 1 or seed < 0:
        raise ValueError(f"trials must be at least 1 and seed at least 0, got {trials}, {seed}")
    cfg, random = config or PETSConfig(), UniformPolicy(env.action_space)
    if not isinstance(env.observation_space, gym.spaces.Box):
        raise ValueError(f"PETS needs observations in a Box, got {env.observation_space}")
    if len(env.observation_space.shape) != 1:
        raise ValueError(f"PETS needs observations of one axis, got {env.observation_space}")
    (o,), (a,) = env.observation_space.shape, random.space.shape
    rewards_of(reward, Particles(*(torch.zeros(2, 3, n, device=device) for n in (o, a, o))))
    ensemble = seeded(seed, lambda: Ensemble(o, a, cfg.ensemble)).to(device)

    def returns(start: Tensor, plans: Tensor, generator: torch.Generator) -> Tensor:
        return expected_returns(
            ensemble, reward, start, plans, cfg.propagation, cfg.particles, generator
        )

    planner = Planner(returns, env.action_space, cfg.cem, device)
    episodes: list[Episode] = []
    losses: list[History] = []
    bar = tqdm(range(trials), "trials", disable=not progress)
    for trial in bar:
        own = 1000 * seed + trial
        if trial:
            losses.append(ensemble.learn(*transitions(episodes), seed=own))
        episodes.append(run_episode(env, planner if trial else random, own, max_steps))
        bar.set_postfix_str(f"return {episodes[-1].total_reward:.0f}", refresh=False)
    return Trained(planner, ensemble, episodes, losses)


def transitions(episodes: Sequence[Episode]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All N steps of episodes: observations (N, O), actions (N, A), next observations (N, O)."""
    before = np.concatenate([episode.observations[:-1] for episode in episodes])
    actions = np.concatenate([episode.actions for episode in episodes])
    after = np.concatenate([episode.observations[1:] for episode in episodes])
    return before, actions, after


def pendulum_reward(observations: Tensor, actions: Tensor, following: Tensor) -> Tensor:
    """The reward of Gymnasium's Pendulum-v1, from observations (cos, sin, angular velocity).

    `-(angle^2 + 0.1 velocity^2 + 0.001 torque^2)` before the step, the angle from upright in
    (-pi, pi]: a cosine and a sine that a model predicts need not lie on the circle to have one.
    """
    cos, sin, velocity = observations.unbind(-1)
    torque = actions[..., 0].clamp(-2, 2)
    return -(torch.atan2(sin, cos).square() + 0.1 * velocity.square() + 0.001 * torque.square())
