"""Chapter 4 measured: three searches for a linear C on CartPole, and two of them on CarRacing.

    python benchmarks/controller.py pole
    python benchmarks/controller.py car --jobs 2

Both write benchmarks/results/controller.json, every run of it. A run that is killed goes on with
the rows it lacks; do not run two at once.

`pole`: 50 runs of each search, side by side. `searches` compares the article's strategy, CMA-ES and
random search, all with 16 candidates and 4 episodes for each; `rollouts` is CMA-ES with 1, 4 and 16
episodes for each candidate and 1,024 in all; `elites` the article's strategy with 1, 4 and 16
parents and one episode. A curve has for each generation the return, over 16 new episodes, of what
one would take home: the mean of the Gaussian, or the best controller drawn so far. `agreement` is
Spearman's between the ranking of 16 candidates by few episodes and that by 64 others.

`car`: C reads four numbers of the car's own (speed, offset, angle, bend) in place of [z, h]. Ten
generations of 12 candidates on two tracks of 300 frames each, ten seeds of each strategy. Then each
result drives 8 new tracks for 300 frames, and 12 new ones for 1,000. The champion is the CMA-ES run
whose last generation had the highest mean return: chosen by the search, before any test.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import joblib
import numpy as np
import torch
from tqdm import tqdm

from wmlib.agents.world_models.controller import ControllerConfig, LinearController
from wmlib.agents.world_models.evolution import CMAES
from wmlib.agents.world_models.evolution_settings import CMAESConfig
from wmlib.storage import write_atomically

OUT = Path(__file__).parent / "results" / "controller.json"
Row = dict[str, Any]

POLE = ControllerConfig(latent=4, hidden=0, squash=("tanh",))
POLE_SEEDS, TESTS = 50, 16
COUNTS = (1, 2, 4, 8, 16)  # episodes by which candidates are ranked

CAR = ControllerConfig(latent=4, hidden=0)
UNITS = np.array([50, 5, 0.5, 0.05], np.float32)  # units/s, units, rad, rad/unit: about one each
CAR_SEEDS, RANDOM = range(0, 20, 2), 20
GENERATIONS, CANDIDATES, TRACKS = 10, 12, 2
SHORT, LAP, PATIENCE = 300, 1000, 15  # frames, frames, decisions without a new tile
SHORT_TRACKS, LAP_TRACKS = range(8), range(100, 112)  # a search draws its own from 1,000 on


class Search(Protocol):
    """What is asked for candidates and told their values, of which the lower is the better."""

    mean: Any
    population: int

    def ask(self) -> np.ndarray: ...

    def tell(self, candidates: np.ndarray, values: np.ndarray) -> None: ...


class RoundES:
    """The article's `cma_es`, to be asked and told; a test holds it to `wmlib.scratch`."""

    def __init__(
        self, n: int, seed: int, population: int = 32, sigma: float = 0.5, elite: int | None = None
    ) -> None:
        self.mean, self.sigma, self.population = np.zeros(n), sigma, population
        self.elite = elite or population // 4
        self._rng = np.random.default_rng(seed)

    def ask(self) -> np.ndarray:
        noise = self._rng.standard_normal((self.population, len(self.mean)))
        return self.mean + self.sigma * noise  # (P, n)

    def tell(self, candidates: np.ndarray, values: np.ndarray) -> None:
        best = np.argsort(values)[: self.elite]
        self.mean = candidates[best].mean(axis=0)
        self.sigma *= 0.995


class RandomSearch:
    """Draws around zero for ever; its `mean` is the best one so far."""

    def __init__(self, n: int, seed: int, population: int, sigma: float = 0.5) -> None:
        self.mean, self.sigma, self._value = np.zeros(n), sigma, np.inf
        self.population, self._rng = population, np.random.default_rng(seed)

    def ask(self) -> np.ndarray:
        return self.sigma * self._rng.standard_normal((self.population, len(self.mean)))  # (P, n)

    def tell(self, candidates: np.ndarray, values: np.ndarray) -> None:
        if values.min() < self._value:
            self._value = values.min()
            self.mean = candidates[values.argmin()]


def cma_es(seed: int) -> CMAES:
    return CMAES(np.zeros(5), CMAESConfig(0.5, population=16), seed)


