"""Dream quality explorer: a real episode beside the dreams of V and M under the same actions.

The article's second demo: how errors compound over a dream, and what the temperature does. M starts
from a real moment and sees no further frame, only the actions that were really taken; V paints what
M dreams. Each dreamed frame is held against the real one, and against two forecasts that need no
model: the last frame that was seen, and the average frame.

The browser dreams by itself. Python dreams the same dreams with the same noise, so that their
errors can be read with no page open.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import anywidget
import numpy as np
import torch
import traitlets
from PIL import Image
from pydantic import Field
from torch import Tensor

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.memory import MDNRNN
from wmlib.agents.world_models.starts import Starts, followed, warm_up
from wmlib.agents.world_models.vision import SIDE, VAE
from wmlib.demos.drive.drive import Warmth, parts
from wmlib.demos.explorer.quality import Baselines, Forecasts, better_until, follow, squared_errors
from wmlib.demos.page.settings import settings, whole
from wmlib.demos.page.still import pictures, still
from wmlib.demos.page.weights import WeightsConfig, check_models, pack_models, rounded
from wmlib.episodes import Episode
from wmlib.typed import NonNegativeInt, PositiveFloat, check_type, typed

MOST_DREAMS = 8
MOST_STARTS = 8
MOST_DECISIONS = 100  # at the end of the horizon's slider
FEWEST_DECISIONS = 10  # that must follow the warm-up
SEEDS = 2**32 // MOST_DREAMS
COLUMNS = 20  # frames in a row of the sheet that a page carries


class DreamQualityExplorer(anywidget.AnyWidget):
    """A real episode beside dreams of it, to see how long a dream knows more than a guess.

    Readable and settable, by the reader too: `horizon` (decisions ahead, >= 1), `temperature` (in
    [0.1, 2]), `start` (which moment), `dreams` (how many, 1 to 8) and `seed` (of their noise).
    What they lead to is read from `errors`, `repeat_errors`, `no_better_after`, `imagined_returns`
    and `real_return`.

    Args:
        world_model: an agent, or a pair (V, M).
        episode: a real one, or a few, of the environment that V and M know.
        starts: moments to choose from, 1 to 8, spread evenly over the episodes.
        warm: real decisions that M has read before such a moment, at least; >= 0.
        longest: decisions that the horizon goes up to, 10 to 100; fewer, if the shortest episode
            has no more after the warm-up. A moment is followed by as many.
        horizon: at first, in decisions; None for 30, or for the longest.
        temperature: at first.
        start: at first, the row of a moment; None for a bend: the one after which the first
            action, which is steering in CarRacing, stands most to one side up to the horizon.
        dreams: at first.
        seed: at first, in [0, 2**29); dream d has the noise of `RandomState(8 * seed + d)`.
        seconds_per_decision: > 0; three frames of CarRacing are 0.06 s.
        config: how the weights are rounded.

    Raises:
        TypeError: `world_model` or `episode` is something else, or a number is none.
        ValueError: there is no episode or one is too short, the episodes do not fit V and M, the
            parts do not fit together, a weight is NaN or infinite, or a number is out of range.
    """

    _esm = Path(__file__).with_name("bundle.js")
    _css = Path(__file__).with_name("bundle.css")

    still = traitlets.Unicode().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)
    """V's decoder, M, and of the episodes all but the frames."""
    frames = traitlets.Unicode().tag(sync=True)
    """The real frames, as they are: a sheet of them, 20 in a row, in an address ("data:...")."""
    seconds_per_decision = traitlets.Float(0.06).tag(sync=True)
    horizon = traitlets.Int(30).tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    start = traitlets.Int(0).tag(sync=True)
    dreams = traitlets.Int(4).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)

    @typed
    def __init__(
        self,
        world_model: Agent | tuple[VAE, MDNRNN],
        episode: Episode | Annotated[Sequence[Episode], Field(min_length=1)],
        *,
        starts: Annotated[int, Field(ge=1, le=MOST_STARTS)] = MOST_STARTS,
        warm: NonNegativeInt = 16,
        longest: Annotated[int, Field(ge=FEWEST_DECISIONS, le=MOST_DECISIONS)] = MOST_DECISIONS,
        horizon: int | None = None,
        temperature: float = 1.0,
        start: int | None = None,
        dreams: int = 4,
        seed: int = 0,
        seconds_per_decision: PositiveFloat = 0.06,
        config: WeightsConfig | None = None,
    ) -> None:
        vision, memory, _ = parts(world_model)
        check_models(vision, memory)
        episodes = _checked(episode, warm)
        most = min(longest, *(len(each) - warm for each in episodes))
        codes = Codes.of(episodes, vision.encode)
        its_vision, its_memory = rounded(vision, memory, config)
        self._vision, self._memory = its_vision.cpu(), its_memory.cpu()
        begin, first = _moments(memory, codes, warm, most, starts)
        kept = np.unique(first[:, None] + np.arange(most + 1))  # (N,) rows in the codes
        frames = np.concatenate([np.asarray(each.observations) for each in episodes])[kept]
        self._starts, self._first = begin, np.searchsorted(kept, first)  # (S,) rows of the kept
        self._frames, self._actions = frames, codes.actions[kept]  # (N, H, W, C), (N, A)
        self._rewards, self._most = codes.rewards[kept], most
        self._baselines = self._without_dreaming(codes.mean[kept])
        self._latest: tuple[Any, Forecasts] | None = None
        horizon = min(30, most) if horizon is None else horizon
        self._check("horizon", horizon)
        if start is None:
            start = self._bend(horizon)
        settings = {
            "horizon": horizon,
            "temperature": temperature,
            "start": start,
            "dreams": dreams,
            "seed": seed,
        }
        for name, value in settings.items():
            self._check(name, value)
        shown = self._forecasts(start, temperature, dreams, seed)
        others = {
            "episode.codes": codes.mean[kept],
            "episode.actions": self._actions,
            "episode.rewards": self._rewards,
            "episode.first": self._first,
            "episode.moments": _places(codes, first),
            **{f"baselines.{name}": part for name, part in self._baselines._asdict().items()},
            "shown.errors": shown.errors,
            "shown.settings": np.array([start, temperature, dreams, seed]),
        }
        super().__init__(
            weights=pack_models(vision, memory, starts=begin, config=config, others=others),
            frames=_sheet(frames),
            still=still(
                pictures(self._pictures(start, horizon), "Three pictures of a road", 160),
                "Dream quality explorer: the last frame that M saw, what was really seen "
                f"{horizon} decisions later, and what V paints of a dream of it.",
            ),
            seconds_per_decision=seconds_per_decision,
            **settings,
        )

    @property
    def errors(self) -> np.ndarray:
        """Error of each dream after 1, 2, ... decisions, (D, T): mean squared, pixels in [0, 1]."""
        return self._chosen().errors

    @property
    def repeat_errors(self) -> np.ndarray:
        """Error of the last frame seen, again and again, (T,)."""
        repeat: np.ndarray = self._baselines.repeat[self.start]
        return repeat

    @property
    def no_better_after(self) -> int | None:
        """The decision after which the dreams are, for the first time, no better than that.

        Errors are averaged over the dreams. 0: they never are better; None: once they are, they
        stay so to the end.
        """
        return better_until(self.errors.mean(0), self.repeat_errors)[1]

    @property
    def imagined_returns(self) -> np.ndarray:
        """The return of each dream to the horizon, (D,)."""
        returns: np.ndarray = self._chosen().rewards[:, : self.horizon].sum(1)
        return returns

    @property
    def real_return(self) -> float:
        """The real return to the horizon."""
        first = self._first[self.start]
        return float(self._rewards[first : first + self.horizon].sum())

    def _chosen(self) -> Forecasts:
        return self._forecasts(self.start, self.temperature, self.dreams, self.seed)

    def _forecasts(self, start: int, temperature: float, dreams: int, seed: int) -> Forecasts:
        """The dreams of these settings; the latest are kept."""
        key = (start, temperature, dreams, seed)
        if self._latest is None or self._latest[0] != key:
            now = slice(self._first[start], self._first[start] + self._most)
            draws = [np.random.RandomState(MOST_DREAMS * seed + d) for d in range(dreams)]
            begin = self._starts.take(slice(start, start + 1))
            codes, rewards = follow(
                self._memory, begin, torch.from_numpy(self._actions[now]), temperature, draws
            )
            frames = self._frames[now.start + 1 : now.stop + 1]
            errors = np.stack([self._errors(each, frames) for each in codes])  # (D, T)
            self._latest = key, Forecasts(rewards.numpy(), errors)
        return self._latest[1]

    def _bend(self, horizon: int) -> int:
        """The row of the moment after which the first action stands most to one side."""
        rows = self._first[:, None] + np.arange(horizon)  # (S, T)
        return int(np.abs(self._actions[rows, 0].mean(1)).argmax())

    def _pictures(self, start: int, horizon: int) -> np.ndarray:
        """The last frame seen, the real one at the horizon, and a dreamed one, (3, H, W, C)."""
        now = self._first[start]
        actions = torch.from_numpy(self._actions[now : now + horizon])
        begin = self._starts.take(slice(start, start + 1))
        codes, _ = follow(self._memory, begin, actions, 1.0, [np.random.RandomState(0)])
        dreamed = self._vision.decode(codes[0][-1:].numpy())  # (1, H, W, C)
        return np.concatenate([self._frames[[now, now + horizon]], dreamed])

    @torch.no_grad()
    def _errors(self, codes: Tensor, frames: np.ndarray) -> np.ndarray:
        """Of what V paints of codes (T, Z), against frames (T, H, W, C): (T,)."""
        painted = self._vision.reconstruct(codes).permute(0, 2, 3, 1).numpy()  # (T, H, W, C)
        return squared_errors(painted, frames / 255)

    def _without_dreaming(self, codes: np.ndarray) -> Baselines:
        frames = self._frames / 255  # (N, H, W, C)
        rows = self._first[:, None] + np.arange(1, self._most + 1)  # (S, T)
        copied = self._errors(torch.from_numpy(codes), self._frames)  # (N,)
        return Baselines(
            repeat=np.stack([squared_errors(frames[row[0] - 1], frames[row]) for row in rows]),
            mean=squared_errors(frames.mean(0), frames)[rows],
            copy=copied[rows],
        )

    def _check(self, name: str, value: Any) -> None:
        kinds = {
            "horizon": whole(1, self._most),
            "temperature": Warmth,
            "start": whole(0, len(self._first) - 1),
            "dreams": whole(1, MOST_DREAMS),
            "seed": whole(0, SEEDS - 1),
        }
        check_type(name, value, kinds[name])

    _settings = settings("horizon", "temperature", "start", "dreams", "seed")


