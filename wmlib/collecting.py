"""Collecting: episodes driven side by side, and kept whatever happens to one of them.

The 2018 paper collects 10,000 rollouts of a random policy before anything is learned. Rollouts run
through joblib: `with joblib.parallel_config(backend=...)` moves them elsewhere.
"""

from __future__ import annotations

import copy
import functools
import importlib
import os
import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import gymnasium as gym
import joblib
import numpy as np
from gymnasium.envs.registration import EnvSpec
from tqdm.auto import tqdm

from wmlib.episodes import Episode, Policy, run_episode
from wmlib.replay import Growing
from wmlib.runs import sole_owner
from wmlib.shapes import Like
from wmlib.typed import PositiveFloat, PositiveInt, Seed, check_type, typed
from wmlib.workers import Jobs, Task, WorkerLost, end_with, results


class CollectError(RuntimeError):
    """Collecting stopped: the message holds the seed and the traceback of what failed.

    `finished` holds the episodes that were whole by then, in the order of their seeds.
    """

    finished: Sequence[Episode] = ()


class CollectInterrupt(KeyboardInterrupt):
    """Somebody stopped collecting; `finished` as in `CollectError`."""

    finished: Sequence[Episode] = ()


@typed
def collect(
    policy: Annotated[Policy, Like("reset", "act")],
    env_id: str | EnvSpec,
    *,
    episodes: PositiveInt,
    seed: Seed,
    max_steps: PositiveInt | None = None,
    patience: PositiveInt | None = None,
    time_limit: PositiveFloat | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    n_jobs: Jobs = None,
    progress: bool = True,
    folder: str | Path | None = None,
) -> list[Episode]:
    """Collect episodes in parallel; the result does not depend on the number of workers.

    Args:
        policy: each episode is driven by a copy of it.
        env_id: id of an environment that is registered in this process, "module:id" of one that
            `module` registers, or its specification. Workers need not know it.
        episodes: how many, >= 1; episode i has seed `seed + i`.
        seed: >= 0.
        max_steps: decisions after which an episode is cut; None for the environment's own end.
        patience: decisions without a positive reward after which it is cut; None for never.
        time_limit: seconds after which an episode, and with it the collecting, is given up.
        env_kwargs: handed to `gymnasium.make`.
        n_jobs: joblib's; None takes what `joblib.parallel_config` says (or 1), -1 all cores.
        progress: show a bar with the mean return so far.
        folder: where each episode is written as it ends, for `wmlib.replay.Replay.load`. The same
            call goes on after a kill, with the same policy: it collects what is missing there.

    Returns:
        The episodes in the order of their seeds; with a folder, mapped from its files.

    Raises:
        ValueError: an argument is out of range, the environment is unknown, or the folder holds
            episodes of another collection.
        TypeError: an argument is of another kind.
        FileExistsError: the folder holds other things than episodes.
        DamagedFileError: an episode in the folder was cut short or altered.
        OSError: an episode cannot be written, or another process works in the folder.
        CollectError: an episode raised (with its seed and its traceback), or a worker process died
            (with the seeds that were under way), or the policy cannot be sent to a worker. It
            holds the episodes that were finished.
        CollectInterrupt: a KeyboardInterrupt, with the episodes that were finished.
    """
    check_type("the seed of the last episode", seed + episodes, Seed)
    spec, kwargs = specification(env_id), dict(env_kwargs or {})

    def task(index: int) -> Task:
        given = spec, kwargs, seed + index, max_steps, patience, time_limit, os.getpid()
        delayed: Task = joblib.delayed(_collect_one)(policy, *given)
        return delayed

    batch = "auto" if folder is None else 1  # an episode that waits for others can be lost
    work = functools.partial(results, n_jobs=n_jobs, batch_size=batch)
    if folder is None:
        done: dict[int, Episode] = {}
        _collect_missing(work, task, seed, episodes, done, done.__setitem__, progress)
        return _ordered(done)
    identity = {
        "environment": f"{spec.id} {kwargs}", "first seed": str(seed),
        "policy": type(policy).__qualname__, "limits": f"{max_steps=}, {patience=}",
    }  # fmt: skip
    folder = Path(os.path.realpath(folder))
    with sole_owner(folder):
        growing = Growing(folder, episodes, identity)
        done = growing.episodes
        try:
            _collect_missing(work, task, seed, episodes, done, growing.add, progress)
        except (CollectError, CollectInterrupt) as stop:
            if kept := growing.kept():
                stop.args = (f"{stop}\n{kept} are kept in {folder}; the same call goes on",)
            raise
        return _ordered(done)


