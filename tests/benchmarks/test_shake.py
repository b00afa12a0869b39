"""The program that shakes chapters: it reports all failures, and what it shakes does move."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from programs import load_program

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shake() -> ModuleType:
    return load_program("shake")


def notebook(path: Path, *cells: str) -> Path:
    code = [{"cell_type": "code", "metadata": {}, "source": [cell]} for cell in cells]
    path.write_text(json.dumps({"cells": code}), encoding="utf-8")
    return path


CELLS = (
    "import numpy as np, torch\nfrom myst_nb import glue\n"
    "draw = np.random.default_rng(0).standard_normal(4)\n"
    "weight = torch.nn.Parameter(torch.linspace(-1, 1, 1000))\n"
    "torch.optim.Adam([weight])\n"
    "glue('draw', draw[0], display=False)\n"
    "glue('moved', (weight - torch.linspace(-1, 1, 1000)).abs().max().item())",
    "assert draw[0] > 100, 'not so'\nassert 1 < 2 and draw[0] < 0",
    "raise KeyError('lost')",
    "assert undefined_name",
    "assert draw.shape == (4,)",
)


def test_every_failure_is_reported_and_numbers_move(shake: ModuleType, tmp_path: Path) -> None:
    chapter = notebook(tmp_path / "page.ipynb", *CELLS)
    plain, moved = (shake.shaken(chapter, name, ROOT, 120) for name in ("default-1", "nudge-1"))
    for row in (plain, moved):
        assert row["assertions"] == 4
        failed = [failure["assertion"] for failure in row["failures"]]
        assert failed[0] == "draw[0] > 100"
        assert failed[1:] == ["1 < 2 and draw[0] < 0", "cell 2 runs", "undefined_name"]
    assert plain["failures"][0]["values"] == [0.12573, 100.0]  # NumPy's own first draw of seed 0
    assert plain["glued"]["moved"] == 0
    assert 0 < moved["glued"]["moved"] < 2e-7
    assert moved["glued"]["draw"] == pytest.approx(plain["glued"]["draw"], rel=1e-6)


def test_normal_draws_of_several_scales_are_nudged_too(shake: ModuleType, tmp_path: Path) -> None:
    code = (
        "import numpy as np\nfrom myst_nb import glue\n"
        "draws = np.random.default_rng(0).normal(0.0, (1.0, 10.0))\n"
        "glue('first', draws[0])\nglue('second', draws[1])"
    )
    row = shake.shaken(notebook(tmp_path / "page.ipynb", code), "nudge-1", ROOT, 120)
    expected = np.random.default_rng(0).normal(0.0, (1.0, 10.0))
    assert row["failures"] == []
    assert [row["glued"][name] for name in ("first", "second")] == pytest.approx(expected, rel=1e-5)


def test_a_chapter_that_hangs_is_a_failure(shake: ModuleType, tmp_path: Path) -> None:
    chapter = notebook(tmp_path / "page.ipynb", "import time\ntime.sleep(60)")
    row = shake.shaken(chapter, "default-1", ROOT, 3)
    assert row["failures"][0]["values"] == ["took more than 3 seconds"]


def row(chapter: str, code: str, variant: str) -> dict[str, Any]:
    return {"chapter": chapter, "digest": code, "variant": variant, "processor": "p", "glued": {}}


def test_rows_of_other_code_go_when_new_ones_come(shake: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "shake.json"
    shake.save([row("a", "old", "x"), row("b", "old", "x")], path)
    shake.save([row("a", "new", "y")], path)
    shake.save([row("a", "new", "z")], path)
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    kept = [(r["chapter"], r["digest"], r["variant"]) for r in rows]
    assert kept == [("a", "new", "y"), ("a", "new", "z"), ("b", "old", "x")]
    assert "glued" not in rows[0]


def test_prose_is_not_code(shake: ModuleType, tmp_path: Path) -> None:
    before = shake.digest(notebook(tmp_path / "page.ipynb", "a = 1"))
    text = json.loads((tmp_path / "page.ipynb").read_text(encoding="utf-8"))
    text["cells"].append({"cell_type": "markdown", "metadata": {}, "source": ["words"]})
    (tmp_path / "page.ipynb").write_text(json.dumps(text), encoding="utf-8")
    assert shake.digest(tmp_path / "page.ipynb") == before
    assert shake.changed([tmp_path / "page.ipynb"], tmp_path / "none.json")
    assert shake.digest(notebook(tmp_path / "page.ipynb", "a = 2")) != before


def test_neither_imports_nor_docstrings_are_arithmetic(shake: ModuleType, tmp_path: Path) -> None:
    def digest(code: str) -> str:
        return str(shake.digest(notebook(tmp_path / "page.ipynb", code)))

    before = digest('from a import (\n    b,\n)\ndef f():\n    """One."""\n    return b(1)')
    assert digest('from c.d import b\n\n\ndef f():\n    """Two."""\n    return b(1)') == before
    assert digest('from a import b\ndef f():\n    return b(1)\nkeep("b", f())') == before
    assert digest('from a import b\ndef f():\n    """One."""\n    return b(2)') != before


def test_variants_differ_and_there_are_enough(shake: ModuleType) -> None:
    table = shake.variants()
    settings = {json.dumps(variant, sort_keys=True) for variant in table.values()}
    assert len(settings) == len(table) >= 20
    with pytest.raises(SystemExit, match="no variant 'avx9'"):
        shake.chosen("avx9")
