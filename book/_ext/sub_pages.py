"""Sphinx extension: the pages of a chapter are numbered after it, 5a, 6a, 6b.

Sphinx numbers a chapter 5, and its pages 5.1 or not at all. Their exercises count on from the
chapter's (5.3), and so would meet the page's own number; their files are named with letters. So a
page's title, wherever it is shown, begins with its chapter's number and a letter.
"""

from string import ascii_lowercase
from typing import Any

from docutils.nodes import reference
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def number(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Give each such page its number, after Sphinx has given the chapters theirs."""
    for chapter in env.toctree_includes.get(env.config.root_doc, []):
        of_chapter = env.toc_secnumbers.get(chapter, {}).get("")
        if not of_chapter:
            continue
        below = env.toctree_includes.get(chapter, [])
        for page, letter in zip(below, ascii_lowercase, strict=False):
            own: Any = (".".join(map(str, of_chapter)) + letter,)  # Sphinx joins such parts by dots
            title, *others = env.tocs[page].findall(reference)
            env.titles[page]["secnumber"] = title["secnumber"] = own
            # A heading without an entry of its own would get the title's.
            none: Any = {heading["anchorname"]: None for heading in others}
            env.toc_secnumbers[page] = {title["anchorname"]: own, **none}
    return []


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension (called by Sphinx)."""
    app.connect("env-get-updated", number, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
