"""IRIS's dream: the sentence is written on, word by word, and each frame is painted from its words.

Letters: B dreams, T frames, K words of a frame, N codes, A actions, L tokens so far.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wmlib.agents.iris.tokenizer import Tokenizer
from wmlib.agents.iris.world_model import WorldModel
from wmlib.nets.transformer import Cache


class State(NamedTuple):
    """Where B dreams are."""

    tokens: Tensor
    """(B, L) so far; the last K are the words of the frame it is at"""
    cache: Cache
    """of all of them but the last, which is read together with the action that follows"""
    features: Tensor
    """(B, C, rows, columns) in [0, 1], the frame as it is painted"""


class Dream:
    """What can be dreamed in, see `wmlib.imagination.Model`."""

    def __init__(self, tokenizer: Tokenizer, model: WorldModel) -> None:
        self.tokenizer, self.model = tokenizer, model

    def begin(self, words: Tensor, actions: Tensor | None = None) -> State:
        """Dreams that go on from T frames, words (B, T, K), with the actions (B, T - 1) between.

        One frame will do: (B, 1, K). Of more than there is room for, the last are read.
        """
        none = words.new_zeros(len(words), 0)
        return self._read(self.model.sentence(words, none if actions is None else actions))

    def step(
        self, state: State, action: Tensor, generator: torch.Generator | None
    ) -> tuple[State, Tensor, Tensor]:
        """One dreamed decision: action (B, A) as ones and zeros.

        The next frame's words are drawn. What is paid is the expected sign of the reward, and
        `continues` a probability. (The paper draws these too: the same on average, and noisier.)
        """
        model, words = self.model, self.model.words
        if state.tokens.shape[1] + 1 + words > model.room:
            state = self.refreshed(state)
        taken = model.codes + action.argmax(-1, keepdim=True)  # (B, 1)
        said, cache = model.read(torch.cat([state.tokens[:, -1:], taken], 1), state.cache)
        reward = said.reward[:, -1].softmax(-1) @ said.reward.new_tensor([-1.0, 0.0, 1.0])  # (B,)
        goes_on = said.end[:, -1].softmax(-1)[:, 0]  # (B,)
        uniform = torch.rand(words, len(action), generator=generator).to(reward)
        written = [draw(said.words[:, -1], uniform[0])]  # (B,) each
        for k in range(1, words):
            said, cache = model.read(written[-1][:, None], cache)
            written.append(draw(said.words[:, -1], uniform[k]))
        frame = torch.stack(written, 1)  # (B, K)
        tokens = torch.cat([state.tokens, taken, frame], 1)
        return State(tokens, cache, self.tokenizer.decode(frame)), reward, goes_on

    def refreshed(self, state: State) -> State:
        """The same dreams, which remember only the last frames and have room for more."""
        config, words = self.model.config, self.model.words
        kept = min(config.kept, config.blocks - 1) * (words + 1) - 1  # no action after the last
        return self._read(state.tokens[:, -kept:])

    def _read(self, tokens: Tensor) -> State:
        """From frames' words and the actions between them, (B, L)."""
        tokens = tokens[:, -(self.model.room - 1) :]
        _, cache = self.model.read(tokens[:, :-1])
        return State(tokens, cache, self.tokenizer.decode(tokens[:, -self.model.words :]))


def draw(logits: Tensor, uniform: Tensor) -> Tensor:
    """Classes (B,) drawn from logits (B, N) by numbers (B,) in [0, 1)."""
    below = logits.softmax(-1).cumsum(-1) <= uniform[:, None]  # (B, N)
    return below.sum(-1).clamp(max=logits.shape[-1] - 1)  # the last takes what rounding leaves
