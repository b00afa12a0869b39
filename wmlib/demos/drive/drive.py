"""Drive the dream: the reader at the wheel in the world that V and M imagine.

The demo that made the 2018 paper famous, on weights of our own. The browser runs M and V's decoder
by itself, so the page needs no kernel; beside a kernel the widget can be handed any V and M.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import anywidget
import traitlets
from pydantic import Field

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.controller import LinearController
from wmlib.agents.world_models.memory import MDNRNN
from wmlib.agents.world_models.starts import Starts
from wmlib.agents.world_models.vision import VAE
from wmlib.demos.page.settings import settings, whole
from wmlib.demos.page.still import pictures, still
from wmlib.demos.page.weights import WeightsConfig, pack_models
from wmlib.typed import PositiveFloat, check_same, check_type, typed

PageSeed = Annotated[int, Field(ge=0, lt=2**32)]
Warmth = Annotated[float, Field(ge=0.1, le=2.0)]
"""temperatures from end to end of the slider"""


class DriveTheDream(anywidget.AnyWidget):
    """V and M as a car to drive in the page, by the reader or by C.

    What the reader did can be read from Python: `driver` ("reader" or "C"), `temperature`, `start`
    (row of the start in use), and as of the last pause `decisions` and `imagined_return`. The first
    three may be set, too; another `start` begins another dream.

    Args:
        world: an agent, or the pair (V, M) of a world without a C.
        starts: 1 to 64 moments from which to dream, see `wmlib.agents.world_models.starts.warm_up`.
        driver: who has the wheel at first: "C", which the reader can take over from at any time, or
            "reader". By default C, if there is one.
        temperature: of the dream at first, in [0.1, 2].
        seed: of the noise, in [0, 2**32); the same seed, start and actions give the same dream.
        seconds_per_decision: > 0; three frames of CarRacing are 0.06 s.
        config: how the weights are rounded.

    Raises:
        TypeError: `world` or `starts` is something else, or a number is none.
        ValueError: the parts do not fit together or do not drive a car, a weight is NaN or
            infinite, or a number is out of range.
    """

    _esm = Path(__file__).with_name("bundle.js")
    _css = Path(__file__).with_name("bundle.css")

    weights = traitlets.Bytes().tag(sync=True)
    still = traitlets.Unicode().tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    seconds_per_decision = traitlets.Float(0.06).tag(sync=True)
    driver = traitlets.Unicode("reader").tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    start = traitlets.Int(0).tag(sync=True)
    decisions = traitlets.Int(0).tag(sync=True)
    imagined_return = traitlets.Float(0.0).tag(sync=True)

    @typed
    def __init__(
        self,
        world: Agent | tuple[VAE, MDNRNN],
        *,
        starts: Starts,
        driver: Literal["reader", "C"] | None = None,
        temperature: Warmth = 1.0,
        seed: PageSeed = 0,
        seconds_per_decision: PositiveFloat = 0.06,
        config: WeightsConfig | None = None,
    ) -> None:
        vision, memory, controller = parts(world)
        check_same("M's actions (a car has steering, gas and brake)", memory.config.actions, 3)
        first = driver or ("reader" if controller is None else "C")
        drivers = Literal["reader"] if controller is None else Literal["reader", "C"]
        check_type("driver", first, drivers)
        weights = pack_models(vision, memory, controller, starts, config)
        self._kinds = {
            "driver": drivers, "temperature": Warmth, "start": whole(0, len(starts.z) - 1)
        }  # fmt: skip
        super().__init__(
            weights=weights,
            still=still(
                pictures(vision.decode(starts.z[:1].cpu().numpy()), "What V paints of that moment"),
                "Drive the dream: you steer a car through a road that V and M imagine, from this "
                "moment on.",
            ),
            driver=first,
            temperature=temperature,
            seed=seed,
            seconds_per_decision=seconds_per_decision,
        )

    def _check(self, name: str, value: Any) -> None:
        check_type(name, value, self._kinds[name])

    _settings = settings("driver", "temperature", "start")


def parts(world: Agent | tuple[VAE, MDNRNN]) -> tuple[VAE, MDNRNN, LinearController | None]:
    """V, M and, if there is one, C."""
    if isinstance(world, Agent):
        return world.vision, world.memory, world.controller
    return *world, None
