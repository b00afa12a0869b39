"""The demos in a running JupyterLab, beside a kernel: what a reader does there is Python's to read.

The notebook trains a small V and M, hands them over, and shows each demo. No host but this one may
be asked for anything.
"""

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Browser, Error, Locator, Page, Route, expect

pytestmark = pytest.mark.site
ROOT = Path(__file__).parents[2]
JUPYTER = Path(sys.executable).with_name("jupyter")
PATIENCE = 400  # seconds for anything to happen, on a busy machine
NAMES = {
    "mine": "Drive the dream",
    "shipped": "Drive the dream",
    "explorer": "Dream quality explorer",
    "sliders": "The numbers of z",
    "maze": "World Model Playground",
}
# Whatever the server or the kernel wants from elsewhere meets a closed port.
NOWHERE = {
    **{name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy")},
    **{name.upper(): "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy")},
    "no_proxy": "127.0.0.1,localhost",
    "NO_PROXY": "127.0.0.1,localhost",
}
CELLS = (
    """
import gymnasium as gym
import numpy as np

from wmlib.agents.world_models import Agent, after_real_steps
from wmlib.agents.world_models import (
    Codes, MemoryConfig, VisionConfig, train_memory, train_vision, warm_up
)
from wmlib.collecting import collect
from wmlib.demos import DreamQualityExplorer, DriveTheDream, LatentSliders, Playground
from wmlib.exploration import SmoothRandomPolicy
from wmlib.replay import Replay

space = gym.spaces.Box(np.float32([-1, 0, 0]), np.ones(3, np.float32))
episodes = collect(
    SmoothRandomPolicy(space), "wmlib/CarRacing-v3", episodes=3, seed=0, max_steps=60,
    env_kwargs={"action_repeat": 3}, n_jobs=1, progress=False,
)
v, _ = train_vision(
    Replay(episodes), VisionConfig(8, (4, 8, 16, 32), batch=16, learning_rate=5e-3), steps=80,
    progress=False,
)
codes = Codes.of(episodes, v.encode)
m, _ = train_memory(
    codes, MemoryConfig(8, hidden=32, window=16, batch=8, learning_rate=1e-2, reward="normal"),
    steps=80, progress=False,
)
m.end.bias.data -= 10  # so few updates leave it open whether a drive ends at any moment
mine = DriveTheDream((v, m), starts=warm_up(m, codes, 30).take(slice(None, None, 30)), seed=3)
mine
""",
    f"""
agent = Agent.load({str(ROOT / "artifacts" / "world-models-car-racing-random")!r})
shipped = DriveTheDream(agent, starts=after_real_steps(agent, seed=1))
shipped
""",
    "explorer = DreamQualityExplorer((v, m), episodes[0], longest=20, dreams=2)\nexplorer",
    "sliders = LatentSliders(v, codes.mean[:3])\nsliders",
    "maze = Playground(updates=0)\nmaze",
)
TEXT = """
```{admonition} Before you start
**You need** nothing but {math}`E = m c^2`.
```
"""


@dataclass
class Lab:
    """A notebook that is open in JupyterLab, all of its cells run."""

    page: Page
    remote: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def note(self, error: Error) -> None:
        """Keep an error, unless it came about in JupyterLab's own bundle alone.

        JupyterLab 4's React tree now and then removes a node twice while a page loads again.
        """
        frames = re.findall(r"https?://[^)\s]+|blob:[^)\s]+|data:[^)\s]{20}", error.stack or "")
        if not frames or not all(urlsplit(f).path.startswith("/static/lab/") for f in frames):
            self.errors.append(error.stack or str(error))

    def demo(self, name: str) -> Locator:
        """The demo that Python calls so, brought into sight."""
        cell = self.page.locator(".jp-Notebook .jp-CodeCell").nth(list(NAMES).index(name))
        found = cell.locator(".wm-demo")
        found.scroll_into_view_if_needed()
        return found

    def python(self, expression: str) -> Any:
        """What an expression is in the kernel."""
        return json.loads(self.run(f"import json\nprint(json.dumps({expression}))"))

    def run(self, code: str) -> str:
        """Run code in the kernel, as the notebook runs a cell, and return what it prints."""
        return str(self.page.evaluate(RUN, code))

    def soon(self, expression: str) -> None:
        """Wait until an expression of Python is true in the kernel."""
        end = time.monotonic() + PATIENCE
        while not self.python(expression):
            assert time.monotonic() < end, f"not so: {expression}"
            self.page.wait_for_timeout(100)


