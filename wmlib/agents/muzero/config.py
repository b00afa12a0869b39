"""What decides a run of MuZero, and what its networks must know of a world."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from wmlib.agents.muzero.networks import NetworkConfig
from wmlib.typed import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    PositiveShare,
    ProperShare,
    typed,
)


@typed
@dataclass(frozen=True)
class MuZeroConfig:
    """Everything that decides a run. "Paper" is Schrittwieser et al. 2020, on board games."""

    networks: NetworkConfig = field(default_factory=NetworkConfig)
    simulations: PositiveInt = 32
    """of a search while it learns (paper: 800)"""
    discount: PositiveShare = 1.0
    """gamma (paper: 1; 0.997 on Atari)"""
    horizon: PositiveInt | None = 1
    """n, rewards in a value target before the search's own value stands; None: all to the end of
    the game (paper: None; 10 on Atari; ours: a search that is made anew sees further than old
    games went)"""
    unroll: PositiveInt = 5
    """K, steps of the model that are learned from at a time (paper: 5)"""
    noise: ProperShare = 0.4
    """share of Dirichlet noise in the root's prior (paper: 0.25; ours: moves that the network has
    written off are met again)"""
    alpha: PositiveFloat = 0.3
    """of that noise (paper: 0.3 in chess). The smaller, the fewer moves share the noise: one that
    is thought bad is tried at all only if it gets much of it"""
    temperatures: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.5, 0.25, 0.25)
    """of drawing moves by visits, in the first half of a run, the next quarter and the last (paper:
    1, 0.5 and 0.25, on Atari)"""
    games: PositiveInt = 512
    """played side by side (ours)"""
    random_moves: NonNegativeInt = 8
    """a game begins after 0 to so many random ones, so that positions are met that good play never
    reaches (ours)"""
    reanalyze: NonNegativeFloat = 3.0
    """searches of old positions for each new one, whose policy and value take the places of the old
    ones (paper, MuZero Reanalyze: 4, of 5)"""
    capacity: PositiveInt = 50_000
    """steps that are kept (ours)"""
    ratio: PositiveFloat = 0.025
    """updates for each real step (ours)"""
    batch: PositiveInt = 256
    """B, steps in an update (paper: 2,048)"""
    value_weight: PositiveFloat = 1.0
    """of the value's loss (paper: 1; 0.25 with Reanalyze)"""
    reward_weight: PositiveFloat = 5.0
    """of the reward's loss (paper: 1; ours: until it is known what wins, nothing else can be)"""
    learning_rate: PositiveFloat = 5e-3
    """Adam's, falling to 0 over the last part of a run (pseudocode: momentum's, a tenth of what it
    was every 400,000 of 1,000,000 updates: in chess from 0.1 to about 0.0003, in Go from 0.01)"""
    cooldown: PositiveShare = 0.6
    """that part (ours)"""
    weight_decay: NonNegativeFloat = 1e-4
    """paper: 1e-4"""
    average_rate: PositiveShare = 0.03
    """share of the new weights in the averaged network, which plays, at each update (ours)"""


ONE_PLAYER = MuZeroConfig(
    networks=NetworkConfig(state=32, units=64, value_support=500.0, atoms=20),
    simulations=25, discount=0.99, horizon=50, temperatures=(1.0, 0.5, 0.25), games=8,
    random_moves=0, noise=0.25, ratio=1.0, batch=128, reward_weight=1.0, value_weight=0.25,
)  # fmt: skip
"""What decides a run in a world of one player, unless it is told: as the paper's on Atari, but for
the sizes, the simulations (paper: 50), the discount (paper: 0.997), the horizon (paper: 10; ours: a
target of 50 real rewards rests less on what a young network says), alpha (0.3, as above;
pseudocode: 0.25), the learning rate (pseudocode: 0.05 at first) and what is ours above."""

CONNECT_FOUR = MuZeroConfig(
    networks=NetworkConfig(state=128, units=256), horizon=None, unroll=3, noise=0.25,
    temperatures=(1.0, 0.5, 0.25), random_moves=16, reanalyze=0.0, capacity=400_000, ratio=0.015,
    average_rate=0.005,
)  # fmt: skip
"""What decides a run on Connect Four, unless it is told (all ours, but what the paper has as well:
rewards to the end of a game). Most of its time goes into seeing what wins, one of 69 lines. That
takes many different positions: more random moves, new games in place of old positions searched
anew, and fewer updates for each of them. (With twice as many, a young network knew half of the wins
in games it had learned from, and a quarter of those in new ones.)
`benchmarks/muzero.py --parts connect-four` measures how far it comes."""


def usual(players: int, name: str = "") -> MuZeroConfig:
    """The configuration of a run that is told none, in a world of so many players and that name."""
    if name == "connect-four":
        return CONNECT_FOUR
    return ONE_PLAYER if players == 1 else MuZeroConfig()


@typed
@dataclass(frozen=True)
class Spaces:
    """What the networks must know of a world."""

    shape: tuple[int, ...]
    """of an observation"""
    actions: PositiveInt
    players: Annotated[int, Field(ge=1, le=2)]

    @classmethod
    def of(cls, world: Any) -> Spaces:
        """Those of a world.

        Raises:
            ValueError: it does not say how many actions it has, or is of more than two players.
            TypeError: it is the name of one.
        """
        if isinstance(world, str):
            raise TypeError(f"world must be a World, such as GymWorld({world!r}), got {world!r}")
        actions, players = getattr(world, "actions", None), getattr(world, "players", None)
        return cls(tuple(world.shape), actions, players)  # type: ignore[arg-type]  # checks them
