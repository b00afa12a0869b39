"""The browser side of the demos without a notebook: the engine, or a widget on a bare page."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from anywidget import AnyWidget
from playwright.sync_api import Browser, Page

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.starts import Starts, warm_up
from wmlib.collecting import collect
from wmlib.demos.page.assets import script
from wmlib.episodes import Episode
from wmlib.exploration import SmoothRandomPolicy

ROOT = Path(__file__).parents[2]
Script = Callable[..., Any]
Opened = Callable[..., AbstractContextManager["Shown"]]


@pytest.fixture(scope="session")
def agent() -> Agent:
    """The agent that the book ships."""
    return Agent.load(ROOT / "artifacts" / "world-models-car-racing-random")


@pytest.fixture(scope="session")
def episodes(agent: Agent) -> list[Episode]:
    """Two short drives of that agent."""
    return collect(
        agent.policy(), "wmlib/CarRacing-v3", episodes=2, seed=7000, max_steps=60,
        env_kwargs={"action_repeat": 3}, n_jobs=1, progress=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def starts(agent: Agent) -> Starts:
    """Three moments of random driving."""
    driven = collect(
        SmoothRandomPolicy(gym.spaces.Box(np.float32([-1, 0, 0]), np.ones(3, np.float32))),
        "wmlib/CarRacing-v3", episodes=3, seed=30, max_steps=20,
        env_kwargs={"action_repeat": 3}, n_jobs=1, progress=False,
    )  # fmt: skip
    return warm_up(agent.memory, Codes.of(driven, agent.vision.encode), 19).take(slice(0, 3))


# Numbers travel as JSON; bytes as base64 under the key "bytes".
BODY = """
export async function answer(input) {
  if (input.bytes) input.bytes = Uint8Array.from(atob(input.bytes), (c) => c.charCodeAt(0));
  const plain = (key, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
  return JSON.stringify(await (async () => { %s })(), plain);
}
"""
IN_NODE = """
import { readFileSync } from "node:fs";
console.log(await answer(JSON.parse(readFileSync(%s))));
"""
IN_PAGE = """
async ([source, input]) => {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  return (await import(url)).answer(JSON.parse(input));
}
"""


@pytest.fixture(scope="session", params=["node", "chromium"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Script:
    """`run(body, **input)`: what JavaScript beside the engine returns, in Node and in Chromium."""
    in_page = request.param == "chromium"
    where = request.getfixturevalue("browser" if in_page else "node")
    page = where.new_page() if in_page else None
    folder = tmp_path_factory.mktemp("engine")

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        return value.tolist() if isinstance(value, np.ndarray | torch.Tensor) else value

    def run(body: str, **given: Any) -> Any:
        text = json.dumps({name: plain(value) for name, value in given.items()})
        source = script("page/engine.js") + BODY % body
        if page:
            return json.loads(page.evaluate(IN_PAGE, [source, text]))
        (folder / "input.json").write_text(text, encoding="utf-8")
        result = subprocess.run(
            [where, "--input-type=module", "-"],
            input=source + IN_NODE % json.dumps(str(folder / "input.json")),
            capture_output=True, encoding="utf-8",
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


# A page with text above and below, and the widget's model as far as the demos use it.
PAGE = """
<!doctype html><html lang="en"><head><meta name="viewport" content="width=device-width">
<title>A demo</title></head><body><main><h1>A demo</h1><p><a href="#above">above</a></p>
<div id="here"></div><p><a href="#below">below</a></p><p style="height: 3000px">Text.</p>
</main></body></html>
"""
MODEL = """
async ([source, style, state, weights]) => {
  const bytes = Uint8Array.from(atob(weights), (c) => c.charCodeAt(0));
  const values = { ...state, weights: new DataView(bytes.buffer) };
  const listeners = new Map();
  window.model = {
    get: (name) => values[name],
    set: (name, value) => {
      values[name] = value;
      for (const call of listeners.get(`change:${name}`) ?? []) call();
    },
    on: (name, call) => listeners.set(name, [...(listeners.get(name) ?? []), call]),
    off: (name, call) => listeners.set(name, listeners.get(name).filter((c) => c !== call)),
    save_changes: () => { window.saved = { ...values, weights: null }; },
  };
  const sheet = document.createElement("style");
  sheet.textContent = style;
  document.head.append(sheet);
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const { default: widget } = await import(url);
  window.remove = widget.render({ model: window.model, el: document.getElementById("here") });
}
"""


@dataclass
class Shown:
    """A widget on a page, and the errors that it raised."""

    page: Page
    errors: list[str] = field(default_factory=list)

    def count(self, what: str) -> int:
        """`pictures` or `decisions` so far."""
        return int(self.page.locator(".wm-demo").get_attribute(f"data-{what}") or 0)

    def saved(self, name: str) -> Any:
        """What Python would read."""
        return self.page.evaluate(f"window.saved.{name}")

    def wait(self, condition: str) -> None:
        """Wait until an expression of JavaScript about `demo.dataset` holds."""
        text = f"() => {{ const demo = document.querySelector('.wm-demo'); return {condition}; }}"
        self.page.wait_for_function(text, timeout=20_000)


@pytest.fixture
def shown(browser: Browser) -> Opened:
    """`with shown(widget, width=..., ...) as it`: the widget on a page of its own."""

    @contextmanager
    def open_page(widget: AnyWidget, width: int = 1280, **options: Any) -> Iterator[Shown]:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        page = context.new_page()
        it = Shown(page)
        page.on("pageerror", lambda error: it.errors.append(str(error)))
        try:
            page.set_content(PAGE)
            state = {
                name: value for name, value in widget.get_state().items()
                if not name.startswith("_") and isinstance(value, int | float | str | list)
            }  # fmt: skip
            weights = base64.b64encode(getattr(widget, "weights", b"")).decode()
            page.evaluate(MODEL, [widget._esm, widget._css, state, weights])
            yield it
            assert it.errors == []
        finally:
            context.close()

    return open_page
