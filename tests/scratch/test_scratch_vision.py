"""V by hand against torch's autograd, and V learning."""

import numpy as np
import pytest
import torch

from wmlib.scratch import VisionModel, train_vision, vae_loss

WEIGHTS = ("W1", "W_mu", "W_logvar", "W3", "W4")


def blobs(n, seed):
    """8x8 frames (n, 64) of one soft blob anywhere: two numbers make each frame."""
    centre = np.random.default_rng(seed).uniform(1, 6, size=(n, 2, 1))
    y, x = np.exp(-((np.arange(8) - centre) ** 2) / 3).transpose(1, 0, 2)
    return (y[:, :, None] * x[:, None, :]).reshape(n, 64)


@pytest.mark.parametrize(
    ("obs", "latent", "hidden", "batch"), [(64, 8, 64, 16), (5, 2, 3, 1), (7, 4, 9, 33)]
)
@pytest.mark.parametrize("kl_weight", [1.0, 1e-4, 0.0])
def test_gradients_equal_autograd(obs, latent, hidden, batch, kl_weight):
    rng = np.random.default_rng(batch)
    V = VisionModel(obs, latent, hidden, seed=rng)
    for name in WEIGHTS:  # far from the small first weights, where all is linear
        getattr(V, name)[:] *= 5
    x, noise = rng.random((batch, obs)), rng.standard_normal((batch, latent))
    loss, grads = V.gradients(x, noise, kl_weight=kl_weight)

    W = {name: torch.tensor(getattr(V, name), requires_grad=True) for name in WEIGHTS}
    h = torch.tanh(torch.tensor(x) @ W["W1"])
    posterior = torch.distributions.Normal(h @ W["W_mu"], torch.exp(h @ W["W_logvar"] / 2))
    z = posterior.loc + posterior.scale * torch.tensor(noise)
    x_hat = torch.sigmoid(torch.tanh(z @ W["W3"]) @ W["W4"])
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    expected = torch.nn.functional.mse_loss(x_hat, torch.tensor(x)) + kl_weight * kl.mean()
    expected.backward()

    assert loss == pytest.approx(expected.item(), rel=1e-12)
    assert set(grads) == set(WEIGHTS)
    for name in WEIGHTS:
        reference = W[name].grad.numpy()
        assert np.abs(grads[name] - reference).max() <= 1e-9 * np.abs(reference).max(), name


def test_gradients_take_one_frame_or_many_axes():
    V, rng = VisionModel(6, 2, 5, seed=0), np.random.default_rng(0)
    x, noise = rng.random((3, 4, 6)), rng.standard_normal((3, 4, 2))
    loss, grads = V.gradients(x, noise)
    each = [V.gradients(x[i, j], noise[i, j]) for i in range(3) for j in range(4)]
    assert loss == pytest.approx(np.mean([one for one, _ in each]))
    for name, g in grads.items():
        np.testing.assert_allclose(g, np.mean([gs[name] for _, gs in each], axis=0), atol=1e-15)


def test_batch_equals_loop():
    V, rng = VisionModel(64, 8, seed=0), np.random.default_rng(0)
    x, z = rng.random((3, 5, 64)), rng.standard_normal((3, 5, 8))
    mu, logvar = V.encode(x)
    assert mu.shape == logvar.shape == (3, 5, 8)
    for i in range(3):
        for j in range(5):
            np.testing.assert_allclose(V.encode(x[i, j]), (mu[i, j], logvar[i, j]), atol=1e-14)
            np.testing.assert_allclose(V.decode(z[i, j]), V.decode(z)[i, j], atol=1e-14)
    x_hat, *_ = V.forward(x)
    assert x_hat.shape == x.shape


def test_forward_samples_the_posterior():
    V = VisionModel(4, 2, 3, seed=0)
    V.decode = lambda z: z  # look at the code itself
    z, mu, logvar = V.forward(np.full((40_000, 4), 0.5))
    np.testing.assert_allclose(z.mean(axis=0), mu[0], atol=0.02)
    np.testing.assert_allclose(z.std(axis=0), np.exp(logvar[0] / 2), atol=0.02)


def test_same_seed_same_model_and_noise():
    x = np.full(64, 0.5)
    a, b, other = (VisionModel(64, 8, seed=s).forward(x)[0] for s in (3, 3, 4))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, other)
    V = VisionModel(64, 8, seed=3)
    draws = [V.forward(x, rng=np.random.default_rng(7))[0] for _ in range(2)]
    assert np.array_equal(*draws)


