"""A bootstrapped ensemble of probabilistic networks: a model that knows what it does not know.

One network that predicts a Gaussian says how noisy the world is (aleatoric uncertainty). Several
such networks, each trained on its own resample of the data, disagree where the data say little
(epistemic uncertainty). PETS keeps the two apart (Chua et al. 2018, sections 3 and 4). All members
compute at once: one batched matrix product a layer.

Letters: E members, B examples, O numbers in an observation, A in an action, F = O + A inputs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from wmlib.shapes import as_array, check_shape
from wmlib.training import History, fit
from wmlib.typed import NonNegativeFloat, PositiveFloat, PositiveInt, Seed, Share, typed


@typed
@dataclass(frozen=True)
class EnsembleConfig:
    """Hyper-parameters of the networks. "Paper" is Chua et al. 2018, mostly the authors' code."""

    members: PositiveInt = 5
    """E (paper: 5)"""
    probabilistic: bool = True
    """whether a member predicts a variance too; if not, it learns from squared errors"""
    layers: PositiveInt = 3
    """hidden ones (paper: 3 or 4)"""
    units: PositiveInt = 64
    """in a hidden layer (paper: 200, or 500 on cart-pole; ours: for two cores)"""
    learning_rate: PositiveFloat = 1e-3
    """Adam's (paper: 1e-3)"""
    cooldown: Share = 0.3
    """share of the updates over which the learning rate falls to 0 (ours; paper: none)"""
    batch: PositiveInt = 32
    """B, examples an update (paper: 32)"""
    epochs: PositiveInt = 50
    """passes over the data each time it learns (paper: 5, from networks of earlier trials; so do
    ours, but ten short trials must suffice)"""
    weight_decay: NonNegativeFloat = 1e-4
    """of all weights: half of it times their squares is added to the loss (paper: 2.5e-5 to 5e-4,
    by layer)"""
    bound_weight: NonNegativeFloat = 0.01
    """of the width of the bounds on log-variances in the loss (paper: 0.01)"""


class Prediction(NamedTuple):
    """A Gaussian over the next observation, by each member."""

    mean: Tensor
    """(E, B, O)"""
    logvar: Tensor | None
    """(E, B, O) log-variances; None from members that are not probabilistic"""


