"""Driving the dream, in Python and on a page in Chromium."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import traitlets
from playwright.sync_api import Page

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig, State
from wmlib.agents.world_models.starts import Starts
from wmlib.agents.world_models.vision import VAE, VisionConfig
from wmlib.demos import DriveTheDream
from wmlib.demos.page.blocks import unpack
from wmlib.demos.page.weights import as_packed
from wmlib.training import seeded

Opened = Callable[..., AbstractContextManager[Any]]  # the fixture `shown`
YOURS = "You drive. The button “C drives” gives the wheel back."
FRAMES = 20  # a second, that a page must reach
NAMED = "document.activeElement.labels[0].textContent"  # of the slider with the focus


@pytest.fixture(scope="module")
def widget(agent: Agent, starts: Starts) -> DriveTheDream:
    return DriveTheDream(agent, starts=starts, seed=3)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def picture(page: Page) -> Any:
    return page.evaluate("document.querySelector('.wm-demo canvas').toDataURL()")


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent"))


def control(name: str) -> str:
    """Where that control stands, as JavaScript that reads it off the page."""
    rows = "[...demo.querySelectorAll('.wm-fact')]"
    text = f"{rows}.find((e) => e.textContent.startsWith('{name}')).lastChild.textContent"
    return f"Number({text}.replace('−', '-'))"


# Keeps the most that a control has shown from now on, as `window.most`.
WATCH = """
(control) => {
  const read = new Function("demo", `return ${control}`);
  const demo = document.querySelector(".wm-demo");
  window.most = 0;
  new MutationObserver(() => { window.most = Math.max(window.most, read(demo)); })
    .observe(demo, { subtree: true, childList: true, characterData: true });
}
"""


def status(page: Page) -> str:
    return page.get_by_role("status").text_content() or ""


# --- in Python


def test_what_does_not_drive_is_refused(agent: Agent, starts: Starts) -> None:
    pair = (agent.vision, agent.memory)
    other = seeded(0, lambda: MDNRNN(MemoryConfig(actions=2)))
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (pair, {"driver": "C"}, "driver must be"),
        (agent, {"driver": "you"}, "driver must be"),
        (agent, {"temperature": 0}, r"temperature must be in \[0.1, 2\], got 0"),
        (agent, {"temperature": 2.5}, r"temperature must be in \[0.1, 2\], got 2.5"),
        (agent, {"temperature": float("nan")}, "temperature must be in .* got nan"),
        (agent, {"seed": -1}, r"seed must be in \[0, 4294967296\), got -1"),
        (agent, {"seed": 2**32}, "seed must be in"),
        (agent, {"seconds_per_decision": 0}, "seconds_per_decision"),
        ((agent.vision, other), {}, r"M's actions .* must be 3, got 2"),
        (agent, {"starts": starts.take(slice(0, 0))}, r"starts.z must be .* got .* \(0, 32\)"),
    ]
    for world, options, message in wrong:
        with pytest.raises(ValueError, match=message):
            DriveTheDream(world, **{"starts": starts, **options})
    for world in (None, agent.vision, (agent.memory, agent.vision)):
        with pytest.raises(
            TypeError, match=r"world must be an Agent or a tuple \(a VAE, an MDNRNN\), got"
        ):
            DriveTheDream(world, starts=starts)  # type: ignore[arg-type]
    for options, message in (
        ({"starts": None}, "starts must be a Starts, got None"),
        ({"starts": starts.z}, "starts must be a Starts, got Tensor"),
        ({"temperature": "hot"}, "temperature must be a number, got 'hot'"),
        ({"seed": 1.5}, "seed must be a whole number, got 1.5"),
    ):
        with pytest.raises(TypeError, match=message):
            DriveTheDream(agent, **{"starts": starts, **options})


def test_a_model_of_another_shape_or_with_nan_is_refused(agent: Agent, starts: Starts) -> None:
    """What a reader may hand over by mistake, each named in the message."""
    small = seeded(0, lambda: MDNRNN(MemoryConfig(latent=8, hidden=16)))
    narrow = seeded(0, lambda: VAE(VisionConfig(latent=8)))
    broken = seeded(0, MDNRNN)
    with torch.no_grad():
        broken.lstm.weight_hh_l0[3, 4] = float("nan")
    nowhere = starts._replace(z=torch.full_like(starts.z, float("inf")))
    for world, begin, message in (
        ((narrow, agent.memory), starts, "V's latents must be 32, got 8"),
        ((narrow, small), starts, r"starts.z must be .* \(S, 8\) of float32, got .* \(3, 32\)"),
        (replace(agent, vision=narrow, memory=small), starts, "starts.z must be"),
        ((agent.vision, broken), starts, "memory.lstm.weight_hh_l0 holds NaN or infinity"),
        (agent, nowhere, "starts.z holds NaN or infinity"),
    ):
        with pytest.raises(ValueError, match=message):
            DriveTheDream(world, starts=begin)


def test_what_is_set_later_is_checked_too(widget: DriveTheDream, agent: Agent) -> None:
    for name, value in (("temperature", 0.05), ("driver", "you"), ("start", 3), ("start", -1)):
        before = getattr(widget, name)
        with pytest.raises(traitlets.TraitError, match=f"{name} must be"):
            setattr(widget, name, value)
        assert getattr(widget, name) == before
    alone = DriveTheDream((agent.vision, agent.memory), starts=first_start(widget))
    with pytest.raises(traitlets.TraitError, match="driver must be 'reader', got 'C'"):
        alone.driver = "C"


def test_the_driver_is_c_where_there_is_one(agent: Agent, starts: Starts) -> None:
    assert DriveTheDream(agent, starts=starts).driver == "C"
    assert DriveTheDream(agent, starts=starts, driver="reader").driver == "reader"
    assert DriveTheDream((agent.vision, agent.memory), starts=starts).driver == "reader"


# --- on a page


@torch.no_grad()
def test_c_drives_as_in_python(shown: Opened, widget: DriveTheDream, agent: Agent) -> None:
    """Ten single steps: the return and the picture are those of PyTorch with NumPy's noise."""
    rounded, draws = as_packed(agent), np.random.RandomState(3)
    first = first_start(widget)
    z, state, total = first.z, State(first.hidden, first.cell), 0.0
    for _ in range(10):
        action = rounded.controller.act(torch.cat([z, state.hidden], 1)[None])[0]
        state = rounded.memory.step(z, action, state)
        prediction = rounded.memory.predict(state.hidden)
        total += float(rounded.memory.expected_reward(prediction))
        uniform, normal = draws.random_sample(32), draws.standard_normal(32)
        draws.random_sample()
        share = prediction.log_pi[0].exp().cumsum(0)  # (K, Z)
        chosen = (share[:-1] < torch.from_numpy(uniform)).sum(0, keepdim=True)
        mean, log_sigma = (part[0].gather(0, chosen) for part in prediction[1:3])
        z = (mean + log_sigma.exp() * torch.from_numpy(normal)).float()  # (1, Z)
    with shown(widget) as it:
        for _ in range(10):
            press(it.page, "One step")
        assert it.saved("decisions") == 10
        assert it.saved("imagined_return") == pytest.approx(total, abs=1e-3)
        pixels = it.page.evaluate(
            "[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 64, 64).data]"
        )
    there = np.array(pixels).reshape(64, 64, 4)[..., :3]
    assert np.abs(there - rounded.vision.decode(z.numpy())[0].astype(int)).max() <= 1


