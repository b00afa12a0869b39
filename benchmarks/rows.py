"""Rows of a result: each is written as soon as it is there, and a script goes on with the rest.

A row is named by some of its fields. What is there under a name is not measured again.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Collection, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib

from wmlib.storage import alone_in, write_atomically

Row = dict[str, Any]


def fill(
    out: Path,
    names: Iterable[Row],
    measure: Callable[[Row], Row],
    about: Callable[[list[Row]], Row],
    *,
    jobs: int = 1,
    shown: Collection[str],
) -> list[Row]:
    """Measure the rows that `out` lacks; all of them, in the end.

    Two processes may fill one file: what the other has found meanwhile stays, and where both have
    measured a row, the first.

    Args:
        out: the result's file, `{..., "rows": [...]}`.
        names: of the rows.
        measure: a name to what is found; runs in a process of its own if `jobs` is above 1.
        about: all rows so far to what else the file says.
        jobs: rows at a time.
        shown: fields of a new row that are printed.
    """
    rows = _rows(out)
    missing = [name for name in names if not any(name.items() <= row.items() for row in rows)]
    found = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(
        joblib.delayed(measure)(name) for name in missing
    )
    for row in found:
        (name,) = (name for name in missing if name.items() <= row.items())
        print(json.dumps({key: row[key] for key in row if key in shown}), flush=True)
        with alone_in(out.parent):
            rows = _rows(out)
            if any(name.items() <= other.items() for other in rows):
                continue
            rows.append(row)
            text = json.dumps({**about(rows), "rows": rows}, indent=1) + "\n"
            write_atomically(out, text.encode())
    return rows


def _rows(out: Path) -> list[Row]:
    rows: list[Row] = json.loads(out.read_text(encoding="utf-8"))["rows"] if out.exists() else []
    return rows


def machine(packages: Iterable[str]) -> Row:
    """What a result was made with."""
    versions = {name: version(name) for name in packages}
    return {
        "machine": platform.machine(),
        "versions": {"python": platform.python_version(), **versions},
    }
