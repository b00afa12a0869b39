"""Episodes, collecting them in parallel, and the replay."""

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

from wmlib.collecting import CollectError, CollectInterrupt, collect
from wmlib.episodes import Episode, EpisodeTimeout, run_episode
from wmlib.exploration import ExplorationConfig, SmoothRandomPolicy
from wmlib.replay import Replay, draw_windows
from wmlib.storage import DamagedFileError, open_arrays, save_arrays

PENDULUM = gym.spaces.Box(-2.0, 2.0, (1,), np.float32)


def balance(act: Callable | None = None) -> object:
    """A policy for CartPole-v1; its class is local, so that it is pickled whole."""

    class Balance:
        def reset(self, rng: np.random.Generator) -> None:
            self.rng, self.seen = rng, 0

        def act(self, observation: np.ndarray) -> int:
            self.seen += 1
            if act is not None:
                act(self, observation)
            return int(observation[2] + 0.1 * self.rng.standard_normal() > 0)

    return Balance()


def episode(steps: int = 5, value: int = 0, seed: int = 0) -> Episode:
    return Episode(
        observations=np.full((steps + 1, 2, 2, 3), value, np.uint8),
        actions=np.zeros((steps, 2), np.float32),
        rewards=np.arange(steps, dtype=np.float32),
        terminated=True,
        truncated=False,
        seed=seed,
        extras={"frames": np.full(steps, 3), "car": np.ones((steps + 1, 7), np.float32)},
    )


def same(a: Episode, b: Episode) -> bool:
    names = ("terminated", "truncated", "seed")
    arrays = ("observations", "actions", "rewards")
    return (
        all(getattr(a, name) == getattr(b, name) for name in names)
        and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays)
        and a.extras.keys() == b.extras.keys()
        and all(np.array_equal(a.extras[name], b.extras[name]) for name in a.extras)
    )


# Episodes


def test_an_episode_checks_its_lengths() -> None:
    whole = episode(5)
    assert len(whole) == 5
    assert whole.total_reward == 10.0
    arrays = whole.observations, whole.actions, whole.rewards
    with pytest.raises(ValueError, match="5 actions needs 6 observations and 5 rewards, got 5"):
        Episode(arrays[0][:-1], *arrays[1:], True, False, 0)
    with pytest.raises(ValueError, match="at least one action"):
        Episode(arrays[0][:1], arrays[1][:0], arrays[2][:0], True, False, 0)
    with pytest.raises(TypeError, match="observations must be an array of numbers"):
        Episode(np.array([{}] * 6), *arrays[1:], True, False, 0)


def test_run_episode_equals_a_plain_loop() -> None:
    env = gym.make("CartPole-v1")
    recorded = run_episode(env, balance(), seed=3)
    policy, (observation, _) = balance(), env.reset(seed=3)
    policy.reset(np.random.default_rng(3))
    for t in range(len(recorded)):
        assert np.array_equal(recorded.observations[t], observation)
        action = policy.act(observation)
        assert recorded.actions[t] == action
        observation, reward, terminated, truncated, _ = env.step(action)
        assert recorded.rewards[t] == reward
    assert np.array_equal(recorded.observations[-1], observation)
    assert (recorded.terminated, recorded.truncated) == (terminated, truncated)
    assert recorded.actions.dtype == np.int64
    assert recorded.observations.dtype == np.float32


