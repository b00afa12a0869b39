"""Dyna with networks: the parts that let the article's `dyna_train` learn from a few numbers.

A table cannot hold a world whose states are vectors. Here the model is a small ensemble of networks
(as in PETS, Chua et al. 2018) that say how the state changes, what that pays and whether it ends
the episode. The policy is a Q-network with a target network (Mnih et al. 2015) and double
Q-learning (van Hasselt et al. 2016). The buffer remembers real transitions.

>>> buffer = TransitionBuffer(CARTPOLE_SCALE, seed=0)
>>> model, policy = NeuralModel(2, buffer, seed=0), NeuralPolicy(2, buffer, seed=0)
>>> dyna_train(gymnasium.make("CartPole-v1"), model, policy, buffer, episodes=100, k=5)

The article learns from one transition at a time, which suits tables and not networks: the gradient
of one is mostly noise. So a draw from the buffer is a batch here. `random_state` gives B states,
`act` B actions, `imagine` B transitions, and `learn` makes one update from them; k counts updates,
as it does for tables. A single real transition is one of B as well: the others are replayed from
the buffer (combined experience replay, Zhang & Sutton 2017).

A next state of NaN (for a single transition also None): the episode ended, nothing follows.

Letters: B batch, D numbers in a state, A actions, E members of the ensemble.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from wmlib.scratch.checks import at_least, positive, within
from wmlib.training import NotFiniteError, seeded

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

CARTPOLE_SCALE = (2.4, 2.0, 0.2, 2.0)
"""What is much in CartPole's state [m, m/s, rad, rad/s]: position and angle where an episode ends,
and as large velocities (ours)."""


class Batch(NamedTuple):
    """Transitions."""

    states: Floats  # (B, D)
    actions: Integers  # (B,)
    rewards: Floats  # (B,)
    next_states: Floats  # (B, D); a row of NaN: the episode ended

    @classmethod
    def of(cls, rows: Floats) -> Batch:
        """From rows (B, 2 D + 2) of a buffer."""
        size = rows.shape[1] // 2 - 1
        states, following = rows[:, :size], rows[:, size + 2 :]  # (B, D) each
        return cls(states, rows[:, size].astype(np.int64), rows[:, size + 1], following)


class TransitionBuffer:
    """All real transitions, and batches drawn from them with replacement.

    Args:
        scale: (D,) what is much for each number of a state, > 0. Networks read states divided by
            it. (A running mean and deviation in its place shift while the agent gets better, and
            in our pilots CartPole was then learned and forgotten.)
        batch: B of a draw, >= 1.
        seed: of the draws.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(self, scale: ArrayLike, *, batch: int = 64, seed: int = 0) -> None:
        self.scale = _floats("scale", scale).copy()  # (D,)
        fits = (self.scale > 0) & (self.scale < math.inf)
        if self.scale.ndim != 1 or not self.scale.size or not fits.all():
            raise ValueError(f"scale must be D numbers above 0, got {scale!r}")
        at_least("batch", batch, 1)
        at_least("seed", seed, 0)
        self.batch = batch
        self._rng = np.random.default_rng([seed, 0])
        self._rows = np.empty((1024, 2 * self.size + 2), np.float32)  # s, a, r, s'
        self._count = 0

    @property
    def size(self) -> int:
        """D."""
        return self.scale.size

    def add(
        self, state: ArrayLike, action: int, reward: float, next_state: ArrayLike | None
    ) -> None:
        """Remember a real transition; `next_state` is None if it ended the episode for good.

        Raises:
            ValueError: a state is not D numbers, the action no integer >= 0, or a number is not
                finite (the message says how many transitions came before).
        """
        if self._count == len(self._rows):  # full: make as much room again
            self._rows = np.concatenate([self._rows, self._rows])
        self._rows[self._count] = self._row(state, action, reward, next_state)
        self._count += 1

    def random_state(self) -> Floats:
        """States (B, D) in which an action was taken, each drawn from all.

        Raises:
            ValueError: there is none yet.
        """
        return self.random_transition().states

    def random_transition(self) -> Batch:
        """B real transitions, each drawn from all; errors as `random_state`."""
        return Batch.of(self._draw(self.batch))

    def with_replayed(
        self, count: int, state: ArrayLike, action: ArrayLike, reward: ArrayLike,
        next_state: ArrayLike | None,
    ) -> Batch:  # fmt: skip
        """A single transition, the first of `count`: the others are drawn from all."""
        rows = self._draw(count)
        rows[0] = self._row(state, action, reward, next_state)
        return Batch.of(rows)

    def _draw(self, count: int) -> Floats:
        if self._count == 0:
            raise ValueError("the buffer is empty: add a transition first")
        return self._rows[self._rng.integers(self._count, size=count)]

    def _row(
        self, state: ArrayLike, action: ArrayLike, reward: ArrayLike, next_state: ArrayLike | None
    ) -> Floats:
        """A single transition as a row (2 D + 2,)."""
        before = _floats("a state", state)  # (D,)
        after = before if next_state is None else _floats("a state", next_state)  # (D,)
        number = at_least("action", action, 0)  # type: ignore[arg-type]  # refuses the others
        paid = _floats("a reward", reward)
        if paid.size != 1:
            raise ValueError(f"a reward is one number, got {reward!r}")
        if before.shape != (self.size,) or after.shape != (self.size,):
            raise ValueError(f"a state is {self.size} numbers, got {before.shape}, {after.shape}")
        row = np.concatenate([before, [np.float32(number)], paid.reshape(1), after])
        if not np.isfinite(row).all():
            raise ValueError(
                f"a transition must be finite, got {row.tolist()} after {self._count} others"
            )
        if next_state is None:
            row[-self.size :] = np.nan
        return row

    def inputs(self, states: ArrayLike | None) -> Tensor:
        """What networks read of states (B, D): (B, D), divided by the scale.

        Raises:
            ValueError: the states are something else.
        """
        check_states(states, self.size)
        return torch.from_numpy(np.asarray(states, np.float32) / self.scale)

    def __len__(self) -> int:
        return self._count


