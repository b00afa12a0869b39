"""Dreaming, the article's section 5: V, M and C chained, no environment."""

from collections.abc import Callable
from typing import Annotated

import numpy as np
import numpy.typing as npt

from wmlib.scratch.checks import Array, Positive, Seed, same, vectors
from wmlib.scratch.controller import Controller
from wmlib.scratch.evolution import cma_es
from wmlib.scratch.memory import MemoryModel
from wmlib.scratch.vision import VisionModel
from wmlib.shapes import Like
from wmlib.typed import PositiveInt, typed


def dream_reward(z: Array) -> Array:
    """Reward: minus the squared distance from the origin of latent space.

    z (..., Z) -> (...). The article's stand-in: the origin is the centre of
    V's prior, and has nothing to do with any task.
    """
    reward: Array = -np.sum(z**2, axis=-1)
    return reward


@typed
def dream_episode(
    V: Annotated[VisionModel, Like("encode", "obs_dim")],
    M: Annotated[MemoryModel, Like("predict", "h_dim")],
    C: Annotated[Controller, Like("act")],
    start_obs: npt.ArrayLike,
    horizon: PositiveInt = 50,
    temperature: Positive = 1.0,
    *,
    reward_fn: Callable[[Array], Array] = dream_reward,
    rng: np.random.Generator | None = None,
) -> Array:
    """Roll out the controller inside the learned world model.

    Dreams on from each start observation, start_obs (..., D), and returns
    the sum of `reward_fn` (z (..., Z) -> (...)) over `horizon` steps,
    (...): one number for one observation, (B,) for a batch. `rng` draws
    the dream (M's own generator if None). Raises ValueError for
    `horizon` < 1, `temperature` <= 0 or observations V does not take.
    """
    z, _ = V.encode(vectors("start_obs", start_obs, V.obs_dim))  # (..., Z)
    h = np.zeros((*z.shape[:-1], M.h_dim))  # (..., H)
    c = np.zeros_like(h)
    total_reward = np.zeros(z.shape[:-1])
    for _ in range(horizon):
        action = C.act(z, h)  # (..., A)
        pi, mu, sigma, h, c = M.predict(z, action, h, c)
        z = M.sample_next(pi, mu, sigma, temperature, rng=rng)
        reward = reward_fn(z)
        same("reward_fn(z)", np.shape(reward), z.shape[:-1])
        total_reward = total_reward + reward
    return total_reward


# Train controller entirely in dreams
@typed
def train_in_dream(
    V: Annotated[VisionModel, Like("encode", "obs_dim")],
    M: Annotated[MemoryModel, Like("predict", "h_dim")],
    controller: Annotated[Controller, Like("get_params", "set_params")],
    real_obs_buffer: npt.ArrayLike,
    n_gens: PositiveInt = 50,
    *,
    pop: int = 32,
    sigma: float = 0.5,
    horizon: PositiveInt = 50,
    temperature: Positive = 1.2,
    starts: PositiveInt = 1,
    reward_fn: Callable[[Array], Array] = dream_reward,
    seed: Seed = None,
    verbose: bool = True,
) -> Controller:
    """Train `controller` in place, and return it.

    Each candidate of each generation is scored by its mean return over
    `starts` dreams, from observations drawn from `real_obs_buffer` (N, D).
    The other options are those of `cma_es` and `dream_episode`, the
    defaults the article's. Raises ValueError for an empty buffer and for
    whatever those two refuse.
    """
    if np.size(real_obs_buffer) == 0:
        raise ValueError("real_obs_buffer must hold an observation, got none")
    buffer = vectors("real_obs_buffer", real_obs_buffer, V.obs_dim)
    buffer = buffer.reshape(-1, V.obs_dim)  # (N, D)
    rng = np.random.default_rng(seed)

    def evaluate(params: Array) -> float:
        controller.set_params(params)
        idx = rng.integers(len(buffer), size=starts)
        returns = dream_episode(
            V,
            M,
            controller,
            buffer[idx],
            horizon,
            temperature,
            reward_fn=reward_fn,
            rng=rng,
        )
        return float(returns.mean())

    best = cma_es(
        evaluate,
        controller.get_params().size,
        n_gens,
        pop,
        sigma,
        seed=rng,
        verbose=verbose,
    )
    controller.set_params(best)
    return controller  # trained without touching the real environment!
