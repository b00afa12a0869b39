"""Driving in the diffusion dream: the denoiser in the page's two kernels, and on a page itself."""

import base64
import dataclasses
import hashlib
import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import traitlets
from PIL import Image
from torch import Tensor

from wmlib.agents.diamond import (
    Denoiser,
    DenoiserConfig,
    SamplerConfig,
    UNetConfig,
    denoiser,
    load_denoiser,
)
from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig, State
from wmlib.artifacts import artifact
from wmlib.demos import DiffusionDrive, diffusion_drive
from wmlib.demos.diffusion_drive.weights import (
    STEPS,
    Moments,
    as_packed,
    dream,
    moments,
    pack_denoiser,
    quantisation_cost,
)
from wmlib.demos.page.blocks import unpack
from wmlib.demos.page.weights import WeightsConfig, rounded
from wmlib.episodes import Episode
from wmlib.training import seeded

DEMO = Path(diffusion_drive.__file__).parent
PARITY = 1e-3  # of pixels in [-1, 1]; of single layers a tenth
LEVEL = 2 / 255  # what a byte more is there
FINE = 2**20  # levels of a rounding that leaves arithmetic its say
FRAMES = 10  # a second on one core, that a page must reach with three steps
PAGE = 6_000_000  # bytes that all weights may take of a page
BOOK = UNetConfig(channels=(32, 64, 128), depth=1, waves=32, group=32, fold=2)
SMALL = UNetConfig(channels=(8, 16), depth=2, waves=3, group=4, fold=4)
MODULES = [f"diffusion_drive/{name}.js" for name in ("kernels", "denoiser", "dream")]
KERNELS = {"simd": "await kernels()", "plain": "new Plain()"}
Opened = Callable[..., AbstractContextManager[Any]]  # the fixture `shown`
Script = Callable[..., Any]  # the fixture `run`


def made(network: UNetConfig, frame: tuple[int, int, int] = (3, 64, 64)) -> Denoiser:
    """A denoiser whose layers all have something to say, those too that begin with zeros."""
    config = DenoiserConfig(network=network, past=4)
    it = seeded(0, lambda: Denoiser(config, frame, 3))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in it.parameters():
            if not parameter.any():
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return it


@pytest.fixture(scope="module")
def book() -> Denoiser:
    return made(BOOK)


@pytest.fixture(scope="module")
def small() -> Denoiser:
    return made(SMALL)


@pytest.fixture(scope="module")
def shipped() -> Denoiser:
    """The denoiser of CarRacing that the book ships."""
    return load_denoiser(artifact("diamond-car-racing"))


@pytest.fixture(scope="module")
def begin(episodes: list[Episode], agent: Agent) -> Moments:
    """Two moments of real drives, for V and M too."""
    return moments(episodes, 20, world=(agent.vision, agent.memory))


@pytest.fixture(scope="module")
def widget(small: Denoiser, begin: Moments, agent: Agent) -> DiffusionDrive:
    return DiffusionDrive(small, moments=begin, world=agent, seed=3)


@pytest.fixture(params=["in_node", "in_chromium"])
def run(request: pytest.FixtureRequest) -> Script:
    """`run(body, **input)`: what JavaScript beside the denoiser returns, in Node and Chromium."""
    return partial(request.getfixturevalue(request.param), ["page/engine.js", *MODULES])


def actions(count: int) -> np.ndarray:
    return np.random.default_rng(5).uniform((-1, 0, 0), 1, (count, 3)).astype(np.float32)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def last(frames: Tensor) -> Tensor:
    """Channels first to channels last."""
    return frames.movedim(-3, -1)


# --- in Python


