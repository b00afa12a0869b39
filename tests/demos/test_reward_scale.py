"""Dragging the reward scale, in Python and on a page in Chromium."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import traitlets

from wmlib.demos import RewardScale
from wmlib.demos.page.blocks import unpack

Opened = Callable[..., AbstractContextManager[Any]]  # the fixture `shown`
SCALES, UPDATES = [0.01, 1.0, 10_000.0], [0, 50, 600]
PLACES = np.linspace(-1, 1, 5)
TARGET = np.sign(PLACES)
NAMES = ("Two-hot", "Squared error")


def heads() -> dict[str, np.ndarray]:
    """One that learns at every scale, and one only at the second."""
    share = np.array([0.0, 0.5, 1.0])[:, None, None]  # (U, 1, 1)
    good = share * TARGET * np.ones((3, 3, 1))  # (U, N, X)
    return dict(zip(NAMES, (good, good * np.array([0, 1, 0])[:, None]), strict=True))


def demo(**options: Any) -> RewardScale:
    given = {"scales": SCALES, "updates": UPDATES, "places": PLACES, "target": TARGET, **options}
    return RewardScale(given.pop("heads", heads()), **given)


def test_what_does_not_fit_together_is_refused() -> None:
    for options, message in (
        ({"heads": {}}, "heads must be a Mapping of length 1 to 4, got {}"),
        ({"heads": {"one": np.zeros((3, 2, 5))}}, r"shape of 'one' must be \(3, 3, 5\), got"),
        ({"heads": {"one": np.full((3, 3, 5), np.nan)}}, "holds NaN or infinity"),
        ({"scales": [1.0, 0.5, 2.0]}, "scales must rise"),
        ({"updates": [0, 0, 1]}, "updates must rise"),
        ({"places": -PLACES}, "places must rise"),
        ({"target": TARGET[1:]}, "X"),
        ({"scale": 3}, r"scale must be in \[0, 2\], got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            demo(**options)
    shown = demo()
    for name in ("scale", "updates"):
        with pytest.raises(traitlets.TraitError, match=rf"{name} must be in \[0, 2\], got -1"):
            setattr(shown, name, -1)


def test_the_bytes_hold_what_was_given() -> None:
    arrays, header = unpack(demo().weights)
    assert (header["names"], header["scales"], header["updates"]) == (list(NAMES), SCALES, UPDATES)
    for i, (head, missed) in enumerate(zip(heads().values(), ("good", "bad"), strict=True)):
        np.testing.assert_allclose(arrays[f"head.{i}"], head, atol=2 / 127)
        expected = np.array([1, 0.25, 0])[:, None] * np.ones(3)
        if missed == "bad":
            expected = np.where([False, True, False], expected, 1)
        np.testing.assert_allclose(arrays[f"missed.{i}"], expected, rtol=1e-6)


def numbers(page: Any) -> list[str]:
    return [str(one.text_content()) for one in page.locator(".wm-fact .wm-value").all()]


def status(page: Any) -> str:
    return (page.get_by_role("status").text_content() or "").strip()


def curves(page: Any) -> list[str]:
    found = page.locator("svg.wm-heads-chart .wm-heads-curve").all()
    return [str(one.get_attribute("points")) for one in found]


def test_the_page_shows_what_python_measured(shown: Opened) -> None:
    with shown(demo()) as it:
        page = it.page
        assert status(page) == (
            "Rewards times 0.01, after 600 updates: Two-hot 0.0 %, Squared error 100 % missed."
        )
        scale, updates = page.get_by_label("Rewards times"), page.get_by_label("After updates")
        scale.fill("1")
        assert numbers(page) == ["0.0 %", "0.0 %"] and len(set(curves(page))) == 1
        updates.fill("1")
        assert numbers(page) == ["25 %", "25 %"]
        scale.fill("2")
        assert numbers(page) == ["25 %", "100 %"] and len(set(curves(page))) == 2
        assert scale.get_attribute("aria-valuetext") == "10,000"
        assert (it.saved("scale"), it.saved("updates")) == (2, 1)
        assert "Rewards times 10,000, after 50 updates" in status(page)
        page.evaluate("model.set('scale', 0)")
        assert scale.input_value() == "0"


def test_a_curve_is_where_its_numbers_are(shown: Opened) -> None:
    with shown(demo(scale=1)) as it:
        target = it.page.locator(".wm-heads-target").get_attribute("points")
        where = [np.array([p.split(",") for p in line.split()], float) for line in
                 (str(target), curves(it.page)[0])]  # fmt: skip
        np.testing.assert_allclose(*where, atol=0.8)  # pixels; the curves have 8 bits
        assert (np.diff(where[0][:, 0]) > 0).all()
        assert where[0][0, 1] > where[0][-1, 1] + 40  # down is less


def test_nothing_moves_before_the_reader_does_and_then_they_learn(shown: Opened) -> None:
    with shown(demo(scale=1)) as it:
        page, main = it.page, it.page.locator("[data-main]")
        before = curves(page)
        page.wait_for_timeout(500)
        assert curves(page) == before
        main.click()
        assert main.text_content() == "Pause" and numbers(page) == ["100 %", "100 %"]
        it.wait("demo.dataset.running === 'false'")
        assert curves(page) == before and it.saved("updates") == 2
        main.click()
        page.keyboard.press("Escape")
        assert status(page).startswith("Paused. Rewards times 1, after 0 updates")
        main.click()
        page.get_by_label("After updates").fill("1")  # the reader's hand stops it
        assert main.text_content() == "Watch them learn"


def test_stillness_takes_a_press_for_each_step(shown: Opened) -> None:
    with shown(demo(), reduced_motion="reduce") as it:
        main = it.page.locator("[data-main]")
        for row in (0, 1, 2, 0):
            main.click()
            assert it.saved("updates") == row
            assert main.text_content() == "Watch them learn"


def test_a_head_can_be_taken_out_of_the_picture(shown: Opened) -> None:
    with shown(demo(scale=2)) as it:
        toggle = it.page.get_by_role("button", name="Squared error")
        toggle.click()
        assert toggle.get_attribute("aria-pressed") == "false" and len(curves(it.page)) == 1
        toggle.click()
        assert toggle.get_attribute("aria-pressed") == "true" and len(curves(it.page)) == 2


def test_every_control_by_keyboard(shown: Opened) -> None:
    with shown(demo()) as it:
        page = it.page
        page.get_by_role("link", name="above").focus()
        order = [it.tab() for _ in range(6)]
        assert order == [
            "Rewards times", "After updates", "Watch them learn", "Two-hot", "Squared error",
            "below",
        ]  # fmt: skip
        page.get_by_label("Rewards times").focus()
        page.keyboard.press("ArrowRight")
        assert it.saved("scale") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_into_320_pixels(shown: Opened, scheme: str) -> None:
    with shown(demo(), width=320, color_scheme=scheme) as it:
        assert it.page.evaluate("document.documentElement.scrollWidth") <= 320
        boxes = [one.bounding_box() for one in it.page.locator(".wm-demo button").all()]
        assert all(box and box["height"] >= 44 for box in boxes)
