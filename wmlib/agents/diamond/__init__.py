"""DIAMOND: a world model that draws the next frame out of noise (Alonso et al. 2024).

No code of a few numbers stands between the world and the dream: what the agent learns from in its
dreams are pictures, whole.
"""

from wmlib.agents.diamond.agent import Diamond, DiamondConfig, Spaces
from wmlib.agents.diamond.denoiser import (
    Denoiser,
    DenoiserConfig,
    Scales,
    pixels,
    quantised,
    scales,
)
from wmlib.agents.diamond.dream import dream_frames, film, next_frames
from wmlib.agents.diamond.offline import (
    OfflineConfig,
    load_denoiser,
    save_denoiser,
    train_denoiser,
)
from wmlib.agents.diamond.reward_end import RewardEnd, RewardEndConfig
from wmlib.agents.diamond.sampler import SamplerConfig, sample, schedule
from wmlib.agents.diamond.train import train_diamond
from wmlib.agents.diamond.unet import AdaptiveGroupNorm, FourierFeatures, UNet, UNetConfig
from wmlib.agents.diamond.world_model import State, WorldModel, WorldModelConfig

__all__ = [
    "AdaptiveGroupNorm",
    "Denoiser",
    "DenoiserConfig",
    "Diamond",
    "DiamondConfig",
    "FourierFeatures",
    "OfflineConfig",
    "RewardEnd",
    "RewardEndConfig",
    "SamplerConfig",
    "Scales",
    "Spaces",
    "State",
    "UNet",
    "UNetConfig",
    "WorldModel",
    "WorldModelConfig",
    "dream_frames",
    "film",
    "load_denoiser",
    "next_frames",
    "pixels",
    "quantised",
    "sample",
    "save_denoiser",
    "scales",
    "schedule",
    "train_denoiser",
    "train_diamond",
]
