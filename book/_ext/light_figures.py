"""Sphinx extension: a drawing needs no millions of colours.

matplotlib writes each figure with four bytes a pixel. A drawing of lines and words has a few
thousand colours, nearly all of them shades of an edge: with the 256 that stand for them best it
looks the same, and weighs a third. Pictures of the track have more and stay as they are.
"""

import io
from pathlib import Path

from PIL import Image
from sphinx.application import Sphinx

FEW = 5_000  # colours of a drawing


def lightened(picture: bytes) -> bytes:
    """Return the PNG with 256 colours if it is a drawing, is opaque and gets smaller by it."""
    image = Image.open(io.BytesIO(picture))
    opaque = "A" not in image.getbands() or image.getchannel("A").getextrema() == (255, 255)
    if image.mode == "P" or not opaque:
        return picture
    plain = image.convert("RGB")
    if plain.getcolors(FEW) is None:
        return picture
    small = io.BytesIO()
    few = plain.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    few.save(small, "PNG", optimize=True)
    return min(picture, small.getvalue(), key=len)


def lighten(app: Sphinx, exception: Exception | None) -> None:
    """Rewrite the pages' figures once all are written."""
    if exception is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir, "_images").glob("*.png"):
        before = path.read_bytes()
        after = lightened(before)
        if after is not before:
            path.write_bytes(after)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension (called by Sphinx)."""
    app.connect("build-finished", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
