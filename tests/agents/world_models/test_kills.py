"""A run that is killed anywhere ends with the weights and the log of an undisturbed one."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wmlib.checkpoint import load_checkpoint
from wmlib.replay import Replay

TIMES = ("seconds",)
WEIGHTS = ("vision", "memory", "controller")
WORKER = """
import os, sys
os.environ["OMP_NUM_THREADS"] = "1"
from dataclasses import replace
from wmlib.agents.world_models.car_racing import train_car_racing
from wmlib.agents.world_models.evolve import DreamTrainingConfig
from wmlib.agents.world_models.gradients import BehaviourConfig
from wmlib.agents.world_models.recipes import Recipe
from wmlib.agents.world_models.vision import VisionConfig

recipe = Recipe(
    episodes=3, max_steps=33, patience=33, vision_steps=30, memory_steps=6,
    vision=VisionConfig(channels=(2, 4, 4, 4), batch=4),
    behaviour=BehaviourConfig(updates=30, starts=4, horizon=3, price=8.0),
    dream=DreamTrainingConfig(generations=30, population=4, starts=4, horizon=3, price=8.0),
    cycles=2, cycle_episodes=2, cycle_patience=33, cycle_memory_steps=4, optimiser=sys.argv[1],
)
for line in sys.stdin:  # a folder; each run is a process of its own, forked: imports take long
    child = os.fork()
    if child == 0:
        folder, code = line.strip(), 1
        try:
            resume = os.path.exists(f"{folder}/run.json")
            train_car_racing(folder, seed=2, recipe=recipe, resume=resume, n_jobs=1, progress=False)
            code = 0
        finally:
            os._exit(code)
    print(child, flush=True)
    sys.stdin.readline()  # until then nobody else gets the child's number
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def outcome(folder: Path) -> tuple[object, ...]:
    """Everything that a run says, but for times."""
    with (folder / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
    found = {}
    for path in [*(folder / f"{name}.safetensors" for name in WEIGHTS),
                 *folder.glob("cycle-*/*.safetensors")]:  # fmt: skip
        _, manifest = load_checkpoint(path, path.stem)
        made = manifest["made"]
        row = {k: v for k, v in made.get("row", {}).items() if k not in TIMES}
        name = str(path.relative_to(folder))
        found[name] = (manifest["sha256"], made["steps"], made.get("real_steps"), row)
    replays = [Replay.load(path).digest() for path in sorted(folder.glob("cycle-*/episodes"))]
    return rows, found, replays


class Runs:
    """Starts runs, and kills them."""

    def __init__(self, optimiser: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, optimiser], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, folder: Path, kill_after: float | None = None) -> bool:
        """Whether it came to its end; `kill_after` so many seconds it is killed."""
        self.process.stdin.write(f"{folder}\n")
        child, began = int(self.process.stdout.readline()), time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(child, signal.SIGKILL)
        self.process.stdin.write("\n")
        code = int(self.process.stdout.readline())
        self.lasted = time.monotonic() - began
        assert code in (0, -signal.SIGKILL), self.process.stderr.read()
        return code == 0

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def check_kills(
    folder: Path, optimiser: str, kills: int, seed: int, tell: Callable = lambda *_: None
) -> None:
    """Kill runs `kills` times, each one to five times, at moments drawn uniformly."""
    rng, runs, done = random.Random(seed), Runs(optimiser), 0
    try:
        assert runs.run(folder / "undisturbed")
        lasts = runs.lasted
        expected, number = outcome(folder / "undisturbed"), 0
        while done < kills:
            place, number = folder / str(number), number + 1
            for _ in range(rng.randint(1, 5)):
                if runs.run(place, rng.uniform(0, lasts)):
                    break
                done += 1
            assert runs.run(place)
            assert outcome(place) == expected, f"run {number}, seed {seed}, {optimiser}"
            tell(optimiser, number, done)
    finally:
        runs.end()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a kill of Unix")
@pytest.mark.parametrize("optimiser", ["gradient", "evolution"])
def test_killed_runs_end_as_an_undisturbed_one(optimiser: str, tmp_path: Path) -> None:
    check_kills(tmp_path, optimiser, kills=6, seed=0)
