"""Training DreamerV3: random play, and from then on an update for every few real steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from wmlib.agents.dreamerv3.agent import DreamerV3, DreamerV3Config, Spaces
from wmlib.learning import train_online
from wmlib.typed import typed


@typed
def train_dreamerv3(
    env_id: str,
    *,
    steps: int = 3000,
    seed: int = 0,
    config: DreamerV3Config | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    marks: Sequence[int] = (),
    after: Callable[[int, DreamerV3], None] | None = None,
    progress: bool = True,
) -> DreamerV3:
    """From nothing to an agent, within so many real steps; arguments as in `train_online`.

    Args:
        env_id: of observations in a Box, and of actions to choose among or in a bounded Box (A,).
        config: of the run.
    """
    config = config or DreamerV3Config()
    return train_online(
        lambda env: DreamerV3(
            Spaces.of(env.observation_space, env.action_space), config, seed=seed
        ),
        env_id, steps=steps, seed=seed, first=config.first, ratio=config.ratio,
        identity={"agent": DreamerV3.KIND, "config": dataclasses.asdict(config)}, folder=folder,
        resume=resume, marks=marks, after=after, progress=progress,
    )  # fmt: skip
