"""Arguments are what their annotations say: the check of types at the border of the library.

`@typed` stands before a public function, `check_fields(self)` in a dataclass's `__post_init__`. A
wrong type is one error that names the argument, the value and what was expected. Ranges and
shapes are checked by the functions themselves, which may then rely on the types. What a loop calls
at every step (a network's forward pass) has no such check.
"""

from __future__ import annotations

import collections.abc
import contextlib
import functools
import inspect
import reprlib
import types
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

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

LARGEST = 2**63 - 1
"""whole numbers, seeds among them, are smaller than this: what torch and NumPy hold"""


class WrongTypeError(TypeError, ValueError):
    """An argument of another type than its annotation says; whoever expects either catches it."""


def typed(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Check the types of all arguments before each call; `int` and `float` take NumPy's as well.

    Raises (when called):
        WrongTypeError: an argument is of another type than its annotation says.
    """
    names = list(inspect.signature(function).parameters)
    hints: dict[str, Any] = {}
    with contextlib.suppress(NameError):  # a class that is defined further down
        hints.update(get_type_hints(function))

    @functools.wraps(function)
    def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if not hints:  # by now every class that is named exists
            hints.update(get_type_hints(function))
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            if name in hints:
                check_type(name, value, hints[name])
        return function(*args, **kwargs)

    return checked


def check_fields(instance: Any) -> None:
    """Check the types of a dataclass's fields.

    Raises:
        WrongTypeError: a field is of another type than its annotation says.
    """
    for name, hint in get_type_hints(type(instance)).items():
        check_type(name, getattr(instance, name), hint)


def check_type(name: str, value: Any, hint: Any) -> None:
    """Check one value, as `typed` does; for a function that is called often."""
    if not _fits(value, hint):
        raise WrongTypeError(f"{name} must be {_words(hint)}, got {_found(value)}")


def _found(value: Any) -> str:
    if isinstance(shape := getattr(value, "shape", None), tuple) and not isinstance(value, type):
        return f"{type(value).__name__} of shape {tuple(shape)}"
    try:
        return reprlib.repr(value)
    except ValueError:  # Python refuses to write out a whole number of thousands of digits
        return f"{type(value).__name__} too large to be written out"


@functools.cache
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(hint) or hint, get_args(hint)


def _fits(value: Any, hint: Any) -> bool:
    kind, parts = _parts(hint)
    if kind is Any or isinstance(kind, TypeVar):
        return True
    if kind in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if kind is Literal:
        return isinstance(value, str | int | None) and value in parts
    if kind is int:
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        return whole and -LARGEST <= value <= LARGEST
    if kind is float:
        numbers = (int, float, np.integer, np.floating)
        real = isinstance(value, numbers) and not isinstance(value, bool)
        return real and not (isinstance(value, int) and abs(value) > LARGEST)
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind is collections.abc.Callable:
        return callable(value)
    if kind is tuple and parts[1:] == (Ellipsis,):
        return isinstance(value, tuple) and all(_fits(one, parts[0]) for one in value)
    if kind is tuple and parts:
        whole = isinstance(value, tuple) and len(value) == len(parts)
        return whole and all(_fits(one, part) for one, part in zip(value, parts, strict=True))
    return isinstance(value, kind)


def _words(hint: Any) -> str:
    kind, parts = _parts(hint)
    if kind in (Union, types.UnionType):
        return " or ".join(_words(part) for part in parts)
    if kind is Literal:
        return " or ".join(repr(part) for part in parts)
    if kind is tuple and parts:
        words = ("..." if part is Ellipsis else _words(part) for part in parts)
        return f"a tuple ({', '.join(words)})"
    return WORDS.get(kind) or f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"
