"""Sphinx extension: show equations with a copy of MathJax that stands inside the built book.

Sphinx points its pages at MathJax on a remote host. The package ``sphinx-mathjax-offline`` ships
MathJax 3 in its wheel; this extension copies one file of it, the one that holds every TeX package
and draws glyphs as SVG paths, so that no font and no second script is ever asked for.
"""

from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.fileutil import copy_asset_file

PACKAGE = "sphinx-mathjax-offline"
SCRIPT = "tex-svg-full.js"


def point_at_copy(app: Sphinx, config: Any) -> None:
    """Make every page load the copy, by a path relative to the page."""
    config.mathjax_path = f"mathjax/{SCRIPT}"


def copy_script(app: Sphinx, exception: Exception | None) -> None:
    """Copy MathJax into ``_static/mathjax`` once the pages are written."""
    if exception is not None or app.builder.format != "html":
        return
    source = distribution(PACKAGE).locate_file(f"{PACKAGE}/static/mathjax/{SCRIPT}")
    target = Path(app.outdir, "_static", "mathjax")
    target.mkdir(parents=True, exist_ok=True)
    copy_asset_file(str(source), target)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension (called by Sphinx)."""
    app.connect("config-inited", point_at_copy)
    app.connect("build-finished", copy_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
