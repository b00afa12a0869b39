"""What the listings of this package accept, and a ValueError for the rest.

The article's listings trust their input. These helpers keep the checks out
of the way of the algorithms: a short line at the head of a public function.
"""

import math
import numbers
import operator

import numpy as np
import numpy.typing as npt

LARGEST = 2**63 - 1  # what NumPy counts with
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


def _float(value: object) -> float:
    """A real number as a float; NaN for anything else, or if too large."""
    try:
        return float(value) if isinstance(value, numbers.Real) else math.nan
    except OverflowError:
        return math.nan


def _got(value: object) -> str:
    """`value` for a message; Python refuses to write out vast integers."""
    try:
        return repr(value)
    except ValueError:
        return f"{type(value).__name__} too large to be written out"


def check_that(fits: bool, name: str, expected: str, value: object) -> None:
    """Raise a ValueError in one line unless it `fits`."""
    if not fits:
        raise ValueError(f"{name} must be {expected}, got {_got(value)}")


def same(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise a ValueError unless `shape` is `expected`."""
    if shape != expected:
        raise ValueError(f"{name} must have shape {expected}, got {shape}")


def positive(name: str, value: float) -> float:
    """`value` as a finite float above zero, or a ValueError.

    From 1e-100 to 1e100: so far from the ends of float64 that squares, roots
    and inverses do not leave it. NumPy has no integers above `LARGEST`.
    """
    number = _float(value)
    fits = 1e-100 <= number <= 1e100
    if isinstance(value, int):
        fits = fits and value <= LARGEST
    check_that(fits, name, "a finite number above 0", value)
    return number


def within(name: str, value: float, interval: str) -> float:
    """`value` as a float in `interval`, such as "(0, 1]", or a ValueError."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    number = _float(value)
    inside = low <= number <= high
    if number == low and interval[0] == "(":
        inside = False
    if number == high and interval[-1] == ")":
        inside = False
    check_that(inside, name, f"a number in {interval}", value)
    return number


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
        check_that(fits, f"{when}: the environment's {name}", "finite", value)


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


def check_seed(seed: object) -> None:
    """Raise a ValueError unless `seed` is a `Seed`: no text, no fraction."""
    if not isinstance(seed, np.random.Generator | None):
        at_least("seed", seed, 0)  # type: ignore[arg-type]


def check_weight(name: str, value: object) -> None:
    """Raise a ValueError unless `value` is a finite number of at least 0."""
    check_that(0 <= _float(value) <= 1e100, name, "finite, >= 0", value)


def check_decay(name: str, value: object) -> None:
    """Raise a ValueError unless `value` is a number in [0, 1)."""
    check_that(0 <= _float(value) < 1, name, "in [0, 1)", value)


def check_model(name: str, value: object, *has: str) -> None:
    """Raise a ValueError unless `value` has what is asked of this model."""
    missing = [attribute for attribute in has if not hasattr(value, attribute)]
    words = f"a model that has {', '.join(missing)}"
    check_that(not missing, name, words, value)


def check_function(name: str, value: object) -> None:
    """Raise a ValueError unless `value` can be called."""
    check_that(callable(value), name, "a function", value)


def check_rng(rng: object) -> None:
    """Raise a ValueError unless `rng` is a Generator or None."""
    fits = isinstance(rng, np.random.Generator | None)
    check_that(fits, "rng", "a Generator or None", rng)
