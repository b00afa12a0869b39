"""CMA-ES: the optimiser that evolves the controller C (Ha & Schmidhuber 2018, section 2.4).

The covariance matrix adaptation evolution strategy of N. Hansen, "The CMA Evolution Strategy:
A Tutorial", arXiv:1604.00772. A number in round brackets is an equation of its appendix A, where
the whole algorithm stands on two pages. Two things are added: the separable variant, a diagonal
covariance learnt (n + 2) / 3 times faster (Ros & Hansen, PPSN 2008), and bounds.

Letters: n parameters, P population (the tutorial's lambda).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wmlib.agents.world_models.evolution_settings import Array, Box, CMAESConfig, Strategy
from wmlib.shapes import as_array, check_shape

_HISTORY = 20_000  # generations remembered for the test of stagnation; tutorial, B.3


class Best(NamedTuple):
    """The best candidate told so far: `x` (n,) and its `value`."""

    x: Array
    value: float


class CMAES:
    """Minimises a function of n numbers by asking for its values at P candidates at a time.

    >>> es = CMAES(np.zeros(10), CMAESConfig(sigma=0.5), seed=1)
    >>> while not es.stop():
    ...     candidates = es.ask()  # (P, n)
    ...     es.tell(candidates, [((x - 1) ** 2).sum() for x in candidates])  # (P,), less is better

    Args: `mean` (n,) where the search starts, finite and within the bounds; `seed` of its own
    random numbers. Raises ValueError for a mean that is not 1-D, not finite or out of bounds.
    """

    def __init__(self, mean: ArrayLike, config: CMAESConfig, seed: int) -> None:
        start = as_array("mean", mean, "n", finite=True).astype(np.float64)  # (n,)
        n = start.size
        self.config = config
        self.dimension = n
        self.population = int(config.population or 4 + int(3 * np.log(n)))  # (48)
        self.strategy = Strategy.default(n, self.population, config.separable)
        self._box = None if config.bounds is None else Box(config.bounds, n)
        self._rng = np.random.default_rng(seed)
        # The distribution N(m, sigma^2 C), where C = B D^2 B^T; separable: all diagonal, B = I.
        self._mean = start if self._box is None else self._box.out_of(start)  # (n,)
        self._sigma = np.float64(config.sigma)
        self._covariance = np.ones(n) if config.separable else np.eye(n)  # (n,) or (n, n)
        self._basis = np.empty((0, 0)) if config.separable else np.eye(n)  # (n, n) B
        self._scales = np.ones(n)  # (n,) D
        self._path_sigma = np.zeros(n)
        self._path_c = np.zeros(n)
        self._decomposed = 0  # the generation that B and D belong to
        self.generation = 0
        # The population asked for and not yet told: z ~ N(0, I), y = B D z, x = m + sigma y.
        self._z = self._y = self._asked = np.empty((0, n))  # (P, n) each, while one is pending
        # What `best` and `stop` look at.
        self._best_x, self._best_value = self.mean, np.inf
        self._spread = np.inf  # range of the last generation's values
        self._bests = self._medians = np.empty(0)  # (generations,) of the values told
        self._keep_within_bounds()

    def ask(self) -> Array:
        """(P, n) candidates drawn from N(m, sigma^2 C). The same ones again until they are told."""
        if len(self._asked) == 0:
            self._z = self._rng.standard_normal((self.population, self.dimension))  # (P, n) (38)
            if self.config.separable:
                self._scales = np.sqrt(self._covariance)  # (n,)
                self._y = self._z * self._scales  # (P, n) (39)
            else:
                if self.generation - self._decomposed >= max(1, self.strategy.gap):
                    self._decompose()
                self._y = (self._z * self._scales) @ self._basis.T  # (P, n) (39)
            self._asked = self._into_box(self._mean + self._sigma * self._y)  # (P, n) (40)
        return self._asked.copy()

    def tell(self, candidates: ArrayLike, values: ArrayLike) -> None:
        """Learns from the values of all candidates just asked for; the lower, the BETTER.

        Args: `candidates` (P, n) as `ask` returned them; `values` (P,), of which only the ranking
        matters. +inf is allowed (as bad as can be). Raises ValueError for NaN or -inf, and for
        candidates or values of another shape or origin.
        """
        order = self._rank(candidates, values)  # (P,) best first
        z, y = self._z[order], self._y[order]  # (P, n) each: x_i:P = m + sigma y_i:P
        self.generation += 1
        y_w, h_sigma = self._move(z, y)
        self._reshape(z, y, y_w, h_sigma)
        self._keep_within_bounds()
        self._z = self._y = self._asked = np.empty((0, self.dimension))

    def _move(self, z: Array, y: Array) -> tuple[Array, bool]:
        """New mean and step size; (n,) the mean's step, and whether C's path may follow it."""
        s, n = self.strategy, self.dimension
        # Move the mean to the weighted average of the better half.
        parents = np.maximum(s.weights, 0)  # (P,)
        y_w = parents @ y  # (n,) (41)
        self._mean += self._sigma * y_w  # (42), c_m = 1

        # Lengthen the steps if successive ones point the same way, shorten them if they cancel.
        z_w = parents @ z  # (n,)
        z_w = z_w if self.config.separable else self._basis @ z_w  # C^-1/2 y_w
        gain = np.sqrt(s.c_sigma * (2 - s.c_sigma) * s.mu_eff)
        self._path_sigma = (1 - s.c_sigma) * self._path_sigma + gain * z_w  # (43)
        length = float(np.linalg.norm(self._path_sigma)) / s.chi_n  # 1 if steps are independent
        self._sigma *= np.exp(min(1.0, s.c_sigma / s.d_sigma * (length - 1)))  # (44)

        settled = np.sqrt(1 - (1 - s.c_sigma) ** (2 * self.generation))
        return y_w, bool(length / settled < 1.4 + 2 / (n + 1))  # False while the path is very long

    def _reshape(self, z: Array, y: Array, y_w: Array, h_sigma: bool) -> None:
        """New covariance."""
        s, n = self.strategy, self.dimension
        # Stretch C along the path of the mean (rank one) ...
        gain = np.sqrt(s.c_c * (2 - s.c_c) * s.mu_eff)
        self._path_c = (1 - s.c_c) * self._path_c + h_sigma * gain * y_w  # (45)
        # ... and towards good steps, away from bad ones, of a fixed length (rank mu).
        lengths = np.maximum((z**2).sum(axis=1), 1e-300)  # (P,) |C^-1/2 y|^2
        w = np.where(s.weights < 0, s.weights * n / lengths, s.weights)  # (46)
        lost = (1 - h_sigma) * s.c_c * (2 - s.c_c)  # the variance that a stalled path lacks
        self._covariance *= 1 + s.c_1 * lost - s.c_1 - s.c_mu * s.weights.sum()  # (47) ...
        steps = np.vstack([self._path_c, y])  # (1 + P, n)
        rates = np.append(s.c_1, s.c_mu * w)  # (1 + P,)
        if self.config.separable:
            self._covariance += rates @ steps**2  # (n,)
        else:
            self._covariance += (rates * steps.T) @ steps  # (n, n) ... (47)

    def stop(self) -> dict[str, float]:
        """The reasons to stop, {name in `CMAESConfig`: the limit that was reached}; {} to go on.

        Two are no tolerances but the end of float64's: `noeffectaxis` and `noeffectcoord`, a step
        of 0.1 standard deviations along an axis of C (0.2 along a coordinate) changes nothing.
        """
        c, n, generation = self.config, self.dimension, self.generation
        if generation == 0:
            return {}
        reasons: dict[str, float] = {}

        def check(name: str, limit: float | None, reached: np.bool_ | bool) -> None:
            if limit is not None and reached:
                reasons[name] = limit

        memory = 30 * n / self.population
        deviations = self.standard_deviations  # (n,)
        recent = self._bests[-int(10 + memory) :]
        drift = _range(recent) if len(recent) >= 10 else np.inf
        longest = c.maxiter or 100 + 150 * (n + 3) ** 2 // self.population**0.5
        check("ftarget", c.ftarget, c.ftarget is not None and self._best_value <= c.ftarget)
        check("maxiter", longest, generation >= longest)
        check("tolfun", c.tolfun, max(self._spread, _range(recent)) < c.tolfun)
        check("tolfunhist", c.tolfunhist, drift < c.tolfunhist)
        steps = np.maximum(deviations, self._sigma * np.abs(self._path_c))
        check("tolx", c.tolx, (steps < c.tolx).all())
        check("tolfacupx", c.tolfacupx, (deviations > c.tolfacupx * c.sigma).any())
        condition = (self._scales.max() / self._scales.min()) ** 2
        check("tolconditioncov", c.tolconditioncov, condition > c.tolconditioncov)
        patience = c.tolstagnation or int(100 + 100 * n**1.5 / self.population)
        window = min(max(patience, generation // 5), _HISTORY)
        stagnates = _stagnates(self._bests, window) and _stagnates(self._medians, window)
        check("tolstagnation", window, stagnates)
        same = self._mean == self._mean + 0.2 * deviations
        check("noeffectcoord", 0.2, same.any())
        if not c.separable:
            i = generation % n
            axis = self._sigma * self._scales[i] * self._basis[:, i]  # (n,)
            check("noeffectaxis", 0.1, (self._mean == self._mean + 0.1 * axis).all())
        return reasons

    @property
    def mean(self) -> Array:
        """(n,) the centre of the distribution, within the bounds: the estimate of the optimum that
        noise in single values disturbs least."""
        return self._into_box(self._mean).copy()

    @property
    def sigma(self) -> float:
        """The step size [x]."""
        return float(self._sigma)

    @property
    def covariance(self) -> Array:
        """(n, n) C, without sigma^2 and before bounds; diagonal in the separable variant."""
        return np.diag(self._covariance) if self.config.separable else self._covariance.copy()

    @property
    def standard_deviations(self) -> Array:
        """(n,) sigma sqrt(C_ii) of each parameter [x], before bounds."""
        diagonal = self._covariance if self.config.separable else np.diag(self._covariance)
        return self._sigma * np.sqrt(diagonal)

    @property
    def best(self) -> Best:
        """The best candidate told so far (value inf before the first one)."""
        return Best(self._best_x.copy(), self._best_value)

    @property
    def evaluations(self) -> int:
        """Values told so far."""
        return self.generation * self.population

    def state_dict(self) -> dict[str, Array | str]:
        """All there is to continue from, between `ask` and `tell` as well: float64 arrays, for
        safetensors, and two strings of JSON, for its metadata."""
        state: dict[str, Array | str] = {
            name.lstrip("_"): np.array(getattr(self, name), dtype=np.float64)
            for name in (*_FIXED, *_GROWING)
        }
        state["config"] = json.dumps(asdict(self.config))
        state["generator"] = json.dumps(self._rng.bit_generator.state)
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, ArrayLike]) -> CMAES:
        """The run that `state_dict` was taken from: it goes on with the same bits.

        Raises ValueError for a state in which an entry is missing or has another shape.
        """
        names = [name.lstrip("_") for name in (*_FIXED, *_GROWING)]
        if missing := {*names, "config", "generator"} - set(state):
            raise ValueError(f"not a state of CMAES, it lacks {', '.join(sorted(missing))}")
        es = cls(np.asarray(state["best_x"]), CMAESConfig(**json.loads(str(state["config"]))), 0)
        es._rng.bit_generator.state = json.loads(str(state["generator"]))
        for name, attribute in zip(names, (*_FIXED, *_GROWING), strict=True):
            value, fresh = np.array(state[name], dtype=np.float64), getattr(es, attribute)
            free = 1 if attribute in _GROWING else 0  # axes of any length
            if value.ndim != np.ndim(fresh) or value.shape[free:] != np.shape(fresh)[free:]:
                raise ValueError(f"{name} in the state has the wrong shape {value.shape}")
            setattr(es, attribute, value if value.ndim else type(fresh)(value))
        return es

    def _rank(self, candidates: ArrayLike, values: ArrayLike) -> NDArray[np.intp]:
        """Checks what `tell` is given, remembers what `best` and `stop` need; (P,) best first."""
        x, f = np.asarray(candidates), np.asarray(values, dtype=np.float64)
        if len(self._asked) == 0:
            raise ValueError("tell needs candidates from ask, and none were asked for")
        if not np.array_equal(x, self._asked):
            raise ValueError(f"tell expects the candidates of the last ask, got others, {x.shape}")
        check_shape("values", f, np.ndarray, self.population)
        if (bad := np.flatnonzero(np.isnan(f) | (f == -np.inf))).size:
            raise ValueError(f"values[{bad[0]}] is {f[bad[0]]}, expected a number or +inf")
        order = np.argsort(f, kind="stable")
        if f[order[0]] < self._best_value:
            self._best_x, self._best_value = self._asked[order[0]].copy(), float(f[order[0]])
        self._spread = _range(f)
        self._bests = np.append(self._bests[1 - _HISTORY :], f[order[0]])
        self._medians = np.append(self._medians[1 - _HISTORY :], f[order[len(f) // 2]])
        return order

    def _keep_within_bounds(self) -> None:
        """No standard deviation above a third of its box: beyond, f repeats in the mirrors, so that
        selection is blind and sigma drifts. As pycma's `maxstd_boundrange`."""
        if self._box is None:
            return
        wide = self.standard_deviations / self._box.widest  # (n,) 0 where a side is open
        if (common := wide.min()) > 1:  # all are too wide
            self._sigma /= common
            wide /= common
        if (wide > 1 + 1e-12).any():
            shrink = 1 / np.maximum(wide, 1)  # (n,)
            self._path_c = self._path_c * shrink
            if self.config.separable:
                self._covariance = self._covariance * shrink**2  # (n,)
            else:
                self._covariance = self._covariance * np.outer(shrink, shrink)  # (n, n)
                self._decompose()

    def _decompose(self) -> None:
        """C = B D^2 B^T, O(n^3)."""
        self._covariance = (self._covariance + self._covariance.T) / 2
        eigenvalues, basis = np.linalg.eigh(self._covariance)
        eigenvalues = np.maximum(eigenvalues, 1e-16 * eigenvalues[-1])  # rounding can make one < 0
        self._scales, self._basis = np.sqrt(eigenvalues), np.ascontiguousarray(basis)
        self._decomposed = self.generation

    def _into_box(self, x: Array) -> Array:
        return x if self._box is None else self._box.into(x)


