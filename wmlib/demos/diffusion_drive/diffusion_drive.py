"""Drive in the diffusion dream: the reader at the wheel of a denoiser of CarRacing's frames.

The browser runs the U-Net itself, in WebAssembly where it has that, so the page needs no kernel.
V and M may dream beside it, from the same moment, with the same keys and the same seed of the
noise: what a code of 32 numbers keeps of the road, and what four whole frames do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import anywidget
import traitlets
from pydantic import Field

from wmlib.agents.diamond import Denoiser, SamplerConfig
from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.memory import MDNRNN
from wmlib.agents.world_models.vision import VAE
from wmlib.demos.diffusion_drive.weights import STEPS, Moments, pack_denoiser
from wmlib.demos.page.settings import settings, whole
from wmlib.demos.page.still import pictures, still
from wmlib.demos.page.weights import WeightsConfig, pack_models
from wmlib.typed import PositiveFloat, check_same, check_type, typed

PageSeed = Annotated[int, Field(ge=0, lt=2**32)]


class DiffusionDrive(anywidget.AnyWidget):
    """A denoiser as a car to drive in the page.

    What the reader did can be read from Python: `start` (number of the moment in use), `steps` and
    `wide`, which may be set, too; and as of the last pause `decisions` and `milliseconds`, the time
    that the last frame took.

    Args:
        denoiser: of frames (3, 64, 64) and three actions.
        moments: 1 to 64 from which to dream, see `moments`.
        world: V and M (or their agent) to dream beside it; `moments` must then have their starts.
        sampler: how noise becomes a frame, at first in 1, 2, 3 or 5 steps.
        wide: whether a frame begins, at first, with noise as wide as the first sigma, as the theory
            has it, and not with that of deviation 1, which is the authors'.
        seed: of the noise, in [0, 2**32); the same seed, start and actions give the same dream.
        seconds_per_decision: > 0; three frames of CarRacing are 0.06 s.
        config: how the weights are rounded.

    Raises:
        TypeError: an argument is something else.
        ValueError: the parts do not fit together or do not drive a car, a weight is NaN or
            infinite, or a number is out of range.
    """

    _esm = Path(__file__).with_name("bundle.js")
    _css = Path(__file__).with_name("bundle.css")

    weights = traitlets.Bytes().tag(sync=True)
    world = traitlets.Bytes().tag(sync=True)
    still = traitlets.Unicode().tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    seconds_per_decision = traitlets.Float(0.06).tag(sync=True)
    start = traitlets.Int(0).tag(sync=True)
    steps = traitlets.Int(3).tag(sync=True)
    wide = traitlets.Bool(False).tag(sync=True)
    decisions = traitlets.Int(0).tag(sync=True)
    milliseconds = traitlets.Float(0.0).tag(sync=True)

    @typed
    def __init__(
        self,
        denoiser: Denoiser,
        *,
        moments: Moments,
        world: Agent | tuple[VAE, MDNRNN] | None = None,
        sampler: SamplerConfig | None = None,
        wide: bool = False,
        seed: PageSeed = 0,
        seconds_per_decision: PositiveFloat = 0.06,
        config: WeightsConfig | None = None,
    ) -> None:
        sampler = sampler or SamplerConfig()
        self._starts = len(moments.frames)
        self._check("steps", sampler.steps)
        weights = pack_denoiser(denoiser, moments, sampler, config)
        super().__init__(
            weights=weights,
            world=b"" if world is None else _pack_world(world, moments, config),
            still=still(
                pictures(moments.frames[:1, -1], "A real moment of a drive, seen from above"),
                "Drive in the diffusion dream: you steer a car through a road that a denoiser "
                "draws out of noise, frame by frame, from this moment on.",
            ),
            steps=sampler.steps,
            wide=bool(wide),
            seed=seed,
            seconds_per_decision=seconds_per_decision,
        )

    def _check(self, name: str, value: Any) -> None:
        if name == "start":
            check_type(name, value, whole(0, self._starts - 1))
        elif value not in STEPS:
            raise ValueError(f"steps must be one of {STEPS}, got {value!r}")

    _settings = settings("start", "steps")


def _pack_world(
    world: Agent | tuple[VAE, MDNRNN], moments: Moments, config: WeightsConfig | None
) -> bytes:
    vision, memory = (world.vision, world.memory) if isinstance(world, Agent) else world
    if moments.starts is None:
        raise ValueError("the moments lack the starts of V and M: give moments() their world")
    check_same("M's actions (a car has steering, gas and brake)", memory.config.actions, 3)
    check_same("the number of starts of V and M", len(moments.starts.z), len(moments.frames))
    return pack_models(vision, memory, starts=moments.starts, config=config)
