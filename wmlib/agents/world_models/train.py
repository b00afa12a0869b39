"""World Models on any environment of small pictures, within a number of real steps.

Random play; V and M from it; C in M's dreams. Then cycles: C plays, V and M go on learning from
all that was seen, and a new C is evolved in the new dreams. Real rewards teach M and nothing else.
CarRacing has a recipe of its own, `wmlib.agents.world_models.car_racing`; the folder of a run, and
how a killed one goes on, is the same (`wmlib.agents.world_models.stages`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import gymnasium as gym
import numpy as np
import torch
from pydantic import Field
from tqdm.auto import tqdm

from wmlib.agents.world_models import memory as m
from wmlib.agents.world_models import vision as v
from wmlib.agents.world_models.actions import choices_of
from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.config import (
    WorldModelsConfig,
    budgets,
    fitted,
    rewards_fitted,
    usual,
)
from wmlib.agents.world_models.controller import ControllerConfig, LinearController
from wmlib.agents.world_models.evolve import train_in_dream
from wmlib.agents.world_models.memory import MDNRNN
from wmlib.agents.world_models.stages import DRIVEN, RESULT, Stages
from wmlib.agents.world_models.starts import warm_up
from wmlib.agents.world_models.vision import VAE
from wmlib.checkpoint import save_module
from wmlib.episodes import Episode, Policy, run_episode
from wmlib.exploration import random_policy
from wmlib.replay import Replay
from wmlib.runs import Log, Row, own_run
from wmlib.training import fit, seeded
from wmlib.typed import LARGEST, typed

EPISODES = 1_000_000  # seeds of episodes set aside for a run; from 900,000 on lie those of verdicts
MOST_STEPS = 900_000


@typed
def train_world_models(
    env_id: str,
    *,
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)],
    seed: Annotated[int, Field(ge=0, lt=LARGEST // EPISODES)],
    config: WorldModelsConfig | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    device: torch.device | str = "cpu",
    progress: bool = True,
    after: Callable[[int, Agent], None] | None = None,
) -> Agent:
    """From nothing to an agent, within `steps` decisions in the real environment.

    Args:
        env_id: of pictures (H, W, C) of uint8 or bool, and of `Discrete` actions or a Box of
            [-1, 1] or [0, 1]: a registered id, or "module:id".
        steps: real decisions, all of which are used: the last episode of a cycle may be cut short.
        seed: of everything; episodes have the seeds 1,000,000 seed + i.
        config: of the run; None: as `usual` for that environment.
        folder: where each cycle is kept, and the result; None keeps nothing.
        resume: go on with the run in `folder`; one that is finished is opened, its folder read-only
            or not.
        device: where V, M and C learn, dream and act, and are then.
        progress: show bars, and a line for each cycle.
        after: called after each cycle with the real steps used so far, and the agent; of an
            unfinished run that is resumed, after those that were finished as well.

    Raises:
        ValueError: the environment is unknown or another, a number is out of range, the folder
            holds a run and `resume` is not given, or it holds another run.
        DamagedFileError: a file of the run was cut short or altered.
        BlockingIOError: another process works in the folder.
        OSError: a file cannot be written; the stages that were finished are kept.
        NotFiniteError: a loss or a dreamed return is not finite.
    """
    env = make(env_id)
    config = fitted(config or usual(env_id), env)
    shares = budgets(config, steps)
    identity = {
        "environment": env_id, "steps": steps, "seed": seed, "config": dataclasses.asdict(config)
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
        folder = Path(folder)
        stack.enter_context(own_run(folder, identity, resume, RESULT))
        if not (folder / RESULT).exists():
            _Run(folder, env_id, env, seed, config, device, progress).train(shares, after)
        return Agent.load(folder).to(device)


class _Run:
    """A run while it lasts. Every stage makes its result, or loads it if it is there."""

    def __init__(
        self, folder: Path, env_id: str, env: gym.Env, seed: int, config: WorldModelsConfig,
        device: torch.device | str, progress: bool,
    ) -> None:  # fmt: skip
        self.env_id, self.env, self.device = env_id, env, device
        self.seed, self.config, self.progress = EPISODES * seed, config, progress
        self.choices = choices_of(env.action_space)
        self.stages, self.replay = Stages(folder, seed), Replay()
        self.log = Log(folder / "log.csv", self.stages.rows(config.cycles))

    def train(self, shares: Sequence[int], after: Callable[[int, Agent], None] | None) -> None:
        """A cycle for each share of the real steps; the last one's agent is the result."""
        agent: Agent | None = None
        for cycle, share in enumerate(shares):
            self.replay.extend(self._play(agent, cycle, share))
            agent = self._learn(agent, cycle)
            if not self.log.has(cycle):
                self.log.add(self.stages.row(cycle))
                if self.progress:
                    tqdm.write(_line(self.log.rows[-1], len(shares) - 1), file=sys.stderr)
            if after is not None:
                after(self.replay.steps, agent)
        assert agent is not None  # there is always a first share
        self.stages.finish(agent, self.log.rows)

    def _play(self, agent: Agent | None, cycle: int, steps: int) -> Replay:
        """So many real steps, of random play before there is an agent."""
        folder = self.stages.path(cycle, "episodes")
        if self.stages.path(cycle, DRIVEN).exists():
            return Replay.load(folder)
        with self.stages.clock(cycle, "driven") as clock:
            if not folder.exists():
                policy: Policy = random_policy(self.env.action_space)
                if agent is not None:
                    policy = agent.policy(self.config.noise)
                first = self.seed + len(self.replay)
                Replay(play(self.env, policy, steps, first, self.progress)).save(folder)
            played = Replay.load(folder)
            returns = [episode.total_reward for episode in played]
            row = {
                "steps": steps,
                "driven_mean": float(np.mean(returns)),
                "driven_worst": min(returns),
                "driven_best": max(returns),
            }
            self.stages.keep_driven(cycle, row, clock)
        return played

    def _learn(self, agent: Agent | None, cycle: int) -> Agent:
        """V and M go on, or begin; a new C is evolved in their dreams."""
        vision = self._learn_vision(agent, cycle)
        codes = Codes.of(self.replay, vision.encode, choices=self.choices)
        memory = self._learn_memory(agent, cycle, codes)
        return Agent(vision, memory, self._learn_controller(cycle, memory, codes), self.env_id)

    def _learn_vision(self, agent: Agent | None, cycle: int) -> VAE:
        path, config, seed = self.stages.checkpoint(cycle, "vision"), self.config, self.seed + cycle
        if not path.exists():
            steps = config.cycle_vision_steps if agent else config.vision_steps
            with self.stages.clock(cycle, "vision") as clock:
                vision = agent.vision if agent else seeded(seed, lambda: VAE(config.vision))
                vision.to(self.device)
                fit(
                    vision, lambda rng: v.batch_loss(vision, self.replay, rng)._asdict(),
                    steps=steps, learning_rate=config.vision.learning_rate, seed=seed,
                    state=self.stages.state(cycle, "vision"), description="training V",
                    progress=self.progress,
                )  # fmt: skip
                save_module(path, vision, "vision", self.stages.made(steps, clock, {}))
        return VAE.load(path).to(self.device)

    def _learn_memory(self, agent: Agent | None, cycle: int, codes: Codes) -> MDNRNN:
        path, config, seed = self.stages.checkpoint(cycle, "memory"), self.config, self.seed + cycle
        if not path.exists():
            steps = config.cycle_memory_steps if agent else config.memory_steps
            with self.stages.clock(cycle, "memory") as clock:
                of_m = rewards_fitted(config.memory, codes)
                memory = agent.memory if agent else seeded(seed, lambda: MDNRNN(of_m))
                memory.to(self.device)
                losses = fit(
                    memory, lambda rng: m.batch_loss(memory, codes, rng)._asdict(),
                    steps=steps, learning_rate=config.memory.learning_rate, seed=seed,
                    clip=config.memory.clip, state=self.stages.state(cycle, "memory"),
                    description="training M", progress=self.progress,
                )  # fmt: skip
                means = {name: float(np.mean(losses[name][-100:])) for name in ("code", "reward")}
                row = {f"memory_{name}": mean for name, mean in means.items()}
                save_module(path, memory, "memory", self.stages.made(steps, clock, row))
        return MDNRNN.load(path).to(self.device)

    def _learn_controller(self, cycle: int, memory: MDNRNN, codes: Codes) -> LinearController:
        """Its updates are the generations of its evolution."""
        path, config = self.stages.checkpoint(cycle, "controller"), self.config
        if not path.exists():
            with self.stages.clock(cycle, "controller") as clock:
                shape = ControllerConfig.for_space(
                    self.env.action_space, config.vision.latent, config.memory.hidden
                )
                evolved = train_in_dream(
                    memory, warm_up(memory, codes, config.warm), shape, config.dream,
                    seed=self.seed + cycle, state=self.stages.state(cycle, "controller"),
                    progress=self.progress,
                )  # fmt: skip
                row = {"dream_return": float(np.mean(evolved.history["dream_return"][-20:]))}
                made = self.stages.made(config.dream.generations, clock, row)
                evolved.controller.save(path, made)
        return LinearController.load(path).to(self.device)


