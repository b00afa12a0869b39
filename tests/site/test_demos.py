"""Demos on the pages of the built book."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.site
FRAMES = 20  # a second, at least
# But these: one plays slowly, on purpose; of the other, tests/demos asks for ten a second on a core
# of its own, which it has not here.
FEWER = {"Dream quality explorer": 0, "Drive in the diffusion dream": 3}
BYTES = 2_000_000  # that the weights of a page may take, as they lie in it
MORE = {"book/07e-diamond.html": 6_000_000}  # a denoiser beside V and M
WIDTHS = (320, 768, 1280)  # CSS pixels
WHERE = {
    "book/index.html": ["Drive the dream"],
    "book/02-vision.html": ["The numbers of z"],
    "book/05-dreaming.html": ["World Model Playground", "Drive the dream"],
    "book/06-reality.html": ["Dream quality explorer"],
    "book/07b-dreamerv3.html": ["Drag the reward scale", "Play Catch in a dream"],
    "book/07c-muzero.html": ["Play tic-tac-toe against MuZero"],
    "book/07e-diamond.html": ["Drive in the diffusion dream"],
}

# What Tab should reach in a demo, in that order; a demo's own lists are unfolded before.
CONTROLS = """
(demo) => [...demo.querySelectorAll("button, input, summary, [tabindex='0']")]
  .filter((element) => element.checkVisibility() && !element.disabled)
"""
AT = f"(demo) => ({CONTROLS})(demo).indexOf(document.activeElement)"
BOTTOM = "document.documentElement.scrollHeight - innerHeight"
UNFOLD = "document.querySelectorAll('.wm-demo details').forEach((each) => { each.open = true; })"

LATE = """
const Plain = Blob;
window.Blob = class extends Plain {
  constructor(parts, options) {
    const script = options?.type === "text/javascript";
    const wait = "await new Promise((go) => setTimeout(go, 3000));\\n";
    super(script ? [wait, ...parts] : parts, options);
  }
};
"""


@pytest.fixture
def opened(browser: Browser, site: Path) -> Any:
    """Open a page of the built book from the disk; it asks for nothing else, and raises nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    wrong = []

    def from_disk_only(route: Route) -> None:
        if route.request.url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            wrong.append(route.request.url)
            route.abort()

    def open_page(name: str, width: int = 1280, first: str = "") -> Page:
        page = context.new_page()
        page.add_init_script(first)
        page.set_viewport_size({"width": width, "height": 900})
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: line.type == "error" and wrong.append(line.text))
        page.goto((site / name).as_uri(), wait_until="load")
        views = page.locator("script[type='application/vnd.jupyter.widget-view+json']").count()
        if views:  # each is drawn, by scripts of the book's own
            page.wait_for_function(
                f"document.querySelectorAll('.wm-demo :is(button, input)').length > 0"
                f" && document.querySelectorAll('.wm-demo').length === {views}", timeout=60_000,
            )  # fmt: skip
        return page

    context.route("**/*", from_disk_only)
    yield open_page
    context.close()
    assert wrong == []


def has_demos(site: Path, name: str) -> bool:
    return "jupyter.widget-view+json" in (site / name).read_text(encoding="utf-8")


def test_the_demos_stand_where_they_should(opened: Any, site: Path) -> None:
    for name, demos in WHERE.items():
        found = opened(name).locator(".wm-demo")
        assert [one.get_attribute("aria-label") for one in found.all()] == demos


def test_a_demo_that_starts_late_is_no_error(opened: Any) -> None:
    """As on a busy machine: its script takes three seconds."""
    page = opened("book/index.html", first=LATE)
    assert page.evaluate("performance.now()") > 3000
    assert page.locator(".wm-demo").count() == 1


def test_weights_are_no_larger_than_they_may_be(site: Path, page_name: str) -> None:
    """V's decoder, M and what else lies in base64 beside them."""
    text = (site / page_name).read_text(encoding="utf-8")
    states = re.findall(
        r'<script type="application/vnd.jupyter.widget-state\+json">(.*?)</script>', text, re.DOTALL
    )
    models = [model for state in states for model in json.loads(state)["state"].values()]
    sizes = [len(part["data"]) for model in models for part in model.get("buffers", [])]
    assert sum(sizes) <= MORE.get(page_name, BYTES)
    # MuZero's networks are the smallest: 60,000 numbers.
    assert not (page_name in WHERE and sum(sizes) < BYTES / 8), "the weights were not found"


