"""What the listings of this package accept, and a ValueError for the rest.

The article's listings trust their input. These helpers keep the checks out
of the way of the algorithms: a short line at the head of a public function.
"""

import math
import numbers
import operator

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Seed = int | np.random.Generator | None
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
    except (TypeError, ValueError):
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


def same(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise a ValueError unless `shape` is `expected`."""
    if shape != expected:
        raise ValueError(f"{name} must have shape {expected}, got {shape}")


def positive(name: str, value: float) -> float:
    """`value` as a finite float above zero, or a ValueError."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(
            f"{name} must be a finite number above 0, got {value!r}"
        )
    return number


def within(name: str, value: float, interval: str) -> float:
    """`value` as a float in `interval`, such as "(0, 1]", or a ValueError."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    number = float(value) if isinstance(value, numbers.Real) else math.nan
    inside = low <= number <= high
    if number == low and interval[0] == "(":
        inside = False
    if number == high and interval[-1] == ")":
        inside = False
    if not inside:
        raise ValueError(
            f"{name} must be a number in {interval}, got {value!r}"
        )
    return number


def check_step(when: str, observation: object, reward: object) -> None:
    """Raise a ValueError unless what a real step says is finite numbers.

    `when` says in the message which step it was. The reward is one number,
    the observation is a number, as of a state in a table, or a vector.
    """
    for name, value in (("observation", observation), ("reward", reward)):
        if isinstance(value, float | int) and math.isfinite(value):
            continue
        try:
            array = np.asarray(value, dtype=np.float64)
            fits = value is not None and bool(np.isfinite(array).all())
        except (TypeError, ValueError):
            fits = False
        if not fits or (name == "reward" and array.size != 1):
            raise ValueError(
                f"{when}: the environment's {name} must be finite, "
                f"got {value!r}"
            )


def at_least(name: str, value: int, least: int) -> int:
    """`value` as an integer of at least `least`, or a ValueError."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(
            f"{name} must be an integer >= {least}, got {value!r}"
        )
    return number
