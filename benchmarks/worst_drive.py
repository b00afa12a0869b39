"""Keep the shipped driver's worst drive, so that a page can tell about it.

    python benchmarks/worst_drive.py

Of the fresh tracks in benchmarks/results/simd.json, as they were driven on this kind of processor
and with these numerics, the one with the lowest return is driven again: here it is the same drive,
to the last bit, or this program stops. Elsewhere it may be another. What is kept is what a page
needs for telling it: V's code of every picture, the actions and rewards, place and speed of the
car, the middle of the road, which tiles were visited, and a few pictures from where it missed most.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from simd import ROOT, machine, rows

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.tiles import grass
from wmlib.checkpoint import made_by, save_checkpoint
from wmlib.episodes import run_episode

OUT = ROOT / "artifacts" / "world-models-car-racing" / "worst-drive.safetensors"
SETTLED = 20  # decisions after which the camera has come down and the car has left the start
PICTURES, BEFORE, STEPS = 8, 5, 5  # how many, how many of them before the miss, decisions apart


@dataclass(frozen=True)
class DriveConfig:
    """What decides the drive, besides the agent and the processor."""

    seed: int
    """of the track"""
    environment: str = "CarRacing-v3"
    action_repeat: int = 3
    """frames for each decision"""


class Watched(gym.Wrapper):
    """The environment, and where its car is before the first decision and after each."""

    def reset(self, **kwargs: object) -> tuple:
        """As the environment does it."""
        result = self.env.reset(**kwargs)
        self.car = [self._look()]
        return result

    def step(self, action: np.ndarray) -> tuple:
        """As the environment does it."""
        result = self.env.step(action)
        self.car.append(self._look())
        return result

    def _look(self) -> tuple[float, float, float]:
        hull = self.env.unwrapped.car.hull
        return *hull.position, hull.linearVelocity.length


def missed(visited: np.ndarray) -> np.ndarray:
    """The longest stretch of tiles that were not visited, on a closed road (N,) of bool."""
    n = len(visited)
    if visited.all():
        return np.array([], int)
    first = int(np.flatnonzero(visited)[0])
    runs: list[list[int]] = [[]]
    for tile in np.arange(first, first + n) % n:
        if visited[tile]:
            runs.append([])
        else:
            runs[-1].append(int(tile))
    return np.array(max(runs, key=len))


def drive(config: DriveConfig) -> tuple[dict[str, np.ndarray], float]:
    """Drive, and keep what a page needs; and the return."""
    agent = Agent.load(ROOT / "artifacts" / "world-models-car-racing")
    env = Watched(gym.make("wmlib/OfficialCarRacing-v3", action_repeat=config.action_repeat))
    episode = run_episode(env, agent.policy(), config.seed)
    official = env.unwrapped
    road = np.array([point[2:4] for point in official.track], np.float32)
    visited = np.array([tile.road_visited for tile in official.road])
    env.close()
    pictures, car = np.asarray(episode.observations), np.array(env.car, np.float32)
    stretch = missed(visited)
    middle = road[stretch[len(stretch) // 2]] if len(stretch) else car[-1, :2]
    away = np.linalg.norm(car[:, :2] - middle, axis=1)  # (T + 1,)
    there = SETTLED + int(away[SETTLED:].argmin())
    shown = np.clip(there + STEPS * np.arange(-BEFORE, PICTURES - BEFORE), 0, len(episode))
    arrays = {
        "codes": agent.vision.encode(pictures)[0],  # (T + 1, Z)
        "actions": episode.actions,  # (T, A)
        "rewards": episode.rewards,  # (T,)
        "grass": grass(pictures),  # (T + 1,)
        "car": car,  # (T + 1, 3): x, y, speed
        "road": road,  # (N, 2)
        "visited": visited,  # (N,)
        "shown": shown.astype(np.int32),  # (PICTURES,)
        "pictures": pictures[shown],  # (PICTURES, 64, 64, 3)
    }
    return arrays, episode.total_reward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="another track than the worst")
    options = parser.parse_args()
    here = machine()
    (row,) = (
        row for row in rows()
        if (row["agent"], row["tracks"]) == ("world-models-car-racing", "fresh")
        and all(row[name] == here[name] for name in here)
    )  # fmt: skip
    returns = dict(zip(row["seeds"], row["returns"], strict=True))
    seed = options.seed or min(returns, key=lambda track: float(returns[track]))
    config = DriveConfig(seed)
    arrays, total = drive(config)
    if returns.get(seed, total) != total:
        raise SystemExit(f"track {seed}: {total}, but the row has {returns[seed]}")
    made = made_by(seed=seed, steps=len(arrays["actions"]), seconds=0.0)
    made = {**made, **here, "command": "python benchmarks/worst_drive.py"}
    del made["wall_seconds"]
    save_checkpoint(
        OUT, arrays, kind="drive", config=config, made=made,
        scored={"environment": config.environment, "return": total, "of": len(returns)},
    )  # fmt: skip
    print(f"track {seed}: {total:.1f} after {len(arrays['actions'])} decisions")


if __name__ == "__main__":
    main()
