"""Every page of the built book, opened from the disk in a browser without a network."""

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.site
WIDTHS = (320, 768, 1280)  # CSS pixels: a small phone, a tablet, a laptop

# The contrast of each visible piece of text in the article with what lies behind it (WCAG 2.2).
LOW_CONTRAST = """
() => {
  const parse = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return {rgb: [r, g, b], a};
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      layers.push(colour);
      if (colour.a === 1) break;
    }
    return layers.reverse().reduce(
      (under, {rgb, a}) => rgb.map((v, i) => a * v + (1 - a) * under[i]), [255, 255, 255]);
  };
  const low = [];
  for (const element of document.querySelectorAll('article *')) {
    const text = [...element.childNodes]
      .filter((n) => n.nodeType === Node.TEXT_NODE).map((n) => n.data.trim()).join('');
    if (!text || !element.checkVisibility() || element.closest('svg, mjx-container, .headerlink')) {
      continue;
    }
    const style = getComputedStyle(element);
    const back = behind(element);
    const {rgb, a} = parse(style.color);
    const front = rgb.map((v, i) => a * v + (1 - a) * back[i]);
    const [dark, light] = [luminance(front), luminance(back)].sort((x, y) => x - y);
    const ratio = (light + 0.05) / (dark + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) {
      low.push(`${ratio.toFixed(2)}: <${element.localName} class="${element.className}"> ${text}`);
    }
  }
  return low;
}
"""


def test_page_needs_no_network_and_raises_no_error(looks: Any, site: Path, page_name: str) -> None:
    it = looks(site / page_name)
    it.page.evaluate("window.scrollTo(0, document.body.scrollHeight)")  # lazy loading, if any
    it.page.wait_for_timeout(500)
    it.page.wait_for_load_state("networkidle")
    assert it.remote == []
    assert it.errors == []


def test_equations_are_drawn(look: Any, site: Path, page_name: str) -> None:
    page = look(site / page_name).page
    equations = page.locator(".math").count()
    assert page.locator("mjx-container svg").count() >= equations
    assert page.locator("mjx-container mjx-assistive-mml").count() >= equations
    assert page.locator("[data-mml-node='merror'], mjx-merror").all_inner_texts() == []


def test_some_page_has_equations(look: Any, site: Path) -> None:
    assert look(site / "book" / "notation.html").page.locator("mjx-container svg").count() > 10


@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_no_wider_than_the_screen(
    look: Any, site: Path, page_name: str, width: int
) -> None:
    page = look(site / page_name, width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.body.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(
    look: Any, site: Path, page_name: str, scheme: str
) -> None:
    page = look(site / page_name, scheme=scheme).page
    assert page.locator("html").get_attribute("data-theme") == scheme
    assert page.evaluate(LOW_CONTRAST) == []


def test_a_look_sees_a_remote_script_and_an_error(looks: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(
        "<script>const a = 1</script><script>const a = 2</script>"
        "<script src='https://example.org/x.js'></script>",
        encoding="utf-8",
    )
    it = looks(path)
    assert it.remote == ["https://example.org/x.js"]
    assert any("already been declared" in error for error in it.errors)
