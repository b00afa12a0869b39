"""Chapter 6's first claim: how far ahead a dream of CarRacing knows more than a guess.

    python benchmarks/compounding.py

From real moments M dreams on for 100 decisions, without another look. Its forecasts of the code,
the picture, the reward, and where the road is, are held against what came, and against guesses that
need no model: nothing changes; and everything is as it was after the moments of the other drives.

Two kinds of future are asked for, from the same moments. "as driven": what the drive went on with;
its actions were chosen by a driver who saw the road that came. "apart": the drive is replayed to
the moment and goes on with the actions of *another* drive, which know nothing of this road. What
then really happens is what actions do. In the first kind of future M is also asked without being
told any action: then C drives in the dream, as it drove on the road. (Twins, trained here on the
same episodes with and without actions, are asked as well.)
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import joblib
import numpy as np
import torch
from torch import Tensor

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.forecast import Forecasts, fair_errors, forecast, spreads
from wmlib.agents.world_models.memory import MDNRNN, train_memory
from wmlib.agents.world_models.starts import followed, warm_up
from wmlib.agents.world_models.world import World
from wmlib.collecting import collect
from wmlib.episodes import Episode, Policy, run_episode
from wmlib.exploration import SmoothRandomPolicy
from wmlib.imagination import steps
from wmlib.storage import write_atomically

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "compounding.json"
ARTIFACT = ROOT / "artifacts" / "world-models-car-racing"
ENV_ID, ENV_KWARGS = "wmlib/CarRacing-v3", {"action_repeat": 3}
WARM, AHEAD, DREAMS, NOISE = 16, 100, 8, 0.3
PICTURES = (1, 3, 5, 10, 20, 50, 100)  # decisions ahead at which the shipped M's are compared
ROAD = {"lateral": 4, "curvature": 6}  # places in the environment's "car" (CAR_FIELDS)

Squares = dict[str, np.ndarray]
"""(M, T) squared errors of each quantity; for the picture T = len(PICTURES)"""


class Script:
    """A policy that never looks: it takes the actions (T, A) it was given, one after the other."""

    def __init__(self, actions: np.ndarray) -> None:
        self.actions = actions

    def reset(self, rng: np.random.Generator) -> None:
        self._left = iter(self.actions)

    def act(self, observation: np.ndarray) -> np.ndarray:
        return next(self._left)


def drive(policy: Policy, episodes: int, seed: int, jobs: int, **limits: Any) -> list[Episode]:
    return collect(
        policy, ENV_ID, episodes=episodes, seed=seed, env_kwargs=ENV_KWARGS, n_jobs=jobs,
        progress=False, **limits,
    )  # fmt: skip


def redrive(seed: int, actions: np.ndarray) -> Episode:
    """The same track, under these actions (T, A) to their end."""
    env = gym.make(ENV_ID, disable_env_checker=True, **ENV_KWARGS)
    try:
        return run_episode(env, Script(actions), seed, max_steps=len(actions))
    finally:
        env.close()


class Moments(NamedTuple):
    """M moments of drives, and what came after each of them; N observations in all."""

    episodes: list[Episode]
    codes: Codes
    rows: np.ndarray
    """(M,) rows of the moments in the codes"""
    drives: np.ndarray
    """(M,) the drive that each moment is from: moments of one drive resemble each other"""


def as_driven(episodes: list[Episode], agent: Agent, each: int) -> Moments:
    """Up to `each` moments of every drive, drawn from those that 100 more decisions follow."""
    codes, rng = Codes.of(episodes, agent.vision.encode), np.random.default_rng(0)
    rows, drives = [], []
    for e, (first, length) in enumerate(zip(codes.first, codes.lengths, strict=True)):
        possible = np.arange(WARM, length - AHEAD + 1)
        some = np.sort(rng.permutation(possible)[:each])
        rows += list(first + some)
        drives += [e] * len(some)
    return Moments(episodes, codes, np.array(rows), np.array(drives))


def apart(taken: Moments, agent: Agent, jobs: int) -> tuple[Moments, np.ndarray]:
    """The same moments, each gone on from with the actions that followed a moment of another drive.

    Also returns which of the moments (M,) were followed by 100 decisions: a car that leaves the
    field ends its episode.
    """
    rng, tasks, begins = np.random.default_rng(1), [], []
    for row, e in zip(taken.rows, taken.drives, strict=True):
        other = rng.choice(taken.rows[taken.drives != e])
        begin = row - taken.codes.first[e]
        before = taken.episodes[e].actions[:begin]
        actions = np.concatenate([before, taken.codes.actions[other : other + AHEAD]])
        tasks.append(joblib.delayed(redrive)(taken.episodes[e].seed, actions))
        begins.append(begin)
    redriven: list[Episode] = joblib.Parallel(n_jobs=jobs)(tasks)
    for episode, e, begin in zip(redriven, taken.drives, begins, strict=True):
        same = taken.episodes[e].observations[: begin + 1]
        if not np.array_equal(episode.observations[: begin + 1], same):
            raise RuntimeError(f"the replay of seed {episode.seed} is not the drive it repeats")
    whole = np.array([len(e) == b + AHEAD for e, b in zip(redriven, begins, strict=True)])
    kept = [episode for episode, all_there in zip(redriven, whole, strict=True) if all_there]
    codes = Codes.of(kept, agent.vision.encode)
    rows = codes.first + np.array(begins)[whole]
    return Moments(kept, codes, rows, taken.drives[whole]), whole


def blind(codes: Codes) -> Codes:
    return dataclasses.replace(codes, actions=np.zeros_like(codes.actions))


@torch.no_grad()
def driven_in_the_dream(agent: Agent, moments: Moments) -> Forecasts:
    """Dreams in which C drives, with the noise that the real drives had (`WorldModelPolicy`)."""
    memory, rng = agent.memory, np.random.default_rng(0)
    starts = warm_up(memory, moments.codes, WARM)
    places, rows = followed(moments.codes, starts, AHEAD)
    some = starts.take(places[[int(np.flatnonzero(rows == row)[0]) for row in moments.rows]])
    world, generator = World(memory), torch.Generator().manual_seed(0)
    begin = world.begin(*(part.repeat(DREAMS, 1) for part in some.dreamed().values()))
    # as in WorldModelPolicy; how noisy its drive is, a dream is not told
    low = torch.tensor([-1.0 if s == "tanh" else 0.0 for s in agent.controller.config.squash])
    shape = len(begin.z), len(low)
    noise, level = rng.standard_normal(shape), NOISE * rng.random((len(begin.z), 1))

    def act(features: Tensor) -> Tensor:
        nonlocal noise
        noise = 0.9 * noise + np.sqrt(1 - 0.9**2) * rng.standard_normal(shape)
        action = agent.controller.act(features[None])[0] + torch.from_numpy(level * noise).float()
        return action.clamp(low, torch.ones(len(low)))  # (B, A)

    codes, rewards = [], []
    for step in steps(world, act, begin, AHEAD, generator):
        codes.append(step.state.z)
        rewards.append(step.reward)
    dreamed = (torch.stack(part, 1).unflatten(0, (DREAMS, -1)).numpy() for part in (codes, rewards))
    return Forecasts(moments.rows[:, None] + np.arange(AHEAD + 1), *dreamed)


class Errors:
    """Squared errors of forecasts of some moments, against what came after them."""

    def __init__(self, agent: Agent, train: list[Episode], moments: Moments) -> None:
        self.agent, self.moments = agent, moments
        places = list(ROAD.values())
        known = Codes.of(train, agent.vision.encode)
        design = np.concatenate([known.mean, np.ones((len(known.mean), 1))], 1)  # (N, Z + 1)
        car = [np.concatenate([e.extras["car"] for e in part])[:, places]
               for part in (train, moments.episodes)]  # fmt: skip
        self.probe = np.linalg.lstsq(design, car[0], rcond=None)[0]  # (Z + 1, 2)
        after = moments.rows[:, None] + np.arange(AHEAD + 1)  # (M, T + 1)
        self.real_codes = moments.codes.mean[after]
        self.real_rewards = moments.codes.rewards[after[:, :-1]]
        self.last_reward = moments.codes.rewards[after[:, :1] - 1]  # seen just before the moment
        self.real_road = car[1][after]  # (M, T + 1, 2)
        frames = np.concatenate([np.asarray(e.observations) for e in moments.episodes])
        self.frames = frames[after[:, [0, *PICTURES]]].astype(np.float32) / 255

    def look(self, codes: np.ndarray) -> np.ndarray:
        """Where the road is, as far as a linear probe can tell from codes (..., Z)."""
        found: np.ndarray = codes @ self.probe[:-1] + self.probe[-1]
        return found

    def quantities(self, seen: Forecasts) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What was dreamed (D, M, T, ...) and what came (M, T, ...), but for the picture."""
        road = self.look(seen.codes)
        dreamed = {"code": seen.codes, "reward": seen.rewards}
        came = {"code": self.real_codes[:, 1:], "reward": self.real_rewards}
        for i, name in enumerate(ROAD):
            dreamed[name], came[name] = road[..., i], self.real_road[:, 1:, i]
        return {name: (dreamed[name], came[name]) for name in dreamed}

    def of(self, seen: Forecasts, pictures_too: bool) -> tuple[Squares, Squares]:
        """Fair errors, and the spread between dreams."""
        errors: Squares = {}
        spread: Squares = {}
        for name, (dreamed, came) in self.quantities(seen).items():
            errors[name], spread[name] = fair_errors(dreamed, came), spreads(dreamed)
        if not pictures_too:
            return errors, spread
        pictures: list[tuple[np.ndarray, np.ndarray]] = []
        for k, ahead in enumerate(PICTURES):
            decoded = [self.agent.vision.decode(z) for z in seen.codes[:, :, ahead - 1]]
            draws = np.stack(decoded)[:, :, None].astype(np.float32) / 255  # (D, M, 1, H, W, C)
            pictures.append((fair_errors(draws, self.frames[:, [k + 1]]), spreads(draws)))
        columns = zip(*pictures, strict=True)
        errors["picture"], spread["picture"] = (np.concatenate(c, 1) for c in columns)
        return errors, spread

    def of_guesses(self) -> dict[str, Squares]:
        """The same of the guesses that need no model."""
        now = self.real_codes[:, :1]
        came = {
            "code": self.real_codes[:, 1:], "reward": self.real_rewards[..., None],
            "picture": self.frames[:, 1:].reshape(len(now), len(PICTURES), -1),
        }  # fmt: skip
        still = {
            "code": now, "reward": self.last_reward[..., None],
            "picture": self.frames[:, :1].reshape(len(now), 1, -1),
        }  # fmt: skip
        for i, name in enumerate(ROAD):
            came[name] = self.real_road[:, 1:, i : i + 1]
            still[name] = self.look(now)[..., i : i + 1]  # as the probe sees it in the last frame
        guesses: dict[str, Callable[[str], np.ndarray]] = {
            "nothing changes": lambda name: still[name],
            "the mean": lambda name: self._of_others(came[name]),
        }
        return {
            who: {name: np.square(guess(name) - came[name]).sum(-1) for name in came}
            for who, guess in guesses.items()
        }

    def _of_others(self, came: np.ndarray) -> np.ndarray:
        """For each moment, the mean of what came as long after the moments of the other drives."""
        result = np.empty_like(came)
        for e in np.unique(self.moments.drives):
            own = self.moments.drives == e
            result[own] = came[~own].mean(0)
        return result

    def reconstruction(self) -> float:
        """Squared error of V's copy of the moments' frames: no dream can do better."""
        pictures = self.agent.vision.decode(self.real_codes[:, 0]).astype(np.float32) / 255
        return float(np.square(pictures - self.frames[:, 0]).sum((-3, -2, -1)).mean())