def first_start(widget: DriveTheDream) -> Starts:
    """The first start, from the widget's own bytes."""
    arrays, _ = unpack(widget.weights)
    parts = (np.array(arrays[f"starts.{name}"][:1]) for name in ("z", "hidden", "cell"))
    return Starts(*map(torch.from_numpy, parts))


def test_nothing_moves_before_the_reader_starts_it(shown: Opened, widget: DriveTheDream) -> None:
    with shown(widget) as it:
        before = picture(it.page)
        it.page.wait_for_timeout(300)
        assert picture(it.page) == before
        assert (it.count("pictures"), it.count("decisions")) == (1, 0)
        press(it.page, "Start")
        it.wait("demo.dataset.decisions > 3")
        assert picture(it.page) != before
        press(it.page, "Pause")
        rest = it.count("pictures")
        it.page.wait_for_timeout(300)
        assert it.count("pictures") == rest
        assert status(it.page).startswith("Paused after")
        assert it.saved("decisions") == it.count("decisions")


def test_a_keyboard_alone_starts_drives_pauses_and_leaves(
    shown: Opened, widget: DriveTheDream
) -> None:
    with shown(widget) as it:
        page = it.page
        page.get_by_role("link", name="above").focus()
        while focused(page) != "Start":
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        it.wait("demo.dataset.decisions > 1")
        assert it.saved("driver") == "C"
        page.keyboard.down("ArrowRight")
        page.keyboard.down("w")
        it.wait(f"{control('Steering')} > 0.9")
        assert it.saved("driver") == "reader"
        assert status(page) == YOURS
        assert page.locator(".wm-at-wheel").text_content() == "You drive"
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(200)
        assert page.evaluate("scrollY") == 0  # the page does not scroll while its reader brakes
        page.keyboard.up("ArrowRight")
        it.wait(f"{control('Steering')} === 0")
        page.keyboard.up("w")
        page.keyboard.press("Escape")
        assert it.page.locator(".wm-demo").get_attribute("data-running") == "false"
        page.keyboard.press("ArrowDown")  # paused: the key scrolls as always
        page.wait_for_function("scrollY > 0")
        for _ in range(20):
            page.keyboard.press("Tab")
            if focused(page) == "below":
                break
        assert focused(page) == "below"


