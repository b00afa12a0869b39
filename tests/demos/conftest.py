"""The browser side of the demos without a notebook: the engine, or a widget on a bare page."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from anywidget import AnyWidget
from playwright.sync_api import Browser, Page, Route

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.starts import Starts, warm_up
from wmlib.collecting import collect
from wmlib.episodes import Episode
from wmlib.exploration import SmoothRandomPolicy

ROOT = Path(__file__).parents[2]
DEMOS = ROOT / "wmlib" / "demos"
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


# What a body of JavaScript returns. It sees the exports of the modules, which are loaded as they
# lie in wmlib/demos; `load` brings others. Numbers travel as JSON; bytes as base64 under "bytes".
ANSWER = """
async ([demos, modules, body, text]) => {
  const input = JSON.parse(text);
  if (input.bytes) input.bytes = Uint8Array.from(atob(input.bytes), (c) => c.charCodeAt(0));
  const load = (name) => import(demos + name);
  const seen = Object.assign({ input, load }, ...(await Promise.all(modules.map(load))));
  const AsyncFunction = (async () => {}).constructor;
  const call = new AsyncFunction(...Object.keys(seen), `"use strict"; ${body}`);
  const plain = (key, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
  return JSON.stringify(await call(...Object.values(seen)), plain);
}
"""
IN_NODE = """
import { readFileSync } from "node:fs";
console.log(await (%s)(JSON.parse(readFileSync(0))));
"""
SITE = "http://demos.test/"  # answered from the folder, by the test itself


def as_json(given: dict[str, Any]) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        return value.tolist() if isinstance(value, np.ndarray | torch.Tensor) else value

    return json.dumps({name: plain(value) for name, value in given.items()})


@pytest.fixture(scope="session")
def in_node(node: str, tmp_path_factory: pytest.TempPathFactory) -> Script:
    """`in_node(modules, body, **input)`: what a body beside those modules returns, in Node."""
    program = tmp_path_factory.mktemp("node") / "answer.mjs"
    program.write_text(IN_NODE % ANSWER, encoding="utf-8")

    def run(modules: list[str], body: str, **given: Any) -> Any:
        arguments = [f"{DEMOS.as_uri()}/", modules, body, as_json(given)]
        result = subprocess.run(
            [node, program], input=json.dumps(arguments), capture_output=True, encoding="utf-8"
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


@pytest.fixture(scope="session")
def in_chromium(browser: Browser) -> Script:
    """`in_chromium(modules, body, **input)`: the same in a page."""

    def serve(route: Route) -> None:
        name = route.request.url.removeprefix(SITE)
        if name:
            route.fulfill(path=DEMOS / name, content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html>", content_type="text/html")

    page = browser.new_page()
    page.route(f"{SITE}**", serve)
    page.goto(SITE)

    def run(modules: list[str], body: str, **given: Any) -> Any:
        return json.loads(page.evaluate(ANSWER, [SITE, modules, body, as_json(given)]))

    return run


@pytest.fixture(scope="session", params=["in_node", "in_chromium"])
def run(request: pytest.FixtureRequest) -> Script:
    """`run(body, **input)`: what JavaScript beside the engine returns, in Node and in Chromium."""
    return partial(request.getfixturevalue(request.param), ["page/engine.js"])


# A page with text above and below, and the widget's model as far as the demos use it.
PAGE = """
<!doctype html><html lang="en"><head><meta name="viewport" content="width=device-width">
<title>A demo</title></head><body><main><h1>A demo</h1><p><a href="#above">above</a></p>
<div id="here"></div><p><a href="#below">below</a></p><p style="height: 3000px">Text.</p>
</main></body></html>
"""
MODEL = """
async ([source, style, state, packed]) => {
  const view = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const bytes = Object.entries(packed).map(([name, text]) => [name, view(text)]);
  const values = { ...state, ...Object.fromEntries(bytes) };
  const listeners = new Map();
  window.model = {
    get: (name) => values[name],
    set: (name, value) => {
      values[name] = value;
      for (const call of listeners.get(`change:${name}`) ?? []) call();
    },
    on: (name, call) => listeners.set(name, [...(listeners.get(name) ?? []), call]),
    off: (name, call) => listeners.set(name, listeners.get(name).filter((c) => c !== call)),
    save_changes: () => { window.saved = { ...values, ...packed }; },
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

    def tab(self) -> str:
        """Press Tab, and read what has the focus then: its label, or its own words."""
        self.page.keyboard.press("Tab")
        return str(self.page.evaluate(
            "(({ labels, textContent }) => labels?.[0]?.textContent || textContent)"
            "(document.activeElement)"
        ))  # fmt: skip

    def wait(self, condition: str) -> None:
        """Wait until an expression of JavaScript about `demo.dataset` holds."""
        text = f"() => {{ const demo = document.querySelector('.wm-demo'); return {condition}; }}"
        self.page.wait_for_function(text, timeout=20_000)


@pytest.fixture
def shown(browser: Browser, tmp_path: Path) -> Opened:
    """`with shown(widget, width=..., first=..., ...) as it`: the widget on a page of its own.

    The page lies on the disk, as the book's do; the script `first` runs before all others.
    """
    file = tmp_path / "page.html"
    file.write_text(PAGE, encoding="utf-8")

    @contextmanager
    def open_page(
        widget: AnyWidget, width: int = 1280, first: str = "", **options: Any
    ) -> Iterator[Shown]:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.add_init_script(first)
        page = context.new_page()
        it = Shown(page)
        page.on("pageerror", lambda error: it.errors.append(str(error)))
        try:
            page.goto(file.as_uri())
            state = {
                name: value for name, value in widget.get_state().items()
                if not name.startswith("_") and isinstance(value, int | float | str | list)
            }  # fmt: skip
            packed = {
                name: base64.b64encode(value).decode()
                for name, value in widget.get_state().items() if isinstance(value, bytes)
            }  # fmt: skip
            page.evaluate(MODEL, [widget._esm, widget._css, state, packed])
            yield it
            assert it.errors == []
        finally:
            context.close()

    return open_page
