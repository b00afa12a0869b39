"""Sphinx extension: take back what the theme and docutils say wrongly to a screen reader.

axe-core calls five things in the built pages serious or critical. The search field's button is
called "Search" although "Search Ctrl + K" stands on it; the titles of three icons stand inside a
button that has a name of its own; a bibliography is called a list, whose entries are no items;
what unfolds the pages of a chapter has no name; and what unfolds a cell has another than the one
that stands on it.
A page whose scripts do not run stays in no theme, with half of the dark one's colours; it is light.
And what scrolls, because it is too wide for its place, must be reached by keyboard: an equation, or
on a small screen a table.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

CHANGES = (
    (re.compile(r'(<html\b[^>]*\bdata-theme=)"auto"'), r'\1"light"'),
    (re.compile(r'(<button class="[^"]*\bsearch-button-field\b[^>]*) aria-label="Search"'), r"\1"),
    (re.compile(r'(<i class="theme-switch [^>]*?) title="[^"]*"'), r"\1"),
    (re.compile(r'<div role="list" class="citation-list">'), '<div class="citation-list">'),
    (re.compile(r'(<div class="citation" id="[^"]*") role="doc-biblioentry"'), r"\1"),
    (re.compile(r'<summary aria-label="Toggle hidden content">'), "<summary>"),
    (
        re.compile(r'<summary>(<span class="toctree-toggle")'),
        r'<summary aria-label="Pages of this chapter">\1',
    ),
)

SCROLLING = """
addEventListener("load", () => {
  const mark = () => {
    for (const wide of document.querySelectorAll('mjx-container[display="true"], article table')) {
      if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0;
      else wide.removeAttribute("tabindex");
    }
  };
  mark();
  window.MathJax?.startup?.promise?.then(mark);
  addEventListener("resize", mark);
});
"""


def correct(page: str) -> str:
    """The page (HTML) with those changes; a page that has them stays as it is."""
    for wrong, right in CHANGES:
        page = wrong.sub(right, page)
    return page


def correct_pages(app: Sphinx, exception: Exception | None) -> None:
    """Correct every page once all are written."""
    if exception is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        if (corrected := correct(page)) != page:
            path.write_text(corrected, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension (called by Sphinx)."""
    app.connect("build-finished", correct_pages)
    app.add_js_file(None, body=SCROLLING)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
