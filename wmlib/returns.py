"""Returns: what a state is worth, from the rewards that follow it."""

from __future__ import annotations

import torch
from torch import Tensor

from wmlib.typed import typed


def lambda_returns(
    rewards: Tensor, continues: Tensor, values: Tensor, discount: float, trace: float
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
    check_returns(rewards, continues, values, discount, trace)
    following, returns = values[-1], []
    for t in reversed(range(len(rewards))):
        mixed = (1 - trace) * values[t + 1] + trace * following
        following = rewards[t] + discount * continues[t] * mixed
        returns.append(following)
    return torch.stack(returns[::-1])


@typed
def check_returns(
    rewards: Tensor, continues: Tensor, values: Tensor, discount: float, trace: float
) -> None:
    """Refuse what has no lambda-return: no tensors, other shapes, rates outside [0, 1]."""
    for name, part in (("rewards", rewards), ("continues", continues), ("values", values)):
        if not part.ndim:
            raise ValueError(f"{name} must have an axis of time, got a single number")
    for name, rate in (("discount", discount), ("trace", trace)):
        if not 0 <= rate <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {rate}")
    t, *rest = rewards.shape
    if t < 1 or continues.shape != rewards.shape or values.shape != (t + 1, *rest):
        raise ValueError(
            f"rewards (T, ...) need as many continues and one more value, got "
            f"{tuple(rewards.shape)}, {tuple(continues.shape)} "
            f"and {tuple(values.shape)}"
        )
