"""The dream quality explorer, in Python and on a page in Chromium."""

import base64
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image
from playwright.sync_api import Page

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig
from wmlib.agents.world_models.starts import Starts
from wmlib.agents.world_models.vision import VAE, VisionConfig
from wmlib.collecting import collect
from wmlib.demos import DreamQualityExplorer
from wmlib.demos.explorer.quality import follow
from wmlib.demos.page.blocks import unpack
from wmlib.demos.page.weights import as_packed
from wmlib.episodes import Episode
from wmlib.training import seeded

Opened = Callable[..., AbstractContextManager[Any]]  # the fixture `shown`
BYTES = 2_000_000  # that a page may carry


def cut(episode: Episode, decisions: int) -> Episode:
    """The beginning of an episode."""
    return replace(
        episode, observations=episode.observations[: decisions + 1],
        actions=episode.actions[:decisions], rewards=episode.rewards[:decisions], extras={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def episode(episodes: list[Episode]) -> Episode:
    """42 decisions."""
    return cut(episodes[0], 42)


@pytest.fixture
def widget(agent: Agent, episode: Episode) -> DreamQualityExplorer:
    """Moments after 16, 22 and 28 decisions; two dreams of 14."""
    return DreamQualityExplorer(
        agent, episode, starts=3, longest=14, horizon=5, start=0, dreams=2, temperature=0.8, seed=4
    )


# --- in Python


@torch.no_grad()
def test_errors_are_those_of_dreams_under_the_real_actions(
    agent: Agent, episode: Episode, widget: DreamQualityExplorer
) -> None:
    widget.start, widget.dreams, widget.seed = 1, 3, 9
    rounded, (arrays, _) = as_packed(agent), unpack(widget.weights)
    start = Starts(*(torch.tensor(arrays[f"starts.{n}"][1:2]) for n in ("z", "hidden", "cell")))
    draws = [np.random.RandomState(72 + d) for d in range(3)]
    actions = torch.from_numpy(episode.actions[22:36])
    codes, rewards = follow(rounded.memory, start, actions, 0.8, draws)
    painted = rounded.vision.reconstruct(codes.flatten(0, 1)).permute(0, 2, 3, 1)  # (D T, H, W, C)
    wrong = painted.unflatten(0, (3, 14)).numpy() - episode.observations[23:37] / 255
    np.testing.assert_allclose(widget.errors, np.square(wrong).mean((2, 3, 4)), atol=1e-6)
    widget.horizon = 6
    np.testing.assert_allclose(widget.imagined_returns, rewards[:, :6].sum(1), atol=1e-5)
    for widget.horizon in range(1, 15):
        so_far = episode.rewards[22 : 22 + widget.horizon].sum()
        assert widget.real_return == pytest.approx(so_far, abs=1e-5)
    last, better = widget.no_better_after, widget.errors.mean(0) < widget.repeat_errors
    assert last == (13 if better[-1] else np.flatnonzero(better)[-1] + 1 if better.any() else 0)


def test_moments_are_spread_over_the_episodes(agent: Agent, episodes: list[Episode]) -> None:
    """Each with what M had read by then."""
    some = [cut(episodes[0], 40), cut(episodes[1], 30)]
    arrays, _ = unpack(DreamQualityExplorer(agent, some, starts=5, dreams=1).weights)
    assert arrays["baselines.repeat"].shape == (5, 14)  # what the shortest episode leaves
    moments = [[0, 16], [0, 19], [0, 22], [0, 24], [1, 16]]
    assert arrays["episode.moments"].astype(int).tolist() == moments
    z = torch.from_numpy(agent.vision.encode(some[0].observations)[0])
    _, state = agent.memory(z[None, :24], torch.from_numpy(some[0].actions[None, :24]))
    torch.testing.assert_close(
        torch.tensor(arrays["starts.cell"][3]), state.cell[0], rtol=0, atol=1e-5
    )
    np.testing.assert_array_equal(arrays["starts.z"][3], z[24])
    one = DreamQualityExplorer(agent, some[1], starts=5, dreams=1)
    assert len(unpack(one.weights)[0]["episode.moments"]) == 1  # there are no more


@torch.no_grad()
def test_baselines_one_frame_at_a_time(
    agent: Agent, episode: Episode, widget: DreamQualityExplorer
) -> None:
    arrays, _ = unpack(widget.weights)
    vision, frames = as_packed(agent).vision, episode.observations
    average = np.mean([frame / 255 for frame in frames[16:]], axis=0)
    code = agent.vision.encode(frames)[0]
    for row, moment in enumerate((16, 22, 28)):
        for t in (1, 7, 14):
            copy = vision.reconstruct(torch.from_numpy(code[moment + t : moment + t + 1]))
            guesses = {
                "repeat": frames[moment] / 255,
                "mean": average,
                "copy": copy[0].permute(1, 2, 0).numpy(),
            }
            for name, guess in guesses.items():
                error = np.mean((guess - frames[moment + t] / 255) ** 2)
                assert arrays[f"baselines.{name}"][row, t - 1] == pytest.approx(error, abs=1e-6)
    np.testing.assert_allclose(widget.repeat_errors, arrays["baselines.repeat"][0])


@pytest.mark.parametrize("bend", [0, 1, 2])
def test_it_opens_on_a_bend(agent: Agent, episode: Episode, bend: int) -> None:
    """Steering to and fro is none."""
    actions = episode.actions.copy()
    actions[:, 0] = np.where(np.arange(len(actions)) % 2, 1, -1)
    moments = (16, 22, 28)
    actions[moments[bend] : moments[bend] + 5, 0] = -0.6
    curved = replace(episode, actions=actions)
    it = DreamQualityExplorer(agent, curved, starts=3, longest=14, horizon=5, dreams=1)
    assert it.start == bend


def test_frames_lose_nothing(episode: Episode, widget: DreamQualityExplorer) -> None:
    file = base64.b64decode(widget.frames.removeprefix("data:image/webp;base64,"))
    sheet = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    for i, frame in enumerate(episode.observations[16:]):
        y, x = divmod(i, 20)
        np.testing.assert_array_equal(sheet[64 * y : 64 * y + 64, 64 * x : 64 * x + 64], frame)


def test_a_page_carries_no_more_than_it_may(agent: Agent, record_property: Any) -> None:
    """With a whole episode: eight moments of a thousand frames of driving."""
    whole = collect(
        agent.policy(), "wmlib/CarRacing-v3", episodes=1, seed=900000,
        env_kwargs={"action_repeat": 3}, n_jobs=1, progress=False,
    )  # fmt: skip
    it = DreamQualityExplorer(agent, whole)
    assert it.errors.shape == (4, 100)
    assert len(unpack(it.weights)[0]["episode.moments"]) == 8
    size = len(it.weights) + len(base64.b64decode(it.frames.partition(",")[2]))
    record_property("bytes", float(size))
    assert size < BYTES


def test_what_cannot_be_explored_is_refused(agent: Agent, episode: Episode) -> None:
    pair = (agent.vision, agent.memory)
    nan = replace(episode, rewards=np.full_like(episode.rewards, np.nan))
    two = replace(episode, actions=episode.actions[:, :2])
    small = replace(episode, observations=episode.observations[:, ::2, ::2])
    whole = replace(episode, actions=np.zeros(42, np.int64))
    codes = seeded(0, lambda: VAE(VisionConfig(latent=8)))
    broken = seeded(0, VAE)
    with torch.no_grad():
        broken.from_code.weight[0, 0] = np.nan
    wrong: list[tuple[Any, Any, dict[str, Any], str]] = [
        (pair, [], {}, "episode must be a Sequence of length 1 or more"),
        (pair, cut(episode, 25), {}, "episode 0 has 25 decisions; 16 of warm-up and then at least"),
        (pair, [episode, cut(episode, 12)], {}, "episode 1 has 12 decisions"),
        (pair, nan, {}, "the rewards of episode 0 hold NaN"),
        (pair, two, {}, r"of the codes must be \(32, 3\), got \(32, 2\)"),
        (pair, small, {}, r"frames must be .* \(\.\.\., 64, 64, 3\) .* got .* \(43, 32, 32, 3\)"),
        (pair, whole, {}, "whole numbers need choices"),
        ((codes, agent.memory), episode, {}, "V's latents must be 32, got 8"),
        ((broken, agent.memory), episode, {}, "vision.from_code.weight holds NaN"),
        (pair, episode, {"temperature": 0.0}, r"temperature must be in \[0.1, 2\], got 0.0"),
        (pair, episode, {"temperature": float("nan")}, "temperature must be in .* got nan"),
        (pair, episode, {"horizon": 27}, r"horizon must be in \[1, 26\], got 27"),
        (pair, episode, {"start": 1}, r"start must be in \[0, 0\], got 1"),
        (pair, episode, {"dreams": 9}, r"dreams must be in \[1, 8\], got 9"),
        (pair, episode, {"seed": -1}, "seed must be in"),
        (pair, episode, {"starts": 0}, r"starts must be in \[1, 8\], got 0"),
        (pair, episode, {"warm": -1}, "warm must be at least 0, got -1"),
        (pair, episode, {"longest": 101}, r"longest must be in \[10, 100\], got 101"),
        (
            pair,
            episode,
            {"seconds_per_decision": 0},
            "seconds_per_decision must be a positive number",
        ),
    ]
    for world, given, options, message in wrong:
        with pytest.raises(ValueError, match=message):
            DreamQualityExplorer(world, given, **options)
    for world, given, options, message in (
        (agent.vision, episode, {}, r"world_model must be an Agent or a tuple \(a VAE, an M"),
        (pair, None, {}, "episode must be an Episode or a Sequence, got None"),
        (pair, [episode.observations], {}, "episode 0 must be an Episode, got nd"),
        (pair, episode, {"dreams": 2.5}, "dreams must be a whole number, got 2.5"),
        (pair, episode, {"temperature": "hot"}, "temperature must be a number, got 'hot'"),
    ):
        with pytest.raises(TypeError, match=message):
            DreamQualityExplorer(world, given, **options)  # type: ignore[arg-type]


def test_settings_are_checked_when_they_are_set(widget: DreamQualityExplorer) -> None:
    for name, value in {"temperature": 3.0, "horizon": 15, "start": 3, "dreams": 0}.items():
        before = getattr(widget, name)
        with pytest.raises(traitlets.TraitError, match=f"{name} must be in"):
            setattr(widget, name, value)
        assert getattr(widget, name) == before


def test_any_pair_of_v_and_m_will_do(episode: Episode) -> None:
    config = MemoryConfig(latent=4, hidden=8, mixtures=2, reward="normal")
    vision = seeded(0, lambda: VAE(VisionConfig(latent=4, channels=(2, 2, 2, 2))))
    it = DreamQualityExplorer((vision, seeded(1, lambda: MDNRNN(config))), episode, dreams=1)
    assert it.errors.shape == (1, 26)
    assert it.no_better_after is None or 0 <= it.no_better_after < 26


# --- on a page


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def status(page: Page) -> str:
    return page.get_by_role("status").text_content() or ""


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent"))


def pixels(page: Page, tile: str) -> np.ndarray:
    """The picture of that name."""
    canvas = page.locator(".wm-tile").filter(has_text=tile).locator("canvas")
    data = "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, 64, 64).data]"
    return np.array(canvas.evaluate(data)).reshape(64, 64, 4)[..., :3]


def number(page: Page, name: str, plot: int = 0) -> float:
    """A number below a chart."""
    row = page.locator(".wm-plot-of-decisions").nth(plot).locator(".wm-fact").filter(has_text=name)
    return float((row.locator(".wm-value").text_content() or "").replace("−", "-"))


def compared(it: Any) -> None:
    """Wait until all dreams have been dreamed and compared."""
    it.wait("demo.dataset.compared")


def agrees(it: Any, widget: DreamQualityExplorer) -> None:
    """The page says what Python says."""
    compared(it)
    page, at = it.page, widget.horizon - 1
    errors = widget.errors.mean(0)
    assert number(page, "Dreams, on average") == pytest.approx(errors[at], abs=1e-4)
    assert number(page, "Repeating") == pytest.approx(widget.repeat_errors[at], abs=1e-4)
    imagined = widget.imagined_returns.mean()
    assert number(page, "Imagined, on average", 1) == pytest.approx(imagined, abs=0.06)
    assert number(page, "Real", 1) == pytest.approx(widget.real_return, abs=0.06)
    last = widget.no_better_after
    sign = page.locator("svg text").filter(has_text="better")
    if last is None:
        assert sign.count() == 0
    else:
        assert sign.text_content() == (f"no better after {last}" if last else "never better")


def test_it_rests_and_shows_the_dreams_of_python(
    shown: Opened, widget: DreamQualityExplorer, agent: Agent, episode: Episode
) -> None:
    with shown(widget) as it:
        agrees(it, widget)
        page = it.page
        assert it.count("pictures") == 1
        assert page.locator(".wm-demo").get_attribute("data-running") == "false"
        np.testing.assert_array_equal(pixels(page, "Real"), episode.observations[21])
        np.testing.assert_array_equal(pixels(page, "Last seen"), episode.observations[16])
        arrays, _ = unpack(widget.weights)
        rounded = as_packed(agent)
        start = Starts(*(torch.tensor(arrays[f"starts.{n}"][:1]) for n in ("z", "hidden", "cell")))
        draws = [np.random.RandomState(32 + d) for d in range(2)]
        actions = torch.from_numpy(episode.actions[16:21])
        codes, _ = follow(rounded.memory, start, actions, 0.8, draws)
        for d in range(2):
            painted = rounded.vision.decode(codes[d, -1].numpy()).astype(int)
            assert np.abs(pixels(page, f"Dream {d + 1}") - painted).max() <= 1
        copy = rounded.vision.decode(np.array(arrays["episode.codes"][5])).astype(int)
        assert np.abs(pixels(page, "V’s copy") - copy).max() <= 1
        assert page.locator(".wm-tile:visible").count() == 5
        page.wait_for_timeout(300)
        assert it.count("pictures") == 1


def test_every_slider_by_keyboard(
    shown: Opened, widget: DreamQualityExplorer, episode: Episode
) -> None:
    with shown(widget) as it:
        compared(it)
        for name, label, key, value in (
            ("horizon", "Horizon", "ArrowRight", 6),
            ("temperature", "Temperature", "ArrowLeft", 0.75),
            ("start", "Start", "ArrowRight", 1),
            ("dreams", "Dreams", "ArrowRight", 3),
            ("horizon", "Horizon", "End", 14),
            ("dreams", "Dreams", "Home", 1),
        ):
            it.page.get_by_label(label, exact=True).focus()
            it.page.keyboard.press(key)
            assert it.saved(name) == pytest.approx(value)
            setattr(widget, name, it.saved(name))
            agrees(it, widget)
        np.testing.assert_array_equal(pixels(it.page, "Real"), episode.observations[36])
        assert it.page.locator(".wm-tile:visible").count() == 4
        assert status(it.page).startswith("The dream ")


def test_new_noise_by_mouse_and_by_keyboard(shown: Opened, widget: DreamQualityExplorer) -> None:
    with shown(widget) as it:
        compared(it)
        before = pixels(it.page, "Dream 2")
        press(it.page, "New noise")
        assert it.saved("seed") == 5
        widget.seed = 5
        agrees(it, widget)
        assert (pixels(it.page, "Dream 2") != before).any()
        it.page.keyboard.press("Enter")
        assert it.saved("seed") == 6
        it.page.evaluate("model.set('seed', 4)")
        compared(it)
        np.testing.assert_array_equal(pixels(it.page, "Dream 2"), before)


def test_python_may_set_all_of_it(shown: Opened, widget: DreamQualityExplorer) -> None:
    with shown(widget) as it:
        compared(it)
        for name, value in {"horizon": 9, "temperature": 1.3, "start": 2, "dreams": 1}.items():
            it.page.evaluate("([name, value]) => model.set(name, value)", [name, value])
            setattr(widget, name, value)
        agrees(it, widget)
        assert it.page.get_by_label("Temperature").input_value() == "1.3"
        assert it.page.get_by_label("Start").get_attribute("aria-valuetext") == "decision 28"


def test_a_click_on_a_chart_chooses_the_horizon(
    shown: Opened, widget: DreamQualityExplorer
) -> None:
    with shown(widget) as it:
        compared(it)
        box = it.page.locator("svg.wm-chart").first.bounding_box()
        it.page.mouse.click(box["x"] + box["width"] - 14, box["y"] + 90)
        assert it.saved("horizon") == 14
        it.page.mouse.click(box["x"] + 2, box["y"] + 90)
        assert it.saved("horizon") == 1


def test_play_and_pause(shown: Opened, agent: Agent, episode: Episode) -> None:
    slow = DreamQualityExplorer(
        agent, episode, horizon=5, dreams=2, seconds_per_decision=0.5
    )  # a decision a second
    with shown(slow) as it:
        compared(it)
        page, demo = it.page, it.page.locator(".wm-demo")
        press(page, "Play")
        assert demo.get_attribute("data-running") == "true"
        it.wait("demo.dataset.pictures > 2")
        press(page, "Pause")
        assert demo.get_attribute("data-running") == "false"
        rest, at = it.count("pictures"), it.saved("horizon")
        assert 6 <= at < 26
        assert page.get_by_label("Horizon", exact=True).input_value() == str(at)
        assert status(page).startswith(f"Paused after {at} decisions. On average the 2 dreams ")
        page.wait_for_timeout(300)
        assert it.count("pictures") == rest
        page.get_by_label("Horizon", exact=True).fill("25")
        press(page, "Play")
        it.wait("demo.dataset.running === 'false'")
        assert it.saved("horizon") == 26
        assert status(page).startswith("The end, after 26 decisions.")
        press(page, "Play")  # from the beginning
        page.keyboard.press("Escape")
        assert it.saved("horizon") < 20


def test_a_keyboard_alone_plays_and_leaves(shown: Opened, widget: DreamQualityExplorer) -> None:
    with shown(widget) as it:
        compared(it)
        page = it.page
        page.get_by_role("link", name="above").focus()
        while focused(page) != "Play":
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        it.wait("demo.dataset.pictures > 1")
        page.keyboard.press("Escape")
        assert page.locator(".wm-demo").get_attribute("data-running") == "false"
        page.keyboard.press("ArrowDown")  # scrolls as always
        page.wait_for_function("scrollY > 0")
        for _ in range(8):
            page.keyboard.press("Tab")
            if focused(page) == "below":
                break
        assert focused(page) == "below"


def test_it_rests_out_of_sight_and_when_removed(
    shown: Opened, widget: DreamQualityExplorer
) -> None:
    with shown(widget) as it:
        compared(it)
        press(it.page, "Play")
        it.page.evaluate("scrollTo(0, 3000)")
        it.wait("demo.dataset.running === 'false'")
        assert "out of sight" in status(it.page)
        it.page.evaluate("scrollTo(0, 0)")
        press(it.page, "New noise")
        it.page.evaluate("window.remove()")
        rest = it.count("pictures")
        it.page.wait_for_timeout(300)
        assert it.count("pictures") == rest


def test_stillness_is_honoured(shown: Opened, widget: DreamQualityExplorer) -> None:
    """Curves do not grow before the reader's eyes; play still walks, for it was asked to."""
    with shown(widget, reduced_motion="reduce") as it:
        compared(it)
        count = """
            window.drawings = new Set();
            new MutationObserver(() => drawings.add(
              document.querySelector('[data-kind=dream]').getAttribute('points')))
              .observe(document.querySelector('svg.wm-chart'), { childList: true });
        """
        it.page.evaluate(count)
        press(it.page, "New noise")
        compared(it)
        it.page.wait_for_timeout(50)
        assert it.page.evaluate("drawings.size") <= 2  # without any error, and with all of them
        press(it.page, "Play")
        it.wait("demo.dataset.pictures > 3")


def test_plain_keys_stay_inside(shown: Opened, widget: DreamQualityExplorer) -> None:
    with shown(widget) as it:
        compared(it)
        listen = "window.heard = []; document.addEventListener('keydown', (e) => heard.push(e.key))"
        it.page.evaluate(listen)
        it.page.get_by_role("button", name="Play", exact=True).focus()
        for key in ("x", "Escape", "Control+k"):
            it.page.keyboard.press(key)
        assert it.page.evaluate("heard") == ["Control", "k"]


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_it_is_no_wider_than_the_screen(
    shown: Opened, agent: Agent, episode: Episode, width: int
) -> None:
    some = DreamQualityExplorer(agent, [episode, episode], longest=14, start=7, dreams=8)
    with shown(some, width=width) as it:
        compared(it)
        place = it.page.get_by_label("Start").get_attribute("aria-valuetext")
        assert place == "episode 2, decision 28"
        assert it.page.locator(".wm-tile:visible").count() == 11
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


def test_what_cannot_be_read_becomes_a_message(shown: Opened, widget: DreamQualityExplorer) -> None:
    weights, frames = widget.weights, widget.frames
    begins = "“Dream quality explorer” cannot start: "
    for name, damaged, message in (
        ("weights", weights[:5000], "the weights were cut short."),
        ("weights", weights.replace(b"episode.codes", b"episode.c0des"), "lack episode.codes."),
        ("frames", frames[:200], "the frames are no picture that this browser can read."),
        ("frames", "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=", "cut short."),
    ):
        setattr(widget, name, damaged)
        with shown(widget) as it:
            text = it.page.get_by_role("alert").inner_text()
            assert text.startswith(begins) and text.endswith(message)
        widget.weights, widget.frames = weights, frames
