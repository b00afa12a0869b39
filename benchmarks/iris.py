"""Chapter 7's measurements of IRIS: Catch in four words a frame, in calm and in wind.

    python benchmarks/iris.py --jobs 2
    python benchmarks/iris.py --worlds PixelCatch --seeds 0

A row is one run: so many real steps, and then 100 fresh episodes without exploration. Beside the
returns stands what the world model is worth: the share of the next frames' words that it foretells
in fresh episodes of its own, exploring, and in episodes played at random; and the total variation
between its distribution of the ball's next column and the true one, from draws, with what as many
true draws come to. Runs are kept under runs/ and go on after a kill (then the seconds are those of
the last process); rows that are there are skipped.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from rows import Row, fill, machine

from wmlib.agents.iris import IRIS, IRISConfig, train_iris
from wmlib.agents.iris.forecast import foretell
from wmlib.envs.catch import COLUMNS, PICTURES, STEPS, drift, read
from wmlib.episodes import Policy, run_episode
from wmlib.evaluation import evaluate
from wmlib.exploration import random_policy
from wmlib.learning import SEEDS

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "iris.json"
FIRST = 900_000  # of a run's seeds: the first that is examined; training never comes so far
CONFIG = IRISConfig()
STEPS_IN_ALL, EPISODES = 3_000, 100
WORLDS = {"PixelCatch": "wmlib/PixelCatch-v0", "windy PixelCatch": "wmlib/WindyPixelCatch-v0"}
DRAWS = 100  # of the next frame, of each board and action


def boards() -> np.ndarray:
    """All that there is before a decision: (B, 3) rows, columns, and where the paddle can be."""
    every = np.stack(np.meshgrid(range(STEPS), range(COLUMNS), range(COLUMNS), indexing="ij"), -1)
    cells = every.reshape(-1, 3)
    return cells[np.abs(cells[:, 2] - COLUMNS // 2) <= cells[:, 0]]


@torch.no_grad()
def columns(agent: IRIS, draws: int, seed: int) -> np.ndarray:
    """How often the dreamed ball is in which column after a decision: counts (9, 5, 5), by its row
    and column before; every action and place of the paddle equally often."""
    cells = boards().repeat(3, 0)  # (B, 3)
    words = agent.words(PICTURES[tuple(cells.T)])[:, None]  # (B, 1, K)
    actions = torch.eye(3, device=agent.device).repeat(len(cells) // 3, 1)  # (B, A)
    start, generator = agent.dream.begin(words), torch.Generator().manual_seed(seed)
    counts = np.zeros((STEPS, COLUMNS, COLUMNS), np.int64)
    for _ in range(draws):
        state, _, _ = agent.dream.step(start, actions, generator)
        painted = state.features.movedim(-3, -1).cpu().numpy()  # (B, 16, 16, 1)
        np.add.at(counts, (cells[:, 0], cells[:, 1], read(painted).column), 1)
    return counts


def apart(counts: np.ndarray, truth: np.ndarray) -> float:
    """Total variation of counts (9, 5, 5) and the truth (5, 5), mean over where the ball is."""
    shares = counts / counts.sum(-1, keepdims=True)
    return float(np.abs(shares - truth).sum(-1).mean() / 2)


def measure(name: Row) -> Row:
    """One run, and its verdict."""
    torch.set_num_threads(1)
    env_id, seed = WORLDS[name["world"]], name["seed"]
    folder = ROOT / "runs" / "iris" / f"{name['world']} {seed}".replace(" ", "-")
    began = time.process_time()
    agent = train_iris(
        env_id, steps=STEPS_IN_ALL, seed=seed, config=CONFIG, folder=folder,
        resume=folder.exists(), progress=False,
    )  # fmt: skip
    seconds = time.process_time() - began
    return (
        name
        | {"real_steps": STEPS_IN_ALL, "cpu_seconds": round(seconds, 1)}
        | examined(agent, env_id, seed, EPISODES)
    )


def examined(agent: IRIS, env_id: str, seed: int, episodes: int, draws: int = DRAWS) -> Row:
    """What is found of a trained agent."""
    env, begin = gym.make(env_id), seed * SEEDS + FIRST
    score = evaluate(
        agent.policy(), env_id, episodes=episodes, seed=begin, n_jobs=1, progress=False
    )
    own, at_random = (
        foretell(agent, [run_episode(env, policy, begin + i) for i in range(episodes)])
        for policy in _players(agent, env)
    )
    counts, truth = columns(agent, draws, seed), drift(env.unwrapped.wind)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(counts.sum(-1), truth[None].repeat(STEPS, 0))
    return {
        "updates": int(CONFIG.ratio * STEPS_IN_ALL + 1e-9),
        "parameters": sum(p.numel() for m in agent.modules.values() for p in m.parameters()),
        "return": round(score.mean, 4), "returns": [round(one, 2) for one in score.returns],
        "words": round(own.words, 5), "frames": round(own.frames, 5),
        "words_at_random": round(at_random.words, 5),
        "frames_at_random": round(at_random.frames, 5),
        "total_variation": round(apart(counts, truth), 5),
        "total_variation_of_true_draws": round(apart(drawn, truth), 5),
    }  # fmt: skip


def _players(agent: IRIS, env: gym.Env) -> tuple[Policy, Policy]:
    return agent.policy(explore=True), random_policy(env.action_space)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=[*WORLDS])
    parser.add_argument("--seeds", nargs="+", type=int, default=range(5))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, of one thread each")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    made = {
        "command": f"python benchmarks/iris.py --jobs {options.jobs}",
        "configuration": dataclasses.asdict(CONFIG), **machine(("numpy", "torch", "gymnasium")),
    }  # fmt: skip
    names = (
        {"world": world, "variant": "iris", "seed": seed}
        for seed in options.seeds for world in options.worlds
    )  # fmt: skip
    fill(
        options.out, names, measure, lambda rows: {"made": made}, jobs=options.jobs,
        shown=("world", "seed", "return", "words", "total_variation", "cpu_seconds"),
    )  # fmt: skip


if __name__ == "__main__":
    main()
