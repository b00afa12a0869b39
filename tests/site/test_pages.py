"""A page's weight, share of code, print and barriers, and what it is without JavaScript."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

pytestmark = pytest.mark.site
AXE = Path(__file__).parents[2] / "book" / "_vendor" / "tests" / "axe.min.js"
LOAD = 6_000_000  # bytes of a page and of all that it asks for
HEAVIER = {"book/07e-diamond.html": 8_000_000}  # it carries a denoiser, and V and M beside it
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
    const picture = element.closest("svg, img, canvas, .wm-screen, .wm-fill");
    if (!element.checkVisibility() || picture) continue;
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
# Tables wider than the screen whose first column goes out of sight, or whose edge has no shadow:
# the table's own, which its rows let through.
ROWS_WITHOUT_NAMES = """
() => [...document.querySelectorAll("article table:not(.dataframe)")].filter((table) => {
  if (table.scrollWidth <= table.clientWidth) return false;
  table.scrollLeft = 1e4;
  const left = (element) => element.getBoundingClientRect().left;
  const still = [...table.rows].every((row) => Math.abs(left(row.cells[0]) - left(table)) < 2);
  table.scrollLeft = 0;
  const shadow = getComputedStyle(table).backgroundAttachment.includes("scroll");
  const clear = [...table.rows].every((row) => {
    const alpha = getComputedStyle(row).backgroundColor.match(/[\\d.]+/g)[3] ?? 1;
    return alpha < 0.5;
  });
  return !(still && shadow && clear);
}).map((table) => table.innerText.slice(0, 60))
"""
UNFOLD = "document.querySelectorAll('.wm-demo details').forEach((each) => { each.open = true; })"
# (preload would ask for the style sheets once more, which a page on the disk may not.)
SERIOUS = """
async (scheme) => {
  document.documentElement.dataset.theme = scheme;
  await new Promise((go) => setTimeout(go, 500));  // colours fade into one another
  const { violations } = await axe.run(
    document, { resultTypes: ["violations"], preload: false, selectors: false });
  return violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => [id, nodes.slice(0, 3).map(({ html }) => html.slice(0, 120))]);
}
"""


def is_chapter(name: str) -> bool:
    return Path(name).name[:2].isdigit()


def test_a_page_weighs_little(look: Any, site: Path, page_name: str) -> None:
    it = look(site / page_name)
    it.page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    it.page.wait_for_load_state("networkidle")
    sizes = {path: path.stat().st_size for path in it.files if path.is_file()}
    assert len(sizes) > 5
    load = HEAVIER.get(page_name, LOAD)
    assert sum(sizes.values()) <= load, sorted(sizes.items(), key=lambda item: -item[1])[:8]


def test_open_code_is_a_quarter_at_most(look: Any, site: Path, page_name: str) -> None:
    if not is_chapter(page_name):
        return
    page = look(site / page_name).page
    share, wide = page.evaluate(OPEN_CODE), page.evaluate(TOO_WIDE)
    assert wide == []
    assert 0 < share <= SHARE


def test_a_wide_table_keeps_the_names_of_its_rows_and_shows_its_edge(
    look: Any, site: Path, page_name: str
) -> None:
    assert look(site / page_name, 320).page.evaluate(ROWS_WITHOUT_NAMES) == []


def test_paper_is_white_whatever_the_screen(look: Any, site: Path, page_name: str) -> None:
    page = look(site / page_name, scheme="dark").page
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.emulate_media(media="print")
    wrong = page.evaluate(UNPRINTABLE)
    page.emulate_media(media="null")  # the screen again
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


@pytest.mark.parametrize("width", [320, 1280])
def test_no_serious_barrier(look: Any, site: Path, page_name: str, width: int) -> None:
    """What axe-core finds, in both schemes, with each demo's lists unfolded."""
    it = look(site / page_name, width)
    it.changed = True
    it.page.evaluate(UNFOLD)
    it.page.add_script_tag(path=AXE)
    assert {scheme: it.page.evaluate(SERIOUS, scheme) for scheme in ("light", "dark")} == {
        "light": [],
        "dark": [],
    }
