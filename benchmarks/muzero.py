"""Chapter 7's measurements of MuZero: two board games, whose rules it is never told, and CartPole.

    python benchmarks/muzero.py --seeds 3
    python benchmarks/muzero.py --parts cartpole --seeds 4
    python benchmarks/muzero.py --parts search speed
    python benchmarks/muzero.py --parts ablations
    python benchmarks/muzero.py --parts connect-four

The parts:
- train: from nothing to a player, seed by seed; on the way, at ten marks, the share of all 4,520
  positions in which it finds an optimal move; in the end every line that an opponent can choose, as
  either side, and 1,000 games against a perfect and against a random player;
- cartpole: 20,000 real steps on CartPole-v1, and at four marks, with several numbers of simulations
  a decision, 40 fresh episodes that are played without noise;
- search: in 200 random finite worlds with an exact model, how far the root's value and its best
  action are from value iteration's, against simulations;
- ablations: short trainings, seed by seed: as it is, unrolled by one step in place of five, and
  with a reconstruction loss (`wmlib.agents.muzero.ablations`); what each plays, and how much of the
  board a probe reads off its states, 0 to 5 moves after it last looked;
- connect-four: one long training on Connect Four, and its matches of 200 games against a plain tree
  search that is told the rules, with 100, 1,000 and 10,000 roll-outs a move;
- speed: simulations a second, of 128 games of tic-tac-toe side by side, and of a tree in plain
  Python, one game at a time. Run it alone, on an idle machine.

Seconds are processor time of one core. A row is written as soon as it is there, and the script goes
on with the rows it lacks. The trained agents are kept in --runs; a training that was killed begins
anew, so that all of its seconds count. (But for Connect Four, which goes on: its seconds count
up to the last mark before the kill, and from then on.)
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rows import Row, fill, machine

from wmlib.agents.muzero import (
    CONNECT_FOUR,
    ONE_PLAYER,
    GymWorld,
    MuZero,
    MuZeroConfig,
    Spaces,
    search,
    train_muzero,
)
from wmlib.agents.muzero.ablations import Painter
from wmlib.agents.muzero.exact import finite_model
from wmlib.agents.muzero.plain import run_mcts
from wmlib.agents.muzero.probe import shares_read
from wmlib.agents.muzero.train import Run
from wmlib.envs.boards import After, ConnectFour, PerfectPlayer, RandomPlayer, TicTacToe, minimax
from wmlib.envs.finite import FiniteMDPs
from wmlib.envs.mcts import MCTSPlayer
from wmlib.matches import every_line, play_match

OUT = Path(__file__).parent / "results" / "muzero.json"
GAME = TicTacToe()
SOLUTION = minimax(GAME)
CONFIG = MuZeroConfig()
STEPS, MARKS, SIMULATIONS, GAMES = 1_000_000, 10, 50, 1000
CARTPOLE, EPISODES, SEARCHED = "CartPole-v1", 40, (0, 5, 15, 25, 50)
CARTPOLE_STEPS = 19_993  # and at most 7 more: a move of each of 8 games is made at once
FOUR, FOUR_STEPS, FOUR_MARKS, FOUR_GAMES = ConnectFour(), 2_700_000, 15, 200
OPPONENTS = {100: (0, 50, 200), 1000: (0, 50, 200), 10_000: (50,)}  # roll-outs: simulations
OPENING = 12  # moves after which games are compared
PARTS = ("train", "cartpole", "search", "ablations", "connect-four", "speed")
SHORT, SHORT_SEEDS, VARIANTS = 100_000, 4, ("as it is", "unrolled by 1", "painting")
SHOWN = ("part", "variant", "seed", "seconds", "by_search", "by_network", "lines", "matches",
         "per_search", "value_error", "best_action", "found", "returns", "points")  # fmt: skip
BARS = {"by_search": 0.99, "by_network": 0.98, "seconds": 1200, "simulations_per_second": 100_000,
        "cartpole": 450}  # fmt: skip


def optimal(agent: MuZero, simulations: int) -> float:
    """The share of all positions in which it takes one of the best moves."""
    moves = agent.player(GAME, simulations).move(SOLUTION.cells)
    return round(float(SOLUTION.best[np.arange(len(moves)), moves].mean()), 4)


def examined(agent: MuZero) -> Row:
    """All that the final player is asked."""
    player = agent.player(GAME, SIMULATIONS)
    lines = every_line(GAME, player)
    matches = {
        name: play_match(GAME, player, opponent, GAMES, 0)
        for name, opponent in (("perfect", PerfectPlayer(GAME)), ("random", RandomPlayer(GAME)))
    }
    return {
        "simulations": SIMULATIONS,
        "by_search": optimal(agent, SIMULATIONS),
        "by_network": optimal(agent, 0),
        "lines": dict(zip(("begins", "follows"), map(dataclasses.asdict, lines), strict=True)),
        "matches": {name: dataclasses.asdict(match) for name, match in matches.items()},
    }


class Curve:
    """What a training comes to on its way; the seconds of its examinations do not count.

    Args:
        examine: an agent to what is found of it.
        earlier: seconds of processes that were killed.
    """

    def __init__(self, examine: Callable[[MuZero], Row], earlier: float = 0.0) -> None:
        self.examine, self.rows = examine, list[Row]()
        self._began = time.process_time() - earlier

    @property
    def seconds(self) -> float:
        """Of the training so far."""
        return round(time.process_time() - self._began, 1)

    def after(self, used: int, agent: MuZero) -> None:
        """As `train_muzero` calls it."""
        seconds, paused = self.seconds, time.process_time()
        about = {"real_steps": used, "updates": agent.updates, "seconds": seconds}
        self.rows.append(about | self.examine(agent))
        print(json.dumps({k: v for k, v in self.rows[-1].items() if k != "episodes"}), flush=True)
        self._began += time.process_time() - paused


def train(seed: int, steps: int, runs: Path) -> Row:
    """One player, from nothing."""
    shutil.rmtree(runs / f"{seed}", ignore_errors=True)
    curve = Curve(lambda agent: {
        "by_search": optimal(agent, SIMULATIONS), "by_network": optimal(agent, 0)
    })  # fmt: skip
    marks = [steps * mark // MARKS for mark in range(1, MARKS + 1)]
    agent = train_muzero(
        GAME, steps=steps, seed=seed, config=CONFIG, folder=runs / f"{seed}", marks=marks,
        after=curve.after, progress=False,
    )  # fmt: skip
    return {
        "steps": steps, "seconds": curve.seconds, "curve": curve.rows, **examined(agent),
        "threads": torch.get_num_threads(),
    }  # fmt: skip


def episodes_of(agent: MuZero, simulations: int, seed: int) -> list[float]:
    """What fresh episodes of CartPole-v1 return, played side by side."""
    world = GymWorld(CARTPOLE)
    player, rng = agent.player(world, simulations), np.random.default_rng([seed, 2])
    state, games, returns = world.start(EPISODES, rng), np.arange(EPISODES), np.zeros(EPISODES)
    for _ in range(world.limit or 0):
        if not len(games):
            break
        state, rewards, over = world.step(state, player.move(state))
        returns[games] += rewards
        state, games = state[~over], games[~over]
    return [float(one) for one in returns]


def cartpole(seed: int) -> Row:
    """One agent on CartPole-v1, from nothing."""

    def examine(agent: MuZero) -> Row:
        episodes = {str(n): episodes_of(agent, n, seed) for n in SEARCHED}
        means = {n: round(float(np.mean(returns)), 1) for n, returns in episodes.items()}
        return {"returns": means, "episodes": episodes}

    curve = Curve(examine)
    marks = [CARTPOLE_STEPS // parts for parts in (8, 4, 2, 1)]
    agent = train_muzero(
        GymWorld(CARTPOLE), steps=CARTPOLE_STEPS, seed=seed, config=ONE_PLAYER, marks=marks,
        after=curve.after, progress=False,
    )  # fmt: skip
    last = curve.rows[-1]
    return {
        "real_steps": last["real_steps"], "updates": last["updates"], "seconds": last["seconds"],
        "returns": last["returns"],
        "parameters": sum(p.numel() for p in agent.networks.parameters()), "curve": curve.rows,
        "threads": torch.get_num_threads(),
    }  # fmt: skip


def begun(variant: str, seed: int) -> MuZero:
    """A new agent of a variant."""
    if variant == "painting":
        return Painter(Spaces.of(GAME), CONFIG, seed)
    unroll = 1 if variant == "unrolled by 1" else CONFIG.unroll
    return MuZero(Spaces.of(GAME), dataclasses.replace(CONFIG, unroll=unroll), seed)


def ablation(variant: str, seed: int, steps: int) -> Row:
    """One short training of a variant."""
    agent, began = begun(variant, seed), time.process_time()
    run = Run(agent, GAME, steps, None)
    run.go((), None, every=steps, progress=False)
    seconds = time.process_time() - began
    read = shares_read(agent.average, GAME, SOLUTION.cells, steps=5, lines=2)  # (2, 6)
    return {
        "real_steps": run.steps, "updates": agent.updates, "noise": agent.config.noise,
        "seconds": round(seconds, 1), "simulations": SIMULATIONS,
        "by_search": optimal(agent, SIMULATIONS), "by_network": optimal(agent, 0),
        "read": dict(zip(("one_probe", "own_probe"), read.round(4).tolist(), strict=True)),
        "threads": torch.get_num_threads(),
    }  # fmt: skip


class Openings(ConnectFour):
    """The game, which keeps the positions in which `OPENING` stones lie."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[np.ndarray] = []

    def step(self, cells: np.ndarray, actions: np.ndarray) -> After:
        after = super().step(cells, actions)
        self.met.append(after.cells[(after.cells != 0).sum(1) == OPENING])
        return after


