"""Files that survive: whole or refused, never half written."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from wmlib.storage import (
    DamagedFileError,
    open_arrays,
    pack,
    save_arrays,
    write_atomically,
    write_together,
)

ARRAYS = {
    "frames": np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4),
    "rewards": np.array([0.5, -1.5, 3.25], np.float32),
    "sigma": np.array(0.25),
    "nothing": np.empty((0, 3), np.float32),
    "flags": np.array([True, False]),
    "counts": np.array([1, 60_000], np.uint16),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "arrays.safetensors"
    save_arrays(path, ARRAYS, {"seed": "7"})
    return path


def temporary(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.name.endswith(".tmp")]


def test_round_trip(path: Path) -> None:
    arrays, metadata = open_arrays(path)
    assert metadata == {"seed": "7"}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert np.array_equal(arrays[name], array)


def test_it_is_a_safetensors_file(path: Path) -> None:
    theirs = safetensors.numpy.load_file(path)
    assert all(np.array_equal(theirs[name], array) for name, array in ARRAYS.items())


def test_arrays_are_read_only_maps_of_one_open_file(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    arrays, _ = open_arrays(path)
    assert isinstance(arrays["frames"], np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        arrays["frames"][0] = 1
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_cut_anywhere_is_refused_by_name(path: Path) -> None:
    data = path.read_bytes()
    for length in range(0, len(data), 3):
        path.write_bytes(data[:length])
        with pytest.raises(DamagedFileError, match=path.name):
            open_arrays(path)


@pytest.mark.parametrize("change", [1, 0x29])  # 0x29 makes a tab of a space
def test_one_changed_byte_anywhere_is_refused_by_name(path: Path, change: int) -> None:
    data = bytearray(path.read_bytes())
    for position in range(len(data)):
        data[position] ^= change
        path.write_bytes(data)
        with pytest.raises(DamagedFileError, match=path.name):
            open_arrays(path)
        data[position] ^= change
    path.write_bytes(data)
    open_arrays(path)


@pytest.mark.parametrize("data", [b"", b"{}", b"\2\0\0\0\0\0\0\0[]", b"\2\0\0\0\0\0\0\0{}"])
def test_other_files_are_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=r"other.safetensors"):
        open_arrays(path)


def test_a_file_without_our_digest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    safetensors.numpy.save_file({"a": np.ones(3)}, path)
    with pytest.raises(DamagedFileError, match="SHA-256"):
        open_arrays(path)
    assert np.array_equal(open_arrays(path, verify=False)[0]["a"], np.ones(3))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing.safetensors"):
        open_arrays(tmp_path / "missing.safetensors")


@pytest.mark.parametrize("wrong", [np.array(["a"]), np.array([object()]), np.ones(2, ">f4")])
def test_what_cannot_be_read_back_is_not_written(tmp_path: Path, wrong: np.ndarray) -> None:
    with pytest.raises(TypeError, match="'names'"):
        save_arrays(tmp_path / "a.safetensors", {"names": wrong})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("function", ["fsync", "replace", "chmod"])
def test_a_full_disk_leaves_the_old_file(
    path: Path, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    old = path.read_bytes()
    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match="No space left") as caught:
        save_arrays(path, {"a": np.ones(3)})
    assert caught.value.errno == errno.ENOSPC
    assert path.name in str(caught.value)
    assert path.read_bytes() == old
    assert not temporary(path.parent)


def test_a_kill_while_writing_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    old = path.read_bytes()
    monkeypatch.setattr(os, "replace", kill)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == old
    assert not temporary(path.parent)


def test_a_folder_that_cannot_be_made_is_an_error_with_the_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match=r"a.safetensors"):
        save_arrays(tmp_path / "file" / "a.safetensors", ARRAYS)


def test_files_written_together_never_contradict_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_together({first: b"old", second: b"of old"})
    replace, calls = os.replace, 0

    def kill_at(stop: int):
        def replacing(*arguments: str) -> None:
            nonlocal calls
            calls += 1
            if calls == stop:
                raise KeyboardInterrupt
            replace(*arguments)

        return replacing

    for stop, found in ((1, b"old"), (2, b"new")):
        calls = 0
        monkeypatch.setattr(os, "replace", kill_at(stop))
        with pytest.raises(KeyboardInterrupt):
            write_together({first: b"new", second: b"of new"})
        assert first.read_bytes() == found
        assert not second.exists()
        assert not temporary(tmp_path)


def test_the_bytes_do_not_depend_on_layout_in_memory() -> None:
    array = np.arange(12.0).reshape(3, 4)
    assert pack({"a": array.T}) == pack({"a": array.T.copy()})
