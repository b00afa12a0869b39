"""The built book as one PDF: `make pdf`, after `make book`.

Chromium prints each page, in light, from the disk and without a network. The pages are joined in
the order of the contents, behind a sheet with the title and the contents. What was a link to
another page leads to its place in the PDF; sheets are numbered through; the outline has the
headings.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import yaml
from playwright.sync_api import Browser, BrowserContext, Route, sync_playwright
from pypdf import PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    Destination,
    DictionaryObject,
    FloatObject,
    NameObject,
    NullObject,
)

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A place in a PDF gets a name when a link of the same page leads to it.
READY = """
async () => {
  document.documentElement.dataset.theme = "light";
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  for (const image of document.images) image.loading = "eager";
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
  for (const { id } of document.querySelectorAll("article [id]")) {
    const link = document.createElement("a");
    link.href = "#" + encodeURIComponent(id);
    link.hidden = true;
    document.body.append(link);
  }
}
"""
SHEET = """
<!doctype html>
<html lang="en">
<style>
  @page {{ size: A4; margin: 0; }}
  * {{ margin: 0; box-sizing: border-box; }}
  body {{ font: 11pt/1.5 system-ui, sans-serif; }}
  section {{ height: 296.9mm; padding: 16mm 15mm 0; position: relative; break-after: page; }}
  h1 {{ font-size: 30pt; font-weight: 500; margin: 40mm 0 4mm; }}
  ol {{ list-style: none; padding: 0; margin-top: 20mm; }}
  li {{ display: flex; gap: 2em; justify-content: space-between; }}
  li, li a {{ color: #000; text-decoration: none; }}
  footer {{ position: absolute; bottom: 7mm; left: 0; width: 100%; text-align: center; }}
  footer {{ font-size: 7pt; color: #555; }}
</style>
{body}
</html>
"""


class Part(NamedTuple):
    """A page of the book, printed."""

    address: str
    """of the built page, as links to it have it"""
    title: str
    data: bytes

    def sheets(self) -> int:
        return len(PdfReader(io.BytesIO(self.data)).pages)


def order(contents: object) -> list[str]:
    """The pages of a table of contents (`_toc.yml`), in their order."""
    if isinstance(contents, list):
        return [name for each in contents for name in order(each)]
    if not isinstance(contents, dict):
        return []
    own = [str(contents[key]) for key in ("root", "file") if key in contents]
    parts = [order(contents.get(key)) for key in ("parts", "chapters", "sections")]
    return own + [name for part in parts for name in part]


def light(browser: Browser) -> BrowserContext:
    """Tabs on a light screen, which ask for nothing but files."""

    def from_disk_only(route: Route) -> None:
        local = route.request.url.startswith(("file:", "data:", "blob:"))
        route.continue_() if local else route.abort()

    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme="light", reduced_motion="reduce"
    )
    context.route("**/*", from_disk_only)
    return context


def printed(browser: Browser, page: Path) -> Part:
    """A page as a PDF.

    Raises:
        FileNotFoundError: it has not been built.
    """
    if not page.exists():
        raise FileNotFoundError(f"{page} is not there; run make book")
    with light(browser) as context:
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
            format="A4", print_background=True, prefer_css_page_size=True, outline=True, tagged=True
        )
    return Part(page.as_uri(), title, data)


def drawn(browser: Browser, sections: list[str]) -> bytes:
    """Sheets of our own, from the HTML of each, as a PDF."""
    with light(browser) as context:
        tab = context.new_page()
        tab.set_content(SHEET.format(body="".join(f"<section>{one}</section>" for one in sections)))
        return tab.pdf(prefer_css_page_size=True)


def cover(title: str, below: str, parts: list[Part]) -> str:
    """The first sheet (HTML): what the book is called, and on which sheet each page begins."""
    lines, number = [], 2
    for part in parts:
        link = f'<a href="{escape(part.address)}">{escape(part.title)}</a>'
        lines.append(f"<li>{link}<span>{number}</span></li>")
        number += part.sheets()
    return f"<h1>{escape(title)}</h1><p>{escape(below)}</p><ol>{''.join(lines)}</ol>"


def footers(parts: list[Part]) -> list[str]:
    """The line at the bottom of each sheet (HTML), from the second on."""
    titles = [part.title for part in parts for _ in range(part.sheets())]
    return [f"<footer>{escape(title)} · {n}</footer>" for n, title in enumerate(titles, 2)]


def place(writer: PdfWriter, sheet: int, there: Destination | None = None) -> ArrayObject:
    """A destination: a sheet, at its top or where `there` is on it."""
    edge = FloatObject(there.top) if there and there.top is not None else NullObject()
    return ArrayObject([
        writer.pages[sheet].indirect_reference, NameObject("/XYZ"), NullObject(), edge, NullObject()
    ])  # fmt: skip


def links(writer: PdfWriter, sheet: int) -> Iterator[DictionaryObject]:
    """The links of a sheet."""
    for reference in writer.pages[sheet].get("/Annots") or []:
        note = reference.get_object()
        if note.get("/Subtype") == "/Link":
            yield note


def outline(writer: PdfWriter, reader: PdfReader, start: int, items: list[Any], under: Any) -> None:
    """Add the headings of a part that begins on sheet `start`."""
    last = under
    for item in items:
        if isinstance(item, list):
            outline(writer, reader, start, item, last)
        else:
            number = reader.get_destination_page_number(item)
            last = writer.add_outline_item(
                title=item.title, page_number=start + number, parent=under
            )


def joined(front: bytes, parts: list[Part], title: str, lines: bytes | None = None) -> bytes:
    """PDFs one behind the other; `lines` has what is laid over each sheet but the first."""
    writer = PdfWriter()
    writer.append(io.BytesIO(front))
    places: dict[tuple[str, str], ArrayObject] = {}
    owners = [""] * len(writer.pages)  # of each sheet: the page that it belongs to
    for part in parts:
        reader, start = PdfReader(io.BytesIO(part.data)), len(writer.pages)
        writer.append(reader, import_outline=False)
        owners += [part.address] * len(reader.pages)
        places[part.address, ""] = place(writer, start)
        for name, there in reader.named_destinations.items():
            number = reader.get_destination_page_number(there)
            if number is not None:
                name = unquote(name.removeprefix("/"))
                places[part.address, name] = place(writer, start + number, there)
        headings = reader.outline
        if len(headings) == 2 and isinstance(headings[1], list):  # the title, and what is under it
            headings = headings[1]
        title_line = writer.add_outline_item(title=part.title, page_number=start)
        outline(writer, reader, start, headings, title_line)
    for sheet, owner in enumerate(owners):
        for note in links(writer, sheet):
            # Names are a part's own, and would meet those of other parts: all become places.
            address = owner + "#" + str(note["/Dest"]).removeprefix("/") if "/Dest" in note else ""
            address = address or str(note.get("/A", {}).get("/URI", ""))
            if not address.startswith("file:"):
                continue
            target, _, name = address.partition("#")
            there = places.get((target, unquote(name))) or places.get((target, ""))
            note.pop("/A", None)
            note.pop("/Dest", None)
            if there is not None:
                note[NameObject("/Dest")] = there
    if lines is not None:
        below = PdfReader(io.BytesIO(lines)).pages
        for page, line in zip(list(writer.pages)[1:], below, strict=True):
            page.merge_page(line)
            page.compress_content_streams()
    writer.root_object.pop("/Names", None)
    writer.root_object.pop("/Dests", None)
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
    book = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    below = f"Version {project['version']}, by {book['author']}"
    site = given.site.resolve()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        try:
            parts = [printed(browser, site / f"{name}.html") for name in order(contents)]
            front = drawn(browser, [cover(book["title"], below, parts)])
            lines = drawn(browser, footers(parts))
        except FileNotFoundError as error:
            sys.exit(f"pdf: {error}")
        finally:
            browser.close()
    given.target.parent.mkdir(parents=True, exist_ok=True)
    given.target.write_bytes(joined(front, parts, book["title"], lines))
    print(f"The book lies in {given.target}: {given.target.stat().st_size / 1e6:.1f} MB.")


if __name__ == "__main__":
    main()
