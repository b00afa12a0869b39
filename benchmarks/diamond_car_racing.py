"""Chapter 7's denoiser of CarRacing: its frames, its training and its measures.

    python benchmarks/diamond_car_racing.py --parts train
    python benchmarks/diamond_car_racing.py --parts ship measure

`train` collects the frames and trains the denoiser under runs/diamond-car-racing, and goes on there
after a kill (`--resume`). The frames are those of the shipped World Models: the random driving that
its V and M began with, the same tracks and the same dice, and as many decisions that its C drove
with the noise of its cycles, on the tracks of those cycles. (The run's own earlier Cs, of which
each drove one cycle, were not kept: the last one drives in all of them.) `ship` puts the averaged
weights into artifacts/diamond-car-racing.

`measure` has drives of C on tracks that nothing learned from, and a moment of each. From there V
and M dream, and the denoiser in several numbers of steps: the same moments, actions and number of
draws. The actions are those of another drive, which know nothing of this road ("apart" in
`benchmarks/compounding.py`), and errors are fair ones (chapter 6), 95 % intervals over the drives.
The codes of the denoiser's frames are V's of them, and the place of the road is read off codes
by one linear probe. Two more ask the pictures alone: "where grass is", of each pixel, averaged over
the picture; and "on grass", how much of it is around the car. Last, C drives on: on the real track,
in M's dream, and in the denoiser's, which it sees through V, while M remembers for it. No reward is
learned, so none is measured. Rows that are there are skipped.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import compounding
import gymnasium as gym
import numpy as np
import torch
from compounding import Errors, Moments, resampled
from rows import Row, fill, machine
from torch import Tensor

from wmlib.agents.diamond import (
    Denoiser,
    DenoiserConfig,
    OfflineConfig,
    SamplerConfig,
    UNetConfig,
    film,
    load_denoiser,
    pixels,
    save_denoiser,
    schedule,
    train_denoiser,
)
from wmlib.agents.world_models import Agent
from wmlib.agents.world_models.forecast import fair_errors, forecast, spreads
from wmlib.agents.world_models.memory import State
from wmlib.agents.world_models.recipes import ENV_ID, EPISODES, TRACKS, Recipe
from wmlib.agents.world_models.starts import warm_up
from wmlib.agents.world_models.tiles import grass
from wmlib.agents.world_models.world import World
from wmlib.checkpoint import load_checkpoint, made_by
from wmlib.collecting import collect
from wmlib.episodes import run_episode
from wmlib.exploration import SmoothRandomPolicy
from wmlib.imagination import steps
from wmlib.replay import Replay

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "artifacts" / "world-models-car-racing"
ARTIFACT = ROOT / "artifacts" / "diamond-car-racing"
OUT = ROOT / "benchmarks" / "results" / "diamond-car-racing.json"
RUN = ROOT / "runs" / "diamond-car-racing"

SEED = 2  # of the shipped run, and so of its tracks
RANDOM, DRIVEN = 350, 12  # episodes of random driving, and of C's in each cycle
CONFIG = OfflineConfig(denoiser=DenoiserConfig(network=UNetConfig(channels=(32, 64, 128))))
STEPS = 9_000
FRAME, ACTIONS = (3, 64, 64), 3

DRIVES, TEST, PROBED = 32, 620_000, 4  # drives, their first track; every such episode for the probe
AHEAD, DRAWS, AT = 50, 4, (1, 10, 50)  # decisions of a forecast, dreams of each, decisions told
DRIVE = 100  # decisions that C drives
NAMES: list[Row] = [
    {"who": who} for who in ("real", "V's copy", "nothing changes", "the mean", "V and M")
] + [
    {"who": "denoiser", "steps": n, "start": start}
    for n, start in ((3, "unit"), (3, "wide"), (1, "unit"), (5, "wide"), (2, "unit"), (5, "unit"))
]
GREENS, NEAR = (202, 228), 6  # of grass and of the squares on it, in a real picture; and levels
CAR = slice(51, 59), slice(31, 33)  # where the car is, in every picture


@functools.cache
def frames(folder: Path) -> Replay:
    """What the denoiser learns from: random driving first, then C's own."""
    recipe = Recipe()
    given = {"env_kwargs": {"action_repeat": recipe.action_repeat}}
    env = gym.make(ENV_ID, **given["env_kwargs"])
    wanderer = SmoothRandomPolicy(env.action_space, recipe.exploration)
    env.close()
    wandered = collect(
        wanderer, ENV_ID, episodes=RANDOM, seed=TRACKS * SEED, max_steps=recipe.max_steps,
        patience=recipe.patience, folder=folder / "random", **given,
    )  # fmt: skip
    replay, driver = Replay(wandered), Agent.load(SHIPPED).policy(recipe.cycle_noise)
    for cycle in range(1, recipe.cycles + 1):
        driven = collect(
            driver, ENV_ID, episodes=DRIVEN, seed=TRACKS * SEED + EPISODES * cycle,
            patience=recipe.cycle_patience, folder=folder / f"driven-{cycle}", **given,
        )  # fmt: skip
        replay.extend(driven)
    return replay


