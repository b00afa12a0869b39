"""Two-hot numbers, mixed softmaxes and drawn classes, against what is known of them."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical

from wmlib.nets.heads import (
    expected,
    signed_hyperbolic,
    signed_parabolic,
    straight_through,
    symexp,
    symexp_bins,
    symlog,
    two_hot,
    two_hot_loss,
    unimix,
)

BINS = symexp_bins()


def test_symlog_and_symexp_undo_one_another() -> None:
    x = torch.tensor([-1e6, -3.0, -1e-4, 0.0, 1e-4, 1.0, 2e5], dtype=torch.float64)
    torch.testing.assert_close(symexp(symlog(x)), x)
    assert float(symlog(torch.tensor(math.e - 1))) == pytest.approx(1)


def test_muzeros_scale_and_its_inverse_undo_one_another() -> None:
    x = torch.tensor([-1e4, -115.0, -1.0, -1e-4, 0.0, 1e-3, 1.0, 500.0], dtype=torch.float64)
    torch.testing.assert_close(signed_parabolic(signed_hyperbolic(x)), x)
    assert float(signed_hyperbolic(x[5 + 1])) == pytest.approx(math.sqrt(2) - 1 + 0.001)
    single = torch.tensor([-1.0, 1e-3, 1.0, 300.0])
    back = signed_parabolic(signed_hyperbolic(single))
    torch.testing.assert_close(back, single, rtol=1e-5, atol=1e-7)


def test_bins_are_symmetric_and_reach_far() -> None:
    assert len(BINS) == 255
    assert torch.equal(BINS, -BINS.flip(0))
    assert float(BINS[127]) == 0
    assert float(BINS[-1]) == pytest.approx(math.expm1(20), rel=1e-6)
    assert (BINS.diff() > 0).all()
    with pytest.raises(ValueError, match="count must be an odd number, at least 3, got 254"):
        symexp_bins(254)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0, 1e6])
def test_two_hot_has_two_bins_and_the_right_mean(scale: float) -> None:
    x = scale * torch.randn(500, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bins = BINS.double()
    shares = two_hot(x, bins)
    assert ((shares > 0).sum(-1) <= 2).all()
    torch.testing.assert_close(shares.sum(-1), torch.ones_like(x))
    torch.testing.assert_close(shares @ bins, x)
    torch.testing.assert_close(expected(shares.clamp(min=1e-300).log(), bins), x)


def test_two_hot_on_a_bin_and_beyond_the_last() -> None:
    assert torch.equal(two_hot(BINS, BINS), torch.eye(255))
    beyond = two_hot(torch.tensor([-1e12, 1e12]), BINS)
    assert beyond[0, 0] == beyond[1, -1] == 1


def test_a_new_network_expects_exactly_nothing() -> None:
    """Where a plain sum would expect tens of thousands of roundings of e^20."""
    assert float(expected(torch.zeros(255), BINS)) == 0
    logits = torch.randn(127, generator=torch.Generator().manual_seed(1))
    mirrored = torch.cat([logits, torch.zeros(1), logits.flip(0)])
    assert float(expected(mirrored, BINS)) == 0


def test_the_loss_is_least_where_the_mean_is_right() -> None:
    target = torch.tensor([0.0, 0.37, -42.0], dtype=torch.float64)
    bins = BINS.double()
    logits = torch.zeros(3, 255, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.3)
    for _ in range(300):
        optimiser.zero_grad()
        two_hot_loss(logits, target, bins).sum().backward()
        optimiser.step()
    torch.testing.assert_close(expected(logits.detach(), bins), target, atol=1e-2, rtol=1e-2)


def test_no_class_is_impossible() -> None:
    logits = torch.tensor([[0.0, 1e3, -1e3, 5.0]])
    probabilities = unimix(logits).exp()
    assert float(probabilities.min()) >= 0.01 / 4 * (1 - 1e-6)
    assert float(probabilities.sum()) == pytest.approx(1)
    torch.testing.assert_close(probabilities, 0.99 * logits.softmax(-1) + 0.0025)


def test_classes_are_drawn_as_often_as_they_should_be() -> None:
    log_probabilities = torch.tensor([0.1, 0.6, 0.05, 0.25]).log()
    uniform = torch.from_numpy(np.random.default_rng(0).random(40_000, np.float32))
    drawn = straight_through(log_probabilities.expand(40_000, 4), uniform)
    assert torch.equal(drawn.sum(-1), torch.ones(40_000))
    torch.testing.assert_close(drawn.mean(0), log_probabilities.exp(), atol=0.01, rtol=0)
    last = straight_through(log_probabilities, torch.tensor(0.99999994))
    assert int(last.argmax()) == 3


def test_the_gradient_of_a_draw_is_that_of_its_probabilities() -> None:
    logits = torch.randn(5, 4, requires_grad=True, generator=torch.Generator().manual_seed(0))
    weights = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    drawn = straight_through(logits.log_softmax(-1), torch.rand(5))
    (gradient,) = torch.autograd.grad((weights * drawn).sum(), logits)
    (of_mean,) = torch.autograd.grad((weights * Categorical(logits=logits).probs).sum(), logits)
    torch.testing.assert_close(gradient, of_mean)
