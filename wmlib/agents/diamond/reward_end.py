"""What a step pays, and whether it ends the episode: a network of its own that sees two frames.

A denoiser draws pictures and nothing else, so reward and end are read off them: off the frame
before and the frame after, and the action between, by convolutions, and an LSTM that remembers what
no longer shows. Rewards are told as a class, their sign: -1, 0 or 1, as the authors clip Atari's
(Alonso et al. 2024).

Letters: B batch, T time, C H W of a frame, A action, M memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from wmlib.nets.conv import check_halving, encoder, features_of
from wmlib.typed import PositiveInt, typed

Memory = tuple[Tensor, Tensor]
"""of an LSTM: (B, M) each"""


@typed
@dataclass(frozen=True)
class RewardEndConfig:
    """Sizes. "Paper" is Alonso et al. 2024."""

    channels: tuple[PositiveInt, ...] = (16, 32)
    """of convolutions that halve the sides (paper: 32, four times, in residual blocks that are told
    the action; ours: plain ones, and the LSTM is told)"""
    units: PositiveInt = 64
    """M, of the LSTM and of the layer after it (paper: 512)"""


class RewardEnd(nn.Module):
    """Two frames and an action to a reward and an end.

    Args:
        config: sizes.
        frame: (C, H, W).
        actions: A.

    Raises:
        ValueError: the sides cannot be halved so often.
    """

    def __init__(self, config: RewardEndConfig, frame: tuple[int, int, int], actions: int) -> None:
        super().__init__()
        self.config = config
        colours, *sides = frame
        both = (*sides, 2 * colours)
        check_halving(both, config.channels)
        self.encoder = encoder(both, config.channels, nn.SiLU)
        self.cell = nn.LSTMCell(features_of(both, config.channels) + actions, config.units)
        self.head = nn.Sequential(
            nn.Linear(config.units, config.units), nn.SiLU(), nn.Linear(config.units, 3 + 2)
        )

    def initial(self, batch: int) -> Memory:
        """Remembering nothing."""
        zeros = self.cell.weight_hh.new_zeros(batch, self.config.units)
        return zeros, zeros

    def step(
        self, before: Tensor, action: Tensor, after: Tensor, memory: Memory
    ) -> tuple[Tensor, Tensor, Memory]:
        """One step of B dreams: logits (B, 3) of the reward and (B, 2) of the end, and the memory.

        Args:
            before, after: (B, C, H, W).
            action: (B, A), between them.
            memory: of the steps before.
        """
        seen = torch.cat([self.encoder(torch.cat([before, after], 1)), action], 1)
        hidden, cell = self.cell(seen, memory)
        reward, end = self.head(hidden).split([3, 2], -1)
        return reward, end, (hidden, cell)

    def follow(
        self, frames: Tensor, actions: Tensor, first: Tensor
    ) -> tuple[Tensor, Tensor, Memory]:
        """Follow stretches of experience, and forget where an episode begins.

        Args:
            frames: (T, B, C, H, W).
            actions: (T, B, A), each the one before its frame.
            first: (T, B) 1 where an episode begins.

        Returns:
            Logits (T - 1, B, 3) of rewards and (T - 1, B, 2) of ends, of the steps to all frames
            but the first, and the memory after the last. Where an episode begins they say nothing.
        """
        pairs = torch.cat([frames[:-1], frames[1:]], 2).flatten(0, 1)  # ((T - 1) B, 2 C, H, W)
        seen = torch.cat([self.encoder(pairs), actions[1:].flatten(0, 1)], 1)
        memory, outputs = self.initial(frames.shape[1]), []
        for row, begins in zip(seen.unflatten(0, first[1:].shape), first[1:], strict=True):
            hidden, cell = self.cell(row, memory)
            outputs.append(hidden)
            goes_on = 1 - begins[:, None]
            memory = hidden * goes_on, cell * goes_on
        hidden = torch.stack(outputs) if outputs else seen.new_zeros(0, *memory[0].shape)
        reward, end = self.head(hidden).split([3, 2], -1)
        return reward, end, memory

    def loss(
        self, frames: Tensor, actions: Tensor, rewards: Tensor, first: Tensor, ended: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropies of reward and end, over all steps that are steps.

        Args:
            frames, actions, first: as in `follow`.
            rewards: (T, B), with each frame.
            ended: (T, B) 1 where the environment ended the episode.
        """
        reward, end, _ = self.follow(frames, actions, first)
        counts = (1 - first[1:]).flatten()
        classes = rewards[1:].sign().long() + 1
        errors = (
            functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
            for logits, target in ((reward, classes), (end, ended[1:].long()))
        )
        paid, over = ((counts * error).sum() / counts.sum().clamp(min=1) for error in errors)
        return paid, over
