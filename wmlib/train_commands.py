"""What `train` does, for each of its parts."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmlib.commands import Result, check_place

if TYPE_CHECKING:  # commands import what they need when they run
    from wmlib.runs import Clock


def run_car_racing(options: argparse.Namespace) -> Result:
    from wmlib.agents.world_models.car_racing import train_car_racing
    from wmlib.agents.world_models.recipes import RECIPES

    if options.recipe not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {options.recipe!r}")
    recipe = RECIPES[options.recipe]
    train_car_racing(
        options.out, seed=options.seed, recipe=recipe, resume=options.resume, n_jobs=options.jobs
    )
    return _whole(options, "controller.safetensors", "controller")


def run_world_models(options: argparse.Namespace) -> Result:
    from wmlib.agents.world_models.train import train_world_models

    train_world_models(**_of_whole(options))
    return _whole(options, "controller.safetensors", "controller")


def run_dreamer(options: argparse.Namespace) -> Result:
    from wmlib.agents.dreamer import Dreamer, train_dreamer

    train_dreamer(**_of_whole(options))
    return _whole(options, Dreamer.FILE, Dreamer.KIND)


def run_dreamerv3(options: argparse.Namespace) -> Result:
    from wmlib.agents.dreamerv3 import DreamerV3, train_dreamerv3

    train_dreamerv3(**_of_whole(options))
    return _whole(options, DreamerV3.FILE, DreamerV3.KIND)


def run_iris(options: argparse.Namespace) -> Result:
    from wmlib.agents.iris import IRIS, train_iris

    train_iris(**_of_whole(options))
    return _whole(options, IRIS.FILE, IRIS.KIND)


def run_diamond(options: argparse.Namespace) -> Result:
    from wmlib.agents.diamond import Diamond, train_diamond

    train_diamond(**_of_whole(options))
    return _whole(options, Diamond.FILE, Diamond.KIND)


def run_muzero(options: argparse.Namespace) -> Result:
    from wmlib.agents.muzero import GymWorld, MuZero, train_muzero
    from wmlib.envs.boards import BOARDS, board

    given = _of_whole(options)
    name = given.pop("env_id")
    try:
        world = board(name) if name in BOARDS else GymWorld(name)
    except ValueError as error:
        raise ValueError(f"{error}; or a board game: {', '.join(BOARDS)}") from error
    train_muzero(world, **given)
    return _whole(options, MuZero.FILE, MuZero.KIND)


def _of_whole(options: argparse.Namespace) -> dict[str, Any]:
    """What every training of a whole agent is asked."""
    return {
        "env_id": options.env, "steps": options.steps, "seed": options.seed,
        "folder": options.out, "resume": options.resume,
    }  # fmt: skip


def _whole(options: argparse.Namespace, file: str, kind: str) -> Result:
    """What the manifest of a whole agent says of its training."""
    from wmlib.checkpoint import load_checkpoint

    _, manifest = load_checkpoint(options.out / file, kind)
    made = manifest["made"]
    return {
        "out": str(options.out),
        "environment": made["environment"],
        "real_steps": made["real_steps"],
        "seconds": made["wall_seconds"],
    }


def _alone(
    run: Callable[[argparse.Namespace, Clock], Result],
) -> Callable[[argparse.Namespace], Result]:
    """Let one process at a time make the checkpoint `--out`, and none where there is one.

    The clock counts the seconds of the processes that were killed before as well.
    """

    @functools.wraps(run)
    def alone(options: argparse.Namespace) -> Result:
        from wmlib.runs import Clock, sole_owner
        from wmlib.typed import PositiveInt, check_type

        for name in ("steps", "action_repeat"):
            check_type(name, getattr(options, name, 1), PositiveInt)
        _check_checkpoint(options.out)
        with sole_owner(options.out.parent, f".{options.out.name}.lock"):
            _check_checkpoint(options.out)  # the one who worked here may just have finished
            state = _state(options.out)
            clock = Clock(state.with_suffix(".seconds"))
            try:
                with clock:
                    return run(options, clock)
            finally:
                if not state.exists():  # finished, or never begun
                    clock.path.unlink(missing_ok=True)

    return alone


@_alone
def run_vision(options: argparse.Namespace, clock: Clock) -> Result:
    from wmlib.agents.world_models.vision import VisionConfig, train_vision
    from wmlib.checkpoint import made_by, save_module
    from wmlib.replay import Replay

    replay = Replay.load(options.data)
    config = VisionConfig.paper() if options.paper else VisionConfig()
    vision, history = train_vision(
        replay, config, steps=options.steps, seed=options.seed, state=_state(options.out)
    )
    seconds = clock.seconds
    made = made_by(seed=options.seed, steps=options.steps, seconds=seconds)
    save_module(options.out, vision, "vision", made)
    return _trained(options, seconds, history, ("squared_error", "kl"))


@_alone
def run_memory(options: argparse.Namespace, clock: Clock) -> Result:
    from wmlib.agents.world_models.codes import Codes
    from wmlib.agents.world_models.memory import train_memory
    from wmlib.agents.world_models.tiles import memory_for
    from wmlib.agents.world_models.vision import VAE
    from wmlib.checkpoint import made_by, save_module
    from wmlib.replay import Replay

    vision, replay = VAE.load(options.vision), Replay.load(options.data)
    codes = Codes.of(replay, vision.encode)
    config = memory_for(codes, options.action_repeat)
    memory, history = train_memory(
        codes, config, steps=options.steps, seed=options.seed, state=_state(options.out)
    )
    seconds = clock.seconds
    made = made_by(seed=options.seed, steps=options.steps, seconds=seconds)
    save_module(options.out, memory, "memory", made)
    trained = _trained(options, seconds, history, ("code", "reward", "end"))
    return {**trained, "reward_head": config.reward}


@_alone
def run_controller(options: argparse.Namespace, clock: Clock) -> Result:
    from wmlib.agents.world_models.codes import Codes
    from wmlib.agents.world_models.controller import ControllerConfig
    from wmlib.agents.world_models.evolve import DreamTrainingConfig, train_in_dream
    from wmlib.agents.world_models.memory import MDNRNN
    from wmlib.agents.world_models.starts import warm_up
    from wmlib.agents.world_models.value import ValueConfig
    from wmlib.agents.world_models.vision import VAE
    from wmlib.checkpoint import made_by
    from wmlib.replay import Replay

    named = ("generations", "horizon", "temperature")
    given = {name: getattr(options, name) for name in named if getattr(options, name) is not None}
    if options.value:
        given |= {"value": True, "discount": ValueConfig().discount}
    config = DreamTrainingConfig(**given)
    memory, replay = MDNRNN.load(options.memory), Replay.load(options.data)
    codes = Codes.of(replay, VAE.load(options.vision).encode)
    shape = ControllerConfig(memory.config.latent, memory.config.hidden)
    evolved = train_in_dream(
        memory, warm_up(memory, codes), shape, config, seed=options.seed,
        state=_state(options.out),
    )  # fmt: skip
    seconds = clock.seconds
    made = made_by(seed=options.seed, steps=config.generations, seconds=seconds)
    evolved.controller.save(options.out, made)
    return _trained(options, seconds, evolved.history, ("dream_return", "sigma"))


def kept(options: argparse.Namespace) -> str:
    """What an interrupted training has left, in words, and whether it can be gone on with."""
    if options.part == "car-racing":
        return "every finished stage and episode is kept; go on"
    if options.part == "world-models":
        return "every finished stage is kept; go on"
    state = options.out / "state.safetensors" if hasattr(options, "resume") else _state(options.out)
    if state.exists():
        return f"the last state that was saved is kept, {state}; go on"
    return "nothing was saved yet; begin anew"


def _state(out: Path) -> Path:
    """Where the state of an unfinished run lies: beside its result."""
    return out.with_suffix(".state.safetensors")


def _trained(
    options: argparse.Namespace,
    seconds: float,
    history: dict[str, list[float]],
    names: Sequence[str],
) -> Result:
    _state(options.out).unlink(missing_ok=True)
    last = {name: sum(history[name][-100:]) / len(history[name][-100:]) for name in names}
    return {"out": str(options.out), "seconds": seconds, **last}


def _check_checkpoint(out: Path) -> None:
    """Refuse, before any work, a file that could not be written in the end."""
    if out.suffix != ".safetensors":
        raise ValueError(f"--out must end in .safetensors, got {out}")
    if out.exists():
        raise FileExistsError(f"{out} exists already; name another file")
    check_place(out.parent)
