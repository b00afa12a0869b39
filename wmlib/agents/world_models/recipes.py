"""Recipes for CarRacing: every number of a run, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from wmlib.agents.world_models.controller import ControllerConfig
from wmlib.agents.world_models.evolve import DreamTrainingConfig
from wmlib.agents.world_models.gradients import BehaviourConfig
from wmlib.agents.world_models.memory import MemoryConfig
from wmlib.agents.world_models.vision import VisionConfig
from wmlib.checks import (
    check_kind,
    check_number,
    check_positive,
    check_whole,
)
from wmlib.exploration import ExplorationConfig, check_exploration

ENV_ID = "wmlib/CarRacing-v3"
OFFICIAL_ID = "wmlib/OfficialCarRacing-v3"  # where verdicts are reached
TRACKS, EPISODES = 1_000_000, 10_000  # seeds of tracks set aside for a run, and for a cycle of it
CYCLES = 89  # from 900,000 on lie the tracks of verdicts


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run, besides its seed."""

    episodes: int = 1000
    """of random driving (paper: 10,000)"""
    exploration: ExplorationConfig = field(
        default_factory=lambda: ExplorationConfig((0.0, -0.2, -1.1), (0.15, 0.5, 0.2))
    )
    """of random driving. From no gas to nearly all of it (ours): where M has not seen a wheel spin
    at full gas, C finds in its dreams that full gas is always right"""
    max_steps: int = 150
    """decisions after which a random episode is cut (ours)"""
    patience: int = 30
    """decisions without a new tile after which it is cut: grass teaches little (ours)"""
    action_repeat: int = 3
    """frames for each decision: one every 60 ms (ours)"""
    vision: VisionConfig = field(default_factory=VisionConfig)
    """of V"""
    vision_steps: int = 2000
    """updates of V on random driving"""
    memory_steps: int = 4000
    """updates of an M that begins"""
    grass: float = 1.0
    """weight, in M's loss, of foreseeing how much grass is around the car, which is the cost that
    dreams charge for; 0: M has no head for it (ours)"""
    warm: int = 16
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
    cycles: int = 6
    """of driving, learning and dreaming; 0: C never drives while it learns"""
    cycle_driver: Literal["own", "random"] = "own"
    """who drives in the cycles: C, or once more the random driver"""
    cycle_episodes: int = 32
    """driven a cycle"""
    cycle_noise: float = 0.3
    """most smooth noise on its actions, see `wmlib.agents.world_models.agent.WorldModelPolicy`"""
    cycle_patience: int = 50
    """decisions without a new tile after which such an episode is cut"""
    cycle_memory_steps: int = 1500
    """updates of an M that goes on, a cycle"""
    memory_learns: Literal["all", "heads", "nothing"] = "all"
    """what of M is trained; the heads are linear and read the LSTM's h"""
    driven: float = 2.0
    """how often a decision of C's own driving is seen by M, and dreamed from, for each time that a
    random one is: few at first, most of them in the end (ours)"""

    def __post_init__(self) -> None:
        check_whole("warm", self.warm, 0)
        for name, kind in (
            ("exploration", ExplorationConfig), ("vision", VisionConfig),
            ("controller", ControllerConfig), ("behaviour", BehaviourConfig),
            ("dream", DreamTrainingConfig),
        ):  # fmt: skip
            check_kind(name, getattr(self, name), kind)
        shortest = max(MemoryConfig().window, self.warm + 1)  # what M and the dreams need
        counts = (
            "patience", "action_repeat", "vision_steps", "memory_steps", "cycle_patience",
            "cycle_memory_steps",
        )  # fmt: skip
        for name in counts:
            check_whole(name, getattr(self, name), 1)
        for name in ("episodes", "cycle_episodes"):  # more of them: tracks of the next cycle
            check_whole(name, getattr(self, name), 1, EPISODES)
        check_whole("max_steps", self.max_steps, shortest)
        check_whole("cycles", self.cycles, 0, CYCLES)
        check_exploration(self.exploration, 3)
        for name in ("grass", "cycle_noise"):
            check_number(name, getattr(self, name), 0)
        choices = {
            "optimiser": ("gradient", "evolution"), "cycle_driver": ("own", "random"),
            "memory_learns": ("all", "heads", "nothing"),
        }  # fmt: skip
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        dreams = self.behaviour if self.optimiser == "gradient" else self.dream
        if dreams.price and not self.grass:
            raise ValueError(f"a price of {dreams.price} needs an M that foresees grass: grass > 0")
        check_positive("driven", self.driven)


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
