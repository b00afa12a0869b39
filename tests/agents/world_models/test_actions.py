"""A choice among A actions as M reads it, and back."""

import gymnasium as gym
import numpy as np
import pytest

from wmlib.agents.world_models.actions import as_numbers, as_taken, choices_of
from wmlib.agents.world_models.agent import WorldModelPolicy
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.controller import ControllerConfig, LinearController
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig, batch_loss
from wmlib.agents.world_models.starts import warm_up
from wmlib.agents.world_models.vision import VAE, VisionConfig
from wmlib.episodes import Episode, run_episode
from wmlib.exploration import SmoothRandomPolicy, UniformRandomPolicy, random_policy
from wmlib.training import seeded

CATCH = "wmlib/PixelCatch-v0"


def played(n: int) -> list[Episode]:
    env = gym.make(CATCH)
    return [run_episode(env, random_policy(env.action_space), seed) for seed in range(n)]


def parts() -> tuple[VAE, MDNRNN, LinearController]:
    config = VisionConfig(latent=4, channels=(2, 4), frame=(16, 16, 1))
    memory = MemoryConfig(latent=4, hidden=5, mixtures=2, reward="normal", window=9, batch=6)
    shape = ControllerConfig.for_space(gym.spaces.Discrete(3), 4, 5)
    numbers = np.random.default_rng(0).normal(size=shape.parameters)
    vision, m = seeded(0, lambda: VAE(config)), seeded(0, lambda: MDNRNN(memory))
    return vision.eval(), m.eval(), LinearController(numbers, shape)


def test_one_hot_and_back() -> None:
    rows = as_numbers(np.array([2, 0, 1]), 3)
    assert rows.dtype == np.float32
    assert rows.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert [as_taken(row, 3) for row in rows] == [2, 0, 1]
    numbers = np.float32([[0.5, -1.0]])
    assert as_numbers(numbers, None) is numbers and as_taken(numbers[0], None) is not None
    assert np.array_equal(as_taken(numbers[0], None), numbers[0])
    assert choices_of(gym.spaces.Discrete(3)) == 3
    assert choices_of(gym.spaces.Box(-1, 1, (2,))) is None
    for wrong in (np.array([3]), np.array([-1]), np.array([0.0])):
        with pytest.raises(ValueError, match="whole numbers from 0 to 2, got"):
            as_numbers(wrong, 3)
    with pytest.raises(
        ValueError, match=r"whole numbers need choices.* float32, got .* \(2,\) of int64"
    ):
        as_numbers(np.array([0, 1]), None)


def test_m_reads_the_choices_of_an_episode() -> None:
    vision, memory, _ = parts()
    episodes = played(4)
    codes = Codes.of(episodes, vision.encode, choices=3)
    assert codes.actions.shape == (40, 3)
    for i, episode in enumerate(episodes):
        rows = codes.actions[10 * i : 10 * i + 10]
        assert np.array_equal(rows[:9].argmax(1), episode.actions)
        assert rows[:9].sum() == 9 and not rows[9].any()
        assert codes.ends[10 * i : 10 * i + 10].tolist() == [0] * 8 + [1, 0]
    loss = batch_loss(memory, codes, np.random.default_rng(0))
    assert np.isfinite(loss.total.item())
    assert warm_up(memory, codes, 0).z.shape == (36, 4)
    with pytest.raises(ValueError, match="whole numbers need choices"):
        Codes.of(episodes, vision.encode)


def test_random_play_tries_every_action_alike() -> None:
    policy = random_policy(gym.spaces.Discrete(3))
    assert isinstance(policy, UniformRandomPolicy)
    assert isinstance(random_policy(gym.spaces.Box(-1, 1, (2,))), SmoothRandomPolicy)
    policy.reset(np.random.default_rng(0))
    counts = np.bincount([policy.act(np.zeros(1)) for _ in range(3000)], minlength=3)
    assert counts.min() > 900
    with pytest.raises(ValueError, match="bounded Box of one axis, got MultiBinary"):
        random_policy(gym.spaces.MultiBinary(3))


def test_the_agent_chooses_and_noise_is_a_share_of_random_choices() -> None:
    vision, memory, c = parts()
    frames = np.concatenate([episode.observations for episode in played(40)])

    def choices(noise: float, seed: int) -> np.ndarray:
        policy = WorldModelPolicy(vision, memory, c, noise)
        policy.reset(np.random.default_rng(seed))
        return np.array([policy.act(frame) for frame in frames])

    steady = choices(0.0, 0)
    assert steady.shape == (400,) and set(steady) <= {0, 1, 2}
    z = vision.encode(frames[:1])[0]
    features = np.concatenate([z, np.zeros((1, 5), np.float32)], 1)
    logits = c.weight[0].numpy() @ features[0] + c.bias[0].numpy()
    assert steady[0] == logits.argmax()
    noisy = choices(1.0, 1)
    assert np.array_equal(noisy, choices(1.0, 1))
    assert (noisy != steady).any() and set(noisy) == {0, 1, 2}
    for noise in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="noise must be"):
            WorldModelPolicy(vision, memory, c, noise)
