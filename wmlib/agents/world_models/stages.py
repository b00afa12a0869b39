"""A run's folder, cycle by cycle: where each stage's result lies, and what it says for the log.

What a stage says lies in the file of its result, or is written before the stage counts as over. So
whoever kills a run, and whenever, no number of the log is lost.
"""

from __future__ import annotations

from pathlib import Path

from wmlib.checkpoint import load_checkpoint
from wmlib.runs import Clock, Row
from wmlib.storage import read_json

DRIVEN = "driven.json"
"""What a cycle's driving says, and that it is over."""


class Stages:
    """Of a run in `folder`, whose cycles are driven, V (in cycle 0), M and C."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, cycle: int, name: str) -> Path:
        """Of a result."""
        return self.folder / f"cycle-{cycle:02d}" / name

    def state(self, cycle: int, name: str) -> Path:
        """Of what an unfinished stage goes on from."""
        return self.folder / "state" / f"{name}-{cycle:02d}.safetensors"

    def clock(self, cycle: int, name: str) -> Clock:
        return Clock(self.state(cycle, name).with_suffix(".seconds"))

    def rows(self, cycles: int) -> list[Row]:
        """The log as far as cycles are over, of 0 to `cycles`."""
        rows: list[Row] = []
        for cycle in range(cycles + 1):
            results = (self.path(cycle, name) for name in (DRIVEN, "controller.safetensors"))
            if not all(path.exists() for path in results):
                break
            rows.append(self.row(cycle))
        return rows

    def row(self, cycle: int) -> Row:
        """The line of a cycle that is over: what each of its stages said."""
        parts = [self._driven(cycle)]
        for kind in ("vision", "memory", "controller")[min(cycle, 1) :]:
            _, manifest = load_checkpoint(self.path(cycle, f"{kind}.safetensors"), kind)
            parts.append(manifest["made"]["row"])
        row = {name: value for part in parts for name, value in part.items()}
        del row["frames"]
        frames = sum(self._driven(earlier)["frames"] for earlier in range(cycle + 1))
        seconds = sum(part["seconds"] for part in parts)
        return row | {"cycle": cycle, "real_steps": frames, "seconds": seconds}

    def _driven(self, cycle: int) -> Row:
        path = self.path(cycle, DRIVEN)
        return read_json(path.read_bytes(), path)