def test_learns_frames_it_has_not_seen():
    frames, unseen = blobs(2000, seed=0), blobs(500, seed=1)
    V = VisionModel(64, 8, seed=0)
    losses = train_vision(V, frames, steps=2000, seed=0)
    mu, _ = V.encode(unseen)
    error = np.mean((V.decode(mu) - unseen) ** 2)
    assert losses.shape == (2000,)
    assert losses[-100:].mean() < 0.1 * losses[:10].mean()
    assert error < 0.05 * np.mean((unseen - frames.mean(axis=0)) ** 2)
    # where the blob is can be read off the code, by a straight line
    centre = np.random.default_rng(1).uniform(1, 6, size=(500, 2, 1))[..., 0]
    design = np.column_stack([mu, np.ones(500)])
    residual = centre - design @ np.linalg.lstsq(design, centre, rcond=None)[0]
    assert 1 - residual.var() / centre.var() > 0.8


def test_the_articles_kl_weight_makes_all_frames_one():
    frames = blobs(2000, seed=0)
    V = VisionModel(64, 8, seed=0)
    train_vision(V, frames, steps=1000, kl_weight=1.0, seed=0)
    decoded = V.decode(V.encode(frames)[0])
    assert decoded.var(axis=0).sum() < 0.01 * frames.var(axis=0).sum()


def test_training_is_reproducible():
    curves = [
        train_vision(VisionModel(64, 4, 8, seed=0), blobs(50, seed=0), steps=20, seed=s)
        for s in (1, 1, 2)
    ]
    assert np.array_equal(curves[0], curves[1])
    assert not np.array_equal(curves[0], curves[2])


def test_bad_input_is_named():
    V, x = VisionModel(4, 2, 3, seed=0), np.full((5, 4), 0.5)
    nan = np.full((5, 4), np.nan)
    mu = np.zeros((5, 2))
    for call, words in [
        (lambda: VisionModel(0), "obs_dim must be at least 1, got 0"),
        (lambda: VisionModel(4, 2.5), "latent_dim must be a whole number, got 2.5"),
        (lambda: VisionModel(4, 2, -1), "hidden_dim"),
        (lambda: V.encode(np.zeros((5, 3))), r"x must have shape \(..., 4\), got \(5, 3\)"),
        (lambda: V.encode(0.5), "x must have shape"),
        (lambda: V.encode(["a"] * 4), "x must hold numbers"),
        (lambda: V.encode(nan), "x must be finite"),
        (lambda: V.decode(np.zeros(3)), "z must have shape"),
        (lambda: V.decode([np.inf, 0]), "z must be finite"),
        (lambda: V.gradients(x, np.zeros((4, 2))), r"noise must have shape \(5, 2\)"),
        (lambda: vae_loss(x, x[0], mu, mu), "x_hat must have shape"),
        (lambda: vae_loss(x, x, mu, mu[0]), "logvar must have shape"),
        (lambda: train_vision(V, x[:0]), "frames must be at least one"),
        (lambda: train_vision(V, x * 255), r"values in \[0, 1\]"),
        (lambda: train_vision(V, nan), "frames must be finite"),
        (lambda: train_vision(V, x, steps=0), "steps"),
        (lambda: train_vision(V, x, batch=0), "batch"),
        (lambda: train_vision(V, x, lr=0), r"lr must be in \[1e-100, 1e\+100\], got 0"),
        (lambda: train_vision(V, x, kl_weight=-1), "kl_weight"),
        (lambda: train_vision(V, x, kl_weight="1"), "kl_weight must be a number, got '1'"),
        (lambda: train_vision(V, x, lr="0.1"), "lr must be a number, got '0.1'"),
        (lambda: train_vision(V, x, seed=-1), "seed must be at least 0, got -1"),
        (lambda: train_vision(x, V), "V must be a VisionModel with obs_dim and gradients, got"),
        (lambda: VisionModel(4, seed="x"), "seed must be a whole number or .*, got 'x'"),
        (lambda: V.forward(x, rng=7), "rng must be a Generator or None, got 7"),
        (lambda: V.gradients(x, mu, kl_weight=np.nan), r"kl_weight .* \[0, 1e\+100\], got nan"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
