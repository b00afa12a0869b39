"""M by hand against torch's LSTM, distributions and autograd, and M learning a fork."""

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from wmlib.scratch import LOG_SIGMA, MemoryModel, mixture_nll, softmax, train_memory

GATES = ("Wf", "Wi", "Wo", "Wc")
TORCH_ORDER = ("Wi", "Wf", "Wc", "Wo")  # torch stacks input, forget, cell, output


def torch_lstm(M):
    """torch's own LSTM with the weights of M."""
    X = M.z_dim + M.a_dim
    lstm = torch.nn.LSTM(X, M.h_dim, bias=False, batch_first=True, dtype=torch.float64)
    stacked = np.concatenate([getattr(M, g).T for g in TORCH_ORDER])  # (4 H, X + H)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(torch.tensor(stacked[:, :X]))
        lstm.weight_hh_l0.copy_(torch.tensor(stacked[:, X:]))
    return lstm


def torch_mixture(M, raw):
    """torch's own mixture of Gaussians for the head's numbers."""
    K, D = M.n_mix, M.z_dim
    logits, mu, log_sigma = raw.split([K, K * D, K * D], dim=-1)
    sigma = log_sigma.clamp(*LOG_SIGMA).exp()
    gaussians = Normal(mu.unflatten(-1, (K, D)), sigma.unflatten(-1, (K, D)))
    return MixtureSameFamily(Categorical(logits=logits), Independent(gaussians, 1))


def model(z=3, a=2, h=7, k=3, seed=0):
    """A model far from its small first weights, where all is nearly linear."""
    M = MemoryModel(z, a, h, k, seed=seed)
    for name in GATES:
        getattr(M, name)[:] *= 12
    M.W_mdn *= 20
    return M


