"""The library is a house: worlds, tools, agents, and what is shown of them; nothing looks up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from refusals import counted

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "wmlib"
MODULES = sorted(LIBRARY.rglob("*.py"))

# The floor of each wing. A file at the top of wmlib is a tool, and its floor is 1.
WINGS = {"envs": 0, "scratch": 0, "nets": 0, "agents": 2, "demos": 3}
# What every wing may use: they check types and shapes, and know nothing of ours.
# Rivals are no tool: they name worlds. Entrants know rivals and agents.
TOP = {
    "shapes": -2,
    "typed": -1,
    "rivals": 2,
    "entrants": 3,
    "commands": 4,
    "train_commands": 5,
    "cli": 6,
    "__main__": 7,
}
MOST_LINES = 350
MOST_REFUSALS, MOST_AMONG = 0.065, 0.04  # of the code lines; see refusals.py


def imports(path: Path) -> set[str]:
    """Return the dotted names below wmlib that the module at `path` imports anywhere."""
    package = path.relative_to(ROOT).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            found.add(module)
            if module == "wmlib":  # `from wmlib import envs`
                found |= {f"wmlib.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("wmlib.")}


def floor(dotted: str) -> int:
    """Return the floor of a dotted name below wmlib."""
    first = dotted.split(".")[1]
    return WINGS.get(first, TOP.get(first, 1))


def agent(dotted: str) -> str | None:
    """Return the agent that a dotted name belongs to, if it is one's."""
    parts = dotted.split(".")
    return parts[2] if parts[1] == "agents" and len(parts) > 2 else None


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_imports_come_from_below(path: Path) -> None:
    own = dotted(path)
    if own == "wmlib":
        return  # what wmlib itself may import is tested below, by importing it
    wing = own.split(".")[1]
    for other in imports(path):
        assert agent(own) in (None, agent(other)) or agent(other) is None, (
            f"{own} imports {other}: an agent imports no other"
        )
        if wing in WINGS and other.split(".")[1] == wing:
            continue
        same = floor(own) == 1  # tools may use one another
        assert floor(other) < floor(own) + same, f"{own} imports {other}, which is not below it"


def test_tools_do_not_turn_in_a_circle() -> None:
    tools = {dotted(path): path for path in MODULES if floor(dotted(path) + ".") == 1}
    waiting = {name: imports(path) & tools.keys() for name, path in tools.items()}
    while waiting:
        free = {name for name, needs in waiting.items() if not needs & waiting.keys()}
        assert free, f"these import one another: {sorted(waiting)}"
        waiting = {name: needs for name, needs in waiting.items() if name not in free}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_modules_are_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_little_code_only_refuses_input() -> None:
    refusing, among, lines = counted(MODULES)
    assert refusing <= MOST_REFUSALS * lines, f"{refusing} of {lines} lines, see refusals.py"
    assert among <= MOST_AMONG * lines, f"{among} of {lines} lines, see refusals.py"


@pytest.mark.parametrize("name", ["utils", "common", "helpers", "misc"])
def test_every_file_says_what_it_holds(name: str) -> None:
    assert not [path for path in MODULES if name in (path.stem, path.parent.name)]


@pytest.mark.parametrize("module", ["wmlib", "wmlib.scratch"])
def test_light_imports_stay_light(module: str) -> None:
    heavy = "{'torch', 'pygame', 'matplotlib'} & set(sys.modules)"
    code = f"import sys, {module}; print(*sorted({heavy}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr
