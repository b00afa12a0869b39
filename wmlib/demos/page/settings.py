"""What a demo's settings may be, from Python and from the page alike."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Protocol

import traitlets
from pydantic import Field


class Settled(Protocol):
    """A demo that knows what its settings may be."""

    def _check(self, name: str, value: Any) -> None:
        """Refuse, by name, what a setting may not be."""


def settings(*names: str) -> traitlets.traitlets.ValidateHandler:
    """The validator of settings: a TraitError for what the demo's `_check` refuses."""

    def validate(demo: Settled, proposal: Any) -> Any:
        try:
            demo._check(proposal["trait"].name, proposal["value"])
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None
        return proposal["value"]

    handler: traitlets.traitlets.ValidateHandler = traitlets.validate(*names)(validate)
    return handler


@functools.cache
def whole(least: int, most: int) -> Any:
    """The type of a setting that is a whole number in [least, most]."""
    return Annotated[int, Field(ge=least, le=most)]