def test_a_moment_is_what_was_seen_and_done(
    episodes: list[Episode], begin: Moments, agent: Agent
) -> None:
    for i, episode in enumerate(episodes):
        np.testing.assert_array_equal(begin.frames[i], episode.observations[17:21])
        np.testing.assert_array_equal(begin.actions[i], episode.actions[17:20])
        state = agent.memory.initial(1)
        codes = torch.from_numpy(agent.vision.encode(episode.observations[:21])[0])
        with torch.no_grad():
            for z, action in zip(codes, torch.from_numpy(episode.actions[:20]), strict=False):
                state = agent.memory.step(z[None], action[None], state)
        assert begin.starts is not None
        torch.testing.assert_close(begin.starts.z[i], codes[20])
        torch.testing.assert_close(begin.starts.hidden[i], state.hidden[0])
        torch.testing.assert_close(begin.starts.cell[i], state.cell[0])
    for decision, asked in ((2, episodes), (60, episodes), (3, [])):
        with pytest.raises(ValueError, match=rf"decision must be in \[3, .* got {decision}"):
            moments(asked, decision)


def test_all_that_a_page_needs_is_there_and_no_more(book: Denoiser, begin: Moments) -> None:
    packed = pack_denoiser(book, begin)
    assert len(packed) < 1_700_000
    arrays, header = unpack(packed)
    seen = 2 * (4 * 64 * 64 * 3 + 3 * 3)
    count = sum(part.numel() for part in book.network.state_dict().values())
    assert sum(array.size for array in arrays.values()) == count + seen + sum(STEPS) + len(STEPS)
    assert header["network"] == dataclasses.asdict(BOOK) | {"channels": list(BOOK.channels)}
    np.testing.assert_array_equal(np.rint(255 * arrays["moments.frames"]), begin.frames)
    assert arrays["sigmas.1"] == pytest.approx([5, 0])
    assert arrays["sigmas.3"][[0, 2]] == pytest.approx([5, 0.002])


def test_the_copy_has_the_numbers_of_the_page(book: Denoiser, begin: Moments) -> None:
    arrays, _ = unpack(pack_denoiser(book, begin))
    for name, tensor in as_packed(book).network.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), arrays[name])
        own = book.network.state_dict()[name]
        assert torch.equal(own, tensor) == (tensor.ndim == 1)


def test_rounding_costs_little_and_more_bits_cost_less(small: Denoiser, begin: Moments) -> None:
    eight = quantisation_cost(small, begin, horizon=3)
    sixteen = quantisation_cost(small, begin, config=WeightsConfig(denoiser_bits=16), horizon=3)
    assert eight.shape == (3,)
    assert sixteen[0] < eight[0] / 20 and (sixteen < eight).all() and eight[0] < 2


def test_rounding_costs_the_shipped_one_less_than_a_level(
    shipped: Denoiser, begin: Moments
) -> None:
    cost = quantisation_cost(shipped, begin, horizon=3)
    assert (cost > 0).all() and (cost < 1).all(), cost


def test_the_page_carries_no_more_than_it_may(
    shipped: Denoiser, begin: Moments, agent: Agent
) -> None:
    widget = DiffusionDrive(shipped, moments=begin, world=agent)
    assert (len(widget.weights) + len(widget.world)) * 4 / 3 < PAGE  # a page has bytes in base64


