"""Chapter 6's measurements of PETS on Pendulum-v1, each beside what a reader would compare it with.

    python benchmarks/pets.py --jobs 2
    python benchmarks/pets.py --parts speed

The parts:
- pets: PE-TSinf, the bar (mean of trials 8 to 10 at least -250), and the ablation D, P, DE;
- oracle: the same search on the true dynamics, on the same trials: what a perfect model would earn;
- sac: stable-baselines3's SAC on the same trials, with the settings of rl-baselines3-zoo, and with
  as many updates in those 2,000 steps as PETS' model has (`sac.py`);
- horizon: open-loop errors of 1, 3, 5 and 7 members on held-out real episodes;
- speed: a planning step beside mbrl-lib's, with the same weights. Run it alone, on an idle machine.

`sac` needs stable-baselines3==2.9.2. `speed` needs mbrl==0.2.0, which pins old versions of what it
builds on; it runs with today's if it is installed without them:

    pip install --target DIR --no-deps mbrl==0.2.0 hydra-core omegaconf==2.3.0 \\
        antlr4-python3-runtime==4.9.3 termcolor imageio
    PYTHONPATH=DIR python benchmarks/pets.py --parts speed

A row is written as soon as it is there; a run that is killed goes on with the rows it lacks.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from rows import Row, fill
from torch import Tensor

from wmlib.agents.pets.agent import PETSConfig, pendulum_reward, train_pets, transitions
from wmlib.agents.pets.ensemble import Ensemble, EnsembleConfig
from wmlib.agents.pets.particles import expected_returns, propagate
from wmlib.episodes import Episode, run_episode
from wmlib.planning import CEMConfig, Planner, UniformPolicy
from wmlib.training import seeded

OUT = Path(__file__).parent / "results" / "pets.json"
ENV_ID, TRIALS, STEPS, BAR = "Pendulum-v1", 10, 200, -250.0
CONFIG = PETSConfig()
KINDS = {
    "PE-TSinf": CONFIG,
    "D": CONFIG.variant("D"),
    "P": CONFIG.variant("P"),
    "DE": CONFIG.variant("DE"),
}
MEMBERS, AHEAD, PARTICLES = (1, 3, 5, 7), 30, 105
SPEEDS = {
    "ours": CONFIG,
    "paper": PETSConfig(
        particles=20, ensemble=EnsembleConfig(layers=3, units=200),
        cem=CEMConfig(horizon=25, population=400, iterations=5),
    ),
}  # fmt: skip
SHOWN = ("part", "kind", "members", "seed", "propagation", "returns", "median", "ratio")


def rounded(numbers: Any, digits: int = 2) -> list[float]:
    return [round(float(number), digits) for number in numbers]


def pets(kind: str, seed: int) -> Row:
    """Ten trials of one variant."""
    began = time.perf_counter()
    trained = train_pets(
        gym.make(ENV_ID), pendulum_reward, KINDS[kind], trials=TRIALS, seed=seed, progress=False
    )
    return {
        "returns": rounded(trained.returns),
        "real_steps": sum(len(episode) for episode in trained.episodes),
        "updates": sum(len(history["total"]) for history in trained.losses),
        "losses": rounded(np.mean(history["fit"][-20:]) for history in trained.losses),
        "seconds": round(time.perf_counter() - began, 1),
    }


def true_returns(start: Tensor, plans: Tensor, generator: torch.Generator) -> Tensor:
    """What plans (P, T, 1) earn in Pendulum-v1 itself, from an observation (3,)."""
    angle, speed, total = torch.atan2(start[1], start[0]), start[2], torch.zeros(len(plans))
    for torque in plans[..., 0].unbind(1):  # (P,)
        state = torch.stack(torch.broadcast_tensors(angle.cos(), angle.sin(), speed), -1)  # (P, 3)
        total = total + pendulum_reward(state, torque[:, None], state)
        speed = (speed + (15 * angle.sin() + 3 * torque) * 0.05).clamp(-8, 8)
        angle = angle + 0.05 * speed
    return total


def oracle(seed: int) -> Row:
    """The trials of `pets`, planned on the true dynamics."""
    env = gym.make(ENV_ID)
    planner = Planner(true_returns, env.action_space, CONFIG.cem)
    episodes = [run_episode(env, planner, 1000 * seed + trial) for trial in range(TRIALS)]
    return {"returns": rounded(episode.total_reward for episode in episodes)}


def sac(kind: str, seed: int) -> Row:
    """Returns of training episodes, on the trials of `pets`; and what it earns in the end without
    noise, on the last three of those trials again."""
    from sac import Quiet, SameTrials, learned

    updates = {"zoo": 1, "as many updates": 8}[kind]
    env, began = SameTrials(gym.make(ENV_ID), 1000 * seed), time.perf_counter()
    model = learned(env, TRIALS * STEPS, seed, updates)
    again = range(1000 * seed + TRIALS - 3, 1000 * seed + TRIALS)
    quiet = [run_episode(gym.make(ENV_ID), Quiet(model), trial).total_reward for trial in again]
    return {
        "returns": rounded(env.returns[:TRIALS]),
        "without_noise": rounded(quiet),
        "real_steps": TRIALS * STEPS,
        "updates": model._n_updates,
        "seconds": round(time.perf_counter() - began, 1),
    }


@cache
def drives(first: int, pairs: int) -> list[Episode]:
    """A random and a planned episode from each of so many seeds."""
    env = gym.make(ENV_ID)
    policies = UniformPolicy(env.action_space), Planner(true_returns, env.action_space, CONFIG.cem)
    return [run_episode(env, policy, seed) for seed in range(first, first + pairs)
            for policy in policies]  # fmt: skip


def horizon(members: int, seed: int) -> Row:
    """Open-loop errors after 1 to 30 steps, in standard deviations of what is observed.

    Half of the episodes, to learn from and to judge by, are random, half are planned on the true
    dynamics: hanging, swinging and standing all occur. The prediction is the mean of the particles
    (TSinf, as many for every ensemble); its spread is their standard deviation.
    """
    known, held_out = drives(10_000 + 100 * seed, 2), drives(20_000, 5)
    config = dataclasses.replace(CONFIG.ensemble, members=members)
    ensemble = seeded(seed, lambda: Ensemble(3, 1, config))
    ensemble.learn(*transitions(known), seed=seed)
    begins = range(0, STEPS - AHEAD, 5)
    windows = [e.observations[t : t + AHEAD + 1] for e in held_out for t in begins]
    real = torch.from_numpy(np.stack(windows, 1))  # (T + 1, P, O)
    plans = torch.from_numpy(
        np.stack([e.actions[t : t + AHEAD] for e in held_out for t in begins])
    )  # (P, T, A)
    unit = real.std((0, 1))  # (O,)
    errors, spreads = [], []
    with torch.inference_mode():
        steps = propagate(
            ensemble, real[0], plans, "TSinf", PARTICLES, torch.Generator().manual_seed(seed)
        )
        for t, step in enumerate(steps, 1):
            miss = (step.following.mean(0) - real[t]) / unit  # (P, O)
            errors.append(miss.square().mean().sqrt())
            spreads.append((step.following.std(0) / unit).square().mean().sqrt())
    still = [((real[0] - real[t]) / unit).square().mean().sqrt() for t in range(1, AHEAD + 1)]
    return {
        "errors": rounded(errors, 5),
        "spreads": rounded(spreads, 5),
        "errors_of_no_change": rounded(still, 5),
        "real_steps": sum(len(episode) for episode in known),
    }


def planning(config: PETSConfig) -> tuple[Ensemble, Callable[[np.ndarray], np.ndarray]]:
    """An ensemble and a planning step in it."""
    env = gym.make(ENV_ID)
    ensemble = seeded(0, lambda: Ensemble(3, 1, config.ensemble))

    def returns(start: Tensor, plans: Tensor, generator: torch.Generator) -> Tensor:
        return expected_returns(
            ensemble, pendulum_reward, start, plans, config.propagation, config.particles, generator
        )

    planner = Planner(returns, env.action_space, config.cem)
    planner.reset(np.random.default_rng(0))
    return ensemble, planner.act


def planning_of_mbrl(config: PETSConfig, ensemble: Ensemble) -> Callable[[np.ndarray], np.ndarray]:
    """The same planning step in mbrl-lib: its classes, our weights."""
    import mbrl.models
    import mbrl.planning
    import omegaconf

    networks, search = config.ensemble, config.cem
    model = mbrl.models.GaussianMLP(
        4, 3, "cpu", networks.layers, networks.members, networks.units, learn_logvar_bounds=True,
        propagation_method={"TSinf": "fixed_model", "TS1": "random_model"}[config.propagation],
        activation_fn_cfg={"_target_": "torch.nn.SiLU"},
    )  # fmt: skip
    layers = [*(hidden[0] for hidden in model.hidden_layers), model.mean_and_logvar]
    for layer, weight, bias in zip(layers, ensemble.weights, ensemble.biases, strict=True):
        layer.weight.data.copy_(weight.data)
        layer.bias.data.copy_(bias.data)
    inputs = torch.randn(networks.members, 10, 4)
    theirs = model(inputs, use_propagation=False)[0] + inputs[..., :3]
    ours = ensemble(inputs[..., :3], inputs[..., 3:]).mean
    if not torch.allclose(ours, theirs, atol=1e-5):
        raise SystemExit("mbrl-lib's networks, with our weights, predict something else")
    dynamics = mbrl.models.OneDTransitionRewardModel(
        model, target_is_delta=True, normalize=True, learned_rewards=False
    )
    env = mbrl.models.ModelEnv(
        gym.make(ENV_ID), dynamics,
        lambda actions, following: torch.zeros(len(following), 1, dtype=torch.bool),
        lambda actions, following: pendulum_reward(following, actions, following)[:, None],
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    agent = mbrl.planning.create_trajectory_optim_agent_for_model(
        env,
        omegaconf.OmegaConf.create({
            "_target_": "mbrl.planning.TrajectoryOptimizerAgent", "_recursive_": False,
            "action_lb": [-2.0], "action_ub": [2.0], "planning_horizon": search.horizon,
            "optimizer_cfg": {
                "_target_": "mbrl.planning.CEMOptimizer", "num_iterations": search.iterations,
                "elite_ratio": search.elites, "population_size": search.population,
                "alpha": search.momentum, "device": "cpu", "lower_bound": "???",
                "upper_bound": "???", "return_mean_elites": True, "clipped_normal": False,
            },
        }),
        num_particles=config.particles,
    )  # fmt: skip
    return agent.act


def speed(kind: str, propagation: str, repeats: int = 15) -> Row:
    """Seconds a planning step takes here and in mbrl-lib, in turns."""
    config = dataclasses.replace(SPEEDS[kind], propagation=propagation)
    ensemble, ours = planning(config)
    acts = {"wmlib": ours, "mbrl": planning_of_mbrl(config, ensemble)}
    observation = np.array([-1.0, 0.1, 0.5], dtype=np.float32)
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    for repeat in range(repeats + 1):
        for name, act in acts.items():
            began = time.perf_counter()
            act(observation)
            if repeat:  # the first warms up
                seconds[name].append(time.perf_counter() - began)
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    return {
        "seconds": {name: rounded(times, 4) for name, times in seconds.items()},
        "median": {name: round(median, 4) for name, median in medians.items()},
        "ratio": round(medians["mbrl"] / medians["wmlib"], 3),
        "threads": torch.get_num_threads(),
    }


PARTS: dict[str, Callable[..., Row]] = {
    "pets": pets, "oracle": oracle, "sac": sac, "horizon": horizon, "speed": speed,
}  # fmt: skip


def tasks(parts: list[str], seeds: int) -> Iterator[Row]:
    """What each row is named by: its part and the arguments of the part's function."""
    for seed in range(seeds):
        few = seed < 3
        for part in parts:
            if part == "pets":
                yield from ({"part": part, "kind": k, "seed": seed} for k in KINDS
                            if few or k == "PE-TSinf")  # fmt: skip
            elif part == "oracle":
                yield {"part": part, "seed": seed}
            elif part == "sac":
                kinds = ("zoo", "as many updates") if few else ("zoo",)
                yield from ({"part": part, "kind": kind, "seed": seed} for kind in kinds)
            elif part == "horizon" and few:
                yield from ({"part": part, "members": m, "seed": seed} for m in MEMBERS)
    if "speed" in parts:
        for kind in SPEEDS:
            for propagation in ("TSinf", "TS1"):
                yield {"part": "speed", "kind": kind, "propagation": propagation}


