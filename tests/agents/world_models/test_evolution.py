"""CMA-ES against pycma, against its own invariances, and against bad input."""

import json
from dataclasses import replace
from pathlib import Path

import cma
import numpy as np
import pytest
from programs import load_program
from safetensors.numpy import load, save

from wmlib.agents.world_models.evolution import CMAES, minimise
from wmlib.agents.world_models.evolution_settings import Box, CMAESConfig, Strategy

PATH = Path(__file__).parents[3] / "benchmarks" / "evolution.py"
RESULTS = PATH.parent / "results" / "evolution.json"
benchmark = load_program("evolution")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:cma")


def sphere(x):
    return (x**2).sum(axis=1)


def steps(es, function, generations):
    """The (P, n) candidates of each of the next generations."""
    asked = []
    for _ in range(generations):
        asked.append(es.ask())
        es.tell(asked[-1], function(asked[-1]))
    return np.array(asked)  # (generations, P, n)


# --- against pycma


@pytest.mark.parametrize("sigma", [1.0, 0.01])
@pytest.mark.parametrize(("n", "population"), [(2, None), (3, 6), (10, None), (10, 60), (40, None)])
def test_tell_makes_of_the_same_candidates_what_pycma_does(n, population, sigma, monkeypatch):
    f, start = benchmark.instance(benchmark.PROBLEMS["ellipsoid"], n, seed=1)
    ours = CMAES(start, CMAESConfig(sigma, population=population), seed=7)
    theirs = benchmark.pycma(start, sigma, population, 7)
    s, stalls = ours.strategy, []

    def h_sigma(es):
        theirs.adapt_sigma._update_ps(es)
        settled = np.sqrt(1 - (1 - s.c_sigma) ** (2 * es.countiter))
        length = np.linalg.norm(theirs.adapt_sigma.ps) / settled
        stalls.append(length >= (1.4 + 2 / (n + 1)) * s.chi_n)
        return not stalls[-1]

    # Where pycma departs from the tutorial: other constants in c_sigma, d_sigma and h_sigma,
    # E||N(0, I)|| is approximated, and the first C is not quite I.
    monkeypatch.setattr(cma.utilities.math.Mh, "chiN", staticmethod(lambda n: s.chi_n))
    theirs.adapt_sigma.initialize(theirs)
    theirs.adapt_sigma.cs, theirs.adapt_sigma.damps = s.c_sigma, s.d_sigma
    theirs.adapt_sigma.hsig = h_sigma
    theirs.sm.C, theirs.sm.B, theirs.sm.D = np.eye(n), np.eye(n), np.ones(n)
    for _ in range(60):
        x = ours.ask()
        theirs.ask()  # decomposes C when it is due
        values = f(x)
        ours.tell(x, values)
        theirs.tell(list(x), values.tolist(), check_points=False)
        assert ours.sigma == pytest.approx(theirs.sigma, rel=1e-6)
        np.testing.assert_allclose(ours.mean, theirs.mean, atol=1e-7 * ours.sigma)
        np.testing.assert_allclose(
            ours.covariance, theirs.sm.C, atol=1e-6 * np.abs(theirs.sm.C).max()
        )
    assert any(stalls) or sigma == 1.0


def recorded(name, n):
    """pycma's runs of seeds 1, 2, 3, ... on that function, from the committed results."""
    cells = json.loads(RESULTS.read_text(encoding="utf-8"))["grid"]
    (cell,) = (cell for cell in cells if (cell["function"], cell["n"]) == (name, n))
    return cell["pycma"]


