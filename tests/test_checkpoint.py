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
    load_checkpoint,
    load_module,
    made_by,
    record_score,
    save_checkpoint,
    save_module,
)
from wmlib.storage import DamagedFileError


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
    beside = json.loads(path.with_suffix(".json").read_text())
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
    beside.write_text(beside.read_text().replace('"seed": 4', '"seed": 5'))
    with pytest.raises(DamagedFileError, match=r"module.json"):
        load_checkpoint(path, "layer")
    beside.write_text("{")
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
