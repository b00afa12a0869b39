"""The replay: episodes in memory or in files, and the draws that models learn from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wmlib.episodes import Episode
from wmlib.runs import check_identity
from wmlib.shapes import as_array
from wmlib.storage import DamagedFileError, digest, open_arrays, read_json, save_arrays
from wmlib.typed import PositiveInt, check_same, check_type, typed


@typed
def draw_windows(
    lengths: Any, rng: np.random.Generator, batch: PositiveInt, length: PositiveInt
) -> tuple[np.ndarray, np.ndarray]:
    """Draw windows of `length` decisions, uniformly among all that lie within one episode.

    Args:
        lengths: (E,) decisions of each episode.
        rng: of the draw, with replacement.
        batch: windows, >= 1.
        length: decisions in a window, >= 1.

    Returns:
        episode (B,) and first decision (B,) of each window.

    Raises:
        ValueError: no episode is that long.
    """
    lengths = as_array("lengths", lengths, "E", dtype="whole")
    offsets = np.concatenate([[0], np.cumsum(np.maximum(lengths - length + 1, 0))]).astype(int)
    if offsets[-1] == 0:
        raise ValueError(f"no episode has {length} decisions; the longest has {max(lengths)}")
    flat = rng.integers(offsets[-1], size=batch)
    which = np.searchsorted(offsets, flat, side="right") - 1
    return which, flat - offsets[which]


class Replay:
    """Episodes in the order they were added; frames stay uint8 and, when loaded, on disk.

    A loaded replay is a set of memory maps: drawing frames reads those frames and nothing else.
    """

    def __init__(self, episodes: Iterable[Episode] = ()) -> None:
        self.episodes: list[Episode] = []
        self.extend(episodes)

    def extend(self, episodes: Iterable[Episode]) -> None:
        """Add episodes; all of a replay have observations and actions of one shape and dtype."""
        for episode in episodes:
            check_type("each episode of a replay", episode, Episode)
            if self.episodes:
                first = self.episodes[0]
                for name in ("observations", "actions"):
                    old, new = getattr(first, name), getattr(episode, name)
                    sizes = [(*one.shape[1:], str(one.dtype)) for one in (new, old)]
                    check_same(f"{name} of a replay", *sizes)
            self.episodes.append(episode)

    def __len__(self) -> int:
        return len(self.episodes)

    def __iter__(self) -> Iterator[Episode]:
        return iter(self.episodes)

    @property
    def steps(self) -> int:
        """Decisions in all episodes."""
        return sum(map(len, self.episodes))

    @property
    def frames(self) -> int:
        """Observations in all episodes, the final ones included."""
        return self.steps + len(self.episodes)

    def filled(self) -> list[Episode]:
        """The episodes.

        Raises:
            ValueError: there are none.
        """
        if not self.episodes:
            raise ValueError("the replay is empty; collect episodes first")
        return self.episodes

    @typed
    def sample_frames(self, rng: np.random.Generator, n: PositiveInt) -> np.ndarray:
        """Draw n observations uniformly, with replacement: (n, *observation shape).

        Raises:
            ValueError: the replay is empty, or n is less than 1.
        """
        offsets = np.cumsum([0] + [len(episode) + 1 for episode in self.filled()])
        flat = rng.integers(offsets[-1], size=n)
        which = np.searchsorted(offsets, flat, side="right") - 1
        return np.stack(
            [
                self.episodes[e].observations[i - offsets[e]]
                for e, i in zip(which, flat, strict=True)
            ]
        )

    def digest(self) -> str:
        """SHA-256 of all that the episodes hold, in their order."""
        sha = hashlib.sha256()
        for episode in self.episodes:
            sha.update(digest(*_arrays(episode)).encode())
        return sha.hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write one file an episode into `folder`, which appears when all of them are written.

        A folder that is there already, empty or a link to an empty one, is filled in the end, the
        last file first: `load` refuses what a kill leaves then, because its first file is missing.

        Raises:
            ValueError: the replay is empty.
            FileExistsError: the folder exists and is not empty (hidden files aside).
            OSError: it cannot be written; nothing of it is left.
        """
        episodes = self.filled()
        folder = Path(os.path.realpath(folder))
        there = folder.exists()
        if there and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise FileExistsError(f"{folder} is not empty; name another folder")
        partial = folder / ".partial" if there else folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed here
        try:
            for i, episode in enumerate(episodes):
                _save_episode(partial, episode, i, len(episodes), {})
            if there:
                for path in sorted(partial.iterdir(), reverse=True):
                    os.replace(path, folder / path.name)
            else:
                os.replace(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    @classmethod
    def load(cls, folder: str | Path, *, verify: bool = True, unfinished: bool = False) -> Replay:
        """Open the episodes of a folder as memory maps.

        While it is open its files must not be cut short: to read beyond the new end of a mapped
        file ends the process (SIGBUS). This library never does so, it replaces files whole.

        Args:
            folder: of `save` or of `wmlib.collecting.collect`.
            verify: whether to compare every file with its digest, which reads it once.
            unfinished: take what an interrupted collecting has left.

        Raises:
            FileNotFoundError: the folder holds no episodes.
            DamagedFileError: a file was cut short or altered, is of another place or of another
                collection, or is missing: each knows its place and how many there are.
        """
        found = _load_files(Path(folder), verify)
        if not found:
            raise FileNotFoundError(f"no episodes (episode-*.safetensors) in {folder}")
        count = found[0].count
        lost = sorted(set(range(count)) - {one.index for one in found})
        if lost and not unfinished:
            more = f", and {len(lost) - 1} more" if len(lost) > 1 else ""
            raise DamagedFileError(
                f"{folder}: {episode_name(lost[0])} is missing{more} of {count} episodes (if "
                "collecting them was interrupted: it goes on by the same call)"
            )
        return cls(one.episode for one in found)


class Growing:
    """The folder of a replay that is written while it is collected, each episode as it ends.

    A kill loses the episodes under way, and `Replay.load` refuses the folder until all are there.

    Args:
        folder: empty or not there yet, or with what an earlier process left.
        count: episodes in the end.
        identity: what makes the collection this one, by name; it is kept in every file.

    Raises:
        FileExistsError: the folder holds other things than episodes.
        ValueError: it holds episodes of another collection; the message says what is another.
        DamagedFileError: as `Replay.load`, but that an episode may be missing.
    """

    def __init__(self, folder: Path, count: int, identity: Mapping[str, str]) -> None:
        self.folder, self.count, self.identity = folder, count, identity
        wanted = {**identity, "episodes": str(count)}
        found = _load_files(folder, verify=True)
        for one in found:
            other = {**one.identity, "episodes": str(one.count)}
            check_identity(folder / episode_name(one.index), other, wanted, "an episode")
        if not found and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise FileExistsError(f"{folder} is not empty; name another folder")
        self.episodes = {one.index: one.episode for one in found}
        _allow_open_files(count - len(found))

    def kept(self) -> int:
        """Episodes on the disk; an `add` that was interrupted may have just finished its file."""
        return len(_paths(self.folder))

    def add(self, index: int, episode: Episode) -> None:
        """Keep one more episode: on the disk, and from now on mapped from there."""
        path = _save_episode(self.folder, episode, index, self.count, self.identity)
        self.episodes[index] = _load_file(path, verify=False).episode


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("episode-*.safetensors"))


