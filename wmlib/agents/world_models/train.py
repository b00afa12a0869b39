"""World Models on any environment of small pictures, within a number of real steps.

Random play; V and M from it; C in M's dreams. Then cycles: C plays, V and M go on learning from
all that was seen, and a new C is evolved in the new dreams. Real rewards teach M and nothing else.
CarRacing has a recipe of its own, `wmlib.agents.world_models.car_racing`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gymnasium as gym
import numpy as np
from tqdm.auto import tqdm

from wmlib.agents.world_models import memory as m
from wmlib.agents.world_models import vision as v
from wmlib.agents.world_models.actions import choices_of
from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.controller import ControllerConfig
from wmlib.agents.world_models.evolve import DreamTrainingConfig, train_in_dream
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig
from wmlib.agents.world_models.starts import warm_up
from wmlib.agents.world_models.vision import VAE, VisionConfig
from wmlib.checkpoint import Manifest, made_by
from wmlib.checks import LARGEST_SEED, check_seed, check_share, check_whole
from wmlib.episodes import Episode, Policy, run_episode
from wmlib.exploration import random_policy
from wmlib.replay import Replay
from wmlib.runs import Log, Row, claim
from wmlib.training import fit, seeded
from wmlib.typed import check_fields, typed

EPISODES = 1_000_000  # seeds of episodes set aside for a run; from 900,000 on lie those of verdicts
MOST_STEPS = 900_000


@dataclass(frozen=True)
class WorldModelsConfig:
    """Everything that decides a run, besides its environment, steps and seed; sized for PixelCatch.

    What the environment says itself (its frames and actions, the scale of its rewards) replaces
    what `vision` and `memory` say of it.
    """

    random_share: float = 0.4
    """of the real steps: random play, in (0, 1] (ours)"""
    cycles: int = 4
    """of playing, learning and dreaming, which share the other steps evenly (ours)"""
    noise: float = 0.2
    """of C's play, see `wmlib.agents.world_models.agent.WorldModelPolicy` (ours)"""
    vision: VisionConfig = field(
        default_factory=lambda: VisionConfig(
            latent=16, channels=(16,), reconstruction_weight=30.0, learning_rate=3e-3, batch=64,
            frame=(16, 16, 1),
        )
    )  # fmt: skip
    """of V (ours: one convolution; two of them still leave the ball out after 500 updates, one
    shows it in every cell)"""
    vision_steps: int = 500
    """updates of a V that begins"""
    cycle_vision_steps: int = 60
    """updates of a V that goes on, a cycle"""
    memory: MemoryConfig = field(
        default_factory=lambda: MemoryConfig(
            latent=16, actions=3, hidden=64, reward="normal", reward_weight=10.0, end_weight=10.0,
            window=2, batch=192, learning_rate=1e-2,
        )
    )  # fmt: skip
    """of M (ours). One picture of PixelCatch shows the whole state, so short windows tell M all.
    From windows of whole episodes it learned their rewards by heart instead: a sequence of nine
    actions names the episode that it comes from"""
    memory_steps: int = 1000
    """updates of an M that begins"""
    cycle_memory_steps: int = 400
    """updates of an M that goes on, a cycle"""
    warm: int = 0
    """real decisions that M reads before a dream begins"""
    dream: DreamTrainingConfig = field(
        default_factory=lambda: DreamTrainingConfig(
            generations=80, population=32, starts=32, horizon=9, temperature=1.0, sigma=0.5,
            discount=1.0,
        )
    )  # fmt: skip
    """of C's evolution (ours)"""

    def __post_init__(self) -> None:
        check_fields(self)
        check_share("random_share", self.random_share)
        check_whole("cycles", self.cycles, 0)
        check_whole("warm", self.warm, 0)
        for name in ("vision_steps", "cycle_vision_steps", "memory_steps", "cycle_memory_steps"):
            check_whole(name, getattr(self, name), 1)


