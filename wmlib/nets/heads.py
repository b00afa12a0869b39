"""What comes out of a network: numbers of any size, and choices that a gradient passes through.

Letters: K bins or classes; the leading axes (...) are any.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def symlog(x: Tensor) -> Tensor:
    """sign(x) ln(1 + |x|): near 0 the number itself, far from it its logarithm."""
    return torch.sign(x) * torch.log1p(torch.abs(x))


def symexp(x: Tensor) -> Tensor:
    """The inverse of `symlog`."""
    return torch.sign(x) * torch.expm1(torch.abs(x))


def signed_hyperbolic(x: Tensor, epsilon: float = 0.001) -> Tensor:
    """h(x) = sign(x) (sqrt(|x| + 1) - 1) + epsilon x (Pohlen et al. 2018): MuZero's scale."""
    return torch.sign(x) * (torch.sqrt(torch.abs(x) + 1) - 1) + epsilon * x


def signed_parabolic(x: Tensor, epsilon: float = 0.001) -> Tensor:
    """The inverse of `signed_hyperbolic`."""
    inside = torch.abs(x) + 1 + epsilon
    # (sqrt(1 + 4 e y) - 1) / 2 e, written so that no two numbers near 1 are subtracted.
    root = 2 * inside / (torch.sqrt(1 + 4 * epsilon * inside) + 1)
    return torch.sign(x) * (root**2 - 1)


def symexp_bins(count: int = 255, reach: float = 20.0) -> Tensor:
    """Numbers (K,) from -e^reach to e^reach, dense near 0, symmetric, with 0 in the middle.

    Raises:
        ValueError: `count` is even, so that none would be 0.
    """
    if count < 3 or count % 2 == 0:
        raise ValueError(f"count must be an odd number, at least 3, got {count}")
    half = symexp(torch.linspace(-reach, 0, count // 2 + 1))  # the other half is its mirror image
    return torch.cat([half, -half[:-1].flip(0)])


def two_hot(x: Tensor, bins: Tensor) -> Tensor:
    """Shares (..., K) of the two bins beside x (...), whose mean is x; beyond the last bin: it.

    Args:
        x: (...).
        bins: (K,) rising.
    """
    x = x.clamp(bins[0], bins[-1])
    above = torch.searchsorted(bins, x.contiguous()).clamp(1, len(bins) - 1)  # (...)
    below = above - 1
    share = (x - bins[below]) / (bins[above] - bins[below])  # of the upper one
    shares = torch.zeros(*x.shape, len(bins), device=x.device, dtype=x.dtype)
    shares.scatter_(-1, below[..., None], 1 - share[..., None])
    return shares.scatter_(-1, above[..., None], share[..., None])


def expected(logits: Tensor, bins: Tensor) -> Tensor:
    """The mean (...) of a distribution over bins: logits (..., K).

    Summed from both ends to the middle, so that equal shares on either side cancel exactly: e^20
    leaves a rounding error of dozens otherwise, and a new network would expect it.
    """
    weighted = logits.softmax(-1) * bins  # (..., K)
    middle = len(bins) // 2
    mirrored = weighted[..., :middle] + weighted[..., middle + 1 :].flip(-1)
    return mirrored.sum(-1) + weighted[..., middle]


def two_hot_loss(logits: Tensor, target: Tensor, bins: Tensor) -> Tensor:
    """Cross-entropy (...) of logits (..., K) against a number (...)."""
    return -(two_hot(target, bins) * logits.log_softmax(-1)).sum(-1)


def unimix(logits: Tensor, share: float = 0.01) -> Tensor:
    """Log-probabilities (..., K) of a softmax mixed with a little of the uniform distribution.

    No class is ever less likely than share / K, so that no divergence is infinite.
    """
    mixed = (1 - share) * logits.softmax(-1) + share / logits.shape[-1]
    return mixed.log()


def straight_through(log_probabilities: Tensor, uniform: Tensor) -> Tensor:
    """A drawn class as ones and zeros (..., K), with the gradient of its probabilities.

    Args:
        log_probabilities: (..., K).
        uniform: (...) in [0, 1), the draw: the first class whose cumulated probability is above it.
    """
    probabilities = log_probabilities.exp()
    above = probabilities.detach().cumsum(-1) > uniform[..., None]  # (..., K)
    # The last class takes what rounding leaves.
    index = torch.where(above.any(-1), above.int().argmax(-1), above.shape[-1] - 1)
    drawn = nn.functional.one_hot(index, above.shape[-1]).to(probabilities)
    return drawn + (probabilities - probabilities.detach())  # exactly ones and zeros
