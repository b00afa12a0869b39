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
    from wmlib.agents.dreamer import agent as dreamer
    from wmlib.agents.world_models.agent import Agent

    if Path(folder, dreamer.FILE).exists():
        return dreamer.Dreamer.load(folder)
    return Agent.load(folder)
