"""DIAMOND's world model: the next frame drawn out of noise, and what it pays read off it.

Letters: B batch, T time, L past frames, C H W of a frame, A action.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wmlib.agents.diamond.denoiser import Denoiser, DenoiserConfig, context
from wmlib.agents.diamond.reward_end import Memory, RewardEnd, RewardEndConfig
from wmlib.agents.diamond.sampler import SamplerConfig, check_learned, sample, schedule
from wmlib.nets.heads import straight_through
from wmlib.typed import typed


@typed
@dataclass(frozen=True)
class WorldModelConfig:
    """Of its parts."""

    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    reward_end: RewardEndConfig = field(default_factory=RewardEndConfig)


class State(NamedTuple):
    """Where B dreams are."""

    frames: Tensor
    """(B, L, C, H, W) in [-1, 1], the newest last; grey where there were none yet"""
    actions: Tensor
    """(B, L - 1, A) chosen in them, but for the newest"""
    hidden: Tensor
    """(B, M) what the reward model remembers"""
    cell: Tensor
    """(B, M)"""

    @property
    def features(self) -> Tensor:
        """(B, C, H, W) the newest frame, in [0, 1]: all that who acts in the dream sees of it."""
        return (self.frames[:, -1] + 1) / 2


class WorldModel(nn.Module):
    """A denoiser, its sampler, and what reads rewards and ends.

    Args:
        config: of the parts.
        frame: (C, H, W).
        actions: A.

    Raises:
        ValueError: the sampler asks for noise levels that the denoiser never learns, or frames have
            sides that do not divide.
    """

    sigmas: Tensor

    def __init__(self, config: WorldModelConfig, frame: tuple[int, int, int], actions: int) -> None:
        super().__init__()
        self.config, asked, learned = config, config.sampler, config.denoiser
        check_learned(asked, learned.least, learned.most)
        self.denoiser = Denoiser(learned, frame, actions)
        self.reward_end = RewardEnd(config.reward_end, frame, actions)
        self.register_buffer("sigmas", schedule(asked), persistent=False)

    @torch.no_grad()
    def begin(self, frames: Tensor, actions: Tensor, first: Tensor) -> State:
        """The states at the end of stretches of L frames or more, from which dreams go on.

        Args:
            frames: (T, B, C, H, W).
            actions: (T, B, A), each the one before its frame.
            first: (T, B) 1 where an episode begins: nothing before it is known.
        """
        _, _, memory = self.reward_end.follow(frames, actions, first)
        nothing = torch.zeros_like(actions[:1])  # is chosen yet in the newest
        followed = frames, torch.cat([actions[1:], nothing]), first
        seen, chosen = context(*(part[-self.config.denoiser.past :] for part in followed))
        return State(seen, chosen[:, :-1], *memory)

    @torch.no_grad()
    def draw(self, frames: Tensor, actions: Tensor, generator: torch.Generator | None) -> Tensor:
        """The next frames (B, C, H, W), after frames (B, L, C, H, W) and choices (B, L, A)."""
        newest = frames[:, -1]
        noise = torch.randn(newest.shape, generator=generator).to(newest)
        return sample(
            lambda x, sigma: self.denoiser.denoise(x, sigma, frames, actions), noise, self.sigmas
        )

    @torch.no_grad()
    def step(
        self, state: State, action: Tensor, generator: torch.Generator | None
    ) -> tuple[State, Tensor, Tensor]:
        """One dreamed decision, see `wmlib.imagination.Model`; reward and end are drawn."""
        actions = torch.cat([state.actions, action[:, None]], 1)  # (B, L, A)
        frame = self.draw(state.frames, actions, generator)
        memory: Memory = state.hidden, state.cell
        reward, end, memory = self.reward_end.step(state.frames[:, -1], action, frame, memory)
        uniform = torch.rand(2, len(action), generator=generator).to(frame)
        paid = straight_through(reward.log_softmax(-1), uniform[0]) @ frame.new_tensor([-1.0, 0, 1])
        goes_on = straight_through(end.log_softmax(-1), uniform[1])[:, 0]
        frames = torch.cat([state.frames[:, 1:], frame[:, None]], 1)
        return State(frames, actions[:, 1:], *memory), paid, goes_on
