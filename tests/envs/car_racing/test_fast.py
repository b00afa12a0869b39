"""Held to Gymnasium's own CarRacing-v3: same physics, nearly the same picture, much faster."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import wmlib  # noqa: F401  (registers the environment)
from wmlib.envs.car_racing import view as car_view
from wmlib.envs.car_racing.fast import CAR_FIELDS, FastCarRacing
from wmlib.envs.car_racing.measure_speed import measure_speed

OURS, OFFICIAL = "wmlib/CarRacing-v3", "CarRacing-v3"


def area(n_in: int, n_out: int) -> np.ndarray:
    """(n_out, n_in) area resize, by the book: repeat to the common multiple, then take means."""
    common = math.lcm(n_in, n_out)
    repeat = np.repeat(np.eye(n_in), common // n_in, axis=0)  # (common, n_in)
    return repeat.reshape(n_out, common // n_out, n_in).mean(axis=1)


def shrunk(frame: np.ndarray) -> np.ndarray:
    """Official (96, 96, 3) frame -> rows 0 to 83, area-resized, (64, 64, 3) float64."""
    rows, columns = area(84, 64), area(96, 64)
    return np.einsum("ij,jkc,lk->ilc", rows, frame[:84].astype(float), columns, optimize=True)


def driving(seed: int, n: int) -> np.ndarray:
    """(n, 3) float32 actions that go somewhere: smooth noise around a random bias."""
    rng = np.random.default_rng(seed)
    bias = rng.uniform([-0.3, 0.1, -0.2], [0.3, 0.8, 0.2])
    noise, actions = np.zeros(3), np.empty((n, 3), np.float32)
    for t in range(n):
        noise = 0.9 * noise + rng.normal(size=3) * [0.15, 0.1, 0.03]
        actions[t] = np.clip(bias + noise, [-1, 0, 0], 1)
    return actions


def side_by_side(seed: int, steps: int) -> np.ndarray:
    """Drive both environments alike; (frames,) mean absolute differences of the observations."""
    official = gym.make(OFFICIAL, disable_env_checker=True)
    ours = gym.make(OURS, disable_env_checker=True)
    frame, _ = official.reset(seed=seed)
    observation, _ = ours.reset(seed=seed)
    differences = [np.abs(observation - shrunk(frame)).mean()]
    for t, action in enumerate(driving(seed, steps)):
        frame, reward, terminated, truncated, info = official.step(action)
        observation, our_reward, our_terminated, our_truncated, our_info = ours.step(action)
        where = f"seed {seed}, step {t}"
        assert (our_reward, our_terminated, our_truncated) == (reward, terminated, truncated), where
        assert our_info.get("lap_finished") == info.get("lap_finished"), where
        for body in ("position", "angle", "linearVelocity", "angularVelocity"):
            pair = [getattr(env.unwrapped.car.hull, body) for env in (official, ours)]
            assert np.array_equal(*map(np.asarray, pair)), f"{body} at {where}"
        differences.append(np.abs(observation - shrunk(frame)).mean())
        if terminated or truncated:
            break
    return np.array(differences)


@pytest.fixture
def env():
    env = gym.make(OURS, disable_env_checker=True)
    yield env
    env.close()


def test_registered_without_a_time_limit_of_steps():
    spec = gym.spec(OURS)
    assert spec.entry_point == "wmlib.envs.car_racing.fast:FastCarRacing"
    assert spec.max_episode_steps is None


def test_importing_wmlib_is_light():
    code = (
        "import sys, wmlib, gymnasium; assert not {'torch', 'pygame', 'Box2D'} & set(sys.modules);"
        "env = gymnasium.make('wmlib/CarRacing-v3'); env.reset(seed=0); print(wmlib.__version__)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "0.1.0\n"  # and pygame's banner nowhere


@pytest.mark.parametrize("seed", [0, 1])
def test_same_game_nearly_the_same_picture(seed):
    differences = side_by_side(seed, 250)
    assert differences.mean() <= 1.0 / 2  # of 255; half the tolerance of the full test
    assert differences.max() <= 1.0


@pytest.mark.slow
def test_same_game_nearly_the_same_picture_over_20_whole_episodes(capsys):
    by_seed = [side_by_side(seed, 1000) for seed in range(20)]
    means = np.array([differences.mean() for differences in by_seed])
    with capsys.disabled():
        print(f"\nframes {sum(map(len, by_seed))}, mean difference {means.mean():.3f}/255")
        for seed, differences in enumerate(by_seed):
            print(
                f"seed {seed:2d}: {len(differences):4d} frames, mean {differences.mean():.3f}, "
                f"worst frame {differences.max():.3f}"
            )
    assert means.max() <= 1.0


def test_leaving_the_playfield_looks_and_ends_the_same():
    official = gym.make(OFFICIAL, disable_env_checker=True)
    ours = gym.make(OURS, disable_env_checker=True)
    official.reset(seed=3)
    ours.reset(seed=3)
    for env in (official, ours):  # just inside the edge, on the way out
        env.unwrapped.t = 2.0
        for body in [env.unwrapped.car.hull, *env.unwrapped.car.wheels]:
            body.position = (body.position[0] * 0 + 332.0, 330.0)
            body.linearVelocity = (60.0, 30.0)
    for _ in range(3):
        action = np.array([0.0, 0.5, 0.0], np.float32)
        frame, reward, terminated, _, _ = official.step(action)
        observation, our_reward, our_terminated, _, info = ours.step(action)
        assert (our_reward, our_terminated) == (reward, terminated)
        assert np.abs(observation - shrunk(frame)).mean() <= 1.0
        if terminated:
            break
    assert terminated and reward == -100 and info["lap_finished"] is False
    assert (observation == 0).mean() > 0.2  # beyond the edge all is black


@pytest.mark.parametrize("repeat", [2, 3, 7])
def test_action_repeat_is_repeating_by_hand(repeat):
    once = gym.make(OURS, max_frames=100)
    repeated = gym.make(OURS, max_frames=100, action_repeat=repeat)
    once.reset(seed=5)
    repeated.reset(seed=5)
    for action in driving(5, 100):
        total, tiles, frames, ended = 0.0, 0, 0, False
        while frames < repeat and not ended:
            expected, reward, terminated, truncated, info = once.step(action)
            total += reward
            tiles += info["new_tiles"]
            frames += 1
            ended = terminated or truncated
        observation, reward, terminated, truncated, info = repeated.step(action)
        assert (reward, info["frames"], info["new_tiles"]) == (total, frames, tiles)
        assert np.array_equal(observation, expected)
        assert (terminated or truncated) == ended
        if ended:
            break
    assert truncated and not terminated


def test_max_frames_counts_physics_frames():
    env = gym.make(OURS, max_frames=10, action_repeat=4)
    env.reset(seed=0)
    frames = []
    for _ in range(3):
        _, _, _, truncated, info = env.step(env.action_space.sample())
        frames.append(info["frames"])
    assert truncated and frames == [4, 4, 2]
    env.reset(seed=0)
    assert not env.step(env.action_space.sample())[3]


def test_frames_between_are_not_drawn(env, monkeypatch):
    drawn = []
    inside = env.unwrapped
    view = inside._view
    monkeypatch.setattr(inside, "action_repeat", 5)
    monkeypatch.setattr(inside, "_view", view)
    draw = view.draw
    monkeypatch.setattr(view, "draw", lambda *a: (drawn.append(1), draw(*a))[1])
    env.reset(seed=0)
    env.step(np.zeros(3, np.float32))
    assert len(drawn) == 2


def test_new_tiles_explain_the_reward(env):
    _, info = env.reset(seed=2)
    tiles, visited = info["tiles"], 0
    for action in driving(2, 150):
        _, reward, _, _, info = env.step(action)
        visited += info["new_tiles"]
        assert reward == pytest.approx(1000 / tiles * info["new_tiles"] - 0.1 * info["frames"])
    assert visited == env.unwrapped.tile_visited_count > 4


def test_the_car_fields_say_where_the_car_is(env):
    def fields(info):
        assert info["car"].shape == (len(CAR_FIELDS),) and info["car"].dtype == np.float32
        return dict(zip(CAR_FIELDS, info["car"].tolist(), strict=True))

    _, info = env.reset(seed=1)
    inside = env.unwrapped
    assert info["tiles"] == len(inside.track)
    start = fields(info)
    assert abs(start["lateral"]) < 0.1 and abs(start["road_angle"]) < 0.1 and start["speed"] < 0.5
    for _ in range(40):
        info = env.step(np.array([0, 0.5, 0], np.float32))[4]
    ahead = fields(info)
    assert (ahead["x"], ahead["y"]) == pytest.approx(tuple(inside.car.hull.position), rel=1e-5)
    moved = np.array([ahead["x"] - start["x"], ahead["y"] - start["y"]])
    up_the_car = np.array([-math.sin(start["heading"]), math.cos(start["heading"])])
    assert moved @ up_the_car > 0.9 * np.linalg.norm(moved) > 1  # heading points along the motion
    assert ahead["speed"] > 5

    # Put the car 3 units to the right of every tile's centre, turned 0.2 rad to the left.
    for _, beta, x, y in inside.track[:: len(inside.track) // 7]:
        inside.car.hull.position = (x + 3 * math.cos(beta), y + 3 * math.sin(beta))
        inside.car.hull.angle = beta + 0.2
        state = dict(zip(CAR_FIELDS, inside._car_state().tolist(), strict=True))
        assert state["lateral"] == pytest.approx(3, abs=0.3)
        assert state["road_angle"] == pytest.approx(0.2, abs=0.1)

    # The whole lap turns once to the left, so the mean curvature is 2 pi over its length.
    length = len(inside.track) * 3.5
    assert np.mean(inside._curvature) * length == pytest.approx(2 * math.pi, rel=0.05)


def test_deterministic_and_fresh_arrays():
    films = []
    for _ in range(2):
        env = gym.make(OURS)
        env.reset(seed=11)  # an earlier track leaves nothing behind
        film = [env.reset(seed=7)[0]]
        for action in driving(7, 60):
            observation, _, _, _, _ = env.step(action)
            film.append(observation)
        films.append(np.stack(film))
        assert not np.array_equal(film[0], film[-1])
    assert np.array_equal(*films)


def test_env_checker_has_nothing_to_say():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(OURS).unwrapped)


def test_renders_the_official_picture():
    official = gym.make(OFFICIAL, render_mode="rgb_array")
    ours = gym.make(OURS, render_mode="rgb_array")
    official.reset(seed=0)
    ours.reset(seed=0)
    for action in driving(0, 5):
        official.step(action)
        ours.step(action)
    assert np.array_equal(official.render(), ours.render())


@pytest.mark.parametrize("action_repeat", [1, 3])
def test_a_film_plays_as_fast_as_the_car_drives(action_repeat):
    """One picture a step, as `RecordVideo` takes them, at the rate that it reads."""
    env = gym.make(OURS, action_repeat=action_repeat, render_mode="rgb_array")
    env.reset(seed=0)
    before, steps = env.unwrapped.t, 20
    for _ in range(steps):
        env.step(np.zeros(3, np.float32))
    assert steps / env.metadata["render_fps"] == pytest.approx(env.unwrapped.t - before)
    assert FastCarRacing.metadata["render_fps"] == gym.make(OFFICIAL).metadata["render_fps"]


def test_pickles(env):
    env.reset(seed=0)
    twin = pickle.loads(pickle.dumps(FastCarRacing(action_repeat=3, max_frames=30)))
    assert (twin.action_repeat, twin.max_frames) == (3, 30)
    assert np.array_equal(twin.reset(seed=0)[0], env.reset(seed=0)[0])


def test_a_step_without_a_track_says_what_is_missing(env):
    """Before `reset`; and in a copy, which Box2D's world does not come along to."""
    nothing = np.zeros(3, np.float32)
    with pytest.raises(gym.error.ResetNeeded, match="call reset first"):
        env.unwrapped.step(nothing)
    env.reset(seed=0)
    env.step(nothing)
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        with pytest.raises(gym.error.ResetNeeded, match="call reset first"):
            twin.step(nothing)
        assert np.array_equal(twin.reset(seed=1)[0], gym.make(OURS).reset(seed=1)[0])
    env.step(nothing)  # the original drives on