@pytest.mark.parametrize("name", ["sphere", "ellipsoid", "discus"])
@pytest.mark.parametrize(("n", "seeds", "tolerance"), [(2, 61, 0.18), (10, 15, 0.13)])
def test_it_needs_as_many_evaluations_as_pycma(name, n, seeds, tolerance):
    """To 1e-8. The evaluations of a run scatter by about 20 % at n = 2 and 7 % at n = 10, a ratio
    of two medians by 4.5 % and 3.2 %: the tolerances are four of those. pycma's runs of the same
    seeds are read from the committed results: `test_the_whole_grid_against_pycma` makes all anew,
    and the test below some."""
    problem = benchmark.PROBLEMS[name]
    runs = []
    for seed in range(1, seeds + 1):
        f, start = benchmark.instance(problem, n, seed)
        runs.append(benchmark.run_wmlib(f, start, problem.sigma, None, seed))
    evaluations, success = zip(*runs, strict=True)
    assert all(success)
    theirs = recorded(name, n)
    assert all(theirs["success"][:seeds])
    ratio = np.median(evaluations) / np.median(theirs["evaluations"][:seeds])
    assert ratio == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize("name", ["sphere", "ellipsoid", "discus"])
def test_pycma_still_needs_what_is_recorded(name):
    """In a few runs; another processor may round otherwise, and take a generation more or less."""
    with benchmark.tqdm(disable=True) as bar:
        result = benchmark.compare(name, 2, 5, bar)
    assert result["pycma"]["evaluations"] == pytest.approx(
        recorded(name, 2)["evaluations"][:5], rel=0.25
    )
    assert result["wmlib"]["successes"] == 5 and result["ratio of medians"] > 0


def test_it_does_not_give_up_while_it_learns_the_covariance():
    """On this discus neither best nor median get better for 200 generations."""
    problem = benchmark.PROBLEMS["discus"]
    f, start = benchmark.instance(problem, 40, seed=9)
    evaluations, success = benchmark.run_wmlib(f, start, problem.sigma, None, seed=9)
    assert success and evaluations < 30_000


@pytest.mark.slow
def test_the_whole_grid_against_pycma():
    """Eight functions, n = 2, 10 and 40, and the time of a generation at n = 867."""
    cells = benchmark.grid(benchmark.SEEDS)
    for cell in cells:
        if benchmark.PROBLEMS[cell["function"]].unimodal:
            assert cell["wmlib"]["successes"] == len(cell["wmlib"]["success"]), cell["function"]
            assert 0.9 < cell["ratio of medians"] < 1.1, (cell["function"], cell["n"])
        # nine cells tested: 0.005 keeps a false alarm below 5 %
        assert cell["p of equal success rates (Fisher)"] > 0.005, (cell["function"], cell["n"])
    assert 0.9 < benchmark.separable(40, 15)["ratio of medians"] < 1.1
    times = benchmark.generation_times()
    assert times["ratio full"] <= 1 and times["ratio separable"] <= 1


# --- the separable variant


def test_separable_solves_a_separable_ellipsoid_three_times_faster():
    for seed in range(3):
        start = np.random.default_rng(seed).uniform(-3, 3, 40)
        config = CMAESConfig(sigma=1, separable=True, ftarget=1e-8)
        quick = minimise(benchmark.ellipsoid, start, config, seed)
        assert quick.reasons == {"ftarget": 1e-8}
        full = replace(config, separable=False)
        slow = minimise(benchmark.ellipsoid, start, full, seed, 3 * quick.evaluations)
        assert set(slow.reasons) == {"max_evaluations"}


def test_separable_learns_the_diagonal_faster_by_a_third_of_n_plus_2():
    n = 12
    separable = CMAES(np.ones(n), CMAESConfig(0.3, separable=True), seed=3)
    full = CMAES(np.ones(n), CMAESConfig(0.3), seed=3)
    for rate in ("c_1", "c_mu"):
        fast, slow = getattr(separable.strategy, rate), getattr(full.strategy, rate)
        assert fast == pytest.approx(slow * (n + 2) / 3)
    full.strategy = separable.strategy
    for es in (separable, full):
        steps(es, benchmark.ellipsoid, 1)
    np.testing.assert_allclose(np.diag(separable.covariance), np.diag(full.covariance))
    assert np.count_nonzero(separable.covariance) == n


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("population", [2, 3, 4, 10, 1000])
@pytest.mark.parametrize("n", [1, 2, 10, 867])
def test_the_strategy_keeps_c_positive_definite(n, population, separable):
    s = Strategy.default(n, population, separable)
    positive, negative = s.weights[s.weights > 0], s.weights[s.weights < 0]
    assert s.weights.shape == (population,) and (np.diff(s.weights) <= 0).all()
    assert positive.sum() == pytest.approx(1)
    assert s.mu_eff == pytest.approx(1 / (positive**2).sum())
    assert 0 < s.c_1 and 0 < s.c_mu and s.c_1 + s.c_mu <= 1 + 1e-15 and s.d_sigma >= 1
    # the most that unlearning can take from C along one axis is less than what is left of it
    kept = 1 - s.c_1 - s.c_mu * s.weights.sum()
    assert kept + s.c_mu * n * negative.sum() >= -1e-12


