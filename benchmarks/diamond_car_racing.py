"""Chapter 7's denoiser of CarRacing: its frames, its training and its measures.

    python benchmarks/diamond_car_racing.py --parts train

`train` collects the frames and trains the denoiser under runs/diamond-car-racing, and goes on there
after a kill. The frames are those of the shipped World Models: the random driving that its V and M
began with, the same tracks and the same dice, and as many decisions that its C drove with the noise
of its cycles, on the tracks of those cycles. (The run's own earlier Cs, of which each drove one
cycle, were not kept: the last one drives in all of them.)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium as gym
import torch

import wmlib  # noqa: F401 -- registers the environments
from wmlib.agents.diamond import (
    Denoiser,
    DenoiserConfig,
    OfflineConfig,
    UNetConfig,
    save_denoiser,
    train_denoiser,
)
from wmlib.agents.world_models import Agent
from wmlib.agents.world_models.recipes import ENV_ID, EPISODES, TRACKS, Recipe
from wmlib.checkpoint import made_by
from wmlib.collecting import collect
from wmlib.exploration import SmoothRandomPolicy
from wmlib.replay import Replay

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "artifacts" / "world-models-car-racing"
RUN = ROOT / "runs" / "diamond-car-racing"
SEED = 2  # of the shipped run, and so of its tracks
RANDOM, DRIVEN = 350, 12  # episodes of random driving, and of C's in each cycle
CONFIG = OfflineConfig(denoiser=DenoiserConfig(network=UNetConfig(channels=(32, 64, 128))))
STEPS = 6_000
FRAME, ACTIONS = (3, 64, 64), 3


def frames(folder: Path) -> Replay:
    """What the denoiser learns from: random driving first, then C's own."""
    recipe = Recipe()
    given = {"env_kwargs": {"action_repeat": recipe.action_repeat}}
    env = gym.make(ENV_ID, **given["env_kwargs"])
    wanderer = SmoothRandomPolicy(env.action_space, recipe.exploration)
    env.close()
    wandered = collect(
        wanderer, ENV_ID, episodes=RANDOM, seed=TRACKS * SEED, max_steps=recipe.max_steps,
        patience=recipe.patience, folder=folder / "random", **given,
    )  # fmt: skip
    replay, driver = Replay(wandered), Agent.load(SHIPPED).policy(recipe.cycle_noise)
    for cycle in range(1, recipe.cycles + 1):
        driven = collect(
            driver, ENV_ID, episodes=DRIVEN, seed=TRACKS * SEED + EPISODES * cycle,
            patience=recipe.cycle_patience, folder=folder / f"driven-{cycle}", **given,
        )  # fmt: skip
        replay.extend(driven)
    return replay


def train(folder: Path, resume: bool) -> Denoiser:
    """The denoiser, and on the way there what it was after some updates."""

    def kept(updates: int, denoiser: Denoiser) -> None:
        made = made_by(seed=SEED, steps=updates, seconds=0.0)
        save_denoiser(folder / "on the way" / str(updates), denoiser, FRAME, ACTIONS, made)

    marks = [500, 1500, *range(3000, STEPS, 1000)]
    return train_denoiser(
        frames(folder), CONFIG, steps=STEPS, seed=SEED, folder=folder / "training", resume=resume,
        marks=marks, after=kept,
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=("train",), default=["train"])
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if "train" in arguments.parts:
        train(RUN, arguments.resume)
