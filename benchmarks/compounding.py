"""Chapter 6's first claim: how far ahead a dream of CarRacing knows more than a guess.

    python benchmarks/compounding.py

From real moments the shipped M dreams on under the actions that were really taken, up to 100
decisions, without another look. Its forecasts of the code, the picture, the reward, and where the
road is, are held against what came, and against three forecasts that a good model must beat:
nothing changes; everything is the data's mean; and a model that is not told the actions. That one,
and a sighted twin for a fair comparison, are trained here on the same episodes.
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

from wmlib.agents.world_models import Agent
from wmlib.data import Episode, Policy, SmoothRandomPolicy, collect
from wmlib.memory import MDNRNN, Codes, train_memory
from wmlib.open_loop import Forecasts, forecast
from wmlib.storage import write_atomically

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "compounding.json"
ARTIFACT = ROOT / "artifacts" / "car-racing"
ENV_ID, ENV_KWARGS = "wmlib/CarRacing-v3", {"action_repeat": 3}
AHEAD, DREAMS = 100, 8
ROAD = {"lateral": 4, "curvature": 6}  # places in the environment's "car" (CAR_FIELDS)


def drive(policy: Policy, episodes: int, seed: int, jobs: int, **limits: Any) -> list[Episode]:
    return collect(
        policy, ENV_ID, episodes=episodes, seed=seed, env_kwargs=ENV_KWARGS, n_jobs=jobs,
        progress=False, **limits,
    )  # fmt: skip


def column(episodes: list[Episode], name: str) -> np.ndarray:
    """What each observation of all episodes had beside it, aligned with their codes."""
    return np.concatenate([episode.extras[name] for episode in episodes])


def blind(codes: Codes) -> Codes:
    return dataclasses.replace(codes, actions=np.zeros_like(codes.actions))


class Errors:
    """Errors of forecasts against what came: a row for each moment, a column for each decision."""

    def __init__(self, agent: Agent, train: list[Episode], test: list[Episode], moments: int):
        self.agent, self.moments = agent, moments
        self.codes = Codes.of(test, agent.vision.encode)
        known = Codes.of(train, agent.vision.encode)
        self.mean_code, self.mean_reward = known.mean.mean(0), known.rewards.mean()
        sample = [np.asarray(episode.observations)[::5] for episode in train]
        self.mean_frame = np.concatenate(sample).astype(np.float32).mean(0)
        self.frames = np.concatenate([np.asarray(episode.observations) for episode in test])
        places = list(ROAD.values())
        self.road = column(test, "car")[:, places]  # (N, 2)
        ones = np.ones((len(known.mean), 1), np.float32)
        design = np.concatenate([known.mean, ones], 1)  # (N, Z + 1)
        target = column(train, "car")[:, places]
        self.probe = np.linalg.lstsq(design, target, rcond=None)[0]  # (Z + 1, 2)
        self.mean_road = target.mean(0)

    def look(self, codes: np.ndarray) -> np.ndarray:
        """Where the road is, as far as a linear probe can tell from codes (..., Z)."""
        found: np.ndarray = codes @ self.probe[:-1] + self.probe[-1]
        return found

    def pictures(self, codes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Squared errors (M, T) of decoded codes, summed over an image with values in [0, 1]."""
        errors = [
            _image_error(self.agent.vision.decode(codes[:, k]), self.frames[rows[:, k + 1]])
            for k in range(codes.shape[1])
        ]
        return np.stack(errors, 1)

    def of(self, seen: Forecasts) -> dict[str, np.ndarray]:
        """Squared errors (M, T) of one dream, and of the mean of all D."""
        rows = seen.rows
        real_z, real_r = self.codes.mean[rows[:, 1:]], self.codes.rewards[rows[:, :-1]]
        one, mean = seen.codes[0], seen.codes.mean(0)
        errors = {
            "code": ((one - real_z) ** 2).sum(-1),
            "code of the mean dream": ((mean - real_z) ** 2).sum(-1),
            "picture": self.pictures(one, rows),
            "picture of the mean dream": self.pictures(mean, rows),
            "reward": (seen.rewards[0] - real_r) ** 2,
            "reward of the mean dream": (seen.rewards.mean(0) - real_r) ** 2,
        }
        for i, name in enumerate(ROAD):
            real = self.road[rows[:, 1:], i]
            errors[name] = (self.look(one)[..., i] - real) ** 2
            errors[f"{name} of the mean dream"] = (self.look(mean)[..., i] - real) ** 2
        return errors

    def of_guesses(self, rows: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """The same of the forecasts that need no model."""
        after, before = rows[:, 1:], rows[:, :1]
        z, r, road = self.codes.mean, self.codes.rewards, self.road
        still: dict[str, np.ndarray] = {
            "code": ((z[before] - z[after]) ** 2).sum(-1),
            "picture": np.stack(
                [_image_error(self.frames[rows[:, 0]], self.frames[a]) for a in after.T], 1
            ),
            # the last reward that was seen came with the decision before the moment
            "reward": (r[before - 1] - r[rows[:, :-1]]) ** 2,
        }
        mean: dict[str, np.ndarray] = {
            "code": ((self.mean_code - z[after]) ** 2).sum(-1),
            "picture": np.stack(
                [_image_error(self.mean_frame, self.frames[a]) for a in after.T], 1
            ),
            "reward": (self.mean_reward - r[rows[:, :-1]]) ** 2,
        }
        for i, name in enumerate(ROAD):
            # as the probe sees it in the last frame
            still[name] = (self.look(z[before])[..., i] - road[after, i]) ** 2
            mean[name] = (self.mean_road[i] - road[after, i]) ** 2
            still[f"{name}, really"] = (road[before, i] - road[after, i]) ** 2
        return {"nothing changes": still, "the mean": mean}


def _image_error(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(M,) squared error between frames (M, H, W, C), or one and many, scaled to [0, 1]."""
    difference = (ours.astype(np.float32) - theirs.astype(np.float32)) / 255
    error: np.ndarray = (difference**2).sum((-3, -2, -1))
    return error


def curve(errors: np.ndarray) -> dict[str, list[float]]:
    """Mean over moments at each decision, and a 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    draws = np.stack([errors[rng.integers(len(errors), size=len(errors))].mean(0)
                      for _ in range(400)])  # fmt: skip
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    parts = zip(("mean", "low", "high"), (errors.mean(0), low, high), strict=True)
    return {name: [float(f"{x:.5g}") for x in values] for name, values in parts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000, help="updates of the two twins")
    parser.add_argument("--moments", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    agent = Agent.load(ARTIFACT)
    env = gym.make(ENV_ID, **ENV_KWARGS)
    policy = SmoothRandomPolicy(env.action_space)
    env.close()
    jobs = options.jobs
    train = drive(policy, 300, 30_000, jobs, max_steps=150, patience=30)
    train += drive(agent.policy(0.3), 80, 610_000, jobs, patience=100)
    test = drive(agent.policy(0.3), 24, 620_000, jobs, patience=100)
    known, unknown = (Codes.of(part, agent.vision.encode) for part in (train, test))
    config = dataclasses.replace(agent.memory.config, cost_weight=0.0)
    sighted, _ = train_memory(known, config, steps=options.steps, seed=0)
    unsighted, _ = train_memory(blind(known), config, steps=options.steps, seed=0)

    errors = Errors(agent, train[300:], test, options.moments)
    models: dict[str, tuple[MDNRNN, Codes]] = {
        "shipped M": (agent.memory, unknown),
        "twin": (sighted, unknown),
        "twin without actions": (unsighted, blind(unknown)),
    }
    curves: dict[str, dict[str, Any]] = {}
    for name, (memory, codes) in models.items():
        seen = forecast(memory, codes, horizon=AHEAD, moments=options.moments, dreams=DREAMS)
        curves[name] = {what: curve(part) for what, part in errors.of(seen).items()}
    for name, guesses in errors.of_guesses(seen.rows).items():
        curves[name] = {what: curve(part) for what, part in guesses.items()}
    reconstructed = errors.pictures(errors.codes.mean[seen.rows[:, :1]], seen.rows[:, [0, 0]])
    packages = {name: version(name) for name in ("numpy", "torch", "gymnasium")}
    result = {
        "made": {
            "command": f"python benchmarks/compounding.py --steps {options.steps} "
            f"--moments {options.moments}",
            "moments": len(seen.rows), "dreams": DREAMS,
            "versions": {"python": platform.python_version(), **packages},
        },
        "reconstruction": float(reconstructed.mean()),
        "curves": curves,
    }  # fmt: skip
    write_atomically(OUT, (json.dumps(result) + "\n").encode())
    for name, parts in curves.items():
        said = {what: parts[what]["mean"] for what in ("code", "picture", "reward")}
        print(
            name, {what: [round(v[k - 1], 3) for k in (1, 5, 15, 50)] for what, v in said.items()}
        )


if __name__ == "__main__":
    main()
