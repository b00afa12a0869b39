"""M, the memory model of the article's section 3: an MDN-RNN, by hand."""

from typing import Annotated

import numpy as np
import numpy.typing as npt

from wmlib.scratch.adam import descend
from wmlib.scratch.checks import Array, Positive, Seed, same, vectors
from wmlib.shapes import Like
from wmlib.typed import NonNegativeInt, PositiveInt, typed

LOG_SIGMA = (-7.0, 7.0)
"""Range of log sigma. Without a bound the density of a Gaussian that grows
ever narrower overflows, and the loss becomes NaN. Inside it sigma runs from
0.0009 to 1100, in units of a latent whose prior is N(0, 1). Ours."""

Tape = tuple[Array, ...]
"""What one step of the LSTM keeps for the way back."""


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))


def softmax(x: Array) -> Array:
    """exp(x) / sum(exp(x)) along the last axis, without overflow."""
    e: Array = np.exp(x - np.max(x, axis=-1, keepdims=True))
    e /= e.sum(axis=-1, keepdims=True)
    return e


class MemoryModel:
    """MDN-RNN: predicts next latent state as a mixture of Gaussians.

    The mixture has K = n_mix components, each with a diagonal covariance.
    X = Z + A is the input of the LSTM. No layer has a bias, as in the
    article. `mdn_scale` is the standard deviation of the head's first
    weights. The article's 0.05 lets all Gaussians begin as one: at a fork
    in the road they stayed one for 300 to more than 3,000 updates; with 0.5
    they parted within 300. `seed` (an int or a Generator) draws the weights
    and then, through `self.rng`, every sample not given a generator.

    | method      | takes                         | returns                  |
    | ----------- | ----------------------------- | ------------------------ |
    | lstm_step   | x (..., X), h, c (..., H)     | h, c (..., H)            |
    | predict     | z_t (..., Z), a_t (..., A),   | pi (..., K), mu, sigma   |
    |             | h, c (..., H)                 | (..., K, Z), h, c        |
    | sample_next | pi, mu, sigma, temperature    | z (..., Z)               |
    | gradients   | z (B, T + 1, Z), a (B, T, A)  | loss, {weight: gradient} |

    All raise ValueError for a wrong shape or a value that is not finite.
    """

    @typed
    def __init__(
        self,
        z_dim: PositiveInt = 8,
        a_dim: NonNegativeInt = 2,
        h_dim: PositiveInt = 64,
        n_mix: PositiveInt = 3,
        *,
        mdn_scale: Positive = 0.05,
        seed: Seed = None,
    ) -> None:
        self.h_dim = h_dim
        self.n_mix = n_mix
        self.z_dim = z_dim
        self.a_dim = a_dim
        self.rng = np.random.default_rng(seed)
        randn = self.rng.standard_normal
        d_in = z_dim + a_dim
        # LSTM gate weights (forget, input, output, cell candidate)
        self.Wf = randn((d_in + h_dim, h_dim)) * 0.05
        self.Wi = randn((d_in + h_dim, h_dim)) * 0.05
        self.Wo = randn((d_in + h_dim, h_dim)) * 0.05
        self.Wc = randn((d_in + h_dim, h_dim)) * 0.05
        # MDN output: pi, mu, sigma for each Gaussian component
        self.W_mdn = randn((h_dim, n_mix * (1 + 2 * z_dim)))
        self.W_mdn *= mdn_scale

    def gates(self, xh: Array) -> tuple[Array, Array, Array, Array]:
        """The gates f, i, o and candidate (..., H) at [x, h] (..., X + H)."""
        f = sigmoid(xh @ self.Wf)  # forget gate
        i = sigmoid(xh @ self.Wi)  # input gate
        o = sigmoid(xh @ self.Wo)  # output gate
        c_hat = np.tanh(xh @ self.Wc)  # candidate cell
        return f, i, o, c_hat

    def lstm_step(
        self, x: npt.ArrayLike, h: npt.ArrayLike, c: npt.ArrayLike
    ) -> tuple[Array, Array]:
        """Take in x: the next hidden state and the next cell."""
        x = vectors("x", x, self.z_dim + self.a_dim)
        h = vectors("h", h, self.h_dim, like=x)
        c = vectors("c", c, self.h_dim, like=x)
        f, i, o, c_hat = self.gates(np.concatenate([x, h], axis=-1))
        c = f * c + i * c_hat
        h = o * np.tanh(c)
        return h, c

    def mixture(self, raw: Array) -> tuple[Array, Array, Array]:
        """The Gaussians that the head's numbers (..., K (1 + 2 Z)) mean."""
        K, D = self.n_mix, self.z_dim
        pi = softmax(raw[..., :K])  # (..., K)
        mu = raw[..., K : K + K * D]
        sigma = np.exp(np.clip(raw[..., K + K * D :], *LOG_SIGMA))
        shape = (*raw.shape[:-1], K, D)
        return pi, mu.reshape(shape), sigma.reshape(shape)

    def predict(
        self,
        z_t: npt.ArrayLike,
        a_t: npt.ArrayLike,
        h: npt.ArrayLike,
        c: npt.ArrayLike,
    ) -> tuple[Array, Array, Array, Array, Array]:
        """The mixture over z_{t+1}, and the LSTM's next state."""
        z_t = vectors("z_t", z_t, self.z_dim)
        a_t = vectors("a_t", a_t, self.a_dim, like=z_t)
        x = np.concatenate([z_t, a_t], axis=-1)  # (..., X)
        h, c = self.lstm_step(x, h, c)
        pi, mu, sigma = self.mixture(h @ self.W_mdn)
        return pi, mu, sigma, h, c

    @typed
    def sample_next(
        self,
        pi: npt.ArrayLike,
        mu: npt.ArrayLike,
        sigma: npt.ArrayLike,
        temperature: Positive = 1.0,
        *,
        rng: np.random.Generator | None = None,
    ) -> Array:
        """Draw z_{t+1}: one component, then the whole vector from it.

        The temperature (> 0) sharpens (below 1) or flattens (above 1) pi,
        and scales the variance of the chosen Gaussian.
        """
        pi = vectors("pi", pi, self.n_mix)
        mu = vectors("mu", mu, self.z_dim)
        sigma = vectors("sigma", sigma, self.z_dim, like=mu)
        same("mu", mu.shape, (*pi.shape, self.z_dim))
        rng = rng or self.rng
        pi_t = softmax(np.log(pi + 1e-8) / temperature)  # sharpen/flatten
        # Pick component k: u falls past k of the K - 1 inner boundaries
        u = rng.random((*pi.shape[:-1], 1))
        k = (u > pi_t.cumsum(axis=-1)[..., :-1]).sum(axis=-1)  # (...)
        k = k[..., None, None]  # (..., 1, 1), to pick along K
        mu_k = np.take_along_axis(mu, k, axis=-2)[..., 0, :]  # (..., Z)
        sigma_k = np.take_along_axis(sigma, k, axis=-2)[..., 0, :]
        noise = rng.standard_normal(mu_k.shape)
        z: Array = mu_k + sigma_k * noise * np.sqrt(temperature)
        return z

    def gradients(
        self, z: npt.ArrayLike, a: npt.ArrayLike
    ) -> tuple[float, dict[str, Array]]:
        """The loss, and its derivative with respect to each weight.

        The loss is the mean of -log p(z_{t+1} | z_0..z_t, a_0..a_t), in
        nats for each step; the LSTM starts from h = c = 0. Below, d_y is
        the derivative of the loss with respect to y, and y = u @ W sends
        d_y back as d_u = d_y @ W.T and d_W = u.T @ d_y.
        """
        z = vectors("z", z, self.z_dim)
        a = vectors("a", a, self.a_dim)
        if a.ndim != 3 or 0 in a.shape[:2]:
            raise ValueError(f"a must have shape (B, T, A), got {a.shape}")
        same("z", z.shape, (len(a), a.shape[1] + 1, self.z_dim))
        hs, tape = self.unroll(z[:, :-1], a)
        loss, d_raw = self.mixture_slope(hs @ self.W_mdn, z[:, 1:])
        grads = self.through_time(tape, d_raw @ self.W_mdn.T)
        grads["W_mdn"] = np.einsum("bth,btr->hr", hs, d_raw)
        return loss, grads

    def unroll(self, z: Array, a: Array) -> tuple[Array, list[Tape]]:
        """Forward through time: every h (B, T, H), and what made it.

        Takes z (B, T, Z) and a (B, T, A).
        """
        B, T, _ = a.shape
        h, c = np.zeros((2, B, self.h_dim))
        hs = np.zeros((B, T, self.h_dim))
        tape: list[Tape] = []
        for t in range(T):
            xh = np.concatenate([z[:, t], a[:, t], h], axis=-1)
            f, i, o, c_hat = self.gates(xh)
            c_prev, c = c, f * c + i * c_hat
            tanh_c = np.tanh(c)
            h = hs[:, t] = o * tanh_c
            tape.append((xh, f, i, o, c_hat, c_prev, tanh_c))
        return hs, tape

    def mixture_slope(self, raw: Array, target: Array) -> tuple[float, Array]:
        """The loss, and its derivative d_raw, shaped like raw.

        Takes the head's numbers (B, T, K (1 + 2 Z)), target (B, T, Z). Each
        Gaussian is pulled by its share of the target.
        """
        K, D = self.n_mix, self.z_dim
        pi, mu, sigma = self.mixture(raw)
        nll, share = mixture_nll(pi, mu, sigma, target)  # (B, T), + (K,)
        B, T = nll.shape
        pull = share[..., None] / nll.size  # (B, T, K, 1)
        u = (target[..., None, :] - mu) / sigma  # (B, T, K, Z)
        d_logit = (pi - share) / nll.size
        d_mu = (-pull * u / sigma).reshape(B, T, K * D)
        d_log_sigma = (pull * (1 - u**2)).reshape(B, T, K * D)
        low, high = LOG_SIGMA  # a clipped number has no slope
        log_sigma = raw[..., K + K * D :]
        d_log_sigma *= (low <= log_sigma) & (log_sigma <= high)
        d_raw = np.concatenate([d_logit, d_mu, d_log_sigma], axis=-1)
        return float(nll.mean()), d_raw

    def through_time(self, tape: list[Tape], d_hs: Array) -> dict[str, Array]:
        """Back through time: the gates' derivatives from d_hs (B, T, H)."""
        H = self.h_dim
        grads = {g: np.zeros_like(self.Wf) for g in ("Wf", "Wi", "Wo", "Wc")}
        d_h, d_c = np.zeros((2, len(d_hs), H))  # come from step t + 1
        for t in reversed(range(len(tape))):
            xh, f, i, o, c_hat, c_prev, tanh_c = tape[t]
            d_h = d_h + d_hs[:, t]
            d_c = d_c + d_h * o * (1 - tanh_c**2)
            d_gates = {  # before each sigmoid, s' = s (1 - s), or tanh
                "Wf": d_c * c_prev * f * (1 - f),
                "Wi": d_c * c_hat * i * (1 - i),
                "Wo": d_h * tanh_c * o * (1 - o),
                "Wc": d_c * i * (1 - c_hat**2),
            }
            d_h = np.zeros_like(d_h)
            for name, d in d_gates.items():
                grads[name] += xh.T @ d
                d_h += d @ getattr(self, name)[-H:].T
            d_c = d_c * f
        return grads


