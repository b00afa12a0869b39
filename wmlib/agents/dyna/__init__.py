"""Dyna (Sutton 1991): learn from real steps, and from imagined steps in a learned model."""

from wmlib.agents.dyna.buffer import Batch, TransitionBuffer
from wmlib.agents.dyna.interaction import Learner, Step, episode_lengths, live
from wmlib.agents.dyna.model import NeuralModel, NeuralModelConfig, descend
from wmlib.agents.dyna.neural import NeuralPolicy, NeuralPolicyConfig
from wmlib.agents.dyna.tables import DynaConfig, QTable, TabularModel, Visited
from wmlib.agents.dyna.tabular import DynaQ, PrioritizedSweeping
from wmlib.agents.dyna.value_iteration import greedy_path, value_iteration

__all__ = [
    "Batch",
    "DynaConfig",
    "DynaQ",
    "Learner",
    "NeuralModel",
    "NeuralModelConfig",
    "NeuralPolicy",
    "NeuralPolicyConfig",
    "PrioritizedSweeping",
    "QTable",
    "Step",
    "TabularModel",
    "TransitionBuffer",
    "Visited",
    "descend",
    "episode_lengths",
    "greedy_path",
    "live",
    "value_iteration",
]
