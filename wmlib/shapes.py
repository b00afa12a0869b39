"""What an array or a tensor looks like, and what a value is in the words of an error."""

from __future__ import annotations

import collections.abc
import functools
import reprlib
import types
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a word",
    bytes: "bytes",
    types.NoneType: "None",
    np.ndarray: "an array",
    collections.abc.Callable: "a function",
}


class WrongTypeError(TypeError, ValueError):
    """An argument of another type than its annotation says; whoever expects either catches it."""


def named(kind: Any) -> str:
    """A type in words, with its article."""
    name = getattr(kind, "__name__", str(kind))
    spelt = name[:2].isupper() and name[0] in "FHLMNRSX"  # an MDNRNN
    return WORDS.get(kind) or f"{'an' if spelt or name[0] in 'AEIOUaeiou' else 'a'} {name}"


def described(value: Any) -> str:
    """A value for an error: an array by its shape, what is long cut short."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and not isinstance(value, type | np.generic):
        dtype = str(getattr(value, "dtype", "")).removeprefix("torch.")
        return f"{type(value).__name__} {Shape(*shape, dtype=dtype)}"
    try:
        return reprlib.repr(value.item() if isinstance(value, np.generic) else value)
    except ValueError:  # Python refuses to write out a whole number of thousands of digits
        return f"{type(value).__name__} too large to be written out"


class Shape:
    """What an array or a tensor looks like, in an annotation.

    Args:
        axes: sizes, or tuples of those that may be. Letters stand for any size, the same
            throughout a call; "T+1" is one more than "T". `...` at an end: any other axes there.
            A size of 0 fits only where it is asked for.
        dtype: its name, as "float32", or one of two, as "uint8 or bool", or a kind: "real" or
            "whole" numbers; None for any.
        finite: whether NaN and infinity are refused.
    """

    def __init__(self, *axes: Any, dtype: str | None = None, finite: bool = False) -> None:
        self.axes, self.dtype, self.finite = axes, dtype, finite
        self.named = [axis for axis in axes if axis is not ...]
        self.free = len(self.named) < len(axes)

    def __str__(self) -> str:
        words = [
            " or ".join(map(str, axis)) if isinstance(axis, tuple)
            else "..." if axis is ... else str(axis)
            for axis in self.axes
        ]  # fmt: skip
        text = f"of shape ({', '.join(words)}{',' * (len(words) == 1)})"
        if self.dtype:
            text += f" of {self.dtype}" + " numbers" * (self.dtype in KINDS)
        return text + " without NaN or infinity" * self.finite

    def sizes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The sizes of the axes that have a letter or a size."""
        return shape[len(shape) - len(self.named) :] if self.axes[:1] == (...,) else shape

    def letters(self, shape: tuple[int, ...]) -> list[tuple[str, int]]:
        """What each letter stands for."""
        pairs = zip(self.named, self.sizes(shape), strict=False)
        return [
            (axis.removesuffix("+1"), size - axis.endswith("+1"))
            for axis, size in pairs if isinstance(axis, str)
        ]  # fmt: skip

    def fits(self, value: Any) -> bool:
        """Whether the shape and the type are these."""
        shape, named = value.shape, self.named
        if len(shape) != len(named) and not (self.free and len(shape) > len(named)):
            return False
        for axis, size in zip(named, self.sizes(shape), strict=False):
            if axis != size and not (isinstance(axis, str) or self._among(axis, size)):
                return False
        if 0 in shape and 0 not in named:
            return False
        kind = str(value.dtype).removeprefix("torch.")
        dtypes = (self.dtype or kind).split(" or ")
        return kind in dtypes or kind.startswith(KINDS.get(self.dtype or "", "-"))

    @staticmethod
    def _among(axis: Any, size: int) -> bool:
        return isinstance(axis, tuple) and size in axis

    def odd(self, value: Any) -> str | None:
        """The first number of `value` that is not finite, where all should be; else None."""
        if self.finite:
            finite = np.isfinite(value) if isinstance(value, np.ndarray) else value.isfinite()
            if not finite.all():
                place = [int(i) for i in np.argwhere(~np.asarray(finite))[0]]
                return f"{value[tuple(place)].item()} at {place}"
        return None

    def fault(self, value: Any, kind: Any) -> tuple[str, str]:
        """What a value that does not fit should be, and what it is."""
        if isinstance(value, kind) and self.fits(value):
            return "finite", str(self.odd(value))
        return f"{named(kind)} {self}", described(value)

    def check(self, value: Any) -> Any:
        """`value` itself, or a ValueError."""
        if not self.fits(value) or self.odd(value) is not None:
            raise ValueError
        return value


class Like:
    """What an object has, in an annotation: with these attributes it fits, whatever its class.

    A class itself does not: it has them too, but nothing in them.
    """

    def __init__(self, *attributes: str) -> None:
        self.attributes = attributes

    def __str__(self) -> str:
        return f"with {' and '.join(self.attributes)}"

    def fault(self, value: Any, kind: Any) -> tuple[str, str]:
        """What a value that does not fit should be, and what it is."""
        return f"{named(kind)} {self}", described(value)

    def check(self, value: Any) -> Any:
        """`value` itself, or a ValueError."""
        there = all(getattr(value, one, None) is not None for one in self.attributes)
        if isinstance(value, type) or not there:
            raise ValueError
        return value


KINDS = {"real": ("float", "bfloat", "int", "uint", "bool"), "whole": ("int", "uint")}


@functools.lru_cache(4096)
def _shape(axes: tuple[Any, ...], dtype: str | None, finite: bool) -> Shape:
    return Shape(*axes, dtype=dtype, finite=finite)


def check_shape(
    name: str, value: Any, kind: type, *axes: Any, dtype: str | None = None, finite: bool = False
) -> None:
    """Check an array or a tensor, as `Shape` does: where a size is known only inside."""
    shape = _shape(axes, dtype, finite)
    if not isinstance(value, kind) or not shape.fits(value) or shape.odd(value) is not None:
        expected, found = shape.fault(value, kind)
        raise WrongTypeError(f"{name} must be {expected}, got {found}")


def as_array(
    name: str, value: Any, *axes: Any, dtype: str | None = "real", finite: bool = False
) -> NDArray[Any]:
    """`value`, which may be lists, as an array that looks like `Shape`; or a WrongTypeError."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # lists of unequal lengths
        array = np.empty((), object)
    shape = Shape(*axes, dtype=dtype, finite=finite)
    if not shape.fits(array) or shape.odd(array) is not None:
        expected, found = shape.fault(array, np.ndarray)
        got = found if isinstance(value, np.ndarray) or shape.fits(array) else described(value)
        raise WrongTypeError(f"{name} must be {expected}, got {got}")
    return array
