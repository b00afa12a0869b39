"""PETS: planning through a model that knows how much to trust itself (Chua et al. 2018).

Probabilistic Ensembles with Trajectory Sampling. What a plan is worth, particles find out: each of
them lives through it in the networks of `wmlib.agents.pets.ensemble`, and their rewards are
averaged, so a plan must do well on average over what the data leave open. `wmlib.planning` searches
for the best plan at every real step. After each trial the networks learn from all real steps so
far.

Letters: E members, N particles, P plans (the population), T horizon, O observation, A action.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from wmlib.agents.pets.ensemble import Ensemble, EnsembleConfig
from wmlib.agents.pets.particles import (
    Particles,
    Propagation,
    Reward,
    check_particles,
    expected_returns,
    rewards_of,
)
from wmlib.episodes import Episode, run_episode
from wmlib.planning import CEMConfig, Planner, UniformPolicy
from wmlib.replay import Growing, episode_name
from wmlib.runs import own_run
from wmlib.scratch.checks import check_step
from wmlib.spaces import box
from wmlib.training import History, resumed, save_state, seeded
from wmlib.typed import PositiveInt, Seed, check_type, typed

Variant = Literal["D", "P", "DE", "PE"]


@typed
@dataclass(frozen=True)
class PETSConfig:
    """Hyper-parameters of PETS."""

    propagation: Propagation = "TSinf"
    """see `propagate` (paper: TSinf in the authors' code)"""
    particles: PositiveInt = 10
    """N, a multiple of the members (paper: 20; ours: for two cores)"""
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    cem: CEMConfig = field(default_factory=CEMConfig)

    def __post_init__(self) -> None:
        check_particles(self.particles, self.ensemble.members)

    @typed
    def variant(self, name: Variant) -> PETSConfig:
        """The ablations of the paper: a deterministic (D) or probabilistic (P) network, or an
        ensemble (E) of either, else as this configuration.

        Raises:
            ValueError: the name is none of `Variant`.
        """
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


class Interrupted(KeyboardInterrupt):
    """`train_pets` was interrupted; `trained` holds what was finished by then.

    It is what `train_pets` returns after so many trials. (A notebook has the error, with what it
    holds, in `sys.last_value`.)
    """

    def __init__(self, trained: Trained, trials: int) -> None:
        self.trained = trained
        super().__init__(
            f"after {len(trained.episodes)} of {trials} trials, which are kept: see this error's "
            "`trained` (in a notebook: `sys.last_value.trained`)"
        )


class FiniteSteps(gym.Wrapper):
    """The environment itself, but where it says what is not a finite number, a ValueError names the
    trial, the step and the value."""

    trial = 0
    """the number that errors name"""

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**options)
        self.steps = 0
        check_step(f"trial {self.trial}, step 0", observation, 0.0)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.steps += 1
        check_step(f"trial {self.trial}, step {self.steps}", observation, reward)
        return observation, reward, terminated, truncated, info


def check_reward(reward: Reward, episode: Episode, trial: int, device: torch.device | str) -> None:
    """Raises ValueError: what the function says of a real step is not finite."""
    before, actions, after = (
        torch.as_tensor(array, dtype=torch.float32, device=device)[None]  # (1, T, ...)
        for array in transitions([episode])
    )
    given = rewards_of(reward, Particles(before, actions, after))[0]  # (T,)
    if not (finite := given.isfinite()).all():
        step = int(finite.int().argmin())
        seen, did = episode.observations[step].tolist(), episode.actions[step].tolist()
        raise ValueError(
            f"trial {trial}, step {step}: the reward function must return finite numbers, got "
            f"{given[step].item()} for the observation {seen} and the action {did}"
        )


