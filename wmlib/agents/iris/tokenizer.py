"""IRIS's tokenizer: a frame as a few words out of a book of N.

Convolutions turn a frame into a small grid of vectors. Each vector is replaced by the nearest of N
learned ones, its code, and from the codes the frame is painted again. To choose the nearest has no
gradient, so the painter's passes straight through, as if nothing had been replaced (van den Oord et
al. 2017).

Letters: B batch, C rows columns of a frame, K words of a frame, N codes, D numbers of a code.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from wmlib.nets.conv import check_halving
from wmlib.typed import NonNegativeFloat, NonNegativeInt, PositiveInt, typed

FEW = 0.1
"""of the codes: a frame that is told by fewer of them than this is told by a collapsed codebook"""


@typed
@dataclass(frozen=True)
class TokenizerConfig:
    """Hyper-parameters. "Paper" is Micheli et al. 2023, for Atari's 64 x 64 frames."""

    channels: tuple[PositiveInt, ...] = (32, 64, 64)
    """of the convolutions, each of which halves both sides (paper: residual blocks of 64 channels
    and attention, 4 x 4 words of 64 x 64 pixels; ours: 2 x 2 words of 16 x 16)"""
    codes: Annotated[int, Field(ge=2)] = 64
    """N, words that there are (paper: 512)"""
    width: PositiveInt = 32
    """D, numbers of a code (paper: 512)"""
    commitment: NonNegativeFloat = 1.0
    """beta, what it costs a vector to be far from its code (paper: 1; van den Oord et al.: 0.25)"""
    renew: NonNegativeInt = 20
    """batches without use after which a code is moved to where it is needed, until the transformer
    begins to learn the words; 0 for never (paper: never; ours: as it never was, one code of 64 was
    used after 600 updates with the paper's loss, and 12 with ours)"""


class TokenizerLoss(NamedTuple):
    """Terms of the loss, averaged over a batch (scalars)."""

    total: Tensor
    painted: Tensor
    """squared error, summed over a frame"""
    codebook: Tensor
    """squared distance of codes and vectors, mean of their numbers"""


class Usage(NamedTuple):
    """How many of the codes are in use."""

    used: int
    codes: int
    """N"""
    perplexity: float
    """as many equally likely codes would be as hard to guess; 1 to N"""

    @property
    def collapsed(self) -> bool:
        """Whether almost all that there is to say is said by a few codes."""
        return self.perplexity < max(2, FEW * self.codes)

    def report(self) -> str:
        """In words, with what to do where it collapsed."""
        usage = f"{self.used} of {self.codes} codes in use, perplexity {self.perplexity:.1f}"
        if not self.collapsed:
            return usage
        return (
            f"{usage}: the codebook collapsed; let idle codes be renewed (renew, e.g. 20), weigh "
            "commitment less, or let the tokenizer learn longer before the transformer does"
        )


