"""M in the one loop of dreams, held to the fused kernel that evolution dreams with."""

import math
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from wmlib.agents.world_models.controller import ControllerConfig, LinearController
from wmlib.agents.world_models.dream import Dream
from wmlib.agents.world_models.dream_env import DreamEnv
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig
from wmlib.agents.world_models.starts import Starts
from wmlib.agents.world_models.world import World, WorldState, payment
from wmlib.imagination import Trajectory, imagine
from wmlib.training import seeded

CONFIG = MemoryConfig(
    latent=3, actions=2, hidden=6, mixtures=4, reward="normal", reward_scale=2.0,
    reward_offset=-0.3, cost_weight=1.0,
)  # fmt: skip
SHAPE = ControllerConfig(3, 6, ("tanh", "sigmoid"))


def model(config: MemoryConfig = CONFIG) -> MDNRNN:
    memory = seeded(1, lambda: MDNRNN(config))
    with torch.no_grad():
        for name, parameter in memory.named_parameters():
            if "bias_hh" not in name:
                parameter.mul_(3)
    return memory


def starting(s: int) -> Starts:
    g = torch.Generator().manual_seed(3)
    return Starts(*(torch.tanh(torch.randn(s, size, generator=g)) for size in (3, 6, 6)))


def noise(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def begin(world: World, starts: Starts) -> WorldState:
    return world.begin(starts.z, starts.hidden, starts.cell)


def population(p: int, shape: ControllerConfig = SHAPE) -> LinearController:
    return LinearController(np.random.default_rng(0).normal(size=(p, shape.parameters)), shape)


def dreamed_by(
    c: LinearController, world: World, starts: Starts, horizon: int, **paid: float | None
) -> Trajectory[WorldState]:
    """The dreams of one C in the one loop."""

    def act(features: Tensor) -> Tensor:
        return c.act(features[None, :, : c.config.features])[0]

    pay = payment(world.memory, **paid)
    return imagine(world, act, begin(world, starts), horizon, noise(), pay)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 1.6])
@pytest.mark.parametrize(
    ("changed", "squash"),
    [({}, ("tanh", "sigmoid")), ({"reward": "poisson"}, ("tanh", "clipped_tanh")),
     ({"mixtures": 1}, ("argmax", "argmax"))],
)  # fmt: skip
@torch.no_grad()
def test_the_fused_kernel_dreams_as_the_one_loop(
    temperature: float, changed: dict, squash: tuple[str, ...]
) -> None:
    memory, starts = model(replace(CONFIG, **changed)), starting(5)
    c, world = population(3, ControllerConfig(3, 6, squash)), World(memory, temperature)
    paid = {"pace": 0.4, "price": 1.5}
    fused = Dream(memory, temperature, **paid).imagine(c, starts, 6, noise())
    assert fused.rewards.std() > 0.1 and fused.continues.std() > 0.01
    for p in range(3):
        alone = LinearController(c.parameters[p], c.config)
        plain = dreamed_by(alone, world, starts, 6, **paid)
        torch.testing.assert_close(plain.features, fused.features[:, p], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(plain.rewards, fused.rewards[:, p], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(plain.continues, fused.continues[:, p], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(plain.last.cost, fused.costs[-1, p], rtol=1e-4, atol=1e-4)


def test_m_without_a_head_for_the_cost_charges_nothing() -> None:
    memory = model(replace(CONFIG, cost_weight=0.0))
    dreamed = dreamed_by(population(1), World(memory), starting(3), 4)
    assert not dreamed.last.cost.any()
    assert dreamed.rewards.isfinite().all()
    for paid, message in (
        ({"price": 1.0}, "a price of 1.0 needs an M that foresees a cost"),
        ({"pace": 0.0}, "pace must be a positive number, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            payment(memory, **paid)


def test_the_environment_pays_as_the_dream_does() -> None:
    space = gym.spaces.Box(np.float32([-1, 0]), np.float32([1, 1]))
    memory, starts, action = model(), starting(4), np.float32([0.4, 0.9])
    plain, paying = DreamEnv(memory, starts, space), DreamEnv(
        memory, starts, space, pace=0.4, price=1.5
    )  # fmt: skip
    most = -0.3 + 2.0 * 0.4
    for env in (plain, paying):
        env.reset(seed=2)
    for _ in range(10):
        seen, reward, *_ = plain.step(action)
        again, paid, *_ = paying.step(action)
        assert np.array_equal(seen, again)
        with torch.no_grad():
            cost = float(torch.sigmoid(memory.predict(torch.from_numpy(seen[3:])).cost))
        assert paid == pytest.approx(min(reward, 2 * most - reward) - 1.5 * cost, abs=1e-5)
    for options, message in (
        ({"price": -1.0}, r"price must be in \[0, 1e\+06\], got -1"),
        ({"temperature": math.nan}, r"temperature must be in \[1e-06, 1e\+06\], got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            DreamEnv(memory, starts, space, **options)
