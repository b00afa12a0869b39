"""Whole agents, a folder each, named after its paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load(folder: str | Path) -> Any:
    """The trained agent in a folder, whichever it is.

    Raises:
        FileNotFoundError: there is none; the message says what there is.
        NotADirectoryError: it is no folder.
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
        _check_holds(Path(folder), Agent.FILE)
        return Agent.load(folder)
    kinds: dict[str, Any] = {one.KIND: one for one in (Dreamer, DreamerV3, MuZero, IRIS, Diamond)}
    if (kind := kind_of(path)) not in kinds:
        raise ValueError(f"{path} holds {kind!r}; there are agents of {', '.join(kinds)}")
    return kinds[kind].load(folder)


def _check_holds(folder: Path, file: str) -> None:
    """Say what a folder is that holds no agent."""
    if not folder.exists():
        raise FileNotFoundError(f"no such folder: {folder}")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; name the folder of an agent")
    if (folder / file).exists():
        return
    what = "no agent"
    if (folder / "run.json").exists():
        what = "a run that is not finished; go on with it by --resume (in Python: resume=True)"
    elif found := sorted(path.stem for path in folder.glob("*.safetensors")):
        what = f"{', '.join(found)}, but no agent"
    raise FileNotFoundError(f"{folder} holds {what}")