def test_keys_elsewhere_do_not_drive(shown: Opened, widget: DriveTheDream) -> None:
    with shown(widget) as it:
        press(it.page, "Start")
        it.page.get_by_role("link", name="above").focus()
        it.page.keyboard.press("ArrowRight")
        it.page.keyboard.press("PageDown")
        it.page.wait_for_function("scrollY > 0")
        slider = it.page.get_by_label("Temperature")
        slider.focus()
        it.page.keyboard.press("ArrowRight")
        assert it.saved("temperature") == pytest.approx(1.05)
        assert it.saved("driver") == "C"


def test_plain_keys_stay_inside(shown: Opened, widget: DriveTheDream) -> None:
    """JupyterLab listens on the document: there, X cuts a cell."""
    with shown(widget) as it:
        listen = "window.heard = []; document.addEventListener('keydown', (e) => heard.push(e.key))"
        it.page.evaluate(listen)
        it.page.get_by_role("button", name="Start", exact=True).focus()
        for key in ("x", "a", "Escape", "Control+k"):
            it.page.keyboard.press(key)
        assert it.page.evaluate("heard") == ["Control", "k"]


def test_a_key_is_let_go_when_the_focus_leaves(shown: Opened, widget: DriveTheDream) -> None:
    with shown(widget) as it:
        press(it.page, "Start")
        it.page.keyboard.down("ArrowUp")
        it.wait(f"{control('Gas')} === 1")
        it.page.get_by_role("link", name="above").focus()
        it.page.keyboard.up("ArrowUp")
        it.wait(f"{control('Gas')} === 0")


def test_pedals_by_mouse_by_keyboard_and_by_a_bare_click(
    shown: Opened, widget: DriveTheDream
) -> None:
    gas = control("Gas")
    with shown(widget) as it:
        page, pedal = it.page, it.page.get_by_role("button", name="Gas", exact=True)
        press(page, "Start")
        pedal.hover()
        page.mouse.down()
        it.wait(f"{gas} === 1")
        assert it.saved("driver") == "reader"
        page.mouse.up()
        it.wait(f"{gas} === 0")
        pedal.focus()
        page.keyboard.down(" ")
        it.wait(f"{gas} === 1")
        page.keyboard.up(" ")
        it.wait(f"{gas} === 0")
        # A click as a screen reader's is over in half a second: the page itself must keep watch,
        # since a busy machine may look again only when all is over.
        page.evaluate(WATCH, gas)
        pedal.evaluate("(element) => element.click()")
        it.wait("window.most > 0")
        it.wait(f"{gas} === 0")


def test_c_gets_the_wheel_back(shown: Opened, widget: DriveTheDream) -> None:
    with shown(widget) as it:
        button = it.page.get_by_role("button", name="C drives")
        press(it.page, "Start")
        it.page.keyboard.press("ArrowLeft")
        assert button.get_attribute("aria-pressed") == "false"
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        assert it.saved("driver") == "C"
        assert it.page.locator(".wm-at-wheel").text_content() == "C drives"


def test_a_world_without_c_has_no_such_button(shown: Opened, agent: Agent, starts: Starts) -> None:
    with shown(DriveTheDream((agent.vision, agent.memory), starts=starts)) as it:
        assert it.page.get_by_role("button", name="C drives").count() == 0
        press(it.page, "One step")
        assert it.saved("decisions") == 1


def test_the_same_dream_and_another(shown: Opened, widget: DriveTheDream) -> None:
    with shown(widget) as it:
        first = picture(it.page)

        def five() -> float:
            for _ in range(5):
                press(it.page, "One step")
            return float(it.saved("imagined_return"))

        one = five()
        press(it.page, "Restart")
        assert picture(it.page) == first
        assert it.saved("decisions") == 0
        assert five() == one
        press(it.page, "Another start")
        assert it.saved("start") == 1
        assert picture(it.page) != first
        assert five() != one
        press(it.page, "Another start")
        press(it.page, "Another start")
        assert it.saved("start") == 0
        assert picture(it.page) == first


