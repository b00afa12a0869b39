"""A long run: who owns its folder, the table it writes, and the line it shows of each cycle."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import numpy as np

from wmlib.storage import DamagedFileError, read_json, write_atomically

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

Row = dict[str, float]


class Log:
    """A table of the run, one line a cycle, in a .csv that grows while the run lasts."""

    COLUMNS = (
        "cycle", "real_steps", "driven_mean", "driven_worst", "driven_best", "ahead_driven",
        "ahead_dreamed", "memory_code", "memory_reward", "memory_cost", "dream_return",
        "dream_cost", "gradient", "seconds",
    )  # fmt: skip

    def __init__(self, path: Path, rows: Iterable[Row] | None = None) -> None:
        """The table at `path`, which is as `rows` say, or as it is; a DamagedFileError if none."""
        self.path = path
        self.rows: list[Row] = list(rows or ())
        if rows is not None:
            if self.rows and not (path.exists() and path.read_bytes() == self._text()):
                write_atomically(path, self._text())
        elif path.exists():
            try:
                with path.open(newline="", encoding="utf-8") as file:
                    self.rows = [
                        {name: _number(text) for name, text in row.items() if text}
                        for row in csv.DictReader(file, strict=True)
                    ]
            except (ValueError, AttributeError, csv.Error) as error:
                raise DamagedFileError(f"{path}: not the log of a run ({error})") from error
            if any("cycle" not in row for row in self.rows):
                raise DamagedFileError(f"{path}: not the log of a run (a row has no cycle)")

    def has(self, cycle: int) -> bool:
        return any(row["cycle"] == cycle for row in self.rows)

    def add(self, row: Row) -> None:
        """One more line; the file is replaced whole, so that a kill leaves no half of one."""
        self.rows.append(row)
        write_atomically(self.path, self._text())

    def _text(self) -> bytes:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue().encode()

    def total(self, name: str) -> float:
        return sum(row[name] for row in self.rows)

    def line(self, cycles: int) -> str:
        """The last row, for a person who watches."""
        row = self.rows[-1]
        timed = [r["seconds"] for r in self.rows if r["cycle"]] or [0.0]
        left = (cycles - row["cycle"]) * float(np.mean(timed)) / 60
        text = f"cycle {row['cycle']:.0f} of {cycles}: {row['real_steps']:,.0f} real frames"
        if "driven_mean" in row:
            text += (
                f"; drove {row['driven_mean']:.0f} "
                f"[{row['driven_worst']:.0f}, {row['driven_best']:.0f}]"
            )
        if "ahead_driven" in row:
            gap = row["ahead_dreamed"] - row["ahead_driven"]
            text += (
                f"; ahead {row['ahead_dreamed']:.1f} dreamed, {row['ahead_driven']:.1f} driven "
                f"(gap {gap:+.1f})"
            )
        minutes = self.total("seconds") / 60
        return f"{text}; {minutes:.0f} min" + (f", about {left:.0f} left" if row["cycle"] else "")


def _number(text: str) -> float:
    """As it was written, so that writing it again gives the same text."""
    return int(text) if text.isdigit() else float(text)


class Clock:
    """The seconds that work took, over all processes that had a share in it.

    While it runs (`with`), a file at `path` follows it, so that a kill loses a second at most.
    """

    TICK = 1.0

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._began

    def __enter__(self) -> Clock:
        self._before, self._began = 0.0, time.perf_counter()
        with contextlib.suppress(FileNotFoundError):
            try:
                self._before = float(self.path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise DamagedFileError(f"{self.path}: not a number of seconds") from error
        self._over = threading.Event()
        self._follower = threading.Thread(target=self._follow, daemon=True)
        self._follower.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._follower.join()
        self._note()

    def _follow(self) -> None:
        while not self._over.wait(self.TICK):
            self._note()

    def _note(self) -> None:
        with contextlib.suppress(OSError):  # a full disk stops what is worth more, by name
            write_atomically(self.path, str(self.seconds).encode())


@contextlib.contextmanager
def sole_owner(place: Path, lock: str = ".lock") -> Iterator[None]:
    """Work in the folder `place` alone; it is made if it is not there.

    The lock dies with its process, so a kill leaves nothing that has to be cleared away. It is
    advisory, on a hidden file of the folder; on Windows there is none.

    Args:
        place: a folder.
        lock: the file's name; another one for each thing in the folder that is worked on alone.

    Raises:
        BlockingIOError: another process (or another part of this one) works there; the message
            says which, and since when.
        OSError: the folder cannot be made or written.
    """
    place.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    path = place / lock
    handle = _locked(path)
    try:
        since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
        os.truncate(handle, 0)
        os.write(handle, f"process {os.getpid()} works there since {since}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: whoever waits sees that it is gone
        os.close(handle)


def _locked(path: Path) -> int:
    """The open and locked file at `path`."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, path):
                return handle
        except BlockingIOError:
            if _is_at(handle, path):
                raise BlockingIOError(f"{path.parent} is in use: {_told(handle)}") from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its owner has just finished and removed it


