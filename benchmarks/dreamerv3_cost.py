"""What an update of DreamerV3 costs here, beside r2dreamer's with networks of the same sizes.

    git clone https://github.com/NM512/r2dreamer DIR
    git -C DIR checkout 546e4fab8146ea4b14e1d7726bbc1a8a1d50322f
    OMP_NUM_THREADS=1 python benchmarks/dreamerv3_cost.py --peer DIR

r2dreamer holds a PyTorch rewrite of DreamerV3, by its authors' account about five times as fast as
the one most used before it. It runs as it comes, with `rep_loss: dreamer` (which is DreamerV3) and
the sizes of our configuration, in float32 and without torch.compile, as ours does: its settings for
both, float16 and a compiled update with "reduce-overhead", are for a GPU. Its own `update` is
timed, replay left out, and so is ours. Two things it has more of: a 16th step of each dream, from
which nothing is learned, and more means for its log.

A round is an update of each and a product of two (2048, 2048) float32, in turns, on one thread and
in processor seconds, so that another process takes no time from one of them alone. The share of the
machine's own rate counts the matrix products of an update (`torch.utils.flop_counter`) and nothing
else, its best round against the product's best.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from rows import Row, fill, machine
from torch.utils.flop_counter import FlopCounterMode

from wmlib.agents.dreamerv3 import DreamerV3, DreamerV3Config
from wmlib.agents.dreamerv3.agent import Spaces
from wmlib.sequences import Sequences

OUT = Path(__file__).parent / "results" / "dreamerv3-cost.json"
ENV_ID = "wmlib/PixelCatch-v0"
CONFIG = DreamerV3Config()
WARM = 2  # rounds that are not timed


class Settings(dict):
    """A dictionary whose entries are attributes too, which is how the peer reads its settings."""

    __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__


def stretches(spaces: Spaces, config: DreamerV3Config = CONFIG) -> Sequences:
    """A batch to learn from: of the right shapes, and random."""
    rng, shape = np.random.default_rng(0), (config.batch, config.length)
    return Sequences(
        observations=rng.integers(0, 256, (*shape, *spaces.shape), np.uint8),
        actions=rng.integers(0, spaces.actions, shape),
        rewards=rng.standard_normal(shape, np.float32),
        first=rng.random(shape) < 0.1, ended=rng.random(shape) < 0.1,
    )  # fmt: skip


def ours(spaces: Spaces, config: DreamerV3Config = CONFIG) -> tuple[Callable[[], Any], int]:
    """Our update, and how many numbers it learns."""
    agent, batch = DreamerV3(spaces, config), stretches(spaces, config)
    return lambda: agent.update(batch), sum(part.numel() for part in agent.weights)


def settings_of_peer(config: DreamerV3Config = CONFIG) -> Settings:
    """Our sizes, and r2dreamer's own settings for the rest (configs/model/_base_.yaml)."""
    model, behaviour = config.world_model, config.behaviour
    rssm = model.rssm

    def network(layers: int, shape: tuple[int, ...] | None, units: int, dist: Any, scale: float,
                name: str) -> Settings:  # fmt: skip
        return Settings(
            layers=layers, shape=shape, units=units, dist=dist, outscale=scale, name=name,
            act="SiLU", norm=True, device="cpu", symlog_inputs=False,
        )  # fmt: skip

    two_hot = Settings(name="symexp_twohot", bin_num=model.bins)
    choice = Settings(disc=Settings(name="onehot", unimix_ratio=behaviour.unimix))
    of_model, of_behaviour = model.units, behaviour.units
    # Its encoder has no last linear layer: a third hidden one stands for it.
    encoder = network(model.layers + 1, None, of_model, None, 1.0, "encoder")
    decoder = network(model.layers, None, of_model, Settings(name="identity"), 1.0, "decoder")
    return Settings(
        device="cpu", act_entropy=behaviour.entropy, kl_free=model.free_nats,
        imag_horizon=behaviour.horizon, horizon=model.horizon, lamb=behaviour.trace,
        rep_loss="dreamer", compile=False, log_grads=False, slow_target_update=1,
        slow_target_fraction=behaviour.slow_rate, lr=4e-5, agc=config.clip, pmin=1e-3, eps=1e-20,
        beta1=0.9, beta2=0.999, warmup=1000,
        loss_scales={
            "recon": 1.0, "rew": 1.0, "con": 1.0, "dyn": model.dynamics_weight,
            "rep": model.representation_weight, "policy": 1.0, "value": 1.0,
            "repval": behaviour.replay_weight,
        },
        rssm=Settings(
            stoch=rssm.variables, discrete=rssm.classes, deter=rssm.deterministic,
            hidden=rssm.units, blocks=rssm.blocks, img_layers=2, obs_layers=1, dyn_layers=1,
            act="SiLU", norm=True, unimix_ratio=rssm.unimix, initial="learned", device="cpu",
        ),
        encoder=Settings(mlp_keys="seen", cnn_keys="$^", mlp=encoder, cnn=None),
        decoder=Settings(
            mlp_keys="seen", cnn_keys="$^", mlp=decoder, cnn=None, cnn_dist=Settings(name="mse"),
            mlp_dist=Settings(name="mse"),
        ),
        reward=network(model.head_layers, (model.bins,), of_model, two_hot, 0.0, "reward"),
        cont=network(model.head_layers, (1,), of_model, Settings(name="binary"), 1.0, "cont"),
        actor=network(behaviour.layers, None, of_behaviour, choice, 0.01, "actor"),
        critic=network(behaviour.layers, (model.bins,), of_behaviour, two_hot, 0.0, "value"),
    )  # fmt: skip


