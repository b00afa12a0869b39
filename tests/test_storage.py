"""Files that survive: whole or refused, never half written."""

import errno
import json
import os
import subprocess
import sys
import time
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


def test_what_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write = (
        "import os, signal, sys, wmlib.storage as storage\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "storage.write_atomically(sys.argv[1], b'x' * 1000)"
    )
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", write, path], env=os.environ)
        assert killed.returncode < 0
        assert len(temporary(tmp_path)) == 1 and not path.exists()
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == [path.name]


def test_what_another_process_writes_at_this_moment_is_left_alone(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    path, theirs = tmp_path / "a", tmp_path / ".a.tmp"
    with theirs.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b"half a fi")
        file.flush()
        for data in (b"ours", b"ours again"):
            write_atomically(path, data)
            assert path.read_bytes() == data
        assert temporary(tmp_path) == [theirs] and theirs.read_bytes() == b"half a fi"
        file.write(b"le")
        file.flush()
        os.replace(theirs, path)
    assert path.read_bytes() == b"half a file"


def test_what_was_left_under_other_names_is_removed_an_hour_later(tmp_path: Path) -> None:
    path, now = tmp_path / "a.json", time.time()
    kept = (
        ".a.json.0123456.tmp", ".a.json.01234567.txt", ".a.json.0123-567.tmp",
        "a.json.01234567.tmp", ".b.json.01234567.tmp", ".axjson.01234567.tmp",
    )  # fmt: skip
    for name in (*kept, ".a.json.abc_4567.tmp", ".a.json.zyxwvut0.tmp"):
        (tmp_path / name).write_bytes(b"left by a kill")
        os.utime(tmp_path / name, (now - 7200, now - 7200))
    (tmp_path / ".a.json.folder_0.tmp").mkdir()
    (young := tmp_path / ".a.json.01234567.tmp").write_bytes(b"perhaps written at this moment")
    os.utime(young, (now - 1800, now - 1800))
    write_atomically(path, b"new")
    assert {p.name for p in tmp_path.iterdir()} == {
        *kept, young.name, ".a.json.folder_0.tmp", path.name
    }  # fmt: skip


def test_writers_of_one_file_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write = (
        "import sys, wmlib.storage as storage\n"
        "for _ in range(60): storage.write_atomically(sys.argv[1], sys.argv[2].encode() * 10**5)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", write, path, letter]) for letter in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            data = path.read_bytes()
            assert len(data) == 10**5 and len(set(data)) == 1
            seen.add(data[:1])
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen and os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_or_a_folder_in_a_files_place_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, what in (("pipe", "a pipe"), ("", "a folder")):
        with pytest.raises(DamagedFileError, match=f"{name}: not a file but {what}"):
            open_arrays(tmp_path / name)
    os.mkfifo(tmp_path / ".a.tmp")  # and in the place of what is written
    write_atomically(tmp_path / "a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


def test_headers_that_no_writer_wrote_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for header in (
        b"[" * 100_000 + b"]" * 100_000 + b"}",
        json.dumps({"__metadata__": {"manifest": {"kind": 3}}}).encode(),
        json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, "x"]}}).encode(),
        b"3}",
    ):
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        with pytest.raises(DamagedFileError, match=r"a\.safetensors"):
            open_arrays(path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: write_atomically("x", "text"), "data must be bytes, got 'text'"),
        (lambda: write_together({Path("x"): None}), "bytes can be written to x, got NoneType"),
        (lambda: save_arrays(3, {}), "path must be a word or a Path, got 3"),
        (lambda: save_arrays("x", [np.ones(3)]), "arrays must be a Mapping, got"),
        (lambda: pack({3: np.ones(3)}), "names and metadata must be words, got 3"),
        (lambda: pack({"a": np.ones(3)}, {"seed": 3}), "names and metadata must be words, got 3"),
        (lambda: open_arrays(None), "path must be a word or a Path, got None"),
    ],
)
def test_other_things_than_files_and_arrays_are_refused(call, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


def test_a_folder_that_cannot_be_made_is_an_error_with_the_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
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
