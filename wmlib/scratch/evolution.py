"""The article's "simplified CMA-ES" (section 4), which is not CMA-ES."""

from collections.abc import Callable

import numpy as np

from wmlib.scratch.checks import Array, Seed, at_least, positive


def cma_es(
    evaluate_fn: Callable[[Array], float],
    n_params: int,
    generations: int = 50,
    pop: int = 32,
    sigma: float = 0.5,
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
    at_least("n_params", n_params, 1)
    at_least("generations", generations, 1)
    at_least("pop", pop, 4)
    positive("sigma", sigma)
    rng = np.random.default_rng(seed)
    mean = np.zeros(n_params)
    for gen in range(generations):
        noise = rng.standard_normal((pop, n_params))
        candidates = mean + sigma * noise
        rewards = np.array([evaluate_fn(c) for c in candidates])
        if rewards.shape != (pop,) or not np.isfinite(rewards).all():
            raise ValueError(
                "evaluate_fn must return one finite number for each candidate"
            )
        # Select top 25% and shift distribution toward them
        elite_idx = rewards.argsort()[::-1][: pop // 4]
        mean = candidates[elite_idx].mean(axis=0)
        sigma *= 0.995  # slowly reduce exploration
        if verbose and gen % 10 == 0:
            best, avg = rewards.max(), rewards.mean()
            print(f"Gen {gen}: best={best:.1f}, avg={avg:.1f}")
    return mean
