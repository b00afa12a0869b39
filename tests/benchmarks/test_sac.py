"""SAC beside Dreamer: what it sees, the trials it plays, and the updates that it makes.

Skipped where stable-baselines3 is not installed.
"""

import gymnasium as gym
import numpy as np
import pytest

from wmlib.episodes import run_episode
from wmlib.exploration import random_policy
from wmlib.learning import SEEDS

pytest.importorskip("stable_baselines3")
import sac
from programs import load_program

benchmark = load_program("dreamer")


def last_three(pictures: np.ndarray) -> list[np.ndarray]:
    """What SAC is to see at each moment of an episode of pictures (T, H, W, 1): (3, H, W)."""
    padded = np.concatenate([pictures[:1], pictures[:1], pictures])[..., 0]
    return [padded[t : t + 3] for t in range(len(pictures))]


def test_it_sees_the_last_three_pictures_of_its_episode() -> None:
    plain = gym.make(benchmark.ENV_ID)
    stacked = sac.Stacked(gym.make(benchmark.ENV_ID))
    for seed, steps in ((3, 5), (4, 100)):  # the first is broken off: nothing of it may stay
        policy = random_policy(plain.action_space)
        episode = run_episode(plain, policy, seed, max_steps=steps)
        seen = [stacked.reset(seed=seed)[0]]
        seen += [stacked.step(action)[0] for action in episode.actions]
        assert all(one in stacked.observation_space for one in seen)
        assert np.array_equal(seen, last_three(episode.observations))
    assert len({picture.tobytes() for picture in seen[2]}) == 3, "a turning rod"


def test_it_is_examined_on_what_it_learned_from() -> None:
    """Without noise it acts as its model says of those three pictures."""
    env = gym.make(benchmark.ENV_ID)
    model = sac.learned(sac.Stacked(env), 110, 0)
    policy, plain = sac.Quiet(model), gym.make(benchmark.ENV_ID)
    for seed in (5, 6):
        episode = run_episode(plain, policy, seed, max_steps=8)
        due = [model.predict(three, deterministic=True)[0]
               for three in last_three(episode.observations[:-1])]  # fmt: skip
        assert np.array_equal(episode.actions, due)
        assert np.ptp(due) > 0


def test_a_run_has_the_real_steps_it_says_and_an_update_for_each_decision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    played, keep = [], sac.SameTrials

    def watched(env: gym.Env, first: int) -> sac.SameTrials:
        played.append(keep(env, first))
        return played[-1]

    monkeypatch.setattr(sac, "SameTrials", watched)
    _, said = benchmark.model_free(2, 420)
    assert (said["real_steps"], said["updates"]) == (420, 420 // 2 - 100)
    assert (said["pictures"], said["batch"]) == (3, 128)
    (trials,) = played
    # Two whole episodes and ten decisions of a third: those that Dreamer plays with this seed.
    assert len(trials.returns) == 3 and trials.unwrapped._left == 200 - 20
    trials.returns.clear()
    picture, _ = trials.reset(seed=9)
    assert np.array_equal(picture, gym.make(benchmark.ENV_ID).reset(seed=2 * SEEDS)[0])
