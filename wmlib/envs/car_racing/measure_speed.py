"""How much faster than the official CarRacing ours is, measured on the spot."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np

from wmlib.typed import PositiveFloat, Seed, typed

FALL = 60  # frames: the official camera's fall, in which drawing costs another price
SLICE = 0.25  # seconds for which the official environment runs before it is our turn


@typed
def measure_speed(seconds: PositiveFloat = 20.0, seed: Seed = 0) -> dict[str, Any]:
    """Steps per second of both environments, in this process, taking turns.

    A round is a slice of an official episode (its reset and its first 60 frames are not timed:
    that favours it) and a whole episode of ours, reset included. Both get the same random
    actions. Seconds are this process's processor time, so that a busy machine does not decide the
    result; taking turns lets what still shows weigh on both.

    Args:
        seconds: about how long to measure (> 0; two rounds are run at least).
        seed: of the tracks and the actions.

    Returns:
        ``official`` and ``ours`` [steps/s, median of the rounds], ``ratio`` (the median of the
        rounds' ratios), ``ratio_low`` and ``ratio_high`` (the rounds' range) and ``rounds``.

    Raises:
        ValueError: for ``seconds`` not above 0.
    """
    official = gym.make("CarRacing-v3", disable_env_checker=True)
    ours = gym.make("wmlib/CarRacing-v3", disable_env_checker=True)
    rng = np.random.default_rng(seed)
    actions = rng.uniform([-1, 0, 0], [1, 0.1, 0.1], (1000, 3)).astype(np.float32)

    def restart() -> int:
        official.reset(seed=seed)
        for action in actions[:FALL]:
            official.step(action)
        return FALL

    ours.reset(seed=seed)  # paints what is painted once for a process
    at = restart()
    rates: list[tuple[float, float]] = []
    begin = time.process_time()
    while len(rates) < 2 or time.process_time() - begin < seconds:
        steps, ended, start = 0, False, time.process_time()
        while not ended and time.process_time() - start < SLICE:
            _, _, terminated, truncated, _ = official.step(actions[at])
            ended = terminated or truncated
            at += 1
            steps += 1
        theirs = steps / (time.process_time() - start)
        if ended:
            at = restart()

        steps, start = 0, time.process_time()
        ours.reset(seed=seed + len(rates))
        for action in actions:
            _, _, terminated, truncated, _ = ours.step(action)
            steps += 1
            if terminated or truncated:
                break
        rates.append((theirs, steps / (time.process_time() - start)))
    official.close()
    ours.close()
    table = np.array(rates)  # (rounds, 2)
    ratios = table[:, 1] / table[:, 0]
    return {
        "official": float(np.median(table[:, 0])),
        "ours": float(np.median(table[:, 1])),
        "ratio": float(np.median(ratios)),
        "ratio_low": float(ratios.min()),
        "ratio_high": float(ratios.max()),
        "rounds": len(rates),
    }
