"""Planning with a model: the cross-entropy method, again at every step (Chua et al. 2018).

There is no policy network. At every real step a search looks for the actions of the next T steps,
the first of them is carried out, and the search begins again from what is left of the plan
(model-predictive control). What a plan is worth, a model says; this module asks for no more.

Letters: P plans (the population), T horizon, O numbers in an observation, A in an action.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from wmlib.shapes import Shape, as_array, check_shape
from wmlib.spaces import bounded_box
from wmlib.typed import PositiveInt, PositiveShare, ProperShare, typed


@typed
@dataclass(frozen=True)
class CEMConfig:
    """Hyper-parameters of the search. "Paper" is Chua et al. 2018, mostly the authors' code."""

    horizon: PositiveInt = 35
    """T, steps in a plan (paper: 25 or 30; ours: piloted on Pendulum-v1's true dynamics)"""
    population: PositiveInt = 100
    """P, plans an iteration (paper: 400 or 500; ours: piloted there)"""
    iterations: PositiveInt = 5
    """(paper: 5)"""
    elites: PositiveShare = 0.1
    """share of the plans that the next ones are drawn around (paper: 0.1)"""
    momentum: ProperShare = 0.1
    """share of the old mean and variance that stays at each iteration (paper: 0.1)"""


def truncated_normal(
    shape: tuple[int, ...], generator: torch.Generator, device: torch.device | str = "cpu"
) -> Tensor:
    """Draws from the standard Gaussian cut off at ±2, by the inverse of its distribution."""
    uniform = torch.rand(shape, generator=generator, device=device)
    draws: Tensor = math.sqrt(2) * torch.erfinv(math.erf(math.sqrt(2)) * (2 * uniform - 1))
    return draws


@typed
def cem(
    values: Callable[[Tensor], Tensor],
    mean: Annotated[Tensor, Shape("T", "A")],
    low: Annotated[Tensor, Shape("A")],
    high: Annotated[Tensor, Shape("A")],
    config: CEMConfig,
    generator: torch.Generator,
) -> Tensor:
    """The cross-entropy method: the plan near which the best plans lie.

    Plans are drawn around a mean; the best of them say where to draw the next ones. The variance
    begins at (range)^2 / 16 and is capped by (distance to the nearer bound / 2)^2, so that draws
    cut off at two standard deviations never leave the bounds.

    Args:
        values: of plans (P, T, A), (P,), more is better. What is not finite counts as worst, as
            long as some plan is worth a finite number.
        mean: (T, A) where the search begins, within the bounds.
        low, high: (A,) bounds of an action.
        config: of the search; the horizon is that of `mean`.
        generator: of the plans.

    Returns:
        (T, A), the mean after the last iteration.

    Raises:
        ValueError: the mean is not a plan within the bounds, `values` gives something else than a
            tensor (P,), or no plan is worth a finite number.
    """
    if not ((low <= mean) & (mean <= high)).all():
        raise ValueError(f"mean must lie within {low.tolist()} and {high.tolist()}, got {mean}")
    variance = ((high - low).square() / 16).expand_as(mean)  # (T, A)
    elites = max(1, round(config.elites * config.population))
    for _ in range(config.iterations):
        room = torch.minimum(mean - low, high - mean).clamp(min=0) / 2  # (T, A)
        sd = torch.minimum(variance.sqrt(), room)
        noise = truncated_normal((config.population, *mean.shape), generator, mean.device)
        plans = mean + sd * noise  # (P, T, A)
        worth = values(plans)  # (P,)
        check_shape("the values of plans", worth, Tensor, config.population)
        if not worth.isfinite().any():
            raise ValueError(f"none of {len(worth)} plans is worth a finite number, got {worth[0]}")
        worth = torch.where(worth.isfinite(), worth, -math.inf)
        best = plans[worth.topk(elites).indices]  # (elites, T, A)
        mean = torch.lerp(best.mean(0), mean, config.momentum)
        variance = torch.lerp(best.var(0, correction=0), variance, config.momentum)
    return mean


class Planner:
    """Model-predictive control: a policy that plans anew at every step (see `episodes.Policy`).

    Args:
        returns: what plans (P, T, A) from an observation (O,) are expected to earn, (P,), with a
            generator for its randomness: a model's `expected_returns`, or the real dynamics.
        space: of the actions.
        config: of the search.
        device: that `returns` computes on.

    Raises:
        ValueError: the space is not a bounded Box of one axis, or `returns` cannot be called.
    """

    @typed
    def __init__(
        self,
        returns: Callable[[Tensor, Tensor, torch.Generator], Tensor],
        space: gym.Space,
        config: CEMConfig | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.space = bounded_box(space)
        self.config = config or CEMConfig()
        self.returns, self.device = returns, torch.device(device)
        self.low, self.high = (
            torch.as_tensor(bound, dtype=torch.float32, device=device)  # (A,)
            for bound in (self.space.low, self.space.high)
        )

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode, with no plan but the middle of the range."""
        self._generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        self.plan = ((self.low + self.high) / 2).expand(self.config.horizon, -1)  # (T, A)
        self.steps = 0
        """actions chosen in this episode"""

    @torch.inference_mode()
    def act(self, observation: np.ndarray) -> np.ndarray:
        """The first action (A,) of the best plan found from an observation (O,).

        The search begins at the last plan, a step on (its end: the middle of the range); it lies in
        `plan` (T, A).

        Raises:
            ValueError: the observation is not finite numbers, no plan is worth a finite number
                (the message names the step), or there was no `reset`.
        """
        if not hasattr(self, "plan"):
            raise ValueError("the planner has no plan yet: call reset before act")
        seen = as_array("the observation", observation, "O", finite=True)
        start = torch.as_tensor(seen, dtype=torch.float32, device=self.device)  # (O,)
        try:
            self.plan = cem(
                lambda plans: self.returns(start, plans, self._generator),
                self.plan, self.low, self.high, self.config, self._generator,
            )  # fmt: skip
        except ValueError as error:
            raise ValueError(f"planning step {self.steps}: {error}") from error
        self.steps += 1
        action = torch.clamp(self.plan[0], self.low, self.high).cpu().numpy()  # (A,)
        self.plan = torch.cat([self.plan[1:], (self.low + self.high)[None] / 2])  # (T, A)
        return action


class UniformPolicy:
    """Actions drawn evenly from a bounded Box: what is tried before there is a model.

    Raises:
        ValueError: the space is not a bounded Box of one axis.
    """

    def __init__(self, space: gym.Space) -> None:
        self.space = bounded_box(space)

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def act(self, observation: np.ndarray) -> np.ndarray:
        return self._rng.uniform(self.space.low, self.space.high).astype(np.float32)  # (A,)
