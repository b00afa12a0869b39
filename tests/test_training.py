"""The one training loop: Adam, the check for finite losses, and going on after a kill."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wmlib.storage import DamagedFileError, open_arrays
from wmlib.training import NotFiniteError, fit, restore, seeded, state_arrays

TARGET = torch.tensor([[1.0, -2.0, 0.5]])


def model(seed: int = 0) -> nn.Linear:
    return seeded(seed, lambda: nn.Linear(3, 1))


def losses_of(module: nn.Linear, kill_at: int | None = None) -> Callable:
    calls = 0

    def losses(rng: np.random.Generator) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        if calls == kill_at:
            raise KeyboardInterrupt
        x = torch.from_numpy(rng.standard_normal((8, 3), dtype=np.float32))
        error = (module(x) - x @ TARGET.T).square().mean()
        size = module.weight.square().sum()
        return {"total": error + 0.01 * size, "error": error}

    return losses


def run(module: nn.Linear, kill_at: int | None = None, **changed: object) -> dict:
    arguments = {"steps": 30, "learning_rate": 0.1, "seed": 5, "clip": 1.0, "every": 4} | changed
    return fit(module, losses_of(module, kill_at), progress=False, **arguments)


def same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_it_is_adam_with_a_clipped_gradient_and_a_cooldown() -> None:
    module = model()
    values = {name: p.detach().double().numpy().copy() for name, p in module.named_parameters()}
    moments = {name: [np.zeros_like(v), np.zeros_like(v)] for name, v in values.items()}
    history = run(module, cooldown=0.5)

    twin = model()
    losses = losses_of(twin)
    for step in range(30):
        with torch.no_grad():
            for name, parameter in twin.named_parameters():
                parameter.copy_(torch.from_numpy(values[name]))
        named = losses(np.random.default_rng([5, step]))
        assert named["error"].item() == pytest.approx(history["error"][step], rel=1e-4)
        gradients = torch.autograd.grad(named["total"], list(twin.parameters()))
        norm = np.sqrt(sum(float(g.double().square().sum()) for g in gradients))
        rate = 0.1 * min(1.0, (30 - step) / 15)
        for name, g in zip(values, gradients, strict=True):
            g = g.double().numpy() * min(1.0, 1.0 / (norm + 1e-6))
            first, second = moments[name]
            first += 0.1 * (g - first)
            second += 0.001 * (g**2 - second)
            corrected = first / (1 - 0.9 ** (step + 1))
            scale = np.sqrt(second / (1 - 0.999 ** (step + 1))) + 1e-8
            values[name] -= rate * corrected / scale
    for name, parameter in module.named_parameters():
        assert np.allclose(parameter.detach(), values[name], atol=1e-4)
    assert history["total"][-1] < history["total"][0] / 3
    assert not module.training


@pytest.mark.parametrize("kill_at", [1, 4, 5, 6, 29, 30])
def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path, kill_at: int) -> None:
    undisturbed = model()
    expected = run(undisturbed)
    state = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run(model(), kill_at, state=state)
    assert state.exists() == (kill_at > 4)
    resumed = model(seed=1 if state.exists() else 0)  # its weights come from the state
    history = run(resumed, state=state)
    assert history == expected
    assert same(resumed, undisturbed)
    finished = model(seed=2)
    assert run(finished, kill_at=1, state=str(state)) == expected  # nothing is left to do
    assert same(finished, undisturbed)


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    run(model(), state=state)
    others = (
        ({"seed": 6}, "run"), ({"steps": 31}, "run"), ({"learning_rate": 0.2}, "run"),
        ({"clip": None}, "run"), ({"cooldown": 0.1}, "run"), ({"data": "b"}, "data"),
        ({"data": "b", "seed": 6}, "run and another data"),
    )  # fmt: skip
    for changed, name in others:
        message = rf"state.safetensors is the state of another run, with another {name} \("
        with pytest.raises(ValueError, match=message):
            run(model(), state=state, **changed)

    class Configured(nn.Linear):
        config = "of another kind"

    with pytest.raises(ValueError, match="another run"):
        run(Configured(3, 1), state=state)
    with pytest.raises(DamagedFileError, match=r"state.safetensors: .* does not fit"):
        fit(
            wider := nn.Linear(4, 1), losses_of(wider), steps=30, learning_rate=0.1, seed=5,
            clip=1.0, state=state, progress=False,
        )  # fmt: skip
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=r"state.safetensors"):
        run(model(), state=state)


def test_what_is_not_finite_is_named_with_its_step(tmp_path: Path) -> None:
    module = model()
    calls = 0

    def losses(rng: np.random.Generator) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        good = module.weight.square().sum()
        return {"total": good, "reward": good * (float("nan") if calls == 8 else 1.0)}

    state = tmp_path / "state.safetensors"
    with pytest.raises(NotFiniteError, match=r"M: the loss 'reward' at step 7 is nan"):
        fit(
            module, losses, steps=20, learning_rate=0.1, seed=0, description="M",
            state=state, every=3, progress=False,
        )  # fmt: skip
    assert all(torch.isfinite(p).all() for p in module.parameters())
    assert open_arrays(state)[1]["step"] == "6"  # the last good state is kept


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("every", 0), ("seed", -1), ("learning_rate", 0.0), ("learning_rate", np.nan),
     ("cooldown", 1.5), ("clip", 0.0), ("clip", np.nan), ("learning_rate", np.inf)],
)  # fmt: skip
def test_arguments_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*got {value}"):
        run(model(), **{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 2.5), ("every", "3"), ("seed", True), ("seed", 2**63),
                        ("learning_rate", "fast"), ("cooldown", None), ("clip", "x")],
)  # fmt: skip
def test_arguments_of_another_kind_are_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*got {value!r}"):
        run(model(), **{name: value})


def test_a_seed_too_large_for_torch_and_what_is_no_model_are_named() -> None:
    with pytest.raises(ValueError, match="seed must be at most 9223372036854775807"):
        model(seed=2**63)
    with pytest.raises(TypeError, match="model must be a Module, got 'V'"):
        fit("V", dict, steps=1, learning_rate=0.1, seed=0)


def test_the_global_generators_are_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = model(seed=9)
    run(first)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(4)
    second = model(seed=9)
    run(second)
    assert same(first, second)


@pytest.mark.filterwarnings("ignore:.*which is a no-op")
def test_moments_come_back_where_their_parameters_are() -> None:
    """On torch's device of no numbers, which stands in for a GPU."""
    module = model()
    optimiser = torch.optim.Adam(module.parameters(), lr=0.1)
    module(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    arrays = state_arrays({"model": module}, {"adam": optimiser}, {"loss": [1.0]})
    elsewhere, history = model().to("meta"), {}
    other = torch.optim.Adam(elsewhere.parameters(), lr=0.1)
    restore(Path("x"), arrays, {"model": elsewhere}, {"adam": other}, history)
    moments = [other.state[p][name] for p in elsewhere.parameters()
               for name in ("exp_avg", "exp_avg_sq")]  # fmt: skip
    assert {moment.device.type for moment in moments} == {"meta"} and len(moments) == 4
    assert history == {"loss": [1.0]}
    for name in ("adam/0/exp_avg", "model/bias"):
        with pytest.raises(DamagedFileError, match="x: its state does not fit this model"):
            less = {key: array for key, array in arrays.items() if key != name}
            restore(Path("x"), less, {"model": model()}, {"adam": optimiser}, {})