SEARCHES: dict[str, Callable[[int], Search]] = {
    "random search": lambda seed: RandomSearch(5, seed, 16),
    "the article's ES": lambda seed: RoundES(5, seed, 16),
    "CMA-ES": cma_es,
}


def balance(genomes: np.ndarray, seed: Sequence[int]) -> np.ndarray:
    """One episode of CartPole for each genome (N, 5): its return (N,)."""
    n = len(genomes)
    poles = gym.make_vec("CartPole-v1", num_envs=n, vectorization_mode="vector_entry_point")
    state, _ = poles.reset(seed=int(np.random.SeedSequence(seed).generate_state(1)[0]))  # (N, 4)
    controllers = LinearController(genomes, POLE)
    alive, returns = np.ones(n, bool), np.zeros(n)
    while alive.any():
        push = controllers.act(torch.from_numpy(state)[:, None])[:, 0, 0]  # (N,)
        state, _, fallen, late, _ = poles.step((push > 0).int().numpy())
        returns += alive
        alive &= ~(fallen | late)
    poles.close()
    return returns


def evolve(runs: Sequence[Search], rollouts: int, generations: int, name: int) -> np.ndarray:
    """Evolve several runs side by side; (runs, G + 1) returns of what each would take home."""
    s, p, n = len(runs), runs[0].population, len(runs[0].mean)
    curve = []
    for generation in tqdm(range(generations + 1), unit="generation", leave=False):
        asked = np.stack([es.ask() for es in runs])  # (S, P, n)
        means = np.stack([es.mean for es in runs])[:, None]  # (S, 1, n)
        genomes = np.concatenate([asked.repeat(rollouts, 1), means.repeat(TESTS, 1)], 1)
        returns = balance(genomes.reshape(-1, n), [name, generation]).reshape(s, -1)
        tried, tested = np.split(returns, [p * rollouts], axis=1)
        curve.append(tested.mean(1))
        scores = tried.reshape(s, p, rollouts).mean(2)  # (S, P)
        for es, x, score in zip(runs, asked, scores, strict=True):
            es.tell(x, -score)
    return np.stack(curve, 1)


def searched(make: Callable[[int], Search], rollouts: int, generations: int, name: int) -> Row:
    """The curves of all seeds, and after how many episodes each point of them stands."""
    runs = [make(seed) for seed in range(POLE_SEEDS)]
    curve = evolve(runs, rollouts, generations, name)  # (seeds, G + 1)
    each = runs[0].population * rollouts
    return {"episodes": [each * g for g in range(generations + 1)], "returns": curve.tolist()}


