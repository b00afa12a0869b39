"""Every link, picture, script and style sheet of the built book stands inside the book."""

from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.site
# Attributes that make a browser load something at once, as opposed to a link that one may follow.
LOADED = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src")}


@dataclass
class Page(HTMLParser):
    """What a page names, and what it points to."""

    path: Path
    anchors: set[str] = field(default_factory=set)
    targets: list[tuple[str, str, str]] = field(default_factory=list)  # tag, attribute, value
    images: list[dict[str, str | None]] = field(default_factory=list)
    language: str | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := named.get(key))}
        for key in ("href", "src"):
            if value := named.get(key):
                self.targets.append((tag, key, value))
        if tag == "meta" and (named.get("http-equiv") or "").lower() == "refresh":
            self.targets.append((tag, "content", (named["content"] or "").split("url=")[-1]))
        if tag == "img":
            self.images.append(named)
        if tag == "html":
            self.language = named.get("lang")


@cache
def read(path: Path) -> Page:
    return Page(path)


def broken(page: Page) -> list[str]:
    """Return what is wrong with each target of `page`."""
    wrong = []
    for tag, key, value in page.targets:
        url = urlsplit(value)
        if url.scheme in ("data", "mailto"):
            continue
        if url.scheme or url.netloc:
            if (tag, key) in LOADED:
                wrong.append(f"<{tag} {key}> loads {value} from another host")
            continue
        target = (page.path.parent / unquote(url.path)).resolve() if url.path else page.path
        if not target.is_file():
            wrong.append(f"<{tag} {key}> points to {value}, which is not there")
        elif url.fragment and target.suffix == ".html":
            if unquote(url.fragment) not in read(target).anchors:
                wrong.append(f"<{tag} {key}> points to {value}, which has no such anchor")
    return wrong


def test_links_and_anchors_resolve(site: Path, page_name: str) -> None:
    assert broken(read(site / page_name)) == []


def test_pictures_have_alt_text(site: Path, page_name: str) -> None:
    # Sphinx writes the file's own name where no text was given.
    missing = [
        image["src"]
        for image in read(site / page_name).images
        if not (alt := image.get("alt")) or alt == image["src"] or alt.endswith((".png", ".svg"))
    ]
    assert missing == []


def test_page_names_its_language(site: Path, page_name: str) -> None:
    assert read(site / page_name).language == "en"


def test_the_root_leads_to_the_first_page(site: Path) -> None:
    root = read(site / "index.html")
    assert broken(root) == []
    assert [value for tag, _, value in root.targets if tag == "meta"] == ["book/index.html"]


def test_the_checker_sees_what_is_broken(tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text("<p id=here></p>", encoding="utf-8")
    page = tmp_path / "page.html"
    page.write_text(
        "<a href='other.html#here'></a><a href='other.html#gone'></a><a href='gone.html'></a>"
        "<a href='https://example.org'></a><script src='https://example.org/x.js'></script>"
        "<a href='#gone'></a>",
        encoding="utf-8",
    )
    assert len(broken(Page(page))) == 4
