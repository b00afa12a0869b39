"""Film strips and films."""

import base64
import io
from pathlib import Path

import matplotlib
import matplotlib.colors

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image, ImageSequence

from wmlib import figures
from wmlib.figures import film_html, filmstrip, save_gif

PALETTE = {
    name: matplotlib.colors.to_rgb(getattr(figures, name))
    for name in ("BLUE", "ORANGE", "GREEN", "PINK", "SKY", "RED", "GREY")
}
# How the three kinds of dichromats see linear RGB (Machado, Oliveira & Fernandes 2009, severity 1).
EYES = {
    "all three cones": np.eye(3),
    "no long cones": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no middle cones": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no short cones": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def linear(colour: tuple[float, ...]) -> np.ndarray:
    """Of sRGB."""
    c = np.array(colour)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear RGB, white point D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ np.clip(light, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("name", PALETTE)
def test_a_line_of_each_colour_stands_out_from_a_white_sheet(name: str) -> None:
    """3 : 1, as WCAG 2.2 asks of what is no text."""
    luminance = linear(PALETTE[name]) @ [0.2126, 0.7152, 0.0722]
    assert 1.05 / (luminance + 0.05) >= 3


@pytest.mark.parametrize("eye", EYES)
def test_the_colours_stay_apart(eye: str) -> None:
    """In steps of L*a*b*, of which an eye sees one or two."""
    seen = {n: lab(np.array(EYES[eye]) @ linear(c)) for n, c in PALETTE.items()}
    apart = {(a, b): float(np.linalg.norm(seen[a] - seen[b])) for a in seen for b in seen if a < b}
    assert min(apart.values()) >= 9, min(apart, key=apart.__getitem__)
    assert apart["GREY", "ORANGE"] >= 35


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
    with pytest.raises(ValueError, match="the number of titles must be 3, got 2"):
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


def test_a_grey_film_is_written_as_it_was(tmp_path: Path) -> None:
    grey = film(5)[..., :1]
    save_gif(tmp_path / "film.gif", grey, scale=2)
    with Image.open(tmp_path / "film.gif") as image:
        shown = [np.array(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
    assert np.array_equal(np.stack(shown)[:, ::2, ::2], grey.repeat(3, 3))
    assert film_html(grey, "grey").startswith("<details>")


def test_a_film_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.gif, got .*film\.mp4"):
        save_gif(tmp_path / "film.mp4", film(2))
    for wrong in (film(0), film(2)[0], film(2) / 255, film(2)[..., :2]):
        with pytest.raises(ValueError, match=r"frames must .* \(T, H, W, 1 or 3\) of uint8, got"):
            save_gif(tmp_path / "film.gif", wrong)
    for options in ({"fps": 0}, {"scale": 0}):
        with pytest.raises(
            ValueError, match=r"(fps|scale) must be (a positive number|at least 1), got 0"
        ):
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
    with pytest.raises(ValueError, match=r"frames must .* \(T, H, W, 1 or 3\) of uint8, got"):
        film_html(frames[0], "")
    with pytest.raises(
        ValueError, match=r"(fps|scale) must be (a positive number|at least 1), got 0"
    ):
        film_html(frames, "", fps=0)
