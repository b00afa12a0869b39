"""MuZero that must paint as well: does it help?

Every state that the model is unrolled to must also say what would be seen there. MuZero's own
losses stay as they are; who plays and searches never looks at a painted picture.

Letters: B batch, K unrolled steps, S numbers in a hidden state, O numbers in an observation.
"""

from __future__ import annotations

import copy
from math import prod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from wmlib.agents.muzero.agent import MuZero, unrolled
from wmlib.agents.muzero.buffer import Batch, Buffer
from wmlib.agents.muzero.config import MuZeroConfig, Spaces
from wmlib.agents.muzero.networks import normed_mlp
from wmlib.training import seeded


class Pictured(Buffer):
    """Hands out what was seen at each of the K + 1 steps, and not at the first alone."""

    def draw(self, rng: np.random.Generator, batch: int, unroll: int) -> Batch:
        """As `Buffer.draw`, but with observations (B, K + 1, ...); past the end, any."""
        begin = self.anywhere(copy.deepcopy(rng), batch)  # (B,) where `super().draw` begins, too
        steps = begin[:, None] + np.arange(unroll + 1)  # (B, K + 1)
        drawn = super().draw(rng, batch, unroll)
        return drawn._replace(observations=self.kept.observations[steps % self.capacity])


class Painter(MuZero):
    """A MuZero whose states must say what is seen, as Dreamer's must: observations in [0, 1].

    Args:
        spaces, config, seed, device: as MuZero's; its networks begin with the same weights.
        weight: of the painting, in nats a number of the observation.
    """

    def __init__(
        self,
        spaces: Spaces,
        config: MuZeroConfig | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        weight: float = 1.0,
    ) -> None:
        super().__init__(spaces, config, seed, device)
        self.weight, sizes = weight, self.config.networks
        self.decoder = seeded(
            seed, lambda: normed_mlp(sizes.state, sizes.units, 1, prod(spaces.shape))
        ).to(self.device)
        self.modules["decoder"] = self.decoder
        self.adam.add_param_group({"params": list(self.decoder.parameters())})

    def buffer(self) -> Buffer:
        """An empty one, which remembers for each step what was seen."""
        config = self.config
        return Pictured(
            config.capacity, self.discount, config.horizon, config.networks.value_support
        )

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """MuZero's, and the painting's; the parts (3,) are MuZero's."""
        pictures = torch.from_numpy(batch.observations).to(self.device)  # (B, K + 1, ...)
        total, parts = super().loss(batch._replace(observations=batch.observations[:, 0]))
        states, _ = unrolled(
            self.networks, pictures[:, 0], torch.from_numpy(batch.actions).to(self.device)
        )  # K + 1 of (B, S)
        seen = torch.from_numpy(batch.policies.any(-1)).to(self.device)  # (B, K + 1) the game is on
        painting = painting_loss(self.decoder, torch.stack(states), pictures, seen)
        return total + self.weight * painting, parts


def painting_loss(decoder: nn.Module, states: Tensor, pictures: Tensor, seen: Tensor) -> Tensor:
    """Cross-entropy of painted pictures, in nats a number, step by step weighted as MuZero's own.

    Args:
        decoder: states (..., S) to logits (..., O).
        states: (K + 1, B, S).
        pictures: (B, K + 1, ...) of numbers in [0, 1].
        seen: (B, K + 1), whether there is something to paint.
    """
    wanted = pictures.movedim(1, 0).flatten(2)  # (K + 1, B, O)
    each = functional.binary_cross_entropy_with_logits(decoder(states), wanted, reduction="none")
    K = len(states) - 1
    weights = torch.tensor([1.0, *[1 / K] * K], device=states.device)[:, None]  # (K + 1, 1)
    return (weights * each.mean(-1) * seen.T).sum(0).mean()
