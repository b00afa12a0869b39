"""DreamerV3: one configuration for every world (Hafner et al. 2023).

As Dreamer, with dice that are classes, numbers that are two-hot, and losses and advantages that are
balanced so that neither the size of rewards nor the kind of actions matters.
"""

from wmlib.agents.dreamerv3.agent import DreamerV3, DreamerV3Config, Spaces
from wmlib.agents.dreamerv3.behaviour import Actor, BehaviourConfig, Critic, Range, losses
from wmlib.agents.dreamerv3.rssm import RSSM, RSSMConfig, State, balanced, divergence
from wmlib.agents.dreamerv3.train import train_dreamerv3
from wmlib.agents.dreamerv3.world_model import WorldModel, WorldModelConfig

__all__ = [
    "RSSM",
    "Actor",
    "BehaviourConfig",
    "Critic",
    "DreamerV3",
    "DreamerV3Config",
    "RSSMConfig",
    "Range",
    "Spaces",
    "State",
    "WorldModel",
    "WorldModelConfig",
    "balanced",
    "divergence",
    "losses",
    "train_dreamerv3",
]
