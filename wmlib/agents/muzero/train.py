"""Training MuZero: play a round of games, search old positions anew, learn, and so on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from tqdm.auto import tqdm

from wmlib.agents.muzero.agent import MuZero
from wmlib.agents.muzero.config import MuZeroConfig, Spaces, usual
from wmlib.agents.muzero.self_play import World, play, random_states
from wmlib.checkpoint import made_by
from wmlib.learning import RunSeed, table
from wmlib.runs import Clock, Row, own_run
from wmlib.storage import open_arrays, save_arrays, write_atomically
from wmlib.training import restore, state_arrays
from wmlib.typed import PositiveInt, check_type, typed

REANALYZED = 1024
"""positions that are searched anew at a time, at most"""


@typed
def train_muzero(
    world: Any,
    *,
    steps: PositiveInt = 1_000_000,
    seed: RunSeed = 0,
    config: MuZeroConfig | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    marks: Sequence[int] = (),
    after: Callable[[int, MuZero], None] | None = None,
    every: PositiveInt = 1000,
    progress: bool = True,
) -> MuZero:
    """From nothing to an agent that plays against itself.

    Args:
        world: a `World`, such as `wmlib.envs.boards.TicTacToe()`; its rules are used to play in it,
            never to search.
        steps: real ones, or a few more. The games that are under way then are cut off, after one
            move at least: of `config.games` side by side, each takes one, and its random ones.
        seed: of everything that is random.
        config: of the run; None: as `usual` for that world.
        folder: where the run is kept, and its result; None keeps nothing.
        resume: go on with the run in `folder`.
        marks: real steps, from 1 to `steps`; rising.
        after: called as `after(real_steps, agent)` after the round in which a mark is reached.
        every: updates between two states of the run, of which the first is that after a round.
        progress: show a bar.

    Raises:
        ValueError: the world has no known number of actions, a support is too small for what was
            seen, a number is out of range, or the folder holds another run, or this one and
            `resume` is not given.
        BlockingIOError: another process works in the folder.
        DamagedFileError: the state of the run was cut short or altered.
    """
    spaces = Spaces.of(world)
    config = config or usual(spaces.players, getattr(world, "name", ""))
    agent = MuZero(spaces, config, seed=seed)
    for mark in marks:
        check_type("a mark", mark, Annotated[int, Field(ge=1, le=steps)])
    if folder is None:
        Run(agent, world, steps, None).go(marks, after, every, progress)
        return agent
    place, clock = Path(folder), Clock(Path(folder, "state.seconds"))
    identity = {
        "environment": world.name, "steps": steps, "seed": seed, "agent": MuZero.KIND,
        "config": dataclasses.asdict(config),
    }  # fmt: skip
    with own_run(place, identity, resume, agent.FILE):
        if not (place / agent.FILE).exists():
            with clock:
                run = Run(agent, world, steps, place / "state.safetensors")
                run.go(marks, after, every, progress)
                made = made_by(seed=seed, steps=agent.updates, seconds=clock.seconds)
            agent.save(place, made | {"environment": world.name, "real_steps": run.steps})
        return MuZero.load(place)


class Run:
    """What is so at the moment: the agent, what was played, and a row of each round."""

    def __init__(self, agent: MuZero, world: World, most: int, path: Path | None) -> None:
        self.agent, self.world, self.most, self.path = agent, world, most, path
        self.buffer, self.steps = agent.buffer(), 0
        self.rows: list[Row] = []
        if path is not None and path.exists():
            self.resume(path)

    def go(
        self, marks: Sequence[int], after: Callable[[int, MuZero], None] | None, every: int,
        progress: bool,
    ) -> None:  # fmt: skip
        """Play and learn to the end."""
        saved = self.agent.updates if self.rows else -every  # the first round leaves a state
        with tqdm(total=self.most, initial=self.steps, desc="steps", disable=not progress) as bar:
            while self.steps < self.most:
                before = self.steps
                self.round()
                bar.update(self.steps - before)
                if after is not None and any(before < mark <= self.steps for mark in marks):
                    after(self.steps, self.agent)
                if self.agent.updates >= saved + every or self.steps >= self.most:
                    self.save()
                    saved = self.agent.updates

    def reach(self, mark: int) -> None:
        """Rounds until exactly so many real steps are used: what is under way then is cut off.

        The world's games begin without random moves, and `mark` is at most the end of the run.
        """
        while self.steps < mark:
            self.round(min(self.agent.config.games, mark - self.steps), mark)

    def round(self, games: int | None = None, most: int | None = None) -> None:
        """Games played side by side to their ends, old positions searched anew, and updates.

        Args:
            games: None: as many as are configured.
            most: real steps after which those under way are cut off; None: at the end of the run.
        """
        agent, config, done = self.agent, self.agent.config, self.steps / self.most
        games, most = games or config.games, most or self.most
        rng = np.random.default_rng([agent.seed, 1, len(self.rows)])
        early, late, last = config.temperatures
        temperature = early if done < 0.5 else late if done < 0.75 else last
        moves = rng.integers(0, config.random_moves + 1, games)
        state, taken = random_states(self.world, moves, rng)
        played = play(
            self.world, lambda seen, legal: agent.think(seen, legal, rng=rng), state, temperature,
            rng, most - self.steps - taken,
        )  # fmt: skip
        self.steps += taken + len(played.actions)
        self.buffer.extend(played)
        self.reanalyze(round(config.reanalyze * len(played.actions)), rng)
        owed = int(config.ratio * self.steps + 1e-9) - agent.updates
        rate = min(1.0, (1 - done) / config.cooldown)
        losses = agent.learn(self.buffer, owed, rate) if owed else {}
        earned = float(played.rewards.sum()) / games
        self.rows.append(
            {"real_steps": self.steps, "earned": earned, "updates": agent.updates, **losses}
        )

    def reanalyze(self, count: int, rng: np.random.Generator) -> None:
        """Search so many old positions with the weights of today."""
        size, kept = REANALYZED, self.buffer.kept
        for begin in range(0, count, size):
            steps = self.buffer.anywhere(rng, min(size, count - begin))
            place = steps % self.buffer.capacity
            searched = self.agent.think(kept.observations[place], kept.legal[place], rng=rng)
            self.buffer.refresh(steps, searched.policy, searched.greedy)

    def save(self) -> None:
        """Everything that a killed run needs, in one file."""
        if self.path is None:
            return
        arrays = state_arrays(self.agent.modules, self.agent.optimisers, {})
        arrays |= {f"buffer/{name}": part for name, part in self.buffer.state().items()}
        count = {"updates": str(self.agent.updates), "steps": str(self.steps)}
        save_arrays(self.path, arrays, {**count, "rows": json.dumps(self.rows)})
        write_atomically(self.path.with_name("log.csv"), table(self.rows))

    def resume(self, path: Path) -> None:
        """Go on from the file at `path`."""
        arrays, metadata = open_arrays(path)
        restore(path, arrays, self.agent.modules, self.agent.optimisers, {})
        of_buffer = {n.removeprefix("buffer/"): a for n, a in arrays.items() if n[:7] == "buffer/"}
        self.buffer.restore(of_buffer)
        self.rows = json.loads(metadata["rows"])
        self.steps, self.agent.updates = int(metadata["steps"]), int(metadata["updates"])
