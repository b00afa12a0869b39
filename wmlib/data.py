"""Experience: episodes, how they are collected in parallel, and the replay that models learn from.

The 2018 paper collects 10,000 rollouts of a random policy before anything is learned. Here a policy
is anything with `reset(rng)` and `act(observation)`, an environment is anything Gymnasium can make,
and rollouts run through joblib: `with joblib.parallel_config(backend=...)` moves them elsewhere.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import importlib
import os
import pickle
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import gymnasium as gym
import joblib
import numpy as np
from gymnasium.envs.registration import EnvSpec
from joblib.externals.loky.process_executor import BrokenProcessPool
from tqdm.auto import tqdm

from wmlib.checks import (
    LARGEST_SEED,
    check_generator,
    check_positive,
    check_seed,
    check_whole,
)
from wmlib.storage import DamagedFileError, digest, open_arrays, save_arrays

FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Episode:
    """One rollout of T decisions in an environment.

    Attributes:
        observations: (T + 1, ...) uint8 images (H, W, C) or float32 vectors; the last one is final.
        actions: (T, A) float32, or (T,) int64 where the action space is discrete.
        rewards: (T,) float32; `rewards[t]` came with `observations[t + 1]`.
        terminated: the environment ended the episode.
        truncated: a limit ended it.
        seed: seed of the environment's reset and of the policy's generator.
        extras: what the environment's `info` said in numbers: (T, ...) for each step, or
            (T + 1, ...) where the reset said it too.

    Raises:
        ValueError: no action, or observations or rewards that are not as many as they must be.
        TypeError: observations, actions or rewards that are not arrays of numbers (a Dict or Tuple
            space).
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool
    truncated: bool
    seed: int
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("observations", "actions", "rewards"):
            value = getattr(self, name)
            if not (isinstance(value, np.ndarray) and value.ndim and _is_number(value)):
                raise TypeError(f"{name} must be an array of numbers, got {value!r}")
        steps = len(self.actions)
        if steps < 1:
            raise ValueError("an episode needs at least one action, got none")
        if len(self.observations) != steps + 1 or len(self.rewards) != steps:
            raise ValueError(
                f"an episode of {steps} actions needs {steps + 1} observations and {steps} "
                f"rewards, got {len(self.observations)} and {len(self.rewards)}"
            )

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def total_reward(self) -> float:
        """Undiscounted return."""
        return float(np.sum(self.rewards, dtype=np.float64))


class Policy(Protocol):
    """What drives: may keep a state from one `act` to the next, all of it set by `reset`."""

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode; all randomness of the policy comes from `rng`."""
        ...

    def act(self, observation: np.ndarray) -> Any:
        """Choose an action for one observation."""
        ...


@dataclass(frozen=True)
class ExplorationConfig:
    """How the random driver moves, in units of each action's half range around its middle."""

    bias_mean: tuple[float, ...] = (0.0, -0.6, -1.2)
    """mean of an episode's constant bias: straight on, a fifth of the gas, no brake (piloted)"""
    bias_sd: tuple[float, ...] = (0.15, 0.3, 0.2)
    """standard deviation of that bias between episodes (ours: piloted)"""
    noise_sd: tuple[float, ...] = (0.4, 0.4, 0.4)
    """stationary standard deviation of the noise around the bias (ours: piloted)"""
    memory: float = 0.8
    """correlation of the noise from one decision to the next, in [0, 1) (ours: piloted)"""


class SmoothRandomPolicy:
    """Random exploration that goes somewhere: smooth noise around a bias drawn once an episode.

    White noise averages out to a car that stands still. Noise with a memory holds a curve or the
    gas for half a second, and a bias for the whole episode makes some episodes fast and some slow,
    so that the data covers more of the track.

    Args:
        space: a Box with finite bounds and one axis of A actions.
        config: as many entries for each field as there are actions; None for the default, which
            is `ExplorationConfig` for CarRacing's space and a plain one for any other.

    Raises:
        ValueError: the space is not such a Box, or the configuration has another length or a number
            out of range.
    """

    def __init__(self, space: gym.Space, config: ExplorationConfig | None = None) -> None:
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1 or not space.is_bounded():
            raise ValueError(f"random exploration needs a bounded Box of one axis, got {space}")
        (n,) = space.shape
        if config is None:
            drives = np.array_equal(space.low, (-1, 0, 0)) and np.array_equal(space.high, (1, 1, 1))
            plain = ExplorationConfig((0.0,) * n, (0.3,) * n, (0.6,) * n)
            config = ExplorationConfig() if drives else plain
        check_exploration(config, n)
        self.config = config
        self.middle = (space.high + space.low) / 2  # (A,)
        self.half = (space.high - space.low) / 2  # (A,)

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._bias = rng.normal(self.config.bias_mean, self.config.bias_sd)  # (A,)
        self._noise = rng.normal(0.0, self.config.noise_sd)  # (A,)

    def act(self, observation: np.ndarray) -> np.ndarray:
        keep = self.config.memory
        fresh = self._rng.normal(0.0, self.config.noise_sd)  # (A,)
        self._noise = keep * self._noise + np.sqrt(1 - keep**2) * fresh
        unit = np.clip(self._bias + self._noise, -1.0, 1.0)
        return (self.middle + self.half * unit).astype(np.float32)