def episode_name(index: int) -> str:
    """The name of an episode's file in the folder of a replay."""
    return f"episode-{index:06d}.safetensors"


def _save_episode(
    folder: Path, episode: Episode, index: int, count: int, identity: Mapping[str, str]
) -> Path:
    arrays, about = _arrays(episode)
    about |= {"index": str(index), "count": str(count), "collection": json.dumps(dict(identity))}
    save_arrays(path := folder / episode_name(index), arrays, about)
    return path


def _arrays(episode: Episode) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """An episode as the arrays and the metadata of its file."""
    arrays = {
        "observations": episode.observations,
        "actions": episode.actions,
        "rewards": episode.rewards,
        **{f"extras/{name}": np.asarray(value) for name, value in episode.extras.items()},
    }
    about = {name: str(getattr(episode, name)) for name in ("seed", "terminated", "truncated")}
    return arrays, about


def _allow_open_files(n: int) -> None:
    """A memory map keeps its file open; the usual limit of 1024 files is too low for many."""
    try:
        import resource
    except ImportError:  # not a Unix: no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = soft + n if hard == resource.RLIM_INFINITY else min(soft + n, hard)
    with contextlib.suppress(ValueError, OSError):  # then `open` says it, and names the file
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


@dataclass(frozen=True)
class _File:
    """An episode and what its file says of its place."""

    episode: Episode
    index: int
    count: int
    identity: dict[str, str]


def _load_files(folder: Path, verify: bool) -> list[_File]:
    """All episodes of a folder, in order, each in its place and all of one collection."""
    paths = _paths(folder)
    _allow_open_files(len(paths))
    found = [_load_file(path, verify) for path in paths]
    for path, one in zip(paths, found, strict=True):
        if path.name != episode_name(one.index) or not one.index < one.count:
            raise DamagedFileError(f"{path}: it holds episode {one.index} of {one.count}")
        if (one.count, one.identity) != (found[0].count, found[0].identity):
            raise DamagedFileError(f"{path}: of another collection than {paths[0].name}")
    return found


def _load_file(path: Path, verify: bool) -> _File:
    arrays, about = open_arrays(path, verify=verify)
    try:
        episode = Episode(
            observations=arrays["observations"],
            actions=arrays["actions"],
            rewards=arrays["rewards"],
            terminated=about["terminated"] == "True",
            truncated=about["truncated"] == "True",
            seed=int(about["seed"]),
            extras={
                name.removeprefix("extras/"): array
                for name, array in arrays.items()
                if name.startswith("extras/")
            },
        )
        if "index" not in about:
            raise DamagedFileError(
                f"{path}: it does not say which of how many episodes it is, since an earlier "
                "version of wmlib wrote it; collect them again"
            )
        index, count = int(about["index"]), int(about["count"])
        return _File(episode, index, count, read_json(about["collection"], path))
    except DamagedFileError:
        raise
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedFileError(f"{path}: not an episode of this library ({error!r})") from error
