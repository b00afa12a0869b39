"""Imagination: the one loop in which models dream, and the dream as a Gymnasium environment.

Where a policy chooses the actions, a dream is closed-loop; where they are given, it is a forecast.
A model says what follows a state, what that pays, and whether the episode goes on. How it knows,
by an LSTM, a transformer or a table, is its own business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from wmlib.typed import PositiveInt, check_of, typed

check_positive = check_of(PositiveInt)


class State(Protocol):
    """Where B dreams are: whatever the model needs to go on."""

    @property
    def features(self) -> Tensor:
        """(B, ...) what a policy reads of it"""


S = TypeVar("S", bound=State)


class Model(Protocol[S]):
    """What can be dreamed in."""

    def step(
        self, state: S, action: Tensor, generator: torch.Generator | None
    ) -> tuple[S, Tensor, Tensor]:
        """One decision of B dreams.

        Args:
            state: of B dreams.
            action: (B, A).
            generator: of all that is drawn.

        Returns:
            the next state, its rewards (B,), and the probabilities (B,) that the episode goes on.
        """


Policy = Callable[[Tensor], Tensor]
"""features (B, ...) to actions (B, A)"""

Pay = Callable[[Tensor, S], Tensor]
"""What a dream pays: from the model's rewards (B,) and the states they came with, to (B,)."""


class Step(NamedTuple, Generic[S]):
    """One decision of B dreams."""

    action: Tensor
    """(B, A)"""
    reward: Tensor
    """(B,) as paid"""
    continues: Tensor
    """(B,) probability that the episode goes on after it"""
    state: S
    """where it led"""
    features: Tensor
    """(B, ...) of that state"""


class Trajectory(NamedTuple, Generic[S]):
    """B dreams of T decisions."""

    features: Tensor
    """(T + 1, B, ...), those of the start first"""
    actions: Tensor
    """(T, B, A)"""
    rewards: Tensor
    """(T, B) as paid"""
    continues: Tensor
    """(T, B) probability that the episode goes on after the decision"""
    last: S
    """the state from which they could go on"""


def steps(
    model: Model[S],
    policy: Policy | Tensor,
    start: S,
    horizon: int,
    generator: torch.Generator | None = None,
    pay: Pay[S] | None = None,
) -> Iterator[Step[S]]:
    """Dream step by step, for who keeps only a part of it; arguments and errors as `imagine`."""
    check_positive("horizon", horizon)
    if isinstance(policy, Tensor) and policy.shape[1] < horizon:
        raise ValueError(f"{horizon} decisions need as many actions, got {policy.shape[1]}")
    state, features = start, start.features
    for t in range(horizon):
        action = policy[:, t] if isinstance(policy, Tensor) else policy(features)  # (B, A)
        state, reward, continues = model.step(state, action, generator)
        features = state.features  # (B, ...)
        paid = reward if pay is None else pay(reward, state)  # (B,)
        yield Step(action, paid, continues, state, features)


def imagine(
    model: Model[S],
    policy: Policy | Tensor,
    start: S,
    horizon: int,
    generator: torch.Generator | None = None,
    pay: Pay[S] | None = None,
) -> Trajectory[S]:
    """Dream T decisions ahead; gradients pass, unless the caller forbids it (`torch.no_grad`).

    A dream does not stop: an episode that may have ended goes on with the weight `continues`.

    Args:
        model: to dream in.
        policy: what chooses the actions; or the actions themselves, (B, T, A) or more of them.
        start: the state of B dreams.
        horizon: T, >= 1.
        generator: of all that the model draws.
        pay: what a decision pays; by default the model's reward.

    Raises:
        ValueError: the horizon is out of range, or there are fewer actions than that.
    """
    last, features = start, [start.features]
    actions, rewards, continues = [], [], []
    for step in steps(model, policy, start, horizon, generator, pay):
        features.append(step.features)
        actions.append(step.action)
        rewards.append(step.reward)
        continues.append(step.continues)
        last = step.state
    return Trajectory(
        torch.stack(features), torch.stack(actions), torch.stack(rewards), torch.stack(continues),
        last,
    )  # fmt: skip


class ImaginedEnv(gym.Env[np.ndarray, Any], Generic[S]):
    """A dream as an environment: a reset picks a start, and the model is the world.

    Observations are the features of its states; the end of an episode is drawn.

    Args:
        model: to dream in.
        begin: from a row in [0, `starts`) to the state of one dream (B = 1).
        starts: how many there are to choose from, >= 1.
        observation_space: of the features of a state.
        action_space: what `step` takes.
        read: from such an action to what the model reads, (A,) float32; refuses what is none.
        horizon: decisions after which an episode is truncated, >= 1.
        pay: what a decision pays; by default the model's reward.
        picture: from a state to what `render` shows, (H, W, C) uint8; None for no rendering.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012

    @typed
    def __init__(
        self,
        model: Model[S],
        begin: Callable[[int], S],
        starts: PositiveInt,
        observation_space: gym.Space,
        action_space: gym.Space,
        read: Callable[[Any], Tensor],
        horizon: PositiveInt,
        pay: Pay[S] | None = None,
        picture: Callable[[S], np.ndarray] | None = None,
    ) -> None:
        self.model, self.begin, self.starts = model, begin, starts
        self.observation_space, self.action_space = observation_space, action_space
        self.read, self.horizon, self.pay, self.picture = read, horizon, pay, picture
        self.render_mode = None if picture is None else "rgb_array"

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin at a random start, or at the one that `options={"start": row}` names."""
        super().reset(seed=seed)
        row = (options or {}).get("start")
        if row is None:
            row = int(self.np_random.integers(self.starts))
        elif not isinstance(row, int | np.integer) or not 0 <= row < self.starts:
            raise ValueError(f"start must be in [0, {self.starts}), got {row!r}")
        self._state, self._steps = self.begin(int(row)), 0
        self._generator = torch.Generator(self._state.features.device)
        self._generator.manual_seed(int(self.np_random.integers(2**62)))
        return self._observation(), {"start": row}

    @torch.no_grad()
    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Let the model say what happens; the end is drawn from its probability."""
        if not hasattr(self, "_state"):
            raise gym.error.ResetNeeded("call reset before step")
        where = self._generator.device
        given = self.read(action).to(where)[None, None]  # (1, 1, A)
        step = next(steps(self.model, given, self._state, 1, self._generator, self.pay))
        self._state, self._steps = step.state, self._steps + 1
        drawn = torch.rand((), generator=self._generator, device=where)
        ended, late = bool(drawn < 1 - step.continues[0]), self._steps >= self.horizon
        return self._observation(), float(step.reward[0]), ended, late, {}

    def render(self) -> np.ndarray | None:
        """What the present state looks like: (H, W, C) uint8."""
        return None if self.picture is None else self.picture(self._state)

    def _observation(self) -> np.ndarray:
        array: np.ndarray = self._state.features[0].detach().cpu().numpy()
        return array
