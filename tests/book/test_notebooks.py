"""The chapters as files: no outputs, one kernel, short lines, and code equal to the library's.

A code cell that shows code of the library carries a tag ``wmlib:MODULE.NAME`` for each definition
in it, such as ``wmlib:scratch.vision.VisionModel``. The definition in the cell and the one in
``wmlib/`` must then be the same syntax tree, docstrings and checks of the input aside: a page shows
the algorithm, and what refuses a wrong argument stays in the library. So the book and the library
cannot drift apart. Nothing is imported for that.
"""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))
PAGES = {".md", ".ipynb"}
LONGEST_LINE = 79
PREFIX = "wmlib:"
HIDING = {"hide-cell", "hide-input", "remove-cell"}
# Checks of wmlib.scratch.checks and their kind: `check(name, value, ...)` is `value`, or an error.
VALUES = {"at_least", "positive", "vectors"}
# Types of wmlib.typed that have a range.
RANGES = {
    "PositiveInt": "int", "NonNegativeInt": "int", "Seed": "int",
    "Finite": "float", "PositiveFloat": "float", "NonNegativeFloat": "float", "Share": "float",
    "PositiveShare": "float", "ProperShare": "float", "Propagation": "str",
    "Temperature": "float", "Price": "float", "Positive": "float", "Weight": "float",
}  # fmt: skip

Cell = dict[str, Any]
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)


def code_cells(chapter: Path) -> list[Cell]:
    notebook = json.loads(chapter.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell: Cell) -> str:
    return "".join(cell["source"])


def plain(cell: Cell) -> str:
    """Return the source of `cell` without IPython's own lines, as Python can parse it."""
    lines = source(cell).splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


def without_docstrings(tree: ast.AST) -> ast.AST:
    """Remove the docstring of every module, class and function in `tree`."""
    for node in ast.walk(tree):
        if isinstance(node, Documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


class WithoutChecks(ast.NodeTransformer):
    """Remove what only refuses input: ``if ...: raise``, ``check_x(x)``, ``positive("x", x)``.

    And ``@typed``, with the ranges and the shapes of arguments: of ``n: PositiveInt`` stays
    ``n: int``.
    """

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list = [one for one in node.decorator_list if ast.unparse(one) != "typed"]
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(RANGES.get(node.id, node.id), node.ctx)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if ast.unparse(node.value) == "Annotated" and isinstance(node.slice, ast.Tuple):
            return node.slice.elts[0]
        return node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        self.generic_visit(node)
        only_raises = isinstance(node.body[-1], ast.Raise) and len(node.body) == 1
        return None if only_raises and not node.orelse else node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            name = call.func.id
            if name in VALUES | {"same"} or name.startswith(("check_", "_check")):
                return None
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in VALUES and len(node.args) > 1:
            return node.args[1]
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        self.generic_visit(node)
        same = len(node.targets) == 1 and ast.unparse(node.targets[0]) == ast.unparse(node.value)
        return None if same else node


def bare(tree: ast.AST) -> ast.AST:
    """Return `tree` without docstrings and checks; what they leave empty holds a `pass`."""
    tree = WithoutChecks().visit(without_docstrings(tree))
    for node in ast.walk(tree):
        if isinstance(node, Documented | ast.If | ast.For | ast.While | ast.With):
            node.body = node.body or [ast.Pass()]
    return tree


def definition(tree: ast.AST, name: str) -> ast.stmt | None:
    """Return the statement at the top of `tree` that defines `name`, if there is one."""
    for node in getattr(tree, "body", []):
        targets = []
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            targets = [node.name]
        elif isinstance(node, ast.Assign):
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            targets = [node.target.id]
        if name in targets:
            return node
    return None


def on_page(tree: ast.AST, dotted: str) -> ast.stmt | None:
    """Return what a cell defines as ``wmlib:dotted``: a method stands in its class, or alone."""
    *_, owner, name = ["", *dotted.split(".")]
    inside = definition(tree, owner)
    return (definition(inside, name) if inside else None) or definition(tree, name)


def in_library(dotted: str, root: Path = ROOT) -> ast.stmt:
    """Return the definition that ``wmlib:dotted`` names, from the library's source."""
    parts = dotted.split(".")
    for cut in range(len(parts) - 1, -1, -1):
        base = root.joinpath("wmlib", *parts[:cut])
        module = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        if not module.is_file():
            continue
        node: ast.AST | None = ast.parse(module.read_text(encoding="utf-8"))
        for name in parts[cut:]:
            node = definition(node, name) if node else None
        if isinstance(node, ast.stmt):
            return node
    raise AssertionError(f"tag {PREFIX}{dotted} names nothing in wmlib/")


def drift(cell: Cell, root: Path = ROOT) -> list[str]:
    """Return the tags of `cell` whose definitions are not the library's."""
    tags = cell["metadata"].get("tags", [])
    names = [tag.removeprefix(PREFIX) for tag in tags if tag.startswith(PREFIX)]
    if not names:
        return []
    shown = bare(ast.parse(plain(cell)))
    wrong = []
    for dotted in names:
        here = on_page(shown, dotted)
        there = bare(in_library(dotted, root))
        if here is None:
            wrong.append(f"{dotted}: the cell does not define it")
        elif ast.dump(here) != ast.dump(there):
            both = f"the cell has\n{ast.unparse(here)}\n\nand wmlib has\n{ast.unparse(there)}"
            wrong.append(f"{dotted}: {both}")
    return wrong


def test_contents_list_every_chapter() -> None:
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [entry for part in contents["parts"] for entry in part["chapters"]]
    pages = [page for chapter in chapters for page in (chapter, *chapter.get("sections", []))]
    listed = {page["file"] for page in pages}
    files = {f"book/{path.stem}" for path in (ROOT / "book").iterdir() if path.suffix in PAGES}
    assert listed | {contents["root"]} == files


@each_chapter
def test_no_outputs_are_committed(chapter: Path) -> None:
    for cell in code_cells(chapter):
        assert cell["outputs"] == [] and cell["execution_count"] is None, source(cell)
    assert "widgets" not in json.loads(chapter.read_text(encoding="utf-8"))["metadata"]


@each_chapter
def test_kernel_is_python3(chapter: Path) -> None:
    metadata = json.loads(chapter.read_text(encoding="utf-8"))["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"


@each_chapter
def test_lines_are_short(chapter: Path) -> None:
    lines = [line for cell in code_cells(chapter) for line in source(cell).splitlines()]
    assert [line for line in lines if len(line) > LONGEST_LINE] == []


@each_chapter
def test_what_a_page_folds_is_folded_in_jupyterlab(chapter: Path) -> None:
    for cell in code_cells(chapter):
        folded = bool(HIDING & set(cell["metadata"].get("tags", [])))
        assert cell["metadata"].get("jupyter", {}).get("source_hidden", False) is folded, source(
            cell
        )


@each_chapter
def test_ends_with_hidden_assertions(chapter: Path) -> None:
    last = code_cells(chapter)[-1]
    assert HIDING & set(last["metadata"].get("tags", []))
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(plain(last))))


