"""V, the vision model of the article's section 2: a VAE, gradients by hand."""

from typing import Annotated

import numpy as np
import numpy.typing as npt

from wmlib.scratch.adam import descend
from wmlib.scratch.checks import Array, Positive, Seed, Weight, same, vectors
from wmlib.shapes import Like
from wmlib.typed import PositiveInt, typed


class VisionModel:
    """VAE: compresses observations in [0, 1] into a smooth latent space.

    No layer has a bias, as in the article. `seed` (an int or a Generator)
    draws the weights and then, through `self.rng`, the noise of every
    `forward` that is not given a generator.

    | method    | takes                      | returns                     |
    | --------- | -------------------------- | --------------------------- |
    | encode    | x (..., D)                 | mu, logvar (..., Z)         |
    | decode    | z (..., Z)                 | x_hat (..., D), in (0, 1)   |
    | forward   | x (..., D)                 | x_hat, mu, logvar           |
    | gradients | x (..., D), noise (..., Z) | loss, {weight: gradient}    |

    All raise ValueError for a wrong shape or a value that is not finite.
    """

    @typed
    def __init__(
        self,
        obs_dim: PositiveInt,
        latent_dim: PositiveInt = 32,
        hidden_dim: PositiveInt = 64,
        *,
        seed: Seed = None,
    ) -> None:
        self.obs_dim = obs_dim
        self.latent_dim = latent_dim
        self.rng = np.random.default_rng(seed)
        randn = self.rng.standard_normal
        s = 0.1  # scale of the first weights
        self.W1 = randn((obs_dim, hidden_dim)) * s
        self.W_mu = randn((hidden_dim, latent_dim)) * s
        self.W_logvar = randn((hidden_dim, latent_dim)) * s
        self.W3 = randn((latent_dim, hidden_dim)) * s
        self.W4 = randn((hidden_dim, obs_dim)) * s

    def encode(self, x: npt.ArrayLike) -> tuple[Array, Array]:
        """The posterior N(mu, exp(logvar)) of each observation."""
        x = vectors("x", x, self.obs_dim)
        h = np.tanh(x @ self.W1)
        return h @ self.W_mu, h @ self.W_logvar  # mu, log-variance

    def decode(self, z: npt.ArrayLike) -> Array:
        """The observation that each latent code stands for."""
        z = vectors("z", z, self.latent_dim)
        h = np.tanh(z @ self.W3)
        return 1 / (1 + np.exp(-h @ self.W4))  # sigmoid output

    @typed
    def forward(
        self, x: npt.ArrayLike, *, rng: np.random.Generator | None = None
    ) -> tuple[Array, Array, Array]:
        """Encode, sample a code, decode it."""
        mu, logvar = self.encode(x)
        std = np.exp(0.5 * logvar)
        noise = (rng or self.rng).standard_normal(mu.shape)
        z = mu + std * noise  # reparameterise
        return self.decode(z), mu, logvar

    def gradients(
        self, x: npt.ArrayLike, noise: npt.ArrayLike, *, kl_weight: float = 1.0
    ) -> tuple[float, dict[str, Array]]:
        """`vae_loss` for fixed noise, and its gradient for each weight.

        Each d_y below is the derivative of the loss with respect to y; the
        chain rule carries it back through y = f(u) as d_u = d_y * f'(u), and
        through y = u @ W as d_u = d_y @ W.T and d_W = u.T @ d_y.
        """
        x = vectors("x", x, self.obs_dim).reshape(-1, self.obs_dim)
        noise = vectors("noise", noise, self.latent_dim)
        noise = noise.reshape(-1, self.latent_dim)  # (B, Z)
        same("noise", noise.shape, (len(x), self.latent_dim))

        # Forward, keeping what the way back needs
        h1 = np.tanh(x @ self.W1)  # (B, H)
        mu, logvar = h1 @ self.W_mu, h1 @ self.W_logvar  # (B, Z)
        std = np.exp(0.5 * logvar)
        z = mu + std * noise  # (B, Z)
        h2 = np.tanh(z @ self.W3)  # (B, H)
        x_hat = 1 / (1 + np.exp(-h2 @ self.W4))  # (B, D)
        loss = vae_loss(x, x_hat, mu, logvar, kl_weight=kl_weight)

        # Decoder: sigmoid' = x_hat (1 - x_hat), tanh' = 1 - h^2
        d_x_hat = 2 * (x_hat - x) / x.size
        d_out = d_x_hat * x_hat * (1 - x_hat)  # before the sigmoid
        d_in = d_out @ self.W4.T * (1 - h2**2)  # before the tanh
        d_z = d_in @ self.W3.T
        # Code: z = mu + exp(logvar / 2) noise, and the KL term's own pull
        kl = kl_weight / mu.size
        d_mu = d_z + kl * mu
        d_logvar = d_z * noise * std / 2 + kl * (std**2 - 1) / 2
        # Encoder: the hidden layer feeds both heads
        d_h1 = d_mu @ self.W_mu.T + d_logvar @ self.W_logvar.T
        return loss, {
            "W1": x.T @ (d_h1 * (1 - h1**2)),
            "W_mu": h1.T @ d_mu,
            "W_logvar": h1.T @ d_logvar,
            "W3": z.T @ d_in,
            "W4": h2.T @ d_out,
        }