def agreement(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's correlation along the last axis."""
    a, b = (x.argsort(-1).argsort(-1) - (x.shape[-1] - 1) / 2 for x in (a, b))
    correlation: np.ndarray = (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return correlation


def judged() -> Row:
    """How well few episodes rank the candidates of a search that is half-way."""
    runs = [cma_es(seed) for seed in range(POLE_SEEDS)]
    evolve(runs, rollouts=4, generations=8, name=20)
    asked = np.concatenate([es.ask() for es in runs])  # (S P, n)
    episodes = balance(asked.repeat(128, 0), [21]).reshape(POLE_SEEDS, 16, 128)
    truth = episodes[..., 64:].mean(-1)  # (S, P)
    rows = [
        np.mean([agreement(episodes[..., k : k + r].mean(-1), truth) for k in range(0, 64, 16)], 0)
        for r in COUNTS
    ]  # (counts, S)
    return {"episodes": COUNTS, "rows": np.transpose(rows).round(4).tolist()}


def pole() -> Row:
    """All of CartPole."""
    chance = balance(np.random.default_rng(0).standard_normal((20_000, 5)), [0])
    return {
        "seeds": POLE_SEEDS,
        "chance": {
            "controllers": len(chance), "mean": chance.mean(), "longest": int((chance == 500).sum())
        },
        "searches": {
            name: searched(make, 4, 24, 1 + i) for i, (name, make) in enumerate(SEARCHES.items())
        },
        "agreement": judged(),
        "rollouts": {str(r): searched(cma_es, r, 64 // r, 30 + r) for r in (1, 4, 16)},
        "elites": {
            str(e): searched(lambda seed, e=e: RoundES(5, seed, 16, elite=e), 1, 40, 60 + e)
            for e in (1, 4, 16)
        },
    }  # fmt: skip


def drive(genome: np.ndarray, tracks: Sequence[int], frames: int) -> list[float]:
    """Return of one C (15,) on each track."""
    torch.set_num_threads(1)
    env = gym.make("wmlib/CarRacing-v3", action_repeat=4, max_frames=frames)
    controller, returns = LinearController(genome, CAR), []
    for track in tracks:
        _, info = env.reset(seed=int(track))
        total, waited, over = 0.0, 0, False
        while not over and waited < PATIENCE:
            state = torch.from_numpy(info["car"][3:] / UNITS)  # (4,)
            action = controller.act(state[None, None])[0, 0].numpy()  # (3,)
            _, reward, ended, cut, info = env.step(action)
            total, over = total + float(reward), ended or cut
            waited = 0 if info["new_tiles"] else waited + 1
        returns.append(round(total, 2))
    env.close()
    return returns


def driver(method: str, seed: int) -> Row:
    """One search on the car, and what its result is worth."""
    es: Search = (
        CMAES(np.zeros(15), CMAESConfig(0.5, CANDIDATES), seed)
        if method == "CMA-ES"
        else RoundES(15, seed, CANDIDATES)
    )
    rng, history = np.random.default_rng([seed, 1]), []
    for _ in range(GENERATIONS):
        x = es.ask()
        on = rng.integers(1000, 10**6, TRACKS)  # the same tracks for all
        returns = np.array([drive(genome, on, SHORT) for genome in x]).mean(1)  # (P,)
        es.tell(x, -returns)
        history.append(round(float(returns.mean()), 2))
    return {"method": method, "seed": seed, "history": history, **tested(es.mean)}


def tested(genome: np.ndarray) -> Row:
    """Its numbers, and its returns on tracks that no search has seen."""
    genome = np.asarray(genome).round(6)  # what is written is what is tested
    return {
        "genome": genome.tolist(),
        "short": drive(genome, SHORT_TRACKS, SHORT),
        "laps": drive(genome, LAP_TRACKS, LAP),
    }


def car(report: Row, jobs: int) -> None:
    """All of CarRacing; every finished run is written at once."""
    rows: list[Row] = report.setdefault("car", {}).setdefault("drivers", [])
    plain = [np.zeros(15), *np.random.default_rng(0).normal(0, 0.5, (RANDOM, 15))]
    work = joblib.Parallel(n_jobs=jobs, return_as="generator")
    if "random" not in report["car"]:
        report["car"]["zero"], *report["car"]["random"] = work(map(joblib.delayed(tested), plain))
        write(report)
    done = {(row["method"], row["seed"]) for row in rows}
    wanted = [(m, s) for s in CAR_SEEDS for m in ("the article's ES", "CMA-ES")]
    lacking = [job for job in wanted if job not in done]
    results = work(joblib.delayed(driver)(*job) for job in lacking)
    for row in tqdm(results, total=len(lacking), unit="driver"):
        rows.append(row)
        write(report)
    learned = [row for row in rows if row["method"] == "CMA-ES"]
    report["car"]["champion"] = max(learned, key=lambda row: row["history"][-1])["seed"]
    report["car"]["episodes"] = GENERATIONS * CANDIDATES * TRACKS
    report["car"] |= {"short_tracks": list(SHORT_TRACKS), "lap_tracks": list(LAP_TRACKS)}
    write(report)


def write(report: Row) -> None:
    """One list of numbers a line."""
    text = json.dumps(report, indent=1)
    text = re.sub(r"(?<=\d,)\n *(?=[-\d])", " ", text)
    text = re.sub(r"(?<=\[)\n *(?=[-\d])|(?<=\d)\n *(?=\])", "", text)
    write_atomically(OUT, (text + "\n").encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("pole", "car"))
    parser.add_argument("--jobs", type=int, default=2, help="processes for the car")
    options = parser.parse_args()
    torch.set_num_threads(1)
    report: Row = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    report["made"] = {
        "commands": ["python benchmarks/controller.py pole", "python benchmarks/controller.py car"],
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "torch", "gymnasium")},
        "machine": platform.machine(),
    }
    if options.what == "pole":
        report["pole"] = pole()
        write(report)
    else:
        car(report, options.jobs)


if __name__ == "__main__":
    main()