def mixture_nll(
    pi: Array, mu: Array, sigma: Array, z: Array
) -> tuple[Array, Array]:
    """-log of the mixture's density at z, in nats, and who explains z.

    Takes pi (..., K), mu and sigma (..., K, Z), z (..., Z). Returns nll
    (...) and share (..., K), the posterior probability of each component,
    which is also the derivative of -nll with respect to its log density.
    """
    same("mu", np.shape(mu), (*np.shape(pi), *np.shape(z)[-1:]))
    same("sigma", np.shape(sigma), np.shape(mu))
    u = (z[..., None, :] - mu) / sigma  # (..., K, Z)
    log_density = -0.5 * (u**2 + np.log(2 * np.pi)) - np.log(sigma)
    tiny = np.finfo(np.float64).tiny  # pi may underflow to 0
    joint = np.log(pi + tiny) + log_density.sum(axis=-1)  # (..., K)
    top = joint.max(axis=-1, keepdims=True)
    nll = -(top[..., 0] + np.log(np.exp(joint - top).sum(axis=-1)))
    return nll, softmax(joint)


@typed
def train_memory(
    M: Annotated[MemoryModel, Like("z_dim", "a_dim", "gradients")],
    z: npt.ArrayLike,
    a: npt.ArrayLike,
    *,
    steps: PositiveInt = 1000,
    batch: PositiveInt = 32,
    length: PositiveInt = 16,
    lr: Positive = 1e-2,
    seed: Seed = None,
) -> Array:
    """Train M in place; the loss before each step (steps,), in nats.

    z (N, T + 1, Z) and a (N, T, A) are N episodes of T actions. Each step
    draws `batch` windows of `length` actions (all T, if there are fewer)
    anywhere in them, and takes one step of Adam.
    """
    z = vectors("z", z, M.z_dim)
    a = vectors("a", a, M.a_dim)
    if a.ndim != 3 or 0 in a.shape[:2]:
        raise ValueError(f"a must have shape (N, T, A), got {a.shape}")
    N, T, _ = a.shape
    same("z", z.shape, (N, T + 1, M.z_dim))
    length = min(length, T)
    rng = np.random.default_rng(seed)

    def batch_gradients() -> tuple[float, dict[str, Array]]:
        episode = rng.integers(N, size=(batch, 1))
        start = rng.integers(T - length + 1, size=(batch, 1))
        step = start + np.arange(length + 1)  # (B, L + 1)
        return M.gradients(z[episode, step], a[episode, step[:, :-1]])

    return descend(M, batch_gradients, steps, lr)
