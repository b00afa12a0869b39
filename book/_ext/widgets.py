"""Sphinx extension: draw the demos of a page that has no kernel, and show a still without scripts.

myst-nb writes the state of each widget into its page and leaves the drawing to Jupyter's
html-manager: 3.7 MB of scripts. The book's widgets are anywidgets, and `widgets.js`, two kilobytes,
draws those. A reader without JavaScript sees what the widget gives as its `still` (HTML), which
moves out of the state to the widget's place.
"""

import json
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

SCRIPT = "widgets.js"
STATE = re.compile(
    r'(<script type="application/vnd\.jupyter\.widget-state\+json">)(.*?)(</script>)', re.DOTALL
)
VIEW = re.compile(
    r'<script type="application/vnd\.jupyter\.widget-view\+json">(.*?)</script>', re.DOTALL
)
# Of models that no page shows, nothing is kept: a layout, for one, which each widget has.
WANTED = "AnyModel"


def trim(page: str) -> str:
    """The page (HTML) with the stills of its widgets in their places, and only its own widgets.

    Raises:
        ValueError: the page shows a widget that is no anywidget, and would stay empty.
    """
    shown = {json.loads(view)["model_id"] for view in VIEW.findall(page)}
    stills: dict[str, str] = {}

    def lighter(found: re.Match[str]) -> str:
        document: dict[str, Any] = json.loads(found[2])
        models = {name: model for name, model in document["state"].items() if name in shown}
        for name, model in models.items():
            if model["model_name"] != WANTED:
                raise ValueError(f"only anywidgets can be drawn, got a {model['model_name']}")
            stills[name] = model["state"].pop("still", "")
        text = json.dumps({**document, "state": models}).replace("</", r"<\/")
        return found[1] + text + found[3]

    def with_still(found: re.Match[str]) -> str:
        return found[0] + stills.pop(json.loads(found[1])["model_id"], "")

    page = STATE.sub(lighter, page)
    return VIEW.sub(with_still, page)


def trim_pages(app: Sphinx, exception: Exception | None) -> None:
    """Trim every page once all are written."""
    if exception is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        try:
            trimmed = trim(page)
        except ValueError as error:
            raise ExtensionError(f"{path.name}: {error}") from error
        if trimmed != page:
            path.write_text(trimmed, encoding="utf-8")


def copy_script(app: Sphinx, exception: Exception | None) -> None:
    """Put the script beside the theme's."""
    if exception is None and app.builder.format == "html":
        text = Path(__file__).with_name(SCRIPT).read_text(encoding="utf-8")
        Path(app.outdir, "_static", SCRIPT).write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension (called by Sphinx)."""
    app.connect("build-finished", copy_script)
    app.connect("build-finished", trim_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