def check_exploration(config: ExplorationConfig, actions: int) -> None:
    """Refuse a configuration that is not one for so many actions."""
    if not isinstance(config, ExplorationConfig):
        raise TypeError(f"config must be an ExplorationConfig, got {config!r}")
    for name in ("bias_mean", "bias_sd", "noise_sd"):
        numbers = np.asarray(getattr(config, name))
        if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
            raise ValueError(f"{name} must be a tuple of numbers, got {getattr(config, name)!r}")
        if len(numbers) != actions:
            raise ValueError(f"{name} has {len(numbers)} entries for {actions} actions")
        if not np.isfinite(numbers).all():
            raise ValueError(f"{name} must be finite, got {getattr(config, name)}")
        if name != "bias_mean" and min(numbers) < 0:
            raise ValueError(f"{name} must be at least 0, got {getattr(config, name)}")
    if not isinstance(config.memory, int | float) or not 0 <= config.memory < 1:
        raise ValueError(f"memory must be in [0, 1), got {config.memory!r}")


class CollectError(RuntimeError):
    """Collecting stopped: the message holds the seed and the traceback of what failed.

    `finished` holds the episodes that were whole by then, in the order of their seeds.
    """

    finished: Sequence[Episode] = ()


class CollectInterrupt(KeyboardInterrupt):
    """Somebody stopped collecting; `finished` as in `CollectError`."""

    finished: Sequence[Episode] = ()


def run_episode(
    env: gym.Env,
    policy: Policy,
    seed: int,
    max_steps: int | None = None,
    patience: int | None = None,
    time_limit: float | None = None,
) -> Episode:
    """Drive one episode; the environment and the policy are seeded with `seed`.

    Args:
        env: any Gymnasium environment; nothing is kept from earlier episodes.
        policy: acts until the environment ends the episode or `max_steps` decisions are made.
        seed: >= 0.
        max_steps: decisions after which the episode is cut (and marked truncated).
        patience: decisions without a positive reward after which it is cut.
        time_limit: seconds after which it is given up.

    Raises:
        ValueError: an argument is out of range; or the environment gives, or the policy chooses,
            what is not a finite float32.
        EpisodeTimeout: the time is over.
    """
    _check_limits(seed, max_steps, patience, time_limit)
    with _given_up_after(time_limit, seed) as check_time:
        return _drive(env, policy, seed, max_steps, patience, check_time)


def _drive(
    env: gym.Env,
    policy: Policy,
    seed: int,
    max_steps: int | None,
    patience: int | None,
    check_time: Callable[[], None],
) -> Episode:
    observation, info = env.reset(seed=seed)
    _check_finite("observation", observation, 0)
    policy.reset(np.random.default_rng(seed))
    observations, actions, rewards = [np.array(observation)], [], []
    numbers = {name: [value] for name, value in info.items() if _is_number(value)}
    first = set(numbers)
    terminated = truncated = False
    waited = 0
    while not (terminated or truncated):
        action = policy.act(observation)
        actions.append(np.array(action))
        _check_finite("action", actions[-1], len(actions))
        observation, given, terminated, truncated, info = env.step(action)
        observations.append(np.array(observation))
        _check_finite("observation", observations[-1], len(actions))
        rewards.append(reward := float(given))
        _check_finite("reward", reward, len(actions))
        check_time()
        for name, value in info.items():
            if _is_number(value):
                numbers.setdefault(name, []).append(value)
        waited = 0 if reward > 0 else waited + 1
        truncated = truncated or len(actions) == max_steps or waited == patience
    steps = len(actions)
    extras = {
        name: np.asarray(values)
        for name, values in numbers.items()
        if len(values) == steps + (name in first) and len(set(map(np.shape, values))) == 1
    }
    whole = np.issubdtype(env.action_space.dtype, np.integer)
    return Episode(
        observations=_compact(np.stack(observations)),
        actions=np.asarray(actions, np.int64 if whole else np.float32),
        rewards=np.asarray(rewards, np.float32),
        terminated=bool(terminated),
        truncated=bool(truncated and not terminated),
        seed=seed,
        extras={name: _compact(values) for name, values in extras.items()},
    )


