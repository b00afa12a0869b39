"""A run's folder: one owner, one identity, and its log."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wmlib.cli import main
from wmlib.runs import Clock, Log, claim, sole_owner
from wmlib.storage import DamagedFileError

# One owner

WORKER = """
import sys, time
from pathlib import Path
from wmlib.runs import claim, sole_owner
folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    with sole_owner(folder):
        claim(folder, {"seed": 1})
        print("works", flush=True)
        sys.stdin.readline()
except BlockingIOError as error:
    print(error, flush=True)
"""


def worker(folder: Path) -> subprocess.Popen:
    """A process of its own that waits for a line, works in `folder`, and ends at another line."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder)], text=True, bufsize=1,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    return process


def go_on(process: subprocess.Popen) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def test_of_two_that_start_together_one_works_and_the_other_says_who(tmp_path: Path) -> None:
    for attempt in range(20):
        folder = tmp_path / str(attempt)
        pair = [worker(folder) for _ in range(2)]
        for process in pair:
            go_on(process)
        said = [process.stdout.readline() for process in pair]
        assert sorted(text == "works\n" for text in said) == [False, True], said
        owner, other = pair if said[0] == "works\n" else pair[::-1]
        told = next(text for text in said if text != "works\n")
        assert told.startswith(f"{folder} is in use: process {owner.pid} works there since 20")
        go_on(owner)
        assert [process.wait(60) for process in (owner, other)] == [0, 0]
        assert [path.name for path in folder.iterdir()] == ["run.json"]


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="a kill of Unix")
def test_a_killed_owner_leaves_nothing_to_clear_away(tmp_path: Path) -> None:
    owner = worker(tmp_path)
    go_on(owner)
    assert owner.stdout.readline() == "works\n"
    with pytest.raises(BlockingIOError, match=f"is in use: process {owner.pid} works there since"):
        with sole_owner(tmp_path):
            raise AssertionError("somebody works there")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    with sole_owner(tmp_path):
        with pytest.raises(BlockingIOError, match=f"process {os.getpid()} works there"):
            with sole_owner(tmp_path):
                raise AssertionError("somebody works there")
        with sole_owner(tmp_path, ".v.lock"):  # another thing in the same folder
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("part", ["vision", "memory", "controller", "car-racing", "world-models"])
def test_training_is_refused_where_another_process_trains(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is trained: the data's place is looked up only by the one who works."""
    whole = part in ("car-racing", "world-models")
    out = tmp_path / "run" if whole else tmp_path / "x.safetensors"
    place = (out,) if whole else (tmp_path, ".x.safetensors.lock")
    command = ["train", part, "--out", str(out)]
    if part == "world-models":
        command += ["--env", "wmlib/PixelCatch-v0"]
    if not whole:
        command += ["--data", str(tmp_path)]
    if part in ("memory", "controller"):
        command += ["--vision", "v.safetensors"]
    if part == "controller":
        command += ["--memory", "m.safetensors"]
    with sole_owner(*place):
        assert main(command) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and f"is in use: process {os.getpid()} works there since" in told[0]


# Whose folder it is


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    claim(tmp_path / "run", {"seed": 1})
    claim(tmp_path / "run", {"seed": 1}, resume=True)
    with pytest.raises(ValueError, match=r"run holds this run already; .*Python: resume=True"):
        claim(tmp_path / "run", {"seed": 1})
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8")) == {"seed": 1}
    with pytest.raises(ValueError, match=r"run holds another run \(seed 1, not 2\); name another"):
        claim(tmp_path / "run", {"seed": 2})
    claim(tmp_path / "nested", {"steps": 5, "config": {"first": 1, "net": {"units": (4, 4)}}})
    with pytest.raises(ValueError, match=r"\(steps 5, not 6; config.net.units \[4, 4\], not None"):
        claim(tmp_path / "nested", {"steps": 6, "config": {"first": 1, "net": {}}}, resume=True)
    other = tmp_path / "other"
    other.mkdir()
    (other / ".run.json.x.tmp").write_text("left by a kill", encoding="utf-8")
    claim(other, {"seed": 1})
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "thesis.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(ValueError, match="third is not empty and holds no run"):
        claim(tmp_path / "third", {"seed": 1})


@pytest.mark.parametrize("cut", [0, 1, 9, -3])
def test_a_cut_run_json_is_damaged_and_not_another_run(tmp_path: Path, cut: int) -> None:
    claim(tmp_path, {"seed": 1})
    path = tmp_path / "run.json"
    path.write_bytes(path.read_bytes()[:cut])
    for resume in (False, True):
        with pytest.raises(DamagedFileError, match=r"run.json: not JSON"):
            claim(tmp_path, {"seed": 1}, resume)


# The log


@pytest.mark.parametrize("text", ["cycle,real_steps\n0,many\n", "a\n1\n", "cycle\n0,1,2\n", "\xff"])
def test_a_log_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "log.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DamagedFileError, match=r"log.csv: not the log of a run"):
        Log(tmp_path / "log.csv")


def test_a_log_is_rewritten_where_it_is_not_what_the_run_says(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = [{"cycle": 0, "real_steps": 12, "seconds": 0.1 + 0.2}, {"cycle": 1, "driven_mean": 3.0}]
    assert Log(path, []).rows == [] and not path.exists()
    for row in rows:
        Log(path).add(row)
    whole, made = path.read_bytes(), path.stat().st_ino
    assert Log(path).rows == rows
    assert Log(path, rows).rows == rows and path.stat().st_ino == made  # left alone
    for cut in (0, 9, len(whole) - 4):
        path.write_bytes(whole[:cut])
        assert Log(path, rows).rows == rows
        assert path.read_bytes() == whole


# Time


def test_a_clock_counts_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v.seconds"
    with Clock(path) as first:
        time.sleep(0.2)
    assert first.seconds >= 0.2
    monkeypatch.setattr(Clock, "TICK", 0.05)
    code = (
        "import sys, time; from pathlib import Path; from wmlib.runs import Clock\n"
        "Clock.TICK = 0.05\n"
        "path = Path(sys.argv[1])\n"
        "end = time.monotonic() + 20\n"
        "with Clock(path):\n"
        "    while float(path.read_text()) < 0.5 and time.monotonic() < end: time.sleep(0.01)\n"
        "    print('now', flush=True); time.sleep(60)"
    )
    killed = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert killed.stdout.readline() == b"now\n"
    killed.kill()
    killed.wait()
    with Clock(path) as last:
        assert 0.5 < last.seconds < 30
    path.write_text("soon", encoding="utf-8")
    with pytest.raises(DamagedFileError, match=r"v.seconds: not a number of seconds"), Clock(path):
        raise AssertionError("it has nothing to count from")
