"""The theme's icons, cut down to those that are shown."""

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pydata_sphinx_theme
import pytest

SOURCE = Path(__file__).parents[2] / "book" / "_ext" / "few_icons.py"
STATIC = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"


@pytest.fixture
def icons() -> ModuleType:
    spec = importlib.util.spec_from_file_location("few_icons_under_test", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_wanted_stays_and_the_script_still_runs(icons: ModuleType, node: str) -> None:
    whole = (STATIC / "scripts" / "fontawesome.js").read_text(encoding="utf-8")
    assert whole.count('"M') > icons.FEWEST
    cut = icons.subset(whole, {"bars", "search"})  # by its name, and by another that it goes by
    assert len(cut) < 100_000
    assert "bars:[" in cut and '"magnifying-glass":[' in cut and '"arrow-up":[' not in cut
    again = icons.subset(cut, {"bars", "search"})
    assert again == cut
    result = subprocess.run([node, "--check", "-"], input=cut, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
