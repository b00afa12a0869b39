"""The command line: collect, train, evaluate, dream, bench.

Exit codes: 0 when it is done, 1 when a run failed, 2 when the call or its input was wrong, 130 when
it was interrupted. With `--json`, the only line on standard output is one JSON object; progress
goes to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmlib.data import Episode, Replay

DESCRIPTION = """\
World models from scratch: collect experience, train V, M and C, score them, dream.

a whole run, from nothing to a driver, less than an hour on two cores:
  python -m wmlib train car-racing --seed 1 --out runs/car-racing
  python -m wmlib evaluate runs/car-racing --episodes 100

or step by step:
  python -m wmlib collect wmlib/CarRacing-v3 --episodes 480 --action-repeat 3 --out runs/random
  python -m wmlib train vision --data runs/random --out runs/vision.safetensors
  python -m wmlib train memory --data runs/random --vision runs/vision.safetensors \\
      --out runs/memory.safetensors
  python -m wmlib train controller --data runs/random --vision runs/vision.safetensors \\
      --memory runs/memory.safetensors --out runs/controller.safetensors
"""

Result = dict[str, Any]

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"  # of a checkout; a wheel has none


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that it cannot spell is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return _run(arguments)
        finally:  # of the help as well, which leaves by SystemExit
            sys.stdout.flush()
    except OSError as error:  # now, and not once more while Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # nobody wants to read it
            return 0
        _tell(f"wmlib: error: standard output: {error}")
        return 2


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody hears it
        print(text, file=sys.stderr, flush=True)


def _run(arguments: Sequence[str] | None) -> int:
    top = parser()
    options, rest = top.parse_known_args(arguments)
    if rest and not (options.command == "bench" and options.what in _scripts()):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        _check_seed(options)
        result = options.run(options)
        _check_finite(result)
    except (ValueError, TypeError, OSError) as error:
        _tell(f"wmlib: error: {error}")
        return 2
    except (RuntimeError, ArithmeticError) as error:
        _tell(f"wmlib: failed: {error}")
        return 1
    except KeyboardInterrupt as stop:
        _tell(f"wmlib: {stop}" if str(stop) else "wmlib: interrupted")
        if options.command == "train":
            whole = options.part == "car-racing"
            kept = "every finished stage" if whole else "the last state that was saved"
            again = "with --resume" if whole else "by the same command"
            _tell(f"wmlib: {kept} is kept; go on {again}")
        return 130
    if options.json:
        print(json.dumps(result, allow_nan=False))
    else:
        for name, value in result.items():
            print(f"{name}: {f'{value:.4g}' if isinstance(value, float) else value}")
    return 0


def _check_seed(options: argparse.Namespace) -> None:
    from wmlib.checks import check_seed

    if hasattr(options, "seed"):
        check_seed(options.seed)


def _check_finite(result: Any, name: str = "the result") -> None:
    """Refuse NaN and infinity: they are no JSON, and no result."""
    if isinstance(result, Mapping):
        for key, value in result.items():
            _check_finite(value, key)
    elif isinstance(result, list | tuple):
        for value in result:
            _check_finite(value, name)
    elif isinstance(result, float) and not math.isfinite(result):
        raise ArithmeticError(f"{name} is {result}: not a finite number")


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        "python -m wmlib",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    collect = _command(commands, "collect", "drive at random and keep the episodes", run_collect)
    collect.add_argument(
        "environment",
        help="a registered id, such as wmlib/CarRacing-v3; MODULE:ID imports MODULE first",
    )
    collect.add_argument("--episodes", type=int, default=480, help="how many (default: 480)")
    collect.add_argument("--max-steps", type=int, help="decisions after which an episode is cut")
    collect.add_argument(
        "--patience", type=int, help="decisions without a positive reward after which it is cut"
    )
    collect.add_argument("--action-repeat", type=int, help="frames for each decision")
    collect.add_argument(
        "--time-limit", type=float, help="seconds after which an episode, and the run, is given up"
    )
    _seed_out_jobs(collect, "folder for the episodes")

    train = commands.add_parser("train", help="train V, M or C, or all of them")
    parts = train.add_subparsers(dest="part", required=True, metavar="PART")

    whole = _command(
        parts, "car-racing", "from nothing to a driver trained in dreams", run_car_racing
    )
    _seed_out_jobs(whole, "folder of the run: episodes, weights of every cycle, log.csv, result")
    whole.add_argument(
        "--resume", action="store_true", help="go on with the run in --out, after a kill"
    )
    whole.add_argument(
        "--recipe",
        default="full",
        help="full; random: random driving and evolution alone; tiny: to see that it works "
        "(default: full)",
    )

    vision = _command(parts, "vision", "V, the autoencoder, from collected frames", run_vision)
    vision.add_argument(
        "--paper", action="store_true", help="the network and loss of the 2018 paper"
    )
    vision.add_argument("--steps", type=int, default=3000, help="updates (default: 3000)")
    _training(vision, "V")

    memory = _command(
        parts, "memory", "M, the MDN-RNN, from collected episodes seen by V", run_memory
    )
    memory.add_argument("--vision", type=Path, required=True, help="V's checkpoint")
    memory.add_argument("--steps", type=int, default=4000, help="updates (default: 4000)")
    memory.add_argument(
        "--action-repeat",
        type=int,
        default=3,
        help="of the episodes, to know CarRacing's rewards by (default: 3)",
    )
    _training(memory, "M")

    controller = _command(parts, "controller", "C, evolved in M's dreams", run_controller)
    controller.add_argument("--vision", type=Path, required=True, help="V's checkpoint")
    controller.add_argument("--memory", type=Path, required=True, help="M's checkpoint")
    controller.add_argument("--generations", type=int, help="of CMA-ES")
    controller.add_argument("--horizon", type=int, help="dreamed decisions")
    controller.add_argument("--temperature", type=float, help="of the dream, > 0")
    controller.add_argument(
        "--value",
        action="store_true",
        help="learn a value beyond the horizon (for short ones, such as 15); discount 0.965",
    )
    _training(controller, "C")

    score = _command(
        commands, "evaluate", "score an agent on the official CarRacing-v3", run_evaluate
    )
    score.add_argument("folder", type=Path, help="holds vision, memory and controller .safetensors")
    score.add_argument("--episodes", type=int, default=32, help="tracks (default: 32)")
    score.add_argument(
        "--seed", type=int, default=900_000, help="of the first track (default: 900000)"
    )
    score.add_argument("--action-repeat", type=int, default=3, help="as in training (default: 3)")
    score.add_argument("--record", action="store_true", help="write the score into C's manifest")
    _jobs(score)

    dream = _command(commands, "dream", "let an agent drive in its own dream", run_dream)
    dream.add_argument("folder", type=Path, help="holds vision, memory and controller .safetensors")
    dream.add_argument("--steps", type=int, default=100, help="dreamed decisions (default: 100)")
    dream.add_argument("--temperature", type=float, default=1.0, help="> 0 (default: 1)")
    dream.add_argument("--seed", type=int, default=0, help="of the real beginning and of the dream")
    dream.add_argument("--film", type=Path, help="write the dream as a .gif")

    bench = _command(commands, "bench", "measure this machine, or run a benchmark", run_bench)
    bench.add_argument(
        "what",
        choices=("environment", "dream", *_scripts()),
        help="environment, dream: the speed of this machine, in seconds; any other: all of "
        "benchmarks/WHAT.py, which may X",
    )
    bench.add_argument("--seconds", type=float, default=20.0, help="about how long (default: 20)")
    return top


def run_collect(options: argparse.Namespace) -> Result:
    import gymnasium as gym

    from wmlib.data import CollectError, CollectInterrupt, SmoothRandomPolicy, collect

    kwargs = {} if options.action_repeat is None else {"action_repeat": options.action_repeat}
    _check_folder(options.out)
    try:
        env = gym.make(options.environment, **kwargs)
    except (gym.error.Error, ImportError) as error:
        raise ValueError(f"cannot make {options.environment!r}: {error}") from error
    policy = SmoothRandomPolicy(env.action_space)
    env.close()
    try:
        episodes = collect(
            policy, options.environment, episodes=options.episodes, seed=options.seed,
            max_steps=options.max_steps, patience=options.patience, env_kwargs=kwargs,
            time_limit=options.time_limit, n_jobs=options.jobs,
        )  # fmt: skip
    except (CollectError, CollectInterrupt) as stop:
        if stop.finished:
            _keep(stop.finished, options.out)
            raise type(stop)(f"{stop}\n{len(stop.finished)} are kept in {options.out}") from stop
        raise
    replay = _keep(episodes, options.out)
    mean = sum(episode.total_reward for episode in episodes) / len(episodes)
    return {
        "episodes": len(replay),
        "decisions": replay.steps,
        "mean_return": mean,
        "out": str(options.out),
    }


def _keep(episodes: Sequence[Episode], out: Path) -> Replay:
    """Save what was driven: in `out`, or, if that fails after all, where it can be found."""
    from wmlib.data import Replay

    replay = Replay(episodes)
    try:
        replay.save(out)
    except OSError as error:
        spare = Path(tempfile.mkdtemp(prefix="wmlib-episodes-"))
        replay.save(spare)
        raise OSError(f"{error}; the episodes are kept in {spare}") from error
    return replay


def run_car_racing(options: argparse.Namespace) -> Result:
    from wmlib.agents.car_racing import RECIPES, train_car_racing
    from wmlib.checkpoint import load_checkpoint

    if options.recipe not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {options.recipe!r}")
    recipe = RECIPES[options.recipe]
    train_car_racing(
        options.out, seed=options.seed, recipe=recipe, resume=options.resume, n_jobs=options.jobs
    )
    _, manifest = load_checkpoint(options.out / "controller.safetensors", "controller")
    made = manifest["made"]
    return {
        "out": str(options.out),
        "real_steps": made["real_steps"],
        "seconds": made["wall_seconds"],
    }


def run_vision(options: argparse.Namespace) -> Result:
    from wmlib.checkpoint import made_by, save_module
    from wmlib.data import Replay
    from wmlib.vision import VisionConfig, train_vision

    _check_checkpoint(options.out)
    replay = Replay.load(options.data)
    config = VisionConfig.paper() if options.paper else VisionConfig()
    started = time.perf_counter()
    vision, history = train_vision(
        replay, config, steps=options.steps, seed=options.seed, state=_state(options.out)
    )
    seconds = time.perf_counter() - started
    made = made_by(seed=options.seed, steps=options.steps, seconds=seconds)
    save_module(options.out, vision, "vision", made)
    return _trained(options, seconds, history, ("squared_error", "kl"))


def run_memory(options: argparse.Namespace) -> Result:
    from wmlib.agents.tiles import memory_for
    from wmlib.checkpoint import made_by, save_module
    from wmlib.data import Replay
    from wmlib.memory import Codes, train_memory
    from wmlib.vision import VAE

    _check_checkpoint(options.out)
    vision, replay = VAE.load(options.vision), Replay.load(options.data)
    codes = Codes.of(replay, vision.encode)
    config = memory_for(codes, options.action_repeat)
    started = time.perf_counter()
    memory, history = train_memory(
        codes, config, steps=options.steps, seed=options.seed, state=_state(options.out)
    )
    seconds = time.perf_counter() - started
    made = made_by(seed=options.seed, steps=options.steps, seconds=seconds)
    save_module(options.out, memory, "memory", made)
    told = _trained(options, seconds, history, ("code", "reward", "end"))
    return {**told, "reward_head": config.reward}


def run_controller(options: argparse.Namespace) -> Result:
    from wmlib.agents.world_models import DreamTrainingConfig, train_in_dream
    from wmlib.checkpoint import made_by
    from wmlib.controller import ControllerConfig
    from wmlib.data import Replay
    from wmlib.dream import warm_up
    from wmlib.memory import MDNRNN, Codes
    from wmlib.value import ValueConfig
    from wmlib.vision import VAE

    _check_checkpoint(options.out)
    named = ("generations", "horizon", "temperature")
    given = {name: getattr(options, name) for name in named if getattr(options, name) is not None}
    if options.value:
        given |= {"value": True, "discount": ValueConfig().discount}
    config = DreamTrainingConfig(**given)
    memory, replay = MDNRNN.load(options.memory), Replay.load(options.data)
    codes = Codes.of(replay, VAE.load(options.vision).encode)
    shape = ControllerConfig(memory.config.latent, memory.config.hidden)
    started = time.perf_counter()
    evolved = train_in_dream(
        memory, warm_up(memory, codes), shape, config, seed=options.seed,
        state=_state(options.out),
    )  # fmt: skip
    seconds = time.perf_counter() - started
    made = made_by(seed=options.seed, steps=config.generations, seconds=seconds)
    evolved.controller.save(options.out, made)
    return _trained(options, seconds, evolved.history, ("dream_return", "sigma"))


def run_evaluate(options: argparse.Namespace) -> Result:
    from wmlib.acting import evaluate
    from wmlib.agents.world_models import Agent
    from wmlib.checkpoint import record_score

    agent = Agent.load(options.folder)
    if options.record:
        _check_place(options.folder)
    score = evaluate(
        agent.policy(), episodes=options.episodes, seed=options.seed,
        action_repeat=options.action_repeat, n_jobs=options.jobs,
    )  # fmt: skip
    if options.record:
        record_score(options.folder / "controller.safetensors", "controller", score.as_dict())
    return score.as_dict()


def run_dream(options: argparse.Namespace) -> Result:
    import torch

    from wmlib.agents.world_models import Agent, after_real_steps
    from wmlib.dream import Dream

    if options.film is not None:
        _check_film(options.film)
    agent = Agent.load(options.folder)
    dream = Dream(agent.memory, options.temperature)
    start = after_real_steps(agent, seed=options.seed)
    noise = torch.Generator().manual_seed(options.seed)
    imagined = dream.imagine(agent.controller, start, options.steps, noise)
    result: Result = {"decisions": options.steps, "dream_return": float(imagined.rewards.sum())}
    _check_finite(result)
    if options.film is not None:
        from wmlib.figures import save_gif

        codes = imagined.features[:, 0, 0, : agent.memory.config.latent].numpy()  # (T + 1, Z)
        save_gif(options.film, agent.vision.decode(codes))
        result["film"] = str(options.film)
    return result


def run_bench(options: argparse.Namespace) -> Result:
    if options.what == "environment":
        from wmlib.envs.speed import measure_speed

        return measure_speed(seconds=options.seconds)
    if options.what == "dream":
        from wmlib.dream import measure_dream

        return measure_dream(seconds=options.seconds)
    script = BENCHMARKS / f"{options.what}.py"
    code = subprocess.run([sys.executable, str(script), *options.rest], check=False).returncode
    if code:
        raise RuntimeError(f"{script.name} ended with exit code {code}")
    return {"results": str(BENCHMARKS / "results")}


def _scripts() -> list[str]:
    return sorted(path.stem for path in BENCHMARKS.glob("*.py"))


def _command(
    commands: Any, name: str, text: str, run: Callable[[argparse.Namespace], Result]
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=run)
    return command


def _seed_out_jobs(command: argparse.ArgumentParser, out: str) -> None:
    command.add_argument("--seed", type=int, default=0, help="(default: 0)")
    command.add_argument("--out", type=Path, required=True, help=out)
    _jobs(command)


def _jobs(command: argparse.ArgumentParser) -> None:
    cores = os.cpu_count() or 1
    command.add_argument(
        "--jobs", type=int, default=cores, help=f"worker processes (default: {cores})"
    )


def _training(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("--data", type=Path, required=True, help="folder of collected episodes")
    command.add_argument(
        "--out", type=Path, required=True, help=f"{what}'s checkpoint, .safetensors"
    )
    command.add_argument("--seed", type=int, default=0, help="(default: 0)")


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
    _check_place(out.parent)


def _check_film(film: Path) -> None:
    if film.suffix != ".gif" or film.is_dir():
        raise ValueError(f"--film must be a file that ends in .gif, got {film}")
    _check_place(film.parent)


def _check_folder(out: Path) -> None:
    """Refuse, before any work, a folder that could not be filled in the end."""
    if out.exists() and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise FileExistsError(f"{out} is not empty; name another folder")
    _check_place(out)


def _check_place(folder: Path) -> None:
    """Refuse a folder in which nothing can be written, or that cannot be made."""
    place = Path(os.path.realpath(folder))
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(folder)) from error
