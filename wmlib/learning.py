"""The loop in which an agent plays and learns: play an episode, keep it, learn, save, log.

An agent that learns while it plays is anything with `modules`, `optimisers`, `updates`, `stretch`,
`policy(explore)` and `learn(stream, updates)`. All that is random hangs on the seed and on counts
of episodes and updates, so that a run that was killed ends as an undisturbed one does.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import gymnasium as gym
import numpy as np
import torch
from pydantic import Field
from tqdm.auto import tqdm

from wmlib.checkpoint import Kept, made_by
from wmlib.collecting import specification
from wmlib.episodes import Policy, run_episode
from wmlib.exploration import random_policy
from wmlib.runs import Clock, Row, own_run
from wmlib.sequences import Sequences, Stream
from wmlib.storage import open_arrays, save_arrays, write_atomically
from wmlib.training import restore, state_arrays
from wmlib.typed import LARGEST, PositiveFloat, PositiveInt, check_type, typed

SEEDS = 1_000_000
"""A run with seed s plays the episodes s * SEEDS, s * SEEDS + 1, ... (see `wmlib.arena.SEEDS`)."""

MOST_UPDATES = 10_000_000
"""Of a run, and more than it has. With seed s, the dice of update u are thrown with the seed
s * MOST_UPDATES + u, so that no two runs share theirs."""

RunSeed = Annotated[int, Field(ge=0, le=LARGEST // MOST_UPDATES - 1)]


class Learner(Kept, Protocol):
    """An agent that learns while it plays."""

    stretch: int
    """observations in the longest stretch that it learns from: so many it must have seen first"""

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Adam]: ...

    def policy(self, explore: bool) -> Policy:
        """What plays, as it is now and as it learns on."""
        ...

    def learn(self, stream: Stream, updates: int) -> Row:
        """Learn from all that was seen; the mean of what the updates say.

        What an update draws hangs on `updates` alone: two calls come to what one does.
        """
        ...

    def save(self, folder: Path, made: Mapping[str, Any]) -> None:
        """Save it as a trained agent."""
        ...

    def load(self, folder: Path) -> Any:
        """A trained agent, as it was saved."""
        ...


Trained = TypeVar("Trained", bound=Learner)


def check_steps(
    env: gym.Env, steps: int, first: int, marks: Sequence[int] = (), stretch: int = 1
) -> None:
    """Refuse numbers of real steps that a run cannot count to.

    Args:
        env: its steps are counted, see `repeat_of`.
        steps: in all.
        first: of random play.
        marks: on the way.
        stretch: observations that must have been seen after random play.

    Raises:
        ValueError: one is above `steps`, or no multiple of the environment's `action_repeat`, or
            there is too little random play.
    """
    repeat = repeat_of(env)
    if steps < first:
        raise ValueError(f"steps must be at least {first} (random play comes first), got {steps}")
    for name, value in (("steps", steps), ("first", first), *(("a mark", mark) for mark in marks)):
        check_type(name, value, Annotated[int, Field(ge=1, le=steps)])
        if value % repeat:
            raise ValueError(
                f"{name} must be a multiple of {repeat} (real steps in a decision), got {value}"
            )
    if first < (least := repeat * (stretch - 1)):
        raise ValueError(f"first must be at least {least}, for stretches of {stretch}, got {first}")


def repeat_of(env: gym.Env) -> int:
    """Real steps in a decision."""
    return int(getattr(env.unwrapped, "action_repeat", 1))


@typed
def train_online(
    make: Callable[[gym.Env], Trained],
    env_id: str,
    *,
    steps: PositiveInt,
    seed: RunSeed,
    first: PositiveInt,
    ratio: PositiveFloat,
    identity: Mapping[str, Any],
    folder: str | Path | None = None,
    resume: bool = False,
    marks: Sequence[int] = (),
    after: Callable[[int, Trained], None] | None = None,
    progress: bool = True,
) -> Trained:
    """From nothing to a trained agent, in a folder of its own.

    Args:
        make: an agent for an environment.
        env_id: a registered id, or "module:id".
        steps, seed, first, ratio, marks, progress: as in `learn_online`.
        identity: what makes the run this one, besides environment, steps and seed: its settings.
        folder: where the run is kept, and its result; None keeps nothing.
        resume: go on with the run in `folder`.
        after: called at each mark with the real steps used so far, and the agent.

    Raises:
        ValueError: the environment is unknown, the agent cannot see it or act in it, a number is
            out of range, or the folder holds another run, or this one and `resume` is not given.
        BlockingIOError: another process works in the folder.
    """
    env = gym.make(specification(env_id))
    agent = make(env)
    check_steps(env, steps, first, marks, agent.stretch)  # before the folder is claimed

    def at_mark(used: int) -> None:
        if after is not None:
            after(used, agent)

    loop: dict[str, Any] = {
        "steps": steps, "seed": seed, "first": first, "ratio": ratio, "marks": marks,
        "at_mark": at_mark, "progress": progress,
    }  # fmt: skip
    if folder is None:
        learn_online(agent, env, **loop)
        return agent
    place, run = Path(folder), {"environment": env_id, "steps": steps, "seed": seed, **identity}
    clock = Clock(place / "state.seconds")
    with own_run(place, run, resume, agent.FILE):
        if not (place / agent.FILE).exists():
            with clock:
                rows = learn_online(agent, env, folder=place, **loop)
                made = made_by(seed=seed, steps=agent.updates, seconds=clock.seconds)
            made |= {"environment": env_id, "real_steps": rows[-1]["real_steps"]}
            agent.save(place, made)
        trained: Trained = agent.load(place)
        return trained


@typed
def learn_online(
    learner: Learner,
    env: gym.Env,
    *,
    steps: PositiveInt,
    seed: RunSeed,
    first: PositiveInt,
    ratio: PositiveFloat,
    marks: Sequence[int] = (),
    at_mark: Callable[[int], None] | None = None,
    folder: Path | None = None,
    every: PositiveInt = 250,
    progress: bool = True,
) -> list[Row]:
    """Let an agent play and learn for so many real steps.

    Args:
        learner: trained in place.
        env: its steps are real steps; one with `action_repeat` counts each repeat.
        steps: real steps in all.
        seed: of the episodes.
        first: real steps of random play before it learns.
        ratio: updates for each real step after that; those for the first steps come at once.
        marks: real steps at which an episode is cut short and `at_mark` is called; rising.
        at_mark: called as `at_mark(real_steps)`; once more where a run was killed soon after.
        folder: where the state is kept, from which a run goes on; None for nowhere. It belongs to
            this run alone, see `train_online`.
        every: updates between two states, of which the first is that after random play.
        progress: show a bar.

    Returns:
        A row an episode: real_steps, updates, the return, and what learning says (means since the
        last row).

    Raises:
        ValueError: a number is out of range, or no multiple of the environment's `action_repeat`.
        DamagedFileError: the state was cut short or altered.
    """
    check_steps(env, steps, first, marks, learner.stretch)
    run = _Run(learner, env, folder, first, every)
    with tqdm(total=steps, initial=run.steps, desc="steps", disable=not progress) as bar:
        while run.steps < steps or run.owes:
            if not run.owes:  # else it was killed while it learned
                due = min(mark for mark in (*marks, steps, first) if mark > run.steps)
                run.play(seed, learning=run.steps >= first, most=due - run.steps)
                bar.update(run.steps - bar.n)
            if run.owes:
                run.learn(int(ratio * run.steps + 1e-9))
                bar.set_postfix_str(f"return {run.rows[-1]['return']:.4g}")
            if at_mark is not None and run.steps in marks:
                at_mark(run.steps)
        run.save()
        return run.rows


class _Run:
    """What is so at the moment: all that was seen, and a row of each episode."""

    def __init__(
        self, learner: Learner, env: gym.Env, folder: Path | None, first: int, every: int
    ) -> None:
        self.learner, self.env, self.first, self.every = learner, env, first, every
        self.repeat = repeat_of(env)
        self.path = None if folder is None else folder / "state.safetensors"
        self.stream, self.steps = Stream(), 0
        self.rows: list[Row] = []
        self.losses: dict[str, list[float]] = {}
        """by each update since the last row was full"""
        self.saved = -every  # so that the first update finds a state
        if self.path is not None and self.path.exists():
            self.resume(self.path)

    @property
    def owes(self) -> bool:
        """Whether the last episode has not been learned from in full."""
        return self.steps >= self.first and "updates" not in self.rows[-1]

    def play(self, seed: int, learning: bool, most: int) -> None:
        """One more episode, cut after `most` real steps."""
        policy = self.learner.policy(True) if learning else random_policy(self.env.action_space)
        number = seed * SEEDS + len(self.rows)
        episode = run_episode(self.env, policy, number, max_steps=most // self.repeat)
        self.stream.extend(episode)
        self.steps += self.repeat * len(episode)
        self.rows.append({"real_steps": self.steps, "return": episode.total_reward})

    def learn(self, owed: int) -> None:
        """Until so many updates were made in all; every so often there is a state to go on from."""
        self.keep()
        while self.learner.updates < owed:
            for name, number in self.learner.learn(self.stream, 1).items():
                self.losses.setdefault(name, []).append(number)
            self.keep()
        means = {name: float(np.mean(numbers)) for name, numbers in self.losses.items()}
        self.rows[-1] |= {"updates": self.learner.updates, **means}
        self.losses = {}

    def keep(self) -> None:
        """Save where it is time."""
        if self.learner.updates >= self.saved + self.every:
            self.save()

    def save(self) -> None:
        """Everything that a killed run needs, in one file."""
        self.saved = self.learner.updates
        if self.path is None:
            return
        arrays = state_arrays(self.learner.modules, self.learner.optimisers, {})
        arrays |= {f"stream/{name}": part for name, part in self.stream.arrays().items()}
        count = {"updates": str(self.learner.updates), "steps": str(self.steps)}
        kept = {"rows": json.dumps(self.rows), "losses": json.dumps(self.losses)}
        save_arrays(self.path, arrays, {**count, **kept})
        write_atomically(self.path.with_name("log.csv"), table(self.rows))

    def resume(self, path: Path) -> None:
        """Go on from the file at `path`."""
        arrays, metadata = open_arrays(path)
        restore(path, arrays, self.learner.modules, self.learner.optimisers, {})
        parts = {name.removeprefix("stream/"): part for name, part in arrays.items()}
        self.stream = Stream({name: parts[name] for name in Sequences._fields})
        self.rows = json.loads(metadata["rows"])
        kept = metadata.get("losses", metadata.get("said", "{}"))  # "said": an earlier version's
        self.losses = json.loads(kept)
        self.steps, self.learner.updates = int(metadata["steps"]), int(metadata["updates"])
        self.saved = self.learner.updates


def table(rows: Sequence[Row]) -> bytes:
    """Rows as a .csv, whose columns are all that any of them says."""
    text = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
