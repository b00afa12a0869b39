"""What tests of the book share: its Sphinx extensions, which are no package, as modules."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

EXTENSIONS = Path(__file__).parents[2] / "book" / "_ext"


@pytest.fixture(scope="session")
def extension() -> Callable[[str], ModuleType]:
    """The extension of a name, as a module of its own with each call."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(
            f"{name}_under_test", EXTENSIONS / f"{name}.py"
        )
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
