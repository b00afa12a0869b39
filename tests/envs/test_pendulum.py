"""The pendulum from pixels: Gymnasium's physics, seen in a picture."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import wmlib  # noqa: F401 - registers the environments
from wmlib.envs.pendulum import PixelPendulum, draw

NAME = "wmlib/PixelPendulum-v0"


@pytest.mark.filterwarnings("ignore:.*symmetric and normalized")
def test_gymnasium_accepts_it() -> None:
    check_env(gym.make(NAME, render_mode="rgb_array").unwrapped)


def test_rewards_and_states_are_the_official_ones_over_20_episodes() -> None:
    ours, official = gym.make(NAME, action_repeat=1), gym.make("Pendulum-v1")
    for seed in range(20):
        ours.reset(seed=seed)
        official.reset(seed=seed)
        rng, over = np.random.default_rng(seed), False
        while not over:
            torque = rng.uniform(-2.5, 2.5, 1).astype(np.float32)  # some beyond what it can
            picture, reward, terminated, over, _ = ours.step(torque)
            _, expected, _, ended, _ = official.step(torque)
            assert (reward, over, terminated) == (expected, ended, False)
            assert np.array_equal(ours.unwrapped.state, official.unwrapped.state)
            assert np.array_equal(picture, draw(official.unwrapped.state[0]))


def test_a_repeated_action_adds_up_the_rewards() -> None:
    ours, official = gym.make(NAME, action_repeat=4), gym.make("Pendulum-v1")
    ours.reset(seed=3)
    official.reset(seed=3)
    for decision in range(50):
        torque = np.float32([np.sin(decision)])
        _, reward, _, over, _ = ours.step(torque)
        assert reward == sum(official.step(torque)[1] for _ in range(4))
    assert over
    with pytest.raises(gym.error.ResetNeeded):
        ours.unwrapped.step(torque)


def test_a_picture_shows_the_angle_to_a_fiftieth_of_a_radian() -> None:
    across = np.arange(32) - 15.5
    for angle in np.linspace(-np.pi, np.pi, 101):
        light = draw(angle)[..., 0].astype(float)
        right, up = (light * across).sum(), (light * -across[:, None]).sum()
        read = np.arctan2(-right, up)
        assert abs(np.angle(np.exp(1j * (read - angle)))) < 0.02


def test_the_speed_is_hidden_and_a_turn_is_seen() -> None:
    env = PixelPendulum()
    env.reset(seed=0)
    env.state = np.array([0.3, 8.0])
    fast = env._get_obs()
    env.state = np.array([0.3, -8.0])
    assert np.array_equal(env._get_obs(), fast)
    assert not np.array_equal(draw(0.3), draw(0.31))
    assert np.array_equal(draw(0.3), draw(0.3 + 2 * np.pi))


@pytest.mark.parametrize("wrong", [0, 3, 2.0, True, "2"])
def test_a_wrong_action_repeat_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=f"action_repeat must .* got {wrong!r}"):
        PixelPendulum(action_repeat=wrong)  # type: ignore[arg-type]


def test_it_renders_what_is_seen() -> None:
    env = PixelPendulum(render_mode="rgb_array")
    seen, _ = env.reset(seed=1)
    assert np.array_equal(env.render()[::8, ::8, :1], seen)
    with pytest.raises(ValueError, match="render_mode must be 'rgb_array' or None, got 'human'"):
        PixelPendulum(render_mode="human")