def test_what_does_not_drive_is_refused(small: Denoiser, begin: Moments, agent: Agent) -> None:
    grey = seeded(0, lambda: Denoiser(DenoiserConfig(network=SMALL), (1, 64, 64), 3))
    two = seeded(0, lambda: Denoiser(DenoiserConfig(network=SMALL), (3, 64, 64), 2))
    odd = made(UNetConfig(channels=(8, 12), group=4))
    deep = made(UNetConfig(channels=(8,) * 5, group=4))
    pairs = made(UNetConfig(channels=(8, 16), group=2))
    other = seeded(0, lambda: MDNRNN(MemoryConfig(actions=2)))
    frames = begin.frames
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (grey, {}, "the denoiser's colours must be 3, got 1"),
        (two, {}, r"the denoiser's actions .* must be 3, got 2"),
        (pairs, {}, r"normalises channels in 4s, got groups of 2: group = 2"),
        (odd, {}, r"channels in 8s .* got \(8, 12\) and 16 pixels"),
        (deep, {}, r"rows of pixels in 4s .* and 2 pixels"),
        (small, {"moments": begin._replace(frames=frames[:, :, ::2, ::2])},
         r"moments.frames must be .* \(S, 4, 64, 64, 3\) of uint8, got .* \(2, 4, 32, 32, 3\)"),
        (small, {"moments": begin._replace(frames=frames[:, 1:])}, r"moments.frames must be"),
        (small, {"moments": begin._replace(frames=frames[:0])}, r"moments.frames must be"),
        (small, {"moments": Moments(frames[[0] * 65], begin.actions[[0] * 65], begin.starts)},
         r"number of moments must be in \[1, 64\], got 65"),
        (small, {"moments": begin._replace(actions=begin.actions * np.float32(np.nan))},
         "moments.actions must be finite"),
        (small, {"moments": begin._replace(starts=None)}, "the moments lack the starts"),
        (small, {"moments": begin._replace(starts=begin.starts.take(slice(0, 1)))},
         "the number of starts of V and M must be 2, got 1"),
        (small, {"world": (agent.vision, other)}, r"M's actions .* must be 3, got 2"),
        (small, {"sampler": SamplerConfig(steps=4)}, r"steps must be one of \(1, 2, 3, 5\), got 4"),
        (small, {"sampler": SamplerConfig(most=50)}, r"sigma must be in \[0.002, 20\], .* got 50"),
        (small, {"seed": -1}, r"seed must be in \[0, 4294967296\), got -1"),
        (small, {"seconds_per_decision": 0}, "seconds_per_decision"),
    ]  # fmt: skip
    for one, options, message in wrong:
        with pytest.raises(ValueError, match=message):
            DiffusionDrive(one, **{"moments": begin, "world": agent, **options})
    with pytest.raises(TypeError, match="denoiser must be a Denoiser, got UNet"):
        DiffusionDrive(small.network, moments=begin)  # type: ignore[arg-type]
    broken = made(SMALL)
    with torch.no_grad():
        broken.network.down[1][0].conv1.weight[3, 2, 1, 0] = torch.nan
    with pytest.raises(ValueError, match=r"down\.1\.0\.conv1\.weight holds NaN or infinity"):
        DiffusionDrive(broken, moments=begin)


def test_a_picture_and_a_sentence_stand_for_it(widget: DiffusionDrive, begin: Moments) -> None:
    (found,) = re.findall(r'src="data:image/webp;base64,([^"]*)"', widget.still)
    shown = Image.open(io.BytesIO(base64.b64decode(found))).convert("RGB")
    np.testing.assert_array_equal(np.asarray(shown), begin.frames[0, -1])
    assert widget.still.count("needs JavaScript.") == 1


def test_what_is_set_later_is_checked_too(widget: DiffusionDrive) -> None:
    for name, value in (("steps", 4), ("start", 2), ("start", -1)):
        before = getattr(widget, name)
        with pytest.raises(traitlets.TraitError, match=f"{name} must be"):
            setattr(widget, name, value)
        assert getattr(widget, name) == before


def test_the_kernels_are_those_of_their_source() -> None:
    digest = hashlib.sha256((DEMO / "kernels.c").read_bytes()).hexdigest()
    text = (DEMO / "kernels.wasm.js").read_text(encoding="utf-8")
    assert digest in text, "kernels.c was changed: run python book/_make/kernels.py"


# --- in JavaScript

LAYER = """
    const k = KERNELS;
    const place = (values) => {
      const at = k.reserve(values.length);
      k.numbers.set(values, at);
      return at;
    };
    const bordered = (values, side, channels) => {
      const at = k.reserve((side + 2) ** 2 * channels);
      for (let i = 0; i < side; i++) for (let j = 0; j < side; j++) {
        const n = (i * side + j) * channels;
        const there = at + ((i + 1) * (side + 2) + j + 1) * channels;
        k.numbers.set(values.slice(n, n + channels), there);
      }
      return at;
    };
    const inside = (at, side, channels) => {
      const found = [];
      for (let i = 0; i < side; i++) {
        const row = at + ((i + 1) * (side + 2) + 1) * channels;
        found.push(...k.numbers.slice(row, row + side * channels));
      }
      const all = k.numbers.slice(at, at + (side + 2) ** 2 * channels);
      const sum = (values) => values.reduce((a, b) => a + Math.abs(b), 0);
      return { found, border: sum(all) - sum(found) };
    };
"""


