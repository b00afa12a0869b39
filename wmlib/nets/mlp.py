"""Multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def mlp(
    inputs: int, units: int, layers: int, outputs: int,
    activation: Callable[[], nn.Module] = nn.ELU,
) -> nn.Sequential:  # fmt: skip
    """(..., inputs) to (..., outputs), with so many hidden layers of so many units."""
    parts: list[nn.Module] = []
    for width in (inputs, *[units] * (layers - 1))[:layers]:
        parts += [nn.Linear(width, units), activation()]
    return nn.Sequential(*parts, nn.Linear(units if layers else inputs, outputs))
