"""Arguments are what their annotations say: the border, where input is checked once.

`@typed` stands before a public function, and before a dataclass of hyper-parameters. A range stands
in the annotation (`PositiveInt`, `Annotated[float, Field(gt=0, le=1)]`), and so does the shape of
an array (`Annotated[np.ndarray, Shape("T", 3)]`; a letter is one size throughout a call), and what
an object of any class must have (`Annotated[Policy, Like("reset", "act")]`). pydantic checks, and
converts nothing: "3" is no 3, True is no 1. A number of NumPy's fits, and arrives as Python's own
(but for those in a tuple), since files and generators take no other. What does not fit is one error
in one line, with the name, the value and what was expected. What a loop calls at every step (a
network's forward pass) has no such check.
"""

from __future__ import annotations

import collections.abc
import contextlib
import functools
import inspect
import itertools
import math
import types
from collections.abc import Callable, Iterable
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
from pydantic import AfterValidator, Field, GetPydanticSchema, TypeAdapter, ValidationError
from pydantic_core import core_schema

from wmlib.shapes import Like, Shape, WrongTypeError, described, named

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Checked = TypeVar("Checked", bound=Callable[..., Any])
Sizes = dict[str, tuple[str, int]]  # of each letter in a call: where it was met first, and its size

BOUNDS = ("min_length", "max_length", "gt", "ge", "lt", "le")  # of a range, as pydantic says them
LARGEST = 2**63 - 1
"""whole numbers, seeds among them, are no larger: what Gymnasium, NumPy and torch all hold"""

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Seed = NonNegativeInt
Finite = Annotated[float, Field(gt=-math.inf, lt=math.inf)]
PositiveFloat = Annotated[float, Field(gt=0, lt=math.inf)]
NonNegativeFloat = Annotated[float, Field(ge=0, lt=math.inf)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
ProperShare = Annotated[float, Field(ge=0, lt=1)]


def typed(function: Checked) -> Checked:
    """Check all arguments before each call of a function, or before a dataclass is made.

    Raises (when called):
        WrongTypeError: an argument is of another type than its annotation says.
        ValueError: it is out of its range, or has another shape.
    """
    if isinstance(function, type):
        function.__init__ = _checked(function.__init__, function)  # type: ignore[misc]
        return cast(Checked, function)
    return cast(Checked, _checked(function, function))


def _checked(function: Callable[Arguments, Result], owner: Any) -> Callable[Arguments, Result]:
    names = list(inspect.signature(function).parameters)

    @functools.cache
    def rules() -> tuple[dict[str, Callable[..., None]], set[str]]:
        hints = get_type_hints(owner, include_extras=True)
        checks = {name: check_of(hint) for name, hint in hints.items() if _strict(hint) != Any}
        return checks, {name for name, hint in hints.items() if _is_number(hint)}

    with contextlib.suppress(NameError):  # a class that is defined further down: at the first call
        rules()

    @functools.wraps(function)
    def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        sizes: Sizes = {}
        given = dict(zip(names, args, strict=False)) | kwargs
        checks, numbers = rules()
        for name, check in checks.items():
            if name in given:
                check(name, given[name], sizes)
        places: Any = itertools.zip_longest(names[: len(args)], args)
        own: Any = [_own(value) if name in numbers else value for name, value in places]
        other: Any = {n: _own(v) if n in numbers else v for n, v in kwargs.items()}
        return function(*own, **other)

    return checked


@functools.cache
def check_of(hint: Any) -> Callable[..., None]:
    """The check of a name and a value; what is called often keeps it."""
    validate, shapes = _adapter(hint).validate_python, _shapes(hint)

    def check(name: str, value: Any, sizes: Sizes | None = None) -> None:
        try:
            validate(value)
        except ValidationError:
            expected, found, error = _expected(value, hint)
            raise error(f"{name} must be {expected}, got {found}") from None
        if shapes:
            _check_letters(name, value, shapes, {} if sizes is None else sizes)

    return check


def check_type(name: str, value: Any, hint: Any) -> None:
    """Check one value, as `typed` does."""
    check_of(hint)(name, value)


def _check_letters(name: str, value: Any, shapes: tuple[Shape, ...], sizes: Sizes) -> None:
    for shape in shapes if hasattr(value, "shape") else ():
        for letter, size in shape.letters(tuple(value.shape)):
            first, known = sizes.setdefault(letter, (name, size))
            if known != size:
                raise ValueError(
                    f"{name} must be {shape} with {letter} = {known} as in {first}, "
                    f"got {described(value)}"
                )


def check_same(name: str, found: Any, expected: Any) -> None:
    """Check that parts fit together: that what one of them has is what another one asks for."""
    if found != expected:
        raise ValueError(f"{name} must be {expected}, got {found}")


def _is_number(hint: Any) -> bool:
    bases = (get_args(part)[0] if _extras(part) else part for part in _union(hint))
    return any(base in (int, float, bool) for base in bases)


def _own(value: Any) -> Any:
    """A number of Python's, if it is one of NumPy's."""
    return value.item() if isinstance(value, np.generic) else value


@functools.cache
def _shapes(hint: Any) -> tuple[Shape, ...]:
    return tuple(one for part in _union(hint) for one in _extras(part) if isinstance(one, Shape))


@functools.cache
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(hint) or hint, get_args(hint)


def _union(hint: Any) -> tuple[Any, ...]:
    kind, parts = _parts(hint)
    return parts if kind in (Union, types.UnionType) else (hint,)


def _extras(hint: Any) -> tuple[Any, ...]:
    kind, parts = _parts(hint)
    return parts[1:] if kind is Annotated else ()


@functools.cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(_strict(hint), config={"strict": True})


def _strict(hint: Any) -> Any:
    """The same for pydantic, which shall look at a value and not convert it."""
    kind, parts = _parts(hint)
    if kind is Annotated:
        any_class = any(isinstance(x, Like) for x in parts[1:])
        extras = (AfterValidator(x.check) if isinstance(x, Shape | Like) else x for x in parts[1:])
        return Annotated[(Any if any_class else _strict(parts[0]), *extras)]
    if kind in (Union, types.UnionType):
        kinds = tuple(map(_strict, parts))
        return Any if Any in kinds else Union[kinds]  # noqa: UP007
    if kind is tuple and parts:
        return tuple[tuple(part if part is ... else _strict(part) for part in parts)]  # type: ignore[misc]
    if kind is Literal:
        return hint
    if kind is Any or isinstance(kind, TypeVar) or getattr(kind, "_is_protocol", False):
        return Any
    if kind is collections.abc.Callable:
        return Callable
    if kind in (int, float):
        return Annotated[Any, AfterValidator(_whole if kind is int else _number)]
    if kind is bool:
        kind = bool | np.bool_
    return Annotated[Any, GetPydanticSchema(lambda *_: core_schema.is_instance_schema(kind))]


def _whole(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError
    if not -LARGEST <= value <= LARGEST:
        raise ValueError
    return value


def _number(value: Any) -> Any:
    if isinstance(value, int | np.integer):
        return _whole(value)
    if not isinstance(value, float | np.floating):
        raise ValueError
    return value


def _expected(value: Any, hint: Any) -> tuple[str, str, type[ValueError]]:
    """What a value should be, what it is, and the error: of a range, where the type is right."""
    faults = []
    for part in _union(hint):
        base, *extras = get_args(part) if _extras(part) else (part,)
        if isinstance(value, int) and base is int and value > LARGEST:
            return f"at most {LARGEST}", described(value), WrongTypeError
        if extras and _fits(value, base):
            faults.append(_fault(value, base, extras))
    if not faults:
        return _words(hint), described(value), WrongTypeError
    _, found, error = faults[0]
    return " or ".join(dict.fromkeys(expected for expected, *_ in faults)), found, error


def _fault(value: Any, base: Any, extras: Iterable[Any]) -> tuple[str, str, type[ValueError]]:
    for looks in (one for one in extras if isinstance(one, Shape | Like)):
        return *looks.fault(value, base), WrongTypeError
    return _limits(base, extras), described(value), ValueError


def _fits(value: Any, hint: Any) -> bool:
    with contextlib.suppress(ValidationError):
        _adapter(hint).validate_python(value)
        return True
    return False


def _limits(base: Any, extras: Iterable[Any]) -> str:
    """The range in words: "at least 1", "in (0, 1]", "a Mapping of length 1 to 4"."""
    bounds: dict[str, Any] = {}
    for one in extras:
        for rule in getattr(one, "metadata", ()):
            bounds |= {at: getattr(rule, at) for at in BOUNDS if hasattr(rule, at)}
    if lengths := [str(bounds[at]) for at in BOUNDS[:2] if at in bounds]:
        more = " or more" if "max_length" not in bounds else ""
        return f"{_words(base)} of length {' to '.join(dict.fromkeys(lengths))}{more}"
    least, most = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    if most is not None and least is None:
        return f"{'at most' if 'le' in bounds else 'below'} {most}"
    if most not in (None, math.inf):
        least, most = (f"{x:g}" if isinstance(x, float) else x for x in (least, most))
        return f"in {'(['['ge' in bounds]}{least}, {most}{')]'['le' in bounds]}"
    if "gt" in bounds and least in (0, -math.inf):
        return "a positive number" if least == 0 else "a finite number"
    return (
        f"{'' if base is int else 'a number, '}{'at least' if 'ge' in bounds else 'above'} {least}"
    )


def _words(hint: Any) -> str:
    kind, parts = _parts(hint)
    if kind is Annotated:
        return " ".join((_words(parts[0]), *(str(x) for x in parts[1:] if isinstance(x, Like))))
    if kind in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_words, parts)))
    if kind is Literal:
        return " or ".join(repr(part) for part in parts)
    if kind is tuple and parts:
        return f"a tuple ({', '.join('...' if part is ... else _each(part) for part in parts)})"
    return named(kind)


def _each(hint: Any) -> str:
    """In a tuple both are said, the type and the range."""
    limits = _limits(get_args(hint)[0], _extras(hint)) if _extras(hint) else ""
    return _words(hint) if not limits or "number" in limits else f"{_words(hint)} {limits}"
