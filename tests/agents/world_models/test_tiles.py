"""What CarRacing's rewards and pictures tell."""

import gymnasium as gym
import numpy as np
import pytest

from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.tiles import (
    grass,
    memory_for,
    real_steps,
    tile_rewards,
    without_laps,
)
from wmlib.episodes import Episode
from wmlib.replay import Replay


def test_grass_is_what_the_wheels_stand_on() -> None:
    """Against the simulator: where the car is on the road, and where its wheels touch no tile."""
    env = gym.make("wmlib/CarRacing-v3", action_repeat=3)
    road = {"none": [], "all": []}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        env.reset(seed=seed)
        for _ in range(17):  # the camera comes down
            env.step(np.array([0.0, 0.0, 0.0]))
        for _ in range(60):
            action = np.array([rng.uniform(-0.4, 0.4), 0.25, 0.0])
            seen, *_, info = env.step(action)
            wheels = env.unwrapped.car.wheels
            on = sum(bool(wheel.tiles) for wheel in wheels)
            share = float(grass(seen[None])[0])
            if on == 0:
                road["none"].append(share)
            elif on == 4 and abs(info["car"][4]) < 4.5:
                road["all"].append(share)
    env.close()
    assert min(map(len, road.values())) > 15
    assert np.mean(road["all"]) < 0.03 and np.mean(road["none"]) > 0.8
    half = np.full((2, 64, 64, 3), (102, 204, 102), np.uint8)
    half[1, :, 32:] = 105  # the road
    assert grass(half).tolist() == [1.0, 0.5]
    with pytest.raises(ValueError, match=r"of uint8, got .* \(1, 64, 64, 3\) of float32"):
        grass(half[:1].astype(np.float32))
    with pytest.raises(ValueError, match=r"pictures must be .* of uint8, got .* \(64, 64, 3\)"):
        grass(np.zeros((64, 64, 3), np.uint8))


def test_a_lap_is_no_end_and_leaving_the_field_is() -> None:
    lengths, zeros = np.array([3, 2]), np.zeros((7, 2), np.float32)
    rewards = np.array([3.2, -0.3, 3.2, 0, -0.3, -100.3, 0], np.float32)
    ends = np.array([0, 0, 1, 0, 0, 1, 0], np.float32)
    codes = Codes(zeros, zeros, zeros, rewards, ends, 0 * ends, lengths)
    assert without_laps(codes).ends.tolist() == [0, 0, 0, 0, 0, 1, 0]


def test_the_reward_of_a_tile_is_found_in_the_rewards() -> None:
    scale, offset = 1000 / 280, -0.3
    tiles = np.random.default_rng(0).choice(3, p=[0.6, 0.35, 0.05], size=400)
    config = tile_rewards((offset + scale * tiles).astype(np.float32), action_repeat=3)
    assert config.reward == "poisson"
    assert config.reward_offset == pytest.approx(offset)
    assert config.reward_scale == pytest.approx(scale, rel=1e-4)
    with pytest.raises(ValueError, match="no reward in these episodes is positive"):
        tile_rewards(np.full(5, -0.3), 3)
    with pytest.raises(ValueError, match="action_repeat must be at least 1, got 0"):
        tile_rewards(np.ones(5), 0)


def test_real_steps_count_frames() -> None:
    arrays = np.zeros((5, 2), np.uint8), np.zeros((4, 3), np.float32), np.zeros(4, np.float32)
    told = Episode(*arrays, False, True, 0, {"frames": np.array([3, 3, 3, 1])})
    silent = Episode(*arrays, False, True, 1)
    assert real_steps(Replay([told, silent]), 3) == 10 + 12


def codes_of(*rewards: list[float], actions: int = 3) -> Codes:
    """Episodes of which only the rewards matter; the row after each episode is not used."""
    rows = np.concatenate([[*episode, 0.0] for episode in rewards]).astype(np.float32)
    n, unknown = len(rows), np.full(len(rows), np.nan, np.float32)
    zeros = np.zeros((n, 2), np.float32)
    lengths = np.array([len(episode) for episode in rewards])
    return Codes(zeros, zeros, np.zeros((n, actions), np.float32), rows, unknown, unknown, lengths)


def test_m_for_any_episodes() -> None:
    driving = memory_for(codes_of([-0.3, -0.3, 3.0, -0.3], [-0.3, 2.9, -0.3, -100.3]), 3)
    assert (driving.reward, driving.reward_offset) == ("poisson", pytest.approx(-0.3))
    assert driving.reward_scale == pytest.approx(2.95 + 0.3)
    assert (driving.latent, driving.actions) == (2, 3)
    for rewards, repeat in (
        ([[0.1] * 1000], 3),
        ([[-1.0] * 5], 3),  # nothing but costs
        ([[1.0] * 5] * 4, 3),  # CartPole
        ([[-0.3, -0.3, 3.0, -0.3]], 2),  # CarRacing, but of another repeat
        ([[-0.3, -0.3, -0.3]], 3),  # a car that reached no tile
        ([[0.5, -2.0, 1.0, 0.25]], 3),
        ([[2.0]] * 9, 3),  # the unused rows are the most
    ):
        config = memory_for(codes_of(*rewards, actions=2), repeat)
        every = np.concatenate(rewards)
        assert config.reward == "normal"
        assert config.actions == 2
        assert config.reward_offset == pytest.approx(every.mean(), abs=1e-6)
        assert config.reward_scale == pytest.approx(every.std() if every.std() > 1e-9 else 1.0)
    with pytest.raises(ValueError, match=r"action_repeat must be a whole number, got 2\.5"):
        memory_for(codes_of([1.0]), 2.5)


def test_wrong_types_are_named() -> None:
    with pytest.raises(TypeError, match="rewards must be an array"):
        tile_rewards([1.0], 3)
    with pytest.raises(ValueError, match="rewards must be finite"):
        tile_rewards(np.array([np.nan, 1.0]), 3)
    with pytest.raises(TypeError, match=r"pictures must be an array .*, got \[\["):
        grass([[1]])
