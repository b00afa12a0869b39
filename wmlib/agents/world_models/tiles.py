"""What CarRacing tells: what a tile pays, how much grass is around the car, what a run cost."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np

from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.memory import MemoryConfig
from wmlib.envs.car_racing.official import SIDE
from wmlib.replay import Replay
from wmlib.shapes import Shape, check_shape
from wmlib.typed import PositiveInt, typed


@typed
def tile_rewards(
    rewards: Annotated[np.ndarray, Shape("N", dtype="real", finite=True)],
    action_repeat: PositiveInt,
) -> MemoryConfig:
    """M's configuration for CarRacing's rewards: 1000 / N for each of N tiles, -0.1 a frame.

    N differs from track to track; the typical 1000 / N is taken from the rewards themselves.

    Raises:
        ValueError: no reward is positive, or `action_repeat` is less than 1.
    """
    offset = -0.1 * action_repeat
    positive = rewards[rewards > 0]
    if not len(positive):
        raise ValueError("no reward in these episodes is positive: the car reached no tile")
    return MemoryConfig(
        reward="poisson", reward_scale=float(np.median(positive)) - offset, reward_offset=offset
    )


@typed
def memory_for(codes: Codes, action_repeat: PositiveInt) -> MemoryConfig:
    """M's configuration for any episodes: CarRacing's if its rewards are in them.

    That is so where the most frequent reward is that of a decision without a tile, -0.1 a frame,
    and some are positive. Anything else gets the head for any reward, in units of their spread.

    Raises:
        ValueError: `action_repeat` is less than 1.
    """
    rewards = np.delete(codes.rewards, codes.first + codes.lengths)  # (decisions,)
    values, counts = np.unique(rewards.round(3), return_counts=True)
    usual = values[counts.argmax()]
    if np.isclose(usual, -0.1 * action_repeat, atol=2e-3) and values[-1] > 0:
        config = tile_rewards(rewards, action_repeat)
    else:
        mean, spread = float(rewards.mean()), float(rewards.std())
        same = spread < 1e-5 * max(1.0, abs(mean))  # but for their rounding
        config = MemoryConfig(
            reward="normal", reward_offset=mean, reward_scale=1.0 if same else spread
        )
    latent, actions = codes.mean.shape[1], codes.actions.shape[1]
    return dataclasses.replace(config, latent=latent, actions=actions)


def without_laps(codes: Codes) -> Codes:
    """The same episodes, of whose `ends` only those by leaving the playfield stay (reward -100).

    A finished lap ends an episode as well. An M that foresees it teaches C to avoid it.
    """
    return dataclasses.replace(codes, ends=codes.ends * (codes.rewards < -50))


AROUND = np.zeros((SIDE, SIDE), dtype=bool)
AROUND[50:60, 29:35] = True
AROUND[51:59, 31:33] = False  # the car itself
"""Where pictures show what the car stands on, from half its width to the left to as much right."""


def grass(observations: np.ndarray) -> np.ndarray:
    """How much of what is around the car is grass: (N,) float32, a share in [0, 1].

    The camera follows the car, so the car is always at the same place of the picture, and grass is
    what is much greener than it is red or blue. As a drive begins the camera comes down from far
    above: the share of the first six decisions (of three frames) is that of a wider surrounding.

    Args:
        observations: (N, 64, 64, 3) uint8.

    Raises:
        ValueError: they have another shape or type.
    """
    check_shape("pictures", observations, np.ndarray, "N", SIDE, SIDE, 3, dtype="uint8")
    around = observations[:, AROUND].astype(np.int16)  # (N, 44, 3)
    red, green, blue = np.moveaxis(around, -1, 0)
    share: np.ndarray = (green > np.maximum(red, blue) + 40).mean(1, dtype=np.float32)
    return share


@typed
def real_steps(replay: Replay, action_repeat: PositiveInt) -> int:
    """Frames of the real environment behind a replay, repeated actions counted."""
    return int(
        sum(
            np.sum(e.extras["frames"]) if "frames" in e.extras else len(e) * action_repeat
            for e in replay
        )
    )
