"""Every chapter of the built book ran to its end, and the build kept what it computed."""

from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from jupyter_cache import get_cache

pytestmark = pytest.mark.site
ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_cell_ran(chapter: Path) -> None:
    cache = get_cache(str(ROOT / "_build" / ".jupyter_cache"))
    # Raises KeyError if no run of exactly these cells is in the cache: only whole runs are.
    record = cache.match_cache_notebook(nbformat.read(chapter, as_version=4))
    cells = [cell for cell in cache.get_cache_bundle(record.pk).nb.cells if cell.source.strip()]
    assert cells
    for cell in cells:
        skipped = "skip-execution" in cell.metadata.get("tags", [])
        assert skipped or cell.execution_count is not None, f"did not run: {cell.source}"


def test_what_is_printed_as_a_table_is_one(site: Path, page_name: str) -> None:
    """A chapter prints tables in Markdown; read as plain text, their bars stand in a paragraph."""
    page = BeautifulSoup((site / page_name).read_text(encoding="utf-8"), "html.parser")
    assert [p.get_text() for p in page.select("article p") if p.get_text().startswith("|")] == []