@dataclass(frozen=True)
class NeuralModelConfig:
    """Hyper-parameters of `NeuralModel`."""

    members: int = 5
    """E (Chua et al. 2018: 5)"""
    units: int = 64
    """of each of the two hidden layers (ours)"""
    batch: int = 64
    """transitions from which each member learns in an update (ours)"""
    learning_rate: float = 1e-3
    """Adam's (Chua et al. 2018: 1e-3)"""
    end_weight: float = 10.0
    """how much more a transition that ended the episode weighs in the cross-entropy, > 0: ends are
    rare (10 in the code of Ha & Schmidhuber 2018). The odds of an imagined end are divided by it,
    or ends would be imagined that much too often."""

    def __post_init__(self) -> None:
        _check(self, "members", "units", "batch")
        positive("end_weight", self.end_weight)


class NeuralModel:
    """E networks that say what follows a state and an action: its change, the reward, the end.

    They differ by their first weights and by the batches they learn from. Each real transition
    brings one update, of every member on a batch of its own. The loss is the squared error of the
    change of state, in units of its standard deviation so far, plus that of the reward, plus the
    cross-entropy of the end.

    Args:
        actions: A.
        buffer: the real transitions, which `dyna_train` adds to.
        config: of the networks.
        seed: of the first weights and all draws.

    Raises:
        ValueError: there is no action, or another argument is not as it must be.
    """

    def __init__(
        self,
        actions: int,
        buffer: TransitionBuffer,
        config: NeuralModelConfig | None = None,
        *,
        seed: int = 0,
    ) -> None:
        check_parts(actions, buffer, config, NeuralModelConfig, seed)
        self.config = config = config or NeuralModelConfig()
        self.actions, self.buffer = actions, buffer
        self.network = seeded(
            seed, lambda: _Networks(buffer.size + actions, buffer.size + 2, config)
        )
        self._optimiser = torch.optim.Adam(
            self.network.parameters(), lr=config.learning_rate, fused=True
        )
        self._rng = np.random.default_rng([seed, 1])
        self._changes, self._squares = 0, np.zeros(buffer.size)
        self._unit = np.ones(buffer.size, np.float32)  # (D,) root mean square of a change
        self._end_weight = torch.tensor(config.end_weight)
        self._loss = torch.zeros(())

    @property
    def loss(self) -> float:
        """Of the last update, the mean over members; 0 before the first."""
        return float(self._loss)

    def update(
        self, state: ArrayLike, action: int, reward: float, next_state: ArrayLike | None
    ) -> None:
        """One update, from a real transition and others replayed from the buffer.

        Raises:
            ValueError: the transition is none, see `TransitionBuffer.add`.
            NotFiniteError: the loss is not finite.
        """
        check_actions(action, self.actions)
        members, size = self.config.members, self.buffer.size
        some = self.buffer.with_replayed(
            members * self.config.batch, state, action, reward, next_state
        )
        change = some.next_states - some.states  # (E * B, D)
        if next_state is not None:
            self._changes += 1
            self._squares += np.square(change[0])
            self._unit = np.sqrt(self._squares / self._changes).astype(np.float32) + 1e-6
        inputs = self._inputs(some.states, some.actions).view(members, -1, size + self.actions)
        target = torch.from_numpy(change / self._unit).view(members, -1, size)  # (E, B, D)
        paid = torch.from_numpy(some.rewards).view(members, -1)  # (E, B)
        ended = target[..., 0].isnan()  # (E, B)
        said = self.network(inputs)  # (E, B, D + 2)
        off = (said[..., :size] - target).masked_fill(ended[..., None], 0.0)  # (E, B, D)
        loss = off.square().mean() + (said[..., size] - paid).square().mean()
        loss = loss + nn.functional.binary_cross_entropy_with_logits(
            said[..., -1], ended.float(), pos_weight=self._end_weight
        )
        self._loss = _descend(self._optimiser, loss, "the model")

    def imagine(self, states: ArrayLike, actions: ArrayLike) -> tuple[Floats, Floats]:
        """What, for each state, one member drawn for it says would follow.

        Args:
            states: (B, D), or one (D,).
            actions: (B,) integers in 0..A-1, or one.

        Returns:
            next states (B, D), a row of NaN where the episode would end (drawn with the probability
            that the member gives it, less the weight of ends), and rewards (B,); for one state (D,)
            and ().

        Raises:
            ValueError: the states or actions are something else.
        """
        check_states(states, self.buffer.size)
        check_actions(actions, self.actions, len(np.atleast_2d(states)))
        given = np.atleast_2d(np.asarray(states, np.float32))  # (B, D)
        rows, size = len(given), self.buffer.size
        inputs = self._inputs(given, np.atleast_1d(actions))
        with torch.inference_mode():
            said = self.network(inputs.expand(self.config.members, -1, -1)).numpy()
        chosen = self._rng.integers(self.config.members, size=rows)
        said = said[chosen, np.arange(rows)]  # (B, D + 2)
        next_states = given + self._unit * said[:, :size]  # (B, D)
        log_odds = said[:, -1] - math.log(self.config.end_weight)  # (B,) of an end
        next_states[self._rng.random(rows) < 1 / (1 + np.exp(-log_odds))] = np.nan
        rewards = said[:, size]
        return (next_states[0], rewards[0]) if np.ndim(states) == 1 else (next_states, rewards)

    def _inputs(self, states: Floats, actions: Integers) -> Tensor:
        """(B, D + A): scaled states, and actions one-hot."""
        hot = torch.from_numpy(np.eye(self.actions, dtype=np.float32)[actions])  # (B, A)
        return torch.cat([self.buffer.inputs(states), hot], 1)


