"""An actor-critic that looks at pictures and remembers: convolutions, an LSTM, and two heads.

IRIS (Micheli et al. 2023) plays with it and DIAMOND (Alonso et al. 2024) took it over. It reads the
frames that a world model paints, and nothing else of that model, so that it can play in the dream
as in the world. How it learns is in `wmlib.reinforce`.

Letters: B dreams, T time, A actions, F features of a frame, H hidden, C rows columns of a frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wmlib.nets.conv import check_halving, features_of
from wmlib.nets.heads import straight_through
from wmlib.typed import NonNegativeFloat, NonNegativeInt, PositiveInt, Share, typed


@typed
@dataclass(frozen=True)
class ActorCriticConfig:
    """Hyper-parameters. "IRIS" and "DIAMOND" are the authors' code for Atari's 64 x 64 frames."""

    channels: tuple[PositiveInt, ...] = (16, 32)
    """of convolutions of 3 x 3, each followed by the largest of 2 x 2 (both: 32, 32, 64, 64; in
    DIAMOND a convolution and then residual blocks; ours: a sixteenth of the pixels)"""
    hidden: PositiveInt = 128
    """H, of the LSTM (both: 512)"""
    horizon: PositiveInt = 9
    """T, dreamed decisions (IRIS: 20, DIAMOND: 15; ours: an episode of Catch)"""
    burn_in: NonNegativeInt = 5
    """frames that were lived and that are read before a dream begins (IRIS: 20, DIAMOND: 3)"""
    discount: Share = 0.995
    """gamma (IRIS: 0.995, DIAMOND: 0.985)"""
    trace: Share = 0.95
    """lambda (both: 0.95)"""
    entropy: NonNegativeFloat = 1e-3
    """what a nat of entropy is worth, in units of the return (both: 0.001)"""


class Carry(NamedTuple):
    """What the LSTM remembers."""

    hidden: Tensor
    """(B, H)"""
    cell: Tensor
    """(B, H)"""


class ActorCritic(nn.Module):
    """Frames to a choice among A actions, and to what they are worth.

    Args:
        config: sizes, and what the loss is made of.
        frame: (rows, columns, C) of the frames.
        actions: A.

    Raises:
        ValueError: the sides of the frames cannot be halved as often as there are convolutions.
    """

    def __init__(self, config: ActorCriticConfig, frame: Sequence[int], actions: int) -> None:
        super().__init__()
        check_halving(frame, config.channels)
        self.config, self.frame, self.actions = config, tuple(frame), actions
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((frame[2], *config.channels)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
        self.eye = nn.Sequential(*layers, nn.Flatten())
        self.lstm = nn.LSTMCell(features_of(frame, config.channels), config.hidden)
        self.actor = nn.Linear(config.hidden, actions)
        self.critic = nn.Linear(config.hidden, 1)
        # At first every choice is as good, and nothing is worth anything (as in DIAMOND).
        for parameter in (*self.actor.parameters(), *self.critic.parameters()):
            nn.init.zeros_(parameter)

    def initial(self, batch: int) -> Carry:
        """Having seen nothing: zeros."""
        zeros = self.actor.weight.new_zeros(batch, self.config.hidden)
        return Carry(zeros, zeros)

    def look(self, frames: Tensor) -> Tensor:
        """Features (..., F) of frames (..., C, rows, columns) in [0, 1].

        (Both papers read them from -1 to 1. Ours are dark but for a ball: a dark pixel that is 0
        says nothing, where one that is -1 would drown out the ball in hundreds of its like.)
        """
        features: Tensor = self.eye(frames.flatten(0, -4)).unflatten(0, frames.shape[:-3])
        return features

    def judge(self, carry: Carry) -> tuple[Tensor, Tensor]:
        """Logits (..., A) and value (...) of what is remembered."""
        logits: Tensor = self.actor(carry.hidden)
        return logits, self.critic(carry.hidden).squeeze(-1)

    def forward(self, frames: Tensor, carry: Carry) -> tuple[Tensor, Tensor, Carry]:
        """One frame (B, C, rows, columns) more: logits (B, A), value (B,), and the next carry."""
        carry = Carry(*self.lstm(self.look(frames), tuple(carry)))
        return *self.judge(carry), carry

    def follow(self, frames: Tensor, carry: Carry) -> tuple[Tensor, Tensor]:
        """Frames (T, B, C, rows, columns) in turn: logits (T, B, A) and values (T, B)."""
        hidden = []
        for features in self.look(frames):
            carry = Carry(*self.lstm(features, tuple(carry)))
            hidden.append(carry.hidden)
        return self.judge(Carry(torch.stack(hidden), carry.cell))

    @torch.no_grad()
    def burn_in(self, frames: Tensor, first: Tensor) -> Carry:
        """What is remembered when a dream begins; no gradient passes through what was lived.

        Args:
            frames: (T, B, C, rows, columns) before the one in which the dream begins; T may be 0.
            first: (T + 1, B) 1 where an episode begins with a frame, the dream's own one included,
                else 0: what was before is forgotten there.
        """
        carry, goes_on = self.initial(first.shape[1]), 1 - first[..., None]  # (T + 1, B, 1)
        for t, features in enumerate(self.look(frames) if len(frames) else ()):
            known = tuple(part * goes_on[t] for part in carry)
            carry = Carry(*self.lstm(features, known))
        return Carry(*(part * goes_on[-1] for part in carry))


class Acting:
    """A policy for `wmlib.imagination.imagine`: it draws its choices and keeps what it remembers.

    Args:
        network: who plays.
        carry: what it remembers of the frames before the first one.
        generator: of the choices; None to take the likeliest.
    """

    def __init__(
        self, network: ActorCritic, carry: Carry, generator: torch.Generator | None
    ) -> None:
        self.network, self.carry, self.generator = network, carry, generator

    @torch.no_grad()
    def __call__(self, frames: Tensor) -> Tensor:
        """Choices (B, A), as ones and zeros, for frames (B, C, rows, columns)."""
        logits, _, self.carry = self.network(frames, self.carry)
        if self.generator is None:
            return nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits)
        uniform = torch.rand(len(frames), generator=self.generator).to(logits)
        return straight_through(logits.log_softmax(-1), uniform)
