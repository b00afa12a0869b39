"""Figures of a built page: a drawing gets lighter and looks the same, a picture stays as it is."""

import io
from collections.abc import Callable
from types import ModuleType

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def light(extension: Callable[[str], ModuleType]) -> ModuleType:
    return extension("light_figures")


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_drawing_gets_lighter_and_looks_the_same(light: ModuleType) -> None:
    figure, axis = plt.subplots(figsize=(6, 3))
    for k in range(5):
        axis.plot(np.sin(np.arange(50) / (k + 2)), label=f"line {k}")
    axis.legend()
    file = io.BytesIO()
    figure.savefig(file, format="png")
    plt.close(figure)
    before = file.getvalue()
    after = light.lightened(before)
    assert len(after) < 0.6 * len(before)
    old, new = (
        np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float) for data in (before, after)
    )
    assert np.abs(old - new).mean() < 0.5 and np.abs(old - new).max() < 32
    assert light.lightened(after) is after


def test_pictures_and_glass_stay_as_they_are(light: ModuleType) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    few = np.random.default_rng(1).integers(0, 256, (20, 4), dtype=np.uint8)
    glass = few[np.random.default_rng(2).integers(0, 20, (100, 100))]  # smaller, were it opaque
    for pixels in (noise, glass):
        data = png(pixels)
        assert light.lightened(data) is data
