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

from wmlib.checks import check_kind, check_positive, check_seed, check_share, check_whole
from wmlib.runs import check_identity
from wmlib.storage import DamagedFileError, open_arrays, save_arrays

Module = TypeVar("Module", bound=nn.Module)
History = dict[str, list[float]]


class NotFiniteError(ArithmeticError):
    """A loss became NaN or infinite; the message names the step and the loss."""


def seeded(seed: int, make: Callable[[], Module]) -> Module:
    """Make a module whose initial weights come from `seed`; the global generator is left alone."""
    check_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def fit(
    model: nn.Module,
    losses: Callable[[np.random.Generator], Mapping[str, Tensor]],
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    clip: float | None = None,
    cooldown: float = 0.3,
    state: str | Path | None = None,
    data: str = "",
    every: int = 250,
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
    check_whole("steps", steps, 1)
    check_whole("every", every, 1)
    check_seed(seed)
    check_positive("learning_rate", learning_rate)
    check_share("cooldown", cooldown)
    if clip is not None:
        check_positive("clip", clip)
    check_kind("model", model, nn.Module)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimiser = torch.optim.Adam(trained.values(), lr=learning_rate)
    history: History = {}
    identity = {
        "model": f"{type(model).__name__} of {getattr(model, 'config', None)}",
        "run": f"{steps=}, {learning_rate=}, {clip=}, {cooldown=}, {seed=}",
        "data": data,
    }
    first, state = 0, None if state is None else Path(state)
    if state is not None and state.exists():
        first = _resume(state, identity, model, optimiser, trained, history)
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
            if not math.isfinite(value := loss.item()):
                raise NotFiniteError(f"{description}: the loss {name!r} is {value} at step {step}")
            history.setdefault(name, []).append(value)
        optimiser.zero_grad()
        named["total"].backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(trained.values(), clip)
        optimiser.step()
        if step % 20 == 0:
            bar.set_postfix({name: f"{values[-1]:.3g}" for name, values in history.items()})
        if state is not None and ((step + 1) % every == 0 or step + 1 == steps):
            _save(state, identity, step + 1, model, optimiser, trained, history)
    model.eval()
    return history


def _save(
    path: Path,
    identity: dict[str, str],
    step: int,
    model: nn.Module,
    optimiser: torch.optim.Adam,
    trained: Mapping[str, nn.Parameter],
    history: History,
) -> None:
    arrays = {f"model/{name}": tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
    for name, parameter in trained.items():
        for key, value in optimiser.state[parameter].items():
            arrays[f"adam/{key}/{name}"] = value.cpu().numpy()
    arrays |= {f"history/{name}": np.array(values) for name, values in history.items()}
    save_arrays(path, arrays, {**identity, "step": str(step)})


def _resume(
    path: Path,
    identity: dict[str, str],
    model: nn.Module,
    optimiser: torch.optim.Adam,
    trained: Mapping[str, nn.Parameter],
    history: History,
) -> int:
    arrays, metadata = open_arrays(path)
    check_identity(path, metadata, identity)
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "adam": {}}
    for key, array in arrays.items():
        kind, name = key.split("/", 1)
        if kind == "history":
            history[name] = array.tolist()
        else:
            parts[kind][name] = torch.from_numpy(np.array(array))
    try:
        model.load_state_dict(parts["model"])
        for name, parameter in trained.items():
            optimiser.state[parameter] = {
                key: parts["adam"][f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
            }
    except (RuntimeError, KeyError) as error:
        raise DamagedFileError(f"{path}: its state does not fit this model ({error})") from error
    return int(metadata["step"])
