"""Arguments are what their annotations say."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium as gym
import numpy as np
import pytest
from pydantic import Field

from wmlib.shapes import Like, Shape, WrongTypeError, as_array, check_shape
from wmlib.typed import (
    LARGEST,
    Finite,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    PositiveShare,
    ProperShare,
    Seed,
    Share,
    check_same,
    check_type,
    typed,
)

NAN, INF = math.nan, math.inf

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


class Driver:
    def act(self) -> int:
        return 0


class Robot(Driver):
    def reset(self) -> None:
        """Begin."""


@typed
def hire(driver: Annotated[Driver, Like("act", "reset")] | None) -> None:
    """Let somebody drive."""


def test_an_object_of_any_class_fits_if_it_has_what_is_asked() -> None:
    class Stranger:
        act, reset = 1, 2

    for one in (Robot(), Stranger(), None):
        hire(one)  # type: ignore[arg-type]
    for wrong in (Driver(), Robot, 3):
        with pytest.raises(WrongTypeError, match=r"^driver must be a Driver with act and reset"):
            hire(wrong)  # type: ignore[arg-type]


@typed
@dataclass(frozen=True)
class Later:
    """With a class that is only defined after it."""

    units: PositiveInt = 3
    other: "After | None" = None

    def __post_init__(self) -> None:
        assert self.units > 0, "the checks come first"


class After:
    pass


def test_a_dataclass_checks_its_fields() -> None:
    assert Later(np.int64(4), After()).units == 4
    assert replace(Later(4), units=5) == Later(5)
    for wrong, error, message in (
        ({"units": "4"}, WrongTypeError, "units must be a whole number, got '4'"),
        ({"units": 0}, ValueError, "units must be at least 1, got 0"),
        ({"other": 3}, WrongTypeError, "other must be an After or None, got 3"),
    ):
        with pytest.raises(error, match=message):
            Later(**wrong)
        with pytest.raises(error, match=message):
            replace(Later(), **wrong)


RANGES = [
    (PositiveInt, [1, np.uint8(2), LARGEST], [0, -1, np.int64(-1)], "at least 1"),
    (NonNegativeInt, [0, 1], [-1], "at least 0"),
    (PositiveInt | None, [None, 1], [0], "at least 1"),
    (Annotated[int, Field(ge=1, le=9)], [1, 9], [0, 10], r"in \[1, 9\]"),
    (Finite, [0, -1.5], [NAN, INF, -INF, np.float32(np.inf)], "a finite number"),
    (PositiveFloat, [1e-300, np.float32(2), 3], [0, -0.0, -1, NAN, INF], "a positive number"),
    (NonNegativeFloat, [0, np.uint64(3)], [-1e-300, NAN, INF], "a number, at least 0"),
    (Share, [0, 1, np.float32(0.25)], [-0.1, 1.1, 2, NAN], r"in \[0, 1\]"),
    (PositiveShare, [1e-9, 1], [0, 1.1, NAN], r"in \(0, 1\]"),
    (ProperShare, [0, 0.99], [-0.1, 1, NAN], r"in \[0, 1\)"),
    (Annotated[float, Field(gt=0)], [1, INF], [0, NAN], "a positive number"),
    (Annotated[int, Field(ge=-5, le=-1)] | PositiveInt, [-1, 1], [0, -6], r"in .* or at least 1"),
    (Annotated[float, Field(ge=1e-6, le=1e6)], [1], [0, 1e7], r"in \[1e-06, 1e\+06\]"),
]


@pytest.mark.parametrize(("hint", "good", "bad", "words"), RANGES, ids=[row[3] for row in RANGES])
def test_ranges(hint: Any, good: list, bad: list, words: str) -> None:
    for value in good:
        check_type("x", value, hint)
    for value in bad:
        with pytest.raises(ValueError, match=rf"^x must be {words}, got {re.escape(str(value))}$"):
            check_type("x", value, hint)
    for value in ("3", True, [1], np.array([1.0, 2.0]), 1j):  # no number at all
        with pytest.raises(WrongTypeError, match=r"^x must be a (whole )?number.*, got"):
            check_type("x", value, hint)


@pytest.mark.parametrize(
    ("least", "most", "good", "words"),
    [(1, None, [[1], (1, 2)], "1 or more"), (2, 2, ["ab"], "2"), (1, 2, ["a", "ab"], "1 to 2")],
)
def test_lengths(least: int, most: int | None, good: list, words: str) -> None:
    hint = Annotated[Sequence[int], Field(min_length=least, max_length=most)] | None
    for value in (*good, None):
        check_type("x", value, hint)
    for wrong in ([], range(3)) if most else ([],):
        message = rf"^x must be a Sequence of length {words}, got {re.escape(str(wrong))}$"
        with pytest.raises(ValueError, match=message):
            check_type("x", wrong, hint)
    with pytest.raises(WrongTypeError, match="x must be a Sequence or None, got 3"):
        check_type("x", 3, hint)


def test_ranges_in_a_tuple_are_said_with_its_type() -> None:
    check_type("x", (1, 2), tuple[PositiveInt, ...])
    for wrong in ((1, 0), [1], (1, "2")):
        with pytest.raises(
            ValueError, match=r"x must be a tuple \(a whole number at least 1, \.\.\.\)"
        ):
            check_type("x", wrong, tuple[PositiveInt, ...])


def test_a_count_that_nothing_can_count_to_is_refused() -> None:
    for value, got in ((2**63, "9223372036854775808"), (10**5000, "int too large to be written")):
        with pytest.raises(ValueError, match=f"x must be at most {LARGEST}, got {got}"):
            check_type("x", value, PositiveInt)


def test_a_seed_is_one_for_numpy_gymnasium_and_torch() -> None:
    torch = pytest.importorskip("torch")
    check_type("seed", LARGEST, Seed)
    torch.manual_seed(LARGEST)
    np.random.default_rng(LARGEST)
    for value in (-1, 2**63, 1.0):
        with pytest.raises(ValueError, match="seed must be"):
            check_type("seed", value, Seed)


SHAPES = [
    (Shape("T", 3), np.zeros((2, 3)), [np.zeros((2, 4)), np.zeros(3), np.zeros((0, 3))]),
    (Shape(..., 3), np.zeros((5, 2, 3)), [np.zeros((3, 2)), np.zeros(())]),
    (Shape("T", ...), np.zeros((2, 3, 1)), [np.zeros(()), np.zeros((2, 0))]),
    (Shape((1, 4), 2), np.zeros((4, 2)), [np.zeros((3, 2))]),
    (Shape(0, 3), np.zeros((0, 3)), [np.zeros((1, 3))]),
    (Shape("N", dtype="uint8"), np.zeros(3, np.uint8), [np.zeros(3, np.int8)]),
    (Shape("N", dtype="whole"), np.zeros(3, int), [np.zeros(3), np.zeros(3, bool)]),
    (Shape("N", dtype="real"), np.zeros(3, int), [np.zeros(3, complex), np.array(["x"])]),
]


@pytest.mark.parametrize(("shape", "good", "bad"), SHAPES, ids=[str(row[0]) for row in SHAPES])
def test_shapes(shape: Shape, good: np.ndarray, bad: list[np.ndarray]) -> None:
    hint = Annotated[np.ndarray, shape]
    check_type("x", good, hint)
    check_shape("x", good, np.ndarray, *shape.axes, dtype=shape.dtype)
    as_array("x", good.tolist() if good.size else good, *shape.axes, dtype=None)
    for wrong in bad:
        words = rf"^x must be an array {re.escape(str(shape))}, got ndarray of shape "
        with pytest.raises(WrongTypeError, match=words):
            check_type("x", wrong, hint)
        with pytest.raises(WrongTypeError, match=words):
            check_shape("x", wrong, np.ndarray, *shape.axes, dtype=shape.dtype)
    for wrong in ([1.0], None):
        with pytest.raises(WrongTypeError, match=r"^x must be an array.*, got"):
            check_type("x", wrong, hint)


def test_what_is_not_finite_is_shown_with_its_place() -> None:
    numbers = np.zeros((2, 3))
    numbers[1, 2] = -INF
    for call in (
        lambda: check_type("x", numbers, Annotated[np.ndarray, Shape("N", 3, finite=True)]),
        lambda: check_shape("x", numbers, np.ndarray, 2, 3, finite=True),
        lambda: as_array("x", numbers.tolist(), 2, 3, finite=True),
    ):
        with pytest.raises(ValueError, match=r"^x must be finite, got -inf at \[1, 2\]$"):
            call()


def test_tensors_have_shapes_too() -> None:
    torch = pytest.importorskip("torch")
    check_shape("x", torch.zeros(2, 3), torch.Tensor, "B", 3, dtype="float32", finite=True)
    for wrong, got in (
        (torch.zeros(2, 3).double(), r"Tensor of shape \(2, 3\) of float64"),
        (np.zeros((2, 3), np.float32), r"ndarray of shape \(2, 3\) of float32"),
        (None, "None"),
    ):
        with pytest.raises(WrongTypeError, match=rf"x must be a Tensor of .* float32, got {got}"):
            check_shape("x", wrong, torch.Tensor, "B", 3, dtype="float32")


@typed
def matched(
    seen: Annotated[np.ndarray, Shape("T+1", ...)], done: Annotated[np.ndarray, Shape("T")]
) -> int:
    return len(done)


def test_a_letter_is_one_size_throughout_a_call() -> None:
    assert matched(np.zeros((4, 2)), np.zeros(3)) == 3
    assert matched(done=np.zeros(1), seen=np.zeros(2)) == 1
    with pytest.raises(
        ValueError, match=r"done must be of shape \(T,\) with T = 3 as in seen, got"
    ):
        matched(np.zeros((4, 2)), np.zeros(4))


def test_lists_become_arrays_and_what_is_none_is_shown() -> None:
    assert as_array("x", [[1, 2]], "N", 2).shape == (1, 2)
    for wrong, got in (("x", "'x'"), ([[1], [1, 2]], r"\[\[1\], \[1, 2\]\]"), (None, "None")):
        with pytest.raises(WrongTypeError, match=rf"x must be .* of real numbers, got {got}"):
            as_array("x", wrong, "N", 2)


def test_parts_that_must_fit() -> None:
    check_same("sizes of C", (1, 2), (1, 2))
    with pytest.raises(ValueError, match=r"^sizes of C must be \(1, 2\), got \(1, 3\)$"):
        check_same("sizes of C", (1, 3), (1, 2))


@typed
def counted(number: int | None, share: Share = 0.5, *more: Any, flag: bool = True) -> list[Any]:
    return [number, share, flag, *more]


@typed
@dataclass(frozen=True)
class Counted:
    number: PositiveInt


def test_numbers_of_numpy_arrive_as_pythons_own() -> None:
    found = counted(np.int64(3), np.float32(0.5), np.int64(7), flag=np.False_)
    assert found == [3, 0.5, False, 7]
    kinds = [type(value) for value in found]
    assert kinds == [int, float, bool, np.int64]  # what may be anything stays what it is
    assert type(Counted(number=np.uint8(3)).number) is int
    assert counted(None) == [None, 0.5, True]
