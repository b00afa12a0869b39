"""What a public function accepts of a number, and one ValueError for the rest.

Input is checked once, where it comes in; these helpers keep the checks to a line each.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

LARGEST_SEED = 2**63 - 1
"""what Gymnasium, NumPy and torch all take, and what they count with"""

LARGEST_FLOAT = sys.float_info.max
"""a whole number can be larger; then it is no number to calculate with"""


def check_whole(name: str, value: Any, least: int, most: int = LARGEST_SEED) -> None:
    """Refuse what is not a whole number in [least, most]: 2.5, nan, "3" and True are not."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {_short(value)}")
    if value > most:
        raise ValueError(f"{name} must be at most {most}, got {_short(value)}")


def check_seed(seed: Any, most: int = LARGEST_SEED) -> None:
    """Refuse what is not a seed: a whole number in [0, most]."""
    check_whole("seed", seed, 0, most)


def check_number(name: str, value: Any, least: float) -> None:
    """Refuse what is not a finite number of at least `least`."""
    if not _is_finite(value) or value < least:
        raise ValueError(f"{name} must be a number, at least {least}, got {_short(value)}")


def check_positive(name: str, value: Any) -> None:
    """Refuse what is not a finite number above 0."""
    if not _is_finite(value) or not value > 0:
        raise ValueError(f"{name} must be a positive number, got {_short(value)}")


def check_share(name: str, value: Any) -> None:
    """Refuse what is not a number in [0, 1]."""
    if not _is_finite(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {_short(value)}")


def check_kind(name: str, value: Any, kind: type) -> None:
    """Refuse what is not an instance of `kind`."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be of {kind.__name__}, got {type(value).__name__}")


def check_generator(rng: Any) -> None:
    """Refuse what is not a `numpy.random.Generator`, such as the seed of one."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {rng!r}")


def _is_finite(value: Any) -> bool:
    number = isinstance(value, int | float | np.integer | np.floating)
    if not number or isinstance(value, bool) or not -math.inf < value < math.inf:
        return False
    return not isinstance(value, int) or abs(value) <= LARGEST_FLOAT


def _short(value: Any) -> str:
    if isinstance(value, int) and abs(value) > LARGEST_FLOAT:  # Python may refuse to write it out
        return f"a whole number of {value.bit_length()} bits"
    return str(value) if isinstance(value, int | float | np.number) else repr(value)
