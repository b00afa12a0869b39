"""One episode, and driving it."""

from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest
from experience import Counting, balance, episode, own_environment

from wmlib.episodes import Episode, run_episode
from wmlib.exploration import SmoothRandomPolicy


def test_an_episode_checks_its_lengths() -> None:
    whole = episode(5)
    assert len(whole) == 5
    assert whole.total_reward == 10.0
    arrays = whole.observations, whole.actions, whole.rewards
    with pytest.raises(
        ValueError, match=r"actions must be .* with T = 4 as in observations, got .* \(5, 2\)"
    ):
        Episode(arrays[0][:-1], *arrays[1:], True, False, 0)
    for wrong in (np.zeros(4), np.zeros((7, 2)), np.array(5)):
        with pytest.raises(ValueError, match="extras 'car' of 5 actions must be 5, or one more"):
            Episode(*arrays, True, False, 0, {"car": wrong})
    with pytest.raises(ValueError, match=r"actions must be .*, got .* \(0, 2\)"):
        Episode(arrays[0][:1], arrays[1][:0], arrays[2][:0], True, False, 0)
    with pytest.raises(TypeError, match=r"observations must be an array .* of real numbers, got"):
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


def test_what_a_policy_says_of_its_decisions_is_kept() -> None:
    recorded = run_episode(gym.make("CartPole-v1"), Counting(), seed=3)
    plain = run_episode(gym.make("CartPole-v1"), balance(), seed=3)
    assert recorded.extras.keys() == {"visits", "value"} and not plain.extras
    visits, value = recorded.extras["visits"], recorded.extras["value"]
    assert (visits.dtype, value.dtype) == (np.int64, np.float32)
    rng = np.random.default_rng(3)
    expected = [rng.multinomial(16, [0.5, 0.5]) for _ in range(len(recorded))]
    assert np.array_equal(visits, expected)
    assert np.array_equal(visits.argmax(1), recorded.actions)
    assert np.array_equal(value, recorded.observations[:-1, 2])


def test_extras_of_the_environment_and_of_the_policy_stand_side_by_side() -> None:
    class Both(Counting):
        def act(self, observation: np.ndarray) -> np.ndarray:
            self.value = 7
            return np.zeros(2, np.float32)

        def extras(self) -> dict[str, object]:
            return {self.name: self.value}

    class Talker(own_environment()):
        def step(self, action):
            return *super().step(action)[:4], {"frames": 3}

    policy = Both()
    policy.name = "seven"
    recorded = run_episode(Talker(), policy, seed=0)
    assert {name: array.tolist() for name, array in recorded.extras.items()} == {
        "frames": [3] * 5, "seven": [7] * 5,
    }  # fmt: skip
    policy.name = "frames"
    with pytest.raises(ValueError, match=r"are named as the environment's: \['frames'\]"):
        run_episode(Talker(), policy, seed=0)


@pytest.mark.parametrize(
    "told",
    [lambda n: {"a": np.zeros(n)}, lambda n: {"a" if n < 3 else "b": 1}, lambda n: {"a": "x"},
     lambda n: {} if n == 3 else {"a": 1}, lambda n: {"a": None if n == 3 else 1}],
)  # fmt: skip
def test_a_policy_that_does_not_say_the_same_numbers_each_time_is_refused(told: Callable) -> None:
    class Some(SmoothRandomPolicy):
        said = 0

        def extras(self) -> dict[str, object]:
            self.said += 1
            return told(self.said)

    with pytest.raises(ValueError, match=r"extras must be numbers, .* at decision [123]$"):
        run_episode(own_environment()(), Some(gym.spaces.Box(-1, 1, (2,), np.float32)), seed=0)


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


def test_wrong_types_are_named() -> None:
    whole = episode(5)
    arrays = whole.observations, whole.actions, whole.rewards
    for where, name in enumerate(("observations", "actions", "rewards")):
        for wrong in (None, 3.0, [1, 2], np.array(3.0), np.array(["a"] * 5)):
            parts = [*arrays[:where], wrong, *arrays[where + 1 :]]
            with pytest.raises(TypeError, match=f"{name} must be an array.*, got"):
                Episode(*parts, True, False, 0)
