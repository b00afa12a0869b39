"""The built book, and its pages in a browser without a network."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route
from xdist.scheduler import LoadScopeScheduling

BUILD = Path(__file__).parents[2] / "_build"
Scheme = Literal["light", "dark"]
VIEWS = "script[type='application/vnd.jupyter.widget-view+json']"
# Each demo is drawn, by scripts of the book's own.
DRAWN = f"""
(() => {{
  const views = document.querySelectorAll("{VIEWS}").length;
  return document.querySelectorAll(".wm-demo").length === views
    && (!views || document.querySelectorAll(".wm-demo :is(button, input)").length > 0);
}})()
"""


def pages() -> list[str]:
    """Return the built pages, as paths relative to the site's root (whose index only redirects)."""
    html = BUILD / "html"
    found = (path.relative_to(html) for path in html.rglob("*.html"))
    names = sorted(path.as_posix() for path in found if not path.parts[0].startswith("_"))
    return [name for name in names if name != "index.html"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `page_name` once for each built page."""
    if "page_name" in metafunc.fixturenames:
        metafunc.parametrize("page_name", pages())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with JupyterLab, which takes longest; put the tests of a page one after the other."""

    def turn(item: pytest.Item) -> tuple[bool, str]:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        page = parameters.get("page_name")
        # Without a built book there are no pages, and pytest's mark of that is no name.
        return item.path.name != "test_jupyterlab.py", page if isinstance(page, str) else ""

    items.sort(key=turn)


class Groups(LoadScopeScheduling):
    """All tests of a page are one worker's, which loads it once; so are those of JupyterLab.

    (xdist_group does this by name, but not under pytest 9.2: pytest-xdist's issue 1386.)
    """

    def _split_scope(self, nodeid: str) -> str:
        if "test_jupyterlab.py" in nodeid:
            return "jupyterlab"
        page = re.search(r"\[(.+\.html)", nodeid)
        return page[1] if page else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups | None:
    return Groups(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.fixture(scope="session")
def site() -> Path:
    """The root of the built site."""
    html = BUILD / "html"
    if not (html / "book" / "index.html").exists():
        pytest.fail(f"no built book in {html}; run `make book` first")
    return html


@dataclass
class Look:
    """A page as a reader sees it, what it asked for, here and elsewhere, and its complaints."""

    context: BrowserContext
    page: Page
    files: set[Path] = field(default_factory=set)
    remote: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    changed: bool = False  # by a test: it is no longer what a reader sees first


class Looks:
    """Looks at one page, at one width and in one scheme each.

    A look stays open until another page's turn comes: to load a page takes seconds, to measure
    something in it much less. A test leaves a look as it was, or says that it is `changed`; the
    next test then has the page loaded anew.
    """

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.path: Path | None = None
        self.open: dict[tuple[int, Scheme], Look] = {}

    def __call__(self, path: Path, width: int = 1280, scheme: Scheme = "light") -> Look:
        """Look at the file at `path`; it may load from the disk and from nowhere else."""
        if path != self.path:
            self.close()
            self.path = path
        at = width, scheme
        if at in self.open and self.open[at].changed:
            self.open.pop(at).context.close()
        if at not in self.open:
            self.open[at] = self.load(path, width, scheme)
        return self.open[at]

    def load(self, path: Path, width: int, scheme: Scheme) -> Look:
        context = self.browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        try:
            look = Look(context, context.new_page())

            def refuse(route: Route) -> None:
                look.remote.append(route.request.url)
                route.abort()

            def note(request: Request) -> None:
                look.files.add(Path(unquote(urlsplit(request.url).path)))

            context.route(re.compile("^(?!file:|data:|blob:)"), refuse)
            page = look.page
            page.on("request", note)
            page.on("pageerror", lambda error: look.errors.append(str(error)))
            page.on("console", lambda m: m.type == "error" and look.errors.append(m.text))
            page.goto(path.as_uri(), wait_until="load")
            page.evaluate("async () => { await window.MathJax?.startup?.promise; }")
            page.wait_for_function(DRAWN, timeout=60_000)
        except BaseException:
            context.close()
            raise
        return look

    def close(self) -> None:
        for look in self.open.values():
            look.context.close()
        self.open.clear()


@pytest.fixture(scope="session")
def looks(browser: Browser) -> Iterator[Looks]:
    """Looks at pages, whatever they ask for or complain of."""
    it = Looks(browser)
    yield it
    it.close()


@pytest.fixture
def look(looks: Looks) -> Iterator[Looks]:
    """Looks at pages that ask for nothing from elsewhere, and raise nothing."""
    yield looks
    wrong = {at: it.remote + it.errors for at, it in looks.open.items()}
    assert not any(wrong.values()), wrong
