"""The latent sliders, in Python and on a page in Chromium."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import traitlets

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.starts import Starts
from wmlib.demos import LatentSliders
from wmlib.demos.page.weights import as_packed

Opened = Callable[..., AbstractContextManager[Any]]  # the fixture `shown`


def pixels(it: Any) -> np.ndarray:
    flat = it.page.evaluate(
        "[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 64, 64).data]"
    )
    return np.array(flat).reshape(64, 64, 4)[..., :3]


def test_codes_that_are_none_are_refused(agent: Agent) -> None:
    for codes in (np.zeros(32), np.zeros((2, 31)), np.zeros((65, 32))):
        with pytest.raises(ValueError, match=r"codes must be \(N <= 64, 32\)"):
            LatentSliders(agent.vision, codes)
    with pytest.raises(ValueError, match="codes holds NaN or infinity"):
        LatentSliders(agent.vision, np.full((1, 32), np.nan))
    with pytest.raises(TypeError, match="vision must be a VAE, got Agent"):
        LatentSliders(agent)  # type: ignore[arg-type]
    widget = LatentSliders(agent.vision)
    for code in ([0.0] * 31, [np.inf] * 32):
        with pytest.raises(traitlets.TraitError, match="a code is 32 finite numbers"):
            widget.code = code
    assert widget.code == [0.0] * 32


def test_the_picture_is_what_v_paints(shown: Opened, agent: Agent, starts: Starts) -> None:
    codes, vision = starts.z.numpy(), as_packed(agent).vision
    with shown(LatentSliders(agent.vision, codes)) as it:
        assert np.abs(pixels(it) - vision.decode(codes[0]).astype(int)).max() <= 1

        it.page.get_by_label("z5", exact=True).fill("-2.5")
        moved = codes[0].copy()
        moved[5] = -2.5
        assert np.abs(pixels(it) - vision.decode(moved).astype(int)).max() <= 1
        assert it.saved("code") == pytest.approx(moved.tolist())

        it.page.get_by_role("button", name="Next real picture").click()
        it.page.get_by_role("button", name="Next real picture").click()
        assert it.saved("code") == pytest.approx(codes[1].tolist())
        assert np.abs(pixels(it) - vision.decode(codes[1]).astype(int)).max() <= 1

        it.page.get_by_role("button", name="All at 0").click()
        assert np.abs(pixels(it) - vision.decode(np.zeros(32)).astype(int)).max() <= 1

        it.page.evaluate("model.set('code', Array.from({ length: 32 }, () => 0.5))")
        assert np.abs(pixels(it) - vision.decode(np.full(32, 0.5)).astype(int)).max() <= 1
        assert it.page.get_by_label("z31", exact=True).input_value() == "0.5"


def test_a_keyboard_alone_does_everything_and_leaves(shown: Opened, agent: Agent) -> None:
    codes = np.random.default_rng(0).normal(size=(2, 32)).astype(np.float32)
    with shown(LatentSliders(agent.vision, codes)) as it:
        page, order = it.page, list[str]()
        page.get_by_role("link", name="above").focus()
        while not order or (order[-1] != "below" and len(order) < 60):
            order.append(it.tab())
            if order[-1] == "Next real picture":
                page.keyboard.press("Enter")
                page.keyboard.press(" ")
                assert it.saved("code") == pytest.approx(codes[1].tolist())
            elif order[-1] == "All at 0":
                page.keyboard.press(" ")
                assert it.saved("code") == [0.0] * 32
        decode = as_packed(agent).vision.decode

        def moved(i: int) -> float:
            low, high = (decode(sign * 2 * np.eye(32)[i]).astype(float) for sign in (-1, 1))
            return float(np.square(high - low).mean())

        sliders = order[2:-1]
        changes = [moved(int(name[1:])) for name in sliders]
        assert sorted(sliders) == sorted(f"z{i}" for i in range(32))
        assert changes[0] > 10 * changes[-1]  # some numbers hold much, and some nothing
        for before, after in pairwise(changes):
            assert after <= 1.05 * before + 1  # rounded weights, and pictures in whole numbers
        assert [*order[:2], order[-1]] == ["Next real picture", "All at 0", "below"]


def test_weights_that_cannot_be_read_become_a_message(shown: Opened, agent: Agent) -> None:
    widget = LatentSliders(agent.vision, np.zeros((1, 32), np.float32))
    widget.weights = widget.weights[:-4] + np.float32(np.nan).tobytes()
    with shown(widget) as it:
        text = it.page.get_by_role("alert").inner_text()
    assert text == "“The numbers of z” cannot start: codes holds NaN or infinity."


def test_arrow_keys_move_a_slider(shown: Opened, agent: Agent) -> None:
    with shown(LatentSliders(agent.vision), width=320) as it:
        assert it.page.get_by_role("button", name="Next real picture").count() == 0
        it.page.get_by_label("z0", exact=True).focus()
        it.page.keyboard.press("ArrowRight")
        it.page.keyboard.press("ArrowRight")
        assert it.saved("code[0]") == pytest.approx(0.1)
        right = "Math.max(...[...document.querySelectorAll('.wm-demo *')]"
        assert it.page.evaluate(f"{right}.map((e) => e.getBoundingClientRect().right))") <= 320