def measure(name: Row) -> Row:
    return name | PARTS[name["part"]](**{k: v for k, v in name.items() if k != "part"})


def last_three(rows: list[Row], **name: Any) -> dict[int, float]:
    """Mean return of trials 8 to 10, by seed."""
    found = (row for row in rows if all(row.get(key) == value for key, value in name.items()))
    means = {r["seed"]: float(np.mean(r["returns"][TRIALS - 3 : TRIALS])) for r in found}
    return {seed: round(means[seed], 1) for seed in sorted(means)}


def summary(rows: list[Row]) -> Row:
    """What the rows say, for the chapter and for whoever ran this."""
    means = {kind: last_three(rows, part="pets", kind=kind) for kind in KINDS}
    means["oracle"] = last_three(rows, part="oracle")
    for kind in ("zoo", "as many updates"):
        means[f"SAC, {kind}"] = last_three(rows, part="sac", kind=kind)
    reached = sum(mean >= BAR for mean in means["PE-TSinf"].values())
    return {
        "mean_of_trials_8_to_10": {kind: by_seed for kind, by_seed in means.items() if by_seed},
        "bar": BAR,
        "seeds_at_the_bar": f"{reached} of {len(means['PE-TSinf'])}",
    }


def made(options: argparse.Namespace) -> Row:
    """What made the result."""
    versions = {"python": platform.python_version()}
    for name in ("numpy", "torch", "gymnasium", "stable-baselines3", "mbrl"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not there for the last rows"
    return {
        "command": f"python benchmarks/pets.py --jobs {options.jobs} --seeds {options.seeds}",
        "configuration": dataclasses.asdict(CONFIG),
        "sac": {"policy": "MlpPolicy", "source": "rl-baselines3-zoo; see benchmarks/sac.py"},
        "versions": versions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS][:-1])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="rows at a time; speed: always one")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    rows = fill(
        options.out, tasks(options.parts, options.seeds), measure,
        lambda rows: {"made": made(options), "summary": summary(rows)},
        jobs=1 if "speed" in options.parts else options.jobs, shown=SHOWN,
    )  # fmt: skip
    print(json.dumps(summary(rows), indent=1))


if __name__ == "__main__":
    main()
