"""Whole agents, a folder each, named after its paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load(folder: str | Path) -> Any:
    """The trained agent in a folder, whichever it is.

    Raises:
        FileNotFoundError: there is none; the message says what there is.
        DamagedFileError: it was cut short or altered.
        ValueError: it is none of ours.
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
        if not Path(folder, Agent.FILE).exists():
            raise FileNotFoundError(_told(Path(folder)))
        return Agent.load(folder)
    kinds: dict[str, Any] = {one.KIND: one for one in (Dreamer, DreamerV3, MuZero, IRIS, Diamond)}
    if (kind := kind_of(path)) not in kinds:
        raise ValueError(f"{path} holds {kind!r}; there are agents of {', '.join(kinds)}")
    return kinds[kind].load(folder)


def _told(folder: Path) -> str:
    """What a place is that holds no agent."""
    if not folder.is_dir():
        kind = "is a file; name the folder of an agent"
        return f"{folder} {kind}" if folder.exists() else f"no such folder: {folder}"
    stems = {path.stem for path in folder.glob("*.safetensors")} - {"state"}
    found = ", ".join(sorted(stems))
    if not found and (folder / "run.json").exists():
        return (
            f"{folder} holds a run, but no agent; if it is not finished, go on with it by --resume "
            "(in Python: resume=True)"
        )
    return f"{folder} holds {found}, but no agent" if found else f"{folder} holds no agent"