def test_the_dream_ends_when_m_says_so(shown: Opened, agent: Agent, starts: Starts) -> None:
    doomed = as_packed(agent)
    with torch.no_grad():
        doomed.memory.end.bias.fill_(50.0)
    with shown(DriveTheDream(doomed, starts=starts)) as it:
        press(it.page, "Start")
        it.wait("demo.dataset.running === 'false'")
        assert it.count("decisions") == 1
        assert status(it.page).startswith("M says that the episode is over, after 0.1 seconds.")
        press(it.page, "Start again")
        it.wait("demo.dataset.running === 'false'")
        assert it.count("decisions") == 1


def test_python_may_set_the_temperature_the_start_and_the_driver(
    shown: Opened, widget: DriveTheDream
) -> None:
    with shown(widget) as it:
        it.page.evaluate("model.set('temperature', 0.3)")
        assert it.page.get_by_label("Temperature").input_value() == "0.3"
        before = picture(it.page)
        it.page.evaluate("model.set('start', 2)")
        assert status(it.page).startswith("Start 3 of 3. C will drive.")
        assert picture(it.page) != before
        it.page.evaluate("model.set('driver', 'reader')")
        assert status(it.page) == YOURS
        press(it.page, "Another start")
        assert it.saved("start") == 0


def test_every_button_and_slider_by_keyboard(shown: Opened, widget: DriveTheDream) -> None:
    with shown(widget) as it:
        page, order = it.page, []
        page.get_by_role("link", name="above").focus()

        def shown_now() -> tuple[Any, ...]:
            return it.saved("decisions"), it.saved("start"), it.saved("driver")

        while focused(page) != "below" and len(order) < 60:
            page.keyboard.press("Tab")
            kind = page.evaluate("document.activeElement.type")
            name = page.evaluate(NAMED) if kind == "range" else focused(page)
            order.append(name)
            if name == "One step":
                page.keyboard.press(" ")
                assert shown_now() == (1, 0, "C")
            elif name == "C drives":
                page.keyboard.press(" ")
                assert shown_now() == (1, 0, "reader")
            elif name == "Restart":
                page.keyboard.press("Enter")
                assert shown_now() == (0, 0, "reader")
            elif name == "Another start":
                page.keyboard.press("Enter")
                assert shown_now() == (0, 1, "reader")
            elif name == "Temperature":
                page.keyboard.press("Home")
                assert it.saved("temperature") == pytest.approx(0.1)
            elif name == "Speed":
                page.keyboard.press("End")
                assert page.evaluate("document.activeElement.ariaValueText") == "2.00 ×"
            elif name == "The 32 numbers of z":
                page.keyboard.press("Enter")
            elif name == "z0":
                before = picture(page)
                page.keyboard.press("End")
                assert picture(page) != before
        assert order[:12] + order[44:] == [
            "Start", "One step", "C drives", "◀", "▲", "▼", "▶", "Restart", "Another start",
            "Temperature", "Speed", "The 32 numbers of z", "below",
        ]  # fmt: skip
        assert sorted(order[12:44]) == sorted(f"z{i}" for i in range(32))


def test_every_key_drives(shown: Opened, widget: DriveTheDream) -> None:
    with shown(widget) as it:
        press(it.page, "Start")
        for keys, name, sign in (
            (("ArrowLeft", "a"), "Steering", "< 0"),
            (("ArrowRight", "d"), "Steering", "> 0"),
            (("ArrowUp", "w"), "Gas", "> 0"),
            (("ArrowDown", "S"), "Brake", "> 0"),
        ):
            for key in keys:
                it.page.keyboard.down(key)
                it.wait(f"{control(name)} {sign}")
                it.page.keyboard.up(key)
                it.wait(f"{control(name)} === 0")


def test_every_pedal_by_mouse_and_the_picture_by_a_click(
    shown: Opened, widget: DriveTheDream
) -> None:
    with shown(widget) as it:
        page, screen = it.page, it.page.locator(".wm-screen")
        screen.click()
        it.wait("demo.dataset.running === 'true'")
        for pedal, name, sign in (
            ("Steer left", "Steering", "< 0"), ("Gas", "Gas", "> 0"),
            ("Brake", "Brake", "> 0"), ("Steer right", "Steering", "> 0"),
        ):  # fmt: skip
            page.get_by_role("button", name=pedal, exact=True).hover()
            page.mouse.down()
            it.wait(f"{control(name)} {sign}")
            page.mouse.up()
            it.wait(f"{control(name)} === 0")
        screen.click()
        it.wait("demo.dataset.running === 'false'")
        speed = page.get_by_label("Speed")
        box = speed.bounding_box()
        page.mouse.click(box["x"] + 1, box["y"] + box["height"] / 2)
        assert speed.input_value() == "0.25"


