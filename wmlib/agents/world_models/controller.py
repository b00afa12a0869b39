"""C, the controller: one linear layer from what V sees and M remembers to an action.

`action = squash(W [z, h] + b)`: for CarRacing 3 x (32 + 256) + 3 = 867 numbers (Ha & Schmidhuber
2018, section 2.3). So small that evolution can find it; everything hard is left to V and M. Where
the environment wants a choice among A actions, each has a logit, and the largest wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wmlib.agents.world_models.actions import choices_of
from wmlib.agents.world_models.memory import MemoryConfig
from wmlib.checkpoint import check_arrays, configured, load_checkpoint, save_checkpoint
from wmlib.shapes import Shape, check_shape
from wmlib.typed import NonNegativeInt, check_same, typed

REAL = Shape(..., dtype="real")
Squash = Literal["tanh", "sigmoid", "clipped_tanh", "argmax"]


@typed
@dataclass(frozen=True)
class ControllerConfig:
    """Sizes of C and the range of each action."""

    latent: NonNegativeInt = 32
    """Z, numbers in a code (paper: 32)"""
    hidden: NonNegativeInt = 256
    """H, numbers in M's hidden state (paper: 256; 0 for a C that sees z alone)"""
    squash: tuple[Squash, ...] = ("tanh", "sigmoid", "clipped_tanh")
    """how each action is brought into its range: steering to [-1, 1], gas to [0, 1], brake to
    [0, 1] and off at 0 (paper's code). For a choice among A, "argmax" A times (ours)"""

    def __post_init__(self) -> None:
        if not self.features:
            raise ValueError("C needs at least one input, got latent 0, hidden 0")
        if not self.squash or ("argmax" in self.squash and set(self.squash) != {"argmax"}):
            raise ValueError(f"squash must name argmax for all actions or none, got {self.squash}")

    @property
    def features(self) -> int:
        """F = Z + H, inputs of C."""
        return self.latent + self.hidden

    @property
    def parameters(self) -> int:
        """Numbers in C: a matrix (A, F) and a bias (A,)."""
        return len(self.squash) * (self.features + 1)

    @property
    def choices(self) -> int | None:
        """A, if an action is a choice among A; None if it is A numbers."""
        return len(self.squash) if "argmax" in self.squash else None

    @classmethod
    @typed
    def for_space(cls, space: gym.Space, latent: int, hidden: int) -> ControllerConfig:
        """A C for any Discrete space, and any Box of [-1, 1] (tanh) or [0, 1] (sigmoid).

        Raises:
            ValueError: the space is another one; rescale a Box with gymnasium's RescaleAction.
        """
        if choices := choices_of(space):
            argmax: tuple[Squash, ...] = ("argmax",)
            return cls(latent, hidden, argmax * choices)
        if (
            isinstance(space, gym.spaces.Box)
            and space.low.dtype.kind == "f"
            and space.low.ndim == 1
        ):
            names: dict[tuple[float, float], Squash] = {(-1.0, 1.0): "tanh", (0.0, 1.0): "sigmoid"}
            ranges = [(float(lo), float(hi)) for lo, hi in zip(space.low, space.high, strict=True)]
            if all(pair in names for pair in ranges):
                return cls(latent, hidden, tuple(names[pair] for pair in ranges))
        raise ValueError(
            "C drives Discrete spaces, and Boxes of floats with one axis and ranges [-1, 1] or "
            f"[0, 1], got {space}"
        )


