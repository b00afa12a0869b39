"""CMA-ES of wmlib against pycma: evaluations to 1e-8, success rates, time of a generation.

    OMP_NUM_THREADS=1 python benchmarks/evolution.py [--quick] [--output FILE]

Eight functions, n = 2, 10 and 40, written to benchmarks/results/evolution.json with every single
run. For each seed both optimisers get the same start, the same rotation, and the same normal
numbers (pycma's option `randn`), so that some of the luck is shared. Each stops by its own default
criteria, or when a value of 1e-8 was seen: a success. Where runs are cheap there are more seeds
than the first 15: the median of 15 short runs is itself no better known than to 10 %. The interval
of a ratio of medians is a bootstrap over seeds, 95 %.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cma
import numpy as np
from scipy.stats import fisher_exact
from tqdm import tqdm

from wmlib.agents.world_models.evolution import CMAES
from wmlib.agents.world_models.evolution_settings import CMAESConfig

Batch = Callable[[np.ndarray], np.ndarray]
TARGET = 1e-8
SEEDS = {2: 201, 10: 61, 40: 15}  # dimension: seeds 1 to this


def sphere(x: np.ndarray) -> np.ndarray:
    return (x**2).sum(axis=1)


def ellipsoid(x: np.ndarray) -> np.ndarray:
    return (np.logspace(0, 6, x.shape[1]) * x**2).sum(axis=1)


def cigar(x: np.ndarray) -> np.ndarray:
    return x[:, 0] ** 2 + 1e6 * (x[:, 1:] ** 2).sum(axis=1)


def discus(x: np.ndarray) -> np.ndarray:
    return 1e6 * x[:, 0] ** 2 + (x[:, 1:] ** 2).sum(axis=1)


def different_powers(x: np.ndarray) -> np.ndarray:
    return (np.abs(x) ** np.linspace(2, 6, x.shape[1])).sum(axis=1)


def rosenbrock(x: np.ndarray) -> np.ndarray:
    x = x + 1  # the optimum at 0, as in all the others
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(axis=1)


def rastrigin(x: np.ndarray) -> np.ndarray:
    return (x**2 - 10 * np.cos(2 * np.pi * x) + 10).sum(axis=1)


def ackley(x: np.ndarray) -> np.ndarray:
    distance = np.sqrt((x**2).mean(axis=1))
    waves = np.cos(2 * np.pi * x).mean(axis=1)
    return 20 - 20 * np.exp(-0.2 * distance) + np.e - np.exp(waves)


@dataclass(frozen=True)
class Problem:
    """A function, where the start is drawn from, and what is compared."""

    function: Batch
    unimodal: bool  # compare the median of the evaluations; else the success rate
    reach: float  # the start is uniform in [-reach, reach]^n
    sigma: float  # initial step size
    rotated: bool = True
    population: tuple[int | None, int | None, int | None] = (None, None, None)  # for n = 2, 10, 40


PROBLEMS = {
    "sphere": Problem(sphere, True, 3, 1, rotated=False),
    "ellipsoid": Problem(ellipsoid, True, 3, 1),
    "cigar": Problem(cigar, True, 3, 1),
    "discus": Problem(discus, True, 3, 1),
    "different powers": Problem(different_powers, True, 3, 1),
    "Rosenbrock": Problem(rosenbrock, False, 2, 0.5),
    # Populations and steps that make success neither certain nor hopeless, as far as that goes.
    # (Beyond the default population pycma damps the step size more than the tutorial does: as many
    # successes, more evaluations.)
    "Rastrigin": Problem(rastrigin, False, 5, 2, population=(20, 200, 700)),
    "Ackley": Problem(ackley, False, 30, 1),
}


def instance(problem: Problem, n: int, seed: int) -> tuple[Batch, np.ndarray]:
    """The function of this seed, (P, n) -> (P,), and its start (n,)."""
    rng = np.random.default_rng([seed, n])
    start = rng.uniform(-problem.reach, problem.reach, n)
    if not problem.rotated:
        return problem.function, start
    rotation, _ = np.linalg.qr(rng.standard_normal((n, n)))  # (n, n)
    return lambda x: problem.function(x @ rotation.T), start


def run_wmlib(
    f: Batch, start: np.ndarray, sigma: float, population: int | None, seed: int, **options
) -> tuple[int, bool]:
    """(evaluations, success) of one run of `wmlib.agents.world_models.evolution.CMAES`."""
    config = CMAESConfig(sigma, population=population, ftarget=TARGET, **options)
    es = CMAES(start, config, seed)
    while not es.stop():
        x = es.ask()
        es.tell(x, f(x))
    return es.evaluations, es.best.value <= TARGET


def run_pycma(
    f: Batch, start: np.ndarray, sigma: float, population: int | None, seed: int, **options
) -> tuple[int, bool]:
    """(evaluations, success) of one run of `cma.CMAEvolutionStrategy`."""
    es = pycma(start, sigma, population, seed, ftarget=TARGET, **options)
    while not es.stop():
        x = es.ask()
        es.tell(x, f(np.array(x)).tolist())
    return int(es.countevals), bool(es.best.f <= TARGET)


def pycma(
    start: np.ndarray, sigma: float, population: int | None, seed: int, **options
) -> cma.CMAEvolutionStrategy:
    """pycma with all its defaults, quiet, on the normal numbers that wmlib would draw."""
    rng = np.random.default_rng(seed)
    options |= {"verbose": -9, "signals_filename": "", "seed": np.nan}
    options["randn"] = lambda count, n: rng.standard_normal((count, n))
    if population is not None:
        options["popsize"] = population
    return cma.CMAEvolutionStrategy(start, sigma, options)


def compare(name: str, n: int, seeds: int, bar: tqdm) -> dict:
    """All runs of both on one problem in one dimension, and what they amount to."""
    problem = PROBLEMS[name]
    population = problem.population[[*SEEDS].index(n)]
    runs: dict[str, list[tuple[int, bool]]] = {"wmlib": [], "pycma": []}
    for seed in range(1, seeds + 1):
        f, start = instance(problem, n, seed)
        for library, run in (("wmlib", run_wmlib), ("pycma", run_pycma)):
            runs[library].append(run(f, start, problem.sigma, population, seed))
        bar.update()
    return {"function": name, "n": n, "population": population} | summary(runs)


def median(runs: np.ndarray) -> float:
    """Of the evaluations of the successful ones among runs (R, 2); nan if there are none."""
    solved = runs[runs[:, 1] > 0, 0]
    return float(np.median(solved)) if len(solved) else np.nan


def summary(runs: dict[str, list[tuple[int, bool]]]) -> dict:
    """Medians of the evaluations of successful runs, successes, and the tests between the two."""
    ours, theirs = np.array(runs["wmlib"], float), np.array(runs["pycma"], float)  # (R, 2) each
    count = len(ours)
    successes = [int(r[:, 1].sum()) for r in (ours, theirs)]
    result: dict = {
        library: {"evaluations": r[:, 0].astype(int).tolist(), "success": r[:, 1].tolist()}
        | {"successes": int(r[:, 1].sum()), "median": median(r) if r[:, 1].any() else None}
        for library, r in (("wmlib", ours), ("pycma", theirs))
    }
    if all(successes):
        draws = np.random.default_rng(0).integers(count, size=(2000, count))
        ratios = [median(ours[draw]) / median(theirs[draw]) for draw in draws]
        result["ratio of medians"] = median(ours) / median(theirs)
        result["interval of the ratio"] = np.nanquantile(ratios, [0.025, 0.975]).tolist()
        result["ratio of medians, first 15 seeds"] = median(ours[:15]) / median(theirs[:15])
    failures = [count - s for s in successes]
    result["p of equal success rates (Fisher)"] = float(fisher_exact([successes, failures]).pvalue)
    return result


def generation_times(n: int = 867, generations: int = 48, repeats: int = 3) -> dict:
    """Seconds of ask + tell, both libraries in turn, generation by generation; the function that
    is minimised is free (its values are the rank of the first parameter)."""
    times: dict[str, list[float]] = {}
    for repeat in range(repeats):
        config = CMAESConfig(sigma=0.1)
        contestants = {
            "wmlib full": CMAES(np.zeros(n), config, repeat),
            "pycma full": pycma(np.zeros(n), 0.1, None, repeat),
            "pycma full, CSA": pycma(
                np.zeros(n), 0.1, None, repeat, AdaptSigma=cma.sigma_adaptation.CMAAdaptSigmaCSA
            ),
            "wmlib separable": CMAES(np.zeros(n), CMAESConfig(0.1, separable=True), repeat),
            "pycma separable": pycma(np.zeros(n), 0.1, None, repeat, CMA_diagonal=True),
        }
        totals = dict.fromkeys(contestants, 0.0)
        for _ in range(generations):  # several whole periods of the lazy decomposition
            for library, es in contestants.items():
                start = time.perf_counter()
                x = es.ask()
                asked = time.perf_counter()
                values = [float(candidate[0]) for candidate in x]
                told = time.perf_counter()
                es.tell(x, values)
                totals[library] += asked - start + time.perf_counter() - told
        for library, total in totals.items():
            times.setdefault(library, []).append(total / generations)
    best = {library: min(seconds) for library, seconds in times.items()}
    return {
        "n": n,
        "population": CMAES(np.zeros(n), CMAESConfig(0.1), 0).population,
        "seconds a generation, each repeat": times,
        "ratio full": best["wmlib full"] / best["pycma full"],
        "ratio full, both CSA": best["wmlib full"] / best["pycma full, CSA"],
        "ratio separable": best["wmlib separable"] / best["pycma separable"],
    }


def grid(seeds: dict[int, int]) -> list[dict]:
    """Every function in every dimension."""
    with tqdm(total=len(PROBLEMS) * sum(seeds.values()), unit="seed") as bar:
        return [compare(name, n, seeds[n], bar) for n in seeds for name in PROBLEMS]


def separable(n: int, seeds: int) -> dict:
    """The separable variants of both, and the full one, on the ellipsoid that is not rotated."""
    runs: dict[str, list[tuple[int, bool]]] = {"wmlib": [], "pycma": []}
    full = []
    for seed in range(1, seeds + 1):
        start = np.random.default_rng([seed, n]).uniform(-3, 3, n)
        runs["wmlib"].append(run_wmlib(ellipsoid, start, 1, None, seed, separable=True))
        runs["pycma"].append(run_pycma(ellipsoid, start, 1, None, seed, CMA_diagonal=True))
        full.append(run_wmlib(ellipsoid, start, 1, None, seed))
    result = {"function": "ellipsoid, not rotated", "n": n} | summary(runs)
    result["wmlib full, median"] = float(np.median([evaluations for evaluations, _ in full]))
    return result


def table(results: list[dict]) -> str:
    """One line a cell: medians, their ratio and its interval, successes."""
    head = f"{'function':<18}{'n':>3}{'wmlib':>8}{'pycma':>8}{'ratio':>7}{'interval':>14}"
    lines = [head + f"{'first 15':>10}{'successes':>13}{'p':>6}"]
    for r in results:
        ours, theirs = r["wmlib"], r["pycma"]
        low, high = r.get("interval of the ratio", (np.nan, np.nan))
        first = r.get("ratio of medians, first 15 seeds", np.nan)
        successes = f"{ours['successes']}:{theirs['successes']}/{len(ours['success'])}"
        lines.append(
            f"{r['function']:<18.18}{r['n']:>3}{ours['median'] or np.nan:>8.0f}"
            f"{theirs['median'] or np.nan:>8.0f}{r.get('ratio of medians', np.nan):>7.3f}"
            f"{f'{low:.3f}-{high:.3f}':>14}{first:>10.3f}{successes:>13}"
            f"{r['p of equal success rates (Fisher)']:>6.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="few seeds, n = 2 and 10: half a minute"
    )
    default = Path(__file__).parent / "results" / "evolution.json"
    parser.add_argument("--output", type=Path, default=default, help="default: %(default)s")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # pycma's, on large populations and small dimensions
    started = time.perf_counter()
    seeds = {2: 15, 10: 5} if arguments.quick else SEEDS
    report = {
        "quick": arguments.quick,
        "target": TARGET,
        "seeds": seeds,
        "generation at n = 867": generation_times(repeats=1 if arguments.quick else 5),
        "separable": separable(10, 5) if arguments.quick else separable(40, 15),
        "grid": grid(seeds),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pycma": cma.__version__,
            "machine": platform.machine(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        },
    }
    report["seconds"] = round(time.perf_counter() - started)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = arguments.output.with_suffix(".part")
    unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, arguments.output)
    print(table([*report["grid"], report["separable"]]))
    for key, value in report["generation at n = 867"].items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    main()
