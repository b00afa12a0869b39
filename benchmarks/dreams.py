"""Chapter 5's sweep: C bred in long and short dreams of several temperatures, judged on the road.

    python benchmarks/dreams.py

A run that is killed goes on with the rows it lacks.

Each row evolves a C in the dreams of the shipped V and M, drives whole real episodes with it (on
wmlib/CarRacing-v3, whose rewards are the official ones), and asks, from the same real moments, how
many new tiles the next 100 decisions reach: as dreamed, and as driven. All rows spend the same
number of dreamed steps.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
from importlib.metadata import version
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.dream import Dream
from wmlib.agents.world_models.evolve import DreamTrainingConfig, train_in_dream
from wmlib.agents.world_models.starts import warm_up
from wmlib.collecting import collect
from wmlib.exploration import SmoothRandomPolicy
from wmlib.storage import write_atomically

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "dreams.json"
ENV_ID, ENV_KWARGS = "wmlib/CarRacing-v3", {"action_repeat": 3}
WARM, AHEAD = 16, 100

# 3.5 million dreamed steps each: generations x population x starts x horizon
LONG = DreamTrainingConfig(
    generations=60, population=24, starts=24, horizon=100, discount=0.9999, value=False
)
SHORT = DreamTrainingConfig(generations=150, population=24, starts=64, horizon=15, value_starts=128)
TASKS = [("long", LONG, tau) for tau in (1.0, 0.1, 0.5, 1.15, 1.5)] + [("short", SHORT, 1.0)]


def measure(
    agent: Agent, codes: Codes, config: DreamTrainingConfig, seed: int, tracks: int
) -> dict:
    """One row of the result, less its name."""
    starts = warm_up(agent.memory, codes, WARM)
    evolved = train_in_dream(agent.memory, starts, config=config, seed=seed, progress=False)
    driver = dataclasses.replace(agent, controller=evolved.controller)
    episodes = collect(
        driver.policy(), ENV_ID, episodes=tracks, seed=500_000, env_kwargs=ENV_KWARGS, n_jobs=2,
        progress=False,
    )  # fmt: skip
    own = Codes.of(episodes, agent.vision.encode)
    begin = warm_up(agent.memory, own, WARM).take(slice(0, tracks))  # decision WARM of each track
    rewards = Dream(agent.memory, config.temperature).returns(
        evolved.controller, begin, horizon=AHEAD, generator=torch.Generator().manual_seed(seed)
    )
    memory = agent.memory.config
    dreamed = (rewards.numpy() - AHEAD * memory.reward_offset) / memory.reward_scale
    driven = [episode.extras["new_tiles"][WARM : WARM + AHEAD].sum() for episode in episodes]
    return {
        "temperature": config.temperature,
        "seed": seed,
        "real_returns": [round(episode.total_reward, 2) for episode in episodes],
        "tiles_dreamed": round(float(dreamed.mean()), 3),
        "tiles_driven": round(float(np.mean(driven)), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--tracks", type=int, default=24)
    options = parser.parse_args()
    agent = Agent.load(ROOT / "artifacts" / "world-models-car-racing-random")
    env = gym.make(ENV_ID, **ENV_KWARGS)
    episodes = collect(
        SmoothRandomPolicy(env.action_space), ENV_ID, episodes=80, seed=20_000, max_steps=150,
        patience=30, env_kwargs=ENV_KWARGS, n_jobs=2, progress=False,
    )  # fmt: skip
    codes = Codes.of(episodes, agent.vision.encode)
    rows = json.loads(OUT.read_text(encoding="utf-8"))["rows"] if OUT.exists() else []
    done = {(row["dreams"], row["temperature"], row["seed"]) for row in rows}
    for seed in range(options.seeds):
        for name, base, temperature in TASKS:
            if (name, temperature, seed) in done:
                continue
            config = dataclasses.replace(base, temperature=temperature)
            row = {"dreams": name, **measure(agent, codes, config, seed, options.tracks)}
            rows.append(row)
            print(
                f"{name}, tau {temperature}, seed {seed}: real {np.mean(row['real_returns']):.0f}, "
                f"tiles {row['tiles_dreamed']:.1f} dreamed, {row['tiles_driven']:.1f} driven",
                flush=True,
            )
            result = {"made": made(options), "rows": rows}
            write_atomically(OUT, (json.dumps(result, indent=1) + "\n").encode())


def made(options: argparse.Namespace) -> dict:
    """What made the result."""
    packages = {name: version(name) for name in ("numpy", "torch", "gymnasium")}
    return {
        "command": f"python benchmarks/dreams.py --seeds {options.seeds} --tracks {options.tracks}",
        "configurations": {"long": dataclasses.asdict(LONG), "short": dataclasses.asdict(SHORT)},
        "versions": {"python": platform.python_version(), **packages},
    }


if __name__ == "__main__":
    main()
