"""Training DIAMOND: random play, and from then on an update for every few real steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from wmlib.agents.diamond.agent import Diamond, DiamondConfig, Spaces, usual
from wmlib.learning import train_online
from wmlib.typed import typed


@typed
def train_diamond(
    env_id: str,
    *,
    steps: int = 3000,
    seed: int = 0,
    config: DiamondConfig | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    marks: Sequence[int] = (),
    after: Callable[[int, Diamond], None] | None = None,
    progress: bool = True,
) -> Diamond:
    """From nothing to an agent, within so many real steps; arguments as in `train_online`.

    Args:
        env_id: of frames (H, W, C) of bytes or bools, and of actions to choose among.
        config: of the run; None for `usual(env_id)`.
    """
    config = config or usual(env_id)
    return train_online(
        lambda env: Diamond(Spaces.of(env.observation_space, env.action_space), config, seed=seed),
        env_id, steps=steps, seed=seed, first=config.first, ratio=config.ratio,
        identity={"agent": Diamond.KIND, "config": dataclasses.asdict(config)}, folder=folder,
        resume=resume, marks=marks, after=after, progress=progress,
    )  # fmt: skip
