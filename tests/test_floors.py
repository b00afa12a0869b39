"""The library is a house of floors: a module imports only from floors below its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "wmlib"

# The floor of each module or package of wmlib. A new module needs a line here.
FLOORS = {
    "__main__": 7,
    "cli": 6,
    "demos": 6,
    "agents": 5,
    "open_loop": 5,
    "acting": 4,
    "dream": 4,
    "dyna": 4,
    "pets": 4,
    "controller": 3,
    "ensemble": 3,
    "evolution": 3,
    "memory": 3,
    "planning": 3,
    "value": 3,
    "vision": 3,
    "checkpoint": 2,
    "data": 2,
    "figures": 2,
    "training": 2,
    "checks": 1,
    "envs": 1,
    "artifacts": 1,
    "scratch": 1,
    "storage": 1,
    "typed": 0,
}
# Packages whose own modules build on one another.
TOGETHER = {"agents", "demos", "envs", "scratch"}


def imports(path: Path, package: str) -> set[str]:
    """Return the dotted names that the module at `path`, in `package`, imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            found.add(module)
            if module == "wmlib":  # `from wmlib import data`
                found |= {f"wmlib.{alias.name}" for alias in node.names}
    return found


def room(dotted: str) -> str | None:
    """Return the first name below wmlib in `dotted`: the module or package that has a floor."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == "wmlib" and len(parts) > 1 and parts[1] in ROOMS else None


MODULES = sorted(LIBRARY.rglob("*.py"))
ROOMS = {path.relative_to(LIBRARY).parts[0].removesuffix(".py") for path in MODULES} - {"__init__"}


def test_every_module_has_a_floor() -> None:
    assert ROOMS <= FLOORS.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_imports_come_from_below(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    own = parts[1]
    if own == "__init__":
        return  # what wmlib itself may import is tested below, by importing it
    allowed = {own} if own in TOGETHER else set()
    for dotted in imports(path, ".".join(parts[:-1])):
        other = room(dotted)
        if other is None or other in allowed:
            continue
        assert FLOORS[other] < FLOORS[own], f"{own} imports {other}, which is not below it"


@pytest.mark.parametrize("module", ["wmlib", "wmlib.scratch"])
def test_light_imports_stay_light(module: str) -> None:
    heavy = "{'torch', 'pygame', 'matplotlib'} & set(sys.modules)"
    code = f"import sys, {module}; print(*sorted({heavy}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr
