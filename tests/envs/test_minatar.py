"""MinAtar's games, by name; skipped where the package is not installed."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from wmlib.envs.minatar import is_minatar

GAMES = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")


def test_its_names_are_known_without_the_package() -> None:
    names = {name for name in gym.registry if name.startswith("MinAtar/")}
    assert names == {f"MinAtar/{game}-v{version}" for game in GAMES for version in (0, 1)}


@pytest.mark.parametrize("game", GAMES)
def test_a_game_is_the_package_s_own(game: str) -> None:
    package = pytest.importorskip("minatar")
    name = "space_invaders" if game == "SpaceInvaders" else game.lower()
    own = package.Environment(name)
    actions = own.minimal_action_set()
    env = gym.make(f"MinAtar/{game}-v1")
    assert env.action_space == gym.spaces.Discrete(len(actions))
    assert gym.make(f"MinAtar/{game}-v0").action_space == gym.spaces.Discrete(6)
    own.seed(3)
    own.reset()
    observation, _ = env.reset(seed=3)
    assert observation in env.observation_space and observation.dtype == bool
    for action in np.random.default_rng(0).integers(len(actions), size=200):
        assert np.array_equal(observation, own.state())
        observation, reward, terminated, truncated, _ = env.step(action)
        assert (reward, terminated, truncated) == (*own.act(actions[action]), False)
        if terminated:
            own.reset()
            observation, _ = env.reset()


def test_it_says_nothing_of_what_it_does_not_need() -> None:
    pytest.importorskip("minatar")
    code = (
        "import gymnasium, logging, wmlib; gymnasium.make('MinAtar/Breakout-v1'); "
        "logging.warning('still heard')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1) and "still heard" in done.stderr


def test_its_games_are_known_by_their_ids() -> None:
    assert is_minatar("MinAtar/Breakout-v1") and is_minatar("minatar.gym:MinAtar/Breakout-v1")
    assert not is_minatar("wmlib/PixelCatch-v0") and not is_minatar("MinAtar:CartPole-v1")
