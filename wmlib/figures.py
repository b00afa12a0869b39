"""What the chapters draw with: one palette, film strips, and films."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from wmlib.shapes import Shape
from wmlib.storage import write_atomically
from wmlib.typed import PositiveFloat, PositiveInt, check_same, typed

Film = Annotated[np.ndarray, Shape("T", "H", "W", (1, 3), dtype="uint8")]

# Okabe & Ito's hues, at lightnesses that keep each 3 : 1 apart from a white sheet (their orange and
# sky blue are not) and from one another, for colour-blind readers too.
BLUE, ORANGE, GREEN = "#1a56b8", "#cf8000", "#006b52"
PINK, SKY, RED, GREY = "#c65fae", "#3498d4", "#a8201a", "#858585"


def filmstrip(
    rows: Mapping[str, np.ndarray], titles: list[str] | None = None, size: float = 1.1
) -> Figure:
    """Frames side by side, one row for each film.

    Args:
        rows: label to frames (T, H, W) or (T, H, W, 3), uint8 or in [0, 1]; all of one length T.
        titles: T column titles.
        size: of a frame, in inches.

    Raises:
        ValueError: the rows or the titles are not all of one length, or there are none.
    """
    columns = {len(frames) for frames in rows.values()}
    if len(columns) != 1 or columns == {0}:
        raise ValueError(f"all rows need the same number of frames, got {sorted(columns)}")
    (t,) = columns
    if titles is not None:
        check_same("the number of titles", len(titles), t)
    figure, axes = plt.subplots(
        len(rows), t, figsize=(size * t + 0.9, (size + 0.08) * len(rows) + 0.3), squeeze=False
    )
    for (label, frames), line in zip(rows.items(), axes, strict=True):
        for axis, frame in zip(line, frames, strict=True):
            axis.imshow(frame, cmap="gray", vmin=0, vmax=255 if frame.dtype == np.uint8 else 1)
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    for axis, title in zip(axes[0], titles or [""] * t, strict=True):
        axis.set_title(title, fontsize=9)
    figure.tight_layout(pad=0.3)
    return figure


@typed
def save_gif(
    path: str | Path, frames: Film, fps: PositiveFloat = 17.0, scale: PositiveInt = 4
) -> None:
    """Write frames (T, H, W, 3), or grey ones (T, H, W, 1), uint8 as an animated GIF, atomically.

    Args:
        path: ends in .gif.
        frames: at least one.
        fps: frames a second, > 0.
        scale: how wide a pixel is drawn, >= 1.

    Raises:
        ValueError: the name does not end in .gif, the frames are others, or a number is not
            positive.
    """
    if Path(path).suffix != ".gif":
        raise ValueError(f"a film's name ends in .gif, got {path}")
    images = _images(frames, scale)
    buffer = io.BytesIO()
    images[0].save(
        buffer, format="GIF", save_all=True, append_images=images[1:], duration=1000 / fps, loop=0
    )
    write_atomically(path, buffer.getvalue())


@typed
def film_html(
    frames: Film, alt: str, *, summary: str = "Play the film", fps: PositiveFloat = 17.0,
    scale: PositiveInt = 4,
) -> str:  # fmt: skip
    """A film for a page, as HTML. It is folded away: nothing moves until the reader opens it.

    Args:
        frames: (T, H, W, 3) or (T, H, W, 1) uint8.
        alt: what is seen, for who cannot see it.
        summary: what the reader opens.
        fps: frames a second, > 0.
        scale: how wide a pixel is drawn, >= 1.

    Raises:
        ValueError: the frames are others, or a number is not positive.
    """
    images = _images(frames, 1)
    buffer = io.BytesIO()
    images[0].save(
        buffer, format="WEBP", save_all=True, append_images=images[1:],
        duration=round(1000 / fps), loop=0, quality=60,
    )  # fmt: skip
    data = base64.b64encode(buffer.getvalue()).decode()
    width = frames.shape[2] * scale
    return (
        f"<details><summary>{html.escape(summary)}</summary>"
        f'<img src="data:image/webp;base64,{data}" alt="{html.escape(alt)}" width="{width}" '
        'style="max-width: 100%; image-rendering: pixelated"></details>'
    )


def _images(frames: np.ndarray, scale: int) -> list[Image.Image]:
    big = frames.repeat(scale, 1).repeat(scale, 2)  # (T, scale H, scale W, C)
    return [Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame) for frame in big]
