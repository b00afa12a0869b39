"""What M predicts: a mixture of normals for every number of the next code (Bishop 1994).

Its likelihood teaches M, and a draw from it, with a temperature, is the next moment of a dream.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from wmlib.typed import check_of

Temperature = Annotated[float, Field(ge=1e-6, le=1e6)]
"""beyond these limits the numbers of a dream no longer fit into float32"""
_check = check_of(Temperature)
LOG_SQRT_TAU = 0.5 * math.log(2 * math.pi)


class Prediction(NamedTuple):
    """What M says of the next moment; the leading axes are those of the input."""

    log_pi: Tensor
    """(..., K, Z) log weights of the components; each latent number has its own mixture"""
    mean: Tensor
    """(..., K, Z)"""
    log_sigma: Tensor
    """(..., K, Z)"""
    reward: Tensor
    """(...) output of the reward head: log rate ('poisson') or scaled reward ('normal')"""
    end: Tensor
    """(...) logit of termination"""
    cost: Tensor
    """(...) logit of the cost; -inf, so a cost of 0, if M has no head for it"""


def log_likelihood(prediction: Prediction, target: Tensor) -> Tensor:
    """Log density (...) of next codes (..., Z) under the mixtures: summed over latents, in nats.

    log p(z) = sum over latents of log sum over k of pi_k N(z; mean_k, sigma_k) (Bishop 1994).
    """
    error = (target.unsqueeze(-2) - prediction.mean) * torch.exp(
        -prediction.log_sigma
    )  # (..., K, Z)
    log_normal = -0.5 * error.square() - prediction.log_sigma - LOG_SQRT_TAU
    return torch.logsumexp(prediction.log_pi + log_normal, dim=-2).sum(-1)


def sample(
    prediction: Prediction, temperature: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """Draw next codes (..., Z) as the paper's code does.

    For each latent number on its own: a component from the weights softmax(log pi / temperature),
    then a normal with its mean and sigma * sqrt(temperature).

    Raises:
        ValueError: temperature is not one.
    """
    check_temperature(temperature)
    shape, device = prediction.mean[..., 0, :].shape, prediction.mean.device
    weights = torch.softmax(prediction.log_pi / temperature, dim=-2)  # (..., K, Z)
    uniform = torch.rand(shape, generator=generator, device=device).unsqueeze(-2)  # (..., 1, Z)
    chosen = (weights.cumsum(-2)[..., :-1, :] < uniform).sum(-2, keepdim=True)  # (..., 1, Z)
    mean = prediction.mean.gather(-2, chosen).squeeze(-2)  # (..., Z)
    sigma = prediction.log_sigma.gather(-2, chosen).squeeze(-2).exp()  # (..., Z)
    noise = torch.randn(shape, generator=generator, device=device)
    return mean + sigma * math.sqrt(temperature) * noise


def check_temperature(temperature: float) -> None:
    """Refuse what is no `Temperature`."""
    _check("temperature", temperature)