class Tokenizer(nn.Module):
    """Frames to words and back.

    Args:
        config: sizes and weights.
        frame: (rows, columns, C).

    Raises:
        ValueError: the sides of the frames cannot be halved as often as there are convolutions.
    """

    idle: Tensor

    def __init__(self, config: TokenizerConfig, frame: Sequence[int]) -> None:
        super().__init__()
        check_halving(frame, config.channels)
        rows, columns, colours = frame
        times, last = 2 ** len(config.channels), (colours, *config.channels)[-1]
        self.config, self.grid = config, (rows // times, columns // times)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((colours, *config.channels)):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        self.encoder = nn.Sequential(*layers, nn.Conv2d(last, config.width, 1))
        codes = torch.empty(config.codes, config.width)
        self.codes = nn.Parameter(codes.uniform_(-1 / config.codes, 1 / config.codes))
        layers = [nn.Conv2d(config.width, last, 1), nn.ReLU()]
        for before, after in itertools.pairwise((*config.channels[::-1], colours)):
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        self.decoder = nn.Sequential(*layers[:-1])
        self.register_buffer("idle", torch.zeros(config.codes, dtype=torch.int64))

    @property
    def words(self) -> int:
        """K."""
        rows, columns = self.grid
        return int(rows * columns)

    def vectors(self, frames: Tensor) -> Tensor:
        """(B, K, D) of frames (B, C, rows, columns) in [0, 1], row by row of the grid."""
        vectors: Tensor = self.encoder(frames).flatten(2).transpose(1, 2)
        return vectors

    def nearest(self, vectors: Tensor) -> Tensor:
        """The word (...) whose code is nearest to each vector (..., D)."""
        # |v - e|^2 without |v|^2, which is the same for all codes.
        distances = self.codes.square().sum(-1) - 2 * vectors @ self.codes.T  # (..., N)
        return distances.argmin(-1)

    def encode(self, frames: Tensor) -> Tensor:
        """Words (..., K) of frames (..., C, rows, columns)."""
        flat = frames.flatten(0, -4)
        words: Tensor = self.nearest(self.vectors(flat)).unflatten(0, frames.shape[:-3])
        return words

    def paint(self, codes: Tensor) -> Tensor:
        """Frames (B, C, rows, columns), of any numbers, from codes (B, K, D)."""
        grid = codes.transpose(1, 2).unflatten(-1, self.grid)  # (B, D, h, w)
        painted: Tensor = self.decoder(grid)
        return painted

    def decode(self, words: Tensor) -> Tensor:
        """Frames (..., C, rows, columns) in [0, 1] of words (..., K)."""
        codes = functional.embedding(words.flatten(0, -2), self.codes)  # (B, K, D)
        frames: Tensor = self.paint(codes).clamp(0, 1).unflatten(0, words.shape[:-1])
        return frames

    def loss(self, frames: Tensor) -> tuple[TokenizerLoss, Tensor]:
        """What it minimises on frames (B, C, rows, columns), and their vectors (B, K, D).

        The error of what is painted is squared. (The paper takes the absolute one, and a perceptual
        one beside it, by a network that knows photographs. By the absolute error alone the best
        that can be said of a small ball is nothing: most pixels are dark.)
        """
        vectors = self.vectors(frames)
        codes = functional.embedding(self.nearest(vectors), self.codes)  # (B, K, D)
        painted = (self.paint(passed(vectors, codes)) - frames).square().flatten(1).sum(1).mean()
        to_codes, to_vectors = (
            (one - other.detach()).square().mean()
            for one, other in ((codes, vectors), (vectors, codes))
        )
        codebook = to_codes + self.config.commitment * to_vectors
        return TokenizerLoss(painted + codebook, painted, codebook.detach()), vectors.detach()

    @torch.no_grad()
    def renew(self, vectors: Tensor, generator: torch.Generator) -> None:
        """Take note of which codes a batch of vectors (B, K, D) used; move those long idle.

        A moved code lies where one of the vectors does.
        """
        flat = vectors.flatten(0, -2)  # (B * K, D)
        used = torch.bincount(self.nearest(flat), minlength=len(self.codes)) > 0
        self.idle.add_(1).masked_fill_(used, 0)
        moved = (self.idle >= self.config.renew).nonzero().squeeze(-1)
        if self.config.renew and len(moved):
            drawn = torch.randint(len(flat), (len(moved),), generator=generator)
            self.codes[moved] = flat[drawn.to(flat.device)]
            self.idle[moved] = 0

    def usage(self, words: Tensor) -> Usage:
        """How many codes words (...) use."""
        counts = torch.bincount(words.flatten(), minlength=len(self.codes)).double()
        shares = counts[counts > 0] / counts.sum()
        perplexity = float(torch.exp(-(shares * shares.log()).sum()))
        return Usage(len(shares), len(counts), perplexity)


def passed(vectors: Tensor, codes: Tensor) -> Tensor:
    """The codes, with a gradient that goes to the vectors as it came."""
    return vectors + (codes - vectors).detach()
