"""Recipes for CarRacing: every number of a run, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from wmlib.agents.world_models.controller import ControllerConfig
from wmlib.agents.world_models.evolve import DreamTrainingConfig
from wmlib.agents.world_models.gradients import BehaviourConfig
from wmlib.agents.world_models.memory import MemoryConfig
from wmlib.agents.world_models.vision import VisionConfig
from wmlib.exploration import ExplorationConfig, check_exploration
from wmlib.typed import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    check_type,
    typed,
)

ENV_ID = "wmlib/CarRacing-v3"
OFFICIAL_ID = "wmlib/OfficialCarRacing-v3"  # where verdicts are reached
TRACKS, EPISODES = 1_000_000, 10_000  # seeds of tracks set aside for a run, and for a cycle of it
CYCLES = 89  # from 900,000 on lie the tracks of verdicts


@typed
@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run, besides its seed."""

    episodes: Annotated[int, Field(ge=1, le=EPISODES)] = 1000
    """of random driving (paper: 10,000)"""
    exploration: ExplorationConfig = field(
        default_factory=lambda: ExplorationConfig((0.0, -0.2, -1.1), (0.15, 0.5, 0.2))
    )
    """of random driving. From no gas to nearly all of it (ours): where M has not seen a wheel spin
    at full gas, C finds in its dreams that full gas is always right"""
    max_steps: PositiveInt = 150
    """decisions after which a random episode is cut (ours)"""
    patience: PositiveInt = 30
    """decisions without a new tile after which it is cut: grass teaches little (ours)"""
    action_repeat: PositiveInt = 3
    """frames for each decision: one every 60 ms (ours)"""
    vision: VisionConfig = field(default_factory=VisionConfig)
    """of V"""
    vision_steps: PositiveInt = 2000
    """updates of V on random driving"""
    memory_steps: PositiveInt = 4000
    """updates of an M that begins"""
    grass: NonNegativeFloat = 1.0
    """weight, in M's loss, of foreseeing how much grass is around the car, which is the cost that
    dreams charge for; 0: M has no head for it (ours)"""
    warm: NonNegativeInt = 16
    """real decisions that M reads before a dream begins"""
    controller: ControllerConfig = field(default_factory=ControllerConfig)
    """sizes of C; hidden = 0 for one that sees z alone"""
    optimiser: Literal["gradient", "evolution"] = "gradient"
    """how C improves: gradients through the dream, or CMA-ES (the article's)"""
    behaviour: BehaviourConfig = field(default_factory=lambda: BehaviourConfig(price=8.0))
    """of the gradients. A decision with nothing but grass around the car costs more than two tiles
    (ours): a tile that is passed on the grass is lost for good, and with it the end of the lap, but
    a dream is too short to know. The price rises from 0 in cycle 0 to this in the last: a driver
    that must fear grass before M has seen good driving stands still"""
    dream: DreamTrainingConfig = field(default_factory=DreamTrainingConfig)
    """of evolution"""
    cycles: Annotated[int, Field(ge=0, le=CYCLES)] = 6
    """of driving, learning and dreaming; 0: C never drives while it learns"""
    cycle_driver: Literal["own", "random"] = "own"
    """who drives in the cycles: C, or once more the random driver"""
    cycle_episodes: Annotated[int, Field(ge=1, le=EPISODES)] = 32
    """driven a cycle"""
    cycle_noise: NonNegativeFloat = 0.3
    """most smooth noise on its actions, see `wmlib.agents.world_models.agent.WorldModelPolicy`"""
    cycle_patience: PositiveInt = 50
    """decisions without a new tile after which such an episode is cut"""
    cycle_memory_steps: PositiveInt = 1500
    """updates of an M that goes on, a cycle"""
    memory_learns: Literal["all", "heads", "nothing"] = "all"
    """what of M is trained; the heads are linear and read the LSTM's h"""
    driven: PositiveFloat = 2.0
    """how often a decision of C's own driving is seen by M, and dreamed from, for each time that a
    random one is: few at first, most of them in the end (ours)"""

    def __post_init__(self) -> None:
        shortest = max(MemoryConfig().window, self.warm + 1)  # what M and the dreams need
        check_type("max_steps", self.max_steps, Annotated[int, Field(ge=shortest)])
        check_exploration(self.exploration, 3)
        dreams = self.behaviour if self.optimiser == "gradient" else self.dream
        if dreams.price and not self.grass:
            raise ValueError(f"a price of {dreams.price} needs an M that foresees grass: grass > 0")


RECIPES = {
    "full": Recipe(),
    "random": Recipe(
        exploration=ExplorationConfig(), vision_steps=3000, memory_steps=5000, grass=0.0,
        cycles=0, optimiser="evolution",
    ),
    "tiny": Recipe(
        episodes=8, vision_steps=40, memory_steps=40, behaviour=BehaviourConfig(updates=4, price=8),
        cycles=2, cycle_episodes=2, cycle_patience=60, cycle_memory_steps=20,
    ),
}  # fmt: skip
"""full: cycles of driving, learning and dreaming; random: the article's way, from random driving
alone, as in `artifacts/world-models-car-racing-random`; tiny: a minute's run, to see that all parts
work.
"""
