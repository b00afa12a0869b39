"""A run's folder, cycle by cycle: where each stage's result lies, and what it says for the log.

What a stage says lies in the file of its result, or is written before the stage counts as over. So
whoever kills a run, and whenever, no number of the log is lost.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from wmlib.agents.world_models.agent import Agent
from wmlib.checkpoint import Manifest, load_checkpoint, made_by, save_module
from wmlib.runs import Clock, Row
from wmlib.storage import read_json, write_atomically

LEARNED = ("vision", "memory", "controller")
"""V, M and C: a stage of a cycle each, whose result is a checkpoint of that name"""

RESULT = "controller.safetensors"
"""C is written last: it says that a cycle is over, and at the top of the folder that the run is."""

DRIVEN = "driven.json"
"""What a cycle's driving says, and that it is over."""


class Stages:
    """Of a run in `folder`, whose cycles are driven, V, M and C; cycle 0 has all of them.

    Args:
        folder: of the run.
        seed: of the run, for the manifests.
        repeated: those of `LEARNED` that later cycles have as well.
    """

    def __init__(self, folder: Path, seed: int, repeated: Sequence[str] = LEARNED) -> None:
        self.folder, self.seed, self.repeated = folder, seed, repeated

    def path(self, cycle: int, name: str) -> Path:
        """Of a result."""
        return self.folder / f"cycle-{cycle:02d}" / name

    def checkpoint(self, cycle: int, kind: str) -> Path:
        """Of one of `LEARNED`."""
        return self.path(cycle, f"{kind}.safetensors")

    def state(self, cycle: int, name: str) -> Path:
        """Of what an unfinished stage goes on from."""
        return self.folder / "state" / f"{name}-{cycle:02d}.safetensors"

    def clock(self, cycle: int, name: str) -> Clock:
        return Clock(self.state(cycle, name).with_suffix(".seconds"))

    def keep_driven(self, cycle: int, row: Row, clock: Clock) -> None:
        """The driving of a cycle is over; its real steps stand in the row as `steps`."""
        text = json.dumps({**row, "seconds": clock.seconds}, indent=2)
        write_atomically(self.path(cycle, DRIVEN), text.encode())

    def made(self, steps: int, clock: Clock, row: Row) -> Manifest:
        """What made a stage's result, and what the log says of it: one file, so one is not lost."""
        seconds = clock.seconds
        made = made_by(seed=self.seed, steps=steps, seconds=seconds)
        return made | {"row": {**row, "seconds": seconds}}

    def rows(self, cycles: int) -> list[Row]:
        """The log as far as cycles are over, of 0 to `cycles`."""
        rows: list[Row] = []
        for cycle in range(cycles + 1):
            if not all(self.path(cycle, name).exists() for name in (DRIVEN, RESULT)):
                break
            rows.append(self.row(cycle))
        return rows

    def row(self, cycle: int) -> Row:
        """The line of a cycle that is over: what each of its stages said."""
        parts = [self._driven(cycle)]
        for kind in self.repeated if cycle else LEARNED:
            parts.append(self._manifest(cycle, kind)["row"])
        row = {name: value for part in parts for name, value in part.items()}
        del row["steps"]
        steps = sum(self._driven(earlier)["steps"] for earlier in range(cycle + 1))
        seconds = sum(part["seconds"] for part in parts)
        return row | {"cycle": cycle, "real_steps": steps, "seconds": seconds}

    def _driven(self, cycle: int) -> Row:
        path = self.path(cycle, DRIVEN)
        return read_json(path.read_bytes(), path)

    def _manifest(self, cycle: int, kind: str) -> Manifest:
        """What made a result."""
        _, manifest = load_checkpoint(self.checkpoint(cycle, kind), kind)
        made: Manifest = manifest["made"]
        return made

    def finish(self, agent: Agent, rows: Sequence[Row]) -> None:
        """The result of the run: its last V, M and C side by side; `rows` are its whole log."""
        last = len(rows) - 1
        for kind, module in (("vision", agent.vision), ("memory", agent.memory)):
            made = self._manifest(last if kind in self.repeated else 0, kind)
            save_module(self.folder / f"{kind}.safetensors", module, kind, made)
        steps = sum(self._manifest(cycle, "controller")["steps"] for cycle in range(last + 1))
        made = made_by(seed=self.seed, steps=steps, seconds=sum(row["seconds"] for row in rows))
        made["real_steps"] = int(rows[-1]["real_steps"])
        made["environment"] = agent.environment
        agent.controller.save(self.folder / RESULT, made)
