"""What the listings of this package accept, and a ValueError for the rest.

The article's listings trust their input. Here a range stands in the type of
an argument, and `typed` checks it; what hangs on a model's sizes is a short
line at the head of a public function.
"""

import math
import operator
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from wmlib.typed import LARGEST, NonNegativeInt

Array = npt.NDArray[np.float64]
Positive = Annotated[float, Field(ge=1e-100, le=1e100)]
"""So far from the ends of float64 that squares, roots and inverses of it do
not leave it."""
Weight = Annotated[float, Field(ge=0, le=1e100)]
Seed = NonNegativeInt | np.random.Generator | None
"""What `numpy.random.default_rng` takes: an int fixes every draw, a Generator
is used as it is, None takes fresh entropy."""


def vectors(
    name: str, value: npt.ArrayLike, size: int, like: Array | None = None
) -> Array:
    """`value` as finite float64 vectors (..., size), or a ValueError.

    With `like`, its leading axes must be those of `like`: no broadcasting
    by accident.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"{name} must hold numbers in shape (..., {size})"
        ) from None
    if array.ndim == 0 or array.shape[-1] != size:
        raise ValueError(
            f"{name} must have shape (..., {size}), got {array.shape}"
        )
    if like is not None:
        same(name, array.shape, (*like.shape[:-1], size))
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got a NaN or an infinity")
    return array


def _got(value: object) -> str:
    """`value` for a message; Python refuses to write out vast integers."""
    try:
        return repr(value)
    except ValueError:
        return f"{type(value).__name__} too large to be written out"


def same(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise a ValueError unless `shape` is `expected`."""
    if shape != expected:
        raise ValueError(f"{name} must have shape {expected}, got {shape}")


def check_step(when: str, observation: object, reward: object) -> None:
    """Raise a ValueError unless what a real step says is finite numbers.

    `when` says in the message which step it was. The reward is one number,
    the observation is a number, as of a state in a table, or a vector.
    """
    for name, value in (("observation", observation), ("reward", reward)):
        try:
            if isinstance(value, float | int) and math.isfinite(value):
                continue
            array = np.asarray(value, dtype=np.float64)
            fits = value is not None and bool(np.isfinite(array).all())
        except (TypeError, ValueError, OverflowError):
            fits = False
        fits = fits and (name != "reward" or array.size == 1)
        if not fits:
            raise ValueError(
                f"{when}: the environment's {name} must be finite, "
                f"got {_got(value)}"
            )


def at_least(name: str, value: int, least: int) -> int:
    """`value` as an integer of at least `least`, or a ValueError."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if not least <= number <= LARGEST:
        raise ValueError(
            f"{name} must be an integer >= {least}, got {_got(value)}"
            f"{f' (the largest is {LARGEST})' * (number > LARGEST)}"
        )
    return number
