"""Euler's steps, where the best denoiser is known: data that is one Gaussian."""

import itertools

import pytest
import torch

from wmlib.agents.diamond import SamplerConfig, sample, schedule

MEAN, DEVIATION = 0.4, 0.5


def best(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The mean of what x was before its noise: N(0.4, 0.5^2) by Bayes' rule."""
    data, noise = DEVIATION**2, sigma**2
    return (data * x + noise * MEAN) / (data + noise)


def start(sigma: float) -> torch.Tensor:
    """As the data would look under so much noise."""
    noise = torch.randn(100_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return MEAN + (DEVIATION**2 + sigma**2) ** 0.5 * noise


def test_noise_levels_are_those_of_the_formula() -> None:
    settings = (3, 5.0, 2e-3, 7.0), (18, 80.0, 2e-3, 7.0), (5, 2.0, 0.1, 1.0)
    for steps, most, least, curve in settings:
        found = schedule(SamplerConfig(steps, most, least, curve)).tolist()
        inverse = 1 / curve
        expected = [
            (most**inverse + i / (steps - 1) * (least**inverse - most**inverse)) ** curve
            for i in range(steps)
        ]
        assert found == pytest.approx([*expected, 0], rel=1e-4)
    assert schedule(SamplerConfig(steps=1)).tolist() == pytest.approx([5, 0])


def test_many_steps_give_the_data() -> None:
    sigmas = schedule(SamplerConfig(steps=300)).double()
    found = sample(best, start(5.0), sigmas)
    assert float(found.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(found.std()) == pytest.approx(DEVIATION, abs=0.01)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_few_steps_give_what_euler_gives(steps: int) -> None:
    """Each one shrinks the distance to the mean by a factor that is known."""
    sigmas = schedule(SamplerConfig(steps=steps)).double()
    factor = 1.0
    for sigma, following in itertools.pairwise(sigmas.tolist()):
        factor *= 1 + (following - sigma) * sigma / (DEVIATION**2 + sigma**2)
    x = start(5.0)
    torch.testing.assert_close(sample(best, x, sigmas), MEAN + factor * (x - MEAN))
    assert abs(factor * float(x.std()) - DEVIATION) > 0.1  # which is not yet the data


def test_a_unit_start_is_narrower_than_the_data() -> None:
    """What the authors choose: from N(0, 1) at sigma 5 it ends with a fifth of the spread."""
    noise = (start(5.0) - MEAN) / (DEVIATION**2 + 25) ** 0.5
    found = sample(best, noise, schedule(SamplerConfig(steps=300)).double())
    assert float(found.std()) == pytest.approx(DEVIATION / (DEVIATION**2 + 25) ** 0.5, rel=0.02)


def test_it_asks_once_a_step_and_ends_with_the_last_answer() -> None:
    asked = []

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        asked.append(float(sigma))
        return torch.full_like(x, len(asked))

    sigmas = schedule(SamplerConfig(steps=4))
    found = sample(denoise, torch.randn(2, 3), sigmas)
    assert asked == sigmas[:-1].tolist()
    torch.testing.assert_close(found, torch.full((2, 3), 4.0))


def test_a_least_noise_that_is_not_below_the_most_is_refused() -> None:
    with pytest.raises(ValueError, match=r"least must be below most, got 5\.0 and 5\.0"):
        schedule(SamplerConfig(least=5.0))
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        SamplerConfig(steps=0)
