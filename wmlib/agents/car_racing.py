"""The recipe for CarRacing: random driving, V, M, and C from dreams alone, in one command.

Each stage writes its result into the run's folder and is skipped when that is there; inside a stage
the training state is kept, so a run that is killed goes on where it was.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from wmlib.agents.world_models import Agent, DreamTrainingConfig, train_in_dream
from wmlib.checkpoint import made_by, save_module
from wmlib.controller import ControllerConfig
from wmlib.data import Replay, SmoothRandomPolicy, collect
from wmlib.dream import warm_up
from wmlib.memory import MDNRNN, Codes, MemoryConfig, train_memory
from wmlib.storage import write_atomically
from wmlib.vision import VAE, VisionConfig, train_vision

ENV_ID = "wmlib/CarRacing-v3"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run, besides its seed."""

    episodes: int = 1000
    """of random driving (paper: 10,000)"""
    max_steps: int = 150
    """decisions after which an episode is cut (ours: the start of a track is learned early)"""
    patience: int = 30
    """decisions without a new tile after which it is cut: grass teaches little (ours)"""
    action_repeat: int = 3
    """frames for each decision: one every 60 ms (ours)"""
    vision: VisionConfig = field(default_factory=VisionConfig)
    vision_steps: int = 3000
    """updates of V"""
    memory_steps: int = 5000
    """updates of M"""
    dream: DreamTrainingConfig = field(default_factory=DreamTrainingConfig)
    warm: int = 16
    """real decisions that M reads before a dream begins"""

    def __post_init__(self) -> None:
        counts = ("episodes", "patience", "action_repeat", "vision_steps", "memory_steps")
        shortest = max(MemoryConfig().window, self.warm + 1)  # what M and the dreams need
        for name, least in (*((name, 1) for name in counts), ("warm", 0), ("max_steps", shortest)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


def train_car_racing(
    folder: Path,
    *,
    seed: int,
    recipe: Recipe | None = None,
    n_jobs: int | None = None,
    progress: bool = True,
) -> Agent:
    """Random driving, then V, then M, then C in dreams; no real reward reaches C.

    Args:
        folder: of the run; holds nothing, or an earlier part of this very run.
        seed: of everything; random tracks have the seeds 1,000,000 seed + i.
        recipe: of the run.
        n_jobs: workers for collecting, as for `wmlib.data.collect`.
        progress: show bars.

    Raises:
        ValueError: the seed is negative, or the folder holds another run.
    """
    recipe = recipe or Recipe()
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    claim(folder, {"seed": seed, "recipe": dataclasses.asdict(recipe)})
    state = folder / "state"
    replay = _random_driving(folder / "random", seed, recipe, n_jobs, progress)

    started, path = time.perf_counter(), folder / "vision.safetensors"
    if not path.exists():
        vision, _ = train_vision(
            replay, recipe.vision, steps=recipe.vision_steps, seed=seed,
            state=state / "vision.safetensors", progress=progress,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        save_module(
            path, vision, "vision", made_by(seed=seed, steps=recipe.vision_steps, seconds=seconds)
        )
    vision = VAE.load(path)

    started, path = time.perf_counter(), folder / "memory.safetensors"
    codes = Codes.of(replay, vision.encode)
    if not path.exists():
        config = dataclasses.replace(
            tile_rewards(codes.rewards, recipe.action_repeat), latent=recipe.vision.latent
        )
        memory, _ = train_memory(
            codes, config, steps=recipe.memory_steps, seed=seed,
            state=state / "memory.safetensors", progress=progress,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        save_module(
            path, memory, "memory", made_by(seed=seed, steps=recipe.memory_steps, seconds=seconds)
        )
    memory = MDNRNN.load(path)

    started, path = time.perf_counter(), folder / "controller.safetensors"
    if not path.exists():
        shape = ControllerConfig(memory.config.latent, memory.config.hidden)
        evolved = train_in_dream(
            memory, warm_up(memory, codes, recipe.warm), shape, recipe.dream, seed=seed,
            state=state / "controller.safetensors", progress=progress,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        made = made_by(seed=seed, steps=recipe.dream.generations, seconds=seconds)
        made["real_steps"] = real_steps(replay, recipe.action_repeat)
        evolved.controller.save(path, made)
    return Agent.load(folder)


def tile_rewards(rewards: np.ndarray, action_repeat: int) -> MemoryConfig:
    """M's configuration for CarRacing's rewards: 1000 / N for each of N tiles, -0.1 a frame.

    N differs from track to track; the typical 1000 / N is taken from the rewards themselves.

    Raises:
        ValueError: no reward is positive, or `action_repeat` is less than 1.
    """
    if action_repeat < 1:
        raise ValueError(f"action_repeat must be at least 1, got {action_repeat}")
    offset = -0.1 * action_repeat
    positive = rewards[rewards > 0]
    if not len(positive):
        raise ValueError("no reward in these episodes is positive: the car reached no tile")
    return MemoryConfig(
        reward="poisson", reward_scale=float(np.median(positive)) - offset, reward_offset=offset
    )


def real_steps(replay: Replay, action_repeat: int) -> int:
    """Frames of the real environment behind a replay, repeated actions counted."""
    return int(
        sum(
            np.sum(e.extras["frames"]) if "frames" in e.extras else len(e) * action_repeat
            for e in replay
        )
    )


def claim(folder: Path, identity: dict[str, object]) -> None:
    """Make `folder` this run's own, or refuse it if it is another's.

    Raises:
        ValueError: the folder holds a run with another seed or recipe, or files of no run.
    """
    path, text = folder / "run.json", json.dumps(identity, indent=2) + "\n"
    if path.exists():
        if path.read_text() != text:
            raise ValueError(f"{folder} holds another run (see its run.json); name another folder")
    elif folder.exists() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no run; name another folder")
    else:
        write_atomically(path, text.encode())


def _random_driving(
    folder: Path, seed: int, recipe: Recipe, n_jobs: int | None, progress: bool
) -> Replay:
    """The random episodes, collected unless they are there already: all appear at once."""
    if not folder.exists():
        kwargs: dict[str, Any] = {"action_repeat": recipe.action_repeat}
        env = gym.make(ENV_ID, **kwargs)
        policy = SmoothRandomPolicy(env.action_space)
        env.close()
        episodes = collect(
            policy, ENV_ID, episodes=recipe.episodes, seed=1_000_000 * seed,
            max_steps=recipe.max_steps, patience=recipe.patience, env_kwargs=kwargs,
            n_jobs=n_jobs, progress=progress,
        )  # fmt: skip
        Replay(episodes).save(folder)
    return Replay.load(folder)
