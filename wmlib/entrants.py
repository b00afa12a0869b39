"""Who can enter the arena, by name. The one place that knows the agents and their rivals alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

import gymnasium as gym

from wmlib.agents.diamond import agent as diamond
from wmlib.agents.diamond import train_diamond
from wmlib.agents.dreamer import DreamerConfig, train_dreamer
from wmlib.agents.dreamer.agent import fitted as of_dreamer
from wmlib.agents.dreamerv3 import DreamerV3Config, Spaces, train_dreamerv3
from wmlib.agents.iris import agent as iris
from wmlib.agents.iris import train_iris
from wmlib.agents.muzero import ONE_PLAYER, GymWorld, MuZero, MuZeroConfig
from wmlib.agents.muzero import Spaces as WorldSpaces
from wmlib.agents.muzero.gym_world import fitted as of_muzero
from wmlib.agents.muzero.train import Run
from wmlib.agents.world_models import Agent, WorldModelsConfig, train_world_models
from wmlib.agents.world_models.config import budgets, fitted, usual
from wmlib.arena import EXAMINED, SEEDS, Entrant, Examine, RandomEntrant, Trained, examinations
from wmlib.learning import MOST_UPDATES, check_steps, repeat_of

AGENTS = (
    "random", "world-models", "dreamer", "dreamerv3", "iris", "diamond", "muzero", "dqn", "ppo",
)  # fmt: skip
COUNTED = AGENTS[2:]
"""these take a number of updates too, below `MOST_UPDATES`, as in dqn@12000"""


@dataclass(frozen=True)
class WorldModelsEntrant:
    """World Models, whose cycles end where it is examined."""

    config: WorldModelsConfig | None = None
    """None: as `usual` for the world"""

    def check(self, env: gym.Env, steps: int) -> None:
        config = fitted(self.config or usual(env.spec.id if env.spec else ""), env)
        ends = set(accumulate(budgets(config, steps)))
        if not ends >= set(examinations(steps)):
            raise ValueError(f"its cycles need a number of steps that 4 divides, got {steps}")

    def run(self, env_id: str, steps: int, seed: int, examine: Examine) -> Trained:
        def after(used: int, agent: Agent) -> None:
            if used in examinations(steps):
                examine(used, agent.policy())

        config = self.config or usual(env_id)
        agent = train_world_models(
            env_id, steps=steps, seed=seed, config=config, progress=False, after=after
        )
        cycles, networks = config.cycles, (agent.vision, agent.memory)
        learned = sum(p.numel() for network in networks for p in network.parameters())
        settings: Mapping[str, Any] = {
            "generations": (1 + cycles) * config.dream.generations, "config": asdict(config)
        }  # fmt: skip
        return Trained(
            updates=config.vision_steps + config.memory_steps
            + cycles * (config.cycle_vision_steps + config.cycle_memory_steps),
            parameters=learned + agent.controller.parameters.numel(),
            settings=settings,
        )  # fmt: skip


@dataclass(frozen=True)
class LearnerEntrant:
    """An agent that learns while it plays (see `wmlib.learning`)."""

    train: Callable[..., Any]
    """as `train_dreamer`"""
    fit: Callable[[Any, gym.Space, gym.Space], object]
    """refuses spaces of observations and actions that a configuration can do nothing with"""
    usual: Callable[[str], Any]
    """the configuration of a run in a world, by its id: with `first` real steps of random play, and
    a `ratio` of updates to real steps"""
    updates: int | None = None
    """of a run; None: as many as the ratio comes to"""

    def check(self, env: gym.Env, steps: int) -> None:
        config = self.usual(env.spec.id if env.spec else "")
        self.fit(config, env.observation_space, env.action_space)
        check_steps(env, steps, config.first, examinations(steps))

    def run(self, env_id: str, steps: int, seed: int, examine: Examine) -> Trained:
        agent = self.train(
            env_id, steps=steps, seed=seed, marks=examinations(steps),
            after=lambda used, agent: examine(used, agent.policy()), progress=False,
            config=paced(self.usual(env_id), steps, self.updates),
        )  # fmt: skip
        return Trained(agent.updates, _learned(agent), {"config": asdict(agent.config)})


@dataclass(frozen=True)
class MuZeroEntrant:
    """MuZero, whose games are cut off where it is examined, with a search as in training."""

    config: MuZeroConfig = ONE_PLAYER
    updates: int | None = None
    """as of `LearnerEntrant`"""

    def check(self, env: gym.Env, steps: int) -> None:
        of_muzero(env.observation_space, env.action_space)
        if (repeat := repeat_of(env)) != 1:
            raise ValueError(f"a decision must be one real step, got {repeat}")

    def run(self, env_id: str, steps: int, seed: int, examine: Examine) -> Trained:
        world = GymWorld(env_id, range(seed * SEEDS, seed * SEEDS + EXAMINED))
        agent = MuZero(WorldSpaces.of(world), paced(self.config, steps, self.updates), seed)
        run = Run(agent, world, steps, None)
        for mark in examinations(steps):
            run.reach(mark)
            examine(mark, agent.policy())
        return Trained(agent.updates, _learned(agent), {"config": asdict(agent.config)})


def paced(config: Any, steps: int, updates: int | None) -> Any:
    """A configuration whose `ratio` comes to so many updates in so many real steps."""
    return config if updates is None else replace(config, ratio=updates / steps)


def of_dreamerv3(_: DreamerV3Config, observations: gym.Space, actions: gym.Space) -> Spaces:
    """Its spaces, or an error; every configuration will do for them."""
    return Spaces.of(observations, actions)


def everywhere(config: Any, _: str) -> Any:
    """The same configuration in every world."""
    return config


LEARNERS: Mapping[str, LearnerEntrant] = {
    "dreamer": LearnerEntrant(train_dreamer, of_dreamer, partial(everywhere, DreamerConfig())),
    "dreamerv3": LearnerEntrant(
        train_dreamerv3, of_dreamerv3, partial(everywhere, DreamerV3Config())
    ),
    "iris": LearnerEntrant(train_iris, iris.fitted, iris.usual),
    "diamond": LearnerEntrant(train_diamond, diamond.fitted, diamond.usual),
}  # fmt: skip


def _learned(agent: Any) -> int:
    """Numbers that an agent has learned, of all its networks together."""
    return sum(
        p.numel() for module in agent.modules.values() for p in module.parameters()
        if p.requires_grad
    )  # fmt: skip


def entrants(names: str) -> dict[str, Entrant]:
    """The entrants of a list such as "random,dqn,dqn@12000".

    Raises:
        ValueError: a name is unknown, or stands there twice, or needs what is not installed.
    """
    listed = names.split(",")
    for name in listed:
        if listed.count(name) > 1:
            raise ValueError(f"an agent enters once, got {name!r} twice in {names!r}")
    return {name: _entrant(name) for name in listed}


def _entrant(name: str) -> Entrant:
    kind, at, number = name.partition("@")
    whole = number.isascii() and number.isdigit() and number == str(int(number) % MOST_UPDATES)
    if kind not in AGENTS or (at and not (kind in COUNTED and whole)):
        raise ValueError(
            f"unknown agent {name!r}; there are {', '.join(AGENTS)}, and with a number of updates "
            f"{', '.join(f'{counted}@N' for counted in COUNTED)}"
        )
    updates = int(number) if at else None
    if kind == "random":
        return RandomEntrant()
    if kind == "world-models":
        return WorldModelsEntrant()
    if kind in (*LEARNERS, "muzero"):
        if updates == 0:
            raise ValueError(f"{kind} needs at least one update, got {name!r}")
        entrant = LEARNERS.get(kind, MuZeroEntrant())
        return replace(entrant, updates=updates)
    try:
        from wmlib.rivals import DQNEntrant, PPOEntrant
    except ImportError as error:
        raise ValueError(
            f"{name} needs stable-baselines3, which is not installed ({error}): "
            "pip install --no-deps -r requirements-arena.txt"
        ) from error
    return DQNEntrant(updates) if kind == "dqn" else PPOEntrant(updates)
