"""Behaviour learning: C improved by gradients through its own dreams.

Every part of a dream is differentiable: the reward head, the drawn code (mean and sigma of the
drawn component, with the noise held fixed), the LSTM and C itself. So the derivative of a dreamed
return with respect to C's numbers comes from one pass backwards through time, where evolution
needs hundreds of dreams to feel a direction. This is the actor-critic of Dreamer (Hafner et al.
2020) on the parts of 2018; only the choice among a mixture's components carries no gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from tqdm.auto import tqdm

from wmlib.agents.world_models.controller import ControllerConfig, LinearController
from wmlib.agents.world_models.dream import Price, check_dream, check_price, most_paid, paid
from wmlib.agents.world_models.memory import MDNRNN
from wmlib.agents.world_models.mixture import Temperature
from wmlib.agents.world_models.starts import Starts, dreams_digest
from wmlib.agents.world_models.value import ValueConfig, ValueFunction, squared_error
from wmlib.agents.world_models.world import World, WorldState
from wmlib.imagination import Policy, steps
from wmlib.returns import lambda_returns
from wmlib.training import History, check_finite, resumed, save_state, seeded
from wmlib.typed import (
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Seed,
    check_same,
    typed,
)


@typed
@dataclass(frozen=True)
class BehaviourConfig:
    """Hyper-parameters of training C by gradients."""

    updates: PositiveInt = 200
    """of C and of the value function (ours)"""
    starts: PositiveInt = 768
    """S, dreams an update, each from its own real moment (ours)"""
    horizon: PositiveInt = 15
    """T, dreamed decisions: 0.9 s at three frames a decision (Dreamer: 15)"""
    temperature: Temperature = 1.6
    """tau of the dream (paper: 1.15 in Doom; ours: piloted)"""
    pace: PositiveFloat | None = 1.0
    """events (CarRacing: new tiles) a decision for which a dream pays best; more of them it pays as
    badly as fewer. None for no limit. A lap has a fixed number of tiles, a dream has no laps:
    without a limit, speed is worth more there than on the road (ours: one tile a decision. A drive
    has 1000 frames, so 334 decisions of three frames: at this pace as many tiles are passed, and
    the lap of a longer road is not finished in time)"""
    price: Price = 0.0
    """what a cost of 1 takes away from the pay of a decision, in the environment's rewards; for an
    M that foresees a cost, see `wmlib.agents.world_models.memory.MemoryConfig`"""
    noise: NonNegativeFloat = 0.1
    """standard deviation of white noise on C's outputs before they are squashed (ours)"""
    outlier: Annotated[float, Field(gt=0)] = 3.0
    """on the way back through time no dream's gradient counts for more than this many times the
    median dream's (ours: a few dreams in which small causes have huge effects drown the others)"""
    learning_rate: PositiveFloat = 3e-3
    """Adam's, for C: constant for half of the updates, then falling to 0 (ours)"""
    bootstrap: bool = True
    """whether a value function stands beyond the horizon; without it the dream just stops"""
    value: ValueConfig = field(default_factory=lambda: ValueConfig(discount=0.98))
    """of the value function, and the discount of all returns"""


class EvenWorld(World):
    """M to dream in, on whose way back through time no dream counts for much more than the median.

    Args:
        memory: M.
        temperature: > 0.
        outlier: > 0; a dream's gradient, at each step, is cut to this many times the median one's.
    """

    def __init__(self, memory: MDNRNN, temperature: float, outlier: float) -> None:
        super().__init__(memory, temperature)
        self.outlier = outlier

    def step(
        self, state: WorldState, action: Tensor, generator: torch.Generator | None
    ) -> tuple[WorldState, Tensor, Tensor]:
        _even(action, self.outlier)
        state, reward, continues = super().step(state, action, generator)
        for part in (state.z, state.hidden, state.cell):
            _even(part, self.outlier)
        return state, reward, continues


def policy_of(
    controller: LinearController, noise: float = 0.0, generator: torch.Generator | None = None
) -> Policy:
    """One C (P = 1) as `wmlib.imagination` asks for it: features (S, Z + H) to actions (S, A).

    Args:
        controller: C; gradients pass to its parameters.
        noise: standard deviation of white noise before C's outputs are squashed.
        generator: of that noise.
    """
    inputs, actions = controller.config.features, len(controller.config.squash)

    def act(features: Tensor) -> Tensor:
        shake = None
        if noise:
            size = 1, len(features), actions
            shake = noise * torch.randn(size, generator=generator, device=features.device)
        return controller.act(features[None, :, :inputs], shake)[0]  # (S, A)

    return act


def _even(rows: Tensor, outlier: float) -> None:
    """See to it that in the gradient of rows (S, n) none is longer than `outlier` median rows."""

    def cut(gradient: Tensor) -> Tensor:
        length = gradient.norm(dim=1, keepdim=True)  # (S, 1)
        most = outlier * length.median()
        even: Tensor = gradient * (most / length.clamp(min=1e-12)).clamp(max=1.0)
        return even

    if rows.requires_grad and math.isfinite(outlier):
        rows.register_hook(cut)


class Learned(NamedTuple):
    """The outcome: C as it is after the last update, its value function, and how it got there."""

    controller: LinearController
    value: ValueFunction
    history: History
    """each update's `dream_return` (undiscounted, over the horizon, without a limit to the pace and
    without a price), `dream_cost` (mean of a decision's) and `gradient`, its norm"""


