"""The program that measures chapter 4, and the rows that it has left."""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from programs import load_program
from scipy.stats import spearmanr

from wmlib.scratch import Controller, cma_es

ROOT = Path(__file__).parents[2]
benchmark = load_program("controller")


@pytest.fixture(scope="module")
def report():
    path = ROOT / "benchmarks" / "results" / "controller.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_round_strategy_is_the_articles():
    aim = np.array([1.0, -2.0, 0.5])
    es = benchmark.RoundES(3, seed=7, population=16)
    for _ in range(30):
        x = es.ask()
        es.tell(x, ((x - aim) ** 2).sum(1))
    theirs = cma_es(lambda x: -((x - aim) ** 2).sum(), 3, 30, 16, seed=7, verbose=False)
    assert np.array_equal(es.mean, theirs)


def test_random_search_keeps_the_best_it_drew():
    search, drawn = benchmark.RandomSearch(4, seed=1, population=8), []
    for _ in range(20):
        drawn.append(search.ask())
        search.tell(drawn[-1], (drawn[-1] ** 2).sum(1))
    drawn = np.concatenate(drawn)
    assert np.array_equal(search.mean, drawn[(drawn**2).sum(1).argmin()])


def test_a_return_is_what_one_cart_alone_earns():
    """Many poles at once, against Gymnasium's single one and the article's controller."""
    genomes = np.random.default_rng(3).normal(0, 0.5, (40, 5))
    returns = benchmark.balance(genomes, [5])
    state = gym.make_vec("CartPole-v1", 40, vectorization_mode="vector_entry_point")
    first, _ = state.reset(seed=int(np.random.SeedSequence([5]).generate_state(1)[0]))
    single, controller = gym.make("CartPole-v1").unwrapped, Controller(4, 0, 1)
    for i in (int(returns.argmin()), 7, int(returns.argmax())):
        controller.set_params(genomes[i].astype(np.float32).astype(float))
        single.reset()
        single.state, steps, over = np.array(first[i], np.float64), 0, False
        seen = single.state
        while not over and steps < 500:
            push = controller.act(seen, np.empty(0))[0] > 0
            seen, _, over, _, _ = single.step(int(push))
            steps += 1
        assert abs(steps - returns[i]) <= 0.02 * steps  # 32 bits there, 64 here


def test_agreement_is_spearmans_correlation():
    rng = np.random.default_rng(0)
    a, b = rng.random((5, 16)), rng.random((5, 16))
    expected = [spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(benchmark.agreement(a, b), expected)


def test_what_is_written_is_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "OUT", tmp_path / "rows.json")
    told = {"a": [1, -2.5, 1e-7], "b": [[0.5, 1], [2, -3]], "c": [{"d": [], "e": [1], "f": "x, 1"}]}
    benchmark.write(told)
    text = benchmark.OUT.read_text(encoding="utf-8")
    assert json.loads(text) == told
    assert "[1, -2.5, 1e-07]" in text


def test_all_seeds_of_the_poles_are_there(report):
    pole = report["pole"]
    assert list(pole["searches"]) == list(benchmark.SEARCHES)
    for part in ("searches", "rollouts", "elites"):
        for row in pole[part].values():
            returns = np.array(row["returns"])
            assert returns.shape == (benchmark.POLE_SEEDS, len(row["episodes"]))
            assert (returns >= 1).all() and (returns <= 500).all()
    assert {row["episodes"][-1] for row in pole["rollouts"].values()} == {1024}
    assert np.shape(pole["agreement"]["rows"]) == (benchmark.POLE_SEEDS, len(benchmark.COUNTS))


def test_all_seeds_of_the_drivers_are_there_and_the_champion_is_who_it_should_be(report):
    car = report["car"]
    for method in ("the article's ES", "CMA-ES"):
        rows = [row for row in car["drivers"] if row["method"] == method]
        assert [row["seed"] for row in rows] == list(benchmark.CAR_SEEDS)
        for row in rows:
            sizes = [len(row[key]) for key in ("history", "genome", "short", "laps")]
            assert sizes == [benchmark.GENERATIONS, 15, 8, 12]
    last = {row["seed"]: row["history"][-1] for row in rows}
    assert car["champion"] == max(last, key=last.get)
    assert len(car["random"]) == benchmark.RANDOM and not any(car["zero"]["genome"])
    assert min(car["lap_tracks"]) > max(car["short_tracks"])  # and searches draw from 1,000 on


def test_a_row_of_the_drivers_can_be_driven_again(report):
    """The zero controller on one track: Box2D's rounding is all that may differ."""
    zero = report["car"]["zero"]
    (again,) = benchmark.drive(np.zeros(15), [0], benchmark.SHORT)
    assert again == pytest.approx(zero["short"][0], abs=15)
