"""Files that survive: written atomically, checked when read, never unpickled.

Every array this library keeps (episodes, weights, the state of a run) is a `safetensors` file. A
file is written beside its target and then renamed, so that a killed process leaves either the old
file or the new one. A digest of names, shapes, metadata and bytes lies in the header: a file that
was cut short or altered is refused by name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors.numpy import save

from wmlib.typed import typed

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

DTYPES = {
    "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64, "BOOL": np.bool_,
    "U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64,
    "F16": np.float16, "F32": np.float32, "F64": np.float64,
}  # fmt: skip


class DamagedFileError(ValueError):
    """A file is not what its writer left: cut short, altered, or not of this format."""


@typed
def write_atomically(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part.

    Raises:
        OSError: the folder cannot be written (read-only, full disk); `path` is as it was.
    """
    write_together({Path(path): data})


@typed
def write_together(files: Mapping[Path, bytes]) -> None:
    """Write a file, and others that speak of it, atomically.

    All bytes are on the disk before anything changes. A kill in between may leave the others
    missing, but never beside a first file that they do not speak of. What a kill leaves of its own,
    a hidden file, the next write to the same place takes over, or removes an hour later.

    Raises:
        OSError: names the file that cannot be written; the first file is as it was.
        TypeError: what should be written is not bytes.
    """
    for path, data in files.items():
        if not isinstance(data, bytes):
            raise TypeError(f"bytes can be written to {path}, got {type(data).__name__}")
    written: dict[Path, tuple[IO[bytes], Path]] = {}
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            file, name = written[path] = _beside(path)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(name, 0o644)
            if fcntl is None:  # Windows renames closed files only
                file.close()
        for path in list(files)[1:]:
            path.unlink(missing_ok=True)
        for path in files:
            file, name = written[path]
            os.replace(name, path)
            del written[path]
            file.close()
            _remove_left(path)
    except OSError as error:
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error
    finally:
        for file, name in written.values():
            with contextlib.suppress(OSError), file:
                name.unlink()


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process holds `folder`, and hold it: to read a file, and write it anew.

    The lock lies on the folder itself, since a file that is replaced takes its lock along. It
    leaves no file behind, and dies with its process. On Windows there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _beside(path: Path) -> tuple[IO[bytes], Path]:
    """An empty hidden file beside `path`, to be written and renamed, and its name.

    The name is always the same, so that what a killed process left is written over. A lock, which
    dies with its process, says that somebody writes it at this moment; then the name is a new one.
    """
    usual = path.with_name(f".{path.name}.tmp")
    if fcntl is not None:
        with contextlib.suppress(OSError):
            file = os.fdopen(os.open(usual, os.O_RDWR | os.O_CREAT, 0o600), "wb")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file.fileno()), os.stat(usual)):  # not yet renamed
                    file.truncate()
                    return file, usual
            except OSError:
                file.close()
                raise
            file.close()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    return os.fdopen(handle, "wb"), Path(name)


LONG_AGO = 3600
"""seconds; no write takes as long"""


def _remove_left(path: Path) -> None:
    """Remove what killed writes of `path`, just written, left under new names long ago.

    Safe because such a name is given once, to one write: nobody takes it over, and after an hour
    nobody renames it. Both ages are by the clock of the place where the files lie.
    """
    given = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.tmp")  # by `tempfile`
    with contextlib.suppress(OSError):  # a leftover is no reason to fail
        oldest = path.stat().st_mtime - LONG_AGO
        for entry in os.scandir(path.parent):
            if (
                given.fullmatch(entry.name)
                and entry.is_file(follow_symlinks=False)
                and entry.stat().st_mtime < oldest
            ):
                os.unlink(entry.path)


def check_regular(path: Path) -> int:
    """The size of a file in bytes.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: a folder, a pipe or a device is in its place; to open it might never end.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DamagedFileError(f"{path}: not a file but {_kind(status.st_mode)}")
    return status.st_size


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"


def read_json(text: str | bytes, name: str | Path) -> dict[str, Any]:
    """The JSON object that `text` of the file `name` holds.

    Raises:
        DamagedFileError: it holds something else; the message names the file.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{name}: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise DamagedFileError(f"{name}: not a JSON object but {type(found).__name__}")
    return found


@typed
def digest(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """SHA-256 over everything that a file says: metadata, names, dtypes, shapes and bytes."""
    sha = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name}|{array.dtype.str}|{array.shape}".encode())
        sha.update(array.reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


@typed
def pack(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> bytes:
    """Named arrays and string metadata as the bytes of one safetensors file with its digest.

    Raises:
        TypeError: an array holds something other than numbers or truth values, or a name or a part
            of the metadata is no word.
    """
    for word in (*arrays, *(metadata or {}), *(metadata or {}).values()):
        if not isinstance(word, str):
            raise TypeError(f"names and metadata must be words, got {word!r}")
    contiguous = {name: np.array(array, order="C", copy=None) for name, array in arrays.items()}
    for name, array in contiguous.items():
        if array.dtype not in DTYPES.values():
            raise TypeError(f"arrays of numbers can be saved, got {name!r} of dtype {array.dtype}")
    return save(contiguous, {**(metadata or {}), "sha256": digest(contiguous, metadata or {})})


@typed
def save_arrays(
    path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Save named arrays and string metadata as one safetensors file, atomically.

    Raises:
        TypeError: as `pack`.
        OSError: as `write_atomically`.
    """
    write_atomically(path, pack(arrays, metadata))


@typed
def open_arrays(
    path: str | Path, *, verify: bool = True
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Open a file of `save_arrays` as read-only memory maps: nothing is read until it is used.

    Args:
        path: the file.
        verify: recompute the digest (reads the whole file once, about 1 GB/s).

    Returns:
        The arrays by name, and the metadata.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: the file is cut short, altered, or not a file of `save_arrays`.
        OSError: it cannot be read.
    """
    path = Path(path)
    size = check_regular(path)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= size - 8:
                raise DamagedFileError(f"{path}: its header does not fit into its {size} bytes")
            text = file.read(length).rstrip(b" ")  # safetensors pads with spaces
        header = read_json(text, path)
        if not text.endswith(b"}"):
            raise DamagedFileError(f"{path}: its header is not one of this library")
        metadata = dict(header.pop("__metadata__", {}))
        if not all(isinstance(word, str) for word in metadata.values()):
            raise DamagedFileError(f"{path}: its metadata are not words")
        end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if end != size:
            raise DamagedFileError(f"{path}: {size} bytes, but its header promises {end}")
        whole = np.memmap(path, np.uint8, mode="r")  # one mapping, so one open file, for all arrays
        arrays = {name: _part(whole[8 + length :], entry) for name, entry in header.items()}
    except DamagedFileError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        message = f"{path}: not a safetensors file of this library ({error!r})"
        raise DamagedFileError(message) from error
    stamp = metadata.pop("sha256", None)
    if verify and stamp != digest(arrays, metadata):
        message = f"{path}: its bytes are not the ones it was written with (SHA-256 differs)"
        raise DamagedFileError(message)
    return arrays, metadata


def _part(data: np.ndarray, entry: Mapping[str, Any]) -> np.ndarray:
    begin, end = entry["data_offsets"]
    if not 0 <= begin <= end:
        raise ValueError(f"data_offsets {begin} to {end}")
    return data[begin:end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
