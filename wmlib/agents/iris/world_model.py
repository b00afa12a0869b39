"""IRIS's world model: a frame's words and an action are read like a sentence, and written on.

A block is the K words of a frame and the action that was taken then. At the action the transformer
says what the step paid, whether it ended the episode, and the first word of the next frame; at each
of the frame's words, the next one.

Letters: B batch, T frames, K words of a frame, N codes, A actions, W width of the transformer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from wmlib.nets.transformer import EMPTY, Cache, Transformer, TransformerConfig, causal
from wmlib.typed import PositiveInt, typed

IGNORED = -100
"""a target that does not count, as in `torch.nn.functional.cross_entropy`"""


@typed
@dataclass(frozen=True)
class WorldModelConfig:
    """Hyper-parameters. "Paper" is Micheli et al. 2023."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    """(paper: 10 layers, 4 heads, width 256, and dropout of 0.1; ours: a hundredth of its
    parameters, and no dropout)"""
    blocks: Annotated[int, Field(ge=2)] = 10
    """frames that it can look back at, with their actions (paper: 20; ours: an episode of Catch)"""
    kept: PositiveInt = 5
    """of the last ones that are read again when there is room for no more (paper: 1)"""


class WorldModelLoss(NamedTuple):
    """Cross-entropies in nats, averaged over what counts (scalars)."""

    total: Tensor
    words: Tensor
    reward: Tensor
    end: Tensor


class Logits(NamedTuple):
    """What the transformer predicts at T tokens."""

    words: Tensor
    """(B, T, N) of the word that comes next"""
    reward: Tensor
    """(B, T, 3) of a reward below, of and above 0; to be read at an action"""
    end: Tensor
    """(B, T, 2) that the episode goes on, and that it ends; to be read at an action"""


class WorldModel(nn.Module):
    """Words and actions to the words, rewards and ends that follow.

    Args:
        config: sizes.
        codes: N.
        words: K.
        actions: A.
    """

    def __init__(self, config: WorldModelConfig, codes: int, words: int, actions: int) -> None:
        super().__init__()
        self.config, self.codes, self.words = config, codes, words
        width = config.transformer.width
        self.tokens = nn.Embedding(codes + actions, width)  # the actions after the words
        self.places = nn.Embedding(self.room, width)
        self.transformer = Transformer(config.transformer)
        self.next_word, self.reward, self.end = (
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))
            for outputs in (codes, 3, 2)
        )
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=0.02)

    @property
    def room(self) -> int:
        """Tokens that it can look back at, those it is at included."""
        return self.config.blocks * (self.words + 1)

    def sentence(self, words: Tensor, actions: Tensor) -> Tensor:
        """Tokens (B, T K + T - 1) of frames' words (B, T, K) and the actions (B, T - 1) between."""
        between = functional.pad(self.codes + actions, (0, 1))  # (B, T): none after the last
        return torch.cat([words, between[..., None]], -1).flatten(1)[:, :-1]

    def read(
        self, tokens: Tensor, cache: Cache = EMPTY, seen: Tensor | None = None
    ) -> tuple[Logits, Cache]:
        """Read tokens (B, T) more; `seen` as in `Transformer`."""
        places = torch.arange(cache.length, cache.length + tokens.shape[1], device=tokens.device)
        x, cache = self.transformer(self.tokens(tokens) + self.places(places), cache, seen)
        return Logits(self.next_word(x), self.reward(x), self.end(x)), cache

    def read_stretch(self, words: Tensor, actions: Tensor, first: Tensor) -> Logits:
        """What it says at all tokens of stretches; nothing before an episode's begin is seen.

        Args:
            words: (B, T, K), T at most the `blocks` of its configuration.
            actions: (B, T), each the one before its frame.
            first: (B, T) bool: whether an episode begins with the frame.
        """
        episode = first.cumsum(1).repeat_interleave(self.words + 1, 1)[:, :-1]  # (B, tokens)
        same = episode[:, :, None] == episode[:, None]  # (B, tokens, tokens)
        seen = same & causal(same.shape[1], device=same.device)
        return self.read(self.sentence(words, actions[:, 1:]), seen=seen)[0]

    def targets(self, words: Tensor, first: Tensor) -> Tensor:
        """The next word at each token but the last, (B, T K + T - 2); IGNORED where none is told.

        There is nothing to tell where an action comes next, or another episode.
        """
        targets = words.clone()
        targets[..., 0] = words[..., 0].masked_fill(first, IGNORED)
        silent = torch.full_like(targets[..., :1], IGNORED)  # actions
        return torch.cat([targets, silent], -1).flatten(1)[:, 1:-1]

    def loss(
        self, words: Tensor, actions: Tensor, rewards: Tensor, first: Tensor, ended: Tensor
    ) -> WorldModelLoss:
        """What it minimises on stretches of experience.

        Args:
            words: (B, T, K) of the frames.
            actions: (B, T), before each frame.
            rewards: (B, T), with each frame; only their signs are learned.
            first, ended: (B, T) bool: whether an episode begins, or ended, with the frame.
        """
        logits = self.read_stretch(words, actions, first)
        of_words = functional.cross_entropy(
            logits.words[:, :-1].flatten(0, 1), self.targets(words, first).flatten(),
            ignore_index=IGNORED,
        )  # fmt: skip
        at_action = slice(self.words, None, self.words + 1)
        signs = torch.sign(rewards).long() + 1  # (B, T)
        reward, end = (
            functional.cross_entropy(
                predicted[:, at_action].flatten(0, 1),
                target[:, 1:].masked_fill(first[:, 1:], IGNORED).flatten(), ignore_index=IGNORED,
            )
            for predicted, target in ((logits.reward, signs), (logits.end, ended.long()))
        )  # fmt: skip
        return WorldModelLoss(of_words + reward + end, of_words, reward, end)
