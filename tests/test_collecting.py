"""Collecting episodes in parallel, in memory or into a folder."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from experience import Counting, balance, own_environment

from wmlib.collecting import CollectError, CollectInterrupt, collect
from wmlib.episodes import Episode, EpisodeTimeout, run_episode
from wmlib.exploration import SmoothRandomPolicy
from wmlib.replay import Replay
from wmlib.runs import sole_owner
from wmlib.storage import DamagedFileError, digest, open_arrays, save_arrays

PENDULUM = gym.spaces.Box(-2.0, 2.0, (1,), np.float32)


def same(a: Episode, b: Episode) -> bool:
    return Replay([a]).digest() == Replay([b]).digest()


def test_the_result_does_not_depend_on_the_number_of_workers() -> None:
    runs = [
        collect(balance(), "CartPole-v1", episodes=7, seed=5, n_jobs=n, progress=False)
        for n in (1, 2, 3)
    ]
    assert [e.seed for e in runs[0]] == list(range(5, 12))
    assert len({e.observations.tobytes() for e in runs[0]}) == 7
    for other in runs[1:]:
        assert all(same(a, b) for a, b in zip(runs[0], other, strict=True))


def test_a_seed_of_numpy_is_a_seed() -> None:
    one, other = (
        collect(balance(), "CartPole-v1", episodes=2, seed=seed, n_jobs=1, progress=False)
        for seed in (5, np.int64(5))
    )
    assert all(same(a, b) for a, b in zip(one, other, strict=True))


def test_a_policy_that_forgets_to_reset_still_gives_the_same_for_all_workers() -> None:
    class Forgetful:
        count = 0

        def reset(self, rng: np.random.Generator) -> None:
            pass

        def act(self, observation: np.ndarray) -> int:
            self.count += 1
            return self.count % 2

    one, two = (
        collect(Forgetful(), "CartPole-v1", episodes=5, seed=0, n_jobs=n, progress=False)
        for n in (1, 2)
    )
    assert all(same(a, b) for a, b in zip(one, two, strict=True))


def test_continuous_actions_of_another_environment() -> None:
    policy = SmoothRandomPolicy(PENDULUM)
    (recorded,) = collect(policy, "Pendulum-v1", episodes=1, seed=0, max_steps=9, progress=False)
    assert recorded.actions.shape == (9, 1)
    assert recorded.actions.dtype == np.float32
    assert (recorded.terminated, recorded.truncated) == (False, True)


def test_patience_cuts_an_episode_without_reward() -> None:
    policy = SmoothRandomPolicy(PENDULUM)  # Pendulum's rewards are all negative
    (recorded,) = collect(policy, "Pendulum-v1", episodes=1, seed=0, patience=4, progress=False)
    assert (len(recorded), recorded.truncated) == (4, True)
    cart = collect(balance(), "CartPole-v1", episodes=1, seed=0, patience=1, progress=False)[0]
    assert len(cart) > 1  # CartPole's are all positive


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_exception_is_reported_with_its_seed_and_traceback(n_jobs: int) -> None:
    def fail(policy: object, observation: np.ndarray) -> None:
        if policy.seen == 3:
            raise RuntimeError("the wheel came off")

    with pytest.raises(CollectError, match=r"seed 40 failed:\nTraceback") as caught:
        collect(
            balance(act=fail), "CartPole-v1", episodes=1, seed=40, n_jobs=n_jobs, progress=False
        )
    assert "RuntimeError: the wheel came off" in str(caught.value)
    assert "in fail" in str(caught.value)


def test_a_worker_that_dies_is_reported_and_does_not_hang() -> None:
    def die(policy: object, observation: np.ndarray) -> None:
        os._exit(1)

    begun = time.monotonic()
    with pytest.raises(CollectError, match=r"worker process died; unfinished seeds: \[40, 41, 42"):
        collect(balance(act=die), "CartPole-v1", episodes=4, seed=40, n_jobs=2, progress=False)
    assert time.monotonic() - begun < 60
    again = collect(balance(), "CartPole-v1", episodes=2, seed=0, n_jobs=2, progress=False)
    assert len(again) == 2  # the next one works


@pytest.mark.parametrize(
    ("name", "value"), [("episodes", 0), ("seed", -1), ("max_steps", 0), ("patience", 0)]
)
def test_collect_names_what_is_out_of_range(name: str, value: int) -> None:
    arguments = {"episodes": 1, "seed": 0, name: value}
    with pytest.raises(ValueError, match=f"{name} must be at least ., got {value}"):
        collect(balance(), "CartPole-v1", **arguments)
    if name != "episodes":
        with pytest.raises(ValueError, match=f"{name} must be at least"):
            run_episode(gym.make("CartPole-v1"), balance(), **{"seed": 0, name: value})


def test_an_unknown_environment_is_named() -> None:
    with pytest.raises(ValueError, match="unknown environment 'CartPool-v1'"):
        collect(balance(), "CartPool-v1", episodes=1, seed=0)


# Environments of one's own, numbers that are none, and how collecting ends


@pytest.fixture
def registered() -> Iterator[str]:
    env_id = "mine/Own-v0"
    gym.register(env_id, entry_point=own_environment())
    yield env_id
    del gym.registry[env_id]


def test_an_environment_of_ones_own_reaches_the_workers(
    registered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = SmoothRandomPolicy(gym.spaces.Box(-1, 1, (2,), np.float32))
    options = {"episodes": 2, "seed": 0, "progress": False}
    one, two = (collect(policy, registered, n_jobs=n, **options) for n in (1, 2))
    assert all(same(a, b) for a, b in zip(one, two, strict=True))
    by_specification = collect(policy, gym.spec(registered), n_jobs=2, **options)
    assert all(same(a, b) for a, b in zip(one, by_specification, strict=True))

    code = (
        "import gymnasium as gym\nfrom gymnasium.envs.classic_control import PendulumEnv\n"
        "gym.register('hung/Pendulum-v7', entry_point=PendulumEnv, max_episode_steps=4)\n"
    )
    (tmp_path / "module_that_registers.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    pendulum = SmoothRandomPolicy(PENDULUM)
    hung = collect(pendulum, "module_that_registers:hung/Pendulum-v7", n_jobs=2, **options)
    assert [len(e) for e in hung] == [4, 4]
    with pytest.raises(ValueError, match="unknown environment 'no_such_module:x-v0'"):
        collect(pendulum, "no_such_module:x-v0", **options)


@pytest.mark.parametrize(
    "name", ["max_steps", "patience", "episodes", "seed", "time_limit", "n_jobs"]
)
@pytest.mark.parametrize("value", [2.5, float("nan"), "3", 0, True, 2**63])
def test_collect_takes_no_number_that_is_none(name: str, value: object) -> None:
    if (name, value) in {("seed", 0), ("time_limit", 2.5), ("time_limit", 2**63)}:
        return
    if value == 2**63 and name != "seed":
        return  # many, but a number of them
    with pytest.raises(ValueError, match=f"{name} must "):
        collect(balance(), "CartPole-v1", **{"episodes": 1, "seed": 0, name: value})


def test_collect_names_what_is_no_policy_or_environment() -> None:
    class Half:
        def act(self, observation: np.ndarray) -> int:
            return 0

    for policy in (None, SmoothRandomPolicy, Half(), 3):
        with pytest.raises(TypeError, match="policy must be a Policy with reset and act, got"):
            collect(policy, "CartPole-v1", episodes=1, seed=0)
    with pytest.raises(TypeError, match="env_id must be a word or an EnvSpec, got 5"):
        collect(balance(), 5, episodes=1, seed=0)
    with pytest.raises(TypeError, match="env_kwargs must be a Mapping or None, got 5"):
        collect(balance(), "CartPole-v1", episodes=1, seed=0, env_kwargs=5)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("stop", [SystemExit, GeneratorExit, KeyboardInterrupt])
def test_a_policy_that_ends_the_process_is_named_and_what_was_finished_is_kept(
    stop: type[BaseException], n_jobs: int
) -> None:
    def leave(policy: object, observation: np.ndarray) -> None:
        if policy.rng.bit_generator.seed_seq.entropy == 42:
            time.sleep(0.5)  # the others are done by then
            raise stop

    expected = CollectInterrupt if stop is KeyboardInterrupt else CollectError
    with pytest.raises(expected, match="the episode with seed 42") as caught:
        collect(
            balance(act=leave), "CartPole-v1", episodes=3, seed=40, max_steps=5, n_jobs=n_jobs,
            progress=False,
        )  # fmt: skip
    finished = [e.seed for e in caught.value.finished]
    assert finished == [40, 41] or (n_jobs == 2 and set(finished) < {40, 41})  # a slow worker
    plain = collect(balance(), "CartPole-v1", episodes=2, seed=40, max_steps=5, progress=False)
    assert all(same(a, plain[a.seed - 40]) for a in caught.value.finished)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_episode_that_never_ends_is_given_up_with_its_seed(n_jobs: int) -> None:
    def hang(policy: object, observation: np.ndarray) -> None:
        if policy.seen == 2:
            time.sleep(1000)

    with pytest.raises(CollectError, match=r"the episode with seed 7 took longer than 0\.3 s"):
        collect(
            balance(act=hang), "CartPole-v1", episodes=1, seed=7, time_limit=0.3, n_jobs=n_jobs,
            progress=False,
        )  # fmt: skip
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    caught = []

    def in_a_thread() -> None:  # no signal reaches it: between two steps
        slow = balance(act=lambda *_: time.sleep(0.05))
        try:
            run_episode(gym.make("CartPole-v1"), slow, 8, time_limit=0.2)
        except EpisodeTimeout as error:
            caught.append(str(error))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert caught == ["the episode with seed 8 took longer than 0.2 s"]


def test_what_cannot_be_sent_to_a_worker_is_named() -> None:
    policy = balance()
    policy.lock = threading.Lock()
    with pytest.raises(
        CollectError, match=r"cannot be sent to a worker process; n_jobs=1 needs none"
    ):
        collect(policy, "CartPole-v1", episodes=2, seed=0, n_jobs=2, progress=False)


@pytest.mark.skipif(
    not hasattr(os, "killpg"), reason="Unix alone tells a process who its parent is"
)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(how: int, tmp_path: Path) -> None:
    code = f"""
