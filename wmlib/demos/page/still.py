"""What a reader without JavaScript sees of a demo: a picture and a sentence.

A demo's trait `still` holds them as HTML. The built book puts it where the demo would stand, and
the demo takes it away when it has drawn itself.
"""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from PIL import Image

GAP = 4  # pixels between pictures side by side


def still(picture: str, sentence: str) -> str:
    """A picture, as HTML, with a sentence below."""
    return (
        f'<figure class="wm-still">{picture}<figcaption>{html.escape(sentence)} The demo itself '
        "needs JavaScript.</figcaption></figure>"
    )


def pictures(frames: np.ndarray, alt: str, width: int = 256) -> str:
    """Frames side by side, as HTML.

    Args:
        frames: (N, H, W, 3) uint8.
        alt: what they show.
        width: of one of them on the page, in CSS pixels.
    """
    n, h, w, _ = frames.shape
    sheet = np.full((h, n * (w + GAP) - GAP, 3), 255, np.uint8)
    for i, frame in enumerate(frames):
        sheet[:, i * (w + GAP) : i * (w + GAP) + w] = frame
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "WEBP", lossless=True)
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<img src="data:image/webp;base64,{data}" alt="{html.escape(alt)}" '
        f'width="{round(sheet.shape[1] * width / w)}">'
    )
