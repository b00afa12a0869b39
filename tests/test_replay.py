"""The replay: in memory, in files, and the draws from it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from experience import episode

from wmlib.episodes import Episode
from wmlib.replay import Replay, draw_windows
from wmlib.storage import DamagedFileError, open_arrays, save_arrays


def same(a: Episode, b: Episode) -> bool:
    names = ("terminated", "truncated", "seed")
    arrays = ("observations", "actions", "rewards")
    return (
        all(getattr(a, name) == getattr(b, name) for name in names)
        and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays)
        and a.extras.keys() == b.extras.keys()
        and all(np.array_equal(a.extras[name], b.extras[name]) for name in a.extras)
    )


def test_windows_lie_within_an_episode_and_are_uniform() -> None:
    which, start = draw_windows(np.array([3, 5, 2]), np.random.default_rng(0), 6000, 3)
    possible = {(0, 0): 0, (1, 0): 0, (1, 1): 0, (1, 2): 0}
    for pair in zip(which.tolist(), start.tolist(), strict=True):
        possible[pair] += 1  # a KeyError: a window that crosses an end
    assert all(abs(count - 1500) < 150 for count in possible.values())
    with pytest.raises(ValueError, match="no episode has 6 decisions; the longest has 5"):
        draw_windows(np.array([3, 5, 2]), np.random.default_rng(0), 10, 6)
    with pytest.raises(ValueError, match="at least 1"):
        draw_windows(np.array([3]), np.random.default_rng(0), 10, 0)


def test_frames_are_drawn_uniformly() -> None:
    replay = Replay([episode(2, value=0), episode(6, value=1)])
    frames = replay.sample_frames(np.random.default_rng(0), 5000)
    assert frames.shape == (5000, 2, 2, 3)
    assert frames.dtype == np.uint8
    assert frames[:, 0, 0, 0].mean() == pytest.approx(7 / 10, abs=0.03)
    assert (len(replay), replay.steps, replay.frames) == (2, 8, 10)


def test_an_empty_replay_and_odd_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="the replay is empty"):
        Replay().sample_frames(np.random.default_rng(0), 1)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        Replay([episode()]).sample_frames(np.random.default_rng(0), 0)
    other = Episode(
        np.zeros((2, 4), np.float32), np.zeros((1, 2), np.float32), np.zeros(1), True, False, 0
    )
    with pytest.raises(
        ValueError, match=r"observations of a replay must be .*, got \(4, 'float32'\)"
    ):
        Replay([episode(), other])


def test_a_saved_replay_is_loaded_as_it_was_and_lazily(tmp_path: Path) -> None:
    replay = Replay([episode(3, 1, seed=5), episode(4, 2, seed=6)])
    replay.save(tmp_path / "data")
    loaded = Replay.load(tmp_path / "data")
    assert all(same(a, b) for a, b in zip(replay, loaded, strict=True))
    assert all(isinstance(e.observations, np.memmap) for e in loaded)
    drawn = [r.sample_frames(np.random.default_rng(0), 9) for r in (replay, loaded)]
    assert np.array_equal(*drawn)


def test_drawing_frames_touches_no_others() -> None:
    touched = []

    class Watched(np.ndarray):
        def __getitem__(self, key):
            touched.append(key)
            return np.asarray(self)[key]

    replay = Replay([episode(50)])
    object.__setattr__(replay.episodes[0], "observations", episode(50).observations.view(Watched))
    replay.sample_frames(np.random.default_rng(0), 4)
    assert len(touched) == 4
    assert all(isinstance(key, int | np.integer) for key in touched)


def test_many_episodes_can_be_open_at_once(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    Replay([episode(1)] * 100).save(tmp_path / "data")
    used = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 60
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 40, limits[1]))
    try:
        assert len(Replay.load(tmp_path / "data")) == 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_damaged_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with pytest.raises(FileNotFoundError, match=r"no episodes .* in .*data"):
        Replay.load(folder)
    Replay([episode()] * 3).save(folder)
    (folder / "episode-000001.safetensors").rename(tmp_path / "away")
    with pytest.raises(DamagedFileError, match=r"episode-000001.safetensors is missing"):
        Replay.load(folder)
    (folder / "episode-000001.safetensors").write_bytes((tmp_path / "away").read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=r"episode-000001.safetensors"):
        Replay.load(folder)
    save_arrays(folder / "episode-000001.safetensors", {"weights": np.ones(3)})
    with pytest.raises(DamagedFileError, match=r"episode-000001.safetensors: not an episode"):
        Replay.load(folder)
    arrays, about = open_arrays(folder / "episode-000000.safetensors")
    short = {name: np.array(array) for name, array in arrays.items()}
    short["rewards"] = short["rewards"][:-1]
    save_arrays(folder / "episode-000001.safetensors", short, about)
    with pytest.raises(DamagedFileError, match=r"episode-000001.safetensors.*rewards"):
        Replay.load(folder)


def test_a_replay_is_saved_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, calls = tmp_path / "data", 0
    fsync = os.fsync

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"episode-000002.*|No space left"):
        Replay([episode()] * 5).save(folder)
    assert not any(tmp_path.iterdir())
    Replay([episode()] * 5).save(folder)
    assert len(Replay.load(folder)) == 5
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]
    with pytest.raises(FileExistsError, match="data is not empty"):
        Replay([episode()]).save(folder)


def test_what_a_killed_save_left_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / ".data.partial"
    left.mkdir()
    (left / "episode-000009.safetensors").write_bytes(b"half")
    Replay([episode()]).save(tmp_path / "data")
    assert len(Replay.load(tmp_path / "data")) == 1
    assert not left.exists()


def test_a_replay_fills_an_empty_folder_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay = Replay([episode(3, 1, seed=5), episode(4, 2, seed=6)])
    here, target, far = (tmp_path / name for name in ("here", "target", "far"))
    here.mkdir()
    target.mkdir()
    (here / ".DS_Store").touch()
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to(far)
    monkeypatch.chdir(here)
    for folder, real in ((".", here), (tmp_path / "link", target), (tmp_path / "dangling", far)):
        replay.save(folder)
        loaded = Replay.load(real)
        assert all(same(a, b) for a, b in zip(replay, loaded, strict=True))
        assert not list(real.glob(".partial"))
        with pytest.raises(FileExistsError, match="is not empty"):
            replay.save(folder)
    with pytest.raises(ValueError, match="the replay is empty"):
        Replay().save(tmp_path / "nothing")


def test_a_kill_while_a_folder_is_filled_leaves_nothing_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, moved = os.replace, []

    def dies(source: Path, target: Path) -> None:
        if Path(target).parent == tmp_path / "data":
            moved.append(target)
            if len(moved) == 3:
                raise KeyboardInterrupt
        move(source, target)

    (tmp_path / "data").mkdir()
    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        Replay([episode()] * 4).save(tmp_path / "data")
    with pytest.raises(DamagedFileError, match=r"episode-000000.safetensors is missing"):
        Replay.load(tmp_path / "data")


def test_a_digest_tells_data_apart(tmp_path: Path) -> None:
    replay = Replay([episode(3, 1, seed=5), episode(4, 2, seed=6)])
    replay.save(tmp_path / "data")
    assert Replay.load(tmp_path / "data").digest() == replay.digest()
    others = [
        Replay(replay.episodes[:1]), Replay(replay.episodes[::-1]),
        Replay([episode(3, 1, seed=5), episode(4, 3, seed=6)]),
        Replay([episode(3, 1, seed=5), episode(4, 2, seed=7)]),
    ]  # fmt: skip
    assert len({replay.digest(), *(other.digest() for other in others)}) == 5


def test_what_a_replay_does_not_take_is_named() -> None:
    with pytest.raises(TypeError, match="each episode of a replay must be an Episode, got 1"):
        Replay([1])
    rng, whole = np.random.default_rng(0), episode(5)
    for call in (lambda: Replay([whole]).sample_frames(0, 1), lambda: draw_windows([3], 0, 1, 1)):
        with pytest.raises(TypeError, match=r"rng must be a Generator, got 0"):
            call()
    for lengths in (["a"], [2.5], 3, [[3]]):
        with pytest.raises(ValueError, match=r"lengths .* of shape \(E,\) of whole numbers"):
            draw_windows(lengths, rng, 1, 1)


# Every file knows its place


def path_of(folder: Path, index: int) -> Path:
    return folder / f"episode-{index:06d}.safetensors"


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_a_lost_episode_is_named_wherever_it_was(tmp_path: Path, lost: int) -> None:
    Replay([episode(seed=i) for i in range(4)]).save(tmp_path)
    path_of(tmp_path, lost).unlink()
    with pytest.raises(DamagedFileError, match=rf"episode-00000{lost}.safetensors is missing of 4"):
        Replay.load(tmp_path)
    left = Replay.load(tmp_path, unfinished=True)
    assert [e.seed for e in left] == [i for i in range(4) if i != lost]
    for path in list(tmp_path.glob("episode-*"))[1:]:
        path.unlink()
    with pytest.raises(DamagedFileError, match=r"is missing, and 2 more of 4 episodes"):
        Replay.load(tmp_path)


def test_swapped_and_foreign_episodes_are_named(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    Replay([episode(seed=i) for i in range(4)]).save(here)
    Replay([episode(seed=i) for i in range(5)]).save(other)
    path_of(here, 1).rename(tmp_path / "away")
    path_of(here, 2).rename(path_of(here, 1))
    (tmp_path / "away").rename(path_of(here, 2))
    with pytest.raises(DamagedFileError, match=r"episode-000001.safetensors: it holds episode 2 o"):
        Replay.load(here)
    shutil.rmtree(here)
    Replay([episode(seed=i) for i in range(4)]).save(here)
    shutil.copy(path_of(other, 2), path_of(here, 2))
    with pytest.raises(DamagedFileError, match=r"000002.safetensors: of another collection than"):
        Replay.load(here)


def test_a_file_of_an_earlier_version_is_refused_in_one_line(tmp_path: Path) -> None:
    Replay([episode()]).save(tmp_path)
    arrays, about = open_arrays(path_of(tmp_path, 0))
    for name in ("index", "count", "collection"):
        del about[name]
    save_arrays(path_of(tmp_path, 0), {name: np.array(a) for name, a in arrays.items()}, about)
    with pytest.raises(DamagedFileError, match=r"an earlier version of wmlib wrote it; collect"):
        Replay.load(tmp_path)
