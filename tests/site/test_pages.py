"""What a page weighs, how much of it is code, how it prints, and what it is without JavaScript."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser

pytestmark = pytest.mark.site
LOAD = 6_000_000  # bytes of a page and of all that it asks for
SHARE = 0.25  # of a chapter's height at 1280 px that open code may take

OPEN_CODE = """
() => {
  const shown = [...document.querySelectorAll("article .cell_input")]
    .filter((cell) => cell.checkVisibility() && !cell.closest("details:not([open])"));
  const height = (element) => element.getBoundingClientRect().height;
  return shown.reduce((sum, cell) => sum + height(cell), 0)
    / height(document.querySelector("article"));
}
"""
TOO_WIDE = """
() => [...document.querySelectorAll("article .cell_input pre")]
  .filter((pre) => pre.checkVisibility() && pre.scrollWidth > pre.clientWidth)
  .map((pre) => [pre.scrollWidth - pre.clientWidth, pre.textContent.slice(0, 60)])
"""
# Text on paper, darker than a mid grey; what lies behind it, lighter than a light one.
UNPRINTABLE = """
() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const grey = ([r, g, b]) => 0.299 * r + 0.587 * g + 0.114 * b;
  const wrong = [];
  for (const element of document.querySelectorAll("article *")) {
    if (!element.checkVisibility() || element.closest("svg, .wm-demo, img")) continue;
    const style = getComputedStyle(element);
    const behind = parts(style.backgroundColor);
    const text = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    const pale = text && grey(parts(style.color)) > 140;
    if (((behind[3] ?? 1) > 0.5 && grey(behind) < 200) || pale) {
      wrong.push(`${style.color} on ${style.backgroundColor}: ${element.outerHTML.slice(0, 80)}`);
    }
  }
  return wrong;
}
"""


def is_chapter(name: str) -> bool:
    return Path(name).name[:2].isdigit()


def test_a_page_weighs_little(browser: Browser, site: Path, page_name: str) -> None:
    page, files = browser.new_page(), set()
    page.on("request", lambda request: files.add(unquote(urlsplit(request.url).path)))
    page.goto((site / page_name).as_uri(), wait_until="load")
    page.evaluate("async () => { await window.MathJax?.startup?.promise; }")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_load_state("networkidle")
    page.close()
    sizes = {path: Path(path).stat().st_size for path in files if Path(path).is_file()}
    assert len(sizes) > 5
    assert sum(sizes.values()) <= LOAD, sorted(sizes.items(), key=lambda item: -item[1])[:8]


def test_open_code_is_a_quarter_at_most(browser: Browser, site: Path, page_name: str) -> None:
    if not is_chapter(page_name):
        return
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((site / page_name).as_uri(), wait_until="load")
    page.evaluate("async () => { await window.MathJax?.startup?.promise; }")
    share, wide = page.evaluate(OPEN_CODE), page.evaluate(TOO_WIDE)
    page.close()
    assert wide == []
    assert 0 < share <= SHARE


def test_paper_is_white_whatever_the_screen(browser: Browser, site: Path, page_name: str) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto((site / page_name).as_uri(), wait_until="load")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.emulate_media(media="print")
    wrong = page.evaluate(UNPRINTABLE)
    page.close()
    assert wrong == []


def test_a_demo_is_a_picture_and_a_sentence_without_scripts(
    browser: Browser, site: Path, page_name: str
) -> None:
    text = (site / page_name).read_text(encoding="utf-8")
    views = text.count('type="application/vnd.jupyter.widget-view+json"')
    page: Any = browser.new_page(java_script_enabled=False, color_scheme="dark")
    page.goto((site / page_name).as_uri(), wait_until="load")
    stills = page.locator(".wm-still")
    assert stills.count() == views
    for still in stills.all():
        assert still.locator("img, svg").first.bounding_box()["height"] > 50
        assert "JavaScript" in still.inner_text()
    page.close()


def test_a_figure_keeps_its_colours_in_the_dark_theme(browser: Browser, site: Path) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto((site / "book" / "06-reality.html").as_uri(), wait_until="load")
    looks = page.evaluate("""
        [...document.querySelectorAll("article .cell_output img")].map((image) => {
          const { filter, backgroundColor } = getComputedStyle(image);
          return [filter, backgroundColor];
        })
    """)
    page.close()
    assert len(looks) > 3
    assert {json.dumps(look) for look in looks} == {'["none", "rgb(255, 255, 255)"]'}


def test_words_of_the_glossary_open(browser: Browser, site: Path) -> None:
    page = browser.new_page()
    page.goto((site / "book" / "index.html").as_uri(), wait_until="load")
    words = page.locator("a.wm-term")
    assert words.count() > 3
    words.first.hover()
    page.locator(".tippy-box").wait_for(timeout=5000)
    assert len(page.locator(".tippy-box").inner_text()) > 30
    page.close()
