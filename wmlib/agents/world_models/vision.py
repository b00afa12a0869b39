"""V, the vision model: a variational autoencoder that turns an image into a few numbers.

The encoder maps an image to a normal distribution over codes z; the decoder maps a code back to an
image; the evidence lower bound (ELBO) trains both (Kingma & Welling 2014). The networks are those
of Ha & Schmidhuber 2018, appendix A.1: `VisionConfig.paper()` is theirs to the last parameter, the
default has half the channels in each layer. They take pictures of 64 x 64; for pictures of other
sizes every layer halves, or doubles, the sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from wmlib.checkpoint import load_module
from wmlib.nets import conv
from wmlib.replay import Replay
from wmlib.shapes import check_shape
from wmlib.training import History, fit, seeded
from wmlib.typed import NonNegativeFloat, PositiveFloat, PositiveInt, Seed, typed

Steps = Annotated[int, Field(ge=2)]  # from one frame to another, both included
SIDE = 64  # pixels; the paper's four convolutions of stride 2 take 64 to 2


@typed
@dataclass(frozen=True)
class VisionConfig:
    """Hyper-parameters of V and of its training."""

    latent: PositiveInt = 32
    """numbers in the code z (Ha & Schmidhuber 2018, A.1: 32 for CarRacing)"""
    channels: tuple[PositiveInt, ...] = (16, 32, 64, 128)
    """channels after each convolution (paper: 32, 64, 128, 256; ours: half, about 3 x faster). Four
    for frames of 64 x 64; for others as many as the sides are to be halved"""
    reconstruction_weight: PositiveFloat = 5.0
    """nats for each unit of squared error summed over an image with values in [0, 1]; the paper's
    code has 1. Ours: 5, which lets z hold more nats (chapter 2 compares what they are worth)"""
    kl_floor: NonNegativeFloat = 0.5
    """free nats for each latent: of an image's KL, `kl_floor * latent` costs nothing (paper's code:
    0.5)"""
    learning_rate: PositiveFloat = 1e-3
    """Adam's (paper's code: 1e-4; ours: 1e-3, for runs of minutes)"""
    batch: PositiveInt = 100
    """images an update (paper's code: 100)"""
    frame: tuple[PositiveInt, PositiveInt, PositiveInt] = (SIDE, SIDE, 3)
    """(H, W, C) of the frames (paper: 64 x 64 in colour)"""

    def __post_init__(self) -> None:
        if (self.of_paper and len(self.channels) != 4) or not self.channels:
            raise ValueError(f"channels must be four for frames of 64 x 64, got {self.channels}")
        if not self.of_paper:
            conv.check_halving(self.frame, self.channels)

    @property
    def of_paper(self) -> bool:
        """Whether the frames have the paper's size, and V therefore its kernels."""
        return self.frame[:2] == (SIDE, SIDE)

    @classmethod
    @typed
    def paper(cls, latent: int = 32) -> VisionConfig:
        """The network and loss of the 2018 paper and its released code: 4,348,547 parameters."""
        return cls(latent, (32, 64, 128, 256), 1.0, 0.5, 1e-4, 100)


class VisionLoss(NamedTuple):
    """Terms of the negative ELBO, in nats an image, averaged over the batch (scalars)."""

    total: Tensor
    squared_error: Tensor
    """summed over the pixels and channels of an image; no weight"""
    kl: Tensor
    """KL(q(z|x) || N(0, 1)), before the floor"""


class VAE(nn.Module):
    """V: images (B, C, H, W) to codes (B, Z) and back."""

    @typed
    def __init__(self, config: VisionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or VisionConfig()
        features, shape = features_of(config), (config.frame, config.channels)
        self.convolutions = paper_encoder(config) if config.of_paper else conv.encoder(*shape)
        self.to_mean = nn.Linear(features, config.latent)
        self.to_log_variance = nn.Linear(features, config.latent)
        self.from_code = nn.Linear(config.latent, features)
        self.deconvolutions = (
            paper_decoder(config)
            if config.of_paper
            else nn.Sequential(*conv.decoder(*shape), nn.Sigmoid())
        )

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x).

        Args:
            x: (B, C, H, W) float in [0, 1].

        Returns:
            mean (B, Z) and log-variance (B, Z).
        """
        features = self.convolutions(x)  # (B, F)
        return self.to_mean(features), self.to_log_variance(features)

    def reconstruct(self, z: Tensor) -> Tensor:
        """Codes (B, Z) to images (B, C, H, W) in [0, 1]."""
        images: Tensor = self.deconvolutions(self.from_code(z))
        return images

    def loss(self, x: Tensor, noise: Tensor) -> VisionLoss:
        """The negative ELBO of a batch.

        Args:
            x: (B, C, H, W) float in [0, 1].
            noise: (B, Z) standard normal, for the reparameterisation z = mean + std * noise.
        """
        mean, log_variance = self.posterior(x)
        z = mean + torch.exp(0.5 * log_variance) * noise  # (B, Z)
        squared_error = (self.reconstruct(z) - x).square().sum(dim=(1, 2, 3)).mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)  # (B,)
        floored = kl.clamp(min=self.config.kl_floor * self.config.latent).mean()
        total = self.config.reconstruction_weight * squared_error + floored
        return VisionLoss(total, squared_error, kl.mean())

    @typed
    @torch.no_grad()
    def encode(self, frames: np.ndarray, batch: PositiveInt = 256) -> tuple[np.ndarray, np.ndarray]:
        """Codes of frames, a batch at a time.

        Args:
            frames: (..., H, W, C) uint8 or bool.
            batch: frames a pass, >= 1.

        Returns:
            mean (..., Z) and log-variance (..., Z), float32.

        Raises:
            ValueError: another shape.
            TypeError: another dtype, or a batch that is no whole number.
        """
        self._check_frames(frames, ...)
        lead = frames.shape[:-3]
        flat = frames.reshape(-1, *self.config.frame)  # (N, H, W, C)
        pairs = [
            self.posterior(self.images(flat[i : i + batch])) for i in range(0, len(flat), batch)
        ]
        mean, log_variance = (torch.cat(part).cpu().numpy() for part in zip(*pairs, strict=True))
        return mean.reshape(*lead, -1), log_variance.reshape(*lead, -1)  # (..., Z)

    @torch.no_grad()
    def decode(self, z: np.ndarray) -> np.ndarray:
        """Codes (..., Z) to uint8 frames (..., H, W, C).

        Raises:
            ValueError: z has another last axis or is not finite.
            TypeError: z is no array of numbers.
        """
        try:
            z = np.asarray(z, np.float32)
        except (TypeError, ValueError) as error:
            raise TypeError(f"codes z must be numbers, got {z!r}") from error
        check_shape("codes", z, np.ndarray, ..., self.config.latent, finite=True)
        flat = torch.from_numpy(z.reshape(-1, self.config.latent)).to(self.device)  # (N, Z)
        images = self.reconstruct(flat).permute(0, 2, 3, 1)  # (N, H, W, C)
        frames = (images * 255).round().to(torch.uint8).cpu().numpy()
        return frames.reshape(*z.shape[:-1], *self.config.frame)

    @typed
    def interpolate(self, first: np.ndarray, last: np.ndarray, steps: Steps) -> np.ndarray:
        """Frames along the straight line between the codes of two frames.

        Args:
            first: (H, W, C) uint8 or bool.
            last: (H, W, C) uint8 or bool.
            steps: frames in all, both ends included, >= 2.

        Returns:
            (steps, H, W, C) uint8.
        """
        self._check_frames(first)
        self._check_frames(last)
        start, end = self.encode(np.stack([first, last]))[0]  # (Z,), (Z,)
        mix = np.linspace(0, 1, steps, dtype=np.float32)[:, None]  # (steps, 1)
        return self.decode((1 - mix) * start + mix * end)

    def images(self, frames: np.ndarray) -> Tensor:
        """uint8 or bool frames (B, H, W, C) as floats (B, C, H, W) in [0, 1] on V's device."""
        self._check_frames(frames, "B")
        tensor = torch.from_numpy(np.array(frames)).to(self.device)  # a copy: maps are read-only
        brightest = 255 if tensor.dtype == torch.uint8 else 1
        return tensor.permute(0, 3, 1, 2).float() / brightest  # (B, C, H, W)

    @classmethod
    @typed
    def load(cls, path: str | Path) -> VAE:
        """V from a checkpoint; errors as `wmlib.checkpoint.load_module`."""
        return load_module(path, "vision", lambda fields: cls(VisionConfig(**fields)))

    def _check_frames(self, frames: np.ndarray, *lead: Any) -> None:
        check_shape("frames", frames, np.ndarray, *lead, *self.config.frame, dtype="uint8 or bool")

    @property
    def device(self) -> torch.device:
        return self.to_mean.weight.device


def features_of(config: VisionConfig) -> int:
    """F, numbers that the last convolution leaves of an image."""
    if config.of_paper:
        return 4 * config.channels[-1]
    return conv.features_of(config.frame, config.channels)


def paper_encoder(config: VisionConfig) -> nn.Sequential:
    """Images (B, C, 64, 64) to features (B, F), as in the paper, A.1."""
    (c1, c2, c3, c4), colours = config.channels, config.frame[2]
    return nn.Sequential(
        nn.Conv2d(colours, c1, 4, stride=2), nn.ReLU(),  # (B, c1, 31, 31)
        nn.Conv2d(c1, c2, 4, stride=2), nn.ReLU(),  # (B, c2, 14, 14)
        nn.Conv2d(c2, c3, 4, stride=2), nn.ReLU(),  # (B, c3, 6, 6)
        nn.Conv2d(c3, c4, 4, stride=2), nn.ReLU(),  # (B, c4, 2, 2)
        nn.Flatten(),  # (B, 4 c4)
    )  # fmt: skip


def paper_decoder(config: VisionConfig) -> nn.Sequential:
    """Features (B, F) to images (B, C, 64, 64) in [0, 1], as in the paper, A.1."""
    (c1, c2, c3, c4), colours = config.channels, config.frame[2]
    return nn.Sequential(
        nn.Unflatten(1, (4 * c4, 1, 1)),  # (B, 4 c4, 1, 1)
        nn.ConvTranspose2d(4 * c4, c3, 5, stride=2), nn.ReLU(),  # (B, c3, 5, 5)
        nn.ConvTranspose2d(c3, c2, 5, stride=2), nn.ReLU(),  # (B, c2, 13, 13)
        nn.ConvTranspose2d(c2, c1, 6, stride=2), nn.ReLU(),  # (B, c1, 30, 30)
        nn.ConvTranspose2d(c1, colours, 6, stride=2), nn.Sigmoid(),  # (B, C, 64, 64)
    )  # fmt: skip


def batch_loss(vision: VAE, replay: Replay, rng: np.random.Generator) -> VisionLoss:
    """V's loss on a random batch of a replay's frames."""
    frames = replay.sample_frames(rng, vision.config.batch)  # (B, H, W, C)
    noise = rng.standard_normal((len(frames), vision.config.latent), dtype=np.float32)
    return vision.loss(vision.images(frames), torch.from_numpy(noise).to(vision.device))


@typed
def train_vision(
    replay: Replay,
    config: VisionConfig | None = None,
    *,
    steps: PositiveInt = 2000,
    seed: Seed = 0,
    state: Path | None = None,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> tuple[VAE, History]:
    """Train V from nothing on the frames of a replay.

    Args:
        replay: its observations are (H, W, C) uint8 or bool, of `config.frame`.
        config: of V.
        steps: updates.
        seed: of the first weights, the batches and the noise.
        state: file from which a killed run goes on, see `wmlib.training.fit`; it knows the replay
            by its digest.
        device: where V learns, and is then.
        progress: show a bar.

    Returns:
        V, and the losses of every update in nats (and squared error) an image.

    Raises:
        ValueError: the replay is empty or its observations are others, a number is out of range, or
            the state belongs to another run.
    """
    vision = seeded(seed, lambda: VAE(config)).to(device)
    history = fit(
        vision, lambda rng: batch_loss(vision, replay, rng)._asdict(), steps=steps,
        learning_rate=vision.config.learning_rate, seed=seed,
        state=state, data="" if state is None else replay.digest(), description="training V",
        progress=progress,
    )  # fmt: skip
    return vision, history
