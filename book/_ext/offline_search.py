"""Sphinx extension: a search that works in a book opened from the disk.

Sphinx's own fetches each page that it found, for an excerpt: a browser allows no page from the disk
to do so. It leaves out of a query whatever is a number, such as 906. And a word that JavaScript
knows a property by, such as "constructor", makes it stop with an error. Here the texts of all pages
are written into a script of their own, and three places of Sphinx's script are changed.
"""

import json
import re
from pathlib import Path

from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

TEXTS = "searchtexts.js"
UNSEEN = "script, style, .headerlink, .toc-backref, .wm-still"
CHANGES = (
    (  # A number is a word.
        """if (
        stopwords.indexOf(queryTermLower) !== -1 ||
        queryTerm.match(/^\\d+$/)
      )""",
        "if (stopwords.indexOf(queryTermLower) !== -1)",
    ),
    (  # What the index does not hold, it does not hold.
        """{ files: terms[word], score: Scorer.term },
        { files: titleTerms[word], score: Scorer.title },""",
        """{ files: Object.hasOwn(terms, word) ? terms[word] : undefined, score: Scorer.term },
        {
          files: Object.hasOwn(titleTerms, word) ? titleTerms[word] : undefined,
          score: Scorer.title,
        },""",
    ),
    (  # An excerpt is at hand.
        """else if (showSearchSummary)
    fetch(requestUrl)
      .then((responseData) => responseData.text())
      .then((data) => {
        if (data)
          listItem.appendChild(
            Search.makeSearchSummary(data, searchTerms, anchor)
          );
        // highlight search terms in the summary
        if (SPHINX_HIGHLIGHT_ENABLED)  // set in sphinx_highlight.js
          highlightTerms.forEach((term) => _highlightText(listItem, term, "highlighted"));
      });""",
        """else if (showSearchSummary) {
    const summary = Search.makeSearchSummary(docName, searchTerms, anchor);
    if (summary) listItem.appendChild(summary);
    if (SPHINX_HIGHLIGHT_ENABLED)  // set in sphinx_highlight.js
      highlightTerms.forEach((term) => _highlightText(listItem, term, "highlighted"));
  }""",
    ),
    (
        "const text = Search.htmlToText(htmlText, anchor);",
        """const sections = SEARCH_TEXTS[htmlText] ?? [];
    const named = sections.filter(([id]) => `#${id}` === anchor);
    const text = (named.length ? named : sections).map(([, words]) => words).join(" ");""",
    ),
)


def mended(script: str) -> str:
    """Sphinx's script with those changes.

    Raises:
        ValueError: it is another script than the one that they are for.
    """
    for before, after in CHANGES:
        if script.count(before) != 1:
            raise ValueError(f"Sphinx's search no longer says {before.splitlines()[0]!r} once")
        script = script.replace(before, after)
    return script


def texts(page: str) -> list[tuple[str, str]]:
    """Of each section of a page (HTML): its name, and its text without that of those inside it."""
    article = BeautifulSoup(page, "html.parser").select_one("article[role=main], .bd-article")
    if article is None:
        return []
    for element in article.select(UNSEEN):
        element.decompose()
    found = []
    for section in reversed(article.select("section[id]")):  # the inner ones first
        section.extract()
        found.append((str(section["id"]), re.sub(r"\s+", " ", section.get_text(" ")).strip()))
    return found[::-1]


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write the texts, and mend the script."""
    if exception is not None or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    pages = {
        name: texts(Path(app.builder.get_outfilename(name)).read_text(encoding="utf-8"))
        for name in sorted(app.env.all_docs)
    }
    content = json.dumps(pages, ensure_ascii=False, separators=(",", ":"))
    (static / TEXTS).write_text(f"const SEARCH_TEXTS = {content};\n", encoding="utf-8")
    script = static / "searchtools.js"
    text = script.read_text(encoding="utf-8")
    if "SEARCH_TEXTS" in text:
        return  # an earlier build's
    try:
        script.write_text(mended(text), encoding="utf-8")
    except ValueError as error:
        raise ExtensionError(str(error)) from error


def add_texts(app: Sphinx, pagename: str, *_: object) -> None:
    """Let the page of the search load the texts, and no other."""
    if pagename == "search":
        app.add_js_file(TEXTS)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension (called by Sphinx)."""
    app.connect("html-page-context", add_texts)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
