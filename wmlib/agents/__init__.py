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
    from wmlib.agents.dreamer.agent import Dreamer
    from wmlib.agents.world_models.agent import Agent

    return (Dreamer if Path(folder, Dreamer.FILE).exists() else Agent).load(folder)
