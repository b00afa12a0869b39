"""Open-loop forecasts: aligned with what followed, and as good as a model that is known."""

import numpy as np
import pytest
import torch

from wmlib.memory import MDNRNN, Codes, MemoryConfig, State
from wmlib.open_loop import forecast

SMALL = MemoryConfig(latent=2, actions=1, hidden=6, mixtures=2)


def episodes(lengths: tuple[int, ...] = (9, 3, 12)) -> Codes:
    """Every row says where it is: episode in its code's first number, decision in the second."""
    parts = []
    for e, n in enumerate(lengths):
        t = np.arange(n + 1, dtype=np.float32)
        parts.append(np.stack([np.full_like(t, e), t], 1))
    mean = np.concatenate(parts)
    n = len(mean)
    draw = np.random.default_rng(0).standard_normal((n, 2), dtype=np.float32)
    return Codes(
        mean, np.full_like(mean, -9.0), draw[:, :1], draw[:, 1], *np.zeros((2, n), np.float32),
        np.array(lengths),
    )  # fmt: skip


def memory(seed: int = 0) -> MDNRNN:
    torch.manual_seed(seed)
    return MDNRNN(SMALL)


def test_a_forecast_is_the_rollout_from_a_warmed_up_state() -> None:
    m, codes = memory(), episodes()
    seen = forecast(m, codes, horizon=4, moments=99, dreams=3, warm=2, temperature=1e-6)
    moments = {tuple(codes.mean[row].astype(int)) for row in seen.rows[:, 0]}
    assert moments == {(0, t) for t in range(2, 6)} | {(2, t) for t in range(2, 9)}
    assert seen.codes.shape == (3, 11, 4, 2) and seen.rewards.shape == (3, 11, 4)
    for i, (row, *after) in enumerate(seen.rows):
        assert after == [row + 1, row + 2, row + 3, row + 4]
        assert len(set(codes.mean[seen.rows[i], 0])) == 1  # one episode
        state, first = m.initial(1), row - int(codes.mean[row, 1])
        with torch.no_grad():
            for k in range(first, row):
                state = m.step(
                    torch.from_numpy(codes.mean[k][None]),
                    torch.from_numpy(codes.actions[k][None]), state,
                )  # fmt: skip
            z, rewards = m.rollout(
                torch.from_numpy(codes.mean[row][None]), State(*state),
                torch.from_numpy(codes.actions[row : row + 4][None]), 1e-6,
                torch.Generator().manual_seed(1),
            )  # fmt: skip
        assert np.allclose(seen.codes[0, i], z[0], atol=1e-2)  # nearly cold: nearly no noise
        assert np.allclose(seen.rewards[0, i], rewards[0], atol=1e-2)


def test_samples_differ_and_seeds_repeat() -> None:
    m, codes = memory(), episodes((40,))
    first, again, other = (
        forecast(m, codes, horizon=5, moments=6, dreams=2, seed=seed) for seed in (1, 1, 2)
    )
    assert first.rows.shape == (6, 6) and len(set(first.rows[:, 0])) == 6
    assert np.array_equal(first.codes, again.codes) and np.array_equal(first.rows, again.rows)
    assert not np.array_equal(first.rows, other.rows)
    assert not np.allclose(first.codes[0], first.codes[1])


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"horizon": 0}, "horizon must be at least 1, got 0"),
     ({"moments": 0}, "moments must be at least 1, got 0"),
     ({"dreams": 0}, "dreams must be at least 1, got 0"),
     ({"seed": -1}, "seed must be at least 0, got -1"),
     ({"temperature": 0.0}, "temperature must be"),
     ({"warm": -1}, "warm must be at least 0, got -1"),
     ({"horizon": 11}, "no episode has 2 decisions and then 11 more"),
     ({"warm": 12}, "no episode is longer than the 12 decisions")],
)  # fmt: skip
def test_what_cannot_be_forecast_is_refused(changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        forecast(memory(), episodes(), **{"horizon": 4, "moments": 5, "warm": 2} | changed)
