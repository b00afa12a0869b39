"""Returns: what a state is worth, from the rewards that follow it."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from wmlib.shapes import Shape, check_shape
from wmlib.typed import Share, typed


@typed
def lambda_returns(
    rewards: Annotated[Tensor, Shape("T", ...)],
    continues: Tensor,
    values: Tensor,
    discount: Share,
    trace: Share,
) -> Tensor:
    """The lambda-return of every step of rollouts.

    `R_t = r_t + discount * c_t * ((1 - trace) * v_{t+1} + trace * R_{t+1})`, and R_T = v_T.

    Args:
        rewards: (T, ...) r_t, of the step from t to t + 1.
        continues: (T, ...) c_t in [0, 1], the probability that the rollout goes on after that step.
        values: (T + 1, ...) v_t.
        discount: gamma.
        trace: lambda in [0, 1].

    Returns:
        (T, ...).

    Raises:
        ValueError: the shapes are others, T is 0, or a rate is not in [0, 1].
    """
    check_shape("continues", continues, Tensor, *rewards.shape)
    check_shape("values", values, Tensor, len(rewards) + 1, *rewards.shape[1:])
    following, returns = values[-1], []
    for t in reversed(range(len(rewards))):
        mixed = (1 - trace) * values[t + 1] + trace * following
        following = rewards[t] + discount * continues[t] * mixed
        returns.append(following)
    return torch.stack(returns[::-1])
