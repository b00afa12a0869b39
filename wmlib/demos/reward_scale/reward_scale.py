"""Drag the reward scale: which network still learns when rewards come in other units?

The networks are trained in Python, each at every scale; the page shows what each had learned after
so many updates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import anywidget
import numpy as np
import traitlets
from pydantic import Field

from wmlib.demos.page.blocks import pack
from wmlib.demos.page.settings import settings, whole
from wmlib.demos.page.still import still
from wmlib.shapes import Shape
from wmlib.typed import PositiveFloat, check_same, check_type, typed

MOST_HEADS = 4
CUT = 2.0  # where a chart ends, in units of the scale

Places = Annotated[np.ndarray, Shape("X")]
Rising = Annotated[Sequence[PositiveFloat], Field(min_length=2)]


class RewardScale(anywidget.AnyWidget):
    """What heads predict, and what they should, at every scale and as they learn.

    `scale` and `updates` are rows of what was given; the reader moves them, and Python may.

    Args:
        heads: up to 4, by name: predictions (U, N, X) divided by their scale.
        scales: (N,) what the target was multiplied by, rising.
        updates: (U,) after how many updates the predictions are, rising.
        places: (X,) of the predictions, rising.
        target: (X,) at scale 1.
        scale: row of the scale at first.

    Raises:
        ValueError: the shapes do not fit together, or numbers are not finite or do not rise.
    """

    _esm = Path(__file__).with_name("bundle.js")
    _css = Path(__file__).with_name("bundle.css")

    weights = traitlets.Bytes().tag(sync=True)
    still = traitlets.Unicode().tag(sync=True)
    scale = traitlets.Int(0).tag(sync=True)
    updates = traitlets.Int(0).tag(sync=True)

    @typed
    def __init__(
        self,
        heads: Annotated[Mapping[str, np.ndarray], Field(min_length=1, max_length=MOST_HEADS)],
        *,
        scales: Rising,
        updates: Annotated[Sequence[int], Field(min_length=2)],
        places: Places,
        target: Places,
        scale: int = 0,
    ) -> None:
        for name, rows in (("scales", scales), ("updates", updates), ("places", places)):
            if not (np.diff(rows) > 0).all():
                raise ValueError(f"{name} must rise, got {list(rows)}")
        sizes = (len(updates), len(scales), len(places))
        for name, head in heads.items():
            check_same(f"the shape of {name!r}", head.shape, sizes)
        self._sizes = {"scale": len(scales), "updates": len(updates)}
        self._check("scale", scale)
        shown = {f"head.{i}": np.clip(head, -CUT, CUT) for i, head in enumerate(heads.values())}
        spread = np.var(target)
        arrays = {
            **shown,
            **{
                f"missed.{i}": np.square(head - target).mean(-1) / spread  # (U, N)
                for i, head in enumerate(heads.values())
            },
            "places": places,
            "target": target,
        }
        about = {
            "names": list(heads), "scales": list(scales), "updates": list(updates), "cut": CUT,
        }  # fmt: skip
        super().__init__(
            weights=pack(arrays, dict.fromkeys(shown, 8), about),
            still=still(
                _drawn({name: head[-1, scale] for name, head in heads.items()}, places, target),
                "Drag the reward scale: what each head predicts of the same rewards in other "
                f"units; here, times {scales[scale]:,g}.",
            ),
            scale=scale,
            updates=len(updates) - 1,
        )

    def _check(self, name: str, value: Any) -> None:
        check_type(name, value, whole(0, self._sizes[name] - 1))

    _settings = settings("scale", "updates")


def _drawn(heads: Mapping[str, np.ndarray], places: np.ndarray, target: np.ndarray) -> str:
    """Curves as a picture (SVG)."""
    width, height = 320, 160
    across = (places - places[0]) / (places[-1] - places[0]) * width

    def line(values: np.ndarray, style: str) -> str:
        down = height / 2 * (1 - np.clip(values, -CUT, CUT) / CUT)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))
        return f'<polyline points="{points}" fill="none" {style}/>'

    colours = ("#0b57a4", "#c24a00", "#00795a", "#9a3f74")
    lines = [line(target, 'stroke="#858585" stroke-width="5"')]
    lines += [
        line(values, f'stroke="{colour}" stroke-width="2"')
        for values, colour in zip(heads.values(), colours, strict=False)
    ]
    words = f"Curves of the target and of {', '.join(heads)}"
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{words}">{"".join(lines)}</svg>'
    )