def test_buffers_that_are_used_again_are_copied() -> None:
    class Counter(gym.Env):
        observation_space = gym.spaces.Box(0, 100, (1,), np.float32)
        action_space = gym.spaces.Box(0, 100, (1,), np.float32)

        def reset(self, *, seed=None, options=None):
            self.buffer = np.zeros(1, np.float32)
            return self.buffer, {}

        def step(self, action):
            self.buffer += 1
            return self.buffer, 1.0, False, bool(self.buffer[0] == 4), {}

    class Same:
        def reset(self, rng: np.random.Generator) -> None:
            self.buffer = np.zeros(1, np.float32)

        def act(self, observation: np.ndarray) -> np.ndarray:
            self.buffer += 2
            return self.buffer

    recorded = run_episode(Counter(), Same(), seed=0)
    assert recorded.observations[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert recorded.actions[:, 0].tolist() == [2, 4, 6, 8]


def test_what_info_says_in_numbers_is_kept() -> None:
    class Talker(gym.Env):
        observation_space = action_space = gym.spaces.Box(0, 1, (1,), np.float32)

        def reset(self, *, seed=None, options=None):
            self.t = 0
            return np.zeros(1, np.float32), {"both": np.zeros(2), "once": 9, "name": "a"}

        def step(self, action):
            self.t += 1
            info = {"both": np.full(2, self.t), "step": self.t, "ragged": np.zeros(self.t)}
            return np.zeros(1, np.float32), 0.0, self.t == 3, False, info | {"name": "b"}

    recorded = run_episode(Talker(), SmoothRandomPolicy(gym.spaces.Box(0, 1, (1,))), seed=0)
    assert recorded.extras.keys() == {"both", "step"}
    assert recorded.extras["both"].tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert recorded.extras["step"].tolist() == [1, 2, 3]


# Collecting


def test_the_result_does_not_depend_on_the_number_of_workers() -> None:
    runs = [
        collect(balance(), "CartPole-v1", episodes=7, seed=5, n_jobs=n, progress=False)
        for n in (1, 2, 3)
    ]
    assert [e.seed for e in runs[0]] == list(range(5, 12))
    assert len({e.observations.tobytes() for e in runs[0]}) == 7
    for other in runs[1:]:
        assert all(same(a, b) for a, b in zip(runs[0], other, strict=True))


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


# Random exploration


def test_exploration_has_the_statistics_that_it_is_given() -> None:
    space = gym.spaces.Box(np.array([-1.0, 0.0]), np.array([3.0, 1.0]), dtype=np.float64)
    config = ExplorationConfig((0.1, -0.1), (0.05, 0.0), (0.1, 0.2), memory=0.7)
    policy = SmoothRandomPolicy(space, config)
    units = []
    for seed in range(300):
        policy.reset(np.random.default_rng(seed))
        actions = np.array([policy.act(np.zeros(1)) for _ in range(40)])
        units.append((actions - [1.0, 0.5]) / [2.0, 0.5])
    unit = np.array(units)  # (300, 40, 2)
    assert np.allclose(unit.mean((0, 1)), [0.1, -0.1], atol=0.01)
    assert np.allclose(unit.std((0, 1)), [np.hypot(0.05, 0.1), 0.2], rtol=0.05)
    noise = unit[..., 1] + 0.1
    assert np.mean(noise[:, 1:] * noise[:, :-1]) / np.mean(noise**2) == pytest.approx(0.7, abs=0.03)


def test_exploration_stays_in_the_space_and_follows_its_generator() -> None:
    space = gym.spaces.Box(np.float32([-1, 0, 0]), np.float32([1, 1, 1]))
    policy = SmoothRandomPolicy(space)
    runs = []
    for seed in (1, 1, 2):
        policy.reset(np.random.default_rng(seed))
        runs.append([policy.act(np.zeros(1)) for _ in range(50)])
    assert all(space.contains(action) for action in runs[0])
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])
    other = SmoothRandomPolicy(gym.spaces.Box(-1, 1, (3,)))
    assert other.config.bias_mean == (0, 0, 0)  # not CarRacing: its biases mean nothing there


def test_exploration_refuses_what_it_cannot_explore() -> None:
    with pytest.raises(ValueError, match="bounded Box of one axis, got Discrete"):
        SmoothRandomPolicy(gym.spaces.Discrete(2))
    with pytest.raises(ValueError, match="bounded Box of one axis"):
        SmoothRandomPolicy(gym.spaces.Box(-np.inf, np.inf, (2,)))
    with pytest.raises(ValueError, match="bias_mean has 3 entries for 1 actions"):
        SmoothRandomPolicy(PENDULUM, ExplorationConfig())
    for wrong in (((0.0,), (0.1,), (-0.1,)), ((np.nan,), (0.1,), (0.1,))):
        with pytest.raises(ValueError, match="must be"):
            SmoothRandomPolicy(PENDULUM, ExplorationConfig(*wrong))
    with pytest.raises(ValueError, match=r"memory must be in \[0, 1\), got 1"):
        SmoothRandomPolicy(PENDULUM, ExplorationConfig((0.0,), (0.1,), (0.1,), memory=1.0))


