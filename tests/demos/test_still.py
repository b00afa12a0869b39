"""What stands in a demo's place without JavaScript."""

import base64
import io
import re

import numpy as np
from PIL import Image

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.starts import Starts
from wmlib.demos import DreamQualityExplorer, DriveTheDream, LatentSliders, Playground
from wmlib.demos.page.still import pictures, still
from wmlib.episodes import Episode


def images(text: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/webp;base64,([^"]*)"', text)
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")) for data in found
    ]


def test_pictures_stand_side_by_side_as_they_are() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 6, 3)).astype(np.uint8)
    text = pictures(frames, 'A "road"', width=60)
    (sheet,) = images(text)
    assert np.array_equal(sheet[:, :6], frames[0]) and np.array_equal(sheet[:, 10:], frames[1])
    assert 'alt="A &quot;road&quot;"' in text and 'width="160"' in text
    assert "1 &lt; 2" in still(text, "1 < 2")


def test_every_demo_has_a_picture_and_a_sentence(
    agent: Agent, episodes: list[Episode], starts: Starts
) -> None:
    drive = DriveTheDream(agent, starts=starts).still
    assert np.array_equal(images(drive)[0], agent.vision.decode(starts.z.numpy())[0])
    code = starts.z.numpy()[1:2]
    assert np.array_equal(
        images(LatentSliders(agent.vision, code).still)[0], agent.vision.decode(code)[0]
    )
    explorer = DreamQualityExplorer(agent, episodes[0], horizon=9, start=0)
    (sheet,) = images(explorer.still)
    assert np.array_equal(sheet[:, :64], episodes[0].observations[16])
    assert np.array_equal(sheet[:, 68:132], episodes[0].observations[25])
    maze = Playground("S.#\n..G")
    assert maze.still.count("<rect") == 6
    assert maze.still.count("#444c56") == 1  # a wall
    for each in (drive, explorer.still, maze.still):
        assert each.count("needs JavaScript.") == 1
