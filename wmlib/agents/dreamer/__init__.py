"""Dreamer: behaviour learned in latent imagination (Hafner et al. 2020).

A world model (an RSSM that must paint what it saw) learns from what was played; an actor and a
value learn in its dreams, by the gradient of dreamed returns; the actor plays on.
"""

from wmlib.agents.dreamer.agent import Dreamer, DreamerConfig
from wmlib.agents.dreamer.behaviour import Actor, BehaviourConfig, exploring, losses
from wmlib.agents.dreamer.rssm import RSSM, Belief, RSSMConfig, State, divergence
from wmlib.agents.dreamer.train import train_dreamer
from wmlib.agents.dreamer.world_model import WorldModel, WorldModelConfig

__all__ = [
    "RSSM",
    "Actor",
    "BehaviourConfig",
    "Belief",
    "Dreamer",
    "DreamerConfig",
    "RSSMConfig",
    "State",
    "WorldModel",
    "WorldModelConfig",
    "divergence",
    "exploring",
    "losses",
    "train_dreamer",
]
