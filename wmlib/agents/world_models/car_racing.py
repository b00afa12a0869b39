"""The recipe for CarRacing: a driver that never saw a real reward, in one command.

Random driving; V and M from it; C in M's dreams. Then cycles: C drives, V and M learn from what
happened, C improves in the new dreams. Real rewards teach M and nothing else: no real score
chooses a checkpoint, a seed or the moment to stop. What the pictures tell besides, how much grass
there is around the car, teaches M's cost head, and dreams charge for it.

Each stage writes its result into the run's folder and is skipped when that is there, so a run that
is killed at any moment goes on and ends where an undisturbed run ends.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from tqdm.auto import tqdm

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.controller import LinearController
from wmlib.agents.world_models.dream import Dream
from wmlib.agents.world_models.evolve import DreamTrainingConfig, Evolved, train_in_dream
from wmlib.agents.world_models.gradients import BehaviourConfig, Learned, train_behaviour
from wmlib.agents.world_models.memory import MDNRNN, batch_loss, check_rewards
from wmlib.agents.world_models.recipes import ENV_ID, EPISODES, TRACKS, Recipe
from wmlib.agents.world_models.starts import Starts, followed, warm_up
from wmlib.agents.world_models.tiles import grass, real_steps, tile_rewards, without_laps
from wmlib.agents.world_models.vision import VAE, train_vision
from wmlib.checkpoint import Manifest, load_checkpoint, made_by, save_module
from wmlib.checks import (
    LARGEST_SEED,
    check_kind,
    check_seed,
)
from wmlib.collecting import check_jobs, collect
from wmlib.episodes import Policy
from wmlib.exploration import SmoothRandomPolicy
from wmlib.replay import Replay
from wmlib.runs import Log, Row, claim, sole_owner
from wmlib.training import History, fit, seeded


def train_car_racing(
    folder: str | Path,
    *,
    seed: int,
    recipe: Recipe | None = None,
    resume: bool = False,
    n_jobs: int | None = None,
    progress: bool = True,
) -> Agent:
    """From nothing to a driver; no real reward reaches C.

    Args:
        folder: of the run.
        seed: of everything, at most 9,223,372,036,853; tracks have the seeds 1,000,000 seed + i.
        recipe: of the run.
        resume: go on with the run that `folder` holds.
        n_jobs: workers for collecting, as for `wmlib.collecting.collect`.
        progress: show bars, and a line for each cycle.

    Raises:
        ValueError: the seed is out of range; the folder holds a run and `resume` is not given, or
            it holds another run.
        DamagedFileError: a file of the run was cut short or altered.
        BlockingIOError: another process works in the folder.
        OSError: a file cannot be written; what was finished is kept.
        NotFiniteError: a loss or a dreamed return is not finite.
    """
    recipe, folder = recipe or Recipe(), Path(folder)
    check_kind("recipe", recipe, Recipe)
    check_seed(seed, LARGEST_SEED // TRACKS - 1)
    check_jobs(n_jobs)
    with sole_owner(folder):
        claim(folder, {"seed": seed, "recipe": dataclasses.asdict(recipe)}, resume)
        if not (folder / "controller.safetensors").exists():
            _Run(folder, seed, recipe, n_jobs, progress).train()
        return Agent.load(folder)


class _Run:
    """A run while it lasts. Every stage makes its result, or loads it if it is there."""

    vision: VAE
    memory: MDNRNN
    controller: LinearController
    random: Codes
    driven: Codes | None = None

    def __init__(
        self, folder: Path, seed: int, recipe: Recipe, n_jobs: int | None, progress: bool
    ) -> None:
        self.folder, self.seed, self.recipe = folder, seed, recipe
        self.n_jobs, self.progress = n_jobs, progress
        self.log = Log(folder / "log.csv")
        self.real_steps = 0

    def train(self) -> None:
        """All stages, and a line of the log for each cycle."""
        recipe = self.recipe
        for cycle in range(recipe.cycles + 1):
            began = time.perf_counter()
            replay = self._drive(cycle)
            self.real_steps += real_steps(replay, recipe.action_repeat)
            row: Row = {"cycle": cycle, "real_steps": self.real_steps}
            if cycle == 0:
                self.vision = self._learn_vision(replay)
                self.random = self._encoded(replay)
            else:
                codes = self._encoded(replay)
                row |= self._compare(replay, codes)
                self.driven = codes if self.driven is None else self.driven.merged(codes)
            row |= self._learn_memory(cycle)
            row |= self._learn_controller(cycle)
            if not self.log.has(cycle):
                self.log.add(row | {"seconds": time.perf_counter() - began})
                if self.progress:
                    tqdm.write(self.log.line(recipe.cycles), file=sys.stderr)
        self._finish()

    def _stage(self, cycle: int, name: str) -> Path:
        return self.folder / f"cycle-{cycle:02d}" / name

    def _drive(self, cycle: int) -> Replay:
        """Random driving, and in every later cycle C's own; all its episodes appear at once."""
        recipe, folder = self.recipe, self._stage(cycle, "episodes")
        if not folder.exists():
            env_kwargs: dict[str, Any] = {"action_repeat": recipe.action_repeat}
            policy: Policy
            if cycle == 0 or recipe.cycle_driver == "random":
                env = gym.make(ENV_ID, **env_kwargs)
                policy = SmoothRandomPolicy(env.action_space, recipe.exploration)
                env.close()
                max_steps, patience = recipe.max_steps, recipe.patience
            else:
                agent = Agent(self.vision, self.memory, self.controller)
                policy = agent.policy(recipe.cycle_noise)
                max_steps, patience = None, recipe.cycle_patience
            episodes = recipe.cycle_episodes if cycle else recipe.episodes
            driven = collect(
                policy, ENV_ID, episodes=episodes, seed=TRACKS * self.seed + EPISODES * cycle,
                max_steps=max_steps, patience=patience, env_kwargs=env_kwargs,
                n_jobs=self.n_jobs, progress=self.progress,
            )  # fmt: skip
            Replay(driven).save(folder)
        return Replay.load(folder)

    def _learn_vision(self, replay: Replay) -> VAE:
        """V, once, from random driving: from now on codes keep their meaning."""
        path, recipe = self._stage(0, "vision.safetensors"), self.recipe
        if not path.exists():
            began, steps = time.perf_counter(), recipe.vision_steps
            vision, _ = train_vision(
                replay, recipe.vision, steps=steps, seed=self._seed(0),
                state=self.folder / "state" / "vision-00.safetensors", progress=self.progress,
            )  # fmt: skip
            save_module(path, vision, "vision", self._made(steps, began))
        return VAE.load(path)

    def _encoded(self, replay: Replay) -> Codes:
        """As M reads it: with what V sees, and with the grass around the car."""
        return without_laps(Codes.of(replay, self.vision.encode, grass))

    def _learn_memory(self, cycle: int) -> Row:
        """M, from random driving first, later from C's driving as well."""
        path, recipe = self._stage(cycle, "memory.safetensors"), self.recipe
        history: History = {}
        if not path.exists():
            began, steps, cooldown = time.perf_counter(), recipe.cycle_memory_steps, 0.5
            if cycle == 0:
                config = tile_rewards(self.random.rewards, recipe.action_repeat)
                config = dataclasses.replace(
                    config, latent=recipe.vision.latent, cost_weight=recipe.grass
                )
                self.memory = seeded(self._seed(cycle), lambda: MDNRNN(config))
                steps, cooldown = recipe.memory_steps, 0.3
            check_rewards(self.memory.config, self.driven or self.random)  # of random once
            if recipe.memory_learns == "heads":
                self.memory.lstm.requires_grad_(False)
            if recipe.memory_learns != "nothing":
                history = fit(
                    self.memory, self._memory_losses, steps=steps,
                    learning_rate=self.memory.config.learning_rate, clip=self.memory.config.clip,
                    cooldown=cooldown, seed=self._seed(cycle),
                    state=self.folder / "state" / f"memory-{cycle:02d}.safetensors",
                    description="training M", progress=self.progress,
                )  # fmt: skip
            save_module(path, self.memory, "memory", self._made(steps, began))
        self.memory = MDNRNN.load(path)
        means = {name: float(np.mean(losses[-100:])) for name, losses in history.items()}
        names = ("code", "reward", "cost")
        return {f"memory_{name}": means[name] for name in names if name in means}

    def _memory_losses(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        codes = self.random
        if self.driven is not None and rng.random() < self._share():
            codes = self.driven
        return batch_loss(self.memory, codes, rng)._asdict()

    def _share(self) -> float:
        """Of C's own driving in what M sees and dreams begin with."""
        own = 0 if self.driven is None else self.recipe.driven * self.driven.lengths.sum()
        return float(own / (own + self.random.lengths.sum()))

    def _learn_controller(self, cycle: int) -> Row:
        """C, from nothing, in the dreams of M as it is now.

        Nothing stays of what an earlier C had found to exploit in an earlier M.
        """
        path, recipe = self._stage(cycle, "controller.safetensors"), self.recipe
        row: Row = {}
        if not path.exists():
            began, seed, starts = time.perf_counter(), self._seed(cycle), self._starts(cycle)
            learned: Learned | Evolved
            if recipe.optimiser == "gradient":
                updates = recipe.behaviour.updates
                learned = train_behaviour(
                    self.memory, starts, recipe.controller, self._behaviour(cycle), seed=seed,
                    progress=self.progress,
                )  # fmt: skip
            else:
                updates = recipe.dream.generations
                dream = dataclasses.replace(recipe.dream, price=self._price(recipe.dream, cycle))
                learned = train_in_dream(
                    self.memory, starts, recipe.controller, dream, seed=seed,
                    progress=self.progress,
                    state=self.folder / "state" / f"controller-{cycle:02d}.safetensors",
                )  # fmt: skip
            learned.controller.save(path, self._made(updates, began))
            names = ("dream_return", "dream_cost", "gradient")
            row = {
                name: float(np.mean(learned.history[name][-20:]))
                for name in names if name in learned.history
            }  # fmt: skip
        self.controller = LinearController.load(path)
        return row

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
            starts = warm_up(self.memory, codes, warm, batch=len(replay))
            places, rows = followed(codes, warm, span)
            some = np.random.default_rng(0).permutation(len(places))[:512]
            road = codes.rewards[rows[some, None] + np.arange(span)].sum(1)  # (512,)
            dreamed = Dream(self.memory).returns(
                self.controller, starts.take(places[some]), horizon=span,
                generator=torch.Generator().manual_seed(0),
            )  # fmt: skip
            row |= {"ahead_driven": float(np.mean(road)), "ahead_dreamed": float(dreamed.mean())}
        return row

    def _seed(self, cycle: int) -> int:
        return TRACKS * self.seed + EPISODES * cycle

    def _made(self, steps: int, began: float) -> Manifest:
        return made_by(seed=self.seed, steps=steps, seconds=time.perf_counter() - began)

    def _finish(self) -> None:
        """The result: V, M and C side by side; C last, because it says that the run is over."""
        last = self.recipe.cycles
        for cycle, kind, module in ((0, "vision", self.vision), (last, "memory", self.memory)):
            _, manifest = load_checkpoint(self._stage(cycle, f"{kind}.safetensors"), kind)
            save_module(self.folder / f"{kind}.safetensors", module, kind, manifest["made"])
        paths = [self._stage(cycle, "controller.safetensors") for cycle in range(last + 1)]
        manifests = [load_checkpoint(path, "controller")[1] for path in paths]
        steps = sum(manifest["made"]["steps"] for manifest in manifests)
        made = made_by(seed=self.seed, steps=steps, seconds=self.log.total("seconds"))
        made["real_steps"] = self.real_steps
        self.controller.save(self.folder / "controller.safetensors", made)