def sequences(M, B, T, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((B, T + 1, M.z_dim)), rng.standard_normal((B, T, M.a_dim))


def autograd(M, z, a):
    lstm, W_mdn = torch_lstm(M), torch.tensor(M.W_mdn, requires_grad=True)
    hs, _ = lstm(torch.tensor(np.concatenate([z[:, :-1], a], axis=-1)))
    raw = hs @ W_mdn
    loss = -torch_mixture(M, raw).log_prob(torch.tensor(z[:, 1:])).mean()
    loss.backward()
    stacked = torch.cat([lstm.weight_ih_l0.grad, lstm.weight_hh_l0.grad], dim=1)
    gates = dict(zip(TORCH_ORDER, stacked.chunk(4), strict=True))
    grads = {name: g.T.numpy() for name, g in gates.items()}
    return loss.item(), grads | {"W_mdn": W_mdn.grad.numpy()}, raw.detach().numpy()


@pytest.mark.parametrize(
    ("B", "T", "dims"),
    [
        (1, 1, (1, 1, 2, 1)),
        (4, 1, (3, 2, 7, 3)),
        (5, 12, (3, 2, 7, 3)),
        (2, 40, (2, 3, 5, 1)),
        (3, 6, (8, 0, 16, 5)),
        (16, 16, (8, 2, 64, 3)),
    ],
)
def test_gradients_through_time_equal_autograd(B, T, dims):
    M = model(*dims)
    z, a = sequences(M, B, T)
    loss, grads = M.gradients(z, a)
    expected_loss, expected, _ = autograd(M, z, a)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    assert set(grads) == set(expected)
    for name, g in grads.items():
        assert np.abs(g - expected[name]).max() <= 1e-9 * np.abs(expected[name]).max(), name


def test_no_gradient_outside_the_clip_of_log_sigma():
    M = model()
    M.W_mdn *= 10
    z, a = sequences(M, 4, 10)
    z *= 3
    loss, grads = M.gradients(z, a)
    expected_loss, expected, raw = autograd(M, z, a)
    log_sigma = raw[..., M.n_mix * (1 + M.z_dim) :]
    assert (log_sigma < LOG_SIGMA[0]).mean() > 0.1  # the case is there, on both sides
    assert (log_sigma > LOG_SIGMA[1]).mean() > 0.1
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    for name, g in grads.items():
        np.testing.assert_allclose(g, expected[name], rtol=1e-6, atol=1e-9 * np.abs(g).max())


def test_clipped_everywhere_means_no_gradient_at_all():
    M = model(z=1, a=1, h=2, k=1)
    M.W_mdn[:, 2] *= 1e6
    z, a = sequences(M, 8, 3)
    _, grads = M.gradients(z, a)
    assert not grads["W_mdn"][:, 2].any()
    assert grads["W_mdn"][:, 1].any()


@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_no_nan_however_large_the_weights(scale):
    M = model()
    M.W_mdn *= scale
    loss, grads = M.gradients(*sequences(M, 4, 5))
    assert np.isfinite(loss)
    assert all(np.isfinite(g).all() for g in grads.values())


def test_predict_is_one_step_of_torch_lstm_and_mixture():
    M, rng = model(), np.random.default_rng(1)
    z, a = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    h, c = rng.standard_normal((2, 6, 7))
    pi, mu, sigma, h1, c1 = M.predict(z, a, h, c)
    x = torch.tensor(np.concatenate([z, a], axis=-1))[:, None]
    out, (_, cell) = torch_lstm(M)(x, (torch.tensor(h)[None], torch.tensor(c)[None]))
    np.testing.assert_allclose(h1, out[:, 0].detach(), rtol=1e-10)
    np.testing.assert_allclose(c1, cell[0].detach(), rtol=1e-10)
    expected = torch_mixture(M, torch.tensor(h1 @ M.W_mdn))
    np.testing.assert_allclose(pi, expected.mixture_distribution.probs, rtol=1e-10)
    np.testing.assert_allclose(mu, expected.component_distribution.mean, rtol=1e-10)
    np.testing.assert_allclose(sigma, expected.component_distribution.stddev, rtol=1e-10)


def test_batch_equals_loop():
    M, rng = model(), np.random.default_rng(2)
    z, a = rng.standard_normal((2, 3, 3)), rng.standard_normal((2, 3, 2))
    h, c = rng.standard_normal((2, 2, 3, 7))
    batch = M.predict(z, a, h, c)
    assert [array.shape for array in batch] == [(2, 3, 3), *[(2, 3, 3, 3)] * 2, *[(2, 3, 7)] * 2]
    for i in range(2):
        for j in range(3):
            one = M.predict(z[i, j], a[i, j], h[i, j], c[i, j])
            for got, expected in zip(batch, one, strict=True):
                np.testing.assert_allclose(got[i, j], expected, rtol=1e-12)


def test_mixture_nll_equals_torch_distributions():
    rng = np.random.default_rng(3)
    pi = rng.dirichlet(np.ones(4), size=(5, 6))
    mu, z = 3 * rng.standard_normal((5, 6, 4, 2)), 3 * rng.standard_normal((5, 6, 2))
    sigma = np.exp(rng.uniform(-5, 2, size=mu.shape))
    nll, share = mixture_nll(pi, mu, sigma, z)
    gaussians = Independent(Normal(torch.tensor(mu), torch.tensor(sigma)), 1)
    mixture = MixtureSameFamily(Categorical(torch.tensor(pi)), gaussians)
    np.testing.assert_allclose(nll, -mixture.log_prob(torch.tensor(z)), rtol=1e-10)
    joint = torch.tensor(pi).log() + gaussians.log_prob(torch.tensor(z)[..., None, :])
    np.testing.assert_allclose(share, torch.softmax(joint, dim=-1), rtol=1e-8, atol=1e-300)


def test_mixture_nll_survives_a_dead_component():
    mu, sigma = np.zeros((2, 1)), np.ones((2, 1))
    nll, share = mixture_nll(np.array([1.0, 0.0]), mu, sigma, np.zeros(1))
    assert nll == pytest.approx(0.5 * np.log(2 * np.pi))
    np.testing.assert_allclose(share, [1, 0], atol=1e-300)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5])
