"""PETS (Chua et al. 2018): planning through a model that knows how much to trust itself."""

from wmlib.agents.pets.agent import (
    FiniteSteps,
    Interrupted,
    PETSConfig,
    Trained,
    pendulum_reward,
    train_pets,
    transitions,
)
from wmlib.agents.pets.ensemble import Ensemble, EnsembleConfig, Prediction, bootstrap_batches
from wmlib.agents.pets.particles import Particles, expected_returns, propagate, rewards_of

__all__ = [
    "Ensemble",
    "EnsembleConfig",
    "FiniteSteps",
    "Interrupted",
    "PETSConfig",
    "Particles",
    "Prediction",
    "Trained",
    "bootstrap_batches",
    "expected_returns",
    "pendulum_reward",
    "propagate",
    "rewards_of",
    "train_pets",
    "transitions",
]
