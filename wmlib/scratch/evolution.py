"""The article's "simplified CMA-ES" (section 4), which is not CMA-ES."""

from collections.abc import Callable
from typing import Annotated

import numpy as np
from pydantic import Field

from wmlib.scratch.checks import Array, Positive, Seed, vectors
from wmlib.typed import PositiveInt, typed


@typed
def cma_es(
    evaluate_fn: Callable[[Array], float],
    n_params: PositiveInt,
    generations: PositiveInt = 50,
    pop: Annotated[int, Field(ge=4)] = 32,
    sigma: Positive = 0.5,
    *,
    seed: Seed = None,
    verbose: bool = True,
) -> Array:
    """Evolve parameters (n_params,) that make `evaluate_fn` large.

    The name is the article's. No covariance matrix is adapted: this is a
    (mu/mu, lambda) evolution strategy, lambda = `pop` and mu = pop // 4,
    that samples N(mean, sigma^2 I) and moves the mean to that of the best
    quarter, all of equal weight. The step size follows a schedule, 0.5 %
    smaller each generation whatever happens: it cannot grow on a slope,
    nor shrink near an optimum, nor stretch along a ravine. Hansen's tutorial
    (arXiv:1604.00772) describes the real one.

    `evaluate_fn` takes one vector (n_params,). `sigma` is the first
    standard deviation, in the parameters' unit; the search starts at zero.
    With `verbose`, prints a line every 10 generations. Raises ValueError
    for `pop` < 4 (no elite), `generations` < 1, `sigma` <= 0, or a reward
    that is not a finite number.
    """
    rng = np.random.default_rng(seed)
    mean = np.zeros(n_params)
    for gen in range(generations):
        noise = rng.standard_normal((pop, n_params))
        candidates = mean + sigma * noise
        rewards = np.array([evaluate_fn(c) for c in candidates])
        rewards = vectors("what evaluate_fn returns", rewards, pop, like=mean)
        # Select top 25% and shift distribution toward them
        elite_idx = rewards.argsort()[::-1][: pop // 4]
        mean = candidates[elite_idx].mean(axis=0)
        sigma *= 0.995  # slowly reduce exploration
        if verbose and gen % 10 == 0:
            best, avg = rewards.max(), rewards.mean()
            print(f"Gen {gen}: best={best:.1f}, avg={avg:.1f}")
    return mean