def test_a_latent_moved_by_hand_changes_the_picture(shown: Opened, widget: DriveTheDream) -> None:
    with shown(widget) as it:
        it.page.get_by_text("numbers of z").click()
        slider = it.page.get_by_label("z0", exact=True)
        before = picture(it.page)
        slider.fill("3.5")
        assert picture(it.page) != before
        press(it.page, "One step")
        assert it.saved("decisions") == 1


def test_stillness_is_honoured(shown: Opened, widget: DriveTheDream) -> None:
    with shown(widget, reduced_motion="reduce") as it:
        it.page.wait_for_timeout(300)
        assert it.count("pictures") == 1
        press(it.page, "Start")  # asked for
        it.wait("demo.dataset.decisions > 5")
        press(it.page, "Pause")
        assert it.count("pictures") <= it.count("decisions") + 2  # none in between


def test_it_rests_out_of_sight(shown: Opened, widget: DriveTheDream) -> None:
    with shown(widget) as it:
        press(it.page, "Start")
        it.wait("demo.dataset.decisions > 1")
        it.page.evaluate("scrollTo(0, 2500)")
        it.wait("demo.dataset.running === 'false'")
        assert "out of sight" in status(it.page)


def test_a_removed_demo_stops(shown: Opened, widget: DriveTheDream) -> None:
    with shown(widget) as it:
        press(it.page, "Start")
        it.wait("demo.dataset.decisions > 1")
        it.page.evaluate("window.remove()")
        rest = it.count("pictures")
        it.page.wait_for_timeout(200)
        assert it.count("pictures") == rest


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_it_is_no_wider_than_the_screen(shown: Opened, widget: DriveTheDream, width: int) -> None:
    with shown(widget, width=width) as it:
        it.page.get_by_text("numbers of z").click()
        wide = """
            [...document.querySelectorAll('.wm-demo, .wm-demo *')]
              .filter((e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.className)
        """
        assert it.page.evaluate(wide) == []
        small = """
            [...document.querySelectorAll('.wm-demo button')].map((e) => e.getBoundingClientRect())
              .filter((box) => box.width < 44 || box.height < 44).length
        """
        assert it.page.evaluate(small) == 0


def test_weights_that_cannot_be_read_become_a_message(
    shown: Opened, agent: Agent, starts: Starts
) -> None:
    cut, other, nan = (DriveTheDream(agent, starts=starts) for _ in range(3))
    cut.weights = cut.weights[:5000]
    other.weights = other.weights.replace(b'"latent": 32', b'"latent": 31')
    nan.weights = nan.weights[:-4] + np.float32(np.nan).tobytes()
    for widget, message in (
        (cut, "“Drive the dream” cannot start: the weights were cut short."),
        (other, "has shape 512,32, expected 512,31."),
        (nan, "starts.cell holds NaN or infinity."),
    ):
        with shown(widget) as it:
            assert message in it.page.get_by_role("alert").inner_text()


def test_a_picture_takes_little_of_one_core(shown: Opened, widget: DriveTheDream) -> None:
    """Processor time, not time on the clock, so that a busy machine does not fail it."""
    with shown(widget) as it:
        press(it.page, "Start")
        it.wait("demo.dataset.pictures > 5")
        session = it.page.context.new_cdp_session(it.page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})

        def spent() -> float:
            metrics = session.send("Performance.getMetrics")["metrics"]
            return next(m["value"] for m in metrics if m["name"] == "ThreadTime")

        begin, first = spent(), it.count("pictures")
        it.wait(f"demo.dataset.pictures > {first + 40}")
        seconds = (spent() - begin) / (it.count("pictures") - first)
    assert seconds < 1 / FRAMES


def test_a_model_of_other_sizes_drives_too(shown: Opened, agent: Agent) -> None:
    """As a reader might hand over."""
    memory = seeded(0, lambda: MDNRNN(replace(agent.memory.config, hidden=64, mixtures=3)))
    starts = Starts(torch.zeros(1, 32), *memory.initial(1))
    with shown(DriveTheDream((agent.vision, memory), starts=starts)) as it:
        press(it.page, "One step")
        assert it.saved("decisions") == 1