class _Networks(nn.Module):
    """E networks of two hidden layers, all in one batched matrix product a layer."""

    def __init__(self, inputs: int, outputs: int, config: NeuralModelConfig) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for below, above in pairwise((inputs, config.units, config.units, outputs)):
            bound = below**-0.5  # as nn.Linear
            for kind, rows in ((self.weights, below), (self.biases, 1)):
                values = torch.empty(config.members, rows, above).uniform_(-bound, bound)
                kind.append(nn.Parameter(values))

    def forward(self, x: Tensor) -> Tensor:
        """(E, B, inputs) -> (E, B, outputs)."""
        (first, second, last) = zip(self.weights, self.biases, strict=True)
        for weight, bias in (first, second):
            x = torch.relu(torch.baddbmm(bias, x, weight))  # (E, B, units)
        weight, bias = last
        return torch.baddbmm(bias, x, weight)


@dataclass(frozen=True)
class NeuralPolicyConfig:
    """Hyper-parameters of `NeuralPolicy`."""

    units: int = 64
    """of each of the two hidden layers (ours)"""
    batch: int = 64
    """transitions in the update that a real one brings (ours)"""
    learning_rate: float = 1e-3
    """Adam's (ours)"""
    discount: float = 0.98
    """gamma in [0, 1), for each step (ours: at 0.99 values grow for longer and settle later)"""
    target_rate: float = 0.02
    """share of the new weights in the averaged target network, at each update (ours)"""
    first_exploration: float = 1.0
    """epsilon at the first real step, in [0, 1]"""
    last_exploration: float = 0.05
    """epsilon in the end, in [0, 1]"""
    exploration_steps: int = 1000
    """real steps over which epsilon falls from the one to the other, linearly (ours)"""

    def __post_init__(self) -> None:
        _check(self, "units", "batch", "exploration_steps")
        within("discount", self.discount, "[0, 1)")
        within("target_rate", self.target_rate, "(0, 1]")
        for name in ("first_exploration", "last_exploration"):
            within(name, getattr(self, name), "[0, 1]")