class Ensemble(nn.Module):
    """E networks that predict how an action changes an observation.

    Inputs are normalised by the data's mean and standard deviation; so are the targets, the changes
    s' - s (paper: only inputs). A log-variance is held between two learnt bounds by softplus
    (appendix A.1), because a network asked about far-away inputs would answer with any variance.

    Args:
        observations: O, numbers in an observation, >= 1.
        actions: A, numbers in an action, >= 1.
        config: of the networks.

    Raises:
        ValueError: O or A is not an integer >= 1, or the configuration is something else.
    """

    input_mean: Tensor  # (F,)
    input_scale: Tensor  # (F,)
    target_mean: Tensor  # (O,)
    target_scale: Tensor  # (O,)

    @typed
    def __init__(
        self,
        observations: PositiveInt,
        actions: PositiveInt,
        config: EnsembleConfig | None = None,
    ) -> None:
        super().__init__()
        self.config = c = config or EnsembleConfig()
        self.observations, self.actions = observations, actions
        outputs = observations * (2 if c.probabilistic else 1)
        sizes = [observations + actions, *[c.units] * c.layers, outputs]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for below, above in itertools.pairwise(sizes):
            weight, sd = torch.empty(c.members, below, above), 0.5 / math.sqrt(below)
            nn.init.trunc_normal_(weight, std=sd, a=-2 * sd, b=2 * sd)  # as the authors' code
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(c.members, 1, above)))
        if c.probabilistic:  # the members share the bounds
            self.max_logvar = nn.Parameter(torch.full((observations,), 0.5))
            self.min_logvar = nn.Parameter(torch.full((observations,), -10.0))
        for name, size in (("input", sizes[0]), ("target", observations)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))

    @property
    def device(self) -> torch.device:
        return self.input_mean.device

    def forward(self, observations: Tensor, actions: Tensor) -> Prediction:
        """What each member says comes next.

        Args:
            observations: (E, B, O), B for each member, or (B, O) for all of them.
            actions: (E, B, A) or (B, A).

        Raises:
            ValueError: one is not such a tensor, or they do not fit.
        """
        self.check_inputs(observations, actions)
        mean, logvar = self._changes(observations, actions)
        mean = observations + (self.target_mean + self.target_scale * mean)  # (E, B, O)
        return Prediction(mean, None if logvar is None else logvar + 2 * self.target_scale.log())

    def check_inputs(self, observations: Tensor, actions: Tensor) -> None:
        """Raises ValueError: they are not tensors (E, B, O) and (E, B, A), or (B, O) and (B, A)."""
        members = [self.config.members] * (getattr(observations, "ndim", 2) > 2)
        check_shape("observations", observations, Tensor, *members, "B", self.observations)
        check_shape("actions", actions, Tensor, *observations.shape[:-1], self.actions)

    def _changes(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and log-variance (E, B, O) of the normalised changes."""
        x = torch.cat([observations, actions], -1)  # (E, B, F) or (B, F)
        x = (x - self.input_mean) / self.input_scale
        x = x.expand(self.config.members, *x.shape[-2:])  # (E, B, F)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = functional.silu(torch.baddbmm(bias, x, weight))  # (E, B, units) swish
        x = torch.baddbmm(self.biases[-1], x, self.weights[-1])  # (E, B, O) or (E, B, 2 O)
        if not self.config.probabilistic:
            return x, None
        mean, logvar = x.split(self.observations, -1)  # (E, B, O) each
        logvar = self.max_logvar - functional.softplus(self.max_logvar - logvar)
        logvar = self.min_logvar + functional.softplus(logvar - self.min_logvar)
        return mean, logvar

    def loss(self, observations: Tensor, actions: Tensor, following: Tensor) -> dict[str, Tensor]:
        """What the members minimise, as named scalars.

        `fit` is the mean over examples and dimensions, summed over members, of
        `(d - mean)^2 / var + log var` for the normalised change d: twice the negative
        log-likelihood, less log 2 pi. Members that are not probabilistic take `(d - mean)^2`.
        `total` adds the decay of the weights and what keeps the bounds tight.

        Args:
            observations: (E, B, O), for each member its own examples.
            actions: (E, B, A).
            following: (E, B, O), what was observed next.
        """
        changes = (following - observations - self.target_mean) / self.target_scale  # (E, B, O)
        mean, logvar = self._changes(observations, actions)
        errors = (changes - mean).square()  # (E, B, O)
        if logvar is not None:
            errors = errors * (-logvar).exp() + logvar
        fitted = errors.mean((1, 2)).sum()
        decay = torch.stack([weight.square().sum() for weight in self.weights]).sum()
        total = fitted + 0.5 * self.config.weight_decay * decay
        if logvar is not None:
            width = (self.max_logvar - self.min_logvar).sum()
            total = total + self.config.bound_weight * width
        return {"total": total, "fit": fitted}

    @typed
    def learn(
        self,
        observations: Any,
        actions: Any,
        following: Any,
        *,
        seed: Seed,
        progress: bool = False,
    ) -> History:
        """Learn from N real steps, going on from the weights there are.

        Each member sees N rows drawn with replacement (the bootstrap, drawn anew at each call, as
        in the authors' code), shuffled anew each epoch; a member alone sees every row once.

        Args:
            observations: (N, O).
            actions: (N, A).
            following: (N, O), what was observed after each action.
            seed: of the bootstrap and the shuffling, >= 0.
            progress: show a bar.

        Returns:
            Losses by name, see `loss`, one number an update.

        Raises:
            ValueError: the arrays hold no numbers, have other shapes, or a number in them is not
                finite (the message names its row); or the seed is not an integer >= 0.
            NotFiniteError: a loss is NaN or infinite.
        """
        first = as_array("observations", observations, "N", self.observations, finite=True)
        rows = len(first)
        arrays = (
            first,
            as_array("actions", actions, rows, self.actions, finite=True),
            as_array("following", following, rows, self.observations, finite=True),
        )
        before, did, after = (
            torch.as_tensor(array, dtype=torch.float32, device=self.device) for array in arrays
        )
        with torch.no_grad():
            inputs = torch.cat([before, did], 1)  # (N, F)
            for name, data in (("input", inputs), ("target", after - before)):
                scale = data.std(0, correction=0)  # (F,) or (O,)
                getattr(self, f"{name}_mean").copy_(data.mean(0))
                getattr(self, f"{name}_scale").copy_(torch.where(scale < 1e-6, 1.0, scale))
        c = self.config
        order = bootstrap_batches(rows, c, np.random.default_rng(seed))

        def losses(_: np.random.Generator) -> dict[str, Tensor]:
            taken = torch.from_numpy(next(order)).to(self.device)  # (E, B)
            return self.loss(before[taken], did[taken], after[taken])

        return fit(
            self, losses, steps=c.epochs * math.ceil(rows / c.batch), seed=seed,
            learning_rate=c.learning_rate, cooldown=c.cooldown, description="learning the model",
            progress=progress,
        )  # fmt: skip


def bootstrap_batches(
    rows: int, config: EnsembleConfig, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Batches (E, B) of row numbers: every epoch, each member's own rows in another order."""
    e = config.members
    own = np.arange(rows)[None] if e == 1 else rng.integers(rows, size=(e, rows))  # (E, N)
    for _ in range(config.epochs):
        shuffled = rng.permuted(own, axis=1)  # (E, N)
        for first in range(0, rows, config.batch):
            yield shuffled[:, first : first + config.batch]
