"""The search of the built book, from the disk."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.site
DONE = "document.querySelector('.search-summary')?.textContent"


def asked(page: Page, site: Path, words: str) -> list[str]:
    """The pages that are found, each with what is shown of it."""
    page.goto((site / "search.html").as_uri() + f"?q={words}")
    page.wait_for_function(DONE)
    return page.locator("#search-results ul.search > li").all_inner_texts()


@pytest.fixture
def page(browser: Browser) -> Any:
    page = browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: line.type == "error" and wrong.append(line.text))
    yield page
    page.close()
    assert wrong == []


def test_a_number_is_found_with_excerpts(page: Page, site: Path) -> None:
    found = asked(page, site, "906")
    assert found and all("906" in one for one in found)


def test_a_word_is_found_with_excerpts(page: Page, site: Path) -> None:
    found = asked(page, site, "reparameterisation")
    assert found and all(len(one) > 100 for one in found)


@pytest.mark.parametrize("word", ["constructor", "toString", "__proto__", "hasOwnProperty"])
def test_words_that_javascript_knows_raise_nothing(page: Page, site: Path, word: str) -> None:
    asked(page, site, word)
