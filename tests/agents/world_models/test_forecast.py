"""Open-loop forecasts: aligned with what followed, and as good as a model that is known."""

import numpy as np
import pytest
import torch

from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.forecast import choose, fair_errors, forecast, spreads
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig, State

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
     ({"horizon": 11}, "no moment is followed by 11 decisions"),
     ({"warm": 12}, "no episode is longer than the 12 decisions"),
     ({"moments": np.array([], int)}, r"moments must be .* \(M,\) .*, got .* \(0,\)"),
     ({"moments": np.array([1])}, "a moment must be a row that enough decisions lie before and"),
     ({"moments": np.array([99])}, "a moment must be a row that enough decisions lie before and")],
)  # fmt: skip
def test_what_cannot_be_forecast_is_refused(changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        forecast(memory(), episodes(), **{"horizon": 4, "moments": 5, "warm": 2} | changed)


def test_moments_that_are_named_are_asked() -> None:
    m, codes = memory(), episodes()
    rows = np.array([17, 3, 22])  # of two episodes, in an order of our own
    seen = forecast(m, codes, horizon=4, moments=rows, dreams=2, warm=2)
    assert seen.rows[:, 0].tolist() == [17, 3, 22]
    shuffled = np.array([5, 2, 9])
    assert choose(shuffled, np.array([9, 5]), 0).tolist() == [2, 0]
    assert choose(shuffled, 2, 0).tolist() == sorted(choose(shuffled, 2, 0))


MOMENTS, STEPS = 6000, 40
KEEP, STEP = 0.9, 0.5  # x' = KEEP x + STEP noise, in two numbers


def futures(rng: np.random.Generator, x: np.ndarray, keep: float = KEEP) -> np.ndarray:
    """(M, T, 2) futures of the moments x (M, 2)."""
    path = []
    for _ in range(STEPS):
        x = keep * x + STEP * rng.standard_normal(x.shape)
        path.append(x)
    return np.stack(path, 1)


@pytest.fixture(scope="module")
def known() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """A process that is known: its variance at each step (T,), what came, and 8 draws of models."""
    rng = np.random.default_rng(0)
    x = STEP / np.sqrt(1 - KEEP**2) * rng.standard_normal((MOMENTS, 2))
    ahead = np.arange(1, STEPS + 1)
    variance = 2 * STEP**2 * (1 - KEEP ** (2 * ahead)) / (1 - KEEP**2)
    models = {
        "perfect": [futures(rng, x) for _ in range(8)],
        "forgets": [futures(rng, x, 0.7) for _ in range(8)],
        "believes too long": [futures(rng, x, 0.97) for _ in range(8)],
        "another moment": [futures(rng, rng.permutation(x)) for _ in range(8)],
    }
    return variance, futures(rng, x), {name: np.stack(draws) for name, draws in models.items()}


def test_a_perfect_model_scores_the_noise_of_the_world(known: tuple) -> None:
    variance, came, models = known
    fair = fair_errors(models["perfect"], came).mean(0)
    assert np.allclose(fair, variance, rtol=0.06)
    assert np.allclose(spreads(models["perfect"]).mean(0), variance, rtol=0.06)
    # as it used to be scored: V + V / 8, beyond what one has who always says the mean
    naive = np.square(models["perfect"].mean(0) - came).sum(-1).mean(0)
    assert np.allclose(naive, variance * 9 / 8, rtol=0.06)
    of_the_mean = np.square(came).sum(-1).mean(0)
    assert (naive[-10:] > 1.05 * of_the_mean[-10:]).all()
    assert np.allclose(fair[-10:], of_the_mean[-10:], rtol=0.03)


def test_a_perfect_model_scores_best(known: tuple) -> None:
    _, came, models = known
    fair = {name: fair_errors(draws, came).mean(0) for name, draws in models.items()}
    guesses = {"the mean": np.square(came).sum(-1).mean(0)}
    for name, errors in (fair | guesses).items():
        if name != "perfect":
            assert fair["perfect"][:5].mean() < errors[:5].mean() - 0.03, name
            assert fair["perfect"].mean() < errors.mean(), name


def test_the_chance_of_few_draws_is_taken_off(known: tuple) -> None:
    """The score of 2 draws is that of 8: how many one could afford does not count."""
    _, came, models = known
    few, many = (fair_errors(models["forgets"][:n], came).mean(0) for n in (2, 8))
    assert np.allclose(few, many, rtol=0.06)


def test_errors_and_spreads_by_hand() -> None:
    draws, came = np.array([[[[1.0, 0.0]]], [[[3.0, 0.0]]]]), np.array([[[5.0, 1.0]]])
    assert spreads(draws).tolist() == [[2.0]]  # of 1 and 3
    assert fair_errors(draws, came).tolist() == [[9.0 + 1.0 - 2.0 / 2]]
    assert fair_errors(draws[..., 0], came[..., 0]).tolist() == [[8.0]]
    with pytest.raises(ValueError, match="at least 2 draws, got 1"):
        fair_errors(draws[:1], came)
    with pytest.raises(
        ValueError, match=r"the shape of what came must be \(1, 1, 2\), got \(1, 1\)"
    ):
        fair_errors(draws, came[..., 0])