# --- the invariances


def test_only_the_ranking_of_the_values_matters():
    runs = [
        steps(CMAES(np.ones(5), CMAESConfig(0.5), 1), transformed, 60)
        for transformed in (
            benchmark.ellipsoid,
            lambda x: np.log(benchmark.ellipsoid(x)),
            lambda x: -1 / benchmark.ellipsoid(x) ** 2,
        )
    ]
    assert np.array_equal(runs[0], runs[1]) and np.array_equal(runs[0], runs[2])


def test_it_moves_with_a_moved_function():
    shift = np.array([64.0, -32.0, 16.0, 8.0, -128.0])
    here = steps(CMAES(np.ones(5), CMAESConfig(0.5), 1), benchmark.ellipsoid, 40)
    there = steps(
        CMAES(np.ones(5) + shift, CMAESConfig(0.5), 1), lambda x: benchmark.ellipsoid(x - shift), 40
    )
    np.testing.assert_allclose(there - shift, here, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_it_scales_with_a_stretched_function(scale):
    here = steps(CMAES(np.ones(5), CMAESConfig(0.5), 1), benchmark.ellipsoid, 40)
    config = CMAESConfig(0.5 * scale)
    there = steps(
        CMAES(np.ones(5) * scale, config, 1), lambda x: benchmark.ellipsoid(x / scale), 40
    )
    np.testing.assert_allclose(there / scale, here, rtol=1e-6, atol=1e-8)


def test_a_rotated_function_takes_as_many_evaluations():
    evaluations = {True: [], False: []}
    for seed in range(41):
        rng = np.random.default_rng(seed)
        rotation, _ = np.linalg.qr(rng.standard_normal((5, 5)))
        start = rng.uniform(-3, 3, 5)
        config = CMAESConfig(sigma=1, ftarget=1e-8)
        for rotated, basis in ((True, rotation), (False, np.eye(5))):
            found = minimise(
                lambda x, basis=basis: benchmark.ellipsoid(x @ basis.T), basis.T @ start, config, 1
            )
            assert "ftarget" in found.reasons
            evaluations[rotated].append(found.evaluations)
    ratio = np.median(evaluations[True]) / np.median(evaluations[False])
    assert ratio == pytest.approx(1, abs=0.1)  # standard error 3 %


def test_the_covariance_becomes_the_inverse_hessian():
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    root = np.logspace(0, 2, 6)[:, None] * basis.T  # (6, 6); the Hessian is 2 rootᵀ root
    assert np.linalg.cond(root.T @ root) == pytest.approx(1e4)
    es = CMAES(np.ones(6), CMAESConfig(sigma=1), seed=1)
    steps(es, lambda x: ((x @ root.T) ** 2).sum(axis=1), 300)
    assert np.linalg.cond(root @ es.covariance @ root.T) < 6  # 1e4 at the beginning


# --- bounds


def test_the_box_is_pycmas():
    rng = np.random.default_rng(0)
    lower = np.array([-1.0, 0.0, -np.inf, -np.inf, 100.0, 3.0])
    upper = np.array([2.0, np.inf, 5.0, np.inf, 101.0, 3.001])
    box = Box((lower, upper), 6)
    finite = [[None if np.isinf(b) else b for b in side] for side in (lower, upper)]
    theirs = cma.boundary_handler.BoundTransform(finite)
    for scale in (0.1, 1, 10, 1000):
        for x in rng.standard_normal((50, 6)) * scale:
            y = box.into(x)
            assert (lower <= y).all() and (y <= upper).all()
            np.testing.assert_allclose(y, theirs.transform(x), atol=1e-9)
            np.testing.assert_allclose(box.into(box.out_of(y)), y, atol=1e-12)


@pytest.mark.parametrize("separable", [False, True])
def test_bounds_are_kept_and_an_optimum_on_them_is_found(separable):
    optimum = np.array([2.0, -2.0, 0.5, 0.0])  # the first two are out of reach
    config = CMAESConfig(0.5, bounds=(-1, [1, 1, 1, np.inf]), separable=separable)
    es = CMAES([1, 0, 0, 3], config, seed=2)
    np.testing.assert_allclose(es.mean, [1, 0, 0, 3])
    while not es.stop():
        x = es.ask()
        assert (x >= -1).all() and (x[:, :3] <= 1).all() and (es.mean[:3] <= 1).all()
        es.tell(x, ((x - optimum) ** 2).sum(axis=1))
    np.testing.assert_allclose(es.best.x, [1, -1, 0.5, 0], atol=1e-4)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("sigma", [100, 1e6])
def test_a_first_step_far_above_the_bounds_finds_the_optimum_as_pycma_does(sigma, separable):
    """Beyond the box f repeats in the mirrors: without a limit this ended at 5e-2."""

    def f(x):
        return ((x - 0.5) ** 2).sum(axis=-1)

    options = {"bounds": [-1, 1], "verbose": -9, "signals_filename": "", "seed": 1}
    options |= {"BoundaryHandler": cma.BoundTransform, "CMA_diagonal": separable}
    theirs = cma.CMAEvolutionStrategy(np.zeros(3), sigma, options).optimize(f)
    assert theirs.result.fbest < 1e-13
    for seed in range(5):
        config = CMAESConfig(sigma, bounds=(-1, 1), separable=separable)
        found = minimise(f, np.zeros(3), config, seed)
        assert found.best.value < 1e-12 and set(found.reasons) & {"tolfun", "tolfunhist"}
        assert found.evaluations < 2 * theirs.result.evaluations


@pytest.mark.parametrize("separable", [False, True])
def test_no_deviation_exceeds_a_third_of_its_box(separable):
    """pycma's `maxstd_boundrange`, at the start and ever after; the open side keeps its own."""
    upper = np.array([1.0, 0.02, np.inf])
    config = CMAESConfig(50.0, bounds=([-1.0, -0.02, -1.0], upper), separable=separable)
    es, aim = CMAES(np.zeros(3), config, seed=1), np.array([0.5, 0.01, 1000.0])
    widest = [2 / 3, 0.04 / 3, np.inf]
    np.testing.assert_allclose(es.standard_deviations, [*widest[:2], 50.0])
    while not es.stop():
        x = es.ask()
        assert (es.standard_deviations <= np.multiply(widest, 1 + 1e-9)).all()
        es.tell(x, ((x - aim) ** 2).sum(axis=1))
    np.testing.assert_allclose(es.best.x, aim, atol=1e-5)


# --- stopping


def noise():
    rng = np.random.default_rng(0)
    return lambda x: rng.random(len(x))


@pytest.mark.parametrize(
    ("reason", "function", "mean", "options"),
    [
        ("ftarget", sphere, np.ones(4), {"ftarget": 1e-3}),
        ("maxiter", sphere, np.ones(4), {"maxiter": 7}),
        ("tolfun", sphere, np.ones(4), {}),
        ("tolfunhist", sphere, np.ones(4), {"tolfunhist": 1e-6, "tolfun": 0}),
        ("tolfunhist", lambda x: np.ones(len(x)), np.ones(4), {"tolfun": 0}),
        ("tolx", sphere, np.ones(4), {"tolx": 1e-3}),
        ("tolfacupx", lambda x: x[:, 0], np.ones(4), {}),
        ("tolconditioncov", benchmark.cigar, np.ones(4), {"tolconditioncov": 1e4}),
        ("tolstagnation", noise(), np.ones(4), {}),
        ("noeffectcoord", sphere, np.full(4, 1e18), {"sigma": 1e-3}),
        ("noeffectaxis", sphere, np.full(4, 1e18), {"sigma": 1e-3}),
    ],
)
def test_it_says_why_it_stops(reason, function, mean, options):
    es = CMAES(mean, CMAESConfig(**{"sigma": 0.3} | options), seed=1)
    assert es.stop() == {}
    while not (reasons := es.stop()):
        x = es.ask()
        es.tell(x, function(x))
    assert reason in reasons
    if reason in options:
        assert reasons[reason] == options[reason]
    assert es.generation == 7 if reason == "maxiter" else es.generation < 700


def test_minimise_stays_within_the_evaluations_granted():
    found = minimise(sphere, np.ones(4), CMAESConfig(0.3, population=8), 1, max_evaluations=100)
    assert (found.evaluations, found.generations) == (96, 12)
    assert found.reasons == {"max_evaluations": 100}
    assert found.best.value == sphere(found.best.x[None]) < 4
    assert sphere(found.mean[None]) < 4


# --- the state


@pytest.mark.parametrize("pending", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"separable": True}, {"bounds": (None, 1.5), "population": 9}]
)
def test_a_resumed_run_continues_with_the_same_bits(options, pending):
    config = CMAESConfig(sigma=0.5, **options)
    undisturbed = CMAES(np.ones(20), config, seed=5)
    interrupted = CMAES(np.ones(20), config, seed=5)
    steps(undisturbed, benchmark.rosenbrock, 97)
    steps(interrupted, benchmark.rosenbrock, 37)
    if pending:
        interrupted.ask()
    state = interrupted.state_dict()
    arrays = load(save({k: v for k, v in state.items() if not isinstance(v, str)}))
    strings = json.loads(json.dumps({k: v for k, v in state.items() if isinstance(v, str)}))
    steps(interrupted, benchmark.rosenbrock, 3)  # the state is a copy
    resumed = CMAES.from_state({**arrays, **strings})
    assert resumed.config == config
    steps(resumed, benchmark.rosenbrock, 60)
    for name, value in undisturbed.state_dict().items():
        assert np.array_equal(value, resumed.state_dict()[name]), name
    assert resumed.best.value == undisturbed.best.value
    assert resumed.evaluations == undisturbed.evaluations == 97 * undisturbed.population
    assert resumed.stop() == undisturbed.stop()