@typed
def train_pets(
    env: gym.Env,
    reward: Reward,
    config: PETSConfig | None = None,
    *,
    trials: PositiveInt = 10,
    seed: Seed = 0,
    max_steps: PositiveInt | None = None,
    device: torch.device | str = "cpu",
    folder: str | Path | None = None,
    resume: bool = False,
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
        max_steps: decisions after which a trial is cut, >= 1; None for the environment's own end.
        device: of the model.
        folder: where each trial, and the model of each, is kept as soon as it is there; None keeps
            nothing. A killed run ends as an undisturbed one.
        resume: go on with the run in `folder`; one that is finished is opened, its folder read-only
            or not.
        progress: show a bar.

    Raises:
        ValueError: an argument, a space or the shape of the rewards is not as it must be; or an
            observation, a reward of the environment or one of the function is not finite (the
            message names the trial, the step and the value); or the folder holds a run and `resume`
            is not given, or it holds another run.
        DamagedFileError: a file of the run was cut short or altered.
        BlockingIOError: another process works in the folder.
        OSError: a file cannot be written; the trials that were finished are kept.
        NotFiniteError: a loss of the model is NaN or infinite.
        Interrupted: a KeyboardInterrupt after the first trial; it holds what was finished.
    """
    space = box(env.observation_space, axes=1)
    cfg, random = config or PETSConfig(), UniformPolicy(env.action_space)
    (o,), (a,) = space.shape, random.space.shape
    rewards_of(reward, Particles(*(torch.zeros(2, 3, n, device=device) for n in (o, a, o))))
    ensemble = seeded(seed, lambda: Ensemble(o, a, cfg.ensemble)).to(device)

    def returns(start: Tensor, plans: Tensor, generator: torch.Generator) -> Tensor:
        return expected_returns(
            ensemble, reward, start, plans, cfg.propagation, cfg.particles, generator
        )

    planner, checked = Planner(returns, env.action_space, cfg.cem, device), FiniteSteps(env)
    # What there is after the last whole trial: episodes, losses, and the weights of the model.
    finished: tuple[list[Episode], list[History], dict[str, Tensor]] = ([], [], {})
    bar = tqdm(range(trials), "trials", disable=not progress)
    identity = {
        "environment": f"{env.spec.id} {env.spec.kwargs}" if env.spec else type(env).__name__,
        "reward": getattr(reward, "__qualname__", type(reward).__name__), "trials": trials,
        "seed": seed, "max_steps": max_steps, "config": asdict(cfg),
    }  # fmt: skip
    try:
        with _kept(None if folder is None else Path(folder), identity, trials, resume) as kept:
            for trial in bar:
                own, checked.trial = 1000 * seed + trial, trial
                episodes, losses, _ = finished
                if trial:
                    losses = [*losses, kept.learned(trial, ensemble, episodes, own)]
                if trial not in kept.episodes:
                    episode = run_episode(checked, planner if trial else random, own, max_steps)
                    check_reward(reward, episode, trial, device)
                    kept.add(trial, episode)
                episode = kept.episodes[trial]
                finished = [*episodes, episode], losses, copy.deepcopy(ensemble.state_dict())
                bar.set_postfix_str(f"return {episode.total_reward:.0f}", refresh=False)
    except KeyboardInterrupt as stopped:
        episodes, losses, weights = finished
        if not episodes:
            raise
        ensemble.load_state_dict(weights)
        ensemble.eval()
        raise Interrupted(Trained(planner, ensemble, episodes, losses), trials) from stopped
    return Trained(planner, ensemble, *finished[:2])


@dataclass(frozen=True)
class _Kept:
    """What a run has by now: its trials, and in a folder the model before each of them."""

    episodes: Mapping[int, Episode]
    add: Callable[[int, Episode], None]
    states: Path | None
    identity: Mapping[str, str]

    def learned(
        self, trial: int, ensemble: Ensemble, episodes: Sequence[Episode], seed: int
    ) -> History:
        """Let the model learn from all trials so far, or take it over as it was then."""
        path = None if self.states is None else self.states / f"model-{trial:02d}.safetensors"
        identity, history = {**self.identity, "trial": str(trial)}, History()
        if resumed(path, identity, {"model": ensemble}, {}, history):
            return history
        history = ensemble.learn(*transitions(episodes), seed=seed)
        if path is not None:
            save_state(path, identity, len(history["total"]), {"model": ensemble}, {}, history)
        return history


@contextlib.contextmanager
def _kept(
    folder: Path | None, identity: dict[str, object], trials: int, resume: bool
) -> Iterator[_Kept]:
    """In `folder`, which is the run's own; or in memory."""
    words = {name: str(value) for name, value in identity.items()}
    if folder is None:
        done: dict[int, Episode] = {}
        yield _Kept(done, done.__setitem__, None, words)
        return
    with own_run(folder, identity, resume, f"episodes/{episode_name(trials - 1)}"):
        (folder / "episodes").mkdir(exist_ok=True)
        growing = Growing(folder / "episodes", trials, words)
        yield _Kept(growing.episodes, growing.add, folder / "state", words)


def transitions(episodes: Sequence[Episode]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All N steps of episodes: observations (N, O), actions (N, A), next observations (N, O).

    Raises:
        ValueError: there is no episode, or something else among them.
    """
    episodes = list(episodes)
    if not episodes:
        raise ValueError("episodes must hold at least one, got none")
    for episode in episodes:
        check_type("each of episodes", episode, Episode)
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
