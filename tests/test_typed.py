"""Arguments are what their annotations say."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import pytest

from wmlib.typed import LARGEST, WrongTypeError, check_fields, check_type, typed

FITS = [
    (int, [0, -3, LARGEST, np.int8(3), np.uint64(3)]),
    (float, [0, 1.5, math.nan, math.inf, np.float32(2), np.int64(2)]),
    (bool, [True, np.False_]),
    (str | Path, ["x", Path("x")]),
    (int | None, [None, 1]),
    (np.ndarray, [np.zeros(3), np.zeros(3).view(np.memmap)]),
    (Callable[[int], int], [abs, lambda x: x, int]),
    (Iterable[int], [[], (1,), range(3), iter("a")]),
    (Mapping[str, int], [{}, {"a": 1}]),
    (tuple[int, float], [(1, 2), (np.int64(1), 2.5)]),
    (tuple[int, ...], [(), (1, 2, 3)]),
    (Literal["a", "b"] | None, ["a", None]),
    (Any, [None, object()]),
]
DOES_NOT = [
    (int, [1.0, 2.5, math.nan, "3", None, True, [], LARGEST + 1, np.array(3), np.float64(3)]),
    (float, ["1", None, True, 1j, 10**400, -(10**5000), np.array(1.0), [1.0], [10**5000]]),
    (bool, [0, 1, "True", None]),
    (str | Path, [3, b"x", None, np.ndarray, gym.spaces.Dict()]),  # whose shape is none
    (int | None, [0.5, "None"]),
    (np.ndarray, [[1.0], 3, None]),
    (Callable[[int], int], [3, "abs", None]),
    (Iterable[int], [3, None]),
    (Mapping[str, int], [[], "a"]),
    (tuple[int, float], [(1,), [1, 2], (1, "x"), (1.5, 2), 3]),
    (tuple[int, ...], [[1, 2], (1, "x"), (1.5,), 3]),
    (Literal["a", "b"] | None, ["c", 0, np.array(["a", "b"]), []]),
]


@pytest.mark.parametrize(("hint", "values"), FITS, ids=[str(hint) for hint, _ in FITS])
def test_what_fits(hint: Any, values: list) -> None:
    for value in values:
        check_type("x", value, hint)


@pytest.mark.parametrize(("hint", "values"), DOES_NOT, ids=[str(hint) for hint, _ in DOES_NOT])
def test_what_does_not_fit_is_one_error_with_its_name(hint: Any, values: list) -> None:
    for value in values:
        with pytest.raises(WrongTypeError, match=r"^x must be .+, got ") as caught:
            check_type("x", value, hint)
        assert isinstance(caught.value, TypeError) and isinstance(caught.value, ValueError)
        assert len(str(caught.value)) < 200


@typed
def drive(steps: int, path: str | Path, *, warm: float = 0.5, free=None) -> tuple:
    """Drive."""
    return steps, path, warm, free


def test_a_function_is_called_with_what_fits_and_not_with_the_rest() -> None:
    assert drive(3, "x") == (3, "x", 0.5, None)
    assert drive(path=Path("x"), steps=1, warm=2, free=object)[1:3] == (Path("x"), 2)
    assert drive.__name__ == "drive" and drive.__doc__ == "Drive."
    for args, options, message in (
        ((2.5, "x"), {}, "steps must be a whole number, got 2.5"),
        ((3, 7), {}, "path must be a word or a Path, got 7"),
        ((3, "x"), {"warm": "hot"}, "warm must be a number, got 'hot'"),
        ((3, "x"), {"warm": np.zeros((2, 3))}, r"warm .* got ndarray of shape \(2, 3\)"),
        ((3,), {}, "missing 1 required positional argument: 'path'"),
        ((3, "x"), {"wram": 1}, "unexpected keyword argument 'wram'"),
    ):
        with pytest.raises(TypeError, match=message):
            drive(*args, **options)


@dataclass(frozen=True)
class Later:
    """With a class that is only defined after it."""

    units: int = 3
    other: "After | None" = None

    def __post_init__(self) -> None:
        check_fields(self)


class After:
    pass


def test_a_dataclass_checks_its_fields() -> None:
    assert Later(4, After()).units == 4
    with pytest.raises(WrongTypeError, match="units must be a whole number, got '4'"):
        Later("4")
    with pytest.raises(WrongTypeError, match="other must be an After or None, got 3"):
        Later(other=3)
