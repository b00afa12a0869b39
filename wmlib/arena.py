"""The arena: agents on one world, each with the same number of real steps, a row of a table each.

An entrant is anything that trains on a world for so many real steps, and lets itself be examined
when a quarter, half and all of them are used. Rows are kept in one file as they are made: a race
that was killed goes on where it was, and two processes on one file lose no row.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Protocol

import gymnasium as gym
import joblib
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from pydantic import Field
from tqdm.auto import tqdm

from wmlib.checkpoint import made_by
from wmlib.collecting import collect, make_env, specification
from wmlib.episodes import Policy
from wmlib.exploration import UniformRandomPolicy
from wmlib.storage import DamagedFileError, alone_in, check_regular, read_json, write_atomically
from wmlib.typed import typed
from wmlib.workers import Jobs, WorkerLost, end_with, results

EPISODES = 100
"""of an examination"""

LONGEST = 10_000
"""decisions after which an episode of an examination is cut: a policy may have learned to go in a
circle where the world knows no end"""

SEEDS, EXAMINED = 1_000_000, 900_000
"""A run with seed s may train in worlds with seeds from s * SEEDS to s * SEEDS + EXAMINED - 1. From
there on lie those of its examinations: the same for every agent, and others for every seed."""

Row = dict[str, Any]
Examine = Callable[[int, Policy], None]


@dataclass(frozen=True)
class Trained:
    """What an entrant says of its training when it is done."""

    updates: int
    """batches that it learned from, counted once for each network that has batches of its own"""
    parameters: int
    """numbers that were learned, of all networks together; a target network's copy is none"""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """hyper-parameters and whatever else made it so, for the row (JSON)"""


class Entrant(Protocol):
    """What takes part in a race; it is sent to worker processes, so it can be pickled."""

    def check(self, env: gym.Env, steps: int) -> None:
        """Refuse, before any work, a world or a number of steps that it can do nothing with.

        Raises:
            ValueError: says what it needs.
        """
        ...

    def run(self, env_id: str, steps: int, seed: int, examine: Examine) -> Trained:
        """Train on a world.

        Args:
            env_id: known to `gymnasium.make`.
            steps: real steps, counted over all copies of the world; no more and no less are taken.
            seed: of all that is random. For the seeds of worlds see `SEEDS`.
            examine: called as `examine(real_steps, policy)` when so many steps, those of
                `examinations(steps)`, are used. It changes nothing in the policy.
        """
        ...


class RandomEntrant:
    """The floor of every table: it learns nothing, and takes none of the steps that it may."""

    def check(self, env: gym.Env, steps: int) -> None:
        """Every world will do."""

    def run(self, env_id: str, steps: int, seed: int, examine: Examine) -> Trained:
        env = gym.make(env_id)
        policy = UniformRandomPolicy(env.action_space)
        env.close()
        for used in examinations(steps):
            examine(used, policy)
        return Trained(updates=0, parameters=0)


def examinations(steps: int) -> tuple[int, int, int]:
    """The real steps after which an entrant is examined: a quarter, half and all of them."""
    return steps // 4, steps // 2, steps


@typed
def race(
    entrants: Annotated[Mapping[str, Entrant], Field(min_length=1)],
    env_id: str | EnvSpec,
    *,
    steps: Annotated[int, Field(ge=4)],
    seeds: Annotated[int, Field(ge=1, le=1000)],
    out: Path,
    n_jobs: Jobs = None,
    progress: bool = True,
) -> list[Row]:
    """Run every entrant on one world with every seed, and keep a row of each in a file.

    A row is `{agent, world, seed, real_steps, updates, evaluations: [{real_steps, returns}],
    core_minutes, parameters, made}`. An evaluation holds the undiscounted returns of `EPISODES`
    episodes that nothing was trained on. `core_minutes` is processor time of the process that
    trained, with one thread and without the examinations. Rows do not depend on `n_jobs`.

    Args:
        entrants: by the name that stands in the rows.
        env_id: as for `wmlib.collecting.collect`.
        steps: real steps that each may take, >= 4.
        seeds: how many; 0, 1, ...
        out: the file; what it has already is not run again.
        n_jobs: joblib's; None takes what `joblib.parallel_config` says (or 1), -1 all cores.
        progress: show a bar.

    Returns:
        The rows asked for, those that were there among them, sorted by agent and seed.

    Raises:
        ValueError: a number is out of range, the world is unknown or cannot be made, or an entrant
            refuses it.
        DamagedFileError: `out` holds something else.
        RuntimeError: an entrant failed (with its name, seed and traceback), or a worker died. The
            rows made by then are kept.
    """
    spec = specification(env_id)
    _check_entrants(entrants, spec, steps)
    asked = [(name, spec.id, seed, steps) for seed in range(seeds) for name in entrants]
    there = {identity(row) for row in load_rows(out)}
    todo = [one for one in asked if one not in there]
    made = set()
    tasks = [
        joblib.delayed(_run_one)(name, entrants[name], spec, steps, seed, os.getpid())
        for name, _, seed, _ in todo
    ]
    try:
        with tqdm(total=len(todo), desc=spec.id, unit="row", disable=not progress) as bar:
            for row in results(tasks, n_jobs):
                seconds = row.pop("wall_seconds")
                by = made_by(seed=row["seed"], steps=row["updates"], seconds=seconds)
                row["made"] = {**by, **row["made"], "versions": by["versions"] | _package(spec)}
                add_row(out, row)
                made.add(identity(row))
                mean = np.mean(row["evaluations"][-1]["returns"])
                bar.set_postfix_str(f"{row['agent']}, seed {row['seed']}: {mean:.2f}")
                bar.update()
    except WorkerLost as error:
        missing = ", ".join(f"{name} seed {seed}" for name, _, seed, _ in set(todo) - made)
        raise RuntimeError(f"a worker process died; not made: {missing}\n{error}") from error
    return [row for row in load_rows(out) if identity(row) in set(asked)]


