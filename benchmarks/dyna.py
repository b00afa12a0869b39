"""Dyna measured: Sutton & Barto's figures in mazes, and what k imagined updates buy on CartPole.

    python benchmarks/dyna.py mazes
    python benchmarks/dyna.py cartpole --seeds 5 --jobs 2

Both write benchmarks/results/dyna.json. A run that is killed goes on with the rows it lacks; do not
run two at once.

`mazes`: figures 8.2, 8.4 and 8.5 and example 8.4 of the book (second edition). Step sizes, planning
steps and bonuses that its text does not give are those of S. Zhang's re-implementation.

`cartpole`: the article's `dyna_train` on CartPole-v1 with networks, for several k, and its control
`replay_train`, which makes the same number of updates from replayed real transitions and has no
model. Every EVERY real steps the greedy policy, which learns nothing from it, plays RUNS episodes.
A run has reached the goal when the mean return of its last LAST such examinations is at least GOAL;
if it has not within BUDGET real steps it is censored: its number of steps is null, and counts as at
least BUDGET wherever it is averaged.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import gymnasium as gym
import joblib
import numpy as np
import torch

from wmlib.agents.dyna.buffer import CARTPOLE_SCALE, TransitionBuffer
from wmlib.agents.dyna.interaction import episode_lengths, live
from wmlib.agents.dyna.model import NeuralModel, NeuralModelConfig
from wmlib.agents.dyna.neural import NeuralPolicy, NeuralPolicyConfig
from wmlib.agents.dyna.tables import DynaConfig
from wmlib.agents.dyna.tabular import DynaQ, PrioritizedSweeping
from wmlib.agents.dyna.value_iteration import greedy_path, value_iteration
from wmlib.envs.layouts import DYNA, Layout
from wmlib.envs.maze import Maze, blocking_maze, shortcut_maze
from wmlib.scratch import dyna_train, replay_train
from wmlib.storage import write_atomically

OUT = Path(__file__).parent / "results" / "dyna.json"
Row = dict[str, Any]

# CartPole
KS = (0, 1, 2, 5, 10, 20)
EVERY, RUNS, LAST, GOAL, BUDGET = 250, 20, 4, 400.0, 60_000
EXAMINATION_SEED = 1_000_000  # of the examinations' first states; no learner trains on it

# Mazes: how to make it, real steps, the step of the change, n, kappa of Dyna-Q+
CHANGES = {
    "figure 8.4": (blocking_maze, 3000, 1000, 10, 1e-4),
    "figure 8.5": (shortcut_maze, 6000, 3000, 50, 1e-3),
}
MAZE_RUNS, EPISODES, POINTS = 30, 50, 60
SWEEP_SEEDS, SWEEP_CAP = 10, 2_000_000
SCALES = ((1, 1), (1, 2), (2, 2), (2, 4), (4, 4))  # of the Dyna maze: 47 states to 752


def figure_8_2(n: int) -> Row:
    """Steps per episode on the Dyna maze, and the episode at which they are near the optimum."""
    lengths = np.array(
        [
            episode_lengths(DynaQ(maze, DynaConfig(planning=n), seed=seed), maze, EPISODES)
            for seed in range(MAZE_RUNS)
            for maze in [Maze()]
        ]
    )  # fmt: skip  (runs, episodes)
    near = 1.25 * steps_of_best_exploring()
    draws = np.random.default_rng(0).integers(MAZE_RUNS, size=(2000, MAZE_RUNS))
    return {
        "first_episodes": lengths[:, 0].tolist(),
        **curve("steps", lengths),
        "near_optimal": round(near, 2),
        "episodes_to_near_optimal": first_below(lengths.mean(0), near),
        "interval": interval(first_below(lengths[draw].mean(0), near) for draw in draws),
    }


def first_below(steps: np.ndarray, bound: float) -> int:
    """The first episode, from 1, whose mean number of steps is at most `bound`."""
    below = np.flatnonzero(steps <= bound)
    return int(below[0]) + 1 if len(below) else len(steps) + 1


def steps_of_best_exploring(epsilon: float = DynaConfig.exploration) -> float:
    """Expected steps of the optimal policy that explores: linear equations; 1: a random walk."""
    maze = Maze()
    after, _ = maze.transitions()
    values = value_iteration(*maze.transitions(), DynaConfig.discount)
    best = np.isclose(values, values.max(1, keepdims=True))  # (S, A)
    chance = (1 - epsilon) * best / best.sum(1, keepdims=True) + epsilon / 4
    matrix = np.eye(len(after))
    for s, a in zip(*np.nonzero(after >= 0), strict=True):
        matrix[s, after[s, a]] -= chance[s, a]
    return float(np.linalg.solve(matrix, np.ones(len(after)))[maze.state(maze.layout.start)])


def changing(figure: str, kappa: float) -> Row:
    """Cumulative reward around a change of the walls, and what each run made of it."""
    make, total, change, n, _ = CHANGES[figure]
    rewards, recovery, plans = [], [], []
    for seed in range(MAZE_RUNS):
        maze = make()
        agent = DynaQ(maze, DynaConfig(step_size=1.0, planning=n, bonus=kappa), seed=seed)
        steps = list(islice(live(agent, maze), total))
        rewards.append(np.cumsum([step.reward for step in steps]))
        late = [t for t, step in enumerate(steps, 1) if step.done and t > change]
        recovery.append(late[1] - change if len(late) > 1 else None)
        believed = agent.model.next_states
        exact = value_iteration(believed, agent.model.rewards, DynaConfig.discount)
        start = maze.state(maze.layout.start)
        path = greedy_path(exact, believed, start)
        # an untried pair is -1 as well: without a known way, a path may seem to end in one
        plans.append(len(path) - 1 if exact[start].max() > 0 else None)
    every = total // POINTS
    return {
        "every": every,
        **curve("reward", np.array(rewards)[:, every - 1 :: every]),
        # real steps from the change to the end of the first episode begun after it; null: never
        "recovery": recovery,
        # steps of the best way in what each run believes at the end; null: it knows none
        "plan": plans,
        "shortest": maze.layout.shortest_path(),
    }


def example_8_4(scale: tuple[int, int], agent_class: type[DynaQ], step_size: float) -> Row:
    """Updates and real steps until the greedy path is at most 20 % too long, and until shortest.

    null: not within SWEEP_CAP updates or real steps.
    """
    layout = Layout.parse(DYNA).scaled(*scale)
    best = layout.shortest_path()
    result: Row = {
        "states": layout.rows * layout.columns - len(layout.walls), "shortest": best,
        **{f"{what}_{goal}": [] for goal in ("near", "optimal") for what in ("updates", "steps")},
    }  # fmt: skip
    for seed in range(SWEEP_SEEDS):
        maze = Maze(layout)
        agent = agent_class(maze, DynaConfig(step_size=step_size), seed=seed)
        after, start = maze.transitions()[0].tolist(), maze.state(layout.start)
        looked, found = 0, {}
        for _ in live(agent, maze):
            if agent.updates < looked + best and maze.steps < SWEEP_CAP:
                continue  # look as often as the path is long
            looked = agent.updates
            path = greedy_path(agent.policy.rows, after, start)
            length = len(path) - 1 if path[-1] == -1 else math.inf
            for goal, enough in (("near", 1.2 * best), ("optimal", best)):
                if length <= enough:
                    found.setdefault(goal, (agent.updates, maze.steps))
            if "optimal" in found or max(agent.updates, maze.steps) >= SWEEP_CAP:
                break
        for goal in ("near", "optimal"):
            updates, steps = found.get(goal, (None, None))
            result[f"updates_{goal}"].append(updates)
            result[f"steps_{goal}"].append(steps)
    return result


def curve(name: str, runs: np.ndarray) -> Row:
    """Mean and standard error of (runs, points)."""
    error = runs.std(0, ddof=1) / math.sqrt(len(runs))
    return {name: runs.mean(0).round(2).tolist(), f"{name}_error": error.round(2).tolist()}


def interval(values: Iterable[float]) -> list[float]:
    """The middle 95 %."""
    return np.quantile(list(values), [0.025, 0.975]).tolist()


class Examined(gym.Wrapper):
    """CartPole that counts real steps, examines the learner, and says when it is `finished`."""

    def __init__(self, policy: NeuralPolicy) -> None:
        super().__init__(gym.make("CartPole-v1"))
        self.policy = policy
        self.hall = gym.make_vec(
            "CartPole-v1", num_envs=RUNS, vectorization_mode="vector_entry_point"
        )
        self.real_steps = 0
        self.scores: list[float] = []
        self.finished = False

    @property
    def reached(self) -> bool:
        return len(self.scores) >= LAST and float(np.mean(self.scores[-LAST:])) >= GOAL

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.real_steps += 1
        if self.real_steps % EVERY == 0:
            self.scores.append(self.examine())
            self.finished = self.reached or self.real_steps >= BUDGET
        return obs, reward, terminated, truncated or self.finished, info

    def examine(self) -> float:
        """Mean return of RUNS episodes of the greedy policy, always from the same first states."""
        obs, _ = self.hall.reset(seed=EXAMINATION_SEED)
        playing, total = np.ones(RUNS, bool), 0
        while playing.any():
            total += int(playing.sum())
            obs, _, terminated, truncated, _ = self.hall.step(self.policy.greedy(obs))
            playing &= ~(terminated | truncated)
        return total / RUNS


def cartpole(learner: str, k: int, seed: int) -> Row:
    """One run to the goal or to the end of the budget."""
    buffer = TransitionBuffer(CARTPOLE_SCALE, seed=seed)
    policy = NeuralPolicy(2, buffer, seed=seed)
    env = Examined(policy)
    common: dict[str, Any] = {
        "episodes": BUDGET, "k": k, "seed": seed, "until": lambda _: env.finished,
    }  # fmt: skip
    if learner == "dyna":
        model = NeuralModel(2, buffer, seed=seed)
        dyna_train(env, model, policy, buffer, **common, verbose=False)
    else:
        replay_train(env, policy, buffer, **common)
    return {
        "steps": env.real_steps if env.reached else None,
        "updates": policy.updates,
        "scores": [round(score, 1) for score in env.scores],
    }


def maze_tasks() -> Iterator[tuple[Row, Callable[[], Row]]]:
    """What identifies each row, and what makes the rest of it."""
    for n in (0, 5, 50):
        yield {"what": "figure 8.2", "n": n}, partial(figure_8_2, n)
    for figure, (*_, n, kappa) in CHANGES.items():
        for bonus in (0.0, kappa):
            task = {"what": figure, "n": n, "kappa": bonus}
            yield task, partial(changing, figure, bonus)
    for scale in SCALES:
        for alpha in (1.0, 0.5):
            for agent in (PrioritizedSweeping, DynaQ):
                task = {"what": "example 8.4", "scale": list(scale), "step_size": alpha}
                task["agent"] = agent.__name__
                yield task, partial(example_8_4, scale, agent, alpha)


def cartpole_tasks(
    seeds: Iterable[int], ks: Iterable[int] = KS
) -> Iterator[tuple[Row, Callable[[], Row]]]:
    """The same, seed by seed, so that a killed sweep has whole seeds."""
    for seed in seeds:
        for k in ks:
            for learner in ("dyna", "replay") if k else ("replay",):  # k = 0 plans nothing
                task = {"what": "cartpole", "learner": learner, "k": k, "seed": seed}
                yield task, partial(cartpole, learner, k, seed)


def summary(rows: Sequence[Row], seed: int = 0) -> Row:
    """What the CartPole rows amount to: each arm, and how many times faster than k = 0 it is.

    Steps of censored runs count as the budget, so a mean is a lower bound where some are. A ratio
    is of means, and its interval a bootstrap over seeds, 95 %: the same seeds on both sides.
    """
    arms: dict[tuple[str, int], dict[int, int | None]] = {}
    for row in rows:
        if (task := row["task"])["what"] == "cartpole":
            arms.setdefault((task["learner"], task["k"]), {})[task["seed"]] = row["steps"]
    # Only seeds that every arm has.
    if len(arms) < 2 * len(KS) - 1:
        return {}
    seeds = sorted(set.intersection(*(set(runs) for runs in arms.values())))
    if not seeds:
        return {}
    draws = np.random.default_rng(seed).integers(len(seeds), size=(5000, len(seeds)))
    spent = {arm: np.array([runs[s] or BUDGET for s in seeds]) for arm, runs in arms.items()}
    base = spent["replay", 0]
    result: Row = {"seeds": seeds, "budget": BUDGET, "arms": []}
    for (learner, k), steps in sorted(spent.items(), key=lambda item: (item[0][1], item[0][0])):
        own = [arms[learner, k][s] for s in seeds]
        line: Row = {
            "learner": learner if k else "no planning",
            "k": k,
            "reached": sum(n is not None for n in own),
            "steps": own,
            "median": median(own),
            "mean": float(steps.mean()),
            "interval": interval(steps[draws].mean(1)),
            "faster_than_k_0": round(float(base.mean() / steps.mean()), 3),
            "faster_interval": interval(base[draws].mean(1) / steps[draws].mean(1)),
        }
        if learner == "dyna":
            other = spent["replay", k]
            line["faster_than_replay"] = round(float(other.mean() / steps.mean()), 3)
            line["faster_than_replay_interval"] = interval(
                other[draws].mean(1) / steps[draws].mean(1)
            )
        result["arms"].append(line)
    return result


def median(steps: Sequence[int | None]) -> float | None:
    """Of real steps, where a censored run is longer than any other; None: it is itself censored."""
    value = float(np.median([math.inf if n is None else n for n in steps]))
    return value if math.isfinite(value) else None


def run(tasks: Iterable[tuple[Row, Callable[[], Row]]], jobs: int) -> None:
    """Make the rows that are missing, and write the file after each."""
    done = [row["task"] for row in read()]
    missing = [(task, make) for task, make in tasks if task not in done]
    print(f"{len(missing)} rows to make", flush=True)
    rows = joblib.Parallel(jobs, return_as="generator_unordered")(
        joblib.delayed(_row)(task, make) for task, make in missing
    )
    for row in rows:
        write([*read(), row])
        short = {k: v for k, v in row.items() if not isinstance(v, list) or len(v) <= 10}
        print(json.dumps(short), flush=True)


def _row(task: Row, make: Callable[[], Row]) -> Row:
    begin = time.process_time()
    torch.set_num_threads(1)
    return {"task": task, **make(), "cpu_seconds": round(time.process_time() - begin, 1)}


def read() -> list[Row]:
    """The rows there are."""
    rows: list[Row] = json.loads(OUT.read_text(encoding="utf-8"))["rows"] if OUT.exists() else []
    return rows


def write(rows: Sequence[Row]) -> None:
    """All rows, one a line, and what they amount to."""
    packages = {name: version(name) for name in ("numpy", "torch", "gymnasium")}
    head = {
        "made": {
            "commands": ["python benchmarks/dyna.py mazes", "python benchmarks/dyna.py cartpole"],
            "configurations": {
                "mazes": dataclasses.asdict(DynaConfig()) | {"runs": MAZE_RUNS},
                "sweep": {"seeds": SWEEP_SEEDS, "censored_beyond": SWEEP_CAP},
                "model": dataclasses.asdict(NeuralModelConfig()),
                "policy": dataclasses.asdict(NeuralPolicyConfig()),
                "cartpole": {
                    "examined_every": EVERY, "episodes": RUNS, "averaged": LAST, "goal": GOAL,
                    "budget": BUDGET, "scale": CARTPOLE_SCALE,
                },
            },
            "versions": {"python": platform.python_version(), **packages},
        },
        "exact": {
            "steps_of_a_random_walk": round(steps_of_best_exploring(1.0), 2),
            "steps_of_the_best_exploring": round(steps_of_best_exploring(), 2),
        },
        "summary": summary(rows),
    }  # fmt: skip
    text = json.dumps(head, indent=1)[:-2] + ',\n "rows": [\n'
    text += ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]\n}\n"
    write_atomically(OUT, text.encode())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("mazes", "cartpole"))
    parser.add_argument("--seeds", type=int, default=5, help="of cartpole, 0 to this less 1")
    parser.add_argument("--ks", type=int, nargs="+", default=KS, help="of cartpole")
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each")
    options = parser.parse_args(arguments)
    if options.what == "mazes":
        run(maze_tasks(), options.jobs)
    else:
        run(cartpole_tasks(range(options.seeds), options.ks), options.jobs)


if __name__ == "__main__":
    main()