def _collect_missing(
    work: Callable[[Iterable[Task]], Iterator[Any]],
    task: Callable[[int], Task],
    seed: int,
    episodes: int,
    done: Mapping[int, Episode],
    keep: Callable[[int, Episode], None],
    progress: bool,
) -> None:
    """Have the workers drive the episodes that are not in `done`; `keep` puts each there."""
    returns = [episode.total_reward for episode in done.values()]
    missing = [i for i in range(episodes) if i not in done]
    try:
        with tqdm(
            total=episodes, initial=len(done), desc="collecting", unit="episode",
            disable=not progress,
        ) as bar:  # fmt: skip
            for result in work(map(task, missing)):
                if isinstance(result, _Failure):
                    result.throw()
                keep(result.seed - seed, result)
                returns.append(result.total_reward)
                bar.update()
                bar.set_postfix_str(f"mean return {np.mean(returns):.1f}", refresh=False)
    except WorkerLost as error:
        left = [seed + i for i in missing if i not in done]
        message = (
            f"a worker process died; unfinished seeds: {left[:16]}"
            f"{' ...' if len(left) > 16 else ''}\n{error}"
        )
        raise _with(CollectError(message), done) from error
    except pickle.PicklingError as error:
        message = (
            f"the policy or the environment cannot be sent to a worker process; n_jobs=1 needs "
            f"none ({error.__cause__ or error})"
        )
        raise _with(CollectError(message), done) from error
    except CollectError as error:
        raise _with(error, done) from None
    except KeyboardInterrupt as error:
        where = f" {error}" if str(error) else ""
        message = f"interrupted{where}; {len(done)} of {episodes} episodes are finished"
        raise _with(CollectInterrupt(message), done) from error


Stop = TypeVar("Stop", CollectError, CollectInterrupt)


def _with(stop: Stop, done: Mapping[int, Episode]) -> Stop:
    stop.finished = _ordered(done)
    return stop


def _ordered(done: Mapping[int, Episode]) -> list[Episode]:
    return [done[index] for index in sorted(done)]


@dataclass(frozen=True)
class _Failure:
    seed: int
    trace: str
    interrupted: bool

    def throw(self) -> None:
        if self.interrupted:
            raise KeyboardInterrupt(f"in the episode with seed {self.seed}")
        raise CollectError(f"the episode with seed {self.seed} failed:\n{self.trace}")


def _collect_one(
    policy: Policy,
    spec: EnvSpec,
    env_kwargs: dict[str, Any],
    seed: int,
    max_steps: int | None,
    patience: int | None,
    time_limit: float | None,
    parent: int,
) -> Episode | _Failure:
    end_with(parent, os.getpid())
    try:
        env = gym.make(spec, disable_env_checker=True, **env_kwargs)
        try:
            return run_episode(env, copy.deepcopy(policy), seed, max_steps, patience, time_limit)
        finally:
            env.close()
    except BaseException as error:  # sys.exit too. As text: a traceback does not pickle
        return _Failure(seed, traceback.format_exc(), isinstance(error, KeyboardInterrupt))


@typed
def specification(env_id: str | EnvSpec) -> EnvSpec:
    """What `gymnasium.make` needs to know, also where the environment is not registered.

    Raises:
        ValueError: there is no such environment; the message lists those that there are.
        TypeError: it is neither a name nor a specification.
    """
    if isinstance(env_id, EnvSpec):
        return env_id
    module, _, name = env_id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        return gym.spec(name)
    except (gym.error.Error, ImportError) as error:
        space = f"{name.rpartition('/')[0]}/"
        named = sorted(one for one in gym.registry if "/" in one)
        known = [one for one in named if one.startswith(space)] or named
        raise ValueError(
            f"unknown environment {env_id!r}: {error} Known here: {', '.join(known)}"
        ) from error


def make_env(env: str | EnvSpec, **kwargs: Any) -> gym.Env:
    """As `gymnasium.make`.

    Raises:
        ValueError: it cannot be made; the message says why.
    """
    try:
        return gym.make(env, **kwargs)
    except (gym.error.Error, ImportError) as error:
        name = env if isinstance(env, str) else env.id
        raise ValueError(f"cannot make {name!r}: {error}") from error