def test_samples_follow_the_tempered_mixture(temperature):
    n, M = 60_000, MemoryModel(2, 1, 4, 3, seed=0)
    pi = np.array([0.6, 0.3, 0.1])
    mu = np.array([[-50.0, 50.0], [0.0, 0.0], [50.0, -50.0]])
    sigma = np.array([[0.1, 0.2], [1.0, 2.0], [3.0, 0.5]])
    z = M.sample_next(*(np.broadcast_to(p, (n, *p.shape)) for p in (pi, mu, sigma)), temperature)
    assert z.shape == (n, 2)
    # one component for the whole vector: both coordinates name the same one
    picked = np.rint(z / 50).astype(int)
    assert np.array_equal(picked[:, 0], -picked[:, 1])
    tempered = pi ** (1 / temperature) / np.sum(pi ** (1 / temperature))
    for k in range(3):
        mine = z[picked[:, 0] == k - 1]
        assert len(mine) / n == pytest.approx(tempered[k], abs=0.01)
        assert mine.std(axis=0) == pytest.approx(sigma[k] * np.sqrt(temperature), rel=0.06)


def test_each_sample_of_a_batch_has_its_own_mixture():
    M = MemoryModel(2, 1, 4, 3, seed=0)
    pi = np.eye(3)  # (B, K), each sure of another component
    mu = np.arange(18.0).reshape(3, 3, 2)
    z = M.sample_next(pi, mu, np.full_like(mu, 1e-9), 0.5)
    np.testing.assert_allclose(z, mu[range(3), range(3)], atol=1e-6)
    np.testing.assert_allclose(
        M.sample_next(pi[1], mu[1], np.full((3, 2), 1e-9)), mu[1, 1], atol=1e-6
    )


def test_softmax_sums_to_one_along_the_last_axis():
    x = np.array([[1e4, 0.0, -1e4], [1.0, 2.0, 3.0]])
    np.testing.assert_allclose(softmax(x), torch.softmax(torch.tensor(x), dim=-1))


def test_same_seed_same_model_and_samples():
    def sample(seed):
        M = MemoryModel(seed=seed)
        return M.sample_next(*M.predict(np.ones(8), np.ones(2), np.ones(64), np.ones(64))[:3])

    assert np.array_equal(sample(3), sample(3))
    assert not np.array_equal(sample(3), sample(4))


def fork(n, T, seed):
    """A road that forks at each step: left or right by a coin, +-1 give or take 0.1."""
    rng = np.random.default_rng(seed)
    z = rng.choice([-1.0, 1.0], size=(n, T + 1, 1)) + 0.1 * rng.standard_normal((n, T + 1, 1))
    return z, np.ones((n, T, 1))


ONE_GAUSSIAN = 0.5 * np.log(2 * np.pi * np.e * 1.01)  # 1.42 nats: the best one can do
TWO_GAUSSIANS = np.log(2) + 0.5 * np.log(2 * np.pi * np.e * 0.01)  # -0.19 nats: the truth


@pytest.mark.parametrize("seed", [0, 1])
def test_a_mixture_learns_the_fork_that_one_gaussian_cannot(seed):
    unseen = fork(500, 8, seed=9)
    nll = {}
    for n_mix in (1, 3):
        M = MemoryModel(1, 1, 16, n_mix, mdn_scale=0.5, seed=seed)
        losses = train_memory(M, *fork(200, 20, seed=0), steps=600, length=8, seed=seed)
        assert losses.shape == (600,)
        nll[n_mix], _ = M.gradients(*unseen)
    assert nll[1] > ONE_GAUSSIAN - 0.03
    assert nll[3] < TWO_GAUSSIANS + 0.1


def test_h_remembers_what_z_does_not_hold():
    """z_{t+1} = z_{t-1}: to predict it takes memory, and the loss falls only with one."""
    rng = np.random.default_rng(0)
    pair = rng.choice([-1.0, 1.0], size=(200, 2, 1))
    z = np.tile(pair, (1, 6, 1))  # (N, 12, 1): a b a b ...
    z = z + 0.1 * rng.standard_normal(z.shape)
    M = MemoryModel(1, 0, 16, 1, mdn_scale=0.5, seed=0)
    train_memory(M, z, np.zeros((200, 11, 0)), steps=400, length=11, seed=0)
    hs, c = np.zeros((2, 200, 16))
    for t in range(11):
        _, mu, _, hs, c = M.predict(z[:, t], np.zeros((200, 0)), hs, c)
    assert np.abs(mu[:, 0] - z[:, 11]).mean() < 0.15  # sigma is 0.1; without memory 1