@typed
def vae_loss(
    x: Array,
    x_hat: Array,
    mu: Array,
    logvar: Array,
    *,
    kl_weight: Weight = 1.0,
) -> float:
    """The article's loss: mean squared error + mean KL from N(0, 1).

    Takes x and x_hat (..., D), mu and logvar (..., Z). Both terms are
    means, the first over D pixels, the second over Z latents. A Gaussian
    decoder with pixel noise s has, in nats and up to a constant,

        -ELBO = D / (2 s^2) * (recon + kl_weight * kl)
        with kl_weight = 2 s^2 Z / D

    so the article's weight of 1 takes pixels in [0, 1] to be known to
    within s = sqrt(D / 2Z), which is 2 for 64 pixels and 8 latents: no
    frame is worth a nat, and the code collapses to z ~ N(0, 1). See
    `train_vision` for weights that work.
    """
    same("x_hat", np.shape(x_hat), np.shape(x))
    same("logvar", np.shape(logvar), np.shape(mu))
    recon = np.mean((x - x_hat) ** 2)  # reconstruction
    kl = -0.5 * np.mean(1 + logvar - mu**2 - np.exp(logvar))  # regularisation
    return float(recon + kl_weight * kl)


@typed
def train_vision(
    V: Annotated[VisionModel, Like("obs_dim", "gradients")],
    frames: npt.ArrayLike,
    *,
    steps: PositiveInt = 5000,
    batch: PositiveInt = 64,
    lr: Positive = 3e-3,
    kl_weight: Weight = 1e-4,
    seed: Seed = None,
) -> Array:
    """Train V in place; the loss before each step, (steps,).

    Takes frames (..., D) in [0, 1]. Each step draws `batch` frames and
    fresh noise, and takes one step of Adam.

    The default `kl_weight` is ours: the weight that `vae_loss` derives from
    the error V ends with, s^2 = 0.0004 on 8x8 grey CarRacing frames with 8
    latents. On frames of 10 random episodes of the official environment kept
    apart (30 to train on, 2,000 steps, medians of 3 seeds) it gave

        kl_weight         1        0.01     0.001    0.0001   0.00001
        squared error     0.0021   0.0021   0.0007   0.0005   0.0004
        nats in the code  0.0      0.0      3.4      11.6     33.3

    and 0.0003 after 8,000 steps; the mean frame gives 0.0017 and the first
    8 principal components 0.0004.

    Raises ValueError for no frames, or frames outside [0, 1].
    """
    frames = vectors("frames", frames, V.obs_dim).reshape(-1, V.obs_dim)
    if not len(frames) or frames.min() < 0 or frames.max() > 1:
        raise ValueError(
            "frames must be at least one frame of values in [0, 1]"
        )
    rng = np.random.default_rng(seed)

    def batch_gradients() -> tuple[float, dict[str, Array]]:
        x = frames[rng.integers(len(frames), size=batch)]  # (B, D)
        noise = rng.standard_normal((batch, V.latent_dim))  # (B, Z)
        return V.gradients(x, noise, kl_weight=kl_weight)

    return descend(V, batch_gradients, steps, lr)
