"""Training IRIS: random play, and from then on an update of each network for every real step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from wmlib.agents.iris.agent import IRIS, IRISConfig, Spaces, usual
from wmlib.learning import train_online
from wmlib.typed import typed


@typed
def train_iris(
    env_id: str,
    *,
    steps: int = 3000,
    seed: int = 0,
    config: IRISConfig | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    marks: Sequence[int] = (),
    after: Callable[[int, IRIS], None] | None = None,
    progress: bool = True,
) -> IRIS:
    """From nothing to an agent, within so many real steps; arguments as in `train_online`.

    Args:
        env_id: of frames (rows, columns, C) of bytes or bools, and of actions to choose among.
        config: of the run; None for `usual(env_id)`.
    """
    config = config or usual(env_id)
    return train_online(
        lambda env: IRIS(Spaces.of(env.observation_space, env.action_space), config, seed=seed),
        env_id, steps=steps, seed=seed, first=config.first, ratio=config.ratio,
        identity={"agent": IRIS.KIND, "config": dataclasses.asdict(config)}, folder=folder,
        resume=resume, marks=marks, after=after, progress=progress,
    )  # fmt: skip
