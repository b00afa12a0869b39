"""Adam against torch's, and what a loss that is not finite does."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wmlib.scratch import Adam
from wmlib.scratch.adam import descend


def test_steps_are_torchs():
    rng = np.random.default_rng(0)
    model = SimpleNamespace(A=rng.standard_normal((3, 4)), b=rng.standard_normal(2))
    mine = Adam(lr=0.01)
    theirs = {name: torch.tensor(w, requires_grad=True) for name, w in vars(model).items()}
    theirs = {name: w.detach().clone().requires_grad_() for name, w in theirs.items()}
    optimiser = torch.optim.Adam(theirs.values(), lr=0.01)
    for _ in range(50):
        grads = {name: rng.standard_normal(w.shape) for name, w in vars(model).items()}
        mine.step(model, grads)
        for name, w in theirs.items():
            w.grad = torch.tensor(grads[name])
        optimiser.step()
    for name, w in theirs.items():
        np.testing.assert_allclose(getattr(model, name), w.detach(), rtol=1e-10)


def test_a_loss_that_is_not_finite_stops_at_its_step():
    model = SimpleNamespace(w=np.zeros(2))
    losses = iter([1.0, 0.5, np.nan])
    with pytest.raises(FloatingPointError, match="the loss is nan at step 2"):
        descend(model, lambda: (next(losses), {"w": np.ones(2)}), steps=5, lr=0.1)
    np.testing.assert_allclose(model.w, -0.2)  # two steps were taken


@pytest.mark.parametrize("lr", [0, -1, np.inf, "fast", "0.1", 1e300, None])
def test_a_bad_rate_is_named(lr):
    with pytest.raises(ValueError, match=r"lr must be (a number|in \[1e-100, 1e\+100\]), got"):
        Adam(lr)


@pytest.mark.parametrize("name", ["beta1", "beta2"])
@pytest.mark.parametrize("decay", [1, -0.1, np.nan, "0.9"])
def test_a_decay_that_is_none_is_named(name, decay):
    with pytest.raises(ValueError, match=rf"{name} must be (a number|in \[0, 1\)), got '?{decay}"):
        Adam(**{name: decay})
    with pytest.raises(ValueError, match=r"eps must be in \[1e-100, 1e\+100\], got 0"):
        Adam(eps=0)
