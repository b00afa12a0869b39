"""Chapter 6's sweeps: C trained in dreams of several lengths and temperatures, judged on the road.

    python benchmarks/horizons.py --seeds 1 2 3

V and M are the shipped ones and stay as they are. Each row trains a C from nothing, by gradients,
in the same number of dreamed decisions; drives whole real episodes with it (on wmlib/CarRacing-v3,
whose rewards are the official ones); and asks, from the same real moments, what the next 100
decisions pay: as dreamed at the row's temperature, and as driven. A run that is killed goes on with
the rows it lacks.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.dream import Dream
from wmlib.agents.world_models.gradients import BehaviourConfig, train_behaviour
from wmlib.agents.world_models.recipes import Recipe
from wmlib.agents.world_models.starts import Starts, followed, warm_up
from wmlib.collecting import collect
from wmlib.episodes import Policy
from wmlib.exploration import SmoothRandomPolicy
from wmlib.storage import write_atomically

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "horizons.json"
ARTIFACT = ROOT / "artifacts" / "world-models-car-racing"
ENV_ID, ENV_KWARGS = "wmlib/CarRacing-v3", {"action_repeat": 3}
WARM, AHEAD, TRACKS = 16, 100, 24

BASE = dataclasses.replace(Recipe().behaviour, updates=150)
DREAMED = BASE.starts * BASE.horizon  # decisions an update, for every row
HORIZONS, TEMPERATURES = (5, 10, 15, 20, 50, 100), (0.1, 0.5, 1.0, 1.6, 2.2)
TASKS = [(t, value, BASE.temperature) for t in HORIZONS for value in (True, False)] + [
    (BASE.horizon, True, tau) for tau in TEMPERATURES if tau != BASE.temperature
]


def configuration(agent: Agent, horizon: int, value: bool, temperature: float) -> BehaviourConfig:
    features = agent.memory.config.latent + agent.memory.config.hidden
    return dataclasses.replace(
        BASE, horizon=horizon, bootstrap=value, temperature=temperature,
        starts=round(DREAMED / horizon),
        value=dataclasses.replace(BASE.value, features=features),
    )  # fmt: skip


def drive(policy: Policy, episodes: int, seed: int, jobs: int, **limits: Any) -> list:
    return collect(
        policy, ENV_ID, episodes=episodes, seed=seed, env_kwargs=ENV_KWARGS, n_jobs=jobs,
        progress=False, **limits,
    )  # fmt: skip


def real_moments(agent: Agent, jobs: int) -> Starts:
    """The same for all rows: random driving, and the shipped C's with noise."""
    env = gym.make(ENV_ID, **ENV_KWARGS)
    space = env.action_space
    env.close()
    random = drive(SmoothRandomPolicy(space), 80, 20_000, jobs, max_steps=150, patience=30)
    own = drive(agent.policy(0.3), 32, 600_000, jobs, patience=100)
    codes = [Codes.of(episodes, agent.vision.encode) for episodes in (random, own)]
    pairs = zip(*(warm_up(agent.memory, part, WARM) for part in codes), strict=True)
    return Starts(*(torch.cat(pair) for pair in pairs))


def measure(
    agent: Agent, starts: Starts, config: BehaviourConfig, seed: int, jobs: int
) -> dict[str, Any]:
    """Train, drive, and compare dream and road; one row, less its name."""
    learned = train_behaviour(
        agent.memory, starts, agent.controller.config, config, seed=seed, progress=False
    )
    driver = dataclasses.replace(agent, controller=learned.controller)
    episodes = drive(driver.policy(), TRACKS, 500_000, jobs)
    codes = Codes.of(episodes, agent.vision.encode)
    row: dict[str, Any] = {
        "real_returns": [round(episode.total_reward, 2) for episode in episodes],
        "trained_on": round(float(np.mean(learned.history["dream_return"][-20:])), 3),
    }
    if max(codes.lengths) >= WARM + AHEAD:
        begin = warm_up(agent.memory, codes, WARM)
        places, rows = followed(codes, begin, AHEAD)
        some = np.random.default_rng(0).permutation(len(places))[:256]
        dreamed = Dream(agent.memory, config.temperature).returns(
            learned.controller, begin.take(places[some]), horizon=AHEAD,
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        driven = codes.rewards[rows[some, None] + np.arange(AHEAD)].sum(1)
        row |= {
            "ahead_dreamed": round(float(dreamed.mean()), 3),
            "ahead_driven": round(float(driven.mean()), 3),
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    agent = Agent.load(ARTIFACT)
    starts = real_moments(agent, options.jobs)
    rows = json.loads(OUT.read_text(encoding="utf-8"))["rows"] if OUT.exists() else []
    done = {(r["horizon"], r["value"], r["temperature"], r["seed"]) for r in rows}
    for seed in options.seeds:
        for task in TASKS:
            if (*task, seed) in done:
                continue
            config = configuration(agent, *task)
            name = dict(zip(("horizon", "value", "temperature"), task, strict=True))
            row = {**name, "seed": seed}
            row |= measure(agent, starts, config, seed, options.jobs)
            rows.append(row)
            print(f"{name}, seed {seed}: real {np.mean(row['real_returns']):.0f}", flush=True)
            result = {"made": made(), "rows": rows}
            write_atomically(OUT, (json.dumps(result, indent=1) + "\n").encode())


def made() -> dict[str, Any]:
    """What made the result."""
    packages = {name: version(name) for name in ("numpy", "torch", "gymnasium")}
    return {
        "command": "python benchmarks/horizons.py",
        "configuration": dataclasses.asdict(BASE),
        "dreamed_an_update": DREAMED,
        "versions": {"python": platform.python_version(), **packages},
    }


if __name__ == "__main__":
    main()
