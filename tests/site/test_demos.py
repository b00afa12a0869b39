"""Demos on the pages of the built book, and every page before axe-core."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.site
AXE = Path(__file__).parents[2] / "book" / "_vendor" / "tests" / "axe.min.js"
FRAMES = 20  # a second, at least


@pytest.fixture
def opened(browser: Browser, site: Path) -> Any:
    """Open a page of the built book from the disk."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.route("**/*", lambda route: (
        route.continue_() if route.request.url.startswith(("file:", "data:", "blob:"))
        else route.abort()
    ))  # fmt: skip

    def open_page(name: str) -> Page:
        page = context.new_page()
        page.goto((site / name).as_uri(), wait_until="load")
        views = page.locator("script[type='application/vnd.jupyter.widget-view+json']").count()
        if views:  # each is drawn, by scripts of the book's own
            page.wait_for_function(
                f"document.querySelectorAll('.wm-demo').length === {views}", timeout=30_000
            )
        return page

    yield open_page
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_barrier(opened: Any, page_name: str, scheme: str) -> None:
    page = opened(page_name)
    page.evaluate("(scheme) => { document.documentElement.dataset.theme = scheme; }", scheme)
    page.wait_for_timeout(500)  # colours fade into one another
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    serious = [
        (violation["id"], [node["html"][:120] for node in violation["nodes"][:3]])
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_a_demo_rests_and_then_runs(opened: Any, page_name: str) -> None:
    page = opened(page_name)
    demos = page.locator(".wm-demo[data-pictures]")
    if not demos.count():
        return
    page.wait_for_timeout(300)
    for i in range(demos.count()):
        demo = demos.nth(i)
        assert demo.get_attribute("data-pictures") == "1"
        demo.get_by_role("button", name="Start", exact=True).focus()
        page.keyboard.press("Enter")

        def rate() -> float:
            """Pictures a second, over one second."""
            clock = "() => [performance.now() / 1000, Number(document.activeElement.closest("
            clock += "'.wm-demo').dataset.pictures)]"
            begin, first = page.evaluate(clock)
            page.wait_for_timeout(1000)
            end, last = page.evaluate(clock)
            return (last - first) / (end - begin)

        assert max(rate() for _ in range(6)) >= FRAMES  # something else may hold the machine up
        page.keyboard.press("Escape")
        assert demo.get_attribute("data-running") == "false"
