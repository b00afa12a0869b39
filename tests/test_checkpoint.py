"""Trained weights and their manifest."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from wmlib.checkpoint import (
    load_agent,
    load_checkpoint,
    load_module,
    made_by,
    record_score,
    save_agent,
    save_checkpoint,
    save_module,
)
from wmlib.storage import DamagedFileError, digest, open_arrays, save_arrays


@dataclass(frozen=True)
class Config:
    units: int = 3
    shape: tuple[int, int] = (1, 2)


class Module(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.Linear(2, config.units)


MADE = made_by(seed=4, steps=10, seconds=1.25)


def make(fields: dict) -> Module:
    return Module(Config(**fields))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "module.safetensors"
    save_module(path, Module(Config()), "layer", MADE)
    return path


def test_round_trip(path: Path) -> None:
    module = load_module(path, "layer", make)
    assert module.config == Config()
    assert not module.training
    arrays, manifest = load_checkpoint(path, "layer")
    assert np.array_equal(arrays["layer.weight"], module.layer.weight.detach())
    assert manifest["made"]["seed"] == 4
    assert manifest["made"]["steps"] == 10
    assert manifest["made"]["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert manifest["parameters"] == 9
    assert manifest["shapes"] == {"layer.weight": [3, 2], "layer.bias": [3]}


def test_the_manifest_beside_it_is_the_one_inside(path: Path) -> None:
    beside = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert beside == load_checkpoint(path, "layer")[1]
    path.with_suffix(".json").unlink()
    assert load_checkpoint(path, "layer")[1] == beside


def test_a_score_is_recorded(path: Path) -> None:
    before = load_module(path, "layer", make).state_dict()
    record_score(path, "layer", {"mean": 1.5})
    record_score(path, "layer", {"sd": 0.5})
    _, manifest = load_checkpoint(path, "layer")
    assert manifest["scored"] == {"mean": 1.5, "sd": 0.5}
    after = load_module(path, "layer", make).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_altered_or_foreign_manifests_are_refused_by_name(path: Path) -> None:
    beside = path.with_suffix(".json")
    beside.write_text(
        beside.read_text(encoding="utf-8").replace('"seed": 4', '"seed": 5'), encoding="utf-8"
    )
    with pytest.raises(DamagedFileError, match=r"module.json"):
        load_checkpoint(path, "layer")
    beside.write_text("{", encoding="utf-8")
    with pytest.raises(DamagedFileError, match=r"module.json"):
        load_checkpoint(path, "layer")


def test_one_changed_byte_is_refused_by_name(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for position in range(0, len(data), 7):
        data[position] ^= 4
        path.write_bytes(data)
        with pytest.raises(DamagedFileError, match=r"module.safetensors"):
            load_checkpoint(path, "layer")
        data[position] ^= 4


def test_what_does_not_fit_is_refused_by_name(path: Path) -> None:
    with pytest.raises(ValueError, match=r"module.safetensors holds 'layer', expected 'vision'"):
        load_checkpoint(path, "vision")
    with pytest.raises(FileNotFoundError, match=r"no vision checkpoint at .*none.safetensors"):
        load_checkpoint(path.with_name("none.safetensors"), "vision")
    with pytest.raises(DamagedFileError, match=r"module.safetensors.*shapes"):
        load_module(path, "layer", lambda fields: Module(Config(units=4)))

    def older(fields: dict) -> Module:
        raise TypeError("unexpected keyword argument 'units'")

    with pytest.raises(DamagedFileError, match=r"module.safetensors.*units"):
        load_module(path, "layer", older)


def forge(path: Path, arrays: dict | None = None, honest: bool = True, **manifest: object) -> None:
    """Change a checkpoint as somebody would who knows all of its checksums."""
    old, metadata = open_arrays(path)
    arrays = {name: np.array(array) for name, array in (arrays or old).items()}
    if "text" in manifest:
        text = str(manifest["text"])
    else:
        sums = {"sha256": digest(arrays, {})} if honest else {}
        text = json.dumps({**json.loads(metadata["manifest"]), **sums, **manifest})
    path.with_suffix(".json").unlink(missing_ok=True)
    save_arrays(path, arrays, {"manifest": text})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_neither_loaded_nor_saved(path: Path, value: float) -> None:
    arrays = {name: np.array(array) for name, array in load_checkpoint(path, "layer")[0].items()}
    arrays["layer.bias"][1] = value
    forge(path, arrays)
    for load in (lambda: load_module(path, "layer", make), lambda: load_checkpoint(path, "layer")):
        with pytest.raises(
            DamagedFileError, match=r"module\.safetensors: layer\.bias holds NaN or"
        ):
            load()
    module = Module(Config())
    with torch.no_grad():
        module.layer.bias[1] = value
    with pytest.raises(ValueError, match=r"new\.safetensors: layer\.bias holds NaN or infinity"):
        save_module(path.with_name("new.safetensors"), module, "layer", MADE)
    assert not path.with_name("new.safetensors").exists()


@pytest.mark.parametrize("dtype", [np.int32, np.float64, np.float16])
def test_weights_of_another_dtype_are_not_cast(path: Path, dtype: type) -> None:
    arrays = {
        name: array.astype(dtype) for name, array in load_checkpoint(path, "layer")[0].items()
    }
    forge(path, arrays)
    with pytest.raises(DamagedFileError, match=rf"module\.safetensors.*{np.dtype(dtype)}"):
        load_module(path, "layer", make)


def test_a_huge_configuration_is_refused_without_the_memory_for_it(path: Path) -> None:
    forge(path, config={"units": 10**12, "shape": [1, 2]})  # 4 TB
    with pytest.raises(DamagedFileError, match=r"module\.safetensors: arrays of other .*10{12}"):
        load_module(path, "layer", make)
    forge(path, config={"units": 2**62, "shape": [1, 2]})
    with pytest.raises(DamagedFileError, match=r"module\.safetensors: not the configuration"):
        load_module(path, "layer", make)


def test_arrays_of_another_manifest_are_refused(path: Path) -> None:
    arrays = {name: array + 1 for name, array in load_checkpoint(path, "layer")[0].items()}
    forge(path, arrays, honest=False)
    with pytest.raises(DamagedFileError, match=r"module\.safetensors: not the arrays of its man"):
        load_checkpoint(path, "layer")


@pytest.mark.parametrize(
    "text", ["{", "[]", "3", "NaN", "[" * 100_000, "{}", '{"kind": "layer"}', '{"kind": 3}', "\xe4"]
)
def test_manifests_that_are_none_are_refused_by_name(path: Path, text: str) -> None:
    forge(path, text=text)
    with pytest.raises(DamagedFileError, match=r"module\.safetensors"):
        load_checkpoint(path, "layer")


def test_the_manifest_beside_is_read_as_utf8_and_is_a_file(path: Path) -> None:
    save_module(path, Module(Config()), "layer", {**MADE, "command": "from Zürich — 日本"})
    beside = path.with_suffix(".json")
    text = json.dumps(json.loads(beside.read_text(encoding="utf-8")), ensure_ascii=False)
    beside.write_text(text, encoding="utf-8")
    assert load_checkpoint(path, "layer")[1]["made"]["command"] == "from Zürich — 日本"
    beside.write_bytes(text.encode("latin-1", "replace"))
    with pytest.raises(DamagedFileError, match=r"module\.json: not JSON"):
        load_checkpoint(path, "layer")
    if hasattr(os, "mkfifo"):
        beside.unlink()
        os.mkfifo(beside)
        with pytest.raises(DamagedFileError, match=r"module\.json: not a file but a pipe"):
            load_checkpoint(path, "layer")


def test_loading_draws_no_random_numbers(path: Path) -> None:
    before = torch.get_rng_state()
    load_module(path, "layer", make)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load_checkpoint(3, "layer"), "path must be a word or a Path, got 3"),
        (lambda: load_module("x", "layer", None), "make must be a function, got None"),
        (lambda: save_module("x.safetensors", None, "layer", MADE), "module must be a Module, got"),
        (lambda: made_by(seed=1.5, steps=1, seconds=1), "seed must be a whole number, got 1.5"),
        (
            lambda: save_checkpoint("x.safetensors", {}, kind="x", config=Config, made=MADE),
            "config must be a dataclass with its values, got",
        ),
    ],
)
def test_arguments_of_other_types_are_refused(call, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


def test_nothing_is_written_of_a_checkpoint_that_cannot_be(tmp_path: Path) -> None:
    arrays = {"a": np.ones(2)}
    with pytest.raises(ValueError, match=r"\.safetensors, got .*weights\.npz"):
        save_checkpoint(tmp_path / "weights.npz", arrays, kind="x", config=Config(), made=MADE)
    with pytest.raises(ValueError, match=r"w\.safetensors is not JSON"):
        save_checkpoint(
            tmp_path / "w.safetensors", arrays, kind="x", config=Config(), made={"loss": np.nan}
        )
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("stop", [1, 2])
def test_a_kill_between_the_two_files_leaves_a_checkpoint_that_loads(
    path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, calls = os.replace, 0

    def killed(*arguments: str) -> None:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise KeyboardInterrupt
        replace(*arguments)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        record_score(path, "layer", {"mean": 1.5})
    _, manifest = load_checkpoint(path, "layer")
    assert manifest["scored"] == ({} if stop == 1 else {"mean": 1.5})


# Agents


@dataclass(frozen=True)
class Saved:
    spaces: Config
    rate: float = 0.5


class Agent:
    FILE, KIND = "agent.safetensors", "small"

    def __init__(self, saved: Saved) -> None:
        self.modules = {"net": nn.Linear(saved.spaces.units, 1), "other": nn.Linear(1, 1)}
        self.updates = 0


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """The file of one."""
    made = {**MADE, "environment": "Catch"}
    save_agent(Agent(Saved(Config())), Saved(Config()), tmp_path, made)
    return tmp_path / Agent.FILE


def loaded(agent: Path) -> tuple[Agent, str]:
    return load_agent(Agent, Saved, Agent, agent.parent)


def test_an_agent_knows_where_it_was_trained_and_how_long(agent: Path) -> None:
    again, environment = loaded(agent)
    assert (environment, again.updates) == ("Catch", MADE["steps"])
    arrays, _ = load_checkpoint(agent, "small")
    assert np.array_equal(arrays["net/weight"], again.modules["net"].weight.detach())


def test_an_agent_of_nowhere_is_not_saved(tmp_path: Path) -> None:
    for made, lacks in (
        (MADE, "made must have a word 'environment', got None"),
        ({"environment": "Catch"}, "made must have a whole number 'steps', got None"),
    ):
        with pytest.raises(ValueError, match=lacks):
            save_agent(Agent(Saved(Config())), Saved(Config()), tmp_path / "a", made)
    assert not (tmp_path / "a").exists()


WHOLE = {"spaces": {"units": 3, "shape": [1, 2]}, "rate": 0.5}


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"made": MADE}, "must have a word 'environment', got None"),
        (
            {"config": WHOLE | {"spaces": None}},
            r"not the .* of a small \(Config must have fields, g",
        ),
        ({"config": WHOLE | {"spaces": {"units": 3}}}, r"\(Config lacks shape\)"),
        ({"config": {"spaces": WHOLE["spaces"]}}, r"\(Saved lacks rate\)"),  # and its default?
        ({"config": WHOLE | {"gears": 5}}, r"not the configuration of a small \(.*gears"),
        ({"config": WHOLE | {"spaces": {"units": 2, "shape": [1, 2]}}}, "net/weight"),
        ({"config": WHOLE | {"spaces": {"units": "x", "shape": [1, 2]}}}, "not the configuration"),
    ],
)
def test_an_agent_of_another_version_is_refused_in_one_line(
    agent: Path, manifest: dict, message: str
) -> None:
    forge(agent, **manifest)
    with pytest.raises(DamagedFileError, match=rf"agent\.safetensors.*{message}") as refused:
        loaded(agent)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [{"odd": np.ones(2, np.float32)}, {"odd/weight": np.ones(2, np.float32)}, {"net/bias": None},
     {"net/bias": np.ones(2, np.float32)}, {"net/bias": np.ones(1)}],
)  # fmt: skip
def test_an_agent_of_other_arrays_is_refused_in_one_line(agent: Path, change: dict) -> None:
    arrays = {**load_checkpoint(agent, "small")[0], **change}
    forge(agent, {name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(DamagedFileError, match=rf"small: .*{next(iter(change))}") as refused:
        loaded(agent)
    assert "agent.safetensors" in str(refused.value) and "\n" not in str(refused.value)
