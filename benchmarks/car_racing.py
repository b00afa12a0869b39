"""The driver trained in dreams: all seeds of the full recipe, and what each part of it is worth.

    python benchmarks/car_racing.py full --seeds 1 2 3
    python benchmarks/car_racing.py ablations --seeds 1 2

Each row is one run of `wmlib.agents.world_models.car_racing`, scored when it is over: the full
recipe on 100 tracks of the official CarRacing-v3, the ablations on the same tracks of
wmlib/CarRacing-v3, whose rewards are the official ones. Runs are kept under runs/ and go on
after a kill; rows that are there are skipped. An ablation shares with the full run of its seed, if
that is there, what would come out the same: the random driving, V, M and C of cycle 0.
"""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import json
import os
import platform
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.car_racing import train_car_racing
from wmlib.agents.world_models.controller import ControllerConfig
from wmlib.agents.world_models.evolve import DreamTrainingConfig
from wmlib.agents.world_models.recipes import ENV_ID, OFFICIAL_ID, Recipe
from wmlib.agents.world_models.vision import VisionConfig
from wmlib.checkpoint import load_checkpoint
from wmlib.evaluation import Score, evaluate
from wmlib.exploration import ExplorationConfig
from wmlib.runs import Log, claim
from wmlib.storage import write_atomically

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "car-racing.json"
TRACKS, FIRST = 100, 900_000

FULL = Recipe()
SMALL = replace(
    FULL, cycles=1, behaviour=replace(FULL.behaviour, price=FULL.behaviour.price / FULL.cycles)
)  # fmt: skip
"""The recipe, stopped after the first of its cycles, with the price that grass has by then. Every
ablation changes it in one respect."""


def behaviour(**changed: Any) -> Recipe:
    return replace(SMALL, behaviour=replace(SMALL.behaviour, **changed))


DREAMED = SMALL.behaviour.updates * SMALL.behaviour.starts * SMALL.behaviour.horizon
"""Dreamed steps a cycle that C may learn from, whoever its optimiser is."""
EVOLUTION = DreamTrainingConfig(
    generations=DREAMED // (33 * 64 * 15), population=32, starts=64, horizon=15, value=True,
    temperature=SMALL.behaviour.temperature, pace=SMALL.behaviour.pace,
    price=SMALL.behaviour.price, discount=SMALL.behaviour.value.discount,
)  # fmt: skip
ABLATIONS: dict[str, Recipe] = {
    "recipe": SMALL,
    "long-dreams-no-value": behaviour(horizon=100, starts=115, bootstrap=False),
    "random-driving-only": replace(SMALL, cycle_driver="random", cycle_episodes=150),
    "m-untrained": replace(SMALL, memory_learns="nothing"),
    "m-heads-only": replace(SMALL, memory_learns="heads"),
    "z-only": replace(SMALL, controller=ControllerConfig(hidden=0)),
    "reconstruction-1": replace(SMALL, vision=VisionConfig(reconstruction_weight=1.0)),
    "little-gas": replace(SMALL, exploration=ExplorationConfig()),
    "cma-es": replace(SMALL, optimiser="evolution", dream=EVOLUTION),
    "temperature-0.5": behaviour(temperature=0.5),
    "temperature-1.0": behaviour(temperature=1.0),
    "no-pace": behaviour(pace=None),
    "no-price": behaviour(price=0.0),
    # two respects: without the head there is nothing to charge for
    "no-grass": replace(behaviour(price=0.0), grass=0.0),
}


def run(variant: str, recipe: Recipe, seed: int, official: bool, jobs: int) -> dict[str, Any]:
    """Train, or go on training; then score. One row of the result."""
    folder = ROOT / "runs" / "car-racing" / variant / str(seed)
    if not folder.exists() and variant != "full":
        share_stages(folder, seed, recipe)
    agent = train_car_racing(
        folder, seed=seed, recipe=recipe, resume=(folder / "run.json").exists(), n_jobs=jobs
    )
    _, manifest = load_checkpoint(folder / "controller.safetensors", "controller")
    return {
        "variant": variant,
        "seed": seed,
        "real_steps": manifest["made"]["real_steps"],
        "seconds": manifest["made"]["wall_seconds"],
        "threads": manifest["made"]["threads"],
        **score(agent, official, jobs).as_dict(),
        "log": Log(folder / "log.csv").rows,
    }


def score(agent: Agent, official: bool, jobs: int) -> Score:
    """Whole episodes on tracks that no run has driven."""
    return evaluate(
        agent.policy(), OFFICIAL_ID if official else ENV_ID, episodes=TRACKS, seed=FIRST,
        env_kwargs={"action_repeat": 3}, n_jobs=jobs,
    )  # fmt: skip


def share_stages(folder: Path, seed: int, recipe: Recipe) -> None:
    """Take over from the full run of this seed what this one would make just the same."""
    base = ROOT / "runs" / "car-racing" / "full" / str(seed) / "cycle-00"
    if not (base / "controller.safetensors").exists():
        return
    claim(folder, {"seed": seed, "recipe": dataclasses.asdict(recipe)})
    stages = {  # and what decides each, besides the stage before it
        "episodes": ("exploration",),
        "vision": ("vision", "vision_steps"),
        "memory": ("memory_learns", "memory_steps", "grass"),
        "controller": ("optimiser", "controller", "behaviour"),
    }
    (folder / "cycle-00").mkdir(exist_ok=True)
    for stage, names in stages.items():
        if any(getattr(free(recipe), name) != getattr(free(FULL), name) for name in names):
            return
        for path in [base / stage] if stage == "episodes" else base.glob(f"{stage}.*"):
            target = folder / "cycle-00" / path.name
            if path.is_dir():
                partial = target.with_name(f".{target.name}")
                shutil.copytree(path, partial, copy_function=os.link)
                partial.rename(target)
            else:
                os.link(path, target)


def free(recipe: Recipe) -> Recipe:
    """As it is in cycle 0, where nothing has a price."""
    return replace(recipe, behaviour=replace(recipe.behaviour, price=0.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("full", "ablations"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--variants", nargs="+", choices=ABLATIONS, default=list(ABLATIONS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    full = options.what == "full"
    variants = {"full": FULL} if full else {n: ABLATIONS[n] for n in options.variants}
    for seed in options.seeds:
        for variant, recipe in variants.items():
            if any((row["variant"], row["seed"]) == (variant, seed) for row in rows(options.out)):
                continue
            row = run(variant, recipe, seed, full, options.jobs)
            print(
                f"{variant}, seed {seed}: {row['mean']:.1f} +- {row['sd']:.1f}, "
                f"{row['real_steps']:,} real frames, {row['seconds'] / 60:.1f} minutes",
                flush=True,
            )
            keep(options.out, row)


def rows(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def keep(path: Path, row: dict[str, Any]) -> None:
    """Add a row; another process may be adding rows of its own."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        order = ["full", *ABLATIONS]
        kept = sorted([*rows(path), row], key=lambda r: (order.index(r["variant"]), r["seed"]))
        packages = {name: version(name) for name in ("numpy", "torch", "gymnasium")}
        made = {
            "command": "python benchmarks/car_racing.py full; ... ablations",
            "recipes": {n: dataclasses.asdict(r) for n, r in ABLATIONS.items()}
            | {"full": dataclasses.asdict(FULL)},
            "versions": {"python": platform.python_version(), **packages},
        }
        text = json.dumps({"made": made, "rows": kept}, indent=1) + "\n"
        write_atomically(path, text.encode())
    finally:
        os.close(folder)


if __name__ == "__main__":
    main()
