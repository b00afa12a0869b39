"""Where the files lie that chapters read: trained weights, and rows of measurements.

They are part of the repository and not of the installed package. In a checkout they stand beside
the package, whatever folder a notebook runs in; beside a notebook that was taken along, they stand
in its folder or in one above it.

>>> from wmlib.artifacts import artifact, load_results
>>> artifact("world-models-car-racing").name, sorted(load_results("ppo"))
('world-models-car-racing', ['made', 'rows'])
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[1]


def artifact(name: str) -> Path:
    """The folder of trained weights of that name, such as "world-models-car-racing".

    Raises:
        FileNotFoundError: it lies neither beside the package nor above the working folder.
    """
    return _find(Path("artifacts", name))


def load_results(name: str) -> Any:
    """The measurements of that name, such as "ppo", as they were committed (JSON).

    Raises:
        FileNotFoundError: they lie neither beside the package nor above the working folder.
    """
    path = _find(Path("benchmarks", "results", f"{name}.json"))
    return json.loads(path.read_text(encoding="utf-8"))


def _find(relative: Path) -> Path:
    here = Path.cwd()
    places = [CHECKOUT, here, *here.parents]
    for place in places:
        if (place / relative).exists():
            return place / relative
    raise FileNotFoundError(
        f"{relative.as_posix()} lies neither in {CHECKOUT} nor in {here} or a folder above it; "
        "it is part of the book's repository, and of the archive of its notebooks"
    )