class NeuralPolicy:
    """Epsilon-greedy on a Q-network that learns by double Q-learning.

    Args:
        actions: A.
        buffer: the real transitions, with which a single one is replayed.
        config: of the network.
        seed: of the first weights and all draws.

    Raises:
        ValueError: there is no action, or another argument is not as it must be.
    """

    def __init__(
        self,
        actions: int,
        buffer: TransitionBuffer,
        config: NeuralPolicyConfig | None = None,
        *,
        seed: int = 0,
    ) -> None:
        check_parts(actions, buffer, config, NeuralPolicyConfig, seed)
        self.config = c = config or NeuralPolicyConfig()
        self.actions, self.buffer = actions, buffer
        self.network = seeded(
            seed,
            lambda: nn.Sequential(
                nn.Linear(buffer.size, c.units), nn.ReLU(), nn.Linear(c.units, c.units), nn.ReLU(),
                nn.Linear(c.units, actions),
            ),
        )  # fmt: skip
        self.target = copy.deepcopy(self.network).requires_grad_(False)
        self._optimiser = torch.optim.Adam(
            self.network.parameters(), lr=c.learning_rate, fused=True
        )
        self._rng = np.random.default_rng([seed, 2])
        self.steps = 0
        """actions chosen for one state alone: real ones"""
        self.updates = 0
        """of the network"""

    @property
    def exploration(self) -> float:
        """Epsilon now."""
        c = self.config
        done = min(1.0, self.steps / c.exploration_steps)
        return c.first_exploration + done * (c.last_exploration - c.first_exploration)

    def act(self, states: ArrayLike) -> int | Integers:
        """Actions (B,) for states (B, D), or for one real state (D,) an int."""
        actions = self.greedy(np.atleast_2d(states))  # (B,)
        explore = self._rng.random(len(actions)) < self.exploration
        actions[explore] = self._rng.integers(self.actions, size=int(explore.sum()))
        if np.ndim(states) > 1:
            return actions
        self.steps += 1
        return int(actions[0])

    def greedy(self, states: ArrayLike) -> Integers:
        """The best actions (B,) for states (B, D)."""
        with torch.inference_mode():
            values = self.network(self.buffer.inputs(states))  # (B, A)
            best: Integers = values.argmax(1).numpy()
        return best

    def learn(
        self, states: ArrayLike, actions: ArrayLike, rewards: ArrayLike,
        next_states: ArrayLike | None,
    ) -> None:  # fmt: skip
        """One update, from a batch of transitions, or from one and others replayed.

        The loss is the mean square of Q(s, a) - (r + gamma Q'(s', argmax_a' Q(s', a'))), where Q'
        is the target network, and the second term is 0 where nothing follows. (Not Huber's loss:
        that caps what a surprising end can teach, and CartPole then drove off its track.)

        Args:
            states: (B, D), or one (D,).
            actions: (B,), or one.
            rewards: (B,), or one.
            next_states: (B, D), NaN where nothing follows; or one (D,), or None.

        Raises:
            ValueError: they are not transitions, or not as many of each.
            NotFiniteError: the loss is not finite.
        """
        check_states(states, self.buffer.size)
        check_actions(actions, self.actions, len(np.atleast_2d(states)))
        some = (states, actions, rewards, next_states)
        if np.ndim(states) == 1:
            some = self.buffer.with_replayed(self.config.batch, *some)
        before, after = self.buffer.inputs(some[0]), self.buffer.inputs(some[3])  # (B, D) each
        taken = torch.from_numpy(np.asarray(some[1], np.int64))[:, None]  # (B, 1)
        paid = torch.from_numpy(_floats("rewards", some[2]))[:, None]  # (B, 1)
        if not len(before) == len(paid) == len(after):
            raise ValueError(
                f"{len(before)} states need as many rewards and next states, got {len(paid)} "
                f"and {len(after)}"
            )
        with torch.no_grad():
            goes_on = ~after[:, :1].isnan()  # (B, 1)
            after = after.nan_to_num(0.0)
            best = self.network(after).argmax(1, keepdim=True)  # (B, 1)
            goal = paid + self.config.discount * goes_on * self.target(after).gather(1, best)
        value = self.network(before).gather(1, taken)  # (B, 1)
        _descend(self._optimiser, nn.functional.mse_loss(value, goal), "the policy")
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.target.parameters()), list(self.network.parameters()),
                self.config.target_rate,
            )  # fmt: skip
        self.updates += 1


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor, what: str) -> Tensor:
    """One step down `loss`, which is returned without its graph."""
    value = loss.detach()
    if not math.isfinite(value):
        raise NotFiniteError(f"learning {what}: the loss is {float(value)}")
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return value


