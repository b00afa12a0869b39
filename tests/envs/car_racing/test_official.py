"""The official CarRacing-v3 through V's eyes."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch

import wmlib  # noqa: F401  registers the environments
from wmlib.envs.car_racing.official import OfficialCarRacing, area_matrix, crop_and_resize


@pytest.mark.parametrize(("source", "target"), [(96, 64), (84, 64), (8, 4), (7, 7)])
def test_an_area_resize_averages_what_a_pixel_covers(source: int, target: int) -> None:
    matrix, fine = area_matrix(source, target), np.lcm(source, target)
    assert np.allclose(matrix.sum(1), 1)
    signal = np.random.default_rng(0).random(source)
    brute = signal.repeat(fine // source).reshape(target, -1).mean(1)
    assert np.allclose(matrix @ signal, brute)


def test_the_crop_drops_the_bar_and_keeps_the_picture() -> None:
    frame = np.random.default_rng(0).integers(256, size=(96, 96, 3), dtype=np.uint8)
    small = crop_and_resize(frame)
    tensor = torch.from_numpy(frame[:84]).permute(2, 0, 1)[None].double()
    fine = tensor.repeat_interleave(16, 2).repeat_interleave(2, 3)  # (1, 3, 1344, 192)
    area = torch.nn.functional.avg_pool2d(fine, (21, 3))[0].permute(1, 2, 0)
    assert small.dtype == np.uint8
    assert np.abs(small - area.numpy()).max() <= 0.5 + 1e-9
    other = frame.copy()
    other[84:] = 0
    assert np.array_equal(crop_and_resize(other), small)


def test_wrong_frames_are_refused() -> None:
    for wrong in (np.zeros((64, 64, 3), np.uint8), np.zeros((96, 96, 3))):
        with pytest.raises(ValueError, match=r"\(96, 96, 3\) uint8 frame, got"):
            crop_and_resize(wrong)


def test_it_is_the_official_environment_with_repeated_actions() -> None:
    official = gym.make("CarRacing-v3")
    ours = gym.make("wmlib/OfficialCarRacing-v3", action_repeat=3)
    frame, _ = official.reset(seed=2)
    seen, _ = ours.reset(seed=2)
    assert ours.observation_space.contains(seen)
    assert np.array_equal(seen, crop_and_resize(frame))
    for action in np.float32([[0.2, 0.5, 0.0], [-0.1, 1.0, 0.0], [0.0, 0.0, 0.5]]):
        total = 0.0
        for _ in range(3):
            frame, reward, *_ = official.step(action)
            total += reward
        seen, summed, terminated, truncated, info = ours.step(action)
        assert np.array_equal(seen, crop_and_resize(frame))
        assert summed == pytest.approx(total)
        assert (terminated, truncated, info["frames"]) == (False, False, 3)
    official.close()
    ours.close()


def test_it_stops_with_the_official_limit_of_1000_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = gym.make("wmlib/OfficialCarRacing-v3", action_repeat=300)
    monkeypatch.setattr(ours.unwrapped, "_render", lambda mode: np.zeros((96, 96, 3), np.uint8))
    ours.reset(seed=0)
    frames = []
    for _ in range(4):
        *_, truncated, info = ours.step(np.zeros(3, np.float32))
        frames.append((info["frames"], truncated))
    assert frames == [(300, False), (300, False), (300, False), (100, True)]
    ours.close()


@pytest.mark.parametrize("wrong", [0, 2.5, True])
def test_it_refuses_to_repeat_nothing(wrong: float) -> None:
    with pytest.raises(ValueError, match=f"action_repeat must be .*, got {wrong!r}"):
        gym.make("wmlib/OfficialCarRacing-v3", action_repeat=wrong)


def test_it_can_be_filmed_at_the_speed_of_the_car() -> None:
    official = gym.make("CarRacing-v3", render_mode="rgb_array")
    ours = gym.make("wmlib/OfficialCarRacing-v3", action_repeat=4, render_mode="rgb_array")
    assert ours.render_mode == "rgb_array"
    assert 4 * ours.metadata["render_fps"] == official.metadata["render_fps"]
    for env, times in ((official, 4), (ours, 1)):
        env.reset(seed=0)
        for _ in range(times):
            env.step(np.float32([0.0, 1.0, 0.0]))
    assert np.array_equal(official.render(), ours.render())
    with pytest.raises(ValueError, match=r"render_mode must be 'human' or .* or None, got 'x-ray'"):
        OfficialCarRacing(render_mode="x-ray")


def test_a_step_without_a_track_says_what_is_missing() -> None:
    ours, nothing = gym.make("wmlib/OfficialCarRacing-v3"), np.zeros(3, np.float32)
    with pytest.raises(gym.error.ResetNeeded, match=r"before calling env\.reset"):
        ours.step(nothing)
    ours.reset(seed=0)
    with pytest.raises(gym.error.ResetNeeded, match="call reset first"):
        copy.deepcopy(ours).step(nothing)
    ours.step(nothing)