def test_a_state_that_is_none_is_refused():
    state = CMAES(np.ones(3), CMAESConfig(0.5), 1).state_dict()
    with pytest.raises(ValueError, match="lacks path_c, sigma"):
        CMAES.from_state({k: v for k, v in state.items() if k not in ("path_c", "sigma")})
    with pytest.raises(ValueError, match=r"covariance in the state has the wrong shape \(2, 2\)"):
        CMAES.from_state(state | {"covariance": np.eye(2)})


# --- asking and telling


def test_randomness_is_the_seeds_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second, other = (
        steps(CMAES(np.ones(3), CMAESConfig(0.5), seed), sphere, 20) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, second) and not np.array_equal(first, other)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_candidates_are_asked_until_told_and_are_the_callers_own():
    es = CMAES(np.ones(3), CMAESConfig(0.5), 1)
    x = es.ask()
    assert x.shape == (7, 3) and x.dtype == np.float64
    es.ask()[:] = 0
    assert np.array_equal(x, es.ask())
    es.tell(x.tolist(), sphere(x).tolist())
    assert not np.array_equal(x, es.ask())
    assert es.best.value == sphere(x).min()
    assert np.array_equal(es.best.x, x[sphere(x).argmin()])


def test_the_default_population_and_one_dimension():
    sizes = {n: CMAES(np.zeros(n), CMAESConfig(1.0), 1).population for n in (1, 2, 10, 40, 867)}
    assert sizes == {1: 4, 2: 6, 10: 10, 40: 15, 867: 24}
    found = minimise(lambda x: (x[:, 0] - 3) ** 2, [0.0], CMAESConfig(1.0, ftarget=1e-8), 1)
    assert found.reasons == {"ftarget": 1e-8}
    assert found.best.x[0] == pytest.approx(3, abs=1e-3)


