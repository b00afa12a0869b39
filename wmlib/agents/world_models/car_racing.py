"""The recipe for CarRacing: a driver that never saw a real reward, in one command.

Random driving; V and M from it; C in M's dreams. Then cycles: C drives, V and M learn from what
happened, C improves in the new dreams. Real rewards teach M and nothing else: no real score
chooses a checkpoint, a seed or the moment to stop. What the pictures tell besides, how much grass
there is around the car, teaches M's cost head, and dreams charge for it.

Each stage writes its result into the run's folder, what the log says of it included, and is skipped
when that is there, so a run that is killed at any moment goes on and ends where an undisturbed run
ends. `log.csv` is a view of what the stages say, written anew whenever it is not that.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import torch
from pydantic import Field
from tqdm.auto import tqdm

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.controller import LinearController
from wmlib.agents.world_models.dream import Dream
from wmlib.agents.world_models.evolve import DreamTrainingConfig, Evolved, train_in_dream
from wmlib.agents.world_models.gradients import BehaviourConfig, Learned, train_behaviour
from wmlib.agents.world_models.memory import MDNRNN, batch_loss, check_rewards
from wmlib.agents.world_models.recipes import ENV_ID, EPISODES, TRACKS, Recipe
from wmlib.agents.world_models.stages import DRIVEN, RESULT, Stages
from wmlib.agents.world_models.starts import Starts, followed, warm_up
from wmlib.agents.world_models.tiles import grass, real_steps, tile_rewards, without_laps
from wmlib.agents.world_models.vision import VAE, train_vision
from wmlib.checkpoint import save_module
from wmlib.collecting import collect
from wmlib.episodes import Policy
from wmlib.exploration import SmoothRandomPolicy
from wmlib.replay import Replay
from wmlib.runs import Log, Row, own_run
from wmlib.storage import DamagedFileError
from wmlib.training import History, fit, seeded
from wmlib.typed import LARGEST, typed
from wmlib.workers import Jobs


@typed
def train_car_racing(
    folder: str | Path,
    *,
    seed: Annotated[int, Field(ge=0, lt=LARGEST // TRACKS)],
    recipe: Recipe | None = None,
    resume: bool = False,
    n_jobs: Jobs = None,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> Agent:
    """From nothing to a driver; no real reward reaches C.

    Args:
        folder: of the run.
        seed: of everything, at most 9,223,372,036,853; tracks have the seeds 1,000,000 seed + i.
        recipe: of the run.
        resume: go on with the run that `folder` holds.
        n_jobs: workers for collecting, as for `wmlib.collecting.collect`.
        device: where V, M and C learn and dream, and are then; workers drive on the CPU.
        progress: show bars, and a line for each cycle.

    A run that is finished, its folder read-only or not, is opened by `resume`.

    Raises:
        ValueError: the seed is out of range; the folder holds a run and `resume` is not given, or
            it holds another run.
        DamagedFileError: a file of the run was cut short or altered.
        BlockingIOError: another process works in the folder.
        OSError: a file cannot be written; what was finished is kept.
        NotFiniteError: a loss or a dreamed return is not finite.
    """
    recipe, folder = recipe or Recipe(), Path(folder)
    identity = {"seed": seed, "recipe": dataclasses.asdict(recipe)}
    with own_run(folder, identity, resume, RESULT):
        run = _Run(folder, seed, recipe, n_jobs, torch.device(device), progress)
        if not (folder / RESULT).exists():
            run.train()
        return Agent.load(folder).to(device)


class _Run:
    """A run while it lasts. Every stage makes its result, or loads it if it is there."""

    vision: VAE
    memory: MDNRNN
    controller: LinearController
    random: Codes
    driven: Codes | None = None

    def __init__(
        self, folder: Path, seed: int, recipe: Recipe, n_jobs: int | None, device: torch.device,
        progress: bool,
    ) -> None:  # fmt: skip
        self.seed, self.recipe = seed, recipe
        self.stages = Stages(folder, seed, repeated=("memory", "controller"))
        self.n_jobs, self.device, self.progress = n_jobs, device, progress
        self.log = Log(folder / "log.csv", self.stages.rows(recipe.cycles))

    def train(self) -> None:
        """All stages, and a line of the log for each cycle."""
        for cycle in range(self.recipe.cycles + 1):
            replay = self._drive(cycle)
            if cycle == 0:
                self.vision = self._learn_vision(replay)
            codes = self._watch(cycle, replay)
            if cycle == 0:
                self.random = codes
            else:
                self.driven = codes if self.driven is None else self.driven.merged(codes)
            self._learn_memory(cycle)
            self._learn_controller(cycle)
            if not self.log.has(cycle):
                self.log.add(self.stages.row(cycle))
                if self.progress:
                    tqdm.write(self.log.line(self.recipe.cycles), file=sys.stderr)
        agent = Agent(self.vision, self.memory, self.controller)
        self.stages.finish(agent, self.log.rows)

    def _drive(self, cycle: int) -> Replay:
        """Random driving, and in every later cycle C's own; each episode is kept as it ends."""
        recipe, folder = self.recipe, self.stages.path(cycle, "episodes")
        try:
            return Replay.load(folder)
        except (FileNotFoundError, DamagedFileError):
            if self.stages.path(cycle, DRIVEN).exists():  # then all episodes were there once
                raise
        env_kwargs: dict[str, Any] = {"action_repeat": recipe.action_repeat}
        policy: Policy
        if cycle == 0 or recipe.cycle_driver == "random":
            env = gym.make(ENV_ID, **env_kwargs)
            policy = SmoothRandomPolicy(env.action_space, recipe.exploration)
            env.close()
            max_steps, patience = recipe.max_steps, recipe.patience
        else:
            agent = copy.deepcopy(Agent(self.vision, self.memory, self.controller)).to("cpu")
            policy = agent.policy(recipe.cycle_noise)
            max_steps, patience = None, recipe.cycle_patience
        episodes = recipe.cycle_episodes if cycle else recipe.episodes
        with self.stages.clock(cycle, "driven"):
            driven = collect(
                policy, ENV_ID, episodes=episodes, seed=TRACKS * self.seed + EPISODES * cycle,
                max_steps=max_steps, patience=patience, env_kwargs=env_kwargs,
                n_jobs=self.n_jobs, progress=self.progress, folder=folder,
            )  # fmt: skip
        return Replay(driven)

    def _watch(self, cycle: int, replay: Replay) -> Codes:
        """What was driven, as M reads it; and said for the log, unless it has been."""
        if self.stages.path(cycle, DRIVEN).exists():
            return self._encoded(replay)
        with self.stages.clock(cycle, "driven") as clock:
            codes = self._encoded(replay)
            row: Row = {"steps": real_steps(replay, self.recipe.action_repeat)}
            if cycle:
                row |= self._compare(replay, codes)
            self.stages.keep_driven(cycle, row, clock)
        return codes

    def _learn_vision(self, replay: Replay) -> VAE:
        """V, once, from random driving: from now on codes keep their meaning."""
        path, recipe = self.stages.checkpoint(0, "vision"), self.recipe
        if not path.exists():
            steps = recipe.vision_steps
            with self.stages.clock(0, "vision") as clock:
                vision, _ = train_vision(
                    replay, recipe.vision, steps=steps, seed=self._seed(0),
                    state=self.stages.state(0, "vision"), device=self.device,
                    progress=self.progress,
                )  # fmt: skip
                save_module(path, vision, "vision", self.stages.made(steps, clock, {}))
        return VAE.load(path).to(self.device)

    def _encoded(self, replay: Replay) -> Codes:
        """As M reads it: with what V sees, and with the grass around the car."""
        return without_laps(Codes.of(replay, self.vision.encode, grass))

    def _learn_memory(self, cycle: int) -> None:
        """M, from random driving first, later from C's driving as well."""
        path = self.stages.checkpoint(cycle, "memory")
        if not path.exists():
            with self.stages.clock(cycle, "memory") as clock:
                steps, history = self._train_memory(cycle)
                means = {name: float(np.mean(losses[-100:])) for name, losses in history.items()}
                names = [name for name in ("code", "reward", "cost") if name in means]
                row = {f"memory_{name}": means[name] for name in names}
                save_module(path, self.memory, "memory", self.stages.made(steps, clock, row))
        self.memory = MDNRNN.load(path).to(self.device)

    def _train_memory(self, cycle: int) -> tuple[int, History]:
        """How many updates, and the losses of each; none where nothing of M learns."""
        recipe, steps, cooldown = self.recipe, self.recipe.cycle_memory_steps, 0.5
        if cycle == 0:
            config = tile_rewards(self.random.rewards, recipe.action_repeat)
            config = dataclasses.replace(
                config, latent=recipe.vision.latent, cost_weight=recipe.grass
            )
            self.memory = seeded(self._seed(cycle), lambda: MDNRNN(config)).to(self.device)
            steps, cooldown = recipe.memory_steps, 0.3
        check_rewards(self.memory.config, self.driven or self.random)  # of random once
        if recipe.memory_learns == "heads":
            self.memory.lstm.requires_grad_(False)
        if recipe.memory_learns == "nothing":
            return steps, {}
        return steps, fit(
            self.memory, self._memory_losses, steps=steps,
            learning_rate=self.memory.config.learning_rate, clip=self.memory.config.clip,
            cooldown=cooldown, seed=self._seed(cycle), state=self.stages.state(cycle, "memory"),
            description="training M", progress=self.progress,
        )  # fmt: skip

    def _memory_losses(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        codes = self.random
        if self.driven is not None and rng.random() < self._share():
            codes = self.driven
        return batch_loss(self.memory, codes, rng)._asdict()

    def _share(self) -> float:
        """Of C's own driving in what M sees and dreams begin with."""
        own = 0 if self.driven is None else self.recipe.driven * self.driven.lengths.sum()
        return float(own / (own + self.random.lengths.sum()))

    def _learn_controller(self, cycle: int) -> None:
        """C, from nothing, in the dreams of M as it is now.

        Nothing stays of what an earlier C had found to exploit in an earlier M.
        """
        path = self.stages.checkpoint(cycle, "controller")
        if not path.exists():
            with self.stages.clock(cycle, "controller") as clock:
                updates, learned = self._train_controller(cycle)
                names = ("dream_return", "dream_cost", "gradient")
                row = {
                    name: float(np.mean(learned.history[name][-20:]))
                    for name in names if name in learned.history
                }  # fmt: skip
                learned.controller.save(path, self.stages.made(updates, clock, row))
        self.controller = LinearController.load(path).to(self.device)

    def _train_controller(self, cycle: int) -> tuple[int, Learned | Evolved]:
        recipe, starts = self.recipe, self._starts(cycle)
        options: dict[str, Any] = {
            "seed": self._seed(cycle), "progress": self.progress,
            "state": self.stages.state(cycle, "controller"),
        }  # fmt: skip
        if recipe.optimiser == "gradient":
            config = self._behaviour(cycle)
            return config.updates, train_behaviour(
                self.memory, starts, recipe.controller, config, **options
            )
        dream = dataclasses.replace(recipe.dream, price=self._price(recipe.dream, cycle))
        return dream.generations, train_in_dream(
            self.memory, starts, recipe.controller, dream, **options
        )

    def _price(self, config: BehaviourConfig | DreamTrainingConfig, cycle: int) -> float:
        """Of a cost, rising with the cycles."""
        return config.price * (cycle / self.recipe.cycles if self.recipe.cycles else 1.0)

    def _behaviour(self, cycle: int) -> BehaviourConfig:
        """Its value function reads what M has."""
        config, features = self.recipe.behaviour, self.recipe.vision.latent
        value = dataclasses.replace(config.value, features=features + self.memory.config.hidden)
        return dataclasses.replace(config, value=value, price=self._price(config, cycle))

    def _starts(self, cycle: int) -> Starts:
        """As many real moments to dream from as there are, drawn with the same weights."""
        random = warm_up(self.memory, self.random, self.recipe.warm)
        if self.driven is None:
            return random
        own = warm_up(self.memory, self.driven, self.recipe.warm)
        rng, total, share = (
            np.random.default_rng(self._seed(cycle)),
            len(own.z) + len(random.z),
            self._share(),
        )
        parts = (own, round(total * share)), (random, round(total * (1 - share)))
        some = [part.take(rng.integers(len(part.z), size=n)) for part, n in parts]
        return Starts(*(torch.cat(pair) for pair in zip(*some, strict=True)))

    def _compare(self, replay: Replay, codes: Codes) -> Row:
        """What C drove; and the next decisions from real moments, as driven and as dreamed.

        M is still the one in whose dreams C was trained: where the dream promises more than the
        road gives, C exploits it. C's noise while it drives is in the difference too.
        """
        returns = [episode.total_reward for episode in replay]
        row: Row = {
            "driven_mean": float(np.mean(returns)),
            "driven_worst": min(returns),
            "driven_best": max(returns),
        }
        warm, span = self.recipe.warm, self.recipe.behaviour.horizon
        if max(codes.lengths) >= warm + span:
            starts = warm_up(self.memory, codes, warm)
            places, rows = followed(codes, starts, span)
            some = np.random.default_rng(0).permutation(len(places))[:512]
            road = codes.rewards[rows[some, None] + np.arange(span)].sum(1)  # (512,)
            dreamed = Dream(self.memory).returns(
                self.controller, starts.take(places[some]), horizon=span,
                generator=torch.Generator(self.device).manual_seed(0),
            )  # fmt: skip
            row |= {"ahead_driven": float(np.mean(road)), "ahead_dreamed": float(dreamed.mean())}
        return row

    def _seed(self, cycle: int) -> int:
        return TRACKS * self.seed + EPISODES * cycle
