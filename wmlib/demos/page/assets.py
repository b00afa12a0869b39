"""The browser side of a demo: its JavaScript and CSS, each put together as one text.

A widget of anywidget carries one module. The files import from one another, so that Node and a
browser can load them as they lie here; put together, those import lines go.
"""

from __future__ import annotations

import re
from importlib.resources import files

IMPORT = re.compile(r'^import \{[^}]*\} from "\.\.?/[a-z/]+\.js";\n', re.MULTILINE)


def script(*names: str) -> str:
    """JavaScript files of `wmlib/demos`, in that order, as one ES module."""
    return "\n".join(IMPORT.sub("", _read(name)) for name in names)


def style(*names: str) -> str:
    """CSS files of `wmlib/demos`, in that order."""
    return "\n".join(_read(name) for name in names)


def _read(name: str) -> str:
    return files("wmlib.demos").joinpath(name).read_text(encoding="utf-8")
