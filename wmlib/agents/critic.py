"""What real driving says of the value beyond the horizon, judged by M's own heads.

A value function that learns from dreams alone believes what dreams believe, beyond the horizon too:
where they are too hopeful, so is it. DreamerV3's critic therefore also learns from its replay
(Hafner et al. 2023). Here the real rewards are left out: along a real stretch of driving, M's
reward head says what each decision was worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmlib.dream import paid
from wmlib.memory import MDNRNN, Codes, check_codes
from wmlib.value import ValueFunction, lambda_returns, squared_error


@dataclass(frozen=True)
class RecallConfig:
    """How much of the value function's learning is from real driving."""

    stretches: int = 128
    """B, drawn at every update (ours)"""
    steps: int = 30
    """T, decisions in each (ours)"""
    weight: float = 0.0
    """of their loss against that of the dreams; 0: the value learns from dreams alone"""

    def __post_init__(self) -> None:
        for name in ("stretches", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"weight must be a number, at least 0, got {self.weight}")


class Recollection(NamedTuple):
    """Real driving as M reads it: all moments of some episodes, one after the other."""

    features: Tensor
    """(N, Z + H)"""
    rewards: Tensor
    """(N,) what M's reward head says of the decision taken there: not the real reward"""
    continues: Tensor
    """(N,) M's probability that the episode went on after it"""
    first: np.ndarray
    """rows at which a stretch of real decisions may begin"""


@torch.no_grad()
def recall(memory: MDNRNN, codes: Codes, steps: int, warm: int = 16) -> Recollection:
    """Read real episodes from their beginnings, and judge them by M's heads.

    Args:
        memory: M.
        codes: of real episodes.
        steps: decisions in a stretch.
        warm: decisions that M must have read before a stretch begins.

    Raises:
        ValueError: no episode is long enough, or the codes have other sizes than M's.
    """
    check_codes(memory.config, codes)
    parts, first = [], []
    for row, length in zip(codes.first, codes.lengths, strict=True):
        z = torch.from_numpy(codes.mean[row : row + length + 1])  # (T + 1, Z)
        actions = torch.from_numpy(codes.actions[row : row + length])  # (T, A)
        after, _ = memory(z[None, :-1], actions[None])  # (1, T, H)
        prediction = memory.predict(after[0])
        before = torch.cat([torch.zeros_like(after[0, :1]), after[0]])  # (T + 1, H)
        nothing = torch.zeros(1)
        parts.append((
            torch.cat([z, before], 1),  # (T + 1, Z + H)
            torch.cat([memory.expected_reward(prediction), nothing]),
            torch.cat([torch.sigmoid(-prediction.end), nothing]),
        ))  # fmt: skip
        first.append(row + np.arange(warm, max(warm, length - steps + 1)))
    begin = np.concatenate(first)
    if not len(begin):
        raise ValueError(f"no episode has {warm} decisions of warm-up and {steps} after them")
    features, rewards, continues = (torch.cat(part) for part in zip(*parts, strict=True))
    return Recollection(features, rewards, continues, begin)


def learn_value(
    value: ValueFunction,
    optimiser: torch.optim.Optimizer,
    features: Tensor,
    returns: Tensor,
    *,
    recalled: Recollection | None,
    config: RecallConfig,
    most: float,
    rng: np.random.Generator,
) -> None:
    """One update of the value function, on dreams and on real stretches beside them.

    Args:
        value: trained in place.
        optimiser: of its network.
        features: (..., F) of dreams.
        returns: (...) their lambda-returns.
        recalled: real driving; None for dreams alone.
        config: of the real driving's part.
        most: that a decision is paid, see `wmlib.dream.paid`.
        rng: of the stretches drawn.
    """
    loss = squared_error(value, features, returns)
    if recalled is not None and config.weight:
        begin = recalled.first[rng.integers(len(recalled.first), size=config.stretches)]  # (B,)
        rows = torch.from_numpy(begin + np.arange(config.steps + 1)[:, None])  # (T + 1, B)
        real, now = recalled.features[rows], rows[:-1]
        worth = lambda_returns(
            paid(recalled.rewards[now], most), recalled.continues[now], value.slow(real),
            value.config.discount, value.config.trace,
        )  # (T, B)  # fmt: skip
        loss = loss + config.weight * squared_error(value, real[:-1], worth)
    value.descend(optimiser, loss)