def test_training_is_reproducible():
    curves = [
        train_memory(MemoryModel(1, 1, 4, seed=0), *fork(9, 7, seed=0), steps=9, seed=s)
        for s in (1, 1, 2)
    ]
    assert np.array_equal(curves[0], curves[1])
    assert not np.array_equal(curves[0], curves[2])


def test_bad_input_is_named():
    M = MemoryModel(3, 2, 4, 2, seed=0)
    z, a, h = np.zeros((5, 3)), np.zeros((5, 2)), np.zeros((5, 4))
    pi, mu, sigma, *_ = M.predict(z, a, h, h)
    zs, as_ = sequences(M, 2, 6)
    nan = np.full_like(zs, np.nan)
    for call, words in [
        (lambda: MemoryModel(0), "z_dim"),
        (lambda: MemoryModel(a_dim=-1), "a_dim"),
        (lambda: MemoryModel(h_dim=1.5), "h_dim"),
        (lambda: MemoryModel(n_mix=0), "n_mix must be at least 1, got 0"),
        (lambda: MemoryModel(mdn_scale=0), "mdn_scale"),
        (lambda: M.predict(z[:, :2], a, h, h), r"z_t must have shape \(..., 3\)"),
        (lambda: M.predict(z * np.nan, a, h, h), "z_t must be finite"),
        (lambda: M.predict(z, a[0], h, h), r"a_t must have shape \(5, 2\), got \(2,\)"),
        (lambda: M.predict(z, a, h[0], h), "h must have shape"),
        (lambda: M.predict(z, a, h, h[:2]), "c must have shape"),
        (lambda: M.lstm_step(z, h, h), r"x must have shape \(..., 5\)"),
        (lambda: M.sample_next(pi, mu, sigma, 0.0), "temperature"),
        (lambda: M.sample_next(pi, mu, sigma, -1), "temperature .*, got -1"),
        (lambda: M.sample_next(pi, mu, sigma, np.nan), "temperature"),
        (lambda: M.sample_next(pi, mu, sigma, 1e300), r"temperature .*, got 1e\+300"),
        (lambda: M.sample_next(pi, mu, sigma, "1"), "temperature must be a number, got '1'"),
        (lambda: M.sample_next(pi, mu, sigma, 2**70), "temperature .*, got 118059"),
        (lambda: M.sample_next(pi, mu, sigma, rng=7), "rng must be a Generator or None, got 7"),
        (lambda: MemoryModel(seed="x"), "seed must be a whole .*, got 'x'"),
        (lambda: MemoryModel(seed=-1), "seed must be at least 0, got -1"),
        (lambda: MemoryModel(z_dim=2**70), "z_dim must be at most 9223372036854775807, got 118"),
        (lambda: train_memory(3, zs, as_), "M must be a MemoryModel with z_dim and a_dim .* got 3"),
        (lambda: train_memory(M, zs, as_, seed=1.5), "seed must be a whole number or .*, got 1.5"),
        (lambda: M.sample_next(pi[0], mu, sigma), "mu must have shape"),
        (lambda: M.sample_next(pi, mu, sigma[0]), "sigma must have shape"),
        (lambda: mixture_nll(pi, mu[0], sigma, z), "mu must have shape"),
        (lambda: mixture_nll(pi, mu, sigma[0], z), "sigma must have shape"),
        (lambda: M.gradients(zs[:, :-1], as_), r"z must have shape \(2, 7, 3\), got \(2, 6, 3\)"),
        (lambda: M.gradients(zs[0], as_[0]), r"a must have shape \(B, T, A\)"),
        (lambda: M.gradients(nan, as_), "z must be finite"),
        (lambda: train_memory(M, zs[:0], as_[:0]), "a must have shape"),
        (lambda: train_memory(M, zs[:, 1:], as_), "z must have shape"),
        (lambda: train_memory(M, nan, as_), "z must be finite"),
        (lambda: train_memory(M, zs, as_, steps=0), "steps"),
        (lambda: train_memory(M, zs, as_, batch=0), "batch"),
        (lambda: train_memory(M, zs, as_, length=0), "length"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