def _is_at(handle: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), os.stat(path))
    return False


def _told(handle: int) -> str:
    """What the owner of a lock says of itself, which it may be about to write."""
    for _ in range(20):
        if words := os.pread(handle, 1000, 0).decode(errors="replace"):
            return words
        time.sleep(0.01)
    return "another process works there"


def claim(folder: Path, identity: dict[str, object], resume: bool = False) -> None:
    """Make `folder` this run's own, or refuse it if it is another's.

    Args:
        folder: empty or not there yet; with `resume`, also one that this run has claimed before.
        identity: what makes the run this one.
        resume: whether to go on with a run.

    Raises:
        ValueError: the folder holds a run with another seed or recipe, a run that is not to be
            resumed, or files of no run.
        DamagedFileError: its run.json was cut short or altered.
    """
    path, text = folder / "run.json", json.dumps(identity, indent=2) + "\n"
    if path.exists():
        found = read_json(path.read_bytes(), path)
        if parts := "; ".join(_differences(found, json.loads(text))):
            raise ValueError(f"{folder} holds another run ({parts}); name another folder")
        if not resume:
            raise ValueError(
                f"{folder} holds this run already; go on with it by --resume (in Python: "
                "resume=True)"
            )
    elif folder.exists() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no run; name another folder")
    else:
        write_atomically(path, text.encode())


def _differences(found: object, wanted: object, name: str = "") -> Iterator[str]:
    """What is another in one identity than in another, part by part."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in wanted | found:
            yield from _differences(found.get(key), wanted.get(key), f"{name}.{key}".lstrip("."))
    elif found != wanted:
        yield f"{name} {found!r}, not {wanted!r}"


@contextlib.contextmanager
def own_run(folder: Path, identity: dict[str, object], resume: bool, result: str) -> Iterator[None]:
    """Work alone on a run whose folder is claimed for it: `sole_owner` and `claim`.

    A finished run in a folder that cannot be written is claimed and read, with no lock.

    Args:
        folder: as for `claim`.
        identity: as for `claim`.
        resume: as for `claim`.
        result: the file that is written last, in `folder`.

    Raises:
        BlockingIOError, OSError: as `sole_owner`.
        ValueError, DamagedFileError: as `claim`.
    """
    if (folder / result).exists() and not os.access(folder, os.W_OK):
        claim(folder, identity, resume)
        yield
        return
    with sole_owner(folder):
        claim(folder, identity, resume)
        yield


def check_identity(
    path: Path, found: Mapping[str, str], identity: Mapping[str, str], what: str = "the state"
) -> None:
    """Refuse the state, or an episode, of another run.

    Args:
        path: of the file.
        found: the metadata in it.
        identity: what makes this run this one, by name.
        what: of the run the file is.

    Raises:
        ValueError: names what is another there.
    """
    other = [name for name in identity if found.get(name) != identity[name]]
    if other:
        parts = "; ".join(f"{name} {found.get(name)!r}, not {identity[name]!r}" for name in other)
        raise ValueError(
            f"{path} is {what} of another run, with another {' and another '.join(other)} "
            f"({parts}); finish that run, remove the file, or name another"
        )