def _check_finite(name: str, value: Any, decision: int) -> None:
    """Refuse NaN, infinity, and what becomes infinity when it is kept as float32."""
    array = np.asarray(value)
    if array.dtype.kind == "f" and not (np.abs(array) <= FLOAT32_MAX).all():
        raise ValueError(f"the {name} of decision {decision} is not a finite float32: {array}")


class EpisodeTimeout(RuntimeError):
    """An episode took longer than it was given."""


@contextlib.contextmanager
def _given_up_after(seconds: float | None, seed: int) -> Iterator[Callable[[], None]]:
    """Raise an `EpisodeTimeout` when the time is over, also in the middle of a step.

    In the middle where Python can be interrupted: in the main thread of a Unix process. Elsewhere
    what is yielded, which is called after each step, must do.
    """
    begun = time.monotonic()

    def stop(*_: Any) -> None:
        raise EpisodeTimeout(f"the episode with seed {seed} took longer than {seconds} s")

    def check_time() -> None:
        if seconds is not None and time.monotonic() - begun > seconds:
            stop()

    main = threading.current_thread() is threading.main_thread()
    if seconds is None or not main or not hasattr(signal, "setitimer"):
        yield check_time
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield check_time
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def collect(
    policy: Policy,
    env_id: str | EnvSpec,
    *,
    episodes: int,
    seed: int,
    max_steps: int | None = None,
    patience: int | None = None,
    time_limit: float | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    n_jobs: int | None = None,
    progress: bool = True,
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

    Returns:
        The episodes in the order of their seeds.

    Raises:
        ValueError: an argument is out of range, or the environment is unknown.
        TypeError: an argument is of another kind.
        CollectError: an episode raised (with its seed and its traceback), or a worker process died
            (with the seeds that were under way), or the policy cannot be sent to a worker. It
            holds the episodes that were finished.
        CollectInterrupt: a KeyboardInterrupt, with the episodes that were finished.
    """
    check_whole("episodes", episodes, 1)
    _check_limits(seed, max_steps, patience, time_limit)
    check_seed(seed, LARGEST_SEED - episodes)
    _check_parts(policy, env_kwargs, n_jobs)
    spec = _specification(env_id)
    tasks = [
        joblib.delayed(_collect_one)(
            policy, spec, dict(env_kwargs or {}), seed + i, max_steps, patience, time_limit,
            os.getpid(),
        )
        for i in range(episodes)
    ]  # fmt: skip
    done: dict[int, Episode] = {}
    try:
        with tqdm(total=episodes, desc="collecting", unit="episode", disable=not progress) as bar:
            for result in joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(tasks):
                if isinstance(result, _Failure):
                    result.throw()
                done[result.seed] = result
                bar.update()
                mean = np.mean([episode.total_reward for episode in done.values()])
                bar.set_postfix_str(f"mean return {mean:.1f}", refresh=False)
    except BrokenProcessPool as error:
        missing = [seed + i for i in range(episodes) if seed + i not in done]
        message = (
            f"a worker process died; unfinished seeds: {missing[:16]}"
            f"{' ...' if len(missing) > 16 else ''}\n{error}"
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
    return _ordered(done)


Stop = TypeVar("Stop", CollectError, CollectInterrupt)


def _with(stop: Stop, done: Mapping[int, Episode]) -> Stop:
    stop.finished = _ordered(done)
    return stop


def _ordered(done: Mapping[int, Episode]) -> list[Episode]:
    return [done[seed] for seed in sorted(done)]


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
    _end_with(parent, os.getpid())
    try:
        env = gym.make(spec, disable_env_checker=True, **env_kwargs)
        try:
            return run_episode(env, copy.deepcopy(policy), seed, max_steps, patience, time_limit)
        finally:
            env.close()
    except BaseException as error:  # sys.exit too. As text: a traceback does not pickle
        return _Failure(seed, traceback.format_exc(), isinstance(error, KeyboardInterrupt))


@functools.cache  # one thread in each worker
def _end_with(parent: int, worker: int) -> None:
    """Let a worker of the process `parent` end when that is gone, however it went."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if os.getppid() == parent:  # else it is no process of its own, or that of another machine
        threading.Thread(target=watch, daemon=True).start()


def _specification(env_id: str | EnvSpec) -> EnvSpec:
    """What `gymnasium.make` needs to know, also where the environment is not registered."""
    if isinstance(env_id, EnvSpec):
        return env_id
    if not isinstance(env_id, str):
        raise TypeError(f"env_id must be a string or an EnvSpec, got {env_id!r}")
    module, _, name = env_id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        return gym.spec(name)
    except (gym.error.Error, ImportError) as error:
        raise ValueError(f"unknown environment {env_id!r}: {error}") from error


def _check_limits(
    seed: int, max_steps: int | None, patience: int | None, time_limit: float | None
) -> None:
    check_seed(seed)
    for name, limit in (("max_steps", max_steps), ("patience", patience)):
        if limit is not None:
            check_whole(name, limit, 1)
    if time_limit is not None:
        check_positive("time_limit", time_limit)


def _check_parts(policy: Any, env_kwargs: Any, n_jobs: Any) -> None:
    for method in ("reset", "act"):
        if isinstance(policy, type) or not callable(getattr(policy, method, None)):
            raise TypeError(f"policy must have reset(rng) and act(observation), got {policy!r}")
    if not isinstance(env_kwargs, Mapping | None):
        raise TypeError(f"env_kwargs must be a dict, got {env_kwargs!r}")
    check_jobs(n_jobs)


def check_jobs(n_jobs: Any) -> None:
    """Refuse what is not a number of workers for joblib."""
    if n_jobs is not None:
        check_whole("n_jobs", n_jobs, -(2**31))
        if n_jobs == 0:
            raise ValueError("n_jobs must not be 0; 1 needs no worker, -1 takes all cores")


def _is_number(value: Any) -> bool:
    single = isinstance(value, bool | int | float | np.bool_ | np.number)
    return single or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf")


def _compact(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float64 else array


def draw_windows(
    lengths: np.ndarray, rng: np.random.Generator, batch: int, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw windows of `length` decisions, uniformly among all that lie within one episode.

    Args:
        lengths: (E,) decisions of each episode.
        rng: of the draw, with replacement.
        batch: windows, >= 1.
        length: decisions in a window, >= 1.

    Returns:
        episode (B,) and first decision (B,) of each window.

    Raises:
        ValueError: no episode is that long.
    """
    check_generator(rng)
    check_whole("batch", batch, 1)
    check_whole("length", length, 1)
    lengths = np.asarray(lengths)
    if lengths.ndim != 1 or (len(lengths) and lengths.dtype.kind not in "iu"):
        raise ValueError(f"lengths must be (E,) whole numbers, got {lengths!r}")
    offsets = np.concatenate([[0], np.cumsum(np.maximum(lengths - length + 1, 0))]).astype(int)
    if offsets[-1] == 0:
        raise ValueError(
            f"no episode has {length} decisions; the longest has {max(lengths, default=0)}"
        )
    flat = rng.integers(offsets[-1], size=batch)
    which = np.searchsorted(offsets, flat, side="right") - 1
    return which, flat - offsets[which]


class Replay:
    """Episodes in the order they were added; frames stay uint8 and, when loaded, on disk.

    A loaded replay is a set of memory maps: drawing frames reads those frames and nothing else.
    """

    def __init__(self, episodes: Iterable[Episode] = ()) -> None:
        self.episodes: list[Episode] = []
        self.extend(episodes)

    def extend(self, episodes: Iterable[Episode]) -> None:
        """Add episodes; all of a replay have observations and actions of one shape and dtype."""
        for episode in episodes:
            if not isinstance(episode, Episode):
                raise TypeError(f"a replay holds episodes, got {episode!r}")
            if self.episodes:
                first = self.episodes[0]
                for name in ("observations", "actions"):
                    old, new = getattr(first, name), getattr(episode, name)
                    if old.shape[1:] != new.shape[1:] or old.dtype != new.dtype:
                        raise ValueError(
                            f"{name} of shape {new.shape[1:]} and dtype {new.dtype} do not fit a "
                            f"replay of shape {old.shape[1:]} and dtype {old.dtype}"
                        )
            self.episodes.append(episode)

    def __len__(self) -> int:
        return len(self.episodes)

    def __iter__(self) -> Iterator[Episode]:
        return iter(self.episodes)

    @property
    def steps(self) -> int:
        """Decisions in all episodes."""
        return sum(map(len, self.episodes))

    @property
    def frames(self) -> int:
        """Observations in all episodes, the final ones included."""
        return self.steps + len(self.episodes)

    def sample_frames(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n observations uniformly, with replacement: (n, *observation shape).

        Raises:
            ValueError: the replay is empty, or n is less than 1.
        """
        if not self.episodes:
            raise ValueError("the replay is empty; collect episodes first")
        check_generator(rng)
        check_whole("n", n, 1)
        offsets = np.cumsum([0] + [len(episode) + 1 for episode in self.episodes])
        flat = rng.integers(offsets[-1], size=n)
        which = np.searchsorted(offsets, flat, side="right") - 1
        return np.stack(
            [
                self.episodes[e].observations[i - offsets[e]]
                for e, i in zip(which, flat, strict=True)
            ]
        )

    def digest(self) -> str:
        """SHA-256 of all that the episodes hold, in their order."""
        sha = hashlib.sha256()
        for episode in self.episodes:
            sha.update(digest(*_arrays(episode)).encode())
        return sha.hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write one file an episode into `folder`, which appears when all of them are written.

        A folder that is there already, empty or a link to an empty one, is filled in the end, the
        last file first: `load` refuses what a kill leaves then, because its first file is missing.

        Raises:
            ValueError: the replay is empty.
            FileExistsError: the folder exists and is not empty (hidden files aside).
            OSError: it cannot be written; nothing of it is left.
        """
        if not self.episodes:
            raise ValueError("the replay is empty; collect episodes first")
        folder = Path(os.path.realpath(folder))
        there = folder.exists()
        if there and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise FileExistsError(f"{folder} is not empty; name another folder")
        partial = folder / ".partial" if there else folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed here
        try:
            for i, episode in enumerate(self.episodes):
                save_arrays(partial / f"episode-{i:06d}.safetensors", *_arrays(episode))
            if there:
                for path in sorted(partial.iterdir(), reverse=True):
                    os.replace(path, folder / path.name)
            else:
                os.replace(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    @classmethod
    def load(cls, folder: str | Path, *, verify: bool = True) -> Replay:
        """Open the episodes of a folder as memory maps.

        Raises:
            FileNotFoundError: the folder holds no episodes.
            DamagedFileError: a file was cut short or altered, or one between others is missing.
        """
        paths: Sequence[Path] = sorted(Path(folder).glob("episode-*.safetensors"))
        if not paths:
            raise FileNotFoundError(f"no episodes (episode-*.safetensors) in {folder}")
        for i, path in enumerate(paths):
            if path.name != f"episode-{i:06d}.safetensors":
                raise DamagedFileError(f"{folder}: episode-{i:06d}.safetensors is missing")
        _allow_open_files(len(paths))
        return cls(_load_episode(path, verify) for path in paths)


def _arrays(episode: Episode) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """An episode as the arrays and the metadata of its file."""
    arrays = {
        "observations": episode.observations,
        "actions": episode.actions,
        "rewards": episode.rewards,
        **{f"extras/{name}": np.asarray(value) for name, value in episode.extras.items()},
    }
    about = {name: str(getattr(episode, name)) for name in ("seed", "terminated", "truncated")}
    return arrays, about


def _allow_open_files(n: int) -> None:
    """A memory map keeps its file open; the usual limit of 1024 files is too low for many."""
    try:
        import resource
    except ImportError:  # not a Unix: no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = soft + n if hard == resource.RLIM_INFINITY else min(soft + n, hard)
    with contextlib.suppress(ValueError, OSError):  # then `open` says it, and names the file
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _load_episode(path: Path, verify: bool) -> Episode:
    arrays, about = open_arrays(path, verify=verify)
    try:
        return Episode(
            observations=arrays["observations"],
            actions=arrays["actions"],
            rewards=arrays["rewards"],
            terminated=about["terminated"] == "True",
            truncated=about["truncated"] == "True",
            seed=int(about["seed"]),
            extras={
                name.removeprefix("extras/"): array
                for name, array in arrays.items()
                if name.startswith("extras/")
            },
        )
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedFileError(f"{path}: not an episode of this library ({error!r})") from error