def against_mcts(agent: MuZero, simulations: int, rollouts: int, games: int) -> Row:
    """A match on Connect Four, and how many different openings were played in it: who draws nothing
    may play the same game often."""
    game = Openings()
    opponent = MCTSPlayer(FOUR, rollouts)
    match = play_match(game, agent.player(FOUR, simulations), opponent, games, 0)
    met = np.concatenate(game.met)
    return {
        **dataclasses.asdict(match), "points": (match.wins + match.draws / 2) / match.games,
        "openings": len(np.unique(met, axis=0)), "of": len(met),
    }  # fmt: skip


def connect_four(seed: int, runs: Path) -> Row:
    """One long training on Connect Four, and its matches; it goes on where it was killed."""
    folder = runs / f"connect-four-{seed}"
    log = folder / "marks.jsonl"  # goes with the run, where its folder is removed
    before = log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    def examine(agent: MuZero) -> Row:
        opponent = MCTSPlayer(FOUR, min(OPPONENTS))
        matches = {
            str(n): play_match(FOUR, agent.player(FOUR, n), opponent, FOUR_GAMES // 2, 0)
            for n in (0, SIMULATIONS)
        }
        return {"matches": {n: dataclasses.asdict(match) for n, match in matches.items()}}

    curve = Curve(examine, json.loads(before[-1])["seconds"] if before else 0.0)

    def after(used: int, agent: MuZero) -> None:
        curve.after(used, agent)
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(curve.rows[-1]) + "\n")

    agent = train_muzero(
        FOUR, steps=FOUR_STEPS, seed=seed, config=CONNECT_FOUR, folder=folder, resume=True,
        marks=[FOUR_STEPS * mark // FOUR_MARKS for mark in range(1, FOUR_MARKS + 1)],
        after=after, progress=False,
    )  # fmt: skip
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    marks = list({row["real_steps"]: row for row in rows}.values())
    matches: dict[str, Row] = {
        str(rollouts): {str(n): against_mcts(agent, n, rollouts, FOUR_GAMES) for n in searches}
        for rollouts, searches in OPPONENTS.items()
    }
    random = play_match(FOUR, agent.player(FOUR, SIMULATIONS), RandomPlayer(FOUR), GAMES, 0)
    return {
        **{name: marks[-1][name] for name in ("real_steps", "updates", "seconds")},
        "parameters": sum(p.numel() for p in agent.networks.parameters()),
        "simulations": SIMULATIONS, "random": dataclasses.asdict(random), "matches": matches,
        "points": {n: match[str(SIMULATIONS)]["points"] for n, match in matches.items()},
        "curve": marks, "threads": torch.get_num_threads(),
    }  # fmt: skip


def search_errors(simulations: int) -> Row:
    """How far a search is from value iteration in 200 worlds."""
    mdps, noise = FiniteMDPs(200, discount=0.5), 0.3
    root, recurrent_fn = finite_model(mdps, noise)
    truth = mdps.values()[:, 0]  # (W, A)
    searched = search(root, recurrent_fn, simulations)
    best = truth.max(1)  # (W,)
    lost = best - truth[np.arange(len(best)), searched.visits.argmax(1)]  # (W,)
    wrong = np.abs(searched.value - best)  # (W,)
    return {
        "worlds": len(best), "discount": mdps.discount, "noise": noise,
        "value_error": round(float(wrong.mean()), 5),
        "value_error_quantiles": [round(float(q), 5) for q in np.quantile(wrong, (0.05, 0.95))],
        "action_loss": round(float(lost.mean()), 6),
        "best_action": round(float((lost < 1e-9).mean()), 4),
    }  # fmt: skip


def speed(runs: Path) -> Row:
    """Simulations a second of a trained agent, and of a new one if there is none."""
    trained = (runs / "0" / MuZero.FILE).exists()
    agent = MuZero.load(runs / "0") if trained else MuZero(Spaces.of(GAME), CONFIG)
    rng, games, few = np.random.default_rng(0), 128, 2
    found: dict[str, Row] = {}
    for start, cells in (
        ("empty boards", GAME.start(games)),
        ("any positions", SOLUTION.cells[rng.choice(len(SOLUTION.cells), games, replace=False)]),
    ):
        seen, legal = GAME.observe(cells), GAME.legal(cells)
        for simulations in (25, 50):
            arrays, plain = [], []
            for _ in range(9):
                began = time.process_time()
                agent.think(seen, legal, simulations, rng)
                arrays.append(games * simulations / (time.process_time() - began))
            root = agent.root(seen)
            for game in range(few):
                began = time.process_time()
                run_mcts(root.prior[game], float(root.value[game]), root.state[game],
                         agent.recurrent_fn, simulations, legal[game])  # fmt: skip
                plain.append(simulations / (time.process_time() - began))
            found[f"{start}, {simulations}"] = {
                "rates": [round(rate) for rate in arrays], "median": round(np.median(arrays[1:])),
                "plain": round(np.median(plain)),
                "ratio": round(float(np.median(arrays[1:]) / np.median(plain)), 1),
            }  # fmt: skip
    return {"games": games, "trained": trained, "found": found, "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1), "threads": torch.get_num_threads()}  # fmt: skip


def tasks(parts: list[str], seeds: int) -> list[Row]:
    """What each row is named by."""
    listed: list[Row] = []
    if "train" in parts:
        listed += [{"part": "train", "seed": seed} for seed in range(seeds)]
    if "cartpole" in parts:
        listed += [{"part": "cartpole", "seed": seed} for seed in range(seeds)]
    if "search" in parts:
        listed += [{"part": "search", "per_search": 2**k} for k in range(2, 13)]
    if "ablations" in parts:
        listed += [
            {"part": "ablation", "variant": variant, "seed": seed}
            for seed in range(SHORT_SEEDS) for variant in VARIANTS
        ]  # fmt: skip
    if "connect-four" in parts:
        listed.append({"part": "connect-four", "seed": 0})
    if "speed" in parts:
        listed.append({"part": "speed"})
    return listed


def measure(name: Row, options: argparse.Namespace) -> Row:
    if name["part"] == "train":
        return name | train(name["seed"], options.steps, options.runs)
    if name["part"] == "cartpole":
        return name | cartpole(name["seed"])
    if name["part"] == "search":
        return name | search_errors(name["per_search"])
    if name["part"] == "ablation":
        return name | ablation(name["variant"], name["seed"], SHORT)
    if name["part"] == "connect-four":
        return name | connect_four(name["seed"], options.runs)
    return name | speed(options.runs)


def summary(rows: list[Row]) -> Row:
    """What the rows say, for the chapter and for whoever ran this."""
    trained = [row for row in rows if row["part"] == "train"]
    points = {row["seed"]: row["points"] for row in rows if row["part"] == "connect-four"}
    return {
        "bars": BARS,
        **{
            name: {row["seed"]: row[name] for row in trained}
            for name in ("by_search", "by_network", "seconds")
        },
        "lines_lost": {
            row["seed"]: sum(side["losses"] for side in row["lines"].values()) for row in trained
        },
        "matches_lost": {
            row["seed"]: sum(match["losses"] for match in row["matches"].values())
            for row in trained
        },
        "cartpole": {row["seed"]: row["returns"] for row in rows if row["part"] == "cartpole"},
        **({"connect_four": points} if points else {}),
        "simulations_per_second": {
            name: each["median"]
            for row in rows
            if row["part"] == "speed"
            for name, each in row["found"].items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS,
                        default=["train", "search"])  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS, help="real ones, of a training")
    parser.add_argument("--runs", type=Path, default=Path("runs/muzero"))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    made = {
        "command": f"python benchmarks/muzero.py --seeds {options.seeds} --steps {options.steps}",
        "configuration": dataclasses.asdict(CONFIG),
        "cartpole": dataclasses.asdict(ONE_PLAYER),
        "connect_four": dataclasses.asdict(CONNECT_FOUR), **machine(("numpy", "torch")),
    }  # fmt: skip
    rows = fill(
        options.out, tasks(options.parts, options.seeds), lambda name: measure(name, options),
        lambda rows: {"made": made, "summary": summary(rows)}, shown=SHOWN,
    )  # fmt: skip
    print(json.dumps(summary(rows), indent=1))


if __name__ == "__main__":
    main()
