"""World Models (Ha & Schmidhuber 2018): C evolved by CMA-ES, here entirely inside dreams.

The paper trained its CarRacing driver in the real environment. Here no real reward reaches C: its
fitness is what M's reward head says of short dreams, plus what a value function, learned from the
dreams themselves, says of the state in which they stop.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from tqdm.auto import tqdm

from wmlib.agents.world_models.controller import ControllerConfig, LinearController
from wmlib.agents.world_models.dream import Dream, Price, check_dream
from wmlib.agents.world_models.evolution import CMAES
from wmlib.agents.world_models.evolution_settings import CMAESConfig
from wmlib.agents.world_models.memory import MDNRNN
from wmlib.agents.world_models.mixture import Temperature
from wmlib.agents.world_models.starts import Starts, dreams_digest
from wmlib.agents.world_models.value import ValueConfig, ValueFunction, squared_error
from wmlib.returns import lambda_returns
from wmlib.runs import check_identity
from wmlib.storage import open_arrays, save_arrays
from wmlib.training import History, check_finite, restore, seeded, state_arrays
from wmlib.typed import PositiveFloat, PositiveInt, PositiveShare, Seed, typed


@typed
@dataclass(frozen=True)
class DreamTrainingConfig:
    """Hyper-parameters of evolving C in dreams."""

    generations: PositiveInt = 150
    """of CMA-ES (paper: 1,800)"""
    population: Annotated[int, Field(ge=2)] = 32
    """P, candidates a generation (paper: 64, each in 16 real episodes; ours: 32)"""
    starts: PositiveInt = 32
    """S, dreams of each candidate, all from the same moments (ours)"""
    horizon: PositiveInt = 100
    """T, dreamed decisions: 6 s at three frames a decision (ours; chapter 5 compares with 15)"""
    temperature: Temperature = 1.15
    """tau of the dream (paper: 1.15 in Doom; chapter 5 compares)"""
    sigma: PositiveFloat = 0.1
    """first step size of CMA-ES (paper's code: 0.1)"""
    discount: PositiveShare = 0.999
    """gamma, for each decision (ours: nearly none; 0.965 with a value function)"""
    value: bool = False
    """whether a value function stands beyond the horizon; without it the dream just stops"""
    pace: PositiveFloat | None = None
    """events a decision for which a dream pays best, see `dream.most_paid`"""
    price: Price = 0.0
    """what a cost of 1 takes away from a decision's pay, see `dream.Dream`"""
    value_updates: PositiveInt = 4
    """of the value function, each generation (ours)"""
    value_starts: PositiveInt = 256
    """moments from which the mean controller dreams for those updates (ours)"""


@dataclass(frozen=True)
class Evolved:
    """The outcome: the mean of the last generation, and how it got there."""

    controller: LinearController
    value: ValueFunction
    history: History
    """each generation's `dream_return` of the mean (what the dream pays, and the value at its end),
    the candidates' `best` and `spread`, `sigma`"""


@typed
def train_in_dream(
    memory: MDNRNN,
    starts: Starts,
    controller: ControllerConfig | None = None,
    config: DreamTrainingConfig | None = None,
    *,
    seed: Seed = 0,
    state: Path | None = None,
    every: PositiveInt = 25,
    progress: bool = True,
) -> Evolved:
    """Evolve C in M's dreams with separable CMA-ES.

    Args:
        memory: M, left as it is; everything is done on its device.
        starts: real moments to dream from, see `wmlib.agents.world_models.starts.warm_up`.
        controller: sizes of C; by default C's for CarRacing.
        config: of the training.
        seed: of evolution, of the dreams and of the value function's first weights.
        state: file from which a killed run goes on; rewritten every `every` generations.
        every: generations between two states.
        progress: show a bar.

    Raises:
        ValueError: an argument is out of range, the parts do not fit together, or the state belongs
            to another run.
        TypeError: a part is not what it should be.
        NotFiniteError: a dreamed return is not finite.
    """
    config, shape = config or DreamTrainingConfig(), controller or ControllerConfig()
    check_dream(memory, LinearController(np.zeros(shape.parameters), shape), starts)
    features = memory.config.latent + memory.config.hidden
    dream = Dream(memory, config.temperature, config.pace, config.price)
    of_dreams, device = ValueConfig(features, discount=config.discount), memory.device
    value = seeded(seed, lambda: ValueFunction(of_dreams)).to(device)
    optimiser = torch.optim.Adam(value.network.parameters(), lr=value.config.learning_rate)
    strategy = CMAESConfig(sigma=config.sigma, population=config.population, separable=True)
    es = CMAES(np.zeros(shape.parameters), strategy, seed)
    history: History = {"dream_return": [], "best": [], "spread": [], "sigma": []}
    identity = {
        "config": json.dumps([asdict(config), asdict(shape)]),
        "seed": str(seed),
        "dreams": "" if state is None else dreams_digest(memory, starts),
    }
    if state is not None and state.exists():
        es = _resume(state, identity, value, optimiser, history)
    bar = tqdm(
        range(es.generation, config.generations), "evolving C in dreams", disable=not progress
    )
    for generation in bar:
        rng = np.random.default_rng([seed, generation])
        noise = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
        if config.value:
            mean = LinearController(es.mean, shape).to(device)
            some = starts.take(rng.integers(len(starts.z), size=config.value_starts))
            _improve_value(dream, value, optimiser, mean, some, config, noise)
        candidates = es.ask()  # (P, n)
        same = starts.take(rng.integers(len(starts.z), size=config.starts))
        returns = dream.returns(
            LinearController(np.concatenate([candidates, es.mean[None]]), shape).to(device), same,
            horizon=config.horizon, discount=config.discount,
            value=value if config.value else None, generator=noise,
        ).mean(1).double().cpu().numpy()  # (P + 1,)  # fmt: skip
        check_finite(returns.sum(), f"a dreamed return in generation {generation}")
        es.tell(candidates, -returns[:-1])
        row = (returns[-1], returns[:-1].max(), returns[:-1].std(), es.sigma)
        for name, number in zip(history, row, strict=True):
            history[name].append(float(number))
        bar.set_postfix_str(f"dream return {returns[-1]:.2f}, sigma {es.sigma:.3f}", refresh=False)
        last = generation + 1 == config.generations
        if state is not None and (last or (generation + 1) % every == 0):
            _save(state, identity, es, value, optimiser, history)
    return Evolved(LinearController(es.mean, shape).to(device), value, history)


def _improve_value(
    dream: Dream,
    value: ValueFunction,
    optimiser: torch.optim.Optimizer,
    controller: LinearController,
    starts: Starts,
    config: DreamTrainingConfig,
    noise: torch.Generator,
) -> None:
    """Fit the value function to lambda-returns of the mean controller's own dreams."""
    imagined = dream.imagine(controller, starts, config.horizon, noise)
    features = imagined.features[:, 0]  # (T + 1, S, F)
    returns = lambda_returns(
        imagined.rewards[:, 0], imagined.continues[:, 0], value.slow(features),
        value.config.discount, value.config.trace,
    )  # (T, S)  # fmt: skip
    for _ in range(config.value_updates):
        value.descend(optimiser, squared_error(value, features[:-1], returns))


def _save(
    path: Path,
    identity: dict[str, str],
    es: CMAES,
    value: ValueFunction,
    optimiser: torch.optim.Adam,
    history: History,
) -> None:
    arrays = state_arrays({"value": value}, {"adam": optimiser}, history)
    metadata = dict(identity)
    for name, entry in es.state_dict().items():
        if isinstance(entry, str):
            metadata[f"es/{name}"] = entry
        else:
            arrays[f"es/{name}"] = entry
    save_arrays(path, arrays, metadata)


def _resume(
    path: Path,
    identity: dict[str, str],
    value: ValueFunction,
    optimiser: torch.optim.Adam,
    history: History,
) -> CMAES:
    arrays, metadata = open_arrays(path)
    check_identity(path, metadata, identity)
    restore(path, arrays, {"value": value}, {"adam": optimiser}, history)
    state: dict[str, Any] = {name: np.array(array) for name, array in arrays.items()}
    state |= metadata
    prefix = "es/"
    return CMAES.from_state(
        {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
    )
