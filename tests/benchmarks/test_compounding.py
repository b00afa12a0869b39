"""The benchmark behind chapter 6: its replays, its guesses and its intervals."""

from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from programs import load_program

from wmlib.agents.world_models.codes import Codes


@pytest.fixture(scope="module")
def compounding() -> ModuleType:
    return load_program("compounding")


def test_a_replay_is_the_drive_until_other_actions_come(compounding: ModuleType) -> None:
    rng = np.random.default_rng(0)
    actions = rng.uniform((-1, 0, 0), (1, 1, 0.2), (30, 3)).astype(np.float32)
    once = compounding.redrive(7, actions)
    assert np.array_equal(once.actions, actions) and once.seed == 7
    other = actions.copy()
    other[20:] = (1.0, 0.0, 1.0)
    again = compounding.redrive(7, other)
    assert np.array_equal(again.observations[:21], once.observations[:21])
    assert np.array_equal(again.extras["car"][:21], once.extras["car"][:21])
    assert not np.array_equal(again.extras["car"][21], once.extras["car"][21])


def test_a_moment_goes_on_with_the_actions_of_another_drive(
    compounding: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prefix is the drive's own; what follows was taken elsewhere, at a moment of its own."""
    monkeypatch.setattr(compounding, "AHEAD", 5)
    monkeypatch.setattr(compounding, "WARM", 3)
    rng = np.random.default_rng(1)
    drives = [
        compounding.redrive(seed, rng.uniform((-1, 0, 0), (1, 1, 0.1), (14, 3)).astype(np.float32))
        for seed in (3, 4, 5)
    ]

    def encode(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        means = frames.reshape(len(frames), -1)[:, :4].astype(np.float32)
        return means, np.zeros_like(means)

    agent = SimpleNamespace(vision=SimpleNamespace(encode=encode))
    taken = compounding.as_driven(drives, agent, each=2)
    assert len(taken.rows) == 6 and sorted(taken.drives) == [0, 0, 1, 1, 2, 2]
    free, whole = compounding.apart(taken, agent, jobs=1)
    assert whole.all() and np.array_equal(free.drives, taken.drives)
    for i, (row, e) in enumerate(zip(taken.rows, taken.drives, strict=True)):
        begin = row - taken.codes.first[e]
        assert 3 <= begin <= 9 and free.rows[i] == free.codes.first[i] + begin
        after = free.episodes[i].actions[begin:]
        assert np.array_equal(free.episodes[i].actions[:begin], drives[e].actions[:begin])
        elsewhere = [
            (other, t) for other in range(3) for t in range(10)
            if np.array_equal(drives[other].actions[t : t + 5], after)
        ]  # fmt: skip
        assert len(elsewhere) == 1 and elsewhere[0][0] != e
        assert taken.codes.first[elsewhere[0][0]] + elsewhere[0][1] in taken.rows


def test_the_mean_does_not_know_its_own_drive(compounding: ModuleType) -> None:
    came = np.arange(5.0)[:, None, None] ** 2  # (M, 1, 1)
    errors = SimpleNamespace(moments=SimpleNamespace(drives=np.array([0, 0, 1, 1, 2])))
    guess = compounding.Errors._of_others(errors, came)[:, 0, 0]
    assert guess.tolist() == [29 / 3, 29 / 3, 17 / 3, 17 / 3, 14 / 4]


def test_intervals_draw_whole_drives(compounding: ModuleType) -> None:
    drives = np.array([4, 4, 9, 9, 9, 11])
    weights = compounding.resampled(drives, draws=500)
    assert np.allclose(weights.sum(1), 1)
    for first, last in ((0, 1), (2, 4)):  # moments of one drive come together
        assert np.array_equal(weights[:, first], weights[:, last])
    top, bottom = np.array([[2.0], [2], [8], [8], [8], [3]]), np.array([[1.0]] * 6)
    found = compounding.ratio(top, bottom, weights)
    assert found["mean"] == [5.167] and 2 <= found["low"][0] < 4 < found["high"][0] <= 8
    alone = compounding.curve(np.full((6, 2), 3.0), weights)
    assert alone == {"mean": [3.0, 3.0], "low": [3.0, 3.0], "high": [3.0, 3.0]}


def test_twins_that_are_told_nothing_are_told_nothing(compounding: ModuleType) -> None:
    columns = [np.ones((4, 2), np.float32)] * 3 + [np.ones(4, np.float32)] * 3
    told_nothing = compounding.blind(Codes(*columns, np.array([3])))
    assert not told_nothing.actions.any() and told_nothing.mean.all()