def _check(config: NeuralModelConfig | NeuralPolicyConfig, *counts: str) -> None:
    for name in counts:
        at_least(name, getattr(config, name), 1)
    positive("learning_rate", config.learning_rate)


def _floats(name: str, value: ArrayLike | None) -> Floats:
    """`value` as float32 numbers.

    Raises:
        ValueError: it does not hold numbers.
    """
    try:
        found = np.asarray(value)
    except ValueError:  # lists of unequal lengths
        found = np.empty((), object)
    if found.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be numbers, got {value!r:.80}")
    return found.astype(np.float32, copy=False)


def check_states(states: ArrayLike | None, size: int) -> None:
    """Raises ValueError: they are not states (B, D) or one (D,)."""
    found = _floats("states", states)
    if found.ndim not in (1, 2) or found.shape[-1] != size:
        raise ValueError(f"states must be numbers (B, {size}), got the shape {found.shape}")


def check_actions(actions: ArrayLike, count: int, rows: int | None = None) -> None:
    """Raises ValueError: they are not integers in 0..A-1, one for each of so many states."""
    found = np.asarray(actions)
    if found.dtype.kind not in "biu" or found.min(initial=0) < 0 or found.max(initial=0) >= count:
        raise ValueError(f"actions must be integers in 0..{count - 1}, got {actions!r:.80}")
    if rows is not None and found.size != rows:
        raise ValueError(f"{rows} states need as many actions, got {found.size}")


def check_parts(actions: int, buffer: object, config: object, kind: type, seed: int) -> None:
    """Raises ValueError: what a model or a policy is made of is not as it must be."""
    at_least("actions", actions, 1)
    if not isinstance(buffer, TransitionBuffer):
        raise ValueError(f"buffer must be a TransitionBuffer, got {buffer!r}")
    if config is not None and not isinstance(config, kind):
        raise ValueError(f"config must be a {kind.__name__} or None, got {config!r}")
    at_least("seed", seed, 0)
