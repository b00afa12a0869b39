"""Rows of a result: none is measured twice, none is lost."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rows import Row, fill


def test_what_is_there_is_not_measured_again_and_nothing_is_lost(tmp_path: Path) -> None:
    out, asked = tmp_path / "result.json", list[int]()

    def measure(name: Row) -> Row:
        asked.append(name["seed"])
        if name["seed"] == 2 and len(asked) == 3:
            raise RuntimeError("killed")
        return name | {"square": name["seed"] ** 2}

    def run() -> list[Row]:
        return fill(
            out, ({"seed": seed} for seed in range(4)), measure,
            lambda rows: {"count": len(rows)}, shown=("seed",),
        )  # fmt: skip

    with pytest.raises(RuntimeError, match="killed"):
        run()
    assert len(json.loads(out.read_text(encoding="utf-8"))["rows"]) == 2
    rows = run()
    assert asked == [0, 1, 2, 2, 3]
    assert rows == [{"seed": seed, "square": seed**2} for seed in range(4)]
    assert json.loads(out.read_text(encoding="utf-8")) == {"count": 4, "rows": rows}


def test_two_processes_fill_one_file(tmp_path: Path) -> None:
    out = tmp_path / "result.json"

    def run(name: str, meanwhile: Callable[[], object]) -> None:
        def measure(row: Row) -> Row:
            meanwhile()
            return row

        fill(out, [{"name": name}], measure, lambda rows: {"count": len(rows)}, shown=("name",))

    run("one", lambda: run("other", lambda: None))
    run("both", lambda: run("both", lambda: None))
    rows = [{"name": "other"}, {"name": "one"}, {"name": "both"}]
    assert json.loads(out.read_text(encoding="utf-8")) == {"count": 3, "rows": rows}
