"""What a second thread is worth: updates a second of V and M, beside 0, 1 and 2 busy programs.

    python benchmarks/threads.py

PyTorch splits the work of one operation over OpenMP threads, which wait for one another many times
an update. On an idle machine of two cores that helps. Beside other programs the thread that waits
turns in a loop, on the core that the one it waits for would need; ``OMP_WAIT_POLICY=passive`` makes
it sleep instead. Each figure is the median of three slices of four seconds, taken in turns.
"""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

OUT = Path(__file__).parent / "results" / "threads.json"
SETTINGS = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "two threads, passive": {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"},
}
SECONDS, ROUNDS = 4.0, 3
BUSY = "while True: pass"


def updates_per_second(model: str) -> float:
    """Train V or M of the paper's size on random numbers for a while, in this process."""
    import numpy as np
    import torch

    from wmlib.agents.world_models.memory import MDNRNN
    from wmlib.agents.world_models.vision import VAE

    generator = torch.Generator().manual_seed(0)
    if model == "V":
        vision = VAE()
        images = torch.rand(vision.config.batch, 3, 64, 64, generator=generator)
        network: torch.nn.Module = vision

        def loss() -> torch.Tensor:
            return vision.loss(images, torch.randn(len(images), 32, generator=generator)).total
    else:
        memory = network = MDNRNN()
        B, T = memory.config.batch, memory.config.window
        z = torch.randn(B, T, 32, generator=generator)
        actions = torch.rand(B, T, 3, generator=generator)
        events = torch.zeros(B, T)

        def loss() -> torch.Tensor:
            return memory.loss(z, actions, z, events, events).total

    optimiser = torch.optim.Adam(network.parameters())
    seconds: list[float] = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or len(seconds) < 4:
        started = time.monotonic()
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        seconds.append(time.monotonic() - started)
    return (len(seconds) - 2) / float(np.sum(seconds[2:]))  # the first two make caches


def main() -> None:
    rows = []
    for busy in (0, 1, 2):
        neighbours = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
        try:
            for model in ("V", "M"):
                found: dict[str, list[float]] = {name: [] for name in SETTINGS}
                for _ in range(ROUNDS):
                    for name, setting in SETTINGS.items():
                        done = subprocess.run(
                            [sys.executable, __file__, model],
                            env=os.environ | setting, capture_output=True, text=True, check=True,
                        )  # fmt: skip
                        found[name].append(float(done.stdout))
                median = {name: round(sorted(each)[ROUNDS // 2], 2) for name, each in found.items()}
                rows.append({"model": model, "busy": busy, "updates_per_second": median})
                print(rows[-1], flush=True)
        finally:
            for neighbour in neighbours:
                neighbour.kill()
    result = {"cores": os.cpu_count(), "machine": platform.machine(), "rows": rows}
    OUT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(updates_per_second(sys.argv[1]))
    else:
        main()
