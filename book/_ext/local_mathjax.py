"""Sphinx extension: show equations with a copy of MathJax that stands inside the built book.

Sphinx points its pages at MathJax on a remote host. The package ``sphinx-mathjax-offline`` ships
MathJax 3 in its wheel; this extension copies the parts that a page needs: TeX with AMS's macros,
glyphs as SVG paths, so that no font is ever asked for, and MathML for screen readers. That is
1.7 MB; the one file that holds all parts has 2.3.
"""

import shutil
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

PACKAGE = "sphinx-mathjax-offline"
SCRIPT = "startup.js"
PARTS = ("input/tex", "output/svg", "a11y/assistive-mml")
FILES = (
    SCRIPT,
    "core.js",
    "output/svg/fonts/tex.js",
    *(f"{part}.js" for part in PARTS),
    "input/tex/extensions",  # what `tex` asks for when it meets one of their macros
)


def point_at_copy(app: Sphinx, config: Any) -> None:
    """Make every page load the copy, by a path relative to the page."""
    config.mathjax_path = f"mathjax/{SCRIPT}"
    config.mathjax3_config = {**(config.mathjax3_config or {}), "loader": {"load": list(PARTS)}}


def copy_script(app: Sphinx, exception: Exception | None) -> None:
    """Copy MathJax's parts into ``_static/mathjax`` once the pages are written."""
    if exception is not None or app.builder.format != "html":
        return
    for name in FILES:
        source = Path(str(distribution(PACKAGE).locate_file(f"{PACKAGE}/static/mathjax/{name}")))
        target = Path(app.outdir, "_static", "mathjax", name)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension (called by Sphinx)."""
    app.connect("config-inited", point_at_copy)
    app.connect("build-finished", copy_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
