"""A run that is killed anywhere ends with the weights and the log of an undisturbed one.

As a script it kills as often as it is told to: `python tests/test_kills.py --kills 50 pets`.
"""

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from wmlib.storage import digest, open_arrays, read_json

TIMES = ("seconds", "wall_seconds")
KINDS = ("car-racing by gradients", "car-racing by evolution", "world-models", "pets")
# What is left to a kill: several cycles or trials, of which none takes long.
WORKER = """
import os, sys
os.environ["OMP_NUM_THREADS"] = "1"
import gymnasium
from wmlib.agents.pets import EnsembleConfig, PETSConfig, pendulum_reward, train_pets
from wmlib.agents.world_models.car_racing import train_car_racing
from wmlib.agents.world_models.config import WorldModelsConfig
from wmlib.agents.world_models.evolve import DreamTrainingConfig
from wmlib.agents.world_models.gradients import BehaviourConfig
from wmlib.agents.world_models.memory import MemoryConfig
from wmlib.agents.world_models.recipes import Recipe
from wmlib.agents.world_models.train import train_world_models
from wmlib.agents.world_models.vision import VisionConfig
from wmlib.planning import CEMConfig

KIND = sys.argv[1]
DREAM = DreamTrainingConfig(generations=60, population=4, starts=4, horizon=3)

def train(folder, resume):
    if KIND == "pets":
        config = PETSConfig(
            particles=4, ensemble=EnsembleConfig(members=2, layers=1, units=8, epochs=40),
            cem=CEMConfig(horizon=6, population=20, iterations=2),
        )
        train_pets(
            gymnasium.make("Pendulum-v1"), pendulum_reward, config, trials=5, seed=2, max_steps=25,
            folder=folder, resume=resume, progress=False,
        )
    elif KIND == "world-models":
        config = WorldModelsConfig(
            cycles=2, vision=VisionConfig(latent=2, channels=(4,), batch=16, frame=(16, 16, 1)),
            vision_steps=260, cycle_vision_steps=20, memory_steps=260, cycle_memory_steps=20,
            memory=MemoryConfig(hidden=4, mixtures=2, window=1, batch=8), dream=DREAM,
        )
        train_world_models(
            "wmlib/PixelCatch-v0", steps=90, seed=2, config=config, folder=folder, resume=resume,
            progress=False,
        )
    else:
        recipe = Recipe(
            episodes=3, max_steps=33, patience=33, vision_steps=30, memory_steps=6,
            vision=VisionConfig(channels=(2, 4, 4, 4), batch=4), dream=DREAM,
            behaviour=BehaviourConfig(updates=30, starts=4, horizon=3, price=8.0), cycles=2,
            cycle_episodes=2, cycle_patience=33, cycle_memory_steps=4,
            optimiser="gradient" if KIND.endswith("gradients") else "evolution",
        )
        train_car_racing(folder, seed=2, recipe=recipe, resume=resume, n_jobs=1, progress=False)

for line in sys.stdin:  # a folder; each run is a process of its own, forked: imports take long
    child = os.fork()
    if child == 0:
        folder, code = line.strip(), 1
        try:
            train(folder, os.path.exists(f"{folder}/run.json"))
            code = 0
        finally:
            os._exit(code)
    print(child, flush=True)
    sys.stdin.readline()  # until then nobody else gets the child's number
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def timeless(found: object) -> object:
    """The same, but for times."""
    if isinstance(found, dict):
        return {name: timeless(value) for name, value in found.items() if name not in TIMES}
    return found


def outcome(folder: Path) -> dict[str, object]:
    """Everything that the files of a run say, but for times: by name."""
    found: dict[str, object] = {"run.json": (folder / "run.json").read_text(encoding="utf-8")}
    if (folder / "log.csv").exists():
        with (folder / "log.csv").open(newline="", encoding="utf-8") as file:
            found["log.csv"] = [timeless(row) for row in csv.DictReader(file)]
    for path in folder.rglob("*.safetensors"):
        arrays, metadata = open_arrays(path)
        said: object = metadata
        if "manifest" in metadata:
            said = timeless(read_json(metadata["manifest"], path))
        found[str(path.relative_to(folder))] = said, digest(arrays, {})
    for path in folder.rglob("driven.json"):
        found[str(path.relative_to(folder))] = timeless(read_json(path.read_bytes(), path))
    return found


class Runs:
    """Starts runs, and kills them."""

    def __init__(self, kind: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, kind], text=True, bufsize=1,
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
        if code not in (0, -signal.SIGKILL):
            self.process.stdin.close()
            raise AssertionError(self.process.stderr.read())
        return code == 0

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def check_kills(folder: Path, kind: str, kills: int, seed: int) -> tuple[int, int]:
    """Kill runs `kills` times, each one to five times, at moments drawn uniformly.

    Returns:
        How many runs there were, and how many of them were killed more than once.
    """
    rng, runs, done, number, often = random.Random(seed), Runs(kind), 0, 0, 0
    try:
        assert runs.run(folder / "undisturbed")
        lasts, expected = runs.lasted, outcome(folder / "undisturbed")
        assert len(expected) > 8
        while done < kills:
            place, number, own = folder / str(number), number + 1, 0
            for _ in range(rng.randint(1, 5)):
                if runs.run(place, rng.uniform(0, lasts)):
                    break
                own += 1
            assert runs.run(place)
            assert outcome(place) == expected, f"run {number}, seed {seed}, {kind}"
            done, often = done + own, often + (own > 1)
        return number, often
    finally:
        runs.end()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a kill of Unix")
@pytest.mark.parametrize("kind", KINDS)
def test_killed_runs_end_as_an_undisturbed_one(kind: str, tmp_path: Path) -> None:
    check_kills(tmp_path, kind, kills=6, seed=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--kills", type=int, default=50, help="of each kind (default: 50)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for each in options.kinds:
        with tempfile.TemporaryDirectory() as folder:
            runs, often = check_kills(Path(folder), each, options.kills, options.seed)
        print(f"{each}: {options.kills} kills of {runs} runs, {often} more than once; all equal")