# The attributes that are the state of a run: those of a fixed shape, those with a first axis that
# grows or comes and goes.
_FIXED = (
    *("generation", "_mean", "_sigma", "_covariance", "_basis", "_scales", "_decomposed"),
    *("_path_sigma", "_path_c", "_best_x", "_best_value", "_spread"),
)
_GROWING = ("_z", "_y", "_asked", "_bests", "_medians")


@dataclass(frozen=True)
class Minimum:
    """What `minimise` found."""

    best: Best  # the best candidate evaluated
    mean: Array  # (n,) the last mean
    evaluations: int
    generations: int
    reasons: dict[str, float]  # why it stopped: of `CMAES.stop`, or max_evaluations


def minimise(
    function: Callable[[Array], ArrayLike],
    mean: ArrayLike,
    config: CMAESConfig,
    seed: int,
    max_evaluations: float = np.inf,
) -> Minimum:
    """Runs `CMAES` until it stops or the next generation would exceed `max_evaluations`.

    `function` takes a whole population, (P, n) -> (P,), and is minimised.
    """
    es = CMAES(mean, config, seed)
    while not (reasons := es.stop()):
        if es.evaluations + es.population > max_evaluations:
            reasons = {"max_evaluations": max_evaluations}
            break
        candidates = es.ask()
        es.tell(candidates, function(candidates))
    return Minimum(es.best, es.mean, es.evaluations, es.generation, reasons)


def _range(values: Array) -> float:
    """max - min; inf if a value is not finite."""
    return float(np.ptp(values)) if np.isfinite(values).all() else np.inf


def _stagnates(history: Array, window: int) -> bool:
    """Are, of the last `window` values, the latest 30 % no better than the first 30 %?"""
    recent, part = history[-window:], math.ceil(0.3 * window)
    return len(recent) == window and bool(np.median(recent[-part:]) >= np.median(recent[:part]))