def test_infinity_is_the_worst_of_values():
    """A third of the space is forbidden, the optimum just beside it."""
    found = minimise(
        lambda x: np.where(x[:, 0] < 0, np.inf, sphere(x)), np.ones(5), CMAESConfig(0.5), 1
    )
    assert found.best.value < 1e-6 and found.best.x[0] >= 0
    es = CMAES(np.ones(5), CMAESConfig(0.5), 1)
    es.tell(es.ask(), np.full(8, np.inf))
    assert es.stop() == {} and es.best.value == np.inf and np.isfinite(es.ask()).all()


def test_a_large_c_is_decomposed_lazily(monkeypatch):
    calls = []
    eigh = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda c: calls.append(1) or eigh(c))
    es = CMAES(np.ones(300), CMAESConfig(0.5), 1)
    steps(es, sphere, 31)
    assert 2 < es.strategy.gap < 5
    assert len(calls) == 30 // np.ceil(es.strategy.gap)


# --- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0}, "sigma must be a positive number, got 0"),
        ({"sigma": -1.0}, "sigma must be .* got -1.0"),
        ({"sigma": float("nan")}, "sigma must be .* got nan"),
        ({"sigma": [1.0, 1.0]}, "sigma must be .* got"),
        ({"population": 1}, "population must be at least 2, got 1"),
        ({"population": 7.5}, "population must be a whole number or None, got 7.5"),
        ({"maxiter": 0}, "maxiter must be at least 1, got 0"),
        ({"tolx": -1e-9}, "tolx must be a number, at least 0, got -1e-09"),
        ({"bounds": (0, 1, 2)}, "bounds must be a Sequence of length 2, got"),
    ],
)
def test_a_bad_configuration_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CMAESConfig(**{"sigma": 1.0} | options)