@each_chapter
def test_code_equals_the_library(chapter: Path) -> None:
    assert [line for cell in code_cells(chapter) for line in drift(cell)] == []


@pytest.fixture
def small_library(tmp_path: Path) -> Path:
    (tmp_path / "wmlib" / "scratch").mkdir(parents=True)
    (tmp_path / "wmlib" / "scratch" / "vision.py").write_text(
        '"""V."""\nSCALE = 0.1\n\n\nclass Vision:\n    """Sees."""\n\n'
        '    def encode(self, x):\n        """Shorten."""\n        return x * SCALE\n',
        encoding="utf-8",
    )
    return tmp_path


@pytest.mark.parametrize(
    ("tags", "text", "wrong"),
    [
        (["scratch.vision.SCALE"], "SCALE = 0.1", 0),
        (["scratch.vision.SCALE"], "SCALE = 0.2", 1),
        (["scratch.vision.Vision.encode"], "def encode(self, x):\n    return x * SCALE", 0),
        (["scratch.vision.Vision.encode"], "def encode(self, x):\n    return x / SCALE", 1),
        (
            ["scratch.vision.SCALE", "scratch.vision.Vision"],
            "%matplotlib inline\nSCALE = 0.1  # small\n\nclass Vision:\n    'Another text.'\n"
            "    def encode(self, x):\n        # with a comment\n        return (x * SCALE)",
            0,
        ),
        (["scratch.vision.SCALE", "scratch.vision.Vision"], "class Vision:\n    pass", 2),
        (
            ["scratch.vision.Vision.encode"],
            "class Vision:\n    def encode(self, x):\n        return x * SCALE\n    more = 0",
            0,
        ),
        (
            ["scratch.vision.Vision.encode"],
            "class Vision:\n    def encode(self, x):\n        return x / SCALE",
            1,
        ),
    ],
)
def test_drift_is_seen(small_library: Path, tags: list[str], text: str, wrong: int) -> None:
    cell = {"metadata": {"tags": [PREFIX + tag for tag in tags]}, "source": [text]}
    assert len(drift(cell, small_library)) == wrong


def test_checks_of_input_are_not_shown(small_library: Path) -> None:
    (small_library / "wmlib" / "scratch" / "vision.py").write_text(
        "def halve(x, n):\n"
        '    """Half of x."""\n'
        '    x = vectors("x", x, 3)\n'
        '    same("x", x.shape, (3,))\n'
        "    if n < 1:\n        raise ValueError('n')\n"
        "    if n > 5:\n        x = x + 1\n"
        '    return x / at_least("n", n, 1)\n',
        encoding="utf-8",
    )
    shown = "def halve(x, n):\n    if n > 5:\n        x = x + 1\n    return x / n"
    tags = {"tags": [PREFIX + "scratch.vision.halve"]}
    assert drift({"metadata": tags, "source": [shown]}, small_library) == []
    for wrong in (shown.replace("> 5", "> 6"), shown.replace("/ n", "* n"), "def halve(x, n): 0"):
        assert len(drift({"metadata": tags, "source": [wrong]}, small_library)) == 1


def test_a_tag_that_names_nothing_is_an_error(small_library: Path) -> None:
    cell = {"metadata": {"tags": ["wmlib:scratch.vision.Memory"]}, "source": ["class Memory: 0"]}
    with pytest.raises(AssertionError, match=r"scratch\.vision\.Memory names nothing"):
        drift(cell, small_library)
