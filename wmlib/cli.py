"""The command line: collect, train, evaluate, dream, arena, bench.

Exit codes: 0 when it is done, 1 when a run failed, 2 when the call or its input was wrong, 130 when
it was interrupted. With `--json`, the only line on standard output is one JSON object; progress
goes to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wmlib.commands import (
    Result,
    check_finite,
    run_arena,
    run_bench,
    run_collect,
    run_dream,
    run_evaluate,
    scripts,
)
from wmlib.train_commands import (
    kept,
    run_car_racing,
    run_controller,
    run_diamond,
    run_dreamer,
    run_dreamerv3,
    run_iris,
    run_memory,
    run_muzero,
    run_vision,
    run_world_models,
)

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
    if rest and not (options.command == "bench" and options.what in scripts()):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    from wmlib.typed import Seed, check_type  # not for the help

    try:
        check_type("seed", getattr(options, "seed", 0), Seed)
        result = options.run(options)
        check_finite(result)
    except (ValueError, TypeError, OSError) as error:
        _tell(f"wmlib: error: {error}")
        return 2
    except (RuntimeError, ArithmeticError) as error:
        _tell(f"wmlib: failed: {error}")
        return 1
    except KeyboardInterrupt as stop:
        _tell(f"wmlib: {stop}" if str(stop) else "wmlib: interrupted")
        if options.command == "arena":
            _tell("wmlib: every finished row is kept; go on by the same command")
        if options.command == "train":
            again = "with --resume" if hasattr(options, "resume") else "by the same command"
            _tell(f"wmlib: {kept(options)} {again}")
        return 130
    if options.json:
        print(json.dumps(result, allow_nan=False))
    else:
        for name, value in result.items():
            print(f"{name}: {f'{value:.4g}' if isinstance(value, float) else value}")
    return 0


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
        help="a registered id, such as wmlib/CarRacing-v3, whose actions are numbers (a bounded "
        "Box of one axis); MODULE:ID imports MODULE first",
    )
    collect.add_argument("--episodes", type=int, default=480, help="how many (default: 480)")
    collect.add_argument("--max-steps", type=int, help="decisions after which an episode is cut")
    collect.add_argument(
        "--patience", type=int, help="decisions without a positive reward after which it is cut"
    )
    collect.add_argument(
        "--action-repeat", type=int, help="frames for each decision, where the environment has it"
    )
    collect.add_argument(
        "--time-limit", type=float, help="seconds after which an episode, and the run, is given up"
    )
    _seed_out_jobs(collect, "folder for the episodes; the same command goes on after a kill")

    train = commands.add_parser("train", help="train a whole agent, or V, M or C alone")
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

    anywhere = _command(
        parts, "world-models",
        "V, M and C on pictures (H, W, C) of bytes and on choices, or on numbers in [-1, 1] or "
        "[0, 1]", run_world_models,
    )  # fmt: skip
    _whole_run(anywhere, 3000)
    dreamer = _command(
        parts, "dreamer", "Dreamer, on pictures of bytes and on numbers in a bounded Box",
        run_dreamer,
    )  # fmt: skip
    _whole_run(dreamer, 20_000)
    third = _command(
        parts, "dreamerv3",
        "DreamerV3, on any Box of observations, and on choices or numbers in a bounded Box",
        run_dreamerv3,
    )  # fmt: skip
    _whole_run(third, 3000)
    speaker = _command(parts, "iris", "IRIS, on frames of bytes or bools and on choices", run_iris)
    _whole_run(speaker, 3000)
    diffusion = _command(
        parts, "diamond", "DIAMOND, on frames of bytes or bools and on choices", run_diamond
    )
    _whole_run(diffusion, 3000)
    planner = _command(
        parts, "muzero", "MuZero, on a board game against itself, or on any Box of observations "
        "and on choices", run_muzero,
    )  # fmt: skip
    _whole_run(
        planner, 1_000_000, "tic-tac-toe, connect-four or a registered id",
        "real steps, after which no more games begin: on a board 512 are played side by side, each "
        "with up to 8 random moves and one of its own, so the last ones may take 4,608 more; "
        "on Connect Four up to 16 and 8,704",
    )  # fmt: skip

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
        commands, "evaluate",
        "score an agent in the environment it was trained on, or on a board against --opponent",
        run_evaluate,
    )  # fmt: skip
    score.add_argument("folder", type=Path, help="of a trained agent")
    score.add_argument(
        "--opponent",
        help="perfect (not on Connect Four), random or mcts: a board game needs one, and prints "
        "wins, draws and losses",
    )
    score.add_argument(
        "--rollouts", type=int,
        help="of each move of mcts, a tree search that is told the rules (default: 1000)",
    )  # fmt: skip
    score.add_argument(
        "--simulations", type=int,
        help="of each of MuZero's searches (default: 50 on a board, else as in training; 0: none)",
    )  # fmt: skip
    score.add_argument("--episodes", type=int, default=32, help="(default: 32)")
    score.add_argument(
        "--seed", type=int, default=900_000, help="of the first episode (default: 900000)"
    )
    score.add_argument("--action-repeat", type=int, help="CarRacing's, as in training (default: 3)")
    score.add_argument("--record", action="store_true", help="write the score into the manifest")
    _jobs(score)

    dream = _command(commands, "dream", "let World Models act in their own dream", run_dream)
    dream.add_argument("folder", type=Path, help="holds vision, memory and controller .safetensors")
    dream.add_argument("--steps", type=int, default=100, help="dreamed decisions (default: 100)")
    dream.add_argument("--temperature", type=float, default=1.0, help="> 0 (default: 1)")
    dream.add_argument("--seed", type=int, default=0, help="of the real beginning and of the dream")
    dream.add_argument("--film", type=Path, help="write the dream as a .gif")

    arena = _command(commands, "arena", "race agents on one world", run_arena)
    arena.add_argument(
        "--env",
        required=True,
        help="a registered id, such as wmlib/PixelCatch-v0 or MinAtar/Breakout-v1",
    )
    arena.add_argument("--steps", type=int, required=True, help="real steps of each, at least 4")
    arena.add_argument("--seeds", type=int, default=5, help="how many: 0, 1, ... (default: 5)")
    arena.add_argument(
        "--agents",
        required=True,
        help="a list such as random,dreamerv3,dqn; dqn@12000 makes 12,000 updates",
    )
    arena.add_argument("--out", type=Path, required=True, help="the table, .json; it grows")
    _jobs(arena)

    bench = _command(commands, "bench", "measure this machine, or run a benchmark", run_bench)
    bench.add_argument(
        "what",
        choices=("environment", "dream", *scripts()),
        help="environment, dream: the speed of this machine; any other: benchmarks/WHAT.py, which "
        "gets the other options (its file says which) and may take hours or days",
    )
    bench.add_argument(
        "--seconds", type=float, default=20.0,
        help="about how long, of environment and dream (default: 20)",
    )  # fmt: skip
    return top


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


def _whole_run(
    command: argparse.ArgumentParser, steps: int, env: str = "a registered id, or MODULE:ID",
    text: str = "real steps",
) -> None:  # fmt: skip
    command.add_argument("--env", required=True, help=env)
    command.add_argument("--steps", type=int, default=steps, help=f"{text} (default: {steps})")
    command.add_argument("--seed", type=int, default=0, help="(default: 0)")
    command.add_argument(
        "--out", type=Path, required=True, help="folder of the run: its state, log.csv, result"
    )
    command.add_argument(
        "--resume", action="store_true", help="go on with the run in --out, after a kill"
    )


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
