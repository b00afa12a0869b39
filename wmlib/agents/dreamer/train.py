"""Training Dreamer: random play, and from then on an update for every few real steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from wmlib.agents.dreamer.agent import Dreamer, DreamerConfig, fitted
from wmlib.learning import train_online
from wmlib.typed import typed


@typed
def train_dreamer(
    env_id: str,
    *,
    steps: int = 20_000,
    seed: int = 0,
    config: DreamerConfig | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    marks: Sequence[int] = (),
    after: Callable[[int, Dreamer], None] | None = None,
    progress: bool = True,
) -> Dreamer:
    """From nothing to an agent, within so many real steps; arguments as in `train_online`.

    Args:
        env_id: of pictures (H, W, C) of uint8 and actions in a bounded Box of one axis.
        config: of the run; the environment says its frames and its actions.
    """
    config = config or DreamerConfig()
    return train_online(
        lambda env: Dreamer(fitted(config, env.observation_space, env.action_space), seed),
        env_id, steps=steps, seed=seed, first=config.first, ratio=config.ratio,
        identity={"agent": "dreamer", "config": dataclasses.asdict(config)}, folder=folder,
        resume=resume, marks=marks, after=after, progress=progress,
    )  # fmt: skip