class Batch(dict):
    """What stands for a TensorDict of B stretches of T steps."""

    @property
    def shape(self) -> torch.Size:
        return self["action"].shape[:2]


def peer(
    folder: Path, spaces: Spaces, config: DreamerV3Config = CONFIG
) -> tuple[Callable[[], Any], int]:
    """r2dreamer's update, and how many numbers it learns."""
    # Packages that it imports and that an update needs nothing of.
    needless = {"tensordict": "TensorDict", "torch.utils.tensorboard": "SummaryWriter"}
    for name, wanted in needless.items():
        stand_in = ModuleType(name)
        setattr(stand_in, wanted, dict)
        sys.modules.setdefault(name, stand_in)
    sys.path.insert(0, str(folder))  # its modules have plain names: `dreamer`, `rssm`, `tools`
    import dreamer

    dreamer.autocast = lambda **_: contextlib.nullcontext()  # float32
    numbers = int(np.prod(spaces.shape))
    seen = SimpleNamespace(spaces={"seen": SimpleNamespace(shape=(numbers,))})
    with contextlib.redirect_stdout(None):
        agent = dreamer.Dreamer(
            settings_of_peer(config), seen, SimpleNamespace(n=spaces.actions, discrete=True)
        )
    batch = stretches(spaces, config)
    first, ended, rewards = (
        torch.from_numpy(part)[..., None] for part in (batch.first, batch.ended, batch.rewards)
    )
    data = Batch(
        seen=torch.from_numpy(batch.observations).flatten(2).float() / 255,
        action=torch.eye(spaces.actions)[torch.from_numpy(batch.actions)],
        is_first=first, is_last=ended, is_terminal=ended, reward=rewards,
    )  # fmt: skip
    replay = SimpleNamespace(
        sample=lambda: (data, None, agent.rssm.initial(config.batch)), update=lambda *_: None
    )
    learned = sum(part.numel() for part in agent._named_params.values())
    return lambda: agent.update(replay), learned


def operations(update: Callable[[], Any]) -> int:
    """Floating-point operations of an update's matrix products."""
    with FlopCounterMode(display=False) as counter:
        update()
    return int(counter.get_total_flops())


def cost(updates: dict[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray]:
    """Processor seconds (rounds,) of each update, and of a matrix product, taken in turns."""
    square = torch.randn(2048, 2048, generator=torch.Generator().manual_seed(0))
    turns = updates | {"product": lambda: square @ square}
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds + WARM):
        for name, turn in turns.items():
            began = time.process_time()
            turn()
            seconds[name].append(time.process_time() - began)
    return {name: np.array(times[WARM:]) for name, times in seconds.items()}


def measure(folder: Path | None, rounds: int, config: DreamerV3Config = CONFIG) -> Row:
    """A row: ours, and the peer's if its folder is given."""
    torch.set_num_threads(1)
    env = gym.make(ENV_ID)
    spaces = Spaces.of(env.observation_space, env.action_space)
    of = {"wmlib": ours(spaces, config)}
    if folder is not None:
        of["r2dreamer"] = peer(folder, spaces, config)
    work = {name: operations(update) for name, (update, _) in of.items()}
    seconds = cost({name: update for name, (update, _) in of.items()}, rounds)
    rate = 2 * 2048**3 / seconds["product"].min()  # operations a second
    row = {
        "rounds": rounds, "machine_gflops": round(rate / 1e9, 1),
        "parameters": {name: learned for name, (_, learned) in of.items()},
        "gflop": {name: round(done / 1e9, 3) for name, done in work.items()},
        "updates_per_second": {
            name: round(1 / float(np.median(seconds[name])), 2) for name in of
        },
        "share_of_machine": {
            name: round(float(work[name] / seconds[name].min() / rate), 3) for name in of
        },
    }  # fmt: skip
    if folder is not None:
        ratios = seconds["r2dreamer"] / seconds["wmlib"]
        row["ratio"] = round(float(np.median(ratios)), 3)
        row["ratio_middle_half"] = [round(float(q), 3) for q in np.quantile(ratios, (0.25, 0.75))]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, help="a clone of r2dreamer; without it, ours alone")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    made = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/dreamerv3_cost.py --peer DIR",
        "configuration": dataclasses.asdict(CONFIG), "environment": ENV_ID,
        "peer": "r2dreamer at 546e4fab", **machine(("numpy", "torch", "gymnasium")),
    }  # fmt: skip
    name = {"beside": "r2dreamer" if options.peer else "nothing"}
    fill(
        options.out, [name], lambda name: name | measure(options.peer, options.rounds),
        lambda rows: {"made": made}, shown=("updates_per_second", "ratio", "share_of_machine"),
    )  # fmt: skip


if __name__ == "__main__":
    main()
