"""What the benchmark of CarRacing's denoiser measures with: pictures, dreams, C at the wheel."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from programs import load_program

from wmlib.agents.diamond import (
    Denoiser,
    DenoiserConfig,
    SamplerConfig,
    UNetConfig,
    dream_frames,
    pixels,
)
from wmlib.agents.world_models import Agent, Codes
from wmlib.collecting import collect
from wmlib.envs.car_racing.official import SIDE
from wmlib.training import seeded

benchmark = load_program("diamond_car_racing")

BEGIN, LENGTH = 20, 30


@pytest.fixture(scope="module")
def agent() -> Agent:
    return Agent.load(benchmark.SHIPPED)


@pytest.fixture(scope="module")
def moments(agent: Agent) -> "benchmark.Moments":
    """One moment of each of two short drives of C."""
    drives = collect(
        agent.policy(), benchmark.ENV_ID, episodes=2, seed=640_000, max_steps=LENGTH, n_jobs=1,
        env_kwargs={"action_repeat": 3}, progress=False,
    )  # fmt: skip
    codes = Codes.of(drives, agent.vision.encode)
    return benchmark.Moments(drives, codes, codes.first + BEGIN, np.arange(2))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As the drives were made: C's answers are compared to the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small() -> Denoiser:
    config = DenoiserConfig(network=UNetConfig(channels=(4,), waves=4))
    return seeded(0, lambda: Denoiser(config, (3, SIDE, SIDE), 3))


def meadow() -> np.ndarray:
    """Grass all over, a quarter of it squares, and a car."""
    picture = np.full((SIDE, SIDE, 3), (100, 202, 100), np.uint8)
    picture[: SIDE // 2, : SIDE // 2, 1] = 228
    picture[benchmark.CAR] = (200, 30, 30)
    return picture


def test_what_a_picture_keeps_is_counted() -> None:
    kept = benchmark.looks(meadow()[None])
    grown = 1 - 16 / SIDE**2
    assert kept["grass"] == pytest.approx(grown) and kept["car"] == 1
    assert kept["squares"] == pytest.approx(0.25 / grown) and kept["crisp"] == 1
    blurred = meadow()
    blurred[..., 1][blurred[..., 1] > 100] = 215  # what is neither grass nor square
    blurred[benchmark.CAR] = 100
    lost = benchmark.looks(np.stack([blurred, meadow()]))
    assert lost["car"] == 0.5 and lost["crisp"] == pytest.approx(kept["crisp"] / 2, rel=0.01)
    nothing = benchmark.looks(np.zeros((1, SIDE, SIDE, 3), np.uint8))
    assert nothing == {"grass": 0, "squares": 0, "crisp": 0, "car": 0}


def test_a_car_stays_until_half_around_it_is_grass() -> None:
    road, field = np.full((SIDE, SIDE, 3), 100, np.uint8), meadow()
    films = np.stack([np.stack([road, road, field, road]), np.stack([road] * 4)])
    found = benchmark.stays(films)
    assert found["until"] == [2, 4] and found["each"] == [0.25, 0] and found["off"] == 0.125


def test_where_grass_is_is_the_share_of_the_picture_that_is_wrong() -> None:
    right = benchmark.of_pictures(meadow()[None])
    other = meadow()
    other[:16] = 100  # a road over a quarter of the picture
    wrong = benchmark.of_pictures(other[None])
    missed = np.square(wrong["where grass is"] - right["where grass is"]).sum()
    assert missed == pytest.approx(0.25)
    assert right["on grass"] == 1 == wrong["on grass"]  # the road is far ahead


def test_the_film_is_the_dream_of_the_library(moments: "benchmark.Moments") -> None:
    denoiser, horizon = small(), 3
    after = moments.codes.actions[moments.rows[:, None] + np.arange(horizon)]
    frames = benchmark.seen_in(moments, np.arange(-3, 1))
    for m, episode in enumerate(moments.episodes):
        assert np.array_equal(frames[m], episode.observations[BEGIN - 3 : BEGIN + 1])
    actions = np.stack(
        [np.asarray(e.actions[BEGIN - 3 : BEGIN + horizon]) for e in moments.episodes]
    )
    for wide, width in ((False, 1.0), (True, 5.0)):
        script = iter(torch.from_numpy(after).movedim(1, 0))
        dreamer = benchmark.Dreamer(denoiser, SamplerConfig(steps=2), wide)
        film = np.stack(
            list(dreamer.film(moments, lambda _, s=script: next(s), horizon, seed=5)), 1
        )
        dreamed = dream_frames(
            denoiser, pixels(torch.from_numpy(frames)), torch.from_numpy(actions),
            SamplerConfig(steps=2), torch.Generator().manual_seed(5), width,
        )  # fmt: skip
        assert np.array_equal(film, benchmark.pictures(dreamed))


def test_c_drives_a_dream_as_it_drives_the_road(agent: Agent, moments: "benchmark.Moments") -> None:
    """Shown the real frames, it does what it really did; and the real road goes on as it did."""
    driver = benchmark.Driver(agent, moments)
    for t in range(BEGIN, LENGTH):
        seen = np.stack([np.asarray(e.observations[t]) for e in moments.episodes])
        done = np.stack([np.asarray(e.actions[t]) for e in moments.episodes])
        np.testing.assert_allclose(driver(seen).numpy(), done, atol=1e-4)


def test_c_goes_on_with_a_real_drive(
    agent: Agent, moments: "benchmark.Moments", monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    monkeypatch.setattr(benchmark, "DRIVE", LENGTH - BEGIN)
    films = benchmark.driven_on(agent, moments)
    for film, episode in zip(films, moments.episodes, strict=True):
        assert np.array_equal(film, episode.observations[BEGIN + 1 :])