@pytest.mark.parametrize(
    ("mean", "options", "message"),
    [
        (np.ones((2, 2)), {}, r"mean must be an array of shape \(n,\) .*, got .* \(2, 2\)"),
        (1.0, {}, r"mean must be an array of shape \(n,\) .*, got 1.0"),
        ([], {}, r"mean must be an array of shape \(n,\) .*, got \[\]"),
        ([1.0, np.inf], {}, "mean must be finite, got inf"),
        (
            [0.0, 2.0],
            {"bounds": (-1, 1)},
            r"mean\[1\] = 2.0 is not within the bounds \[-1.0, 1.0\]",
        ),
        ([0.0, 2.0], {"bounds": (1, -1)}, r"bounds\[0\]: 1.0 is not < -1.0"),
        (
            [0.0, 2.0],
            {"bounds": ([0, 1, 2], None)},
            "each bound must be None, a number or 2 numbers",
        ),
        ([0.0, 2.0], {"bounds": (float("nan"), 3)}, "each bound must be None, a number or 2"),
    ],
)
def test_a_bad_start_is_refused(mean, options, message):
    with pytest.raises(ValueError, match=message):
        CMAES(mean, CMAESConfig(sigma=1.0, **options), seed=1)


def test_tell_refuses_what_it_did_not_ask_for():
    es = CMAES(np.ones(3), CMAESConfig(0.5), 1)
    with pytest.raises(ValueError, match="none were asked for"):
        es.tell(np.ones((7, 3)), np.ones(7))
    x = es.ask()
    for others in (x[:5], x[:, :2], x + 1, x[::-1]):
        with pytest.raises(ValueError, match="tell expects the candidates of the last ask"):
            es.tell(others, np.ones(len(others)))
    with pytest.raises(
        ValueError, match=r"values must be an array of shape \(7,\), got .* \(7, 1\)"
    ):
        es.tell(x, np.ones((7, 1)))
    for bad in (np.nan, -np.inf):
        values = np.ones(7)
        values[4] = bad
        with pytest.raises(ValueError, match=rf"values\[4\] is {bad}, expected a number or \+inf"):
            es.tell(x, values)
    es.tell(x, np.ones(7))
    assert es.generation == 1  # the refused ones left nothing behind