# Windows and the replay


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
    with pytest.raises(ValueError, match=r"observations of shape \(4,\) and dtype float32 do not"):
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


# Environments of one's own, numbers that are none, and how collecting ends


def own_environment(**changed: object) -> type[gym.Env]:
    """Five steps of four pixels; its class is local, so that it is pickled whole."""

    class Own(gym.Env):
        observation_space = gym.spaces.Box(0, 255, (2, 2, 1), np.uint8)
        action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.t = 0
            return changed.get("first", np.zeros((2, 2, 1), np.uint8)), {}

        def step(self, action):
            self.t += 1
            frame = changed.get("frame", np.full((2, 2, 1), self.t, np.uint8))
            return frame, changed.get("reward", 1.0), self.t == 5, False, {}

    return Own


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
        with pytest.raises(TypeError, match="policy must have reset"):
            collect(policy, "CartPole-v1", episodes=1, seed=0)
    with pytest.raises(TypeError, match="env_id must be a string or an EnvSpec, got 5"):
        collect(balance(), 5, episodes=1, seed=0)
    with pytest.raises(TypeError, match="env_kwargs must be a dict, got 5"):
        collect(balance(), "CartPole-v1", episodes=1, seed=0, env_kwargs=5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_is_refused_with_its_decision(value: float) -> None:
    policy = SmoothRandomPolicy(gym.spaces.Box(-1, 1, (2,), np.float32))
    for name, changed, decision in (
        ("reward", {"reward": value}, 1),
        ("observation", {"frame": np.full(3, value)}, 1),
        ("observation", {"first": np.full(3, value)}, 0),
    ):
        with pytest.raises(ValueError, match=f"the {name} of decision {decision} is not a finite"):
            run_episode(own_environment(**changed)(), policy, seed=0)

    class Wild(SmoothRandomPolicy):
        def act(self, observation: np.ndarray) -> np.ndarray:
            return np.array([0.0, value])

    with pytest.raises(ValueError, match="the action of decision 1 is not a finite"):
        run_episode(own_environment()(), Wild(gym.spaces.Box(-1, 1, (2,), np.float32)), seed=0)


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


# Where a replay is saved


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


def test_wrong_types_are_named() -> None:
    whole = episode(5)
    arrays = whole.observations, whole.actions, whole.rewards
    for where, name in enumerate(("observations", "actions", "rewards")):
        for wrong in (None, 3.0, [1, 2], np.array(3.0), np.array(["a"] * 5)):
            parts = [*arrays[:where], wrong, *arrays[where + 1 :]]
            with pytest.raises(TypeError, match=f"{name} must be an array of numbers, got"):
                Episode(*parts, True, False, 0)
    with pytest.raises(TypeError, match="a replay holds episodes, got 1"):
        Replay([1])
    rng = np.random.default_rng(0)
    for call in (lambda: Replay([whole]).sample_frames(0, 1), lambda: draw_windows([3], 0, 1, 1)):
        with pytest.raises(TypeError, match=r"rng must be a numpy.random.Generator, got 0"):
            call()
    for lengths in (["a"], [2.5], 3, [[3]]):
        with pytest.raises(ValueError, match=r"lengths must be \(E,\) whole numbers"):
            draw_windows(lengths, rng, 1, 1)
    for wrong in ((0.1, (0.1,), (0.1,)), (("a",), (0.1,), (0.1,)), ((0.1,), None, (0.1,))):
        with pytest.raises(ValueError, match="must be a tuple of numbers, got"):
            SmoothRandomPolicy(PENDULUM, ExplorationConfig(*wrong))
    with pytest.raises(ValueError, match=r"memory must be in \[0, 1\), got 'x'"):
        SmoothRandomPolicy(PENDULUM, ExplorationConfig((0.0,), (0.1,), (0.1,), memory="x"))
    with pytest.raises(TypeError, match="config must be an ExplorationConfig, got 3"):
        SmoothRandomPolicy(PENDULUM, 3)
