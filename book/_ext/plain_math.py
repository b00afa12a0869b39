"""Sphinx extension: equations for readers whose browser runs no scripts.

MathJax draws each equation in the reader's browser. Where scripts do not run, TeX would stand in
the text. So each equation is also written as MathML, which browsers draw by themselves, inside
`<noscript>`: where scripts run, it is no more than text that nobody shows.
"""

import html
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

PACKAGE = "sphinx-mathjax-offline"
INLINE = re.compile(
    r'(<span class="math notranslate nohighlight">)(\\\((.*?)\\\))(</span>)', re.DOTALL
)
DISPLAY = re.compile(
    r'(<div class="math notranslate nohighlight"[^>]*>(?:\s*<span class="eqno">.*?</span>)?\s*)'
    r"(\\\[(.*?)\\\])(\s*</div>)",
    re.DOTALL,
)
HIDE = (
    "<noscript><style>.wm-tex { display: none !important; } div.math { margin: 1em 0; } "
    "div.math > noscript { flex: 1; min-width: 0; overflow-x: auto; }</style></noscript>"
)
Equation = tuple[str, bool]  # TeX, and whether it stands on a line of its own


def equations(page: str) -> set[Equation]:
    """The equations of a page (HTML)."""
    return {
        (html.unescape(found[3]).strip(), display)
        for find, display in ((INLINE, False), (DISPLAY, True))
        for found in find.finditer(page)
    }


def plain(page: str, known: dict[Equation, str]) -> str:
    """The page with the MathML of its equations beside them."""

    def both(found: re.Match[str], display: bool) -> str:
        mathml = known[html.unescape(found[3]).strip(), display]
        tex = f'<span class="wm-tex">{found[2]}</span>'
        return f"{found[1]}{tex}<noscript>{mathml}</noscript>{found[4]}"

    changed = INLINE.sub(lambda found: both(found, False), page)
    changed = DISPLAY.sub(lambda found: both(found, True), changed)
    return changed if changed == page else changed.replace("</head>", f"{HIDE}</head>", 1)


def mathml(todo: list[Equation]) -> dict[Equation, str]:
    """The MathML of each, as MathJax makes it in Node.

    Raises:
        RuntimeError: it could not.
    """
    node = Path(sys.executable).with_name("node")
    program = str(node) if node.exists() else shutil.which("node")
    if program is None:
        raise RuntimeError("Node, which writes equations as MathML, is not there: run make setup")
    folder = distribution(PACKAGE).locate_file(f"{PACKAGE}/static/mathjax")
    script = Path(__file__).with_suffix(".js")
    result = subprocess.run(
        [program, str(script), str(folder)], input=json.dumps(todo), capture_output=True,
        encoding="utf-8",
    )  # fmt: skip
    if result.returncode:
        raise RuntimeError(f"equations as MathML: {result.stderr.strip()}")
    found = [re.sub(r">\s+<", "><", text) for text in json.loads(result.stdout)]
    return dict(zip(todo, found, strict=True))


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write the MathML into every page that has equations, once all are written."""
    if exception is not None or app.builder.format != "html":
        return
    pages = {
        path: path.read_text(encoding="utf-8") for path in sorted(Path(app.outdir).rglob("*.html"))
    }
    todo = sorted({each for page in pages.values() for each in equations(page)})
    if not todo:
        return
    try:
        known = mathml(todo)
    except RuntimeError as error:
        raise ExtensionError(str(error)) from error
    for path, page in pages.items():
        if (changed := plain(page, known)) != page:
            path.write_text(changed, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension (called by Sphinx)."""
    app.connect("build-finished", write, priority=900)  # after the texts of the search
    return {"parallel_read_safe": True, "parallel_write_safe": True}
