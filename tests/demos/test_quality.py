"""Dreams held against real frames: in Python, and in JavaScript in Node and in Chromium."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.memory import State
from wmlib.agents.world_models.starts import Starts
from wmlib.demos.explorer.quality import better_until, follow, squared_errors
from wmlib.demos.page.weights import as_packed, pack_models
from wmlib.episodes import Episode

PARITY = 1e-4
Script = Callable[..., Any]  # the fixture `run`


def javascript(body: str) -> str:
    """A body for `run` with the exports of quality.js as `q`."""
    return f'const q = await load("explorer/quality.js");\n{body}'


class Rolled:
    """The noise that `MDNRNN.rollout` draws for one dream, under the names of NumPy."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.drawn: list[float] = []  # in the order in which a page draws it

    def random_sample(self, size: int | None = None) -> Any:
        if size is None:  # the end of an episode, which `rollout` does not draw
            self.drawn.append(0.5)
            return 0.5
        return self._keep(torch.rand(1, size, generator=self.generator))

    def standard_normal(self, size: int) -> Any:
        return self._keep(torch.randn(1, size, generator=self.generator))

    def _keep(self, numbers: torch.Tensor) -> Any:
        self.drawn += numbers[0].tolist()
        return numbers[0].numpy().astype(np.float64)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 1.9])
@torch.no_grad()
def test_dreams_are_those_of_rollout(agent: Agent, starts: Starts, temperature: float) -> None:
    actions = torch.rand(12, 3, generator=torch.Generator().manual_seed(0))
    draws: Any = [Rolled(5), Rolled(6)]
    codes, rewards = follow(agent.memory, starts.take(slice(0, 1)), actions, temperature, draws)
    for d, seed in enumerate((5, 6)):
        theirs = agent.memory.rollout(
            starts.z[:1], State(starts.hidden[:1], starts.cell[:1]), actions[None], temperature,
            torch.Generator().manual_seed(seed),
        )  # fmt: skip
        torch.testing.assert_close(codes[d], theirs[0][0], rtol=0, atol=1e-5)
        torch.testing.assert_close(rewards[d], theirs[1][0], rtol=0, atol=1e-5)
    assert (codes[0] - codes[1]).abs().max() > 0.1


DREAM = """
    const { header, arrays } = unpack(input.bytes);
    const decoder = new Decoder(arrays, header.vision);
    const memory = new Memory(arrays, header.memory);
    let at = 0;
    const next = () => input.noise[at++];
    const [start] = startsOf(arrays, header.memory);
    const forecast = new q.Forecast(memory, start, { uniform: next, normal: next });
    for (const _ of q.dreamOn([forecast], input.actions, input.temperature));
    const frames = input.frames.map((frame) => frame.flat(2));
    for (const _ of q.compareAll([forecast], decoder, frames));
    const pictures = forecast.codes.map((z) => Array.from(decoder.decode(z)));
    const { codes, rewards, errors } = forecast;
    return { codes, rewards, errors, pictures, drawn: at };
"""


@pytest.mark.parametrize("temperature", [0.5, 1.15])
@torch.no_grad()
def test_a_page_dreams_as_rollout_does(
    run: Script,
    agent: Agent,
    starts: Starts,
    episodes: list[Episode],
    temperature: float,
    record_property: Any,
) -> None:
    """Codes, rewards, pictures and errors: PyTorch on the same rounded weights and noise."""
    rounded, some, frames = as_packed(agent), starts.take(slice(0, 1)), episodes[0].observations
    actions = torch.from_numpy(episodes[0].actions[:12])
    noise: Any = Rolled(3)
    follow(rounded.memory, some, actions, temperature, [noise])  # only to have it drawn
    codes, rewards = rounded.memory.rollout(
        some.z, State(some.hidden, some.cell), actions[None], temperature,
        torch.Generator().manual_seed(3),
    )  # fmt: skip
    pictures = rounded.vision.reconstruct(codes[0]).permute(0, 2, 3, 1)  # (T, H, W, C)
    ours = run(
        javascript(DREAM), bytes=pack_models(agent.vision, agent.memory, starts=some),
        actions=actions, frames=frames[1:13], noise=noise.drawn, temperature=temperature,
    )  # fmt: skip
    theirs = {
        "codes": codes[0],
        "rewards": rewards[0],
        "pictures": pictures.reshape(12, -1),
        "errors": [
            np.square(picture.double().numpy() - frame / 255).mean()
            for picture, frame in zip(pictures, frames[1:13], strict=True)
        ],
    }
    assert ours["drawn"] == len(noise.drawn)
    for name, numbers in theirs.items():
        difference = np.abs(np.asarray(ours[name]) - np.asarray(numbers)).max()
        record_property(name, float(difference))
        assert difference < PARITY, name
    assert pictures.std() > 0.1


