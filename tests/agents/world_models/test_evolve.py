"""C evolved in M's dreams."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wmlib.agents.world_models.agent import Agent, after_real_steps
from wmlib.agents.world_models.controller import ControllerConfig, LinearController
from wmlib.agents.world_models.dream import Dream
from wmlib.agents.world_models.evolve import DreamTrainingConfig, Evolved, train_in_dream
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig
from wmlib.agents.world_models.starts import Starts
from wmlib.agents.world_models.vision import VAE, VisionConfig
from wmlib.checkpoint import made_by, save_module
from wmlib.storage import DamagedFileError
from wmlib.training import NotFiniteError, seeded

MEMORY = MemoryConfig(latent=2, actions=3, hidden=4, mixtures=2, reward="normal")
SHAPE = ControllerConfig(latent=2, hidden=4)
TINY = DreamTrainingConfig(
    generations=12,
    population=6,
    starts=8,
    horizon=4,
    sigma=0.3,
    discount=0.9,
    temperature=1.0,
    value=True,
    value_updates=2,
    value_starts=8,
)


def steering_pays() -> MDNRNN:
    """An M that pays tanh(tanh(3 steering)) at each decision and forgets everything else."""
    memory = seeded(0, lambda: MDNRNN(MEMORY))
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter.zero_()
        i, f, _, o = memory.lstm.bias_ih_l0.view(4, 4)
        for gate, bias in ((i, 20.0), (f, -20.0), (o, 20.0)):
            gate.fill_(bias)
        memory.lstm.weight_ih_l0[8, 2] = 3.0  # the first unit of g reads the steering
        memory.reward.weight[0, 0] = 1.0
        memory.end.bias.fill_(-20.0)
    return memory


def starting(n: int = 30, seed: int = 0) -> Starts:
    g = torch.Generator().manual_seed(seed)
    return Starts(torch.randn(n, 2, generator=g), torch.zeros(n, 4), torch.zeros(n, 4))


def train(config: DreamTrainingConfig = TINY, **options: object) -> Evolved:
    arguments = {"seed": 3, "every": 4, "progress": False} | options
    return train_in_dream(steering_pays(), starting(), SHAPE, config, **arguments)


def kill_at(monkeypatch: pytest.MonkeyPatch, generation: int) -> None:
    """The process dies while it dreams generation `generation`, counted from 1."""
    calls, dream = 0, Dream.returns

    def returns(self: Dream, *arguments: object, **options: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == generation:
            raise KeyboardInterrupt
        return dream(self, *arguments, **options)

    monkeypatch.setattr(Dream, "returns", returns)


def same(a: Evolved, b: Evolved) -> bool:
    values = zip(a.value.state_dict().values(), b.value.state_dict().values(), strict=True)
    return (
        torch.equal(a.controller.parameters, b.controller.parameters)
        and a.history == b.history
        and all(torch.equal(x, y) for x, y in values)
    )


@pytest.mark.parametrize("value", [True, False])
def test_it_learns_what_pays_in_the_dream(value: bool) -> None:
    evolved = train(replace(TINY, generations=40, value=value))
    history = evolved.history
    assert all(len(numbers) == 40 for numbers in history.values())
    actions = evolved.controller.act(torch.cat(starting()[:2], 1)[None])
    assert actions[..., 0].mean() > 0.7  # it steers to the side that pays
    returns = history["dream_return"]
    assert abs(returns[0]) < 0.5 < np.mean(returns[-5:])
    if value:
        assert np.mean(returns[-5:]) > 3.2  # the four decisions of the horizon alone pay 2.6


def test_the_history_is_what_the_dreams_returned() -> None:
    evolved = train(replace(TINY, value=False, generations=3))
    assert evolved.history["best"][0] >= evolved.history["dream_return"][0]
    assert all(spread > 0 for spread in evolved.history["spread"])


@pytest.mark.parametrize("generation", [1, 4, 5, 10, 12])
def test_a_killed_run_ends_with_the_same_bits(
    tmp_path: Path, generation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, state = train(), tmp_path / "state.safetensors"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        kill_at(patch, generation)
        train(state=state)
    assert state.exists() == (generation > 4)
    assert same(train(state=state), undisturbed)
    with monkeypatch.context() as patch:
        kill_at(patch, 1)
        assert same(train(state=state), undisturbed)  # nothing is left to do


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    train(state=state)
    with pytest.raises(ValueError, match=r"state.safetensors is the state of another run"):
        train(state=state, seed=4)
    with pytest.raises(ValueError, match="another run"):
        train(replace(TINY, horizon=5), state=state)
    memory, options = steering_pays(), {"seed": 3, "state": state, "progress": False}
    with pytest.raises(ValueError, match="another run"):
        train_in_dream(memory, starting(seed=1), SHAPE, TINY, **options)
    for name in ("hidden", "cell"):
        other = starting()._replace(**{name: torch.ones(30, 4)})
        with pytest.raises(ValueError, match="another run, with another dreams"):
            train_in_dream(memory, other, SHAPE, TINY, **options)
    with pytest.raises(ValueError, match="another run"):
        train_in_dream(memory, starting(), ControllerConfig(2, 0), TINY, **options)
    with torch.no_grad():
        memory.reward.bias += 1
    with pytest.raises(ValueError, match="another run"):
        train_in_dream(memory, starting(), SHAPE, TINY, **options)
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=r"state.safetensors"):
        train(state=state)


def test_a_c_that_sees_z_alone_is_trained_too() -> None:
    evolved = train_in_dream(
        steering_pays(), starting(), ControllerConfig(2, 0), TINY, seed=0, progress=False
    )
    assert evolved.controller.parameters.shape == (1, 9)


def test_seeds_decide_and_global_generators_do_not() -> None:
    torch.manual_seed(0)
    first, state = train(), torch.random.get_rng_state()
    torch.manual_seed(1)
    assert same(train(), first)
    assert not same(train(seed=4), first)
    torch.manual_seed(0)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_is_out_of_range_is_refused() -> None:
    for name, value in (
        ("generations", 0), ("population", 1), ("starts", 0), ("horizon", 0), ("value_starts", 0),
        ("temperature", 0.0), ("temperature", float("nan")), ("sigma", 0.0), ("discount", 0.0),
        ("discount", 1.5), ("value_updates", 0), ("generations", 2.5), ("price", float("nan")),
        ("temperature", "hot"), ("discount", float("nan")), ("population", True),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=rf"{name} must be .*got {value!r}"):
            DreamTrainingConfig(**{name: value})
    with pytest.raises(ValueError, match="seed must be at most"):
        train(seed=2**63)
    for name, value in (("seed", -1), ("every", 0)):
        with pytest.raises(ValueError, match=f"{name} must be at least ., got {value}"):
            train(**{name: value})
    with pytest.raises(
        ValueError, match=r"latents and actions of C must be \(2, 3\), got \(32, 3\)"
    ):
        train_in_dream(steering_pays(), starting(), progress=False)
    for name in ("memory", "starts", "controller", "config"):
        parts = {
            "memory": steering_pays(),
            "starts": starting(),
            "controller": SHAPE,
            "config": TINY,
        }
        with pytest.raises(TypeError, match=f"{name} must be an? .*, got 'x'"):
            train_in_dream(**{**parts, name: "x"}, progress=False)
    with pytest.raises(TypeError, match="agent must be an Agent, got None"):
        after_real_steps(None, seed=0)
    with pytest.raises(ValueError, match=r"starts.z must be .* got .* \(0, ."):
        train_in_dream(steering_pays(), starting(0), SHAPE, progress=False)


def test_dreams_that_are_not_finite_are_named_with_their_generation() -> None:
    memory = steering_pays()
    with torch.no_grad():
        memory.reward.bias.fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="dreamed return in generation 0 is nan"):
        train_in_dream(memory, starting(), SHAPE, replace(TINY, value=False), progress=False)


def agent() -> Agent:
    shape = ControllerConfig(4, 5)
    return Agent(
        seeded(0, lambda: VAE(VisionConfig(latent=4, channels=(2, 2, 4, 4)))),
        seeded(0, lambda: MDNRNN(MemoryConfig(latent=4, hidden=5, mixtures=2))),
        LinearController(np.zeros(shape.parameters), shape),
    )


def test_an_agent_is_loaded_from_its_folder(tmp_path: Path) -> None:
    made, whole = made_by(seed=0, steps=1, seconds=0.0), agent()
    save_module(tmp_path / "vision.safetensors", whole.vision, "vision", made)
    save_module(tmp_path / "memory.safetensors", whole.memory, "memory", made)
    with pytest.raises(FileNotFoundError, match=r"controller.safetensors"):
        Agent.load(tmp_path)
    whole.controller.save(tmp_path / "controller.safetensors", made)
    loaded = Agent.load(str(tmp_path))
    frame = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    actions = []
    for one in (whole, loaded):
        policy = one.policy()
        policy.reset(np.random.default_rng(0))
        actions.append([policy.act(frame) for _ in range(3)])
    assert np.array_equal(*actions)


def test_a_start_after_real_steps() -> None:
    starts = after_real_steps(agent(), seed=1, steps=6)
    assert [part.shape for part in starts] == [(1, 4), (1, 5), (1, 5), (1,)]
    assert starts.rows.tolist() == [5]
    assert starts.hidden.any()
    again = after_real_steps(agent(), seed=1, steps=6)
    assert all(map(torch.equal, starts, again))
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        after_real_steps(agent(), seed=1, steps=0)


def test_a_price_is_charged_in_evolutions_dreams() -> None:
    """Steering pays, and costs: where it costs much, it is no longer worth it."""
    memory = seeded(0, lambda: MDNRNN(replace(MEMORY, cost_weight=1.0)))
    memory.load_state_dict(steering_pays().state_dict(), strict=False)
    assert memory.cost is not None
    with torch.no_grad():
        memory.cost.weight.zero_()
        memory.cost.weight[0, 0] = 6.0  # the first unit of h knows the steering
        memory.cost.bias.fill_(-3.0)

    def steers(price: float) -> float:
        config = replace(TINY, generations=40, price=price)
        evolved = train_in_dream(memory, starting(), SHAPE, config, seed=3, progress=False)
        actions = evolved.controller.act(torch.cat(starting()[:2], 1)[None])
        return float(actions[..., 0].mean())

    assert steers(0.0) > 0.7
    assert steers(30.0) < 0.3
    with pytest.raises(ValueError, match="a price of 1 needs an M that foresees a cost"):
        train(replace(TINY, price=1))
    with pytest.raises(ValueError, match=r"price must be in \[0, 1e\+06\], got -1"):
        replace(TINY, price=-1)