@typed
def train_world_models(
    env_id: str,
    *,
    steps: int,
    seed: int,
    config: WorldModelsConfig | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    after: Callable[[int, Agent], None] | None = None,
) -> Agent:
    """From nothing to an agent, within `steps` decisions in the real environment.

    Args:
        env_id: of pictures (H, W, C) of uint8, and of `Discrete` actions or a Box of [-1, 1] or
            [0, 1]: a registered id, or "module:id".
        steps: real decisions, all of which are used: the last episode of a cycle may be cut short.
        seed: of everything; episodes have the seeds 1,000,000 seed + i.
        config: of the run.
        folder: where each cycle is kept, and the result; None keeps nothing.
        resume: go on with the run in `folder`, after the last cycle that was finished.
        progress: show bars, and a line for each cycle.
        after: called after each cycle with the real steps used so far, and the agent.

    Raises:
        ValueError: the environment is unknown or another, a number is out of range, the folder
            holds a run and `resume` is not given, or it holds another run.
        NotFiniteError: a loss or a dreamed return is not finite.
    """
    check_whole("steps", steps, 1, MOST_STEPS)
    check_seed(seed, LARGEST_SEED // EPISODES - 1)
    env = make(env_id)
    config = fitted(config or WorldModelsConfig(), env)
    shares = budgets(config, steps)
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
        identity = {"environment": env_id, "steps": steps, "seed": seed}
        claim(Path(folder), identity | {"config": dataclasses.asdict(config)}, resume)
        return _Run(Path(folder), env_id, env, seed, config, progress).train(shares, after)


class _Run:
    """A run while it lasts: each cycle makes its folder, or loads it if it is there."""

    def __init__(
        self, folder: Path, env_id: str, env: gym.Env, seed: int, config: WorldModelsConfig,
        progress: bool,
    ) -> None:  # fmt: skip
        self.folder, self.env_id, self.env = folder, env_id, env
        self.seed, self.config, self.progress = EPISODES * seed, config, progress
        self.shape = ControllerConfig.for_space(
            env.action_space, config.vision.latent, config.memory.hidden
        )
        self.replay, self.log = Replay(), Log(folder / "log.csv")

    def train(self, shares: Sequence[int], after: Callable[[int, Agent], None] | None) -> Agent:
        """A cycle for each share of the real steps; the last one's agent is the result."""
        agent: Agent | None = None
        for cycle, share in enumerate(shares):
            began, place = time.perf_counter(), self.folder / f"cycle-{cycle:02d}"
            row: Row = {"cycle": cycle, **self._play(agent, share, place / "episodes")}
            if (place / "controller.safetensors").exists():
                agent = Agent.load(place)
            else:
                agent, learned = self._learn(agent, cycle)
                agent.save(place, made := self._made(began))
                if not self.log.has(cycle):
                    self.log.add(row | learned | {"seconds": made["wall_seconds"]})
                    if self.progress:
                        tqdm.write(_line(self.log.rows[-1], len(shares) - 1), file=sys.stderr)
            if after is not None:
                after(self.replay.steps, agent)
        assert agent is not None  # there is always a first share
        made = self._made(began) | {"wall_seconds": round(self.log.total("seconds"), 1)}
        agent.save(self.folder, made | {"real_steps": self.replay.steps})
        return agent

    def _made(self, began: float) -> Manifest:
        """Updates are generations of C's evolution."""
        seconds = time.perf_counter() - began
        steps = self.config.dream.generations
        return made_by(seed=self.seed // EPISODES, steps=steps, seconds=seconds)

    def _play(self, agent: Agent | None, steps: int, folder: Path) -> Row:
        """So many real steps, of random play before there is an agent."""
        if not folder.exists():
            policy: Policy = random_policy(self.env.action_space)
            if agent is not None:
                policy = agent.policy(self.config.noise)
            first = self.seed + len(self.replay)
            Replay(play(self.env, policy, steps, first, self.progress)).save(folder)
        played = Replay.load(folder)
        self.replay.extend(played)
        returns = [episode.total_reward for episode in played]
        return {
            "real_steps": self.replay.steps,
            "driven_mean": float(np.mean(returns)),
            "driven_worst": min(returns),
            "driven_best": max(returns),
        }

    def _learn(self, agent: Agent | None, cycle: int) -> tuple[Agent, Row]:
        """V and M go on, or begin; a new C is evolved in their dreams."""
        config, seed, choices = self.config, self.seed + cycle, choices_of(self.env.action_space)
        vision = agent.vision if agent else seeded(seed, lambda: VAE(config.vision))
        fit(
            vision, lambda rng: v.batch_loss(vision, self.replay, rng)._asdict(),
            steps=config.cycle_vision_steps if agent else config.vision_steps,
            learning_rate=config.vision.learning_rate, seed=seed, description="training V",
            progress=self.progress,
        )  # fmt: skip
        codes = Codes.of(self.replay, vision.encode, choices=choices)
        of_m = rewards_fitted(config.memory, codes)
        memory = agent.memory if agent else seeded(seed, lambda: MDNRNN(of_m))
        losses = fit(
            memory, lambda rng: m.batch_loss(memory, codes, rng)._asdict(),
            steps=config.cycle_memory_steps if agent else config.memory_steps,
            learning_rate=config.memory.learning_rate, clip=config.memory.clip, seed=seed,
            description="training M", progress=self.progress,
        )  # fmt: skip
        starts = warm_up(memory, codes, config.warm)
        evolved = train_in_dream(
            memory, starts, self.shape, config.dream, seed=seed, progress=self.progress
        )
        row = {f"memory_{name}": float(np.mean(losses[name][-100:])) for name in ("code", "reward")}
        row["dream_return"] = float(np.mean(evolved.history["dream_return"][-20:]))
        return Agent(vision, memory, evolved.controller, self.env_id), row


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


def fitted(config: WorldModelsConfig, env: gym.Env) -> WorldModelsConfig:
    """The configuration for the frames and actions of an environment.

    Raises:
        ValueError: its frames or its actions are others than V and C can take.
    """
    space, latent = env.observation_space, config.vision.latent
    if not isinstance(space, gym.spaces.Box) or space.dtype != np.uint8 or len(space.shape) != 3:
        raise ValueError(f"V sees pictures (H, W, C) of uint8, the environment gives {space}")
    shape = ControllerConfig.for_space(env.action_space, latent, config.memory.hidden)
    vision = dataclasses.replace(config.vision, frame=space.shape)
    memory = dataclasses.replace(config.memory, latent=latent, actions=len(shape.squash))
    return dataclasses.replace(config, vision=vision, memory=memory)


def rewards_fitted(config: MemoryConfig, codes: Codes) -> MemoryConfig:
    """M's configuration for any rewards: their mean is nothing to it, their spread is 1."""
    rewards = np.delete(codes.rewards, codes.first + codes.lengths)  # (decisions,)
    mean, spread = float(rewards.mean()), float(rewards.std())
    same = spread < 1e-5 * max(1.0, abs(mean))  # but for their rounding
    return dataclasses.replace(
        config, reward="normal", reward_offset=mean, reward_scale=1.0 if same else spread
    )


def budgets(config: WorldModelsConfig, steps: int) -> list[int]:
    """Real steps of random play, and of each cycle: together exactly `steps`.

    Raises:
        ValueError: one of them is none, or random play is shorter than a window of M.
    """
    if not config.cycles:
        return [steps]
    random = round(config.random_share * steps)
    marks = np.linspace(random, steps, config.cycles + 1).round().astype(int)
    shares: list[int] = [random, *np.diff(marks).tolist()]
    if min(shares) < 1 or random < config.memory.window:
        raise ValueError(
            f"{steps} steps are too few: {shares} of random play and each cycle, where M needs "
            f"{config.memory.window} at first and each cycle at least 1"
        )
    return shares


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
