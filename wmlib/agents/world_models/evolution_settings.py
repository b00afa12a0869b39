"""What CMA-ES goes by: its hyper-parameters, the rates that follow from them, and bounds.

A number in round brackets is an equation of N. Hansen, "The CMA Evolution Strategy: A Tutorial",
arXiv:1604.00772, appendix A.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wmlib.typed import PositiveFloat, PositiveInt, typed

Array = NDArray[np.float64]
Bound = float | Sequence[float] | None
Tolerance = Annotated[float, Field(ge=0)]  # infinity is one
_NONE = (-np.inf, np.inf)  # no bounds


@typed
@dataclass(frozen=True)
class CMAESConfig:
    """Hyper-parameters of `CMAES`; its learning rates follow from n and P alone, see `Strategy`.

    Units: [x] that of the parameters, [f] that of the function minimised. A tolerance of 0 (for
    `tolfacupx` and `tolconditioncov`: of infinity) never stops a run. The names are pycma's.
    """

    sigma: PositiveFloat
    """Initial step size [x]: a third of the range where the optimum may lie. No default fits."""
    population: Annotated[int, Field(ge=2)] | None = None
    """Candidates a generation, P >= 2. None: 4 + floor(3 ln n), (48). A rugged f needs more."""
    separable: bool = False
    """Learn the diagonal of C only: O(n) memory and time, but blind to correlated parameters."""
    bounds: Annotated[Sequence[Bound], Field(min_length=2, max_length=2)] | None = None
    """(lower, upper) [x], each a number, n numbers, or None for no bound: see `Box`. No standard
    deviation gets larger than a third of the way from one to the other, whatever `sigma` is."""
    ftarget: float | None = None
    """Stop when the best value is this low [f]. None: no target."""
    maxiter: PositiveInt | None = None
    """Stop after so many generations. None: 100 + 150 (n + 3)^2 / sqrt(P), as in pycma."""
    tolfun: Tolerance = 1e-11
    """Stop when the values of this generation, and the best values of the last 10 + 30 n / P
    generations, lie within this range [f]; pycma's default."""
    tolfunhist: Tolerance = 1e-12
    """Stop when the best values of those generations alone lie within this range [f]; pycma."""
    tolx: Tolerance = 1e-11
    """Stop when all standard deviations and sigma |p_c| are below this [x]; pycma's default."""
    tolfacupx: Tolerance = 1e4
    """Stop when a standard deviation exceeds this multiple of `sigma`; TolXUp of tutorial B.3."""
    tolconditioncov: Tolerance = 1e14
    """Stop when the condition number of C exceeds this; ConditionCov of tutorial B.3."""
    tolstagnation: PositiveInt | None = None
    """Stop when neither the best nor the median value got better in so many generations, or in the
    last 20 % of the run if that is more: Stagnation of tutorial B.3. None: 100 + 100 n^1.5 / P, as
    in pycma; the tutorial's 120 + 30 n / P gave up on a discus (n = 40), its C half learnt."""

    def __post_init__(self) -> None:
        if self.bounds is not None:
            lower, upper = (None if b is None else np.asarray(b).tolist() for b in self.bounds)
            object.__setattr__(self, "bounds", (lower, upper))


