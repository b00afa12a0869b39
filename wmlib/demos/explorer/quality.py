"""How long a dream knows more than a guess: its frames held against the real ones, and baselines.

This is what `quality.js` does in a page, in Python; `wmlib.agents.world_models.forecast` is
the same question asked of many episodes. The noise is NumPy's, which a page can draw as well, so
that both dream alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmlib.agents.world_models.memory import MDNRNN
from wmlib.agents.world_models.mixture import Prediction
from wmlib.agents.world_models.starts import Starts
from wmlib.agents.world_models.world import World
from wmlib.imagination import steps


class Baselines(NamedTuple):
    """Errors without a dream, for T decisions after each of S moments; unit as in `Forecasts`."""

    repeat: np.ndarray
    """(S, T) of the last frame seen, again and again"""
    mean: np.ndarray
    """(S, T) of the average frame"""
    copy: np.ndarray
    """(S, T) of V's copy of the real frame: what is lost without any forecast"""


class Forecasts(NamedTuple):
    """D dreams of T decisions from one moment, held against the frames that really came."""

    rewards: np.ndarray
    """(D, T) float32, as M expects them"""
    errors: np.ndarray
    """(D, T) mean squared error of a frame, pixels in [0, 1]"""


@torch.no_grad()
def follow(
    memory: MDNRNN,
    start: Starts,
    actions: Tensor,
    temperature: float,
    draws: Sequence[np.random.RandomState],
) -> tuple[Tensor, Tensor]:
    """Dream open-loop as a page does: `MDNRNN.rollout` with the noise of NumPy.

    Args:
        memory: M.
        start: one moment.
        actions: (T, A).
        temperature: > 0.
        draws: the noise of each of D dreams.

    Returns:
        codes (D, T, Z) and rewards (D, T), as `MDNRNN.rollout` gives them.
    """
    size, world = len(draws), _Page(memory, temperature, draws)
    begin = world.begin(*(part.expand(size, -1) for part in start.dreamed().values()))
    dreamed = list(steps(world, actions.expand(size, -1, -1), begin, len(actions)))
    codes, rewards = ([s.state.z for s in dreamed], [s.reward for s in dreamed])
    return torch.stack(codes, 1), torch.stack(rewards, 1)


class _Page(World):
    """M as a page dreams in it: each of D dreams has noise of its own."""

    def __init__(
        self, memory: MDNRNN, temperature: float, draws: Sequence[np.random.RandomState]
    ) -> None:
        super().__init__(memory, temperature)
        self.noise = draws

    def draw(self, prediction: Prediction, generator: torch.Generator | None) -> Tensor:
        latent = self.memory.config.latent
        uniform = np.stack([each.random_sample(latent) for each in self.noise])  # (D, Z)
        normal = np.stack([each.standard_normal(latent) for each in self.noise])  # (D, Z)
        for each in self.noise:
            each.random_sample()  # for the end of an episode, of which nothing is made here
        return _drawn(
            prediction, self.temperature, torch.from_numpy(uniform), torch.from_numpy(normal)
        )


def _drawn(prediction: Prediction, temperature: float, uniform: Tensor, normal: Tensor) -> Tensor:
    """`wmlib.agents.world_models.mixture.sample` with noise (D, Z) that is given."""
    share = torch.softmax(prediction.log_pi / temperature, 1).cumsum(1)  # (D, K, Z)
    chosen = (share[:, :-1] < uniform[:, None]).sum(1, keepdim=True)  # (D, 1, Z)
    mean = prediction.mean.gather(1, chosen)[:, 0]  # (D, Z)
    sigma = prediction.log_sigma.gather(1, chosen)[:, 0].exp()  # (D, Z)
    return (mean + sigma * math.sqrt(temperature) * normal).float()


def squared_errors(picture: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Mean squared error (T,) of pictures (T, H, W, C), or of one (H, W, C), against frames."""
    errors: np.ndarray = np.square(picture - frames).mean((1, 2, 3))
    return errors


def better_until(errors: np.ndarray, others: np.ndarray) -> tuple[int, int | None]:
    """The first stretch of decisions 1, 2, ... in which errors (T,) are below others (T,).

    Returns:
        its first decision and its last; (0, 0) if there is none, and (first, None) if it does not
        end.
    """
    better = errors < others  # (T,)
    if not better.any():
        return 0, 0
    first = int(better.argmax())
    return first + 1, None if better[first:].all() else first + int(better[first:].argmin())