def _checked(episode: Episode | Sequence[Episode], warm: int) -> list[Episode]:
    """The episodes, each long enough and made of finite numbers."""
    episodes = [episode] if isinstance(episode, Episode) else list(episode)
    for i, each in enumerate(episodes):
        check_type(f"episode {i}", each, Episode)
        if len(each) < warm + FEWEST_DECISIONS:
            raise ValueError(
                f"episode {i} has {len(each)} decisions; {warm} of warm-up and then at least "
                f"{FEWEST_DECISIONS} are needed"
            )
        for name in ("actions", "rewards"):
            if not np.isfinite(getattr(each, name)).all():
                raise ValueError(f"the {name} of episode {i} hold NaN or infinity")
    return episodes


def _moments(
    memory: MDNRNN, codes: Codes, warm: int, most: int, starts: int
) -> tuple[Starts, np.ndarray]:
    """Up to S moments, spread evenly: what M knew there, and their rows (S,) in the codes."""
    every = warm_up(memory, codes, warm)
    places, rows = followed(codes, every, most)
    order = np.argsort(rows)
    some = np.unique(np.linspace(0, len(rows) - 1, starts).round().astype(int))  # (S,)
    chosen = order[some]
    begin = every.take(places[chosen]).dreamed()
    return Starts(**{name: part.cpu() for name, part in begin.items()}), rows[chosen]


def _places(codes: Codes, rows: np.ndarray) -> np.ndarray:
    """Of rows (S,) in the codes: the episode, and the decision in it, (S, 2)."""
    episode = np.searchsorted(codes.first, rows, side="right") - 1
    return np.stack([episode, rows - codes.first[episode]], 1)


def _sheet(frames: np.ndarray) -> str:
    """Frames (N, 64, 64, 3) side by side, without loss, as an address that a page can read."""
    rows = -(-len(frames) // COLUMNS)
    sheet = np.zeros((rows * COLUMNS, SIDE, SIDE, 3), np.uint8)
    sheet[: len(frames)] = frames
    tall = sheet.reshape(rows, COLUMNS, SIDE, SIDE, 3).swapaxes(1, 2)  # (rows, H, columns, W, C)
    file = io.BytesIO()
    picture = Image.fromarray(tall.reshape(rows * SIDE, COLUMNS * SIDE, 3))
    picture.save(file, "WEBP", lossless=True, quality=80, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
