"""World Models (Ha & Schmidhuber 2018): V sees, M remembers and dreams, C acts."""

from wmlib.agents.world_models.agent import Agent, WorldModelPolicy, after_real_steps
from wmlib.agents.world_models.car_racing import train_car_racing
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.config import WorldModelsConfig
from wmlib.agents.world_models.controller import (
    ControllerConfig,
    LinearController,
    above_zero,
    squash,
)
from wmlib.agents.world_models.dream import Dream, Imagined, Moment, most_paid, paid
from wmlib.agents.world_models.dream_env import DreamEnv
from wmlib.agents.world_models.evolution import CMAES, Best, Minimum, minimise
from wmlib.agents.world_models.evolution_settings import Box, CMAESConfig, Strategy
from wmlib.agents.world_models.evolve import DreamTrainingConfig, Evolved, train_in_dream
from wmlib.agents.world_models.forecast import Forecasts, choose, fair_errors, forecast, spreads
from wmlib.agents.world_models.gradients import (
    BehaviourConfig,
    EvenWorld,
    Learned,
    policy_of,
    train_behaviour,
)
from wmlib.agents.world_models.measure_speed import measure_dream
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig, MemoryLoss, State, train_memory
from wmlib.agents.world_models.mixture import Prediction, log_likelihood, sample
from wmlib.agents.world_models.recipes import Recipe
from wmlib.agents.world_models.starts import Starts, followed, warm_up
from wmlib.agents.world_models.tiles import (
    grass,
    memory_for,
    real_steps,
    tile_rewards,
    without_laps,
)
from wmlib.agents.world_models.train import train_world_models
from wmlib.agents.world_models.value import ValueConfig, ValueFunction, squared_error
from wmlib.agents.world_models.vision import VAE, VisionConfig, VisionLoss, train_vision
from wmlib.agents.world_models.world import World, WorldState, payment

__all__ = [
    "CMAES",
    "MDNRNN",
    "VAE",
    "Agent",
    "BehaviourConfig",
    "Best",
    "Box",
    "CMAESConfig",
    "Codes",
    "ControllerConfig",
    "Dream",
    "DreamEnv",
    "DreamTrainingConfig",
    "EvenWorld",
    "Evolved",
    "Forecasts",
    "Imagined",
    "Learned",
    "LinearController",
    "MemoryConfig",
    "MemoryLoss",
    "Minimum",
    "Moment",
    "Prediction",
    "Recipe",
    "Starts",
    "State",
    "Strategy",
    "ValueConfig",
    "ValueFunction",
    "VisionConfig",
    "VisionLoss",
    "World",
    "WorldModelPolicy",
    "WorldModelsConfig",
    "WorldState",
    "above_zero",
    "after_real_steps",
    "choose",
    "fair_errors",
    "followed",
    "forecast",
    "grass",
    "log_likelihood",
    "measure_dream",
    "memory_for",
    "minimise",
    "most_paid",
    "paid",
    "payment",
    "policy_of",
    "real_steps",
    "sample",
    "spreads",
    "squared_error",
    "squash",
    "tile_rewards",
    "train_behaviour",
    "train_car_racing",
    "train_in_dream",
    "train_memory",
    "train_vision",
    "train_world_models",
    "warm_up",
    "without_laps",
]
