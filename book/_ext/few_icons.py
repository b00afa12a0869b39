"""Sphinx extension: leave out of the theme's icons those that no page shows.

The theme ships all 1,900 icons of Font Awesome as one script of 1.5 MB, of which a page reads every
byte and shows about twenty pictures. What no page and no script of the theme names is cut out.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

SCRIPT = Path("_static", "scripts", "fontawesome.js")
# An icon: name:[width,height,[other names],"code point","path"].
ICON = r'(?:"[\w-]+"|\w+):\[\d+,\d+,\[[^\]]*\],"[0-9a-f]+","[^"]*"\]'
ICONS = re.compile(rf"\{{{ICON}(?:,{ICON})*\}}")
NAMES = re.compile(r'^"?([\w-]+)"?:\[\d+,\d+,\[([^\]]*)\]')
CLASS = re.compile(r"\bfa-([a-z0-9-]+)")
FEWEST = 1000  # icons that the whole script has, at least


def names(icon: str) -> set[str]:
    """What an icon is called."""
    found = NAMES.match(icon)
    assert found
    return {found[1], *re.findall(r'"([\w-]+)"', found[2])}


def subset(script: str, wanted: set[str]) -> str:
    """The script with the icons of those names alone."""

    def fewer(found: re.Match[str]) -> str:
        return "{" + ",".join(i for i in re.findall(ICON, found[0]) if names(i) & wanted) + "}"

    return ICONS.sub(fewer, script)


def cut(app: Sphinx, exception: Exception | None) -> None:
    """Cut the script of the built book down to what its pages and the theme's scripts name."""
    path = Path(app.outdir, SCRIPT)
    if exception is not None or app.builder.format != "html":
        return
    script = path.read_text(encoding="utf-8")
    mark = "/* of the icons, those that this book shows */"
    if script.startswith(mark):
        return  # an earlier build's; Sphinx copies the theme's files anew when pages change
    if len(re.findall(ICON, script)) < FEWEST:
        raise ExtensionError(f"{SCRIPT} no longer holds its icons as it did")
    text = [page.read_text(encoding="utf-8") for page in Path(app.outdir).rglob("*.html")]
    text += [
        other.read_text(encoding="utf-8")
        for other in Path(app.outdir, "_static").rglob("*.js")
        if other != path
    ]
    wanted = {name for each in text for name in CLASS.findall(each)}
    path.write_text(mark + subset(script, wanted), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension (called by Sphinx)."""
    app.connect("build-finished", cut)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
