"""Chapter 7's measurements of DreamerV3: one configuration, worlds whose rewards differ in size.

    python benchmarks/dreamerv3.py --jobs 2
    python benchmarks/dreamerv3.py --worlds "PixelCatch x 100" --seeds 0 1 --jobs 2
    python benchmarks/dreamerv3.py --variants "without two-hot" "without unimix" --seeds 0

A row is one run: so many real steps, and then 100 fresh episodes of Catch (20 elsewhere) without
exploration. Its return is in units of the unscaled reward. Runs of DreamerV3 itself are kept under
runs/ and go on after a kill (then the seconds are those of the last process); rows that are there
are skipped. A variant is DreamerV3 with one part taken out (`wmlib.agents.dreamerv3.ablations`).
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import gymnasium as gym
import torch
from rows import Row, fill, machine

from wmlib.agents.dreamerv3 import DreamerV3, DreamerV3Config, train_dreamerv3
from wmlib.agents.dreamerv3.ablations import CHANGED, SET
from wmlib.agents.dreamerv3.agent import Spaces
from wmlib.evaluation import evaluate
from wmlib.learning import SEEDS, learn_online

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "dreamerv3.json"
FIRST = 900_000  # of a run's seeds: the first that is examined; training never comes so far
CONFIG = DreamerV3Config()


@dataclasses.dataclass(frozen=True)
class World:
    """One of the worlds that the one configuration is tried on."""

    id: str
    steps: int
    """real steps"""
    episodes: int
    """of the verdict"""
    scale: float = 1.0
    """what the rewards are multiplied by"""


WORLDS = {
    "PixelCatch": World("wmlib/PixelCatch-v0", 3_000, 100),
    "PixelCatch x 0.01": World("PixelCatchHundredth-v0", 3_000, 100, 0.01),
    "PixelCatch x 100": World("PixelCatchHundredfold-v0", 3_000, 100, 100.0),
    "windy PixelCatch": World("wmlib/WindyPixelCatch-v0", 3_000, 100),
    "CartPole-v1": World("CartPole-v1", 20_000, 20),
    "PixelPendulum": World("wmlib/PixelPendulum-v0", 20_000, 20),
}


VARIANTS = ("dreamerv3", *CHANGED, *SET)


def begun(variant: str, env: gym.Env, seed: int, config: DreamerV3Config = CONFIG) -> DreamerV3:
    """A new agent of a variant."""
    if variant in SET:
        config = SET[variant](config)
    agent = DreamerV3(Spaces.of(env.observation_space, env.action_space), config, seed=seed)
    if variant in CHANGED:
        CHANGED[variant](agent)
    return agent


def trained(variant: str, world: str, seed: int) -> DreamerV3:
    """An agent, after all its steps."""
    place = WORLDS[world]
    if variant != "dreamerv3":
        env = gym.make(place.id)
        agent = begun(variant, env, seed)
        learn_online(
            agent, env, steps=place.steps, seed=seed, first=CONFIG.first, ratio=CONFIG.ratio,
            progress=False,
        )  # fmt: skip
        return agent
    folder = ROOT / "runs" / "dreamerv3" / f"{world} {seed}".replace(" ", "-")
    return train_dreamerv3(
        place.id, steps=place.steps, seed=seed, config=CONFIG, folder=folder,
        resume=folder.exists(), progress=False,
    )  # fmt: skip


def measure(name: Row) -> Row:
    """One run, and its verdict."""
    torch.set_num_threads(1)
    world, seed = name["world"], name["seed"]
    place = WORLDS[world]
    if place.id not in gym.registry:
        gym.register(
            place.id, entry_point="wmlib.envs.catch:PixelCatch", kwargs={"scale": place.scale}
        )
    began = time.process_time()
    agent = trained(name["variant"], world, seed)
    seconds = time.process_time() - began
    score = evaluate(
        agent.policy(), place.id, episodes=place.episodes, seed=seed * SEEDS + FIRST, n_jobs=1,
        progress=False,
    )  # fmt: skip
    return name | {
        "real_steps": place.steps, "updates": int(CONFIG.ratio * place.steps + 1e-9),
        "return": round(score.mean / place.scale, 4),
        "returns": [round(one / place.scale, 2) for one in score.returns],
        "cpu_seconds": round(seconds, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=[*WORLDS][:3])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["dreamerv3"])
    parser.add_argument("--seeds", nargs="+", type=int, default=range(5))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, of one thread each")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    made = {
        "command": f"python benchmarks/dreamerv3.py --jobs {options.jobs}",
        "configuration": dataclasses.asdict(CONFIG), **machine(("numpy", "torch", "gymnasium")),
    }  # fmt: skip
    names = (
        {"world": world, "variant": variant, "seed": seed}
        for seed in options.seeds for variant in options.variants for world in options.worlds
    )  # fmt: skip
    fill(
        options.out, names, measure, lambda rows: {"made": made}, jobs=options.jobs,
        shown=("world", "variant", "seed", "return", "cpu_seconds"),
    )  # fmt: skip


if __name__ == "__main__":
    main()
