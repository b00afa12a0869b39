"""One episode: what a policy did in an environment, and what came of it.

A policy is anything with `reset(rng)` and `act(observation)`, an environment is anything Gymnasium
can make.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import gymnasium as gym
import numpy as np

from wmlib.shapes import Shape
from wmlib.typed import PositiveFloat, PositiveInt, Seed, typed

FLOAT32_MAX = float(np.finfo(np.float32).max)


@typed
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
            (T + 1, ...) where the reset said it too; and what the policy said of each decision,
            (T, ...), see `Policy`.

    Raises:
        ValueError: no action, or observations, rewards or extras that are not as many as they must
            be.
        TypeError: observations, actions or rewards that are not arrays of numbers (a Dict or Tuple
            space).
    """

    observations: Annotated[np.ndarray, Shape("T+1", ..., dtype="real")]
    actions: Annotated[np.ndarray, Shape("T", ..., dtype="real")]
    rewards: Annotated[np.ndarray, Shape("T", dtype="real")]
    terminated: bool
    truncated: bool
    seed: int
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        steps = len(self.actions)
        for name, value in self.extras.items():
            if np.shape(value)[:1] not in ((steps,), (steps + 1,)):
                raise ValueError(
                    f"extras {name!r} of {steps} actions must be {steps}, or one more, got shape "
                    f"{np.shape(value)}"
                )

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def total_reward(self) -> float:
        """Undiscounted return."""
        return float(np.sum(self.rewards, dtype=np.float64))


class Policy(Protocol):
    """What drives: may keep a state from one `act` to the next, all of it set by `reset`.

    It may have more to say of a decision than the action, such as what a search has counted. Then
    it has a method `extras()` too, which is asked after each `act`: numbers or arrays of them by
    name, at every decision the same names and shapes. They are kept in `Episode.extras`.
    """

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode; all randomness of the policy comes from `rng`."""
        ...

    def act(self, observation: np.ndarray) -> Any:
        """Choose an action for one observation."""
        ...


@typed
def run_episode(
    env: gym.Env,
    policy: Policy,
    seed: Seed,
    max_steps: PositiveInt | None = None,
    patience: PositiveInt | None = None,
    time_limit: PositiveFloat | None = None,
) -> Episode:
    """Drive one episode; the environment and the policy are seeded with `seed`.

    Mind that both get it as it is: the generator that Gymnasium makes of `env.reset(seed=seed)` and
    that of `policy.reset(np.random.default_rng(seed))` begin in the same state. So a policy that
    draws from its own directly draws the very numbers that the environment draws. One that must not
    seeds another one from it, as `wmlib.frames.FramePolicy` does (not every policy here does).

    Args:
        env: any Gymnasium environment; nothing is kept from earlier episodes.
        policy: acts until the environment ends the episode or `max_steps` decisions are made.
        seed: >= 0.
        max_steps: decisions after which the episode is cut (and marked truncated).
        patience: decisions without a positive reward after which it is cut.
        time_limit: seconds after which it is given up.

    Raises:
        ValueError: an argument is out of range; or the environment gives, or the policy chooses,
            what is not a finite float32; or the policy's extras are no numbers, not the same at
            every decision, or named as the environment's.
        EpisodeTimeout: the time is over.
    """
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
    observations = [_kept("observation", observation, 0)]
    actions: list[np.ndarray] = []
    rewards: list[float] = []
    policy.reset(np.random.default_rng(seed))
    numbers = {name: [value] for name, value in info.items() if is_number(value)}
    first = set(numbers)
    get_extras = getattr(policy, "extras", dict)
    policy_extras: list[dict[str, np.ndarray]] = []
    terminated = truncated = False
    waited = 0
    while not (terminated or truncated):
        action = policy.act(observation)
        decision = len(actions) + 1
        actions.append(_kept("action", action, decision))
        policy_extras.append({name: np.array(value) for name, value in get_extras().items()})
        observation, given, terminated, truncated, info = env.step(action)
        observations.append(_kept("observation", observation, decision))
        rewards.append(reward := float(_kept("reward", float(given), decision)))
        check_time()
        for name, value in info.items():
            if is_number(value):
                numbers.setdefault(name, []).append(value)
        waited = 0 if reward > 0 else waited + 1
        truncated = truncated or decision == max_steps or waited == patience
    steps = len(actions)
    extras = {
        name: np.asarray(values)
        for name, values in numbers.items()
        if len(values) == steps + (name in first) and len(set(map(np.shape, values))) == 1
    }
    extras |= _of_the_policy(policy_extras, numbers.keys())
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


def _of_the_policy(
    policy_extras: list[dict[str, np.ndarray]], others: Collection[str]
) -> dict[str, np.ndarray]:
    """What a policy said of each of T decisions, (T, ...) by name."""
    shapes = {name: value.shape for name, value in policy_extras[0].items()}
    if both := shapes.keys() & others:
        raise ValueError(f"the policy's extras are named as the environment's: {sorted(both)}")
    for decision, each in enumerate(policy_extras, 1):
        now = {name: value.shape for name, value in each.items()}
        if now != shapes or not all(map(is_number, each.values())):
            raise ValueError(
                "the policy's extras must be numbers, of the same names and shapes at every "
                f"decision, got {each!r:.200} at decision {decision}"
            )
    return {name: np.stack([each[name] for each in policy_extras]) for name in shapes}


def _kept(name: str, value: Any, decision: int) -> np.ndarray:
    """A copy of what was seen or done, to be kept as float32 if it is no whole number.

    Raises:
        ValueError: it is NaN, infinite, or would be as float32.
    """
    array = np.array(value)
    if array.dtype.kind == "f" and not (np.abs(array) <= FLOAT32_MAX).all():
        raise ValueError(f"the {name} of decision {decision} is not a finite float32: {array}")
    return array


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


def is_number(value: Any) -> bool:
    single = isinstance(value, bool | int | float | np.bool_ | np.number)
    return single or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf")


def _compact(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float64 else array
