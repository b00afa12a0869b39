"""What each command of the command line does; `train` has a file of its own."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # commands import what they need when they run
    from wmlib.agents.muzero import MuZero

Result = dict[str, Any]
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"  # of a checkout; a wheel has none


def check_finite(result: Any, name: str = "the result") -> None:
    """Refuse NaN and infinity: they are no JSON, and no result."""
    if isinstance(result, Mapping):
        for key, value in result.items():
            check_finite(value, key)
    elif isinstance(result, list | tuple):
        for value in result:
            check_finite(value, name)
    elif isinstance(result, float) and not math.isfinite(result):
        raise ArithmeticError(f"{name} is {result}: not a finite number")


def run_collect(options: argparse.Namespace) -> Result:
    from wmlib.collecting import collect, make_env
    from wmlib.exploration import SmoothRandomPolicy

    kwargs = {} if options.action_repeat is None else {"action_repeat": options.action_repeat}
    _check_folder(options.out)
    env = make_env(options.environment, **kwargs)
    policy = SmoothRandomPolicy(env.action_space)
    env.close()
    episodes = collect(
        policy, options.environment, episodes=options.episodes, seed=options.seed,
        max_steps=options.max_steps, patience=options.patience, env_kwargs=kwargs,
        time_limit=options.time_limit, n_jobs=options.jobs, folder=options.out,
    )  # fmt: skip
    return {
        "episodes": len(episodes),
        "decisions": sum(map(len, episodes)),
        "mean_return": sum(episode.total_reward for episode in episodes) / len(episodes),
        "out": str(options.out),
    }


def run_evaluate(options: argparse.Namespace) -> Result:
    from wmlib import agents
    from wmlib.agents.muzero import MuZero
    from wmlib.agents.world_models.recipes import ENV_ID, OFFICIAL_ID
    from wmlib.checkpoint import record_score
    from wmlib.envs.boards import BOARDS
    from wmlib.evaluation import evaluate
    from wmlib.typed import PositiveInt, check_type

    check_type("action_repeat", options.action_repeat, PositiveInt | None)
    check_type("episodes", options.episodes, PositiveInt)
    if options.record:
        check_place(options.folder)
    agent = agents.load(options.folder)
    if agent.environment in BOARDS:
        return _match(options, agent)
    searches = isinstance(agent, MuZero)
    for name, takes, what in (
        ("opponent", False, "board games"), ("rollouts", False, "board games"),
        ("simulations", searches, "agents that search"),
    ):  # fmt: skip
        if getattr(options, name) is not None and not takes:
            raise ValueError(f"--{name} is for {what}, this agent plays {agent.environment}")
    given = {"simulations": options.simulations} if searches else {}
    env_id, env_kwargs = agent.environment, {}
    if env_id == ENV_ID:
        repeat = 3 if options.action_repeat is None else options.action_repeat
        env_id, env_kwargs = OFFICIAL_ID, {"action_repeat": repeat}
    elif options.action_repeat is not None:
        raise ValueError(f"--action-repeat is for {ENV_ID}, this agent was trained on {env_id}")
    score = evaluate(
        agent.policy(**given), env_id, episodes=options.episodes, seed=options.seed,
        env_kwargs=env_kwargs, n_jobs=options.jobs,
    )  # fmt: skip
    if options.record:
        record_score(options.folder / agent.FILE, agent.KIND, score.as_dict())
    return score.as_dict()


def _match(options: argparse.Namespace, agent: MuZero) -> Result:
    """A match of many games, in which the players begin in turns."""
    from wmlib.checkpoint import record_score
    from wmlib.envs.boards import PerfectPlayer, RandomPlayer, board
    from wmlib.envs.mcts import MCTSPlayer
    from wmlib.matches import play_match

    kinds: dict[str, Any] = {"perfect": PerfectPlayer, "random": RandomPlayer, "mcts": MCTSPlayer}
    if options.opponent not in kinds:
        got = "none" if options.opponent is None else repr(options.opponent)
        raise ValueError(f"--opponent must be perfect, random or mcts on a board, got {got}")
    name, how = options.opponent, {}
    if name == "mcts":
        how = {"rollouts": 1000 if options.rollouts is None else options.rollouts}
        name = f"mcts-{how['rollouts']}"
    elif options.rollouts is not None:
        raise ValueError(f"--rollouts is for --opponent mcts, got {name}")
    if options.action_repeat is not None:
        raise ValueError(f"--action-repeat is not for {agent.environment}")
    game = board(agent.environment)
    given = {} if options.simulations is None else {"simulations": options.simulations}
    player, opponent = agent.player(game, **given), kinds[options.opponent](game, **how)
    match = play_match(game, player, opponent, options.episodes, options.seed)
    outcome = dataclasses.asdict(match)
    if options.record:
        record_score(options.folder / agent.FILE, agent.KIND, {name: outcome})
    return {
        "environment": agent.environment, "opponent": options.opponent, **how,
        "simulations": player.simulations, "episodes": options.episodes, **outcome,
    }  # fmt: skip


def run_dream(options: argparse.Namespace) -> Result:
    import torch

    from wmlib import agents
    from wmlib.agents.world_models.agent import Agent, after_real_steps
    from wmlib.agents.world_models.dream import Dream
    from wmlib.agents.world_models.recipes import ENV_ID
    from wmlib.shapes import named
    from wmlib.typed import PositiveInt, check_type

    check_type("steps", options.steps, PositiveInt)
    if options.film is not None:
        _check_film(options.film)
    agent = agents.load(options.folder)
    if not isinstance(agent, Agent):
        what = named(type(agent))
        raise ValueError(f"dream is for World Models, {options.folder} holds {what}")
    colours = agent.vision.config.frame[2]
    if options.film is not None and colours not in (1, 3):
        raise ValueError(f"a film has frames of 1 or 3 colours, this agent's have {colours}")
    dream = Dream(agent.memory, options.temperature)
    steps = 30 if agent.environment == ENV_ID else 1
    start = after_real_steps(agent, seed=options.seed, steps=steps)
    noise = torch.Generator().manual_seed(options.seed)
    imagined = dream.imagine(agent.controller, start, options.steps, noise)
    going = imagined.continues.cumprod(0)[:, 0, 0]  # (T,) after an imagined end nothing is earned
    earned = imagined.rewards[:, 0, 0] * torch.cat([torch.ones(1), going[:-1]])
    result: Result = {"decisions": options.steps, "dream_return": float(earned.sum())}
    check_finite(result)
    if options.film is not None:
        from wmlib.figures import save_gif

        codes = imagined.features[:, 0, 0, : agent.memory.config.latent].numpy()  # (T + 1, Z)
        save_gif(options.film, agent.vision.decode(codes))
        result["film"] = str(options.film)
    return result


def run_arena(options: argparse.Namespace) -> Result:
    from wmlib.arena import race
    from wmlib.entrants import entrants

    if options.out.suffix != ".json" or options.out.is_dir():
        raise ValueError(f"--out must be a file that ends in .json, got {options.out}")
    check_place(options.out.parent)
    rows = race(
        entrants(options.agents), options.env, steps=options.steps, seeds=options.seeds,
        out=options.out, n_jobs=options.jobs,
    )  # fmt: skip
    returns: dict[str, list[float]] = {}
    for row in rows:
        returns.setdefault(row["agent"], []).extend(row["evaluations"][-1]["returns"])
    means = {name: sum(values) / len(values) for name, values in returns.items()}
    return {"out": str(options.out), "rows": len(rows), **means}


def run_bench(options: argparse.Namespace) -> Result:
    if options.what == "environment":
        from wmlib.envs.car_racing.measure_speed import measure_speed

        return measure_speed(seconds=options.seconds)
    if options.what == "dream":
        from wmlib.agents.world_models.measure_speed import measure_dream

        return measure_dream(seconds=options.seconds)
    script = BENCHMARKS / f"{options.what}.py"
    code = subprocess.run([sys.executable, str(script), *options.rest], check=False).returncode
    if code:
        raise RuntimeError(f"{script.name} ended with exit code {code}")
    return {"results": str(BENCHMARKS / "results")}


def scripts() -> list[str]:
    """The benchmarks, without what they share."""
    shared = {"rows", "sac"}
    return sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem not in shared)


def _check_film(film: Path) -> None:
    if film.suffix != ".gif" or film.is_dir():
        raise ValueError(f"--film must be a file that ends in .gif, got {film}")
    check_place(film.parent)


def _check_folder(out: Path) -> None:
    """Refuse, before any work, a folder that could not be filled, or is full."""
    from wmlib.replay import Replay
    from wmlib.storage import DamagedFileError

    with contextlib.suppress(FileNotFoundError, DamagedFileError):  # empty, or to be gone on with
        Replay.load(out, verify=False)
        raise FileExistsError(f"{out} is not empty; name another folder")
    check_place(out)


def check_place(folder: Path) -> None:
    """Refuse a folder in which nothing can be written, or that cannot be made."""
    place = Path(os.path.realpath(folder))
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(folder)) from error