def _check_entrants(entrants: Mapping[str, Entrant], spec: EnvSpec, steps: int) -> None:
    env = make_env(spec)
    try:
        for name, entrant in entrants.items():
            try:
                entrant.check(env, steps)
            except ValueError as error:
                raise ValueError(f"{name} cannot enter {spec.id}: {error}") from error
    finally:
        env.close()


def _run_one(name: str, entrant: Entrant, spec: EnvSpec, steps: int, seed: int, parent: int) -> Row:
    """Train and examine: a row, without what only the process that asked for it knows."""
    end_with(parent, os.getpid())
    gym.registry.setdefault(spec.id, spec)  # a worker that was spawned knows no names
    examiner = _Examiner(spec, steps, seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same rounding, however many run side by side
    wall, core = time.perf_counter(), time.process_time()
    try:
        with joblib.parallel_config("sequential"):  # in a cluster too, where n_jobs=1 is not heeded
            trained = entrant.run(spec.id, steps, seed, examiner)
        core = time.process_time() - core - examiner.core_seconds
        examiner.check_complete()
    except Exception:  # as text: a traceback does not pickle
        trace = traceback.format_exc()
        raise RuntimeError(f"{name} on {spec.id} with seed {seed} failed:\n{trace}") from None
    finally:
        torch.set_num_threads(threads)
    return {
        "agent": name,
        "world": spec.id,
        "seed": seed,
        "real_steps": steps,
        "updates": trained.updates,
        "evaluations": examiner.evaluations,
        "core_minutes": round(core / 60, 3),
        "parameters": trained.parameters,
        "made": {"threads": 1, "processor": processor(), "settings": dict(trained.settings)},
        "wall_seconds": time.perf_counter() - wall,
    }


class _Examiner:
    """Called as `Examine`: drives the episodes of an examination and keeps their returns."""

    def __init__(self, spec: EnvSpec, steps: int, seed: int) -> None:
        self.spec, self.due = spec, examinations(steps)
        self.first = seed * SEEDS + EXAMINED
        self.evaluations: list[dict[str, Any]] = []
        self.core_seconds = 0.0

    def __call__(self, real_steps: int, policy: Policy) -> None:
        begun, number = time.process_time(), len(self.evaluations)
        if number == len(self.due) or real_steps != self.due[number]:
            raise ValueError(f"examinations are due after {self.due} steps, not after {real_steps}")
        returns = [
            collect(
                policy, self.spec, episodes=1, seed=self.first + i, max_steps=LONGEST, n_jobs=1,
                progress=False,
            )[0].total_reward
            for i in range(EPISODES)
        ]  # fmt: skip
        self.evaluations.append({"real_steps": real_steps, "returns": returns})
        self.core_seconds += time.process_time() - begun

    def check_complete(self) -> None:
        if len(self.evaluations) != len(self.due):
            raise ValueError(f"it was examined {len(self.evaluations)} of {len(self.due)} times")


def identity(row: Row) -> tuple[str, str, int, int]:
    """What makes a row this one: agent, world, seed and real steps."""
    return row["agent"], row["world"], row["seed"], row["real_steps"]


def load_rows(path: Path) -> list[Row]:
    """The rows of a table; none where there is no file.

    Raises:
        DamagedFileError: the file holds something else.
    """
    if not path.exists():
        return []
    check_regular(path)
    rows = read_json(path.read_bytes(), path).get("rows")
    if not isinstance(rows, list):
        raise DamagedFileError(f"{path}: not a table of the arena (it has no rows)")
    for row in rows:
        try:
            identity(row)
        except (LookupError, TypeError) as error:
            message = f"{path}: not a table of the arena (a row lacks {error})"
            raise DamagedFileError(message) from error
    return rows


def add_row(path: Path, row: Row) -> None:
    """Add a row to the table at `path`, which is replaced whole: a line for each row, sorted.

    A row that another process has added in the meantime stays, and this one goes.
    """
    with alone_in(path.parent):
        table = {identity(one): one for one in (row, *load_rows(path))}
        lines = ",\n".join(json.dumps(table[key], allow_nan=False) for key in _sorted(table))
        write_atomically(path, f'{{"rows": [\n{lines}\n]}}\n'.encode())


def _sorted(table: Mapping[tuple[str, str, int, int], Row]) -> list[tuple[str, str, int, int]]:
    """World, real steps, agent, seed."""
    return sorted(table, key=lambda key: (key[1], key[3], key[0], key[2]))


def _package(spec: EnvSpec) -> dict[str, str]:
    """The version of the package that a world's class comes from."""
    env = gym.make(spec)
    name = type(env.unwrapped).__module__.partition(".")[0]
    env.close()
    with contextlib.suppress(PackageNotFoundError):
        return {name: version(name)}
    return {}


def processor() -> str:
    """The model of the processor, as far as the system tells; no name of a machine."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
