"""IRIS's benchmark: what it measures of an agent, and the true distribution it measures against."""

import dataclasses
import json

import numpy as np
import pytest
from programs import load_program

from wmlib.agents.iris import IRIS, Spaces
from wmlib.envs.catch import STEPS, drift

benchmark = load_program("iris")


def test_all_boards_that_can_be_are_asked_for() -> None:
    cells = benchmark.boards()
    assert len(np.unique(cells, axis=0)) == len(cells) == 5 * (1 + 3 + 7 * 5)
    assert (cells[cells[:, 0] == 0][:, 2] == 2).all()


def test_draws_of_the_truth_are_near_it_and_others_are_not() -> None:
    truth = drift(0.1)
    drawn = np.random.default_rng(0).multinomial(2000, truth[None].repeat(STEPS, 0))
    assert 0 < benchmark.apart(drawn, truth) < 0.01
    still = 100 * np.eye(5, dtype=np.int64)[None].repeat(STEPS, 0)
    # In the middle, and at a wall, where half of the wind comes to nothing.
    assert benchmark.apart(still, truth) == pytest.approx((3 * 0.1 + 2 * 0.05) / 5)
    assert benchmark.apart(still, drift(0.0)) == 0


def test_a_new_agent_can_be_examined() -> None:
    agent = IRIS(Spaces((16, 16, 1), 3), seed=1)
    row = benchmark.examined(agent, benchmark.WORLDS["windy PixelCatch"], 1, 2, draws=2)
    counts = benchmark.columns(agent, 2, 1)
    paddles = np.array([1, 3, *[5] * 7])[:, None]
    assert np.array_equal(counts.sum(-1), (2 * 3 * paddles).repeat(5, 1))
    assert row["updates"] == 3000 and len(row["returns"]) == 2
    for name in ("words", "frames", "words_at_random", "total_variation"):
        assert 0 <= row[name] <= 1
    assert row["total_variation"] > row["total_variation_of_true_draws"] > 0


def test_the_committed_rows_are_of_the_settings_that_are_the_default() -> None:
    told = json.loads(benchmark.OUT.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(dataclasses.asdict(benchmark.CONFIG)))  # tuples become lists
    assert told["made"]["configuration"] == now
    names = [(row["world"], row["variant"], row["seed"]) for row in told["rows"]]
    assert names and len(set(names)) == len(names)
    parameters = sum(
        p.numel() for part in IRIS(Spaces((16, 16, 1), 3)).modules.values()
        for p in part.parameters()
    )  # fmt: skip
    for row in told["rows"]:
        assert (row["real_steps"], row["updates"]) == (benchmark.STEPS_IN_ALL, 3000)
        assert row["parameters"] == parameters
        assert len(row["returns"]) == benchmark.EPISODES
        assert row["return"] == pytest.approx(np.mean(row["returns"]), abs=1e-4)