def train(folder: Path, resume: bool) -> Denoiser:
    """The denoiser, and on the way there what it was after some updates."""

    def kept(updates: int, denoiser: Denoiser) -> None:
        made = made_by(seed=SEED, steps=updates, seconds=0.0)
        save_denoiser(folder / "on the way" / str(updates), denoiser, FRAME, ACTIONS, made)

    marks = [500, 1500, *range(3000, STEPS, 1000)]
    return train_denoiser(
        frames(folder), CONFIG, steps=STEPS, seed=SEED, folder=folder / "training", resume=resume,
        marks=marks, after=kept,
    )  # fmt: skip


def ship() -> None:
    """What a reader gets."""
    _, manifest = load_checkpoint(RUN / "training" / "denoiser.safetensors", "denoiser")
    save_denoiser(ARTIFACT, load_denoiser(RUN / "training"), FRAME, ACTIONS, manifest["made"])


@functools.cache
def questions() -> tuple[Agent, Moments, Errors]:
    """A moment of each of the drives, and what comes of it under the actions of another drive."""
    agent = Agent.load(SHIPPED)
    drives = compounding.drive(agent.policy(compounding.NOISE), DRIVES, TEST, 1, patience=100)
    taken = compounding.as_driven(drives, agent, 1)
    apart, whole = compounding.apart(taken, agent, 1)
    taken = taken._replace(rows=taken.rows[whole], drives=taken.drives[whole])
    return agent, taken, Errors(agent, frames(RUN).episodes[::PROBED], apart)


def seen_in(moments: Moments, offsets: np.ndarray) -> np.ndarray:
    """The real frames (M, T, H, W, C) so many decisions after (or before) the moments."""
    every = np.concatenate([np.asarray(episode.observations) for episode in moments.episodes])
    found: np.ndarray = every[moments.rows[:, None] + offsets]
    return found


def pictures(frames: Tensor) -> np.ndarray:
    """(..., C, H, W) in [-1, 1] as bytes (..., H, W, C)."""
    found: np.ndarray = ((frames + 1) / 2 * 255).round().byte().movedim(-3, -1).numpy()
    return found


Act = Callable[[np.ndarray], Tensor]
"""Newest frames (M, H, W, C) to actions (M, A)."""


class Dreamer(NamedTuple):
    """A denoiser and how it is asked."""

    denoiser: Denoiser
    sampler: SamplerConfig
    wide: bool
    """whether a frame begins with noise as wide as the first sigma, as the theory has it, and not
    with the authors' unit noise"""

    def film(self, moments: Moments, act: Act, horizon: int, seed: int) -> Iterator[np.ndarray]:
        """Frames (M, H, W, C) that are dreamed, one decision after the other."""
        before = np.arange(1 - CONFIG.denoiser.past, 1)
        newest = seen_in(moments, before)  # (M, L, H, W, C)
        seen = pixels(torch.from_numpy(newest))  # (M, L, C, H, W)
        chosen = torch.from_numpy(moments.codes.actions[moments.rows[:, None] + before[:-1]])
        sigmas, generator = schedule(self.sampler), torch.Generator().manual_seed(seed)
        width = sigmas[0] if self.wide else 1.0
        dream = film(
            self.denoiser, seen, chosen, lambda frame: act(pictures(frame)),
            lambda: width * torch.randn(seen[:, -1].shape, generator=generator), sigmas,
        )  # fmt: skip
        for _ in range(horizon):
            yield pictures(next(dream))


