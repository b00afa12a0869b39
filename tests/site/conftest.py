"""The built book."""

from pathlib import Path

import pytest

BUILD = Path(__file__).parents[2] / "_build"


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


@pytest.fixture(scope="session")
def site() -> Path:
    """The root of the built site."""
    html = BUILD / "html"
    if not (html / "book" / "index.html").exists():
        pytest.fail(f"no built book in {html}; run `make book` first")
    return html
