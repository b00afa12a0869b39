"""The latent sliders: turn each number of a code and see what V paints.

The 2018 paper's first demo, on a V of our own: which numbers hold the road, and which hold nothing?
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from wmlib.agents.world_models.vision import VAE
from wmlib.demos.page.still import pictures, still
from wmlib.demos.page.weights import WeightsConfig, pack_models
from wmlib.typed import typed

MOST_CODES = 64


class LatentSliders(anywidget.AnyWidget):
    """V's decoder with one slider for each number of z, the one that moves the picture most first.

    `code` is the list of numbers as the reader left them; it may be set from Python.

    Args:
        vision: V.
        codes: (N, Z) codes of real pictures to step through, N <= 64; the first is shown at first.
            None for no pictures, and all numbers at 0.
        config: how the weights are rounded.

    Raises:
        TypeError: `vision` is no V.
        ValueError: the codes have another shape, are too many or not finite, or a weight is NaN or
            infinite.
    """

    _esm = Path(__file__).with_name("bundle.js")
    _css = Path(__file__).with_name("bundle.css")

    weights = traitlets.Bytes().tag(sync=True)
    still = traitlets.Unicode().tag(sync=True)
    code = traitlets.List(traitlets.Float()).tag(sync=True)

    @typed
    def __init__(
        self, vision: VAE, codes: np.ndarray | None = None, *, config: WeightsConfig | None = None
    ) -> None:
        latent = vision.config.latent
        given = np.zeros((0, latent)) if codes is None else np.asarray(codes, np.float32)  # (N, Z)
        if given.ndim != 2 or given.shape[1] != latent or len(given) > MOST_CODES:
            raise ValueError(f"codes must be (N <= {MOST_CODES}, {latent}), got {given.shape}")
        first = given[0] if len(given) else np.zeros(latent)
        weights = pack_models(vision, others={"codes": given}, config=config)
        shown = vision.decode(first[None])  # (1, 64, 64, 3)
        super().__init__(
            weights=weights,
            code=first.tolist(),
            still=still(
                pictures(shown, "What V paints of a code"),
                f"The numbers of z: one slider for each of the {latent}, and the picture that V "
                "paints of them.",
            ),
        )

    @traitlets.validate("code")
    def _check_code(self, proposal: Any) -> list[float]:
        numbers: list[float] = proposal["value"]
        if (self.code and len(numbers) != len(self.code)) or not np.isfinite(numbers).all():
            raise traitlets.TraitError(f"a code is {len(self.code)} finite numbers, got {numbers}")
        return numbers
