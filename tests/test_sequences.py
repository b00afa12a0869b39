"""Stretches of experience, across the ends of episodes."""

from dataclasses import replace

import numpy as np
import pytest

from wmlib.episodes import Episode
from wmlib.sequences import Sequences, Stream


def numbered(steps: int, number: int, terminated: bool = True) -> Episode:
    """An episode whose observations, actions and rewards say where they are from."""
    return Episode(
        observations=(100 * number + np.arange(steps + 1, dtype=np.float32))[:, None],
        actions=(100 * number + 1 + np.arange(steps, dtype=np.float32))[:, None],
        rewards=-(100 * number + 1 + np.arange(steps, dtype=np.float32)),
        terminated=terminated,
        truncated=not terminated,
        seed=number,
    )


def stream() -> Stream:
    made = Stream()
    for episode in (numbered(3, 1), numbered(5, 2, terminated=False), numbered(4, 3)):
        made.extend(episode)
    return made


def test_each_observation_comes_with_what_led_to_it() -> None:
    parts = stream().arrays()
    seen = parts["observations"][:, 0]
    assert seen.tolist() == [*range(100, 104), *range(200, 206), *range(300, 305)]
    first = np.isin(seen, [100, 200, 300])
    assert np.array_equal(parts["first"], first)
    assert np.array_equal(parts["actions"][:, 0], np.where(first, 0, seen))
    assert np.array_equal(parts["rewards"], np.where(first, 0, -seen))
    assert seen[parts["ended"]].tolist() == [103, 304]  # a limit ended the second


def test_stretches_are_drawn_evenly_and_hang_together() -> None:
    whole = stream()
    batch = whole.draw(np.random.default_rng(0), 12_000, 4)
    assert [part.shape for part in batch] == [(12_000, 4, 1)] * 2 + [(12_000, 4)] * 3
    begins, counts = np.unique(batch.observations[:, 0, 0], return_counts=True)
    assert len(begins) == len(whole) - 3
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)
    everything = whole.arrays()["observations"][:, 0]
    for row in batch.observations[:50, :, 0]:
        at = int(np.flatnonzero(everything == row[0])[0])
        assert np.array_equal(row, everything[at : at + 4])


def test_a_stream_goes_on_from_its_arrays() -> None:
    whole, again = stream(), Stream(stream().arrays())
    for one in (whole, again):
        one.extend(numbered(2, 4))
    for name in Sequences._fields:
        assert np.array_equal(whole.arrays()[name], again.arrays()[name])
    assert len(again) == len(whole) == 18


def test_an_episode_of_another_world_is_refused() -> None:
    made, there = stream(), numbered(2, 4)
    wide = np.zeros((3, 2), np.float32)
    for other, message in (
        (
            replace(there, observations=wide),
            r"observations .* must be \(1,\) float32, got \(2,\) f",
        ),
        (replace(there, observations=wide[:, :1].astype(np.uint8)), r"float32, got \(1,\) uint8"),
        (
            replace(there, actions=np.zeros(2, np.int64)),
            r"actions .* \(1,\) float32, got \(\) int64",
        ),
        (there.observations, "episode must be an Episode, got"),
    ):
        with pytest.raises(ValueError, match=message):
            made.extend(other)
    assert len(made) == 15


def test_a_stretch_longer_than_all_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match="length must be at most 15, got 16"):
        stream().draw(np.random.default_rng(0), 1, 16)