def _line(row: Row, cycles: int) -> str:
    """A row of the log, for a person who watches."""
    return (
        f"cycle {row['cycle']:.0f} of {cycles}: {row['real_steps']:,.0f} real steps; played "
        f"{row['driven_mean']:.2f} [{row['driven_worst']:.2f}, {row['driven_best']:.2f}]; "
        f"dreams {row['dream_return']:.2f}; {row['seconds']:.0f} s"
    )


def play(
    env: gym.Env, policy: Policy, steps: int, seed: int, progress: bool = True
) -> list[Episode]:
    """Episodes of so many steps in all, the last one cut where they are used up."""
    episodes: list[Episode] = []
    with tqdm(total=steps, desc="playing", unit="step", disable=not progress) as bar:
        left = steps
        while left:
            episode = run_episode(env, policy, seed + len(episodes), max_steps=left)
            episodes.append(episode)
            left -= len(episode)
            bar.update(len(episode))
    return episodes


def make(env_id: str) -> gym.Env:
    """The environment of that id; one line for an unknown one."""
    try:
        return gym.make(env_id)
    except (gym.error.Error, ImportError) as error:
        ours = sorted(name for name in gym.registry if name.startswith("wmlib/"))
        raise ValueError(
            f"unknown environment {env_id!r} ({error}); there are {', '.join(ours)}, all of "
            "gymnasium's, and MODULE:ID for one that MODULE registers"
        ) from error
