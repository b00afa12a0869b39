"""What a score owes to the processor: the same C on the same tracks, rounded otherwise.

    python benchmarks/simd.py draw
    python benchmarks/simd.py drive world-models-car-racing fresh
    ATEN_CPU_CAPABILITY=default DNNL_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE \\
        python benchmarks/simd.py drive world-models-car-racing fresh

A processor with wider registers adds in another order, so the last bits of V's and M's sums are
others; a drive goes on from what it rounded. Each row holds the returns of one agent on one list of
tracks of the official CarRacing-v3, under the variables of `NUMERICS` as they were set. `verdict`
are the tracks that its manifest was scored on; `fresh` are 100 that were drawn for this and had
never been used, listed in results/tracks.json before anything drove on them. What a row lacks is
driven, a few tracks at a time, so a killed run goes on.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wmlib.agents.world_models.agent import Agent
from wmlib.checkpoint import load_checkpoint
from wmlib.envs.car_racing.official import OfficialCarRacing
from wmlib.episodes import run_episode
from wmlib.evaluation import Score
from wmlib.storage import write_atomically

ROOT = Path(__file__).parents[1]
REPEAT = 3  # frames for each decision
TRACKS = ROOT / "benchmarks" / "results" / "tracks.json"
OUT = ROOT / "benchmarks" / "results" / "simd.json"
NUMERICS = ("ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "MKL_CBWR")
FLAGS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")
RULE = (
    "The SHA-256 of the shipped C (artifacts/world-models-car-racing/controller.json, first 16 "
    "hexadecimal digits) seeds numpy.random.default_rng; the first 100 different "
    "integers(10**9, 2 * 10**9), sorted. Every other seed of a CarRacing track in this repository "
    "is below 10**9."
)


class Unseen(OfficialCarRacing):
    """The official CarRacing-v3, which here does not draw the frames that nobody looks at.

    Two of the three frames of a decision are never seen. Drawing moves nothing, so the drive is
    the same to the last bit, in a third of the time.
    """

    def __init__(self, action_repeat: int) -> None:
        super().__init__(action_repeat)
        official = self.env.unwrapped
        self._draw, self._frame = official._render, np.zeros((96, 96, 3), np.uint8)
        official._render = self._seen

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """As the environment does it, and every frame of it drawn."""
        self._until = 0
        return super().reset(**kwargs)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """As the environment does it."""
        self._until = self.action_repeat
        return super().step(action)

    def _seen(self, mode: str) -> np.ndarray:
        self._until -= 1
        if self._until <= 0:
            self._frame = self._draw(mode)
        return self._frame.copy()


def fresh_tracks(tracks: int = 100) -> list[int]:
    """Seeds that nobody chose, see `RULE`."""
    _, manifest = load_checkpoint(
        ROOT / "artifacts" / "world-models-car-racing" / "controller.safetensors", "controller"
    )
    rng = np.random.default_rng(int(manifest["sha256"][:16], 16))
    seeds: set[int] = set()
    while len(seeds) < tracks:
        seeds.add(int(rng.integers(10**9, 2 * 10**9)))
    return sorted(seeds)


def draw() -> None:
    """Write the list, once."""
    if TRACKS.exists():
        raise SystemExit(f"{TRACKS.name} is there, and is not drawn again")
    result = {"rule": RULE, "seeds": fresh_tracks()}
    write_atomically(TRACKS, (json.dumps(result, indent=1) + "\n").encode())


def seeds_of(agent: str, tracks: str) -> list[int]:
    if tracks == "fresh":
        return [int(seed) for seed in json.loads(TRACKS.read_text(encoding="utf-8"))["seeds"]]
    _, manifest = load_checkpoint(
        ROOT / "artifacts" / agent / "controller.safetensors", "controller"
    )
    return [int(seed) for seed in manifest["scored"]["seeds"]]


def machine() -> dict[str, Any]:
    """What decides the rounding, as far as it can be asked for; nothing that names the machine."""
    flags: set[str] = set()
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    for line in info.read_text(encoding="utf-8").splitlines() if info.exists() else []:
        name, _, value = (part.strip() for part in line.partition(":"))
        if name in ("flags", "Features"):
            flags |= set(value.split())
        elif name == "model name":
            model = value
    return {
        "processor": model,
        "flags": [flag for flag in FLAGS if flag in flags],
        "numerics": {name: os.environ[name] for name in NUMERICS if name in os.environ},
        "capability": torch.backends.cpu.get_cpu_capability(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "torch", "gymnasium")},
        },
    }


def rows() -> list[dict[str, Any]]:
    return list(json.loads(OUT.read_text(encoding="utf-8"))["rows"]) if OUT.exists() else []


def keep(key: dict[str, Any], more: Score) -> dict[str, Any]:
    """Add to a row, or begin it; another process may be adding to its own."""
    folder = os.open(OUT.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        others = [row for row in rows() if any(row[name] != key[name] for name in key)]
        mine = [row for row in rows() if all(row[name] == key[name] for name in key)]
        returns, seeds = list(more.returns), list(more.seeds)
        if mine:
            returns, seeds = mine[0]["returns"] + returns, mine[0]["seeds"] + seeds
        row = {**key, **Score(more.environment, tuple(returns), tuple(seeds)).as_dict()}
        made = {"command": "python benchmarks/simd.py drive AGENT TRACKS", "tracks": TRACKS.name}
        ordered = sorted(
            [*others, row], key=lambda r: (r["agent"], r["tracks"], r["capability"], r["processor"])
        )
        text = json.dumps({"made": made, "rows": ordered}, indent=1) + "\n"
        write_atomically(OUT, text.encode())
    finally:
        os.close(folder)
    return row


def drive(agent: str, tracks: str, most: int) -> bool:
    """Drive on the next tracks of a row; whether some are left."""
    key = {"agent": agent, "tracks": tracks, **machine()}
    done = [row for row in rows() if all(row[name] == key[name] for name in key)]
    left = seeds_of(agent, tracks)[len(done[0]["seeds"]) if done else 0 :]
    if not left:
        return False
    policy, env = Agent.load(ROOT / "artifacts" / agent).policy(), Unseen(REPEAT)
    some = [run_episode(env, policy, seed) for seed in left[:most]]
    env.close()
    returns, seeds = tuple(e.total_reward for e in some), tuple(e.seed for e in some)
    row = keep(key, Score("CarRacing-v3", returns, seeds))
    print(
        f"{agent}, {tracks}, {key['capability']}: {len(row['seeds'])} tracks, {row['mean']:.1f}",
        flush=True,
    )
    return len(left) > most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("draw", "drive"))
    parser.add_argument("agent", nargs="?", default="world-models-car-racing")
    parser.add_argument("tracks", nargs="?", choices=("fresh", "verdict"), default="fresh")
    parser.add_argument("--most", type=int, help="tracks, then stop (default: all)")
    options = parser.parse_args()
    if options.what == "draw":
        draw()
        return
    while drive(options.agent, options.tracks, options.most or 10) and not options.most:
        pass


if __name__ == "__main__":
    main()
