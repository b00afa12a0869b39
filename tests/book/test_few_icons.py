"""The theme's icons, cut down to those that are shown."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pydata_sphinx_theme
import pytest

STATIC = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"


@pytest.fixture
def icons(extension: Callable[[str], ModuleType]) -> ModuleType:
    return extension("few_icons")


def test_what_is_wanted_stays_and_the_script_still_runs(icons: ModuleType, node: str) -> None:
    whole = (STATIC / "scripts" / "fontawesome.js").read_text(encoding="utf-8")
    assert whole.count('"M') > icons.FEWEST
    cut = icons.subset(whole, {"bars", "search"})  # by its name, and by another that it goes by
    assert len(cut) < 100_000
    assert "bars:[" in cut and '"magnifying-glass":[' in cut and '"arrow-up":[' not in cut
    again = icons.subset(cut, {"bars", "search"})
    assert again == cut
    result = subprocess.run(
        [node, "--check", "-"], input=cut, capture_output=True, encoding="utf-8"
    )
    assert result.returncode == 0, result.stderr
