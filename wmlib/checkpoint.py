"""Trained weights and where they came from: a safetensors file with its manifest.

The manifest says what made the file (command, configuration, seed, updates, wall time, versions),
what it is (kind, shapes, SHA-256) and what it scored. It lies inside the file, so that weights and
manifest cannot part, and once more beside it as JSON for people and tools to read.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_type_hints

import numpy as np
import torch
from torch import nn

from wmlib.shapes import named
from wmlib.storage import (
    DamagedFileError,
    check_regular,
    digest,
    open_arrays,
    pack,
    read_json,
    write_together,
)
from wmlib.training import restore, state_arrays
from wmlib.typed import typed

Manifest = dict[str, Any]
Module = TypeVar("Module", bound=nn.Module)
Made = TypeVar("Made")
Config = TypeVar("Config")


class Kept(Protocol):
    """An agent that can be saved."""

    FILE: str
    """that it is saved in, in its folder"""
    KIND: str
    """of that checkpoint"""
    updates: int
    """batches learned from so far; a run sets it when it goes on, and so does loading"""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """All that it learns, by name."""
        ...


Loaded = TypeVar("Loaded", bound=Kept)


@typed
def made_by(*, seed: int, steps: int, seconds: float) -> Manifest:
    """What made a file: this process's command and versions, and what the caller knows.

    Args:
        seed: of the run.
        steps: updates, or generations.
        seconds: wall time.
    """
    return {
        "command": _command(),
        "seed": seed,
        "steps": steps,
        "wall_seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "torch", "gymnasium")},
        },
    }


@typed
def save_checkpoint(
    path: str | Path,
    arrays: Mapping[str, np.ndarray],
    *,
    kind: str,
    config: Any,
    made: Mapping[str, Any],
    scored: Mapping[str, Any] | None = None,
) -> Manifest:
    """Save arrays with their manifest: `path` (.safetensors), and beside it the same in .json.

    Args:
        path: ends in .safetensors.
        arrays: by name.
        kind: what it is, such as "vision".
        config: the dataclass it was made from.
        made: from `made_by`.
        scored: what it scored, if that is known.

    Returns:
        The manifest.

    Raises:
        ValueError: the name ends in something else, or a number in the manifest or in an array is
            not finite.
        OSError: a file cannot be written; an earlier checkpoint at `path` is as it was.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"a checkpoint's name ends in .safetensors, got {path}")
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"config must be a dataclass with its values, got {config!r}")
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    if unfit := _not_finite(arrays):
        raise ValueError(f"{path}: {unfit} holds NaN or infinity; nothing is saved")
    manifest: Manifest = {
        "kind": kind,
        "config": dataclasses.asdict(config),
        "made": dict(made),
        "scored": dict(scored or {}),
        "shapes": {name: list(array.shape) for name, array in arrays.items()},
        "parameters": int(sum(array.size for array in arrays.values())),
        "sha256": digest(arrays, {}),
    }
    _write(path, arrays, manifest)
    return manifest


