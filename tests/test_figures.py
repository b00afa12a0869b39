"""Film strips and films."""

import base64
import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image, ImageSequence

from wmlib.figures import film_html, filmstrip, save_gif


def film(t: int) -> np.ndarray:
    frames = np.zeros((t, 8, 8, 3), np.uint8)
    for i in range(t):
        frames[i, i % 8] = (250, 40, 10)
    return frames


def test_a_strip_shows_every_frame_with_its_titles() -> None:
    grey = np.linspace(0, 1, 3 * 8 * 8).reshape(3, 8, 8)
    figure = filmstrip({"real": film(3), "dreamt": grey}, titles=["a", "b", "c"])
    assert len(figure.axes) == 6
    assert [axis.get_title() for axis in figure.axes[:3]] == ["a", "b", "c"]
    assert [figure.axes[i].get_ylabel() for i in (0, 3)] == ["real", "dreamt"]
    for axis, frame in zip(figure.axes, [*film(3), *grey], strict=True):
        assert np.array_equal(axis.images[0].get_array(), frame)
    assert figure.axes[5].images[0].get_clim() == (0, 1)
    plt.close(figure)


def test_a_strip_of_unequal_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"same number of frames, got \[2, 3\]"):
        filmstrip({"a": film(3), "b": film(2)})
    for empty in ({}, {"a": film(0)}):
        with pytest.raises(ValueError, match="same number of frames"):
            filmstrip(empty)
    with pytest.raises(ValueError, match="3 columns need as many titles, got 2"):
        filmstrip({"a": film(3)}, titles=["a", "b"])


def test_a_film_is_written_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    save_gif(path, film(5), fps=10, scale=3)
    with Image.open(path) as image:
        assert image.size == (24, 24)
        shown = [np.array(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
        assert image.info["duration"] == 100
        assert image.info["loop"] == 0
    assert len(shown) == 5
    for picture, frame in zip(shown, film(5), strict=True):
        assert np.abs(picture[::3, ::3].astype(int) - frame).max() <= 8  # a palette of 256 colours


def test_a_film_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.gif, got .*film\.mp4"):
        save_gif(tmp_path / "film.mp4", film(2))
    for wrong in (film(0), film(2)[0], film(2) / 255):
        with pytest.raises(ValueError, match=r"frames \(T, H, W, 3\) of uint8, got"):
            save_gif(tmp_path / "film.gif", wrong)
    for options in ({"fps": 0}, {"scale": 0}):
        with pytest.raises(ValueError, match="must be positive"):
            save_gif(tmp_path / "film.gif", film(2), **options)
    assert not any(tmp_path.iterdir())


def test_a_film_in_a_page_is_folded_away_and_described() -> None:
    frames = np.zeros((4, 16, 16, 3), np.uint8)
    frames[:, :, :, 0] = np.array([0, 80, 160, 240])[:, None, None]
    page = film_html(frames, 'a "red" <sky>', fps=10, scale=2)
    assert page.startswith("<details><summary>Play the film</summary>")
    assert ' alt="a &quot;red&quot; &lt;sky&gt;"' in page and ' width="32"' in page
    data = page.split("base64,")[1].split('"')[0]
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        seen = [np.array(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
        assert image.info["duration"] == 100
    assert np.abs(np.stack(seen).astype(int) - frames).max() <= 12  # what its compression costs
    with pytest.raises(ValueError, match=r"frames \(T, H, W, 3\) of uint8, got"):
        film_html(frames[0], "")
    with pytest.raises(ValueError, match="must be positive"):
        film_html(frames, "", fps=0)
