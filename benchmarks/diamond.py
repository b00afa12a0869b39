"""Chapter 7's measurements of DIAMOND: PixelCatch, its windy variant, and how far dreams drift.

    python benchmarks/diamond.py --jobs 2
    python benchmarks/diamond.py --parts catch --worlds "windy PixelCatch" --seeds 0 1

A row of the part `catch` is one run: 3,000 real steps, then 100 fresh episodes without exploration,
and as many dreams from their first frames, in which frames with exactly one ball are counted. Runs
are kept under runs/ and go on after a kill (then the seconds are those of the last process).

A row of the part `drift` is one denoiser: EDM, as DIAMOND's, or DDPM (Ho et al. 2020), which says
the noise and learns from its own noise levels. Both have the same network, learn from the same
3,000 frames of a Catch that never ends and make as many updates; then they dream 500 frames with
random actions, in 1 step a frame and in 3. Rows that are there are skipped.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from rows import Row, fill, machine
from torch import Tensor

from wmlib.agents.diamond import (
    Denoiser,
    Diamond,
    DiamondConfig,
    SamplerConfig,
    Scales,
    Spaces,
    WorldModel,
    WorldModelConfig,
    pixels,
    sample,
    schedule,
    train_diamond,
)
from wmlib.envs.catch import PICTURES, draw, read
from wmlib.episodes import run_episode
from wmlib.evaluation import evaluate
from wmlib.exploration import random_policy
from wmlib.imagination import imagine, steps
from wmlib.learning import MOST_UPDATES, SEEDS
from wmlib.nets.actor_critic import Acting
from wmlib.sequences import Stream

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "diamond.json"
FIRST = 900_000  # of a run's seeds: the first that is examined; training never comes so far
CONFIG = DiamondConfig()
STEPS, EPISODES = 3_000, 100
WORLDS = {"PixelCatch": "wmlib/PixelCatch-v0", "windy PixelCatch": "wmlib/WindyPixelCatch-v0"}
KINDS = ("EDM", "DDPM")
UPDATES, DREAMS, FRAMES, BIN = 1_000, 16, 500, 25
"""of the drift: updates of a denoiser, dreams at a time, frames of each, frames of a mean"""
BALLS = torch.from_numpy(PICTURES[:, :, 0, :-1].reshape(50, -1) > 127)  # (50, 15 * 16)


def one_ball(frames: Tensor) -> Tensor:
    """(...) whether frames (..., 1, 16, 16) in [0, 1] show exactly one ball, in one of its cells.

    A pixel is lit if it is brighter than half. The paddle's row does not count.
    """
    lit = (frames[..., 0, :-1, :] > 0.5).flatten(-2)  # (..., 15 * 16)
    return (lit[..., None, :] == BALLS).all(-1).any(-1)


def measure(name: Row) -> Row:
    """A row of either part."""
    torch.set_num_threads(1)
    return name | (catch if name["part"] == "catch" else drift)(name)


def catch(name: Row) -> Row:
    """One run, and its verdict."""
    seed, world = name["seed"], WORLDS[name["world"]]
    folder = ROOT / "runs" / "diamond" / f"{name['world']} {seed}".replace(" ", "-")
    began = time.process_time()
    agent: Diamond = train_diamond(
        world, steps=STEPS, seed=seed, config=CONFIG, folder=folder, resume=folder.exists(),
        progress=False,
    )  # fmt: skip
    seconds = time.process_time() - began
    first = seed * SEEDS + FIRST
    score = evaluate(agent.policy(), world, episodes=EPISODES, seed=first, n_jobs=1, progress=False)
    modules = agent.model.denoiser, agent.model.reward_end, agent.behaviour
    return {
        "real_steps": STEPS, "updates": int(CONFIG.ratio * STEPS + 1e-9),
        "return": round(score.mean, 4), "returns": list(score.returns),
        "one_ball": round(dreamed_balls(agent, world, range(first, first + EPISODES)), 4),
        "cpu_seconds": round(seconds, 1),
        "parameters": [sum(p.numel() for p in module.parameters()) for module in modules],
        "milliseconds": {str(batch): round(dreaming(agent, batch), 1) for batch in (1, 64)},
    }  # fmt: skip


def dreamed_balls(agent: Diamond, world: str, seeds: range) -> float:
    """The share of frames with exactly one ball in dreams from the first frames of episodes."""
    env = gym.make(world)
    frames = np.stack([env.reset(seed=seed)[0] for seed in seeds])
    dream = imagine(
        agent.model, Acting(agent.behaviour, agent.behaviour.initial(len(frames)), None),
        first_state(agent, frames), 9, torch.Generator().manual_seed(seeds[0]),
    )  # fmt: skip
    return float(one_ball(dream.features[1:]).float().mean())


def first_state(agent: Diamond, frames: np.ndarray) -> Any:
    """Where dreams begin that begin with frames (B, 16, 16, 1), the first ones of episodes."""
    past, shown = agent.config.world_model.denoiser.past, pixels(torch.from_numpy(frames))
    first = torch.ones(past, len(shown))
    return agent.model.begin(
        shown.expand(past, *shown.shape), torch.zeros(past, len(shown), agent.spaces.actions), first
    )


def dreaming(agent: Diamond, batch: int, times: int = 20) -> float:
    """Milliseconds of processor time of a dreamed step of so many dreams; the median of many."""
    state = first_state(agent, PICTURES[:1, :1].reshape(-1, 16, 16, 1)[[0] * batch])
    action = torch.eye(agent.spaces.actions)[[0] * batch]
    generator, taken = torch.Generator().manual_seed(0), []
    for _ in range(times):
        began = time.process_time()
        agent.model.step(state, action, generator)
        taken.append(1e3 * (time.process_time() - began))
    return float(np.median(taken))


class EndlessCatch(gym.Wrapper):
    """PixelCatch in which the first frame of the next episode follows the last one of this: a ball
    that has landed is gone, a new one drops, and the paddle is in the middle."""

    landed = False

    def reset(self, **options: Any) -> Any:
        self.landed = False
        return super().reset(**options)

    def step(self, action: Any) -> Any:
        if self.landed:
            return *self.reset()[:1], 0.0, False, False, {}
        observation, reward, self.landed, _, info = super().step(action)
        return observation, reward, False, False, info


class DDPM(Denoiser):
    """A denoiser that says the noise, at the 1,000 noise levels of Ho et al. 2020.

    There a frame is mixed with noise; here, as for EDM, noise is added to it. The one is the other
    times a number, `1 / sqrt(1 + sigma^2)`.
    """

    def scales(self, sigma: Tensor) -> Scales:
        one = torch.ones_like(sigma)
        return Scales((1 + sigma.square()).rsqrt(), one, -sigma, sigma.log() / 4)

    @staticmethod
    def noises() -> Tensor:
        """Sigmas (1000,), rising."""
        kept = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)
        return ((1 - kept) / kept).sqrt().float()

    def levels(self, number: int, generator: torch.Generator | None) -> Tensor:
        return self.noises()[torch.randint(1000, (number,), generator=generator)]


def noise_levels(kind: str, count: int) -> tuple[Tensor, float]:
    """Of so many steps of a sampler, (count + 1,) falling to 0; and how wide its start is."""
    if kind == "EDM":
        return schedule(SamplerConfig(steps=count)), 1.0
    places = torch.linspace(1000, 0, count + 1).round().long()[:-1] - 1
    sigmas = torch.cat([DDPM.noises()[places], torch.zeros(1)])
    return sigmas, float(sigmas[0])


def denoiser(kind: str, stream: Stream, seed: int, updates: int = UPDATES) -> Diamond:
    """An agent of which only the denoiser has learned, of that kind."""
    env = gym.make(WORLDS["PixelCatch"])
    agent = Diamond(Spaces.of(env.observation_space, env.action_space), CONFIG, seed=seed)
    config = CONFIG.world_model.denoiser
    if kind == "DDPM":
        own = DDPM(dataclasses.replace(config, offset=0.0), agent.spaces.frame, 3)
        own.load_state_dict(agent.model.denoiser.state_dict())  # it begins with the same weights
        agent.model.denoiser = own
    learned = agent.model.denoiser
    adam = torch.optim.AdamW(learned.parameters(), CONFIG.denoiser_rate, weight_decay=CONFIG.decay)
    for update in range(updates):
        generator = torch.Generator().manual_seed(seed * MOST_UPDATES + update)
        batch = stream.draw(np.random.default_rng([seed, update]), CONFIG.batch, config.past + 1)
        frames, actions, _, first, _ = agent.given(batch)
        loss = learned.loss(frames, actions, first, generator)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned.parameters(), CONFIG.denoiser_clip)
        for group in adam.param_groups:
            group["lr"] = CONFIG.denoiser_rate * min(1, (update + 1) / CONFIG.warmup)
        adam.step()
    return agent


class Dreaming(WorldModel):
    """A world model that begins with noise of its own width."""

    width: float

    @torch.no_grad()
    def draw(self, frames: Tensor, actions: Tensor, generator: torch.Generator | None) -> Tensor:
        newest = frames[:, -1]
        noise = self.width * torch.randn(newest.shape, generator=generator)
        return sample(
            lambda x, sigma: self.denoiser.denoise(x, sigma, frames, actions), noise, self.sigmas
        )


def drift(name: Row, updates: int = UPDATES, length: int = FRAMES) -> Row:
    """One denoiser, and what becomes of its dreams: means of each 25 frames."""
    kind, seed = name["kind"], name["seed"]
    env, stream = EndlessCatch(gym.make(WORLDS["PixelCatch"])), Stream()
    stream.extend(run_episode(env, random_policy(env.action_space), seed * SEEDS, max_steps=STEPS))
    began = time.process_time()
    agent = denoiser(kind, stream, seed, updates)
    seconds = time.process_time() - began
    row: Row = {"real_steps": STEPS, "updates": updates, "cpu_seconds": round(seconds, 1)}
    world = Dreaming(WorldModelConfig(), agent.spaces.frame, agent.spaces.actions)
    world.denoiser, world.reward_end = agent.model.denoiser, agent.model.reward_end
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    lived = agent.given(stream.draw(rng, DREAMS, 4))
    actions = torch.eye(3)[torch.randint(3, (DREAMS, length), generator=generator)]
    for count in (1, 3):
        world.sigmas, world.width = noise_levels(kind, count)
        start = world.begin(lived[0], lived[1], lived[3])
        valid, blur = [], []
        for step in steps(world, actions, start, length, generator):
            pictures = 255 * step.features.movedim(1, -1).numpy()  # (B, 16, 16, 1)
            nearest = draw(read(pictures))
            lit = (pictures > 127) == (nearest > 127)
            valid.append(lit.all((1, 2, 3)).mean())
            blur.append(np.abs(pictures - nearest).mean() / 255)
        bins = len(valid) // BIN
        for what, numbers in (("valid", valid), ("blur", blur)):
            means = np.reshape(numbers[: bins * BIN], (bins, BIN)).mean(1)
            row[f"{what}_{count}"] = [round(float(mean), 4) for mean in means]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--parts", nargs="+", choices=("catch", "drift"), default=["catch", "drift"]
    )
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=[*WORLDS])
    parser.add_argument("--seeds", nargs="+", type=int, help="(default: 5 of catch, 3 of drift)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, of one thread each")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    made = {
        "command": f"python benchmarks/diamond.py --jobs {options.jobs}",
        "configuration": dataclasses.asdict(CONFIG), **machine(("numpy", "torch", "gymnasium")),
    }  # fmt: skip
    kinds = {"catch": ("world", options.worlds, 5), "drift": ("kind", KINDS, 3)}
    names = [
        {"part": part, kinds[part][0]: kind, "seed": seed}
        for part in options.parts for seed in options.seeds or range(kinds[part][2])
        for kind in kinds[part][1]
    ]  # fmt: skip
    fill(
        options.out, names, measure, lambda rows: {"made": made}, jobs=options.jobs,
        shown=("world", "kind", "seed", "return", "one_ball", "valid_1", "valid_3", "cpu_seconds"),
    )  # fmt: skip


if __name__ == "__main__":
    main()