READY = """
window.jupyterapp?.shell.currentWidget?.context?.sessionContext?.session?.kernel?.status === "idle"
"""
RUN = """
async (code) => {
  const { kernel } = window.jupyterapp.shell.currentWidget.context.sessionContext.session;
  const future = kernel.requestExecute({ code, store_history: false });
  let printed = "";
  future.onIOPub = ({ header, content }) => {
    if (header.msg_type === "stream" && content.name === "stdout") printed += content.text;
  };
  const { content } = await future.done;
  if (content.status !== "ok") throw new Error(`${content.ename}: ${content.evalue}`);
  return printed;
}
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab on a free port of this machine, with settings of its own; the notebook in it."""
    folder = tmp_path_factory.mktemp("jupyterlab")
    notebook = nbformat.v4.new_notebook(
        cells=[
            *(nbformat.v4.new_code_cell(text.strip()) for text in CELLS),
            nbformat.v4.new_markdown_cell(TEXT.strip()),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    (folder / "work").mkdir()
    settings = folder / "jupyter_config_dir" / "lab" / "user-settings" / "@jupyterlab"
    news = settings / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false", "checkForUpdates": false}', encoding="utf-8")
    nbformat.write(notebook, folder / "work" / "demos.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    own = {name: str(folder / name.lower()) for name in (
        "HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR",
    )}  # fmt: skip
    log = folder / "log"
    with log.open("w", encoding="utf-8") as output:
        server = subprocess.Popen(
            [
                JUPYTER, "lab", "--no-browser", "--allow-root",
                "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
                "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder / 'work'}",
                f"--IdentityProvider.token={token}",
                "--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly",
            ],
            cwd=folder, env={**os.environ, **own, **NOWHERE, "JUPYTER_PREFER_ENV_PATH": "1"},
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        root = f"http://127.0.0.1:{port}"
        wait_for(f"{root}/api/status?token={token}", server, log)
        yield f"{root}/lab/tree/demos.ipynb?token={token}"
    finally:
        server.terminate()  # it ends its kernels
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text(encoding='utf-8')}")


@pytest.fixture(scope="module")
def opened(browser: Browser, address: str) -> Iterator[Lab]:
    """The notebook in a browser that reaches this machine alone, after all of its cells ran."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(1000 * PATIENCE)
    page = context.new_page()
    it = Lab(page)

    def from_here_only(route: Route) -> None:
        url = urlsplit(route.request.url)
        if url.scheme in ("data", "blob") or url.hostname == "127.0.0.1":
            route.continue_()
        else:
            it.remote.append(route.request.url)
            route.abort()

    context.route("**/*", from_here_only)
    page.on("pageerror", it.note)
    page.goto(address)
    page.wait_for_function(READY)
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
    yield it
    context.close()


@pytest.fixture
def lab(opened: Lab) -> Iterator[Lab]:
    """The open notebook; nothing was asked of another host, and nothing went wrong."""
    yield opened
    assert opened.remote == []
    assert opened.errors == []


def press(demo: Locator, name: str) -> None:
    demo.get_by_role("button", name=name, exact=True).click()


def wait(demo: Locator, condition: str) -> None:
    """Wait until an expression of JavaScript about `demo` holds."""
    demo.evaluate(
        f"""(demo) => new Promise((done, fail) => {{
          const end = Date.now() + {1000 * PATIENCE};
          const look = () => {{
            if ({condition}) done();
            else if (Date.now() > end) fail(new Error({json.dumps("not so: " + condition)}));
            else setTimeout(look, 50);
          }};
          look();
        }})"""
    )


def test_every_demo_is_drawn(lab: Lab) -> None:
    for name, title in NAMES.items():
        demo = lab.demo(name)
        assert demo.get_attribute("aria-label") == title
        assert demo.get_by_role("alert").filter(has_text="cannot start").count() == 0
    assert lab.python("[mine.decisions, maze.tried.sum().item()]") == [0, 0]


def test_the_text_of_a_chapter_is_read_as_in_the_book(lab: Lab) -> None:
    box = lab.page.locator(".jp-MarkdownCell aside")
    box.scroll_into_view_if_needed()
    assert re.match(r"Before you start\s+You need nothing but\s", box.inner_text())
    assert box.locator(".katex").count() == 1


def test_no_two_elements_have_one_id(lab: Lab) -> None:
    """Each demo loads its script anew; a label must not point into another demo."""
    ids = lab.page.evaluate("[...document.querySelectorAll('.wm-demo [id]')].map((e) => e.id)")
    assert len(ids) > 20 and len(set(ids)) == len(ids)


def test_a_model_trained_in_the_notebook_is_driven(lab: Lab) -> None:
    """The page's picture and return are those of the notebook's own V and M."""
    demo = lab.demo("mine")
    pixels = demo.locator(".wm-screen canvas").evaluate(
        "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, 64, 64).data]"
    )
    lab.run(
        "import torch\n"
        "from wmlib.demos.explorer.quality import follow\n"
        "from wmlib.demos.page.weights import rounded\n"
        "begin = warm_up(m, codes, 30).take(slice(0, 1))\n"
        "its_v, its_m = rounded(v, m)\n"
        "draws = [np.random.RandomState(3)]\n"
        "_, paid = follow(its_m, begin, torch.zeros(5, 3), 1.0, draws)"
    )
    there = lab.python("its_v.decode(begin.z.numpy())[0].astype(int).ravel().tolist()")
    here = [value for i, value in enumerate(pixels) if i % 4 < 3]
    assert max(abs(a - b) for a, b in zip(here, there, strict=True)) <= 1
    for _ in range(5):
        press(demo, "One step")
    lab.soon("mine.decisions == 5")
    assert lab.python("mine.imagined_return") == pytest.approx(
        lab.python("paid.sum().item()"), abs=1e-3
    )


def test_keys_drive_and_no_cell_is_cut(lab: Lab) -> None:
    """In JupyterLab A inserts a cell, X cuts one, D twice deletes it, and arrow keys choose it."""
    demo = lab.demo("mine")
    cells = lab.page.locator(".jp-Notebook .jp-Cell").count()
    press(demo, "Start")
    lab.page.keyboard.down("ArrowRight")
    wait(demo, "demo.dataset.decisions > 8")
    lab.page.keyboard.up("ArrowRight")
    for key in ("a", "d", "d", "x", "w", "ArrowDown", "b"):
        lab.page.keyboard.press(key)
    assert demo.get_attribute("data-running") == "true"
    lab.page.keyboard.press("Escape")
    assert demo.get_attribute("data-running") == "false"
    lab.soon(f"mine.decisions == {demo.get_attribute('data-decisions')}")
    for key in ("a", "d", "d", "x", "ArrowDown", "Enter"):
        lab.page.keyboard.press(key)
    assert lab.page.locator(".jp-Notebook .jp-Cell").count() == cells
    press(demo, "Another start")
    lab.soon("mine.start == 1")
    lab.run("mine.start = 2")
    wait(demo, "demo.querySelector('.wm-status').textContent.startsWith('Start 3 of 3.')")


def test_python_and_the_reader_set_the_temperature(lab: Lab) -> None:
    slider = lab.demo("mine").get_by_role("slider", name="Temperature")
    lab.run("mine.temperature = 0.3")
    wait(lab.demo("mine"), "demo.querySelector('.wm-slider input').valueAsNumber === 0.3")
    slider.focus()
    lab.page.keyboard.press("ArrowRight")
    lab.soon("abs(mine.temperature - 0.35) < 1e-6")


def test_the_reader_takes_the_wheel_from_c(lab: Lab) -> None:
    demo = lab.demo("shipped")
    assert lab.python("shipped.driver") == "C"
    press(demo, "Start")
    wait(demo, "demo.dataset.decisions > 3")
    lab.page.keyboard.press("ArrowLeft")
    lab.soon("shipped.driver == 'reader'")
    press(demo, "Pause")
    lab.soon("shipped.decisions > 3 and shipped.imagined_return != 0")
    lab.run("shipped.driver = 'C'")
    wait(demo, "demo.querySelector('[aria-pressed=true]')?.textContent === 'C drives'")


def test_the_explorer_and_python_tell_each_other(lab: Lab) -> None:
    demo = lab.demo("explorer")
    wait(demo, "demo.dataset.compared === '40'")
    demo.get_by_role("slider", name="Horizon").focus()
    lab.page.keyboard.press("Home")
    lab.page.keyboard.press("ArrowRight")
    lab.soon("explorer.horizon == 2")
    press(demo, "New noise")
    lab.soon("explorer.seed == 1")
    lab.run("explorer.horizon, explorer.start, explorer.temperature = 7, 3, 0.5")
    wait(demo, "demo.dataset.compared === '40'")
    wait(demo, "demo.querySelector('.wm-value').textContent.startsWith('0.4')")  # 7 decisions
    assert "temperature 0.50" in demo.locator(".wm-progress").inner_text()
    error = lab.python("explorer.errors[1, 6].item()")  # of dream 2 at the horizon
    note = demo.locator(".wm-tile").filter(has_text="Dream 2").locator(".wm-value")
    assert note.inner_text() == f"{error:.4f}"
    with pytest.raises(Exception, match=r"horizon must be in \[1, 20\]"):
        lab.run("explorer.horizon = 21")
    press(demo, "Play")
    wait(demo, "demo.dataset.running === 'false'")
    lab.soon("explorer.horizon == 20")


def test_sliders_move_in_both_directions(lab: Lab) -> None:
    demo = lab.demo("sliders")
    press(demo, "Next real picture")
    lab.soon("bool(np.allclose(sliders.code, codes.mean[0], atol=1e-6))")
    demo.get_by_label("z0", exact=True).fill("1.5")
    lab.soon("sliders.code[0] == 1.5")
    lab.run("sliders.code = [-2.0] + [0.0] * 7")
    first = demo.get_by_label("z0", exact=True)  # of the code; which slider stands first, V decides
    expect(first).to_have_value("-2", timeout=PATIENCE * 1000)
    assert demo.get_by_role("status").inner_text() == "A code from Python."


def test_the_playground_and_python_tell_each_other(lab: Lab) -> None:
    demo = lab.demo("maze")
    press(demo, "Explore")
    wait(demo, "demo.dataset.steps > 5")
    press(demo, "Pause")
    lab.soon(f"maze.tried.sum().item() == {demo.get_attribute('data-steps')}")
    demo.get_by_role("slider", name="Imagined updates k").focus()
    lab.page.keyboard.press("ArrowRight")
    lab.soon("maze.updates == 1")
    lab.run("maze.maze = maze.maze.replace('#', '.')")
    wait(demo, "demo.querySelectorAll('.wm-wall').length === 0")
    cell = demo.get_by_role("gridcell").first
    cell.focus()
    lab.page.keyboard.press("Enter")
    lab.soon("maze.maze.startswith('#') and maze.maze.count('#') == 1")


def test_colours_follow_jupyterlabs_theme(lab: Lab) -> None:
    demo = lab.demo("mine")
    colour = "(demo) => getComputedStyle(demo).backgroundColor"
    assert demo.evaluate(colour) == "rgb(255, 255, 255)"
    change = "(theme) => jupyterapp.commands.execute('apputils:change-theme', { theme })"
    lab.page.evaluate(change, "JupyterLab Dark")
    wait(demo, "getComputedStyle(demo).backgroundColor === 'rgb(23, 28, 34)'")
    lab.page.evaluate(change, "JupyterLab Light")
    wait(demo, "getComputedStyle(demo).backgroundColor === 'rgb(255, 255, 255)'")


def test_a_page_that_is_loaded_again_shows_what_python_knows(lab: Lab) -> None:
    lab.run("mine.temperature = 0.5\nsliders.code = [2.5] + [0.0] * 7")
    lab.page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    lab.page.wait_for_function("!jupyterapp.shell.currentWidget.context.model.dirty")
    lab.page.reload()
    lab.page.wait_for_function(READY)
    wait(lab.demo("mine"), "demo.querySelector('.wm-slider input').valueAsNumber === 0.5")
    first = lab.demo("sliders").get_by_label("z0", exact=True)
    expect(first).to_have_value("2.5", timeout=PATIENCE * 1000)
    press(lab.demo("mine"), "One step")
    lab.soon("mine.decisions == 1")
