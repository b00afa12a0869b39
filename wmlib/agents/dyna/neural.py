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
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from wmlib.agents.dyna.buffer import (
    Integers,
    TransitionBuffer,
    as_floats,
    check_actions,
    check_states,
)
from wmlib.agents.dyna.model import descend
from wmlib.training import seeded
from wmlib.typed import (
    PositiveFloat,
    PositiveInt,
    PositiveShare,
    ProperShare,
    Seed,
    Share,
    check_same,
    typed,
)


@typed
@dataclass(frozen=True)
class NeuralPolicyConfig:
    """Hyper-parameters of `NeuralPolicy`."""

    units: PositiveInt = 64
    """of each of the two hidden layers (ours)"""
    batch: PositiveInt = 64
    """transitions in the update that a real one brings (ours)"""
    learning_rate: PositiveFloat = 1e-3
    """Adam's (ours)"""
    discount: ProperShare = 0.98
    """gamma in [0, 1), for each step (ours: at 0.99 values grow for longer and settle later)"""
    target_rate: PositiveShare = 0.02
    """share of the new weights in the averaged target network, at each update (ours)"""
    first_exploration: Share = 1.0
    """epsilon at the first real step, in [0, 1]"""
    last_exploration: Share = 0.05
    """epsilon in the end, in [0, 1]"""
    exploration_steps: PositiveInt = 1000
    """real steps over which epsilon falls from the one to the other, linearly (ours)"""


class NeuralPolicy:
    """Epsilon-greedy on a Q-network that learns by double Q-learning.

    Args:
        actions: A.
        buffer: the real transitions, with which a single one is replayed.
        config: of the network.
        seed: of the first weights and all draws.
        device: of the networks.

    Raises:
        ValueError: there is no action, or another argument is not as it must be.
    """

    @typed
    def __init__(
        self,
        actions: PositiveInt,
        buffer: TransitionBuffer,
        config: NeuralPolicyConfig | None = None,
        *,
        seed: Seed = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = c = config or NeuralPolicyConfig()
        self.actions, self.buffer = actions, buffer
        self.network = seeded(
            seed,
            lambda: nn.Sequential(
                nn.Linear(buffer.size, c.units), nn.ReLU(), nn.Linear(c.units, c.units), nn.ReLU(),
                nn.Linear(c.units, actions),
            ),
        ).to(device)  # fmt: skip
        self.device = torch.device(device)
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
            values = self.network(self.buffer.inputs(states).to(self.device))  # (B, A)
            best: Integers = values.argmax(1).cpu().numpy()
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
        paid = torch.from_numpy(as_floats("rewards", some[2], ...))[:, None]  # (B, 1)
        check_same("how many rewards and next states", (len(paid), len(after)), (len(before),) * 2)
        before, after, taken, paid = (part.to(self.device) for part in (before, after, taken, paid))
        with torch.no_grad():
            goes_on = ~after[:, :1].isnan()  # (B, 1)
            after = after.nan_to_num(0.0)
            best = self.network(after).argmax(1, keepdim=True)  # (B, 1)
            goal = paid + self.config.discount * goes_on * self.target(after).gather(1, best)
        value = self.network(before).gather(1, taken)  # (B, 1)
        descend(self._optimiser, nn.functional.mse_loss(value, goal), "the policy")
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.target.parameters()), list(self.network.parameters()),
                self.config.target_rate,
            )  # fmt: skip
        self.updates += 1
