"""Sphinx extension: the first time that a page uses a word of the glossary, it links to it.

The glossary is ``book/glossary.md``. Words in headings, links, code, equations and tables stay as
they are, and so do those of `COMMON`, which mean something else as often: a page that means the
glossary's says so with {term}.
"""

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

PAGE = "book/glossary"
COMMON = frozenset({"action", "cost", "episode", "price", "return", "reward", "state", "value"})
CLOSED = (nodes.title, nodes.reference, nodes.literal, nodes.math, nodes.table, nodes.caption,
          nodes.citation, nodes.figure, nodes.term, nodes.raw)  # fmt: skip


def words(app: Sphinx) -> dict[str, tuple[str, str]]:
    """Each word of the glossary in small letters: how it is written there, and its anchor."""
    domain = app.env.get_domain("std")
    return {
        text.lower(): (text, anchor)
        for text, _, kind, page, anchor, _ in domain.get_objects()
        if kind == "term" and page == PAGE and text.lower() not in COMMON
    }


def pattern(known: Any) -> re.Pattern[str]:
    """Any of the words, the longest first, alone or in the plural."""
    longest = sorted(known, key=len, reverse=True)
    return re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, longest))})s?(?![\w-])", re.IGNORECASE)


def open_texts(tree: nodes.document) -> Iterator[nodes.Text]:
    """The texts of paragraphs in which a word may become a link."""
    for text in list(tree.findall(nodes.Text)):
        above, inside = text.parent, False
        while above is not None and not isinstance(above, CLOSED):
            inside = inside or isinstance(above, nodes.paragraph)
            above = above.parent
        if above is None and inside:
            yield text


def link(app: Sphinx, tree: nodes.document, name: str) -> None:
    """Link the first of each word in a page."""
    if name == PAGE or app.builder.format != "html" or not (known := words(app)):
        return
    find, seen = pattern(known), set()
    for text in open_texts(tree):
        parts: list[nodes.Node] = []
        rest = 0
        for found in find.finditer(text.astext()):
            word, anchor = known[found[1].lower()]
            if word in seen:
                continue
            seen.add(word)
            target = app.builder.get_relative_uri(name, PAGE) + f"#{anchor}"
            made = nodes.reference("", found[0], internal=True, refuri=target, classes=["wm-term"])
            parts += [nodes.Text(text.astext()[rest : found.start()]), made]
            rest = found.end()
        if parts:
            text.parent.replace(text, [*parts, nodes.Text(text.astext()[rest:])])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension (called by Sphinx)."""
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
