"""Chapter 7's measurement of a ball of one pixel: does V paint it?

    python benchmarks/ball.py --jobs 2

Needs requirements-arena.txt. A row is one V, trained on random play of MinAtar's Breakout with a
weight of the reconstruction, and asked for frames of other games of random play: in how many of
them it paints exactly one ball, in the right place, by the row in which the ball is; the squared
error of each of the four planes, summed over its 100 cells; and how many of the frames equal one
that V has learned from. One row of each weight has frames whose ball is lost, and what V makes of
them. Rows that are there are skipped.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterable
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from rows import Row, fill, machine

from wmlib.agents.world_models.config import MINATAR, usual
from wmlib.agents.world_models.train import play
from wmlib.agents.world_models.vision import VAE, VisionConfig, train_vision
from wmlib.episodes import Episode
from wmlib.exploration import random_policy
from wmlib.replay import Replay

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "ball.json"
WORLD = "MinAtar/Breakout-v1"
PLANES = ("paddle", "ball", "trail", "brick")
WEIGHTS = {  # of an image's squared error against its code's nats, and whose that is
    1.0: "the paper's",
    VisionConfig().reconstruction_weight: "CarRacing's",
    usual("wmlib/PixelCatch-v0").vision.reconstruction_weight: "PixelCatch's",
    MINATAR.vision.reconstruction_weight: "MinAtar's",
}
SEEDS, STEPS, ASKED, SHOWN = 3, 25_000, 5_000, 4
"""SHOWN frames lie evenly among those in which the ball is lost, of ASKED decisions"""


def balls(frames: np.ndarray, painted: np.ndarray) -> np.ndarray:
    """(N,) whether painted frames (N, 10, 10, 4) in [0, 1] have the ball of the true ones: there
    and nowhere else more than half as bright as it should be."""
    plane = PLANES.index("ball")
    same: np.ndarray = ((painted[..., plane] > 0.5) == frames[..., plane]).all((1, 2))
    return same


def digits(frames: np.ndarray) -> list[list[list[str]]]:
    """Frames (N, 10, 10, 4) in [0, 1] as lines of digits, 9 for 1: N times 4 planes of 10 lines."""
    ninths = np.rint(9 * np.moveaxis(frames, -1, 1)).astype(int)  # (N, 4, 10, 10)
    return [[["".join(map(str, line)) for line in plane] for plane in frame] for frame in ninths]


def stacked(episodes: Iterable[Episode]) -> np.ndarray:
    """All their frames (N, 10, 10, 4)."""
    return np.concatenate([np.asarray(episode.observations) for episode in episodes])


def known(frames: np.ndarray, learned: np.ndarray) -> float:
    """Share of frames (N, ...) that equal one of those that were learned from, pixel for pixel."""
    seen = {frame.tobytes() for frame in learned}
    return float(np.mean([frame.tobytes() in seen for frame in frames]))


def measure(name: Row) -> Row:
    """One V, and what it keeps."""
    torch.set_num_threads(1)
    env, seed = gym.make(WORLD), name["seed"]
    random = random_policy(env.action_space)
    learned = play(env, random, STEPS, 1_000_000 * seed, progress=False)
    frames = stacked(play(env, random, ASKED, 1_000_000 * seed + 900_000, progress=False))
    config = dataclasses.replace(MINATAR.vision, reconstruction_weight=name["weight"])
    began = time.process_time()
    vision, _ = train_vision(
        Replay(learned), config, steps=MINATAR.vision_steps, seed=seed, progress=False
    )
    seconds = time.process_time() - began
    painted = _painted(vision, frames)
    errors = np.square(painted - frames).sum((1, 2)).mean(0)  # (4,)
    kept = balls(frames, painted)  # (N,)
    where = frames[..., PLANES.index("ball")].any(2).argmax(1)  # (N,) the ball's row
    row = {
        **name, "frames": len(frames), "known": known(frames, stacked(learned)),
        "kept": float(kept.mean()),
        "by_row": [
            {"frames": int((where == i).sum()), "kept": int(kept[where == i].sum())}
            for i in range(10)
        ],
        "errors": dict(zip(PLANES, errors.round(4).tolist(), strict=True)),
        "cpu_seconds": round(seconds, 1),
    }  # fmt: skip
    lost = np.flatnonzero(~kept)
    if seed == 0 and len(lost) >= SHOWN:
        shown = lost[np.linspace(0, len(lost) - 1, SHOWN + 2).astype(int)[1:-1]]
        row["shown"] = {"frames": digits(frames[shown]), "painted": digits(painted[shown])}
    return row


def _painted(vision: VAE, frames: np.ndarray) -> np.ndarray:
    """What V makes of frames, by the mean of their codes: in [0, 1]."""
    painted: np.ndarray = vision.decode(vision.encode(frames)[0]) / 255
    return painted


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many: 0, 1, ...")
    parser.add_argument("--jobs", type=int, default=1, help="rows at a time")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    made = {
        "world": WORLD, "steps": STEPS, "updates": MINATAR.vision_steps, "planes": PLANES,
        "weights": {whose: weight for weight, whose in WEIGHTS.items()},
        **machine(("numpy", "torch", "gymnasium", "minatar")),
    }  # fmt: skip
    fill(
        options.out,
        [{"weight": weight, "seed": seed} for seed in range(options.seeds) for weight in WEIGHTS],
        measure, lambda rows: {"made": made}, jobs=options.jobs,
        shown=("weight", "seed", "kept", "errors", "cpu_seconds"),
    )  # fmt: skip


if __name__ == "__main__":
    main()
