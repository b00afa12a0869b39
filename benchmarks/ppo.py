"""What a reader would use instead: PPO of stable-baselines3, with the same real frames.

    pip install stable-baselines3==2.9.2
    python benchmarks/ppo.py --seeds 1 2 3

The settings are those of rl-baselines3-zoo for CarRacing (there for 4 million steps of two frames);
its linear learning rate falls to zero over the frames given here, which are those of a whole run of
`benchmarks/car_racing.py`, rounded up. PPO drives wmlib/CarRacing-v3, our fast renderer, whose
rewards are the official ones, and is scored there at the end, without noise, on the tracks that the
other benchmarks are scored on. Its weights are not kept, so it has no score on the official
renderer. A row is written for each seed; seeds that have one are skipped.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecNormalize
from torch import nn

from wmlib.evaluation import Score
from wmlib.storage import write_atomically

OUT = Path(__file__).parent / "results" / "ppo.json"
ENV_ID = "wmlib/CarRacing-v3"
FRAMES, SKIP, STACK, ENVS = 350_000, 2, 2, 8
SETTINGS: dict[str, Any] = {
    "batch_size": 128,
    "n_steps": 512,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "n_epochs": 10,
    "ent_coef": 0.0,
    "sde_sample_freq": 4,
    "max_grad_norm": 0.5,
    "vf_coef": 0.5,
    "use_sde": True,
    "clip_range": 0.2,
}
POLICY: dict[str, Any] = {
    "log_std_init": -2,
    "ortho_init": False,
    "activation_fn": nn.GELU,
    "net_arch": {"pi": [256], "vf": [256]},
}
RATE = 1e-4


def make() -> gym.Env:
    """One environment as the zoo wraps it: two frames a step, 64 x 64, grey."""
    env = gym.make(ENV_ID, action_repeat=SKIP)
    return gym.wrappers.GrayscaleObservation(env, keep_dim=True)


class Curve(BaseCallback):
    """Return of every episode that ended while training, with the frames and seconds until then."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[float]] = []
        self.began = time.perf_counter()

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                seconds = time.perf_counter() - self.began
                frames = self.num_timesteps * SKIP
                self.rows.append([frames, round(seconds, 1), round(info["episode"]["r"], 2)])
        return True


def drive(model: PPO, seeds: list[int]) -> Score:
    """Whole episodes, one after the other, without noise."""
    env: VecEnv = DummyVecEnv([make])
    env = VecFrameStack(env, STACK)
    returns = []
    for seed in seeds:
        env.seed(seed)
        observation, total, done = env.reset(), 0.0, [False]
        while not done[0]:
            action, _ = model.predict(observation, deterministic=True)
            observation, reward, done, _ = env.step(action)
            total += float(reward[0])
        returns.append(total)
    env.close()
    return Score(ENV_ID, tuple(returns), tuple(seeds))


def train(seed: int, frames: int, tracks: int) -> dict[str, Any]:
    """One row of the result."""
    env: VecEnv = DummyVecEnv([lambda: Monitor(make())] * ENVS)
    env = VecNormalize(VecFrameStack(env, STACK), norm_obs=False, norm_reward=True)
    model = PPO(
        "CnnPolicy", env, learning_rate=lambda left: RATE * left, policy_kwargs=POLICY, seed=seed,
        device="cpu", **SETTINGS,
    )  # fmt: skip
    curve = Curve()
    model.learn(frames // SKIP, callback=curve)
    seconds = time.perf_counter() - curve.began
    score = drive(model, list(range(900_000, 900_000 + tracks)))
    env.close()
    return {
        "seed": seed,
        "real_steps": model.num_timesteps * SKIP,
        "seconds": round(seconds, 1),
        **score.as_dict(),
        "curve": curve.rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--tracks", type=int, default=100)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    rows = (
        json.loads(options.out.read_text(encoding="utf-8"))["rows"] if options.out.exists() else []
    )
    for seed in options.seeds:
        if any(row["seed"] == seed for row in rows):
            continue
        row = train(seed, options.frames, options.tracks)
        rows.append(row)
        print(f"seed {seed}: {row['mean']:.1f}, {row['seconds'] / 60:.1f} minutes", flush=True)
        packages = ("numpy", "torch", "gymnasium", "stable-baselines3")
        result = {
            "made": {
                "command": f"python benchmarks/ppo.py --frames {options.frames}",
                "settings": {**SETTINGS, "learning_rate": f"linear, {RATE}", "frame_skip": SKIP,
                             "frame_stack": STACK, "n_envs": ENVS, "policy": str(POLICY)},
                "threads": torch.get_num_threads(),
                "versions": {"python": platform.python_version(),
                             **{name: version(name) for name in packages}},
            },
            "rows": sorted(rows, key=lambda row: row["seed"]),
        }  # fmt: skip
        write_atomically(options.out, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
