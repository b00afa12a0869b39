"""A denoiser trained on episodes that are there already.

No reward is learned and nothing acts: it is what draws in DIAMOND's world model, by itself, as the
authors trained it on recordings of a larger game (Alonso et al. 2024, "Counter-Strike").
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import nn
from tqdm.auto import tqdm

from wmlib.agents.diamond.denoiser import Denoiser, DenoiserConfig, pixels
from wmlib.checkpoint import (
    check_arrays,
    configured,
    load_checkpoint,
    looks,
    made_by,
    rebuilt,
    save_checkpoint,
)
from wmlib.learning import MOST_UPDATES, RunSeed, table
from wmlib.replay import Replay
from wmlib.runs import Clock, own_run
from wmlib.sequences import Stream
from wmlib.storage import write_atomically
from wmlib.training import History, check_finite, resumed, save_state, seeded
from wmlib.typed import NonNegativeFloat, PositiveFloat, PositiveInt, Share, check_type, typed

FILE, KIND, STATE = "denoiser.safetensors", "denoiser", "state.safetensors"


@typed
@dataclass(frozen=True)
class OfflineConfig:
    """Of a denoiser's training. "Paper" is Alonso et al. 2024, on Atari."""

    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    batch: PositiveInt = 24
    """frames to be told, an update (paper: 32)"""
    learning_rate: PositiveFloat = 5e-4
    """AdamW's (paper: 1e-4; ours: for a fiftieth of its updates)"""
    warmup: PositiveInt = 100
    """updates over which it rises (paper: 100)"""
    cooldown: Share = 0.3
    """last share of the updates, over which it falls to 0 (ours)"""
    decay: NonNegativeFloat = 1e-2
    """of the weights (paper: 1e-2)"""
    clip: PositiveFloat = 1.0
    """largest norm of the gradient (paper: 1)"""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """how much of the averaged weights stays at an update; less while there were few (ours, as is
    usual for diffusion; the authors' code averages nothing)"""


@dataclass(frozen=True)
class _Saved:
    """What is in the manifest of a denoiser."""

    denoiser: DenoiserConfig
    frame: tuple[int, int, int]
    actions: int


