"""Chapter 7's measurements of Dreamer on the pendulum from pixels, and of what its parts are worth.

    python benchmarks/dreamer.py --jobs 2
    python benchmarks/dreamer.py --agents "dreamer without dice" --seeds 0 1

A row is one run: 20,000 real steps (action repeats counted), and then ten fresh episodes without
exploration. The runs of Dreamer itself are kept under runs/ and go on after a kill (the seconds are
then those of the last process); rows that are there are skipped.

"SAC" is the model-free rival, from the last three pictures (`sac.py`, which says what it needs). A
decision is two real steps for it too, and one update follows each decision but the first 100: 9,900
of them. Dreamer makes 8,000, so SAC with "as many updates" would be nearly the same agent, and is
left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import gymnasium as gym
import torch
from rows import Row, fill, machine
from torch import Tensor

from wmlib.agents.dreamer import Dreamer, DreamerConfig, State, train_dreamer
from wmlib.agents.dreamer.ablations import DiceOnly, PathOnly, recording, reinforce, use_rssm
from wmlib.agents.dreamer.agent import fitted
from wmlib.agents.dreamer.behaviour import losses, weights_of
from wmlib.episodes import Policy
from wmlib.evaluation import evaluate
from wmlib.imagination import imagine
from wmlib.learning import SEEDS, learn_online, repeat_of
from wmlib.returns import lambda_returns

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "dreamer.json"
ENV_ID, STEPS, EPISODES, BAR = "wmlib/PixelPendulum-v0", 20_000, 10, -250.0
FIRST = 900_000  # of a run's seeds: the first that is examined; training never comes so far
CONFIG = DreamerConfig()


class Reinforcing(Dreamer):
    """Its actor learns by REINFORCE, with the value as baseline: no gradient passes a dream."""

    def behave(
        self, start: State, begins: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        config = self.config.behaviour
        act, drawn = recording(self.actor, generator)
        with torch.no_grad():
            dream = imagine(self.model, act, start, config.horizon, generator)
            values = self.value(dream.features).squeeze(-1)  # (T + 1, S)
            returns = lambda_returns(
                dream.rewards, dream.continues, values, config.discount, config.trace
            )
            weights = weights_of(begins, dream.continues, config.discount)
        advantages = weights * (returns - values[:-1])  # (T, S)
        advantages = advantages / advantages.std()
        actor_loss = reinforce(self.actor, dream.features[:-1], torch.stack(drawn), advantages)
        _, value_loss, mean = losses(dream, begins, self.value, config)
        return actor_loss, value_loss, mean


RSSMS = {"dreamer without dice": PathOnly, "dreamer without path": DiceOnly}
DREAMERS = ("dreamer", *RSSMS, "dreamer by REINFORCE", "dreamer without entropy")
AGENTS = (*DREAMERS, "SAC")


def begun(kind: str, env: gym.Env, seed: int, config: DreamerConfig = CONFIG) -> Dreamer:
    """A new agent of a kind."""
    if kind == "dreamer without entropy":
        config = replace(config, behaviour=replace(config.behaviour, entropy=0.0))
    fit = fitted(config, env.observation_space, env.action_space)
    agent = Reinforcing(fit, seed) if kind == "dreamer by REINFORCE" else Dreamer(fit, seed)
    if kind in RSSMS:
        use_rssm(agent.model, RSSMS[kind])
    return agent


def dreaming(kind: str, seed: int) -> tuple[Policy, Row]:
    """A kind of Dreamer after a run, and what its row says of that."""
    if kind == "dreamer":
        folder = ROOT / "runs" / "dreamer" / f"{seed}"
        agent = train_dreamer(
            ENV_ID, steps=STEPS, seed=seed, folder=folder, resume=folder.exists(), progress=False
        )
    else:
        env = gym.make(ENV_ID)
        agent = begun(kind, env, seed)
        learn_online(
            agent, env, steps=STEPS, seed=seed, first=CONFIG.first, ratio=CONFIG.ratio,
            progress=False,
        )  # fmt: skip
    return agent.policy(), {"real_steps": STEPS, "updates": int(CONFIG.ratio * STEPS + 1e-9)}


def model_free(seed: int, steps: int = STEPS) -> tuple[Policy, Row]:
    """SAC after a run in the episodes that Dreamer plays with that seed."""
    import sac

    env = sac.SameTrials(gym.make(ENV_ID), seed * SEEDS)
    repeat = repeat_of(env)
    model = sac.learned(sac.Stacked(env), steps // repeat, seed)
    return sac.Quiet(model), {
        "real_steps": model.num_timesteps * repeat, "updates": model._n_updates,
        "pictures": sac.FRAMES, "batch": model.batch_size,
        "stable-baselines3": version("stable-baselines3"),
    }  # fmt: skip


def measure(name: Row) -> Row:
    """One run, and its verdict."""
    torch.set_num_threads(1)
    kind, seed, began = name["agent"], name["seed"], time.process_time()
    policy, said = model_free(seed) if kind == "SAC" else dreaming(kind, seed)
    seconds = time.process_time() - began
    score = evaluate(
        policy, ENV_ID, episodes=EPISODES, seed=seed * SEEDS + FIRST, n_jobs=1, progress=False
    )
    return name | said | {
        "mean": round(score.mean, 1),
        "returns": [round(one, 1) for one in score.returns], "cpu_seconds": round(seconds, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", nargs="+", choices=AGENTS, default=["dreamer"])
    parser.add_argument("--seeds", nargs="+", type=int, default=range(4))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, of one thread each")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    made = {
        "command": f"python benchmarks/dreamer.py --jobs {options.jobs}",
        "configuration": dataclasses.asdict(CONFIG), **machine(("numpy", "torch", "gymnasium")),
    }  # fmt: skip
    names = ({"agent": agent, "seed": seed} for agent in options.agents for seed in options.seeds)
    fill(
        options.out, names, measure, lambda rows: {"made": made, "bar": BAR}, jobs=options.jobs,
        shown=("agent", "seed", "mean", "cpu_seconds"),
    )  # fmt: skip


if __name__ == "__main__":
    main()
