"""How fast dreams are, beside the official CarRacing and the machine's own arithmetic."""

from __future__ import annotations

import math
import time
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from wmlib.agents.world_models.controller import ControllerConfig, LinearController
from wmlib.agents.world_models.dream import Dream
from wmlib.agents.world_models.memory import MDNRNN
from wmlib.agents.world_models.starts import Starts
from wmlib.training import seeded
from wmlib.typed import PositiveInt, typed


@typed
def measure_dream(
    seconds: Annotated[float, Field(gt=0, le=86_400)] = 20.0,
    population: PositiveInt = 64,
    starts: PositiveInt = 128,
    horizon: PositiveInt = 15,
) -> dict[str, float]:
    """Dreamed steps a second, and the share of this machine's own matrix-product rate they reach.

    Matrix products and dreams take turns; each keeps its best round. The rate counts the operations
    of the dream's matrix products alone, against those of a product of two (2048, 2048) float32.

    Args:
        seconds: about how long, > 0, at most a day.
        population: P, >= 1.
        starts: S, >= 1.
        horizon: decisions, >= 1.

    Raises:
        ValueError: a number is out of range.
    """
    memory = seeded(0, MDNRNN)
    shape = ControllerConfig()
    controller = LinearController(np.zeros((population, shape.parameters), np.float32), shape)
    cfg, noise = memory.config, torch.Generator().manual_seed(0)
    real = Starts(
        torch.zeros(starts, cfg.latent),
        torch.zeros(starts, cfg.hidden),
        torch.zeros(starts, cfg.hidden),
    )
    dream = Dream(memory)
    square = torch.randn(2048, 2048, generator=noise)
    product = dreaming = math.inf
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        torch.mm(square, square)
        product = min(product, time.perf_counter() - start)
        start = time.perf_counter()
        dream.returns(controller, real, horizon=horizon, generator=noise)
        dreaming = min(dreaming, time.perf_counter() - start)
    steps = population * starts * horizon / dreaming
    machine = 2 * 2048**3 / product
    return {
        "dream_steps_per_second": steps,
        "dream_gflops": steps * dream.flops_per_step() / 1e9,
        "machine_gflops": machine / 1e9,
        "share_of_machine": steps * dream.flops_per_step() / machine,
        "threads": torch.get_num_threads(),
    }