@typed
def load_checkpoint(path: str | Path, kind: str) -> tuple[dict[str, np.ndarray], Manifest]:
    """Open a checkpoint of `save_checkpoint`.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: the file was cut short or altered, a number in it is not finite, or the
            manifest beside it is another's.
        ValueError: it holds another kind of thing.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no {kind} checkpoint at {path}")
    arrays, metadata = open_arrays(path)
    if "manifest" not in metadata:
        raise DamagedFileError(f"{path}: it has no manifest, so it is not a checkpoint of wmlib")
    manifest: Manifest = read_json(metadata["manifest"], f"the manifest in {path}")
    beside = path.with_suffix(".json")
    if beside.exists():
        check_regular(beside)
        if read_json(beside.read_bytes(), beside) != manifest:
            raise DamagedFileError(f"{beside}: not the manifest of {path.name}")
    for name, hold in (("kind", str), ("config", dict), ("made", dict), ("scored", dict)):
        if not isinstance(manifest.get(name), hold):
            raise DamagedFileError(f"the manifest in {path}: no {name!r}, or not a {hold.__name__}")
    if manifest["kind"] != kind:
        raise ValueError(f"{path} holds {manifest['kind']!r}, expected {kind!r}")
    if manifest.get("sha256") != digest(arrays, {}):
        raise DamagedFileError(f"{path}: not the arrays of its manifest (SHA-256 differs)")
    if unfit := _not_finite(arrays):
        raise DamagedFileError(f"{path}: {unfit} holds NaN or infinity")
    return arrays, manifest


def _not_finite(arrays: Mapping[str, np.ndarray]) -> str | None:
    """The name of the first array in which a number is not finite."""
    floats = ((name, a) for name, a in arrays.items() if a.dtype.kind == "f")
    return next((name for name, a in floats if not np.isfinite(a).all()), None)


@typed
def record_score(path: str | Path, kind: str, scored: Mapping[str, Any]) -> None:
    """Add to a checkpoint's manifest what it scored; errors as `load_` and `save_checkpoint`."""
    arrays, manifest = load_checkpoint(path, kind)
    manifest["scored"] = {**manifest["scored"], **scored}
    _write(Path(path), arrays, manifest)