import os, time
from pathlib import Path
from wmlib.collecting import collect


class Slow:
    def reset(self, rng): Path({str(tmp_path)!r}, str(os.getpid())).touch()
    def act(self, observation): time.sleep(600)

collect(Slow(), "CartPole-v1", episodes=2, seed=0, n_jobs=2, progress=False)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)

    def wait(done: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            time.sleep(0.1)
        return done()

    def lives(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text(encoding="utf-8").split()[2] != "Z"

    assert wait(lambda: len(list(tmp_path.iterdir())) == 2, 120)
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert all(map(lives, workers))
    parent.send_signal(how)
    parent.wait()
    assert wait(lambda: not any(map(lives, workers)), 60)


# Into a folder


def files(folder: Path) -> dict[str, str]:
    """What the files hold; safetensors writes a file's metadata in any order."""
    return {path.name: digest(*open_arrays(path)) for path in folder.glob("episode-*")}


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_what_a_policy_says_survives_a_kill_and_is_read_back(n_jobs: int, tmp_path: Path) -> None:
    options = {"env_id": "CartPole-v1", "episodes": 5, "seed": 40, "progress": False}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected = collect(Counting(), folder=whole, n_jobs=1, **options)

    def stop(policy: object, observation: np.ndarray) -> None:
        if policy.rng.bit_generator.seed_seq.entropy == 42:
            time.sleep(0.5)  # the others of its turn are done by then
            raise KeyboardInterrupt

    with pytest.raises(CollectInterrupt):
        collect(Counting(stop), folder=killed, n_jobs=n_jobs, **options)
    assert files(killed).items() < files(whole).items()
    collect(Counting(), folder=killed, n_jobs=n_jobs, **options)
    assert files(killed) == files(whole)
    for loaded, one in zip(Replay.load(killed), expected, strict=True):
        assert same(loaded, one) and loaded.extras.keys() == {"visits", "value"}
        assert isinstance(loaded.extras["visits"], np.memmap)
        assert np.array_equal(loaded.extras["visits"].argmax(1), loaded.actions)
    path = killed / "episode-000002.safetensors"
    arrays, about = open_arrays(path)
    cut = {name: np.array(array) for name, array in arrays.items()}
    cut["extras/visits"] = cut["extras/visits"][:-1]
    save_arrays(path, cut, about)
    with pytest.raises(DamagedFileError, match=r"000002.safetensors.*extras.*visits"):
        Replay.load(killed)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interrupted_collecting_goes_on_and_ends_with_the_same_files(
    n_jobs: int, tmp_path: Path
) -> None:
    """Whatever the number of workers; and only what is missing is driven."""
    options = {"env_id": "CartPole-v1", "episodes": 7, "seed": 40, "progress": False}
    whole, killed, driven = (tmp_path / name for name in ("whole", "killed", "driven"))
    expected = collect(balance(), folder=whole, n_jobs=1, **options)
    plain = collect(balance(), **options)
    assert all(same(a, b) for a, b in zip(plain, expected, strict=True))
    driven.mkdir()

    def note(policy: object, observation: np.ndarray) -> None:
        seed = policy.rng.bit_generator.seed_seq.entropy
        if policy.seen == 1:
            with (driven / str(seed)).open("a", encoding="utf-8") as file:
                file.write("x")
        if seed == 44 and not (driven / "again").exists():
            time.sleep(0.5)  # the others of its turn are done by then
            raise KeyboardInterrupt

    with pytest.raises(CollectInterrupt, match=r"are kept in .*killed; the same call goes on"):
        collect(balance(act=note), folder=killed, n_jobs=n_jobs, **options)
    kept = files(killed)
    assert len(kept) >= 3 and kept.items() < files(whole).items()
    with pytest.raises(DamagedFileError, match="is missing"):
        Replay.load(killed)
    (driven / "again").touch()
    resumed = collect(balance(act=note), folder=killed, n_jobs=n_jobs, **options)
    assert files(killed) == files(whole)
    assert all(same(a, b) for a, b in zip(resumed, expected, strict=True))
    marks = {str(seed): (driven / str(seed)).read_text(encoding="utf-8") for seed in range(40, 47)}
    again = {name for name, mark in marks.items() if mark == "xx"}
    assert not again & {str(40 + int(name[8:14])) for name in kept}
    assert Replay.load(killed).digest() == Replay(plain).digest()


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="a kill of Unix")
def test_a_kill_loses_no_finished_episode(tmp_path: Path) -> None:
    """The last of 40 never ends: when all others have, the process is killed."""
    code = f"""
import sys, time
from wmlib.collecting import collect

class Last:
    def reset(self, rng): self.seed = rng.bit_generator.seed_seq.entropy
    def act(self, observation):
        if self.seed == 39 and len(sys.argv) == 1:
            time.sleep(600)
        return 0

collect(Last(), "CartPole-v1", episodes=40, seed=0, folder={str(tmp_path)!r}, progress=False)
"""
    first = subprocess.Popen([sys.executable, "-c", code])
    end = time.monotonic() + 120
    while len(list(tmp_path.glob("episode-*"))) < 39 and time.monotonic() < end:
        time.sleep(0.05)
    first.kill()
    first.wait()
    before = files(tmp_path)
    assert len(before) == 39
    subprocess.run([sys.executable, "-c", code, "again"], check=True)
    after = files(tmp_path)
    assert len(after) == 40 and before.items() < after.items()
    assert not [path for path in tmp_path.iterdir() if path.name not in after]


def test_a_folder_of_another_collection_is_refused(tmp_path: Path) -> None:
    options = {"episodes": 2, "seed": 3, "max_steps": 5, "progress": False, "folder": tmp_path}
    collect(balance(), "CartPole-v1", **options)
    before = files(tmp_path)
    for changed, name in (
        ({"seed": 4}, "first seed"), ({"max_steps": 6}, "limits"), ({"episodes": 3}, "episodes"),
        ({"env_kwargs": {"sutton_barto_reward": True}}, "environment"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"is an episode of another run, with another {name}"):
            collect(balance(), "CartPole-v1", **options | changed)
    with pytest.raises(ValueError, match="with another environment and another policy"):
        collect(SmoothRandomPolicy(PENDULUM), "Pendulum-v1", **options)
    assert files(tmp_path) == before
    (tmp_path / "episode-000001.safetensors").write_bytes(b"cut")
    with pytest.raises(DamagedFileError, match=r"episode-000001.safetensors"):
        collect(balance(), "CartPole-v1", **options)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(FileExistsError, match="mine is not empty; name another folder"):
        collect(balance(), "CartPole-v1", **options | {"folder": tmp_path / "mine"})
    with sole_owner(tmp_path), pytest.raises(BlockingIOError, match=f"process {os.getpid()} works"):
        collect(balance(), "CartPole-v1", **options)


def test_a_full_disk_ends_it_and_what_was_written_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"episodes": 4, "seed": 3, "max_steps": 5, "progress": False, "folder": tmp_path}
    fsync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="cannot be written: No space left"):
        collect(balance(), "CartPole-v1", **options)
    assert sorted(files(tmp_path)) == [f"episode-00000{i}.safetensors" for i in range(2)]
    assert [e.seed for e in collect(balance(), "CartPole-v1", **options)] == [3, 4, 5, 6]
