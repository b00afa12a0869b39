"""What decides a run of World Models on any environment of pictures, fitted to that environment."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np

from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.controller import ControllerConfig
from wmlib.agents.world_models.evolve import DreamTrainingConfig
from wmlib.agents.world_models.memory import MemoryConfig
from wmlib.agents.world_models.vision import VisionConfig
from wmlib.envs.minatar import is_minatar
from wmlib.spaces import frame
from wmlib.typed import NonNegativeInt, PositiveInt, Share, typed


@typed
@dataclass(frozen=True)
class WorldModelsConfig:
    """Everything that decides a run, besides its environment, steps and seed; sized for PixelCatch.

    What the environment says itself (its frames and actions, the scale of its rewards) replaces
    what `vision` and `memory` say of it.
    """

    random_share: Share = 0.25
    """of the real steps: random play, in (0, 1] (ours)"""
    cycles: NonNegativeInt = 3
    """of playing, learning and dreaming, which share the other steps evenly (ours)"""
    noise: float = 0.2
    """of C's play, see `wmlib.agents.world_models.agent.WorldModelPolicy` (ours)"""
    vision: VisionConfig = field(
        default_factory=lambda: VisionConfig(
            latent=16, channels=(16,), reconstruction_weight=30.0, learning_rate=3e-3, batch=64,
            frame=(16, 16, 1),
        )
    )  # fmt: skip
    """of V (ours: one convolution; two of them still leave the ball out after 500 updates, one
    shows it in every cell)"""
    vision_steps: PositiveInt = 500
    """updates of a V that begins"""
    cycle_vision_steps: PositiveInt = 60
    """updates of a V that goes on, a cycle"""
    memory: MemoryConfig = field(
        default_factory=lambda: MemoryConfig(
            latent=16, actions=3, hidden=64, reward="normal", reward_weight=10.0, end_weight=10.0,
            window=2, batch=192, learning_rate=1e-2,
        )
    )  # fmt: skip
    """of M (ours). One picture of PixelCatch shows the whole state, so short windows tell M all.
    From windows of whole episodes it learned their rewards by heart instead: a sequence of nine
    actions names the episode that it comes from"""
    memory_steps: PositiveInt = 1000
    """updates of an M that begins"""
    cycle_memory_steps: PositiveInt = 400
    """updates of an M that goes on, a cycle"""
    warm: NonNegativeInt = 0
    """real decisions that M reads before a dream begins"""
    dream: DreamTrainingConfig = field(
        default_factory=lambda: DreamTrainingConfig(
            generations=80, population=32, starts=32, horizon=9, temperature=1.0, sigma=0.5,
            discount=1.0,
        )
    )  # fmt: skip
    """of C's evolution (ours)"""


MINATAR = WorldModelsConfig(
    vision=VisionConfig(
        channels=(32,), reconstruction_weight=100.0, learning_rate=3e-3, batch=64, frame=(10, 10, 4)
    ),
    vision_steps=3000, cycle_vision_steps=500,
    memory=MemoryConfig(
        hidden=128, reward="normal", reward_weight=10.0, end_weight=10.0, window=16, batch=64,
        learning_rate=3e-3,
    ),
    memory_steps=3500, cycle_memory_steps=1500,
    warm=4,
    dream=DreamTrainingConfig(
        generations=80, horizon=40, temperature=1.0, sigma=0.5, discount=0.99
    ),
)  # fmt: skip
"""For MinAtar's games: 12,500 updates, 4,500 of V and 8,000 of M (all ours). A ball of one pixel is
worth little to V: at the paper's weight of 1 it paints 69 % of Breakout's balls, at 5, CarRacing's,
80 %, at 100 83 % (benchmarks/ball.py)"""


def usual(env_id: str) -> WorldModelsConfig:
    """The configuration of a run that is told none."""
    return MINATAR if is_minatar(env_id) else WorldModelsConfig()


def fitted(config: WorldModelsConfig, env: gym.Env) -> WorldModelsConfig:
    """The configuration for the frames and actions of an environment.

    Raises:
        ValueError: its frames or its actions are others than V and C can take.
    """
    seen, latent = frame(env.observation_space), config.vision.latent
    shape = ControllerConfig.for_space(env.action_space, latent, config.memory.hidden)
    vision = dataclasses.replace(config.vision, frame=seen)
    memory = dataclasses.replace(config.memory, latent=latent, actions=len(shape.squash))
    return dataclasses.replace(config, vision=vision, memory=memory)


def rewards_fitted(config: MemoryConfig, codes: Codes) -> MemoryConfig:
    """M's configuration for any rewards: their mean is nothing to it, their spread is 1."""
    rewards = np.delete(codes.rewards, codes.first + codes.lengths)  # (decisions,)
    mean, spread = float(rewards.mean()), float(rewards.std())
    same = spread < 1e-5 * max(1.0, abs(mean))  # but for their rounding
    return dataclasses.replace(
        config, reward="normal", reward_offset=mean, reward_scale=1.0 if same else spread
    )


def budgets(config: WorldModelsConfig, steps: int) -> list[int]:
    """Real steps of random play, and of each cycle: together exactly `steps`.

    Raises:
        ValueError: one of them is none, or random play is shorter than a window of M.
    """
    if not config.cycles:
        return [steps]
    random = round(config.random_share * steps)
    marks = np.linspace(random, steps, config.cycles + 1).round().astype(int)
    shares: list[int] = [random, *np.diff(marks).tolist()]
    if min(shares) < 1 or random < config.memory.window:
        raise ValueError(
            f"{steps} steps are too few: {shares} of random play and each cycle, where M needs "
            f"{config.memory.window} at first and each cycle at least 1"
        )
    return shares