@dataclass(frozen=True, eq=False)
class Strategy:
    """What follows from the dimension and the population: table 1 of the tutorial."""

    weights: Array  # (P,) of x_1:P ... x_P:P, best first: the parents' sum to 1, the rest are <= 0
    mu_eff: float  # as many equal parents would average out as much noise
    c_sigma: float  # how fast the path of the step size forgets
    d_sigma: float  # damping of the step size
    c_c: float  # how fast the path of the covariance forgets
    c_1: float  # learning rate of the rank-one update
    c_mu: float  # learning rate of the rank-mu update
    chi_n: float  # E||N(0, I)||
    gap: float  # generations from one eigendecomposition of C to the next

    @classmethod
    def default(cls, n: int, population: int, separable: bool = False) -> Strategy:
        """The tutorial's settings for n >= 1 parameters and P >= 2 candidates."""
        raw = np.log((population + 1) / 2) - np.log(np.arange(1, population + 1))  # (P,) (49)
        parents, others = raw[: population // 2], raw[population // 2 :]
        mu_eff = parents.sum() ** 2 / (parents**2).sum()
        mu_eff_others = others.sum() ** 2 / (others**2).sum()
        c_1 = 2 / ((n + 1.3) ** 2 + mu_eff)  # (57)
        c_mu = 2 * (1 / 4 + mu_eff + 1 / mu_eff - 2) / ((n + 2) ** 2 + mu_eff)  # (58)
        if separable:  # n numbers to learn instead of n (n + 1) / 2
            c_1, c_mu = c_1 * (n + 2) / 3, c_mu * (n + 2) / 3  # Ros & Hansen 2008
        c_mu = min(1 - c_1, c_mu)
        unlearning = min(  # what the negative weights sum to
            1 + c_1 / c_mu,  # (50): C is not shrunk on the whole
            1 + 2 * mu_eff_others / (mu_eff + 2),  # (51): few bad candidates teach little
            (1 - c_1 - c_mu) / (n * c_mu),  # (52): C stays positive definite
        )
        c_sigma = (mu_eff + 2) / (n + mu_eff + 5)  # (55)
        return cls(
            weights=np.append(parents / parents.sum(), unlearning * others / -others.sum()),  # (53)
            mu_eff=mu_eff,
            c_sigma=c_sigma,
            d_sigma=1 + 2 * max(0, ((mu_eff - 1) / (n + 1)) ** 0.5 - 1) + c_sigma,  # (55)
            c_c=(4 + mu_eff / n) / (n + 4 + 2 * mu_eff / n),  # (56)
            c_1=c_1,
            c_mu=c_mu,
            chi_n=math.sqrt(2) * math.exp(math.lgamma((n + 1) / 2) - math.lgamma(n / 2)),
            gap=1 / (10 * n * (c_1 + c_mu)),  # tutorial B.2: O(n^2) a generation, all in all
        )


class Box:
    """Bounds by a smooth change of variables, after pycma's `BoundTransform`.

    The search is unbounded; what is evaluated is its image in the box. `into` is the identity but
    for a margin of 5 % of max(1, |bound|) (at most half the box) at each bound, where it bends
    quadratically; farther out it is mirrored. So f needs no penalty and stays smooth: an optimum
    on the bound becomes an ordinary one, a margin outside of it.
    """

    def __init__(self, bounds: Sequence[Bound], n: int) -> None:
        sides = [infinity if b is None else b for b, infinity in zip(bounds, _NONE, strict=True)]
        if any(np.shape(side) not in ((), (n,)) or np.isnan(side).any() for side in sides):
            raise ValueError(f"each bound must be None, a number or {n} numbers, got {bounds!r}")
        lower, upper = (np.full(n, side, dtype=np.float64) for side in sides)
        if (bad := np.flatnonzero(lower >= upper)).size:
            raise ValueError(f"bounds[{bad[0]}]: {lower[bad[0]]} is not < {upper[bad[0]]}")
        self.lower, self.upper = lower, upper  # (n,) each
        margins = [np.where(np.isinf(b), 1, np.maximum(1, np.abs(b)) / 20) for b in (lower, upper)]
        self._below, self._above = (np.minimum((upper - lower) / 2, m) for m in margins)
        self._low, self._high = lower - self._below, upper + self._above  # where it is mirrored
        self.widest = (upper - lower) / 3  # (n,) the largest useful standard deviation

    def into(self, x: Array) -> Array:
        """(..., n) anywhere -> (..., n) within the bounds."""
        low, high, turn = self._low, self._high, 2 * (self._high - self._low)
        with np.errstate(invalid="ignore"):  # infinite bounds: what np.where discards may be nan
            y = np.where(np.isfinite(turn), low + np.mod(x - low, turn), x)
            y = np.where(y < low, 2 * low - y, np.where(y > high, 2 * high - y, y))
            y = np.where((x < low) | (x > high), y, x)
            up = self.lower + (y - low) ** 2 / (4 * self._below)
            down = self.upper - (y - high) ** 2 / (4 * self._above)
        y = np.where(y < self.lower + self._below, up, y)
        return np.where(y > self.upper - self._above, down, y)

    def out_of(self, x: Array) -> Array:
        """The inverse of `into`: (n,) within the bounds -> the (n,) nearest to it."""
        if (bad := np.flatnonzero((x < self.lower) | (x > self.upper))).size:
            within = f"[{self.lower[bad[0]]}, {self.upper[bad[0]]}]"
            raise ValueError(f"mean[{bad[0]}] = {x[bad[0]]} is not within the bounds {within}")
        with np.errstate(invalid="ignore"):
            up = self._low + 2 * np.sqrt(self._below * (x - self.lower))
            down = self._high - 2 * np.sqrt(self._above * (self.upper - x))
        y = np.where(x < self.lower + self._below, up, x)
        return np.where(x > self.upper - self._above, down, y)
