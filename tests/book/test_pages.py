"""The chapters as pages: what is open, what is folded, how a chapter begins and ends."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "book").glob("[0-9]*.ipynb"))
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
BOOKKEEPING = {"glue", "keep", "note"}
LONGEST_PIECE = 41  # lines: about 40

Cell = dict[str, Any]

each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)


def cells(chapter: Path, kind: str) -> list[Cell]:
    notebook = json.loads(chapter.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def source(cell: Cell) -> str:
    return "".join(cell["source"])


def tags(cell: Cell) -> set[str]:
    return set(cell["metadata"].get("tags", []))


def bookkeeping(code: str) -> list[str]:
    """Return the calls in `code` that only keep numbers for the text."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    return [
        ast.unparse(call)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in BOOKKEEPING
    ]


@each_chapter
def test_numbers_are_kept_out_of_sight(chapter: Path) -> None:
    shown = [source(cell) for cell in cells(chapter, "code") if "remove-cell" not in tags(cell)]
    # the helper that the first cell defines may call `glue`
    assert [call for code in shown[1:] for call in bookkeeping(code)] == []


def test_bookkeeping_is_seen() -> None:
    assert bookkeeping("x = 1\nfor i in range(3):\n    note(x=i)\nnotes(x)") == ["note(x=i)"]


@each_chapter
def test_no_backslash_is_doubled(chapter: Path) -> None:
    """In an equation `\\\\lambda` is a new line and a word; a new line stands at a line's end."""
    for cell in cells(chapter, "markdown"):
        assert re.findall(r".{20}\\\\[A-Za-z,;].{9}", source(cell)) == []


@each_chapter
def test_open_code_comes_in_short_pieces(chapter: Path) -> None:
    for cell in cells(chapter, "code"):
        if not tags(cell) & FOLDED:
            assert len(source(cell).splitlines()) <= LONGEST_PIECE, source(cell)


@each_chapter
def test_imports_and_plots_are_folded(chapter: Path) -> None:
    for cell in cells(chapter, "code"):
        if re.search(r"^(import|from) |plt\.", source(cell), re.MULTILINE):
            assert tags(cell) & FOLDED, source(cell)


@each_chapter
def test_a_chapter_says_what_it_needs_and_what_it_leaves(chapter: Path) -> None:
    texts = [source(cell) for cell in cells(chapter, "markdown")]
    head = texts[0]
    assert "Before you start" in head and "**You need**" in head and "minute" in head
    takeaways, following = texts[-1].split("## Three takeaways")[1].split("## Where it goes next")
    assert takeaways.count("\n- ") == 3
    assert following.strip()


@each_chapter
def test_figures_have_alt_text(chapter: Path) -> None:
    for cell in cells(chapter, "code"):
        if "plt.show()" in source(cell):
            assert len(cell["metadata"]["mystnb"]["image"]["alt"]) > 40, source(cell)


def test_no_number_is_minus_nothing() -> None:
    """`-0.0` is what rounds to nothing from below."""
    (first,) = (c for c in cells(CHAPTERS[1], "code") if "def note" in source(c))
    (helper,) = (n for n in ast.parse(source(first)).body if isinstance(n, ast.FunctionDef))
    kept: dict[str, float] = {}
    scope: dict[str, Any] = {"glue": lambda name, value, display: kept.update({name: value})}
    exec(compile(ast.Module([helper], []), "note", "exec"), scope)
    scope["note"](3, tiny=-0.0004, small=-0.0006)
    assert str(kept["tiny"]) == "0.0" and kept["small"] == -0.001