class Driver:
    """C at the wheel at M moments: V sees for it, and M remembers."""

    def __init__(self, agent: Agent, moments: Moments) -> None:
        starts = warm_up(agent.memory, moments.codes, compounding.WARM)
        at = {int(row): place for place, row in enumerate(starts.rows)}  # type: ignore[arg-type]
        begin = starts.take(np.array([at[row] for row in moments.rows]))
        self.agent, self.begin = agent, begin
        self.state = State(begin.hidden, begin.cell)

    @torch.no_grad()
    def __call__(self, frames: np.ndarray) -> Tensor:
        """What it does at frames (M, H, W, C)."""
        z = torch.from_numpy(encoded(self.agent, frames))
        action = self.agent.controller.act(torch.cat([z, self.state.hidden], 1)[None])[0]
        self.state = self.agent.memory.step(z, action, self.state)
        return action


class Handed:
    """C on a real track, to which somebody else hands the wheel after actions (T, A)."""

    def __init__(self, agent: Agent, actions: np.ndarray) -> None:
        self.driver, self.actions = agent.policy(), actions

    def reset(self, rng: np.random.Generator) -> None:
        self.driver.reset(rng)
        self.left = iter(torch.from_numpy(self.actions))

    @torch.no_grad()
    def act(self, observation: np.ndarray) -> np.ndarray:
        driver, action = self.driver, next(self.left, None)
        if action is None:
            return np.asarray(driver.act(observation))
        z = torch.from_numpy(driver.vision.encode(observation[None])[0])
        driver._state = driver.memory.step(z, action[None], driver._state)
        found: np.ndarray = action.numpy()
        return found


def driven_on(agent: Agent, moments: Moments) -> np.ndarray:
    """What C really sees (M, DRIVE, H, W, C) when it drives on; the last picture where it ends."""
    films = []
    for row, e in zip(moments.rows, moments.drives, strict=True):
        begin = row - moments.codes.first[e]
        episode = moments.episodes[e]
        env = gym.make(ENV_ID, **compounding.ENV_KWARGS)
        driver = Handed(agent, np.asarray(episode.actions[:begin]))
        went = run_episode(env, driver, episode.seed, max_steps=int(begin) + DRIVE)
        env.close()
        if not np.array_equal(went.observations[begin], episode.observations[begin]):
            raise RuntimeError(f"the replay of seed {episode.seed} is not the drive it repeats")
        places = np.arange(begin + 1, begin + DRIVE + 1).clip(max=len(went))
        films.append(np.asarray(went.observations)[places])
    return np.stack(films)


def dreamed_on(name: Row, agent: Agent, moments: Moments) -> np.ndarray:
    """What a dream shows (M, DRIVE, H, W, C) in which C drives; of M's, V shows it."""
    driver = Driver(agent, moments)
    if name["who"] == "denoiser":
        return np.stack(list(dreamer_of(name).film(moments, driver, DRIVE, 0)), 1)
    world = World(agent.memory)

    def act(features: Tensor) -> Tensor:
        action: Tensor = agent.controller.act(features[None])[0]
        return action

    begin, noise = world.begin(*driver.begin.dreamed().values()), torch.Generator().manual_seed(0)
    with torch.no_grad():
        codes = [step.state.z for step in steps(world, act, begin, DRIVE, noise)]
    return agent.vision.decode(torch.stack(codes, 1).numpy())  # (M, T, Z)


def meadow(films: np.ndarray) -> np.ndarray:
    """Which pixels (..., H, W) are grass: much greener than red or blue, as `grass` has it."""
    red, green, blue = np.moveaxis(films.astype(np.int16), -1, 0)
    found: np.ndarray = green > np.maximum(red, blue) + 40
    return found


def looks(films: np.ndarray) -> Row:
    """What pictures (..., H, W, C) keep of grass, squares and car, each a share in [0, 1]."""
    red, green, blue = np.moveaxis(films.astype(np.int16), -1, 0)
    grown = meadow(films)
    near = [abs(green - level) <= NEAR for level in GREENS]
    total = max(int(grown.sum()), 1)
    car = (red > np.maximum(green, blue) + 40)[..., *CAR].mean((-1, -2))
    return {
        "grass": float(grown.mean()),
        "squares": float((grown & near[1]).sum() / total),
        "crisp": float((grown & (near[0] | near[1])).sum() / total),
        "car": float((car >= 0.5).mean()),
    }


