"""Driving at random, smoothly."""

import gymnasium as gym
import numpy as np
import pytest

from wmlib.exploration import ExplorationConfig, SmoothRandomPolicy

PENDULUM = gym.spaces.Box(-2.0, 2.0, (1,), np.float32)


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
    with pytest.raises(ValueError, match="entries of bias_mean, one an action, must be 1, got 3"):
        SmoothRandomPolicy(PENDULUM, ExplorationConfig())
    for wrong in (((0.0,), (0.1,), (-0.1,)), ((np.nan,), (0.1,), (0.1,))):
        with pytest.raises(ValueError, match="must be"):
            SmoothRandomPolicy(PENDULUM, ExplorationConfig(*wrong))
    with pytest.raises(ValueError, match=r"memory must be in \[0, 1\), got 1"):
        SmoothRandomPolicy(PENDULUM, ExplorationConfig((0.0,), (0.1,), (0.1,), memory=1.0))


def test_wrong_types_are_named() -> None:
    for wrong in ((0.1, (0.1,), (0.1,)), (("a",), (0.1,), (0.1,)), ((0.1,), None, (0.1,))):
        with pytest.raises(ValueError, match=r"must be a tuple \(a number.*, \.\.\.\), got"):
            SmoothRandomPolicy(PENDULUM, ExplorationConfig(*wrong))
    with pytest.raises(ValueError, match=r"memory must be a number, got 'x'"):
        SmoothRandomPolicy(PENDULUM, ExplorationConfig((0.0,), (0.1,), (0.1,), memory="x"))
    with pytest.raises(TypeError, match="config must be an ExplorationConfig or None, got 3"):
        SmoothRandomPolicy(PENDULUM, 3)
