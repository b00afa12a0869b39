"""The programs of benchmarks/, for tests that call their functions."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def load_program(name: str) -> ModuleType:
    """`benchmarks/NAME.py` as a module of its own, under a name that no package has."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    assert spec and spec.loader
    program = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = program  # dataclasses ask for it
    spec.loader.exec_module(program)
    return program