def stays(films: np.ndarray) -> Row:
    """How long a car stays on the road, in films (M, T, H, W, C): until half around it is grass."""
    share = np.stack([grass(film) for film in films])  # (M, T)
    off = share >= 0.5
    until = np.where(off.any(1), off.argmax(1), off.shape[1])
    return {
        "off": float(off.mean()),
        "until": [int(decision) for decision in until],
        "each": [round(float(part), 4) for part in off.mean(1)],
        **looks(films),
    }


def bends(films: np.ndarray, agent: Agent, errors: Errors) -> float:
    """How much the road bends, to either side, as the probe reads it off V's codes of films."""
    road = errors.look(encoded(agent, films))
    return float(np.abs(road[..., list(compounding.ROAD).index("curvature")]).mean())


class Told(NamedTuple):
    """Forecasts of the moments."""

    codes: np.ndarray
    """(D, M, AHEAD, Z)"""
    films: np.ndarray
    """(D, M, len(AT), H, W, C) uint8"""


def read(script: Iterator[Tensor], frames: np.ndarray) -> Tensor:
    """The next actions (M, A), whatever is seen."""
    return next(script)


def dreams_of(who: Row, agent: Agent, errors: Errors) -> Told:
    """What was dreamed from the moments, under the actions of the other drives."""
    moments, at = errors.moments, np.array(AT) - 1
    if who["who"] == "V and M":
        told = forecast(
            agent.memory, moments.codes, horizon=AHEAD, moments=moments.rows, dreams=DRAWS
        )
        return Told(told.codes, agent.vision.decode(told.codes[:, :, at]))
    dreamer, codes, films = dreamer_of(who), [], []
    actions = torch.from_numpy(moments.codes.actions[moments.rows[:, None] + np.arange(AHEAD)])
    for seed in range(DRAWS):
        script = iter(actions.movedim(1, 0))
        dream = dreamer.film(moments, functools.partial(read, script), AHEAD, seed)
        film = np.stack(list(dream), 1)  # (M, T, H, W, C)
        codes.append(encoded(agent, film))
        films.append(film[:, at])
    return Told(np.stack(codes), np.stack(films))


def dreamer_of(who: Row) -> Dreamer:
    sampler = SamplerConfig(steps=who["steps"])
    return Dreamer(load_denoiser(ARTIFACT), sampler, who["start"] == "wide")


def scored(missed: dict[str, np.ndarray], drives: np.ndarray) -> Row:
    """Errors (M, len(AT)) of each quantity: means, and 95 % intervals over drives."""
    weights = resampled(drives)
    return {
        what: {
            "mean": [float(f"{x:.4g}") for x in part.mean(0)],
            "interval95": [
                [float(f"{x:.4g}") for x in ends]
                for ends in np.quantile(weights @ part, [0.025, 0.975], axis=0).T
            ],
        }
        for what, part in missed.items()
    }


def of_pictures(films: np.ndarray) -> dict[str, np.ndarray]:
    """What pictures (..., H, W, C) show without anybody's code.

    Where there is grass (..., H, W), each pixel with the weight of its share in the picture; and
    how much of it is around the car (...).
    """
    around = grass(films.reshape(-1, *films.shape[-3:])).reshape(films.shape[:-3])
    return {
        "where grass is": meadow(films) / np.sqrt(np.prod(films.shape[-3:-1])),
        "on grass": around,
    }


def errors_of(told: Told, errors: Errors) -> Row:
    """Fair errors at the decisions AT, of all that is asked, and the spread between the dreams."""
    at = np.array(AT)
    codes = told.codes[:, :, at - 1]
    pairs = {
        "code": (codes, errors.real_codes[:, at]),
        "picture": (told.films / np.float32(255), seen_in(errors.moments, at) / np.float32(255)),
    }
    seen = of_pictures(told.films), of_pictures(seen_in(errors.moments, at))
    pairs |= {what: (seen[0][what], seen[1][what]) for what in seen[0]}
    road = errors.look(codes)
    for i, name in enumerate(compounding.ROAD):
        pairs[name] = road[..., i], errors.real_road[:, at, i]
    missed = {what: fair_errors(dreamed, came) for what, (dreamed, came) in pairs.items()}
    row = scored(missed, errors.moments.drives)
    for what, (dreamed, _) in pairs.items():
        row[what]["spread"] = [float(f"{x:.4g}") for x in spreads(dreamed).mean(0)]
    return row


def errors_of_guess(who: str, errors: Errors) -> Row:
    """The same of a guess that needs no model."""
    at, moments = np.array(AT) - 1, errors.moments
    among = [compounding.PICTURES.index(ahead) for ahead in AT]
    guessed = errors.of_guesses()[who]
    kept = {
        what: part[:, among if what == "picture" else at]
        for what, part in guessed.items() if what != "reward"
    }  # fmt: skip
    came, now = (
        of_pictures(seen_in(moments, offsets)) for offsets in (np.array(AT), np.zeros(1, int))
    )
    for what, part in came.items():
        guess = now[what] if who == "nothing changes" else errors._of_others(part)
        missed = np.square(guess - part)
        kept[what] = missed.sum(tuple(range(2, missed.ndim)))
    return scored(kept, moments.drives)


def seconds_of_a_frame(who: Row, agent: Agent, moments: Moments, number: int = 30) -> float:
    """Processor time of one dreamed frame, one dream at a time: the median of some."""
    one = moments._replace(rows=moments.rows[:1], drives=moments.drives[:1])
    took = []
    if who["who"] == "denoiser":
        still = torch.zeros(1, ACTIONS)
        film = dreamer_of(who).film(one, lambda _: still, number, 0)
        for _ in range(number):
            began = time.process_time()
            next(film)
            took.append(time.process_time() - began)
        return float(np.median(took))
    world, begin = World(agent.memory), Driver(agent, one).begin
    dream = steps(
        world, torch.zeros(1, number, ACTIONS), world.begin(*begin.dreamed().values()), number
    )
    with torch.no_grad():
        for _ in range(number):
            began = time.process_time()
            agent.vision.decode(next(dream).state.z.numpy())
            took.append(time.process_time() - began)
    return float(np.median(took))


def measure(name: Row) -> Row:
    """One row of the result."""
    torch.set_num_threads(1)
    agent, taken, errors = questions()
    who, row = name["who"], {**name, "moments": len(taken.rows)}
    real = seen_in(errors.moments, np.array(AT))  # (M, len(AT), H, W, C)
    if who in ("nothing changes", "the mean"):
        return row | {"errors": errors_of_guess(who, errors)}
    if who == "V's copy":
        return row | {"looks": each_looks(agent.vision.decode(encoded(agent, real)))}
    if who == "real":
        row["looks"], films = each_looks(real), driven_on(agent, taken)
    else:
        told = dreams_of(name, agent, errors)
        row["errors"], row["looks"] = errors_of(told, errors), each_looks(told.films)
        row["milliseconds"] = round(1000 * seconds_of_a_frame(name, agent, taken), 2)
        films = dreamed_on(name, agent, taken)
    return row | {"driven": stays(films) | {"bend": bends(films, agent, errors)}}


def encoded(agent: Agent, films: np.ndarray) -> np.ndarray:
    """V's codes (..., Z) of pictures."""
    return agent.vision.encode(films)[0]


def each_looks(films: np.ndarray) -> list[Row]:
    """What pictures (..., len(AT), H, W, C) keep, decision by decision."""
    return [looks(films[..., t, :, :, :]) for t in range(len(AT))]


def about(rows: list[Row]) -> Row:
    """What the rows were made with."""
    _, manifest = load_checkpoint(ARTIFACT / "denoiser.safetensors", "denoiser")
    return {
        "made": {
            "command": "python benchmarks/diamond_car_racing.py", "learned_from": frames(RUN).steps,
            "weights": {key: manifest[key] for key in ("sha256", "parameters", "made")},
            "at": AT, "draws": DRAWS, "decisions_driven": DRIVE,
            **machine(("torch", "numpy", "gymnasium")),
        }
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parts = ("train", "ship", "measure")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--resume", action="store_true", help="go on with the training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if "train" in options.parts:
        train(RUN, options.resume)
    if "ship" in options.parts:
        ship()
    if "measure" in options.parts:
        fill(OUT, NAMES, measure, about, shown=("who", "steps", "start", "milliseconds"))


if __name__ == "__main__":
    main()