def test_a_closed_environment_leaves_its_map_to_the_next_one(monkeypatch):
    monkeypatch.setattr(car_view, "_spare_maps", [])
    first, second = gym.make(OURS).unwrapped, gym.make(OURS).unwrapped
    film = [first.reset(seed=3)[0], *(first.step(action)[0] for action in driving(3, 30))]
    painted = first._view._map
    first.close()
    first.close()  # twice does no harm
    with pytest.raises(gym.error.ResetNeeded, match="call reset first"):
        first.step(np.zeros(3, np.float32))
    again = [second.reset(seed=3)[0], *(second.step(action)[0] for action in driving(3, 30))]
    assert second._view._map is painted
    assert np.array_equal(film, again)
    assert np.array_equal(first.reset(seed=3)[0], film[0])  # and the first has a new map
    assert first._view._map is not painted


@pytest.mark.parametrize("name", ["CarRacing-v3", "OfficialCarRacing-v3", "DynaMaze-v0"])
def test_a_fresh_interpreter_finds_the_names_by_their_module(name):
    """A spawned worker (stable-baselines3's `SubprocVecEnv`) has not imported wmlib."""
    code = f"import gymnasium; gymnasium.make('wmlib:wmlib/{name}').reset(seed=0)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("action_repeat", 0),
        ("action_repeat", 1.5),
        ("max_frames", 0),
        ("max_frames", True),
        ("render_mode", "human"),
        ("render_mode", "state_pixels"),
    ],
)
def test_refuses_bad_options(option, value):
    with pytest.raises(ValueError, match=f"{option}.*{value!r}"):
        FastCarRacing(**{option: value})


@pytest.mark.parametrize(
    "action", [[0, 0], [[0, 0, 0]], [0, math.nan, 0], [math.inf, 0, 0], "left", None, 1]
)
def test_refuses_bad_actions(env, action):
    env.reset(seed=0)
    before = tuple(env.unwrapped.car.hull.position), env.unwrapped.t
    with pytest.raises(ValueError, match="3 finite numbers"):
        env.unwrapped.step(action)
    assert (tuple(env.unwrapped.car.hull.position), env.unwrapped.t) == before


def test_measure_speed_counts():
    measured = measure_speed(seconds=0.1)
    assert measured["rounds"] == 2
    assert measured["ours"] > measured["official"] > 0
    with pytest.raises(ValueError, match="seconds"):
        measure_speed(seconds=0)


@pytest.mark.slow
def test_twenty_times_as_fast(capsys):
    measured = measure_speed(seconds=40)
    with capsys.disabled():
        print(f"\n{measured}")
    assert measured["ratio"] >= 20
