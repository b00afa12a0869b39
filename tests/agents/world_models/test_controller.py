"""C, the linear controller, one or a population at once."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from wmlib.agents.world_models.controller import (
    ControllerConfig,
    LinearController,
    above_zero,
    squash,
)
from wmlib.checkpoint import made_by, save_checkpoint
from wmlib.storage import DamagedFileError

SMALL = ControllerConfig(latent=2, hidden=3)
MADE = made_by(seed=0, steps=1, seconds=0.1)


def population(p: int, config: ControllerConfig = SMALL, seed: int = 0) -> LinearController:
    rng = np.random.default_rng(seed)
    return LinearController(rng.normal(size=(p, config.parameters)), config)


def test_the_papers_867_parameters() -> None:
    config = ControllerConfig()
    assert config.parameters == 3 * (32 + 256) + 3 == 867
    assert SMALL.parameters == 18
    assert ControllerConfig(hidden=0).parameters == 3 * 33


@pytest.mark.parametrize("shared", [False, True])
def test_act_equals_an_explicit_loop(shared: bool) -> None:
    c = population(4)
    features = np.random.default_rng(1).normal(size=(1 if shared else 4, 6, 5)).astype(np.float32)
    actions = c.act(torch.from_numpy(features))
    assert actions.shape == (4, 6, 3)
    for p in range(4):
        numbers = c.parameters[p].tolist()
        matrix, bias = np.reshape(numbers[:15], (3, 5)), numbers[15:]
        for s in range(6):
            x = features[0 if shared else p, s]
            raw = [sum(w * v for w, v in zip(row, x, strict=True)) for row in matrix]
            steer, gas, brake = (r + b for r, b in zip(raw, bias, strict=True))
            expected = [math.tanh(steer), 1 / (1 + math.exp(-gas)), max(0.0, math.tanh(brake))]
            assert np.allclose(actions[p, s], expected, atol=1e-5)


def test_actions_stay_in_their_ranges_and_reach_them() -> None:
    raw = torch.linspace(-30, 30, 61)[:, None].expand(-1, 3)
    steer, gas, brake = squash(raw, ("tanh", "sigmoid", "clipped_tanh")).T
    assert (steer.min(), steer.max()) == (-1, 1)
    assert (brake.min(), brake.max()) == (0, 1)
    assert (brake[:31] == 0).all()
    assert 0 <= gas.min() < 1e-6 < 1 - 1e-6 < gas.max() <= 1
    space = gym.spaces.Box(np.float32([-1, 0, 0]), np.float32([1, 1, 1]))
    actions = population(3).act(100 * torch.randn(3, 50, 5)).reshape(-1, 3).numpy()
    assert all(space.contains(action) for action in actions)


def test_a_c_for_other_spaces() -> None:
    mixed = gym.spaces.Box(np.float32([-1, 0]), np.float32([1, 1]))
    config = ControllerConfig.for_space(mixed, 4, 5)
    assert config == ControllerConfig(4, 5, ("tanh", "sigmoid"))
    for space in (
        gym.spaces.MultiBinary(3), gym.spaces.Box(-2, 2, (1,)), gym.spaces.Box(-1, 1, (2, 2))
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"\[-1, 1\] or \[0, 1\], got"):
            ControllerConfig.for_space(space, 4, 5)


def test_a_c_that_chooses_takes_the_largest_logit(tmp_path: Path) -> None:
    config = ControllerConfig.for_space(gym.spaces.Discrete(4), 2, 3)
    assert (config.squash, config.choices, SMALL.choices) == (("argmax",) * 4, 4, None)
    c, features = population(3, config), torch.randn(3, 50, 5)
    chosen = c.act(features)
    logits = torch.einsum("paf,psf->psa", c.weight, features) + c.bias[:, None]
    assert torch.equal(chosen.argmax(-1), logits.argmax(-1))
    assert torch.equal(chosen.sum(-1), torch.ones(3, 50)) and chosen.dtype == torch.float32
    pushed = c.act(features, 1e6 * torch.eye(4)[2].expand(3, 50, 4))
    assert (pushed.argmax(-1) == 2).all()
    c.save(tmp_path / "c.safetensors", MADE)
    loaded = LinearController.load(tmp_path / "c.safetensors")
    assert loaded.config == config and torch.equal(loaded.act(features), chosen)
    with pytest.raises(ValueError, match="argmax for all actions or none"):
        ControllerConfig(squash=("argmax", "tanh"))
    with pytest.raises(ValueError, match=r"must be Discrete\(n\) from 0, got .*, start=1\)"):
        ControllerConfig.for_space(gym.spaces.Discrete(3, start=1), 4, 5)


def test_one_controller_is_a_population_of_one() -> None:
    many = population(3)
    features = torch.randn(1, 4, 5)
    alone = LinearController(many.parameters[1].numpy(), SMALL)
    assert torch.allclose(alone.act(features)[0], many.act(features)[1])


def test_save_and_load(tmp_path: Path) -> None:
    path, c = tmp_path / "controller.safetensors", population(1)
    c.save(path, MADE)
    loaded = LinearController.load(path)
    assert loaded.config == SMALL
    assert torch.equal(loaded.parameters, c.parameters)
    many = population(3)
    many.save(path, MADE)
    assert torch.equal(LinearController.load(path).parameters, many.parameters)


WRONG_ARRAYS = {
    "too few": {"parameters": np.zeros((1, 17), np.float32)},
    "one axis": {"parameters": np.zeros(18, np.float32)},
    "nobody": {"parameters": np.zeros((0, 18), np.float32)},
    "int32": {"parameters": np.zeros((1, 18), np.int32)},
    "float64": {"parameters": np.zeros((1, 18))},
    "another name": {"weights": np.zeros((1, 18), np.float32)},
    "one more": {name: np.zeros((1, 18), np.float32) for name in ("parameters", "weights")},
}


@pytest.mark.parametrize("arrays", WRONG_ARRAYS.values(), ids=WRONG_ARRAYS)
def test_other_arrays_than_a_cs_are_refused(tmp_path: Path, arrays: dict) -> None:
    path = tmp_path / "controller.safetensors"
    save_checkpoint(path, arrays, kind="controller", config=SMALL, made=MADE)
    message = r"controller.safetensors: arrays of other names, shapes or dtypes than its controller"
    with pytest.raises(DamagedFileError, match=message):
        LinearController.load(path)


def test_another_configuration_than_a_cs_is_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Other:
        latent: int = 2
        hidden: str = "3"

    path, arrays = tmp_path / "controller.safetensors", {"parameters": np.zeros((1, 18))}
    save_checkpoint(path, arrays, kind="controller", config=Other(), made=MADE)
    with pytest.raises(DamagedFileError, match=r"not the configuration of a controller .*hidden"):
        LinearController.load(path)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"of shape \(P, 18\) .*, got Tensor of shape \(1, 17\)"):
        LinearController(np.zeros(17), SMALL)
    with pytest.raises(ValueError, match=r"got Tensor of shape \(2, 2, 18\)"):
        LinearController(np.zeros((2, 2, 18)), SMALL)
    with pytest.raises(ValueError, match="parameters must be finite, got nan"):
        LinearController(np.full(18, np.nan), SMALL)
    for shape in ((4, 5), (3, 4, 5), (2, 4, 6)):
        with pytest.raises(ValueError, match=r"features must be .* \(2 or 1, S, 5\) .*, got"):
            population(2).act(torch.zeros(shape))
    with pytest.raises(ValueError, match="at least one input"):
        ControllerConfig(0, 0)
    with pytest.raises(ValueError, match=r"squash must name argmax .*, got \(\)"):
        ControllerConfig(squash=())
    with pytest.raises(ValueError, match=r"squash must be a tuple .*, got \('tanh', 'relu'\)"):
        ControllerConfig(squash=("tanh", "relu"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ControllerConfig("32"), "latent must be a whole number, got '32'"),
        (lambda: ControllerConfig(hidden=2.5), "hidden must be a whole number, got 2.5"),
        (
            lambda: ControllerConfig(squash="tanh"),
            r"squash must be a tuple \('tanh' or .*, ...\), got 't",
        ),
        (
            lambda: ControllerConfig(squash=(np.zeros(2),)),
            r"squash must be a tuple \('tanh' or .*, ...\)",
        ),
        (lambda: ControllerConfig.for_space(3, 4, 5), "space must be a Space, got 3"),
        (
            lambda: ControllerConfig.for_space(gym.spaces.Box(0, 1, (2,)), "4", 5),
            "latent must be a",
        ),
        (
            lambda: ControllerConfig.for_space(gym.spaces.Box(0, 1, (2,), int), 4, 5),
            "Boxes of floats",
        ),
        (
            lambda: LinearController([0.0] * 18, SMALL),
            "parameters must be an array or a Tensor, got",
        ),
        (
            lambda: LinearController(np.array(["x"] * 18), SMALL),
            "parameters must be .* real numbers, got .* of <U1",
        ),
        (lambda: LinearController(np.ones(18, complex), SMALL), "real numbers, got .* of complex"),
        (
            lambda: LinearController(np.ones(18), "small"),
            "config must be a ControllerConfig or None",
        ),
        (lambda: population(2).act(np.zeros((2, 4, 5))), "features must be a Tensor .*, got nd"),
        (lambda: population(2).act([[1.0]]), r"features must be a Tensor .*, got \[\[1.0\]\]"),
        (
            lambda: population(2).act(torch.zeros(2, 4, 5).double()),
            "of float32, got Tensor .* of float64",
        ),
        (lambda: population(2).act(torch.zeros(2, 4, 5), 0.1), "noise must be a Tensor .* got 0.1"),
        (
            lambda: population(2).act(torch.zeros(2, 4, 5), torch.zeros(2, 5, 3)),
            r"noise must be a Tensor of shape \(2, 4, 3\) of float32, got .* \(2, 5, 3\)",
        ),
        (lambda: LinearController.load(3), "path must be a word or a Path, got 3"),
    ],
)
def test_input_of_another_kind_is_one_clear_error(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_brake_that_was_let_go_can_be_found_again() -> None:
    x = torch.tensor([-0.5, -0.5, 0.5, 0.5], requires_grad=True)
    wanted = torch.tensor([1.0, -1.0, 1.0, -1.0])  # descent moves x against the gradient
    clipped = above_zero(x)
    assert torch.equal(clipped, x.clamp(min=0))
    (gradient,) = torch.autograd.grad((clipped * -wanted).sum(), x)
    assert gradient.tolist() == [-1.0, 0.0, -1.0, 1.0]