def resampled(drives: np.ndarray, draws: int = 1000) -> np.ndarray:
    """Weights (draws, M) of the moments in bootstrap draws of whole drives."""
    rng, names = np.random.default_rng(0), np.unique(drives)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    weights = counts[:, np.searchsorted(names, drives)].astype(float)
    result: np.ndarray = weights / weights.sum(1, keepdims=True)
    return result


def curve(errors: np.ndarray, weights: np.ndarray) -> dict[str, list[float]]:
    """Mean over moments at each decision, and a 95 % bootstrap interval over drives."""
    low, high = np.quantile(weights @ errors, [0.025, 0.975], axis=0)
    return _rounded(mean=errors.mean(0), low=low, high=high)


def ratio(top: np.ndarray, bottom: np.ndarray, weights: np.ndarray) -> dict[str, list[float]]:
    """The ratio of two mean errors at each decision, likewise."""
    low, high = np.quantile((weights @ top) / (weights @ bottom), [0.025, 0.975], axis=0)
    return _rounded(mean=top.mean(0) / bottom.mean(0), low=low, high=high)


def _rounded(**parts: np.ndarray) -> dict[str, list[float]]:
    return {name: [float(f"{x:.4g}") for x in values] for name, values in parts.items()}


def over_seeds(results: list[Squares]) -> Squares:
    """The mean of several models' errors."""
    return {name: np.mean([result[name] for result in results], 0) for name in results[0]}


