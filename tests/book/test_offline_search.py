"""What the build changes in Sphinx's search, and the texts that it ships."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import sphinx

THEIRS = Path(sphinx.__file__).parent / "themes" / "basic" / "static" / "searchtools.js"
# What a page has besides: just enough for a search without a page.
AROUND = """
const DOCUMENTATION_OPTIONS = {}, stopwords = ["the"], SPHINX_HIGHLIGHT_ENABLED = false;
const _ready = () => {}, _ = (text) => text, document = { getElementById: () => null };
class Stemmer { stemWord(word) { return word; } }
const SEARCH_TEXTS = { one: [["top", "It scored 906 points."], ["end", "The end."]] };
"""
ASK = """
Search.setIndex({ docnames: ["one"], filenames: ["one.md"], titles: ["One"], terms: { "906": 0 },
  alltitles: {}, indexentries: {}, objects: {}, objnames: {}, titleterms: {} });
const ask = (query) => Search._performSearch(...Search._parseQuery(query)).map(([name]) => name);
console.log(JSON.stringify([ask("906"), ask("constructor"), ask("the"), ask("toString valueOf")]));
"""


@pytest.fixture
def search(extension: Callable[[str], ModuleType]) -> ModuleType:
    return extension("offline_search")


def run(node: str, script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [node, "-"], input=AROUND + script + ASK, capture_output=True, encoding="utf-8"
    )


def test_numbers_are_found_and_properties_of_javascript_are_not(
    search: ModuleType, node: str
) -> None:
    theirs = THEIRS.read_text(encoding="utf-8")
    ours = run(node, search.mended(theirs))
    assert ours.stdout == '[["one"],[],[],[]]\n', ours.stderr
    assert "TypeError" in run(node, theirs).stderr  # else no mending would be needed


def test_another_script_is_refused(search: ModuleType) -> None:
    with pytest.raises(ValueError, match="no longer says 'if \\('"):
        search.mended("")


def test_the_text_of_a_section_is_its_own(search: ModuleType) -> None:
    page = (
        "<nav>Menu</nav><article class='bd-article' role='main'><section id='a'><h1>A title"
        "<a class='headerlink' href='#a'>#</a></h1><p>Some\n words<script>no()</script></p>"
        "<section id='b'><h2>More</h2><p>and <b>more</b></p></section></section></article>"
    )
    assert search.texts(page) == [("a", "A title Some words"), ("b", "More and more")]
    assert search.texts("<p>no article</p>") == []
