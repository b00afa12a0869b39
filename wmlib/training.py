"""One training loop: a bar, a check for finite losses, a state from which a killed run goes on.

Every random draw of step t comes from a generator seeded with (seed, t), so a resumed run sees what
an undisturbed run would have seen and ends with the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from wmlib.runs import check_identity
from wmlib.storage import DamagedFileError, open_arrays, save_arrays
from wmlib.typed import PositiveFloat, PositiveInt, Seed, Share, typed

Module = TypeVar("Module", bound=nn.Module)
History = dict[str, list[float]]


class NotFiniteError(ArithmeticError):
    """A loss became NaN or infinite; the message names the step and the loss."""


def check_finite(number: float, what: str) -> float:
    """The number itself.

    Raises:
        NotFiniteError: it is NaN or infinite.
    """
    if not math.isfinite(number):
        raise NotFiniteError(f"{what} is {number}")
    return number


@typed
def seeded(seed: Seed, make: Callable[[], Module]) -> Module:
    """Make a module whose initial weights come from `seed`; global generators are left alone.

    It is made on the CPU, so that it has the same weights wherever it goes then.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` moves those of GPUs as well
        return make()


@typed
def fit(
    model: nn.Module,
    losses: Callable[[np.random.Generator], Mapping[str, Tensor]],
    *,
    steps: PositiveInt,
    learning_rate: PositiveFloat,
    seed: Seed,
    clip: PositiveFloat | None = None,
    cooldown: Share = 0.3,
    state: str | Path | None = None,
    data: str = "",
    every: PositiveInt = 250,
    description: str = "training",
    progress: bool = True,
) -> History:
    """Minimise `losses(rng)["total"]` with Adam.

    Args:
        model: trained in place.
        losses: draws a batch with the generator it is given and returns named scalars.
        steps: updates in all, >= 1.
        learning_rate: Adam's, constant and then falling to 0 over the last `cooldown` of the steps.
        seed: of the batches.
        clip: largest norm of the gradient; None for no limit.
        cooldown: share of the steps, in [0, 1].
        state: file for the run's state. If it exists, the run goes on from there; while the run
            lasts it is rewritten, atomically, every `every` steps.
        data: digest of what `losses` draws from; the state of a run on other data is refused.
        every: steps between two states.
        description: of the progress bar.
        progress: show the bar.

    Returns:
        Every loss by name, one number an update.

    Raises:
        ValueError: an argument is out of range, or the state belongs to another run (of another
            model, configuration, seed, length or `data`).
        NotFiniteError: a loss is NaN or infinite.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=learning_rate)
    history: History = {}
    identity = {
        "model": f"{type(model).__name__} of {getattr(model, 'config', None)}",
        "run": f"{steps=}, {learning_rate=}, {clip=}, {cooldown=}, {seed=}",
        "data": data,
    }
    state = None if state is None else Path(state)
    parts = {"model": model}, {"adam": optimiser}, history
    first = resumed(state, identity, *parts)
    model.train()
    bar = tqdm(
        range(first, steps), desc=description, initial=first, total=steps, disable=not progress
    )
    for step in bar:
        left = (steps - step) / max(cooldown * steps, 1)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(1.0, left)
        named = losses(np.random.default_rng([seed, step]))
        for name, loss in named.items():
            value = check_finite(loss.item(), f"{description}: the loss {name!r} at step {step}")
            history.setdefault(name, []).append(value)
        optimiser.zero_grad()
        named["total"].backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(trained, clip)
        optimiser.step()
        if step % 20 == 0:
            bar.set_postfix({name: f"{values[-1]:.3g}" for name, values in history.items()})
        if state is not None and ((step + 1) % every == 0 or step + 1 == steps):
            save_state(state, identity, step + 1, *parts)
    model.eval()
    return history


def save_state(
    path: Path,
    identity: Mapping[str, str],
    step: int,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Adam],
    history: History,
) -> None:
    """Write what `resumed` reads, atomically."""
    arrays = state_arrays(modules, optimisers, history)
    save_arrays(path, arrays, {**identity, "step": str(step)})


def state_arrays(
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Adam],
    history: History,
) -> dict[str, np.ndarray]:
    """Everything that training changes, as the arrays of a file: weights, moments, history."""
    arrays = {}
    for kind, module in modules.items():
        for name, tensor in module.state_dict().items():
            arrays[f"{kind}/{name}"] = tensor.cpu().numpy()
    for kind, optimiser in optimisers.items():
        for place, moments in optimiser.state_dict()["state"].items():
            for name, tensor in moments.items():
                arrays[f"{kind}/{place}/{name}"] = tensor.cpu().numpy()
    return arrays | {f"history/{name}": np.array(values) for name, values in history.items()}


def restore(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Adam],
    history: History,
) -> None:
    """Take over what `state_arrays` said; moments go where their parameters are.

    Raises:
        DamagedFileError: the arrays, of the file at `path`, do not fit.
    """
    parts: dict[str, dict[str, Tensor]] = {name: {} for name in (*modules, *optimisers)}
    for key, array in arrays.items():
        kind, name = key.split("/", 1)
        if kind == "history":
            history[name] = array.tolist()
        elif kind in parts:
            parts[kind][name] = torch.from_numpy(np.array(array))
    try:
        for kind, module in modules.items():
            module.load_state_dict(parts[kind])
        for kind, optimiser in optimisers.items():
            moments: dict[int, dict[str, Tensor]] = {}
            for name, tensor in parts[kind].items():
                place, key = name.split("/")
                moments.setdefault(int(place), {})[key] = tensor
            if any(set(found) != {"step", "exp_avg", "exp_avg_sq"} for found in moments.values()):
                raise ValueError(f"not all moments of {kind}")
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": moments, "param_groups": groups})
    except (RuntimeError, KeyError, ValueError) as error:
        raise DamagedFileError(f"{path}: its state does not fit this model ({error})") from error


def resumed(
    path: Path | None,
    identity: Mapping[str, str],
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Adam],
    history: History,
) -> int:
    """Go on from the state at `path`, if there is one; the number of steps that are done.

    Raises:
        ValueError: it is the state of another run.
        DamagedFileError: the file was cut short or altered.
    """
    if path is None or not path.exists():
        return 0
    arrays, metadata = open_arrays(path)
    check_identity(path, metadata, identity)
    restore(path, arrays, modules, optimisers, history)
    return int(metadata["step"])