@pytest.mark.parametrize("width", WIDTHS)
def test_every_control_by_mouse_and_by_tab(
    opened: Any, site: Path, page_name: str, width: int
) -> None:
    """What a control does, tests/demos tests; here, that each can be reached, and left."""
    if not has_demos(site, page_name):
        return
    page = opened(page_name, width)
    page.evaluate(UNFOLD)
    page.wait_for_timeout(500)
    for demo in page.locator(".wm-demo").all():
        controls = demo.evaluate_handle(CONTROLS)
        count = controls.evaluate("(found) => found.length")
        assert count >= 5
        for i in range(count):
            control = controls.evaluate_handle(f"(found) => found[{i}]").as_element()
            control.click(trial=True)  # nothing lies over it
        # A mouse that scrolling puts over a heading below makes its link appear, and Tab finds it.
        page.mouse.move(0, 0)
        controls.evaluate("(found) => found[0].focus()")
        order = []
        for _ in range(count + 3):  # Chromium lets Tab into what scrolls, too: not a control, -1
            if (at := demo.evaluate(AT)) >= 0:
                order.append(at)
            page.keyboard.press("Tab")
            if not demo.evaluate("(demo) => demo.contains(document.activeElement)"):
                break
        names = controls.evaluate("(all) => all.map((e) => e.outerHTML.slice(0, 90))")
        assert order == list(range(count)), names
        assert not demo.evaluate("(demo) => demo.contains(document.activeElement)")
        page.keyboard.press("Shift+Tab")
        assert demo.evaluate(AT) == count - 1
        controls.evaluate("(found) => found[0].focus()")
        page.keyboard.press("Shift+Tab")
        assert not demo.evaluate("(demo) => demo.contains(document.activeElement)")


def test_a_label_belongs_to_its_own_demo(look: Any, site: Path, page_name: str) -> None:
    if not has_demos(site, page_name):
        return
    page = look(site / page_name).page
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    ours = [one for one in ids if one.startswith("wm-")]
    assert ours or not page.locator(".wm-demo label").count()
    assert all(ids.count(one) == 1 for one in ours)
    astray = """
        [...document.querySelectorAll('.wm-demo label')].filter((label) =>
          label.closest('.wm-demo') !== label.control?.closest('.wm-demo')).length
    """
    assert page.evaluate(astray) == 0


def test_page_keys_scroll_while_a_demo_has_the_focus(
    opened: Any, site: Path, page_name: str
) -> None:
    if not has_demos(site, page_name):
        return
    page = opened(page_name)
    for demo in page.locator(".wm-demo").all():
        for running in (False, True):
            page.keyboard.press("Escape")
            button = demo.get_by_role("button").first
            button.scroll_into_view_if_needed()
            main = demo.locator("[data-main]")
            if running and main.count():
                button = main
                button.click()
            for key, way in (("PageUp", "<"), ("PageDown", ">"), ("Home", "<"), ("End", ">")):
                button.evaluate("(element) => element.focus({ preventScroll: true })")
                page.wait_for_timeout(100)  # a page that still scrolls comes to rest
                before = page.evaluate("scrollY")
                end = "0" if way == "<" else BOTTOM
                moved = f"scrollY {way} {before} || Math.abs({end} - {before}) < 2"
                for _ in range(20):  # a page that is busy may miss a key
                    page.keyboard.press(key)
                    page.wait_for_timeout(300)
                    if page.evaluate(moved):
                        break
                assert page.evaluate(moved), f"{key} did not scroll"


def test_a_demo_rests_and_then_runs(opened: Any, site: Path, page_name: str) -> None:
    if not has_demos(site, page_name):
        return
    page = opened(page_name)
    demos = page.locator(".wm-demo[data-pictures]")
    page.wait_for_timeout(300)
    for i in range(demos.count()):
        demo = demos.nth(i)
        assert demo.get_attribute("data-pictures") == "1"
        demo.locator("[data-main]").focus()
        page.keyboard.press("Enter")
        assert demo.get_attribute("data-running") == "true"

        def rate() -> float:
            """Pictures a second, over one second."""
            clock = "() => [performance.now() / 1000, Number(document.activeElement.closest("
            clock += "'.wm-demo').dataset.pictures)]"
            begin, first = page.evaluate(clock)
            page.wait_for_timeout(1000)
            end, last = page.evaluate(clock)
            return (last - first) / (end - begin)

        least = FEWER.get(demo.get_attribute("aria-label"), FRAMES)
        assert any(rate() > least for _ in range(6))  # something may hold the machine up
        page.keyboard.press("Escape")
        assert demo.get_attribute("data-running") == "false"
