"""C improved by gradients through dreams, held to the dreams of `dream.py` and to differences."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wmlib.agents.world_models import gradients
from wmlib.agents.world_models.controller import ControllerConfig, LinearController
from wmlib.agents.world_models.dream import Dream
from wmlib.agents.world_models.gradients import (
    BehaviourConfig,
    EvenWorld,
    Learned,
    policy_of,
    train_behaviour,
)
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig
from wmlib.agents.world_models.starts import Starts
from wmlib.agents.world_models.value import ValueConfig
from wmlib.agents.world_models.world import WorldState
from wmlib.imagination import Trajectory, imagine
from wmlib.storage import DamagedFileError
from wmlib.training import NotFiniteError, seeded

MEMORY = MemoryConfig(latent=3, actions=2, hidden=5, mixtures=2)
SHAPE = ControllerConfig(3, 5, ("tanh", "sigmoid"))
CONFIG = BehaviourConfig(
    updates=3, starts=16, horizon=4, temperature=1.0, pace=None, noise=0.05,
    value=ValueConfig(features=8, units=6, discount=0.9),
)  # fmt: skip


def model(config: MemoryConfig = MEMORY) -> MDNRNN:
    return seeded(3, lambda: MDNRNN(config))


def moments(n: int) -> Starts:
    rng = torch.Generator().manual_seed(5)
    return Starts(*(0.5 * torch.randn(n, size, generator=rng) for size in (3, 5, 5)))


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_controller(shape: ControllerConfig = SHAPE) -> LinearController:
    numbers = np.random.default_rng(1).normal(size=shape.parameters)
    return LinearController(numbers, shape)


def dreamed_by(
    c: LinearController, memory: MDNRNN, starts: Starts, horizon: int, *,
    temperature: float = 1.0, outlier: float = math.inf, shake: float = 0.0,
) -> Trajectory[WorldState]:  # fmt: skip
    world, generator = EvenWorld(memory, temperature, outlier), noise()
    begin = world.begin(*starts.dreamed().values())
    return imagine(world, policy_of(c, shake, generator), begin, horizon, generator)


@pytest.mark.parametrize("temperature", [0.5, 1.3])
def test_it_is_the_dream_that_evolution_dreams(temperature: float) -> None:
    memory = model(replace(MEMORY, cost_weight=1.0))
    c, starts = some_controller(), moments(7)
    ours = dreamed_by(c, memory, starts, 6, temperature=temperature)
    theirs = Dream(memory, temperature).imagine(c, starts, 6, noise())
    for a, b in (
        (ours.features, theirs.features), (ours.rewards, theirs.rewards),
        (ours.continues, theirs.continues), (ours.last.cost[None], theirs.costs[-1:]),
    ):  # fmt: skip
        torch.testing.assert_close(a.detach(), b[:, 0], rtol=1e-4, atol=1e-5)


def test_the_gradient_is_that_of_central_differences() -> None:
    memory = model(replace(MEMORY, mixtures=1)).requires_grad_(False)  # no choice, so smooth
    starts, c = moments(5), some_controller()

    def dreamed(parameters: torch.Tensor) -> torch.Tensor:
        c = LinearController(parameters, SHAPE)
        return dreamed_by(c, memory, starts, 4, shake=0.1).rewards.double().sum()

    parameters = c.parameters[0].clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(dreamed(parameters), parameters)
    step = 1e-2
    with torch.no_grad():
        differences = torch.stack([
            (dreamed(parameters + step * e) - dreamed(parameters - step * e)) / (2 * step)
            for e in torch.eye(SHAPE.parameters)
        ])  # fmt: skip
    torch.testing.assert_close(gradient.double(), differences, rtol=2e-2, atol=2e-3)


def test_no_dream_pulls_much_harder_than_the_median_one() -> None:
    memory, starts, c = model().requires_grad_(False), moments(9), some_controller()
    weights = torch.tensor([1.0] * 8 + [1e4])  # the last dream is worth ten thousand others

    def gradient(outlier: float, weights: torch.Tensor) -> torch.Tensor:
        parameters = c.parameters[0].clone().requires_grad_(True)
        dreams = dreamed_by(
            LinearController(parameters, SHAPE), memory, starts, 3, outlier=outlier
        )
        return torch.autograd.grad((dreams.rewards * weights).sum(), parameters)[0]

    plain, even = gradient(1e9, torch.ones(9)), gradient(2.0, weights)
    assert gradient(1e9, weights).norm() > 100 * plain.norm()
    assert even.norm() < 5 * plain.norm()
    torch.testing.assert_close(gradient(1e9, weights), gradient(float("inf"), weights))


def learn(memory: MDNRNN, config: BehaviourConfig = CONFIG, **options: object) -> Learned:
    arguments = {"controller": SHAPE, "seed": 1, "progress": False} | options
    return train_behaviour(memory, moments(64), config=config, **arguments)


@pytest.mark.parametrize(
    ("shape", "bootstrap"),
    [(SHAPE, True), (SHAPE, False), (ControllerConfig(3, 0, ("tanh", "sigmoid")), True)],
)
def test_c_learns_to_earn_more_in_dreams_it_was_not_trained_on(
    shape: ControllerConfig, bootstrap: bool
) -> None:
    memory = model(replace(MEMORY, reward="normal"))
    config = replace(CONFIG, updates=60, learning_rate=3e-2, bootstrap=bootstrap)
    learned = learn(memory, config, controller=shape)
    assert [len(numbers) for numbers in learned.history.values()] == [60] * 3
    other = moments(500)

    def earns(c: LinearController) -> torch.Tensor:
        return Dream(memory).returns(c, other, horizon=20, generator=noise(9)).mean(1)

    nothing = earns(LinearController(np.zeros(shape.parameters), shape))
    drawn = torch.randn(200, shape.parameters, generator=noise(2))
    best = earns(LinearController(drawn, shape)).max()  # what there is to earn
    assert earns(learned.controller) > nothing + 0.5 * (best - nothing)
    assert all(p.requires_grad for p in memory.reward.parameters())
    again = learn(memory, config, controller=shape)
    assert torch.equal(learned.controller.parameters, again.controller.parameters)


def test_c_avoids_what_has_a_price() -> None:
    memory = model(replace(MEMORY, reward="normal", cost_weight=1.0))
    assert memory.cost is not None
    with torch.no_grad():
        memory.cost.weight.mul_(10)

    def found(price: float) -> tuple[float, float]:
        config = replace(CONFIG, updates=80, learning_rate=3e-2, price=price)
        history = learn(memory, config).history
        return history["dream_return"][-1], history["dream_cost"][-1]

    (rich, careless), (poor, careful) = found(0.0), found(20.0)
    assert careful < careless - 0.01
    assert poor < rich  # nothing is for nothing
    with pytest.raises(ValueError, match=r"a price of 20.0 needs an M that foresees a cost"):
        learn(model(), replace(CONFIG, price=20.0))
    with pytest.raises(ValueError, match=r"price must be in \[0, 1e\+06\], got -1"):
        replace(CONFIG, price=-1.0)


def test_c_keeps_to_the_pace() -> None:
    memory = model(replace(MEMORY, reward="normal"))
    with torch.no_grad():
        memory.reward.bias.fill_(1.0)

    def earned(pace: float | None) -> list[float]:
        config = replace(CONFIG, updates=80, learning_rate=3e-2, pace=pace)
        returns = learn(memory, config).history["dream_return"]
        return [total / config.horizon for total in returns]

    first, *_, most = earned(None)
    assert most > first + 0.05
    for share in (0.3, 0.6):
        pace = first + share * (most - first)
        assert first < earned(pace)[-1] < pace + 0.15 * (most - first)


def test_a_dream_that_is_not_finite_stops_it_by_name() -> None:
    memory = model()
    with torch.no_grad():
        memory.reward.bias.fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="the dreamed return at update 0 is nan"):
        learn(memory)
    assert memory.reward.bias.requires_grad


@pytest.mark.parametrize("bootstrap", [True, False])
def test_a_killed_training_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bootstrap: bool
) -> None:
    memory, config = model(), replace(CONFIG, updates=9, bootstrap=bootstrap)
    expected, state = learn(memory, config), tmp_path / "state.safetensors"
    dream, done = gradients.steps, []

    def dies(*arguments: object, **options: object) -> object:
        done.append(1)
        if len(done) in (1, 5, 9):
            raise KeyboardInterrupt
        return dream(*arguments, **options)

    monkeypatch.setattr(gradients, "steps", dies)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            learn(memory, config, state=state, every=2)
    assert len(done) == 9
    for _ in range(2):  # the second time nothing is left to do
        resumed = learn(memory, config, state=state, every=2)
        assert torch.equal(resumed.controller.parameters, expected.controller.parameters)
        assert resumed.history == expected.history
        pairs = zip(
            resumed.value.state_dict().values(), expected.value.state_dict().values(), strict=True
        )
        assert all(torch.equal(a, b) for a, b in pairs)
    assert len(done) == 9 + 5  # four were in the state


def test_the_state_of_another_training_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    learn(model(), state=state)
    other = seeded(4, lambda: MDNRNN(MEMORY))
    for changed, name in (
        ({"seed": 2}, "seed"), ({"config": replace(CONFIG, noise=0.0)}, "config"),
        ({"memory": other}, "dreams"),
    ):  # fmt: skip
        arguments = {"memory": model(), "config": CONFIG, "state": state} | changed
        with pytest.raises(ValueError, match=f"state of another run, with another {name} "):
            learn(**arguments)
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=r"state\.safetensors"):
        learn(model(), state=state)


@pytest.mark.parametrize(
    ("name", "value"),
    [("updates", 0), ("starts", 0), ("horizon", 0), ("noise", -1.0), ("temperature", 0.0),
     ("outlier", 0.0), ("learning_rate", 0.0), ("pace", 0.0), ("updates", 2.5),
     ("noise", float("nan")), ("price", "8"), ("outlier", float("nan")), ("learning_rate", None)],
)  # fmt: skip
def test_configurations_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value!r}"):
        replace(CONFIG, **{name: value})


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        learn(model(), seed=-1)
    for name in ("memory", "starts", "controller", "config"):
        parts = {"memory": model(), "starts": moments(4), "controller": None, "config": CONFIG}
        with pytest.raises(TypeError, match=f"{name} must be an? .*, got 'x'"):
            train_behaviour(**{**parts, name: "x"}, progress=False)
    with pytest.raises(ValueError, match="features of the value must be 8, got 288"):
        learn(model(), replace(CONFIG, value=ValueConfig()))
    wide = ControllerConfig(4, 5, ("tanh", "sigmoid"))
    with pytest.raises(ValueError, match=r"latents and actions of C must be"):
        learn(model(), controller=wide)


def test_a_choice_has_no_gradient() -> None:
    with pytest.raises(ValueError, match=r"a choice among 2 actions has no gradient: evolve C"):
        train_behaviour(model(), moments(4), ControllerConfig(3, 5, ("argmax",) * 2), CONFIG)