def compare(
    agent: Agent, errors: Errors, twins: dict[str, list[MDNRNN]], driver: bool
) -> dict[str, Any]:
    """All curves of one kind of future."""
    moments = errors.moments
    weights = resampled(moments.drives)
    known, told_nothing = moments.codes, blind(moments.codes)

    def asked(memory: MDNRNN, codes: Codes, pictures: bool = False) -> tuple[Squares, Squares]:
        seen = forecast(memory, codes, horizon=AHEAD, moments=moments.rows, dreams=DREAMS)
        return errors.of(seen, pictures)

    results = {"shipped M": [asked(agent.memory, known, pictures=True)]}
    if driver:
        results["C drives"] = [errors.of(driven_in_the_dream(agent, moments), pictures_too=False)]
    for name, memories in twins.items():
        codes = known if name == "told" else told_nothing
        results[name] = [asked(memory, codes) for memory in memories]
    curves: dict[str, Any] = {}
    means: dict[str, Squares] = {}
    for name, pairs in results.items():
        means[name], spread = (over_seeds([pair[i] for pair in pairs]) for i in (0, 1))
        curves[name] = {
            what: {
                **curve(part, weights),
                "spread": _rounded(mean=spread[what].mean(0))["mean"],
                "each seed": [
                    _rounded(mean=pair[0][what].mean(0))["mean"] for pair in pairs
                ] if len(pairs) > 1 else [],
            }
            for what, part in means[name].items()
        }  # fmt: skip
    for name, guesses in errors.of_guesses().items():
        means[name] = guesses
        curves[name] = {what: curve(part, weights) for what, part in guesses.items()}
    ratios = {
        "untold / told": ("untold", "told"), "shipped M / the mean": ("shipped M", "the mean"),
        "shipped M / nothing changes": ("shipped M", "nothing changes"),
        "told / the mean": ("told", "the mean"), "untold / the mean": ("untold", "the mean"),
        "shipped M / C drives": ("shipped M", "C drives"),
        "C drives / the mean": ("C drives", "the mean"),
    }  # fmt: skip
    return {
        "moments": len(moments.rows), "drives": len(np.unique(moments.drives)),
        "reconstruction": errors.reconstruction(), "curves": curves,
        "ratios": {
            name: {
                what: ratio(means[top][what], means[bottom][what], weights)
                for what in means[top] if what in means[bottom]
            }
            for name, (top, bottom) in ratios.items() if top in means and bottom in means
        },
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000, help="updates of each twin")
    parser.add_argument("--seeds", type=int, default=2, help="of each twin")
    parser.add_argument("--wandered", type=int, default=150, help="random drives for the twins")
    parser.add_argument("--own", type=int, default=50, help="C's drives for the twins")
    parser.add_argument("--drives", type=int, default=32, help="to be forecast")
    parser.add_argument("--each", type=int, default=6, help="moments of each drive")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    agent = Agent.load(ARTIFACT)
    env = gym.make(ENV_ID, **ENV_KWARGS)
    policy = SmoothRandomPolicy(env.action_space)
    env.close()
    jobs = options.jobs
    wandered = drive(policy, options.wandered, 30_000, jobs, max_steps=150, patience=30)
    own = drive(agent.policy(NOISE), options.own, 610_000, jobs, patience=100)
    test = drive(agent.policy(NOISE), options.drives, 620_000, jobs, patience=100)
    taken = as_driven(test, agent, options.each)
    free, whole = apart(taken, agent, jobs)
    taken = taken._replace(rows=taken.rows[whole], drives=taken.drives[whole])
    print(f"{len(whole)} moments, {whole.sum()} of them followed in both ways", flush=True)

    known = Codes.of(wandered + own, agent.vision.encode)
    config = dataclasses.replace(agent.memory.config, cost_weight=0.0)
    twins: dict[str, list[MDNRNN]] = {"told": [], "untold": []}
    for seed in range(options.seeds):
        for name, codes in (("told", known), ("untold", blind(known))):
            twins[name].append(train_memory(codes, config, steps=options.steps, seed=seed)[0])

    futures = {"as driven": taken, "apart": free}
    packages = {name: version(name) for name in ("numpy", "torch", "gymnasium")}
    result = {
        "made": {
            "command": f"python benchmarks/compounding.py --steps {options.steps} "
            f"--seeds {options.seeds} --wandered {options.wandered} --own {options.own} "
            f"--drives {options.drives} --each {options.each}",
            "dreams": DREAMS, "twin_updates": options.steps, "twin_seeds": options.seeds,
            "real_decisions": {"twins": int(known.lengths.sum())},
            "left the field": int((~whole).sum()),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, no GPU used",
            "versions": {"python": platform.python_version(), **packages},
        },
        "pictures_at": PICTURES,
        "futures": {
            name: compare(agent, Errors(agent, wandered + own, moments), twins, name != "apart")
            for name, moments in futures.items()
        },
    }  # fmt: skip
    write_atomically(options.out, (json.dumps(result, allow_nan=False) + "\n").encode())
    for future, found in result["futures"].items():  # type: ignore[attr-defined]
        for name, parts in found["ratios"].items():
            line = {w: [round(p["mean"][k], 2) for k in (0, 9, 49, 99)]
                    for w, p in parts.items() if w != "picture"}  # fmt: skip
            print(future, name, line)


if __name__ == "__main__":
    main()
