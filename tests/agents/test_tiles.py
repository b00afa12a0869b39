"""What CarRacing's rewards tell."""

import numpy as np
import pytest

from wmlib.agents.tiles import lost, real_steps, tile_rewards
from wmlib.data import Episode, Replay
from wmlib.memory import Codes


def test_lost_is_where_no_tile_comes_for_long() -> None:
    rng = np.random.default_rng(0)
    lengths = np.array([30, 1, 12, 60, 7, 40])
    n = int((lengths + 1).sum())
    rewards = np.where(rng.random(n) < 0.12, 3.2, -0.3).astype(np.float32)
    zeros = np.zeros((n, 2), np.float32)
    codes = Codes(zeros, zeros, zeros, rewards, np.ones(n, np.float32), lengths)
    found = {1: 0, 4: 0, 9: 0}
    for decisions in found:
        marked = lost(codes, decisions).ends
        for first, length in zip(codes.first, lengths, strict=True):
            paid = [bool(r > 0) for r in rewards[first : first + length]]
            for t in range(length):
                before = next((i for i in range(t) if paid[t - 1 - i]), t)  # without a tile
                ahead = next((i for i in range(length - t) if paid[t + i]), None)
                if ahead is None:
                    expected = before + length - t >= decisions
                else:
                    expected = ahead >= decisions
                assert marked[first + t] == expected, (decisions, first, t)
                found[decisions] += expected
            assert marked[first + length] == 0
    assert found[1] > found[4] > found[9] > 0
    with pytest.raises(ValueError, match="decisions must be at least 1, got 0"):
        lost(codes, 0)


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
