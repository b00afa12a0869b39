"""The built book as one PDF: `make pdf`, after `make book`.

Chromium prints each page, in light, from the disk and without a network; the pages are joined in
the order of the contents, with an outline of their headings' pages.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from html import escape
from pathlib import Path

import yaml
from playwright.sync_api import Browser, Route, sync_playwright
from pypdf import PdfReader, PdfWriter

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FOOTER = """
<div style="width: 100%; font: 8px sans-serif; color: #555; text-align: center">
  {title} · <span class="pageNumber"></span>
</div>
"""
READY = """
async () => {
  document.documentElement.dataset.theme = "light";
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  for (const image of document.images) image.loading = "eager";
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
}
"""


def order(contents: object) -> list[str]:
    """The pages of a table of contents (`_toc.yml`), in their order."""
    if isinstance(contents, list):
        return [name for each in contents for name in order(each)]
    if not isinstance(contents, dict):
        return []
    own = [str(contents[key]) for key in ("root", "file") if key in contents]
    parts = [order(contents.get(key)) for key in ("parts", "chapters", "sections")]
    return own + [name for part in parts for name in part]


def printed(browser: Browser, page: Path) -> tuple[str, bytes]:
    """The title of a page, and the page as a PDF.

    Raises:
        FileNotFoundError: it has not been built.
    """
    if not page.exists():
        raise FileNotFoundError(f"{page} is not there; run make book")

    def from_disk_only(route: Route) -> None:
        local = route.request.url.startswith(("file:", "data:", "blob:"))
        route.continue_() if local else route.abort()

    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme="light", reduced_motion="reduce"
    )
    try:
        context.route("**/*", from_disk_only)
        tab = context.new_page()
        tab.goto(page.as_uri(), wait_until="load")
        views = tab.locator("script[type='application/vnd.jupyter.widget-view+json']").count()
        tab.wait_for_function(
            f"document.querySelectorAll('.wm-demo canvas, .wm-demo svg').length >= {views}",
            timeout=120_000,
        )
        tab.evaluate(READY)
        title = tab.locator("article h1").first.inner_text().strip("# \n")
        tab.emulate_media(media="print", color_scheme="light")
        data = tab.pdf(
            format="A4", print_background=True, prefer_css_page_size=True, outline=True,
            tagged=True, display_header_footer=True, header_template="<span></span>",
            footer_template=FOOTER.format(title=escape(title)),
        )  # fmt: skip
    finally:
        context.close()
    return title, data


def joined(parts: list[tuple[str, bytes]], title: str) -> bytes:
    """PDFs one behind the other, each with its title in the outline."""
    writer = PdfWriter()
    for name, data in parts:
        writer.append(PdfReader(io.BytesIO(data)), outline_item=name, import_outline=False)
    writer.add_metadata({"/Title": title})
    writer.compress_identical_objects()
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path, help="the built book")
    parser.add_argument("target", type=Path, help="the PDF to write")
    given = parser.parse_args()
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        sys.exit("pdf: Chromium prints the pages, and is not installed")
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    title = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["title"]
    site = given.site.resolve()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        try:
            parts = [printed(browser, site / f"{name}.html") for name in order(contents)]
        except FileNotFoundError as error:
            sys.exit(f"pdf: {error}")
        finally:
            browser.close()
    given.target.parent.mkdir(parents=True, exist_ok=True)
    given.target.write_bytes(joined(parts, title))
    print(f"The book lies in {given.target}: {given.target.stat().st_size / 1e6:.1f} MB.")


if __name__ == "__main__":
    main()