@typed
def train_behaviour(
    memory: MDNRNN,
    starts: Starts,
    controller: ControllerConfig | None = None,
    config: BehaviourConfig | None = None,
    *,
    seed: Seed = 0,
    state: Path | None = None,
    every: PositiveInt = 25,
    progress: bool = True,
) -> Learned:
    """Train C in M's dreams from nothing (all zeros, as evolution begins) by their gradients.

    Each update dreams from other real moments, moves C along the gradient of the lambda-returns,
    and fits the value function to them. The value function learns from nothing but dreams: judging
    it by stretches of old driving as well made C worse, because a good state looks bad there.

    Args:
        memory: M, left as it is; everything is done on its device, where the starts must be.
        starts: real moments to dream from.
        controller: sizes of C.
        config: of the training.
        seed: of the value function's first weights, the moments drawn and all noise.
        state: file from which a killed run goes on, with the same bits: each update has its own
            generator. It is rewritten every `every` updates, and knows M and the starts by digest.
        every: updates between two states.
        progress: show a bar.

    Raises:
        ValueError: a number is out of range, the parts do not fit together, C chooses among
            actions (a `Discrete` space), or the state belongs to another run.
        TypeError: a part is not what it should be.
        NotFiniteError: the dreamed return or its gradient is not finite.
    """
    cfg, shape = config or BehaviourConfig(), controller or ControllerConfig()
    read = memory.config.latent + memory.config.hidden
    check_same("features of the value", cfg.value.features, read)
    if shape.choices is not None:
        raise ValueError(
            f"a choice among {shape.choices} actions has no gradient: evolve C (train_in_dream)"
        )
    check_price(memory, cfg.price)
    parameters = nn.Parameter(torch.zeros(shape.parameters, device=memory.device))
    value = seeded(seed, lambda: ValueFunction(cfg.value)).to(memory.device)
    of_c = torch.optim.Adam([parameters], lr=cfg.learning_rate)
    of_value = torch.optim.Adam(value.network.parameters(), lr=cfg.value.learning_rate)
    check_dream(memory, LinearController(parameters, shape), starts)
    world = EvenWorld(memory, cfg.temperature, cfg.outlier)
    most = most_paid(memory.config, cfg.pace)
    discount, trace = cfg.value.discount, cfg.value.trace if cfg.bootstrap else 1.0
    history: History = {"dream_return": [], "dream_cost": [], "gradient": []}
    identity = {
        "config": f"{cfg} of {shape}", "seed": str(seed),
        "dreams": "" if state is None else dreams_digest(memory, starts),
    }  # fmt: skip
    modules = {"controller": nn.ParameterList([parameters]), "value": value}
    parts = modules, {"adam of C": of_c, "adam of the value": of_value}, history
    first = resumed(state, identity, *parts)
    learning = [p for p in memory.parameters() if p.requires_grad]
    for parameter in learning:  # no gradient for M: half the work
        parameter.requires_grad_(False)
    try:
        bar = tqdm(
            range(first, cfg.updates), "training C in dreams", initial=first, total=cfg.updates,
            disable=not progress,
        )  # fmt: skip
        for update in bar:
            rng = np.random.default_rng([seed, update])
            generator = torch.Generator(memory.device).manual_seed(int(rng.integers(2**62)))
            for group in of_c.param_groups:
                group["lr"] = cfg.learning_rate * min(1.0, 2 * (1 - update / cfg.updates))
            some = starts.take(rng.integers(len(starts.z), size=cfg.starts))
            c = policy_of(LinearController(parameters, shape), cfg.noise, generator)
            start = world.begin(*some.dreamed().values())
            dreamed = list(steps(world, c, start, cfg.horizon, generator))
            features = torch.stack([start.features, *(step.features for step in dreamed)])
            rewards = torch.stack([step.reward for step in dreamed])  # (T, S)
            costs = torch.stack([step.state.cost for step in dreamed])  # (T, S)
            continues = torch.stack([step.continues for step in dreamed])  # (T, S)
            values = value.target(features).squeeze(-1) * cfg.bootstrap  # (T + 1, S)
            pay = paid(rewards, most) - cfg.price * costs  # (T, S)
            returns = lambda_returns(pay, continues, values, discount, trace)  # (T, S)
            going = discount * continues.detach()  # (T, S)
            weight = torch.cat([torch.ones_like(going[:1]), going[:-1].cumprod(0)])
            (gradient,) = torch.autograd.grad(-(weight * returns).mean(), parameters)
            total, norm = float(rewards.detach().sum(0).mean()), float(gradient.norm())
            check_finite(total, f"training C: the dreamed return at update {update}")
            check_finite(norm, f"training C: the gradient at update {update}")
            parameters.grad = gradient
            of_c.step()
            if cfg.bootstrap:
                states = features[:-1].detach()  # (T, S, Z + H)
                value.descend(of_value, squared_error(value, states, returns.detach()))
            history["dream_return"].append(total)
            history["dream_cost"].append(float(costs.detach().mean()))
            history["gradient"].append(norm)
            bar.set_postfix_str(f"dreamed return {total:.1f}", refresh=False)
            if state is not None and ((update + 1) % every == 0 or update + 1 == cfg.updates):
                save_state(state, identity, update + 1, *parts)
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
    return Learned(LinearController(parameters.detach(), shape), value, history)
