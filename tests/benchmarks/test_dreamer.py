"""Dreamer and what is left of it: each kind that the benchmark knows learns in its own way."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from programs import load_program

from wmlib.agents.dreamer import DreamerConfig, RSSMConfig, WorldModelConfig
from wmlib.agents.dreamer.ablations import DiceOnly, PathOnly
from wmlib.agents.dreamer.behaviour import BehaviourConfig
from wmlib.episodes import run_episode
from wmlib.exploration import random_policy
from wmlib.sequences import Stream

benchmark = load_program("dreamer")

SMALL = DreamerConfig(
    world_model=WorldModelConfig(channels=(), rssm=RSSMConfig(16, 4, 16), units=16, embedding=16),
    behaviour=BehaviourConfig(horizon=4, units=16), batch=4, length=6,
)  # fmt: skip


@pytest.mark.parametrize("kind", benchmark.DREAMERS)
def test_every_kind_learns(kind: str) -> None:
    env, stream = gym.make(benchmark.ENV_ID), Stream()
    stream.extend(run_episode(env, random_policy(env.action_space), 0, max_steps=30))
    agent = benchmark.begun(kind, env, 0, SMALL)
    expected = {"dreamer without dice": PathOnly, "dreamer without path": DiceOnly}
    assert isinstance(agent.model.rssm, expected.get(kind, object))
    unpaid = agent.config.behaviour.entropy == 0
    assert unpaid == (kind == "dreamer without entropy")
    before = {n: [p.clone() for p in m.parameters()] for n, m in agent.modules.items()}
    told = agent.learn(stream, 2)
    assert np.isfinite(list(told.values())).all()
    for name, module in agent.modules.items():
        moved = [
            not torch.equal(*pair) for pair in zip(before[name], module.parameters(), strict=True)
        ]
        assert any(moved), name


def test_without_a_slope_the_dream_still_says_what_paid() -> None:
    """REINFORCE: no gradient passes through the model, and the actor has one all the same."""
    env = gym.make(benchmark.ENV_ID)
    agent = benchmark.begun("dreamer by REINFORCE", env, 0, SMALL)
    start = agent.model.rssm.initial(8)
    generator = torch.Generator().manual_seed(0)
    actor_loss, _, _ = agent.behave(start, torch.ones(8), generator)
    weights = list(agent.actor.parameters()), list(agent.model.parameters())
    ours, theirs = (
        torch.autograd.grad(actor_loss, part, retain_graph=True, allow_unused=True)
        for part in weights
    )
    assert all(part is not None for part in ours) and all(part is None for part in theirs)
