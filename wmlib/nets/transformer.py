"""A transformer that reads from left to right, and need not read again what it has read.

Blocks as in GPT-2: each adds to its input first what it finds by looking back (attention), then
what it makes of that (a perceptron of two layers), and both read a normed copy. What a token lets
later ones find, its keys and values, never changes, so that a cache of them stands for all that was
read: one more token then costs one row and not the whole square.

Letters: B batch, T new tokens, L tokens in the cache, W width, H heads, D = W / H.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wmlib.typed import PositiveInt, typed


@typed
@dataclass(frozen=True)
class TransformerConfig:
    """Sizes."""

    layers: PositiveInt = 2
    heads: PositiveInt = 4
    """H"""
    width: PositiveInt = 64
    """W, numbers of a token"""


class Cache(NamedTuple):
    """What tokens let later ones find, in every layer. It is never written into: whoever keeps an
    old one can go on from there as well."""

    keys: tuple[Tensor, ...]
    """of each layer, (B, H, L, D)"""
    values: tuple[Tensor, ...]
    """of each layer, (B, H, L, D)"""

    @property
    def length(self) -> int:
        """L."""
        return self.keys[0].shape[2] if self.keys else 0


EMPTY = Cache((), ())
"""of one who has read nothing"""


class Attention(nn.Module):
    """Every token looks back: at what others offer by their keys, to take of their values."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query, self.key, self.value, self.out = (
            nn.Linear(config.width, config.width) for _ in range(4)
        )

    def offer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, T, D) of tokens (B, T, W)."""
        return self._split(self.key(x)), self._split(self.value(x))

    def weights(self, x: Tensor, keys: Tensor, seen: Tensor) -> Tensor:
        """How much each of T tokens takes from each of L + T, (B, H, T, L + T); rows add up to 1.

        Args:
            x: (B, T, W).
            keys: (B, H, L + T, D).
            seen: bool, (T, L + T) or (B, 1, T, L + T): what each may look at.
        """
        queries = self._split(self.query(x))
        scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5
        shares: Tensor = scores.masked_fill(~seen, -torch.inf).softmax(-1)
        return shares

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
        taken = self.weights(x, keys, seen) @ values  # (B, H, T, D)
        found: Tensor = self.out(taken.transpose(1, 2).flatten(2))  # (B, T, W)
        return found

    def _split(self, x: Tensor) -> Tensor:
        split: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, T, D)
        return split


class Block(nn.Module):
    """One layer."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.before, self.attention = nn.LayerNorm(width), Attention(config)
        self.between = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def offer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, T, D) of tokens (B, T, W)."""
        keys, values = self.attention.offer(self.before(x))
        return keys, values

    def looks(self, x: Tensor, keys: Tensor, seen: Tensor) -> Tensor:
        """See `Attention.weights`."""
        return self.attention.weights(self.before(x), keys, seen)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
        x = x + self.attention(self.before(x), keys, values, seen)
        y: Tensor = x + self.perceptron(self.between(x))
        return y


class Transformer(nn.Module):
    """Tokens (B, T, W), which know their places already, to what each makes of those before it.

    Raises:
        ValueError: the width is not a multiple of the heads.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        if config.width % config.heads:
            raise ValueError(f"heads must divide width, got {config.heads} and {config.width}")
        self.config = config
        self.blocks: Any = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.apply(_begin)

    def forward(
        self, x: Tensor, cache: Cache = EMPTY, seen: Tensor | None = None
    ) -> tuple[Tensor, Cache]:
        """Read T tokens more.

        Args:
            x: (B, T, W).
            cache: of the L tokens before them.
            seen: bool (B, T, L + T), what each may look at, itself included and nothing that comes
                later; None for all that came before.

        Returns:
            (B, T, W), and the cache of all L + T tokens.
        """
        mask = causal(x.shape[1], cache.length, x.device) if seen is None else seen[:, None]
        offered = []
        for layer, block in enumerate(self.blocks):
            keys, values = block.offer(x)  # (B, H, T, D) each
            if cache.keys:
                keys = torch.cat([cache.keys[layer], keys], 2)  # (B, H, L + T, D)
                values = torch.cat([cache.values[layer], values], 2)
            x = block(x, keys, values, mask)
            offered.append((keys, values))
        every_key, every_value = zip(*offered, strict=True)
        return self.norm(x), Cache(every_key, every_value)

    def looks(self, x: Tensor) -> Tensor:
        """Where each of T tokens (B, T, W) looks: (layers, B, H, T, T), shares of 1."""
        mask, found = causal(x.shape[1], device=x.device), []
        for block in self.blocks:
            keys, values = block.offer(x)
            found.append(block.looks(x, keys, mask))
            x = block(x, keys, values, mask)
        return torch.stack(found)


def causal(new: int, before: int = 0, device: torch.device | str = "cpu") -> Tensor:
    """Whether each of T new tokens may look at each of L + T: at none that comes later."""
    whole = torch.ones(new, before + new, dtype=torch.bool, device=device)
    return whole.tril(before)


def _begin(module: nn.Module) -> None:
    """Small weights at first, as in GPT-2."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