@pytest.mark.parametrize("which", KERNELS)
@pytest.mark.parametrize("kernel, stride, added", [(3, 1, False), (3, 2, True), (1, 1, True)])
def test_convolution(run: Script, which: str, kernel: int, stride: int, added: bool) -> None:
    side, inputs, outputs = 8, 5, 16
    x, start = normal(1, inputs, stride * side, stride * side), normal(1, outputs, side, side)
    weight, bias = normal(outputs, inputs, kernel, kernel, seed=1), normal(outputs, seed=2)
    theirs = F.conv2d(x, weight, bias, stride, kernel // 2) + added * start
    body = """
        const { side, stride, kernel } = input;
        const start = bordered(input.start, side, 16);
        const y = bordered(input.start.map(() => 7), side, 16);
        k.convolve(bordered(input.x, stride * side, 5), 5, stride * side + 2, place(input.weight),
          place(input.bias), input.added ? start : 0, y, 16, side, kernel, stride);
        return inside(y, side, 16);
    """
    ours = run(
        LAYER.replace("KERNELS", KERNELS[which]) + body, x=last(x).flatten(), bias=bias,
        start=last(start).flatten(), side=side,
        weight=weight.view(2, 8, inputs, kernel, kernel).permute(0, 3, 4, 2, 1).flatten(),
        kernel=kernel, stride=stride, added=added,
    )  # fmt: skip
    found = torch.tensor(ours["found"]).view(side, side, outputs)
    torch.testing.assert_close(found, last(theirs)[0], atol=2e-5, rtol=0)
    assert abs(ours["border"]) < 1e-3


@pytest.mark.parametrize("which", KERNELS)
@torch.no_grad()
def test_normalisation(run: Script, which: str) -> None:
    """Numbers as far from 0 as the exponential goes, and one group that varies little."""
    x = 3 * normal(1, 24, 8, 8) + 5
    x[:, :8] = 2 + 0.1 * x[:, :8]
    scale, shift = 40 * normal(24, seed=1), normal(24, seed=2)
    theirs = F.silu(F.group_norm(x.double(), 3, scale.double(), shift.double()))
    body = """
        const y = bordered(input.x.map(() => 7), 8, 24);
        k.normalise(bordered(input.x, 8, 24), y, 8, 24, 3, place(input.scale), place(input.shift));
        return inside(y, 8, 24);
    """
    first = LAYER.replace("KERNELS", KERNELS[which])
    ours = run(first + body, x=last(x).flatten(), scale=scale, shift=shift)
    found = torch.tensor(ours["found"]).view(8, 8, 24)
    torch.testing.assert_close(found, last(theirs)[0].float(), atol=1e-4, rtol=1e-4)
    assert abs(ours["border"]) < 0.1  # of a sum of thousands


SAY = """
    const { header, arrays } = unpack(input.bytes);
    const network = new UNet(arrays, header, KERNELS);
    input.frames.forEach((frame, t) => network.show(t, frame, 1));
    return Array.from(network.say(input.noise, input.chosen, new Float32Array(64 * 64 * 3)));
"""


@pytest.mark.parametrize("which, size", [("simd", "book"), ("simd", "small"), ("plain", "small")])
@torch.no_grad()
def test_the_network_says_what_pytorch_says(
    run: Script, begin: Moments, which: str, size: str, request: pytest.FixtureRequest,
    record_property: Any,
) -> None:  # fmt: skip
    origin: Denoiser = request.getfixturevalue(size)
    frames, chosen, noise = normal(5, 3, 64, 64), normal(1, 4, 3, seed=1), torch.tensor([-0.7])
    theirs = as_packed(origin).network(frames[None, 4], noise, frames[None, :4], chosen)
    ours = run(
        SAY.replace("KERNELS", KERNELS[which]), bytes=pack_denoiser(origin, begin),
        frames=last(frames).flatten(1), noise=float(noise), chosen=chosen.flatten(),
    )  # fmt: skip
    assert theirs.std() > 0.1
    difference = float((torch.tensor(ours).view(64, 64, 3) - last(theirs)[0]).abs().max())
    record_property("largest_difference", difference)
    assert difference < PARITY / 10


DREAM = """
    const { header, arrays } = unpack(input.bytes);
    header.denoiser.levels = input.levels;
    const dream = new Dream(arrays, header, KERNELS);
    dream.begin(input.row, input.seed);
    return input.actions.map((action) => {
      for (const pass of dream.step(action, input));
      return Array.from(dream.frames.at(-1));
    });
"""


def dreamed(
    run: Script, which: str, packed: bytes, steps: int, levels: int, count: int, wide: bool = False
) -> Tensor:
    """Frames (T, 64, 64, 3) of a page's dream from the second moment."""
    frames = run(
        DREAM.replace("KERNELS", KERNELS[which]), bytes=packed, row=1, seed=11, steps=steps,
        levels=levels, actions=actions(count), wide=wide,
    )  # fmt: skip
    return torch.tensor(frames).view(count, 64, 64, 3)


@pytest.mark.parametrize("which, size, steps", [
    ("simd", "book", 1), ("simd", "book", 3), ("plain", "small", 1), ("plain", "small", 3),
])  # fmt: skip
def test_a_page_dreams_as_pytorch_does(
    run: Script, begin: Moments, which: str, size: str, steps: int, monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest, record_property: Any,
) -> None:  # fmt: skip
    """Five decisions, with the noise of NumPy's RandomState and the weights as packed.

    Rounding to bytes would make a level of a millionth wherever a pixel lies on the edge between
    two, and a network of random weights feeds on that; so here the levels are much finer.
    """

    def fine(frames: Tensor) -> Tensor:
        return ((frames.clamp(-1, 1) + 1) / 2 * FINE).round() / FINE * 2 - 1

    origin: Denoiser = request.getfixturevalue(size)
    monkeypatch.setattr(denoiser, "quantised", fine)
    sampler = SamplerConfig(steps=steps)
    theirs = last(dream(as_packed(origin), begin, actions(5), sampler, 11))[1]
    ours = dreamed(run, which, pack_denoiser(origin, begin), steps, FINE, 5)
    assert theirs.std() > 0.1 and (theirs[0] - theirs[4]).abs().mean() > 0.01
    differences = (ours - theirs).abs().amax((1, 2, 3))
    record_property("largest_differences", differences.tolist())
    assert (differences < PARITY).all(), differences


@pytest.mark.parametrize("steps, wide", [(1, False), (3, False), (3, True)])
def test_a_page_dreams_the_shipped_dream(
    run: Script, shipped: Denoiser, begin: Moments, steps: int, wide: bool, record_property: Any
) -> None:
    """Five decisions of random driving, in bytes: trained weights make little of a level."""
    sampler = SamplerConfig(steps=steps)
    theirs = last(dream(as_packed(shipped), begin, actions(5), sampler, 11, wide))[1]
    ours = dreamed(run, "simd", pack_denoiser(shipped, begin), steps, 255, 5, wide)
    off = (ours - theirs).abs()
    record_property("largest_levels", (off / LEVEL).amax((1, 2, 3)).tolist())
    assert off.mean() < PARITY / 10 and float((off > PARITY).float().mean()) < 0.02
    assert off.max() < LEVEL + PARITY


@pytest.mark.parametrize("steps, wide", [*((steps, False) for steps in STEPS), (3, True)])
def test_a_frame_of_bytes_is_pytorchs(
    run: Script, small: Denoiser, begin: Moments, steps: int, wide: bool
) -> None:
    """Every pixel is some byte's, and the same one's but on the edge between two."""
    sampler = SamplerConfig(steps=steps)
    theirs = last(dream(as_packed(small), begin, actions(1), sampler, 11, wide))[1]
    ours = dreamed(run, "simd", pack_denoiser(small, begin), steps, 255, 1, wide)
    levels = (ours + 1) / LEVEL
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    off = (ours - theirs).abs()
    assert float((off > PARITY).float().mean()) < 0.01
    assert float(off.max()) < LEVEL + PARITY


def test_weights_of_another_shape_are_refused_by_name(
    run: Script, small: Denoiser, begin: Moments
) -> None:
    body = """
        const wrong = [];
        for (const change of [
          (header) => { header.network.channels = [8, 24]; },
          (header) => { header.network.waves = 4; },
          (header, arrays) => { delete arrays["sigmas.2"]; },
          (header, arrays) => { delete arrays["moments.frames"]; },
        ]) {
          const { header, arrays } = unpack(input.bytes);
          change(header, arrays);
          try { new Dream(arrays, header, await kernels()); }
          catch (error) { wrong.push(error.message); }
        }
        return wrong;
    """
    assert run(body, bytes=pack_denoiser(small, begin)) == [
        "down.1.0.conv1.weight has shape 16,8,3,3, expected 24,8,3,3",
        "noise.frequencies has shape 3, expected 4",
        "the weights lack sigmas.2",
        "there is no moment to start from",
    ]


# --- on a page

NO_WORKER = "delete window.Worker;"
NO_WASM = "delete window.WebAssembly;"
DEAF = """
    window.Worker = class {
      constructor() { setTimeout(() => this.onerror(new Event("error"))); }
      postMessage() {}
      terminate() {}
    };
"""


def press(it: Any, name: str) -> None:
    it.page.get_by_role("button", name=name, exact=True).click()


def ready(it: Any) -> str:
    """Wait for the denoiser, and read what draws."""
    it.wait("demo.dataset.by")
    return str(it.page.locator(".wm-by").text_content())


def status(it: Any) -> str:
    return it.page.get_by_role("status").text_content() or ""


def one_step(it: Any) -> None:
    before = it.count("decisions")
    press(it, "One step")
    it.wait(f"demo.dataset.decisions > {before}")


def painted(it: Any, film: int = 0) -> np.ndarray:
    """What stands on a canvas: (64, 64, 3)."""
    found = it.page.evaluate(
        "(film) => [...document.querySelectorAll('.wm-films canvas')[film].getContext('2d')"
        ".getImageData(0, 0, 64, 64).data]", film,
    )  # fmt: skip
    return np.array(found).reshape(64, 64, 4)[..., :3]


@torch.no_grad()
@pytest.mark.parametrize(
    "first, words",
    [
        ("", "WebAssembly with SIMD, in a worker beside the page."),
        (NO_WORKER, "WebAssembly with SIMD, in the page itself."),
        (DEAF + NO_WASM, "plain JavaScript, since WebAssembly is refused here, in the page "
         "itself."),
    ],
)  # fmt: skip
def test_both_dream_as_in_python(
    shown: Opened, widget: DiffusionDrive, small: Denoiser, begin: Moments, agent: Agent,
    first: str, words: str,
) -> None:  # fmt: skip
    """Two decisions with all pedals up, wherever and by whatever the denoiser's dream is drawn."""
    theirs = last(dream(as_packed(small), begin, np.zeros((2, 3)), seed=3))[0]
    vision, memory = rounded(agent.vision, agent.memory)
    assert begin.starts is not None
    z, state = begin.starts.z[:1], State(begin.starts.hidden[:1], begin.starts.cell[:1])
    draws = np.random.RandomState(3)
    with shown(widget, first=first) as it:
        assert ready(it).startswith(f"Drawn by {words} At 16.7 frames a second")
        np.testing.assert_array_equal(painted(it), begin.frames[0, -1])
        assert np.abs(painted(it, 1) - vision.decode(z.numpy())[0].astype(int)).max() <= 1
        for frame in theirs:
            one_step(it)
            state = memory.step(z, torch.zeros(1, 3), state)
            prediction = memory.predict(state.hidden)
            uniform, normals = draws.random_sample(32), draws.standard_normal(32)
            draws.random_sample()
            share = prediction.log_pi[0].exp().cumsum(0)  # (K, Z)
            chosen = (share[:-1] < torch.from_numpy(uniform)).sum(0, keepdim=True)
            mean, log_sigma = (part[0].gather(0, chosen) for part in prediction[1:3])
            z = (mean + log_sigma.exp() * torch.from_numpy(normals)).float()
            assert np.abs(painted(it, 1) - vision.decode(z.numpy())[0].astype(int)).max() <= 1
            off = np.abs(painted(it) - ((frame.numpy() + 1) / 2 * 255).round())
            assert (off > 0).mean() < 0.05 and off.mean() < 0.1
        assert it.saved("decisions") == 2 and it.saved("milliseconds") > 0
        assert status(it) == "Paused after 0.1 seconds in the dream."


def test_it_rests_and_goes_on_when_nobody_does_anything(
    shown: Opened, widget: DiffusionDrive
) -> None:
    with shown(widget) as it:
        ready(it)
        it.page.wait_for_timeout(300)
        assert (it.count("pictures"), it.count("decisions")) == (1, 0)
        press(it, "Start")
        it.wait("demo.dataset.decisions > 6")
        assert status(it) == "You drive. It goes on when you do nothing, too."
        rate = it.page.locator(".wm-fact", has_text="Frames a second").text_content()
        assert rate.endswith(" of 16.7") and float(rate[15:].split()[0]) > 0
        press(it, "Pause")
        it.page.wait_for_timeout(300)  # what was under way is done
        rest = it.count("pictures")
        it.page.wait_for_timeout(300)
        assert it.count("pictures") == rest == it.count("decisions") + 1
        assert status(it).startswith("Paused after")


def test_keys_and_pedals_drive_and_leave_the_page_alone(
    shown: Opened, widget: DiffusionDrive
) -> None:
    gas = "Number([...demo.querySelectorAll('.wm-fact')][1].lastChild.textContent)"
    with shown(widget) as it:
        page = it.page
        press(it, "Start")
        page.keyboard.down("ArrowUp")
        it.wait(f"{gas} === 1")
        page.keyboard.up("ArrowUp")
        it.wait(f"{gas} === 0")
        page.get_by_role("button", name="Gas", exact=True).hover()
        page.mouse.down()
        it.wait(f"{gas} === 1")
        page.mouse.up()
        it.wait(f"{gas} === 0")
        assert page.evaluate("scrollY") == 0
        page.keyboard.press("Escape")
        assert page.locator(".wm-demo").get_attribute("data-running") == "false"
        page.locator(".wm-screen").first.click()
        assert page.locator(".wm-demo").get_attribute("data-running") == "true"
        page.evaluate("scrollTo(0, 2500)")
        it.wait("demo.dataset.running === 'false'")
        assert "out of sight" in status(it)


def test_every_control_by_keyboard_and_from_python(shown: Opened, widget: DiffusionDrive) -> None:
    with shown(widget) as it:
        ready(it)
        page, order = it.page, []
        page.get_by_role("link", name="above").focus()
        while (name := it.tab()) != "below" and len(order) < 30:
            order.append(name)
            if name == "5":
                page.keyboard.press("Enter")
                assert it.saved("steps") == 5
            if name == "Begin with wide noise":
                page.keyboard.press("Enter")
                assert it.saved("wide") is True
        assert order == [
            "Start", "One step", "Restart", "Another start", "◀", "▲", "▼", "▶", "1", "2", "3", "5",
            "Begin with wide noise",
        ]  # fmt: skip
        pressed = page.locator(".wm-steps [aria-pressed=true]")
        assert pressed.all_text_contents() == ["5"]
        page.evaluate("model.set('steps', 2)")
        assert pressed.all_text_contents() == ["2"]
        page.evaluate("model.set('wide', false)")
        assert page.locator("[aria-pressed=true]").count() == 1
        page.evaluate("model.set('start', 1)")
        assert status(it) == "Start 2 of 2. You will drive. Press Start."


def test_the_same_dream_and_another(shown: Opened, widget: DiffusionDrive) -> None:
    """Restarted while a frame is being drawn, it begins as if nothing had been."""
    with shown(widget) as it:
        ready(it)
        first = painted(it)
        one_step(it)
        one = painted(it)
        press(it, "Start")
        it.wait("demo.dataset.decisions > 2")
        press(it, "Restart")
        np.testing.assert_array_equal(painted(it), first)
        it.page.wait_for_timeout(200)
        assert it.count("decisions") == 0
        one_step(it)
        np.testing.assert_array_equal(painted(it), one)
        press(it, "Another start")
        assert it.saved("start") == 1 and it.count("decisions") == 0
        assert (painted(it) != first).any()


@pytest.mark.parametrize("width", [320, 1280])
def test_it_is_no_wider_than_the_screen(
    shown: Opened, small: Denoiser, begin: Moments, widget: DiffusionDrive, width: int
) -> None:
    for one, films in ((widget, 2), (DiffusionDrive(small, moments=begin), 1)):
        with shown(one, width=width) as it:
            ready(it)
            assert it.page.locator(".wm-films canvas").count() == films
            boxes = "[...document.querySelectorAll('{}')].map((e) => e.getBoundingClientRect())"
            wide = boxes.format(".wm-demo, .wm-demo *") + ".filter((b) => b.right > innerWidth)"
            assert it.page.evaluate(wide) == []
            tiny = ".filter((b) => b.width < 44 || b.height < 44)"
            assert it.page.evaluate(boxes.format(".wm-demo button") + tiny) == []


def test_weights_that_cannot_be_read_become_a_message(
    shown: Opened, small: Denoiser, begin: Moments
) -> None:
    cut, other = (DiffusionDrive(small, moments=begin) for _ in range(2))
    cut.weights = cut.weights[:5000]
    other.weights = other.weights.replace(b'"waves": 3', b'"waves": 4')  # the worker finds that
    for widget, message in (
        (cut, "“Drive in the diffusion dream” cannot start: the weights were cut short."),
        (other, "cannot start: noise.frequencies has shape 3, expected 4."),
    ):
        with shown(widget) as it:
            assert message in it.page.get_by_role("alert").inner_text()


def test_a_removed_demo_stops_its_worker(shown: Opened, widget: DiffusionDrive) -> None:
    with shown(widget) as it:
        press(it, "Start")
        it.wait("demo.dataset.decisions > 1")
        assert len(it.page.workers) == 1
        it.page.evaluate("window.remove()")
        it.page.wait_for_timeout(300)
        rest = it.count("pictures")
        it.page.wait_for_timeout(200)
        assert it.count("pictures") == rest and it.page.workers == []


def test_ten_frames_a_second_on_one_core(
    shown: Opened, book: Denoiser, begin: Moments, agent: Agent, record_property: Any
) -> None:
    """All of it on the page's own thread, V and M too, with three steps.

    Processor time, not time on the clock, so that a busy machine does not fail it; and what is
    asserted is a third of the rate, so that an old one does not either.
    """
    with shown(DiffusionDrive(book, moments=begin, world=agent), first=NO_WORKER) as it:
        ready(it)
        session = it.page.context.new_cdp_session(it.page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})

        def spent() -> float:
            metrics = session.send("Performance.getMetrics")["metrics"]
            return next(m["value"] for m in metrics if m["name"] == "ThreadTime")

        press(it, "Start")
        it.wait("demo.dataset.decisions > 8")  # by now the browser has compiled what is slow
        begun, first = spent(), it.count("decisions")
        it.wait(f"demo.dataset.decisions > {first + 15}")
        seconds = (spent() - begun) / (it.count("decisions") - first)
    record_property("seconds_a_frame", seconds)
    assert seconds < 3 / FRAMES