@typed
def train_denoiser(
    replay: Replay,
    config: OfflineConfig | None = None,
    *,
    steps: Annotated[int, Field(ge=1, lt=MOST_UPDATES)],
    seed: RunSeed = 0,
    folder: str | Path | None = None,
    resume: bool = False,
    every: PositiveInt = 250,
    marks: Sequence[int] = (),
    after: Callable[[int, Denoiser], None] | None = None,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> Denoiser:
    """A denoiser of the frames of these episodes, with averaged weights.

    Args:
        replay: frames (H, W, C) of bytes or bools, actions (A,) float32.
        config: of the training.
        steps: updates.
        seed: of the first weights, the batches and the noise.
        folder: where the run is kept, and in the end the denoiser; None for nowhere.
        resume: go on with the run that `folder` holds.
        every: updates between two states from which it goes on, and two lines of log.csv.
        marks: updates after which `after` is called.
        after: called as `after(updates, denoiser)` with the averaged weights so far; once more
            where a run was killed soon after.
        device: that it learns on, and is then.
        progress: show a bar.

    Returns:
        The denoiser, which `load_denoiser(folder)` loads.

    Raises:
        ValueError: the replay is empty, its episodes are of another kind, frames have sides that do
            not divide, a number is out of range, or the folder holds another run, or this one and
            `resume` is not given.
        BlockingIOError: another process works in the folder.
        NotFiniteError: a loss is NaN or infinite.
    """
    config = config or OfflineConfig()
    frame, actions = _spaces(replay)
    if replay.frames <= (past := config.denoiser.past):
        raise ValueError(f"the replay must have at least {past + 1} frames, got {replay.frames}")
    for mark in marks:
        check_type("a mark", mark, Annotated[int, Field(ge=1, le=steps)])
    denoiser = seeded(seed, lambda: Denoiser(config.denoiser, frame, actions)).to(device)
    run = _Run(denoiser, config, replay, steps, seed, marks, after)
    if folder is None:
        run.go_on(None, every, progress)
        return run.averaged
    place = Path(folder)
    identity = {
        "what": KIND, "steps": steps, "seed": seed, "config": dataclasses.asdict(config),
        "replay": replay.digest(),
    }  # fmt: skip
    clock = Clock(place / "state.seconds")
    with own_run(place, identity, resume, FILE):
        if not (place / FILE).exists():
            with clock:
                run.go_on(place, every, progress)
                made = made_by(seed=seed, steps=steps, seconds=clock.seconds)
            save_denoiser(place, run.averaged, frame, actions, made)
        return load_denoiser(place, device)


def save_denoiser(
    folder: str | Path,
    denoiser: Denoiser,
    frame: tuple[int, int, int],
    actions: int,
    made: dict[str, object],
) -> None:
    """As `denoiser.safetensors` in a folder, with all that it takes to make it anew.

    Args:
        folder: is made if need be.
        denoiser: of frames (C, H, W) = `frame` and A = `actions`.
        made: as of `wmlib.checkpoint.made_by`.
    """
    arrays = {name: part.detach().cpu().numpy() for name, part in denoiser.state_dict().items()}
    saved = _Saved(denoiser.config, frame, actions)
    save_checkpoint(Path(folder, FILE), arrays, kind=KIND, config=saved, made=made)


def load_denoiser(folder: str | Path, device: torch.device | str = "cpu") -> Denoiser:
    """The denoiser that a folder holds, on a device.

    Raises:
        FileNotFoundError: it is not there.
        DamagedFileError: it was cut short or altered.
    """
    path = Path(folder, FILE)
    arrays, manifest = load_checkpoint(path, KIND)

    def make(fields: dict[str, object]) -> Denoiser:
        saved = rebuilt(_Saved, fields)
        return Denoiser(saved.denoiser, saved.frame, saved.actions)

    denoiser = configured(path, manifest, make)
    check_arrays(path, KIND, arrays, looks(denoiser.state_dict()))
    denoiser.load_state_dict({name: torch.from_numpy(np.array(a)) for name, a in arrays.items()})
    return denoiser.requires_grad_(False).eval().to(device)


def _spaces(replay: Replay) -> tuple[tuple[int, int, int], int]:
    """(C, H, W) of the frames of a replay, and A of its actions."""
    episode = replay.filled()[0]
    seen, chosen = episode.observations, episode.actions
    if seen.dtype not in (np.uint8, np.bool_) or seen.ndim != 4:
        raise ValueError(f"observations must be frames (H, W, C) of bytes, got {seen.shape[1:]}")
    if chosen.dtype != np.float32 or chosen.ndim != 2:
        raise ValueError(f"actions must be (A,) float32, got {chosen.shape[1:]} {chosen.dtype}")
    height, width, colours = seen.shape[1:]
    return (colours, height, width), chosen.shape[1]


class _Run:
    """A training while it lasts: weights, their averages, moments, losses."""

    def __init__(
        self,
        denoiser: Denoiser,
        config: OfflineConfig,
        replay: Replay,
        steps: int,
        seed: int,
        marks: Sequence[int],
        after: Callable[[int, Denoiser], None] | None,
    ) -> None:
        self.denoiser, self.config, self.steps, self.seed = denoiser, config, steps, seed
        self.averaged = copy.deepcopy(denoiser).requires_grad_(False).eval()
        self.optimiser = torch.optim.AdamW(
            denoiser.parameters(), config.learning_rate, weight_decay=config.decay
        )
        self.history: History = {}
        self.replay, self.marks, self.after = replay, marks, after

    def go_on(self, folder: Path | None, every: int, progress: bool) -> None:
        """All updates that are not made yet."""
        state = None if folder is None else folder / STATE
        identity = {"steps": str(self.steps)}  # the rest is in the folder's run.json
        parts = (
            {"denoiser": self.denoiser, "averaged": self.averaged},
            {"adamw": self.optimiser},
            self.history,
        )
        first = resumed(state, identity, *parts)
        stream = Stream()
        for episode in self.replay:
            stream.extend(episode)
        bar = tqdm(
            range(first, self.steps), desc="training", initial=first, total=self.steps,
            disable=not progress,
        )  # fmt: skip
        for step in bar:
            loss = self._update(stream, step)
            if step % 20 == 0:
                bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            done = step + 1
            if self.after is not None and done in self.marks:
                self.after(done, self.averaged)
            if state is not None and (done % every == 0 or done == self.steps):
                save_state(state, identity, done, *parts)
                write_atomically(state.with_name("log.csv"), table(self._rows(every)))

    def _update(self, stream: Stream, step: int) -> float:
        config = self.config
        rng = np.random.default_rng([self.seed, step])
        generator = torch.Generator().manual_seed(self.seed * MOST_UPDATES + step)
        drawn = stream.draw(rng, config.batch, config.denoiser.past + 1)
        device = self.denoiser.network.last.weight.device
        frames, actions, _, begins, _ = (
            torch.from_numpy(a).movedim(1, 0).to(device) for a in drawn
        )
        loss = self.denoiser.loss(pixels(frames), actions, begins.float(), generator)
        value = check_finite(loss.item(), f"the loss at step {step}")
        self.history.setdefault("denoising", []).append(value)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.denoiser.parameters(), config.clip)
        rising = (step + 1) / config.warmup
        falling = (self.steps - step) / max(config.cooldown * self.steps, 1)
        (group,) = self.optimiser.param_groups
        group["lr"] = min(1.0, rising, falling) * config.learning_rate
        self.optimiser.step()
        stays = min(config.average, (1 + step) / (10 + step))
        pairs = zip(self.averaged.parameters(), self.denoiser.parameters(), strict=True)
        for mean, new in pairs:
            mean.lerp_(new.detach(), 1 - stays)
        return value

    def _rows(self, every: int) -> list[dict[str, float]]:
        losses = self.history["denoising"]
        return [
            {"updates": end, "denoising": float(np.mean(losses[max(end - every, 0) : end]))}
            for end in sorted({*range(every, len(losses) + 1, every), len(losses)})
        ]
