"""Whole agents, a folder each, named after its paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load(folder: str | Path) -> Any:
    """The trained agent in a folder, whichever it is.

    Raises:
        FileNotFoundError: there is none.
        DamagedFileError: it was cut short or altered.
    """
    from wmlib.agents.diamond.agent import Diamond
    from wmlib.agents.dreamer.agent import Dreamer
    from wmlib.agents.dreamerv3.agent import DreamerV3
    from wmlib.agents.iris.agent import IRIS
    from wmlib.agents.muzero.agent import MuZero
    from wmlib.agents.world_models.agent import Agent
    from wmlib.checkpoint import kind_of

    path = Path(folder, Dreamer.FILE)
    if not path.exists():
        return Agent.load(folder)
    modern = DreamerV3, MuZero, IRIS, Diamond
    kinds: dict[str, Any] = {kind.KIND: kind for kind in modern}
    return kinds.get(kind_of(path), Dreamer).load(folder)