def stretch_by_hand(errors: Any, others: Any) -> tuple[int, int | None, int]:
    """The same, one decision at a time."""
    first, last, again = 0, None, 0
    for decision, (error, other) in enumerate(zip(errors, others, strict=True), 1):
        if error < other:
            first = first or decision
            again += last is not None
        elif first and last is None:
            last = decision - 1
    return (first, last, again) if first else (0, 0, 0)


def curves(count: int) -> list[tuple[Any, Any]]:
    """Errors of three dreams, and others to hold them against: some cross often, some never."""
    rng = np.random.default_rng(0)
    shifts = np.linspace(-1, 1, count)
    crossing = [(rng.random((3, 9)) + shift, rng.random(9)) for shift in shifts]
    return [*crossing, (np.ones((3, 9)), np.ones(9))]  # no better is not better


def test_the_stretch_in_which_dreams_are_better() -> None:
    kinds = set()
    for dreams, others in curves(60):
        first, last, _ = stretch_by_hand(dreams.mean(0), others)
        assert better_until(dreams.mean(0), others) == (first, last)
        kinds.add("never" if not first else "to the end" if last is None else "for a while")
    assert kinds == {"never", "to the end", "for a while"}


def test_curves_and_stretch_of_a_page_are_those_of_numpy(run: Script) -> None:
    given = curves(20)
    there = run(
        javascript("""
            return input.dreams.map((rows, i) => {
              const { mean, low, high } = q.spread(rows);
              const stretch = q.betterStretch(mean, input.others[i]);
              return [mean, low, high, q.runningSum(rows[0]), stretch];
            });
        """),
        dreams=np.array([dreams for dreams, _ in given]),
        others=np.array([others for _, others in given]),
    )
    for (dreams, others), (mean, low, high, total, stretch) in zip(given, there, strict=True):
        np.testing.assert_allclose(mean, dreams.mean(0), rtol=1e-12)
        np.testing.assert_array_equal(low, dreams.min(0))
        np.testing.assert_array_equal(high, dreams.max(0))
        np.testing.assert_allclose(total, dreams[0].cumsum(), rtol=1e-12, atol=1e-12)
        first, last, again = stretch_by_hand(dreams.mean(0), others)
        assert stretch == {"from": first, "until": last, "again": again}


def test_squared_error_in_both_languages(run: Script) -> None:
    rng = np.random.default_rng(1)
    picture, frame = rng.random((4, 4, 3)), rng.integers(0, 256, (4, 4, 3), np.uint8)
    pairs = zip(picture.ravel().tolist(), frame.ravel().tolist(), strict=True)
    by_hand = sum((a - b / 255) ** 2 for a, b in pairs) / 48
    assert squared_errors(picture[None], frame[None] / 255) == pytest.approx([by_hand])
    body = javascript("return q.squaredError(input.picture, input.frame)")
    assert run(body, picture=picture.ravel(), frame=frame.ravel()) == pytest.approx(by_hand)


def test_the_stretch_in_words(run: Script) -> None:
    body = javascript("""
        return input.cases.map(([from, until, again, dreams]) =>
          q.stretchInWords({ from, until, again }, dreams, 50, (n) => `${n} s`));
    """)
    cases: list[tuple[list[Any], str]] = [
        ([0, 0, 0, 1], "The dream never beats repeating the last frame."),
        ([0, 0, 0, 3], "On average the 3 dreams never beat repeating the last frame."),
        ([2, None, 0, 1],
         "The dream beats repeating the last frame from decision 2 to the last, 50."),
        ([1, 8, 0, 2], "On average the 2 dreams beat repeating the last frame up to decision 8 "
         "(8 s); then they are no better."),
        ([3, 3, 7, 1], "The dream beats repeating the last frame at decision 3 only; then it is no "
         "better. Later it is better again, at 7 of 47 decisions."),
        ([2, 9, 1, 2], "On average the 2 dreams beat repeating the last frame from decision 2 to 9 "
         "(9 s); then they are no better. Later they are better again, at 1 of 41 decisions."),
    ]  # fmt: skip
    assert run(body, cases=[case for case, _ in cases]) == [words for _, words in cases]