@typed
def save_module(
    path: str | Path, module: nn.Module, kind: str, made: Mapping[str, Any]
) -> Manifest:
    """Save a module that has a `config`, as `save_checkpoint` does."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}
    return save_checkpoint(path, arrays, kind=kind, config=module.config, made=made)


@typed
def load_module(path: str | Path, kind: str, make: Callable[[Manifest], Module]) -> Module:
    """Load a module that `save_module` saved.

    Args:
        path: of the file.
        kind: that it must hold.
        make: makes the module from the fields of its configuration. All of its tensors are in its
            `state_dict`: the module is made without memory, and gets it when its shapes are known
            to be those of the file.

    Raises:
        DamagedFileError: as `load_checkpoint`; or an array has another name, shape or dtype than in
            the module.
    """
    arrays, manifest = load_checkpoint(path, kind)

    def on_meta(fields: Manifest) -> Module:
        with torch.device("meta"):
            return make(fields)

    module = configured(path, manifest, on_meta)
    check_arrays(path, kind, arrays, looks(module.state_dict()))
    module.to_empty(device="cpu")
    module.load_state_dict({name: torch.from_numpy(np.array(a)) for name, a in arrays.items()})
    return module.eval()


def save_agent(agent: Kept, config: Any, folder: str | Path, made: Mapping[str, Any]) -> None:
    """Save all networks of an agent as one checkpoint in a folder, which is made if need be.

    Args:
        agent: whose `modules` they are.
        config: a dataclass with all that it takes to make the agent.
        folder: of the agent.
        made: as of `made_by`, with the `environment`.

    Raises:
        ValueError: `made` says less; as `save_checkpoint`.
    """
    _check_made("made", made, ValueError)
    path, arrays = Path(folder, agent.FILE), state_arrays(agent.modules, {}, {})
    save_checkpoint(path, arrays, kind=agent.KIND, config=config, made=made)


def load_agent(
    kind: type[Loaded], config: type[Config], make: Callable[[Config], Loaded], folder: str | Path
) -> tuple[Loaded, str]:
    """An agent that `save_agent` saved, and the id of the environment it was trained on.

    Raises:
        FileNotFoundError: it is not there.
        DamagedFileError: it was cut short or altered, or another version of the library wrote it.
    """
    path = Path(folder, kind.FILE)
    arrays, manifest = load_checkpoint(path, kind.KIND)
    made = manifest["made"]
    _check_made(f"`made` in {path}", made, DamagedFileError)
    agent = configured(path, manifest, lambda fields: make(rebuilt(config, fields)))
    check_arrays(path, kind.KIND, arrays, looks(state_arrays(agent.modules, {}, {})))
    restore(path, arrays, agent.modules, {}, {})
    agent.updates = made["steps"]
    return agent, made["environment"]


def _check_made(name: str, made: Mapping[str, Any], error: type[ValueError]) -> None:
    """Refuse what does not say where an agent was trained, and how long."""
    for key, kind in (("environment", str), ("steps", int)):
        if not isinstance(made.get(key), kind):
            raise error(f"{name} must have {named(kind)} {key!r}, got {made.get(key)!r}")


def kind_of(path: str | Path) -> str:
    """What a checkpoint says that it holds; nothing else of it is looked at.

    Raises:
        DamagedFileError: it is none.
    """
    _, metadata = open_arrays(path, verify=False)
    try:
        return str(read_json(metadata["manifest"], f"the manifest in {path}")["kind"])
    except KeyError as error:
        raise DamagedFileError(f"{path}: no checkpoint of wmlib (it lacks {error})") from error


def configured(path: str | Path, manifest: Manifest, make: Callable[[Manifest], Made]) -> Made:
    """What `make` makes of the fields of a manifest's configuration.

    Raises:
        DamagedFileError: they are not those of its kind.
    """
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in manifest["config"].items()}
    try:
        return make(fields)
    except (TypeError, ValueError, RuntimeError, LookupError, ArithmeticError) as error:
        kind = manifest["kind"]
        raise DamagedFileError(f"{path}: not the configuration of a {kind} ({error})") from error


def rebuilt(kind: type[Made], fields: Mapping[str, Any]) -> Made:
    """A configuration from what JSON has made of it: dataclasses within one, tuples from lists.

    Raises:
        ValueError: a field is missing: what it was before there was such a field, nobody knows.
        TypeError: there are others.
    """
    name, hints = kind.__name__.strip("_"), get_type_hints(kind)
    if not isinstance(fields, Mapping):
        raise TypeError(f"{name} must have fields, got {fields!r}")
    if lacking := [one for one in hints if one not in fields]:
        raise ValueError(f"{name} lacks {', '.join(lacking)}")
    return kind(
        **{
            name: rebuilt(hints[name], value)
            if dataclasses.is_dataclass(hints.get(name))
            else tuple(value)
            if isinstance(value, list)
            else value
            for name, value in fields.items()
        }
    )


def looks(arrays: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], str]]:
    """The shape and the dtype of arrays, or of tensors, by their names."""
    dtypes = {name: str(array.dtype).removeprefix("torch.") for name, array in arrays.items()}
    return {name: (tuple(array.shape), dtypes[name]) for name, array in arrays.items()}


def check_arrays(
    path: str | Path,
    kind: str,
    arrays: Mapping[str, np.ndarray],
    expected: Mapping[str, tuple[tuple[int, ...], str]],
) -> None:
    """Refuse arrays of a checkpoint unless they have these names, shapes and dtypes.

    Raises:
        DamagedFileError: names the first that differ.
    """
    if (found := looks(arrays)) != expected:
        wrong = sorted(set(found.items()) ^ set(expected.items()))
        raise DamagedFileError(
            f"{path}: arrays of other names, shapes or dtypes than its {kind}: {wrong[:4]}"
        )


def _write(path: Path, arrays: Mapping[str, np.ndarray], manifest: Manifest) -> None:
    try:
        text = json.dumps(manifest, indent=2, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"the manifest of {path} is not JSON: {error}") from error
    inside = pack(arrays, {"manifest": text})
    write_together({path: inside, path.with_suffix(".json"): (text + "\n").encode()})


def _command() -> str:
    """This process's command line; of an absolute path only the last part is anyone's business."""
    if Path(sys.argv[0]).parts[-2:] != ("wmlib", "__main__.py"):
        return "from Python"
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return " ".join(["python -m wmlib", *words])