class LinearController:
    """A population of P controllers, or one (P = 1), as rows of one array.

    Args:
        parameters: (P, n) or (n,): for each controller its matrix (A, F), row by row, then its
            bias (A,).
        config: sizes.

    Raises:
        ValueError: n is not `config.parameters`, or a number is not finite.
        WrongTypeError: the parameters are not an array of real numbers, or `config` is another.
    """

    @typed
    def __init__(
        self,
        parameters: Annotated[np.ndarray, REAL] | Annotated[Tensor, REAL],
        config: ControllerConfig | None = None,
    ) -> None:
        self.config = config = config or ControllerConfig()
        rows = torch.atleast_2d(torch.as_tensor(parameters, dtype=torch.float32))
        check_shape("C's parameters", rows, Tensor, "P", config.parameters, finite=True)
        self.parameters = rows  # (P, n)
        split = len(config.squash) * config.features
        matrix = len(config.squash), config.features
        self.weight = rows[:, :split].unflatten(1, matrix)  # (P, A, F)
        self.bias = rows[:, split:]  # (P, A)

    def act(self, features: Tensor, noise: Tensor | None = None) -> Tensor:
        """Actions for features [z, h].

        Args:
            features: (P, S, F), each controller's own; or (1, S, F), the same for all.
            noise: (P, S, A) added before the squashing; None for none.

        Returns:
            (P, S, A), in the environment's units; one-hot where an action is a choice.

        Raises:
            ValueError: the features or the noise have another shape.
            TypeError: they are no float32 tensors.
        """
        check_shape(
            "features", features, Tensor, (len(self.weight), 1), "S", self.config.features,
            dtype="float32",
        )  # fmt: skip
        each = features.expand(len(self.weight), -1, -1)  # (P, S, F)
        raw = torch.baddbmm(self.bias.unsqueeze(1), each, self.weight.mT)  # (P, S, A)
        if noise is not None:
            check_shape("noise", noise, Tensor, *raw.shape, dtype="float32")
            raw = raw + noise
        return squash(raw, self.config.squash)

    def to(self, device: torch.device | str) -> LinearController:
        """The same C on a device."""
        return LinearController(self.parameters.to(device), self.config)

    def save(self, path: str | Path, made: Mapping[str, Any]) -> None:
        """Save as a checkpoint of `wmlib.checkpoint`."""
        arrays = {"parameters": self.parameters.detach().cpu().numpy()}
        save_checkpoint(path, arrays, kind="controller", config=self.config, made=made)

    @classmethod
    @typed
    def load(cls, path: str | Path) -> LinearController:
        """C, or a population, from a checkpoint; errors as `wmlib.checkpoint.load_module`."""
        arrays, manifest = load_checkpoint(path, "controller")
        config = configured(path, manifest, lambda fields: ControllerConfig(**fields))
        population = max(1, len(np.atleast_2d(arrays.get("parameters", ()))))
        expected = {"parameters": ((population, config.parameters), "float32")}
        check_arrays(path, "controller", arrays, expected)
        return cls(np.array(arrays["parameters"]), config)


def check_controller(memory: MemoryConfig, controller: ControllerConfig) -> None:
    """Refuse a C of other sizes than M's."""
    sizes = controller.latent, len(controller.squash)
    check_same("latents and actions of C", sizes, (memory.latent, memory.actions))
    check_same("hidden numbers of C", controller.hidden, controller.hidden and memory.hidden)


def squash(raw: Tensor, names: tuple[str, ...]) -> Tensor:
    """Bring raw outputs (..., A) into the range of each action; of a choice, take the largest."""
    if names[0] == "argmax":
        choice = raw.argmax(-1)  # (...)
        return F.one_hot(choice, len(names)).to(raw.dtype)  # (..., A)
    columns = []
    for name, column in zip(names, raw.unbind(-1), strict=True):
        if name == "sigmoid":
            columns.append(torch.sigmoid(column))
        else:
            bounded = torch.tanh(column)
            columns.append(above_zero(bounded) if name == "clipped_tanh" else bounded)
    return torch.stack(columns, -1)


class _AboveZero(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,), (gradient,) = ctx.saved_tensors, gradients
        return torch.where((x > 0) | (gradient < 0), gradient, 0)


def above_zero(x: Tensor) -> Tensor:
    """`max(x, 0)`, whose gradient lets what was cut off come back.

    Below 0 the true gradient is 0, so a C that once stopped braking could never learn to brake
    again by gradients. Here it is 1 where descent along it would raise x, and 0 where it would
    push x further down.
    """
    clipped: Tensor = _AboveZero.apply(x)
    return clipped
