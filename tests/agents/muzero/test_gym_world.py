"""Gymnasium environments side by side, against the same ones one at a time."""

import gymnasium as gym
import numpy as np
import pytest

from wmlib.agents.muzero import (
    CONNECT_FOUR,
    GymWorld,
    MuZero,
    MuZeroConfig,
    NetworkConfig,
    Spaces,
    usual,
)
from wmlib.agents.muzero.self_play import play
from wmlib.evaluation import evaluate

SMALL = MuZeroConfig(
    NetworkConfig(state=4, units=8, value_support=500.0, reward_support=1.0, atoms=4),
    simulations=3, games=4, random_moves=0,
)  # fmt: skip


def test_episodes_side_by_side_are_those_of_the_environment() -> None:
    world, rng = GymWorld("CartPole-v1"), np.random.default_rng(0)
    assert (world.name, world.shape, world.actions, world.limit) == ("CartPole-v1", (4,), 2, 500)
    state, again = world.start(3, np.random.default_rng(5)), np.random.default_rng(5)
    envs = [gym.make("CartPole-v1") for _ in range(3)]
    seen = [env.reset(seed=int(again.integers(2**31)))[0] for env in envs]
    games = np.arange(3)
    while len(games):
        np.testing.assert_array_equal(world.observe(state), np.stack([seen[g] for g in games]))
        assert world.legal(state).shape == (len(games), 2) and world.legal(state).all()
        actions = rng.integers(2, size=len(games))
        after = world.step(state, actions)
        for i, game in enumerate(games):
            seen[game], reward, ended, _, _ = envs[game].step(int(actions[i]))
            assert (after.rewards[i], after.over[i]) == (reward, ended)
        state, games = after.state[~after.over], games[~after.over]


def test_pictures_of_bytes_are_read_as_shares() -> None:
    world = GymWorld("wmlib/PixelCatch-v0")
    seen = world.observe(world.start(2, np.random.default_rng(0)))
    assert seen.shape == (2, *world.shape) and seen.dtype == np.float32
    assert 0 == seen.min() < seen.max() <= 1


def played(most: float, limit: int | None) -> list[tuple[int, bool]]:
    """Length of each of four games of CartPole, and whether it was cut off."""
    world = GymWorld("CartPole-v1")
    world.limit = limit
    agent, rng = MuZero(Spaces.of(world), SMALL), np.random.default_rng(0)
    steps = play(world, agent.think, world.start(4, rng), 1.0, rng, most)
    first = np.concatenate([[True], steps.ends[:-1] == 1])
    return [(int(n), bool(c)) for n, c in zip(steps.ends[first], steps.cut[first], strict=True)]


def test_games_are_cut_off_by_the_limit_and_by_the_steps_that_are_left() -> None:
    whole = played(np.inf, None)
    assert len(whole) == 4 and not any(cut for _, cut in whole)
    limit = sorted(length for length, _ in whole)[1]
    expected = [(min(length, limit), length > limit) for length, _ in whole]
    assert played(np.inf, limit) == expected and any(cut for _, cut in expected)
    assert played(4 * 5, None) == [(5, True)] * 4  # nobody falls in five steps
    assert played(4 * 5 + 3, None) == [(5, True)] * 4
    assert played(0, None) == [(1, True)] * 4


def test_its_policy_is_its_player_in_one_episode() -> None:
    world = GymWorld("CartPole-v1")
    agent = MuZero(Spaces.of(world), SMALL, seed=3)
    state = world.start(1, np.random.default_rng(1))
    for simulations in (0, 3):
        policy = agent.policy(simulations=simulations)
        policy.reset(np.random.default_rng(0))
        seen = state[0].seen
        assert policy.act(seen) == agent.player(world, simulations).move(state)[0]
    explores = agent.policy(explore=True)
    explores.reset(np.random.default_rng(0))
    assert {int(explores.act(seen)) for _ in range(40)} == {0, 1}
    score = evaluate(agent.policy(), "CartPole-v1", episodes=2, seed=0, n_jobs=1, progress=False)
    assert min(score.returns) >= 8  # nobody falls sooner


def test_what_it_cannot_play_in_is_refused() -> None:
    with pytest.raises(ValueError, match=r"actions must be Discrete\(n\) from 0, got Box"):
        GymWorld("Pendulum-v1")
    with pytest.raises(ValueError, match="observations must be a Box of numbers, got Discrete"):
        GymWorld("FrozenLake-v1")
    with pytest.raises(ValueError, match="unknown environment 'chess'"):
        GymWorld("chess")
    agent = MuZero(Spaces.of(GymWorld("CartPole-v1")), SMALL)
    with pytest.raises(ValueError, match="simulations must be at least 0, got -1"):
        agent.policy(simulations=-1)


def test_each_kind_of_world_has_its_usual_settings() -> None:
    assert usual(2) == usual(2, "tic-tac-toe") == MuZeroConfig()
    assert usual(2, "connect-four") == CONNECT_FOUR
    alone = usual(1)
    assert alone.random_moves == 0 and alone.discount < 1
    assert alone.networks.value_support >= 1 / (1 - alone.discount)  # of rewards of 1, for ever
