"""The article's evolution strategy: what it does, and that it adapts nothing."""

import numpy as np
import pytest

from wmlib.scratch import cma_es

GOAL = np.array([1.0, -2.0, 0.5, 0.0, 3.0])


def near_goal(x):
    return -np.sum((x - GOAL) ** 2)


def test_improves_on_a_sphere():
    best = cma_es(near_goal, 5, generations=100, seed=0, verbose=False)
    assert near_goal(best) > 0.01 * near_goal(np.zeros(5))


def test_maximises():
    assert cma_es(lambda x: x[0], 1, generations=20, seed=0, verbose=False)[0] > 1


def test_step_size_follows_a_schedule_whatever_the_function():
    """Spread of the candidates around their mean, generation by generation."""
    for function in (near_goal, lambda x: 1e6 * x[0], lambda x: 0.0):
        seen = []

        def evaluate(x, function=function, seen=seen):
            seen.append(x.copy())
            return function(x)

        cma_es(evaluate, 5, generations=60, pop=400, seed=0, verbose=False)
        spread = np.reshape(seen, (60, 400, 5)).std(axis=1)  # (G, n)
        schedule = 0.5 * 0.995 ** np.arange(60)
        np.testing.assert_allclose(spread / schedule[:, None], 1, atol=0.15)


def test_the_mean_is_that_of_the_best_quarter():
    seen = []

    def evaluate(x):
        seen.append(x.copy())
        return near_goal(x)

    best = cma_es(evaluate, 5, generations=1, pop=30, seed=0, verbose=False)
    elite = sorted(seen, key=near_goal)[-7:]  # 30 // 4
    np.testing.assert_allclose(best, np.mean(elite, axis=0))


def test_prints_as_the_article_does_or_not_at_all(capsys):
    cma_es(near_goal, 5, generations=21, seed=0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["Gen 0", "Gen 10", "Gen 20"]
    assert "best=-" in lines[0] and "avg=-" in lines[0]
    cma_es(near_goal, 5, generations=2, verbose=False)
    assert capsys.readouterr().out == ""


def test_same_seed_same_search():
    a, b, other = (cma_es(near_goal, 5, 3, seed=s, verbose=False) for s in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, other)


def test_bad_input_is_named():
    for options, words in [
        ({"n_params": 0}, "n_params"),
        ({"generations": 0}, "generations must be at least 1, got 0"),
        ({"pop": 1}, "pop must be at least 4, got 1"),
        ({"pop": 3}, "pop"),
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": np.nan}, r"sigma must be in \[1e-100, 1e\+100\], got nan"),
        ({"evaluate_fn": 3}, "evaluate_fn must be a function, got 3"),
        ({"evaluate_fn": lambda x: np.nan}, "what evaluate_fn returns must be finite"),
        ({"evaluate_fn": lambda x: x}, r"what evaluate_fn returns .* \(..., 32\), got \(32, 5\)"),
        ({"n_params": 32, "evaluate_fn": lambda x: x}, r"must have shape \(32,\), got \(32, 32\)"),
    ]:
        with pytest.raises(ValueError, match=words):
            cma_es(**{"evaluate_fn": near_goal, "n_params": 5, "verbose": False} | options)
