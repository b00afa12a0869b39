"""DreamerV3 and what is left of it: each variant that the benchmark knows learns in its own way."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from programs import load_program

import wmlib  # noqa: F401 -- registers the environments
from wmlib.agents.dreamerv3 import DreamerV3Config
from wmlib.agents.dreamerv3.behaviour import BehaviourConfig
from wmlib.agents.dreamerv3.rssm import RSSMConfig
from wmlib.agents.dreamerv3.world_model import WorldModelConfig
from wmlib.episodes import run_episode
from wmlib.exploration import random_policy
from wmlib.nets.heads import unimix
from wmlib.sequences import Stream

benchmark = load_program("dreamerv3")

SMALL = DreamerV3Config(
    world_model=WorldModelConfig(
        rssm=RSSMConfig(16, 2, 4, 4, 16), units=16, layers=1, embedding=16, bins=21
    ),
    behaviour=BehaviourConfig(horizon=4, units=16, layers=1), batch=4, length=6,
)  # fmt: skip


@pytest.mark.parametrize("variant", benchmark.VARIANTS)
def test_every_variant_learns(variant: str) -> None:
    env, stream = gym.make("wmlib/PixelCatch-v0"), Stream()
    stream.extend(run_episode(env, random_policy(env.action_space), 0, max_steps=30))
    agent = benchmark.begun(variant, env, 0, SMALL)
    before = {n: [p.clone() for p in m.parameters()] for n, m in agent.modules.items()}
    told = agent.learn(stream, 3)
    assert np.isfinite(list(told.values())).all()
    for name in ("model", "actor", "critic"):
        after = agent.modules[name].parameters()
        assert any(not torch.equal(*pair) for pair in zip(before[name], after, strict=True)), name


def said(variant: str, returns: float, updates: int = 600) -> float:
    """What a new critic expects of one state, told so often that this return follows."""
    agent = benchmark.begun(variant, gym.make("wmlib/PixelCatch-v0"), 0, SMALL)
    features = torch.ones(8, 32)
    adam = torch.optim.Adam(agent.critic.network.parameters(), 1e-2)
    for _ in range(updates):
        adam.zero_grad()
        agent.critic.loss(features, torch.full((8,), returns)).mean().backward()
        adam.step()
        agent.critic.follow()
    return float(agent.critic(features)[0].detach())


def test_evenly_spaced_bins_end_where_returns_go_on_and_symexp_bins_do_not() -> None:
    assert said("without symexp bins", 100.0) == pytest.approx(20, abs=0.5)
    assert said("dreamerv3", 100.0) == pytest.approx(100, rel=0.1)


def test_a_critic_of_numbers_learns_a_return_by_squared_error() -> None:
    assert said("without two-hot", 3.0) == pytest.approx(3, abs=0.1)
    agent = benchmark.begun("without two-hot", gym.make("wmlib/PixelCatch-v0"), 0, SMALL)
    features, rewards = torch.ones(2, 3, 32), torch.tensor([[1.0, -2.0, 0.0], [100.0, 0.01, 3.0]])
    loss = agent.model.reward_loss(features, rewards)  # its head begins by saying nothing
    torch.testing.assert_close(loss, rewards.square() / 2)
    assert not agent.model.expected_reward(features).any()


def test_without_the_range_advantages_stay_as_they_are() -> None:
    wide = torch.linspace(-500, 500, 101)
    env = gym.make("wmlib/PixelCatch-v0")
    agents = (benchmark.begun(v, env, 0, SMALL) for v in ("dreamerv3", "without return range"))
    scaled, plain = (agent.spread.follow(wide) for agent in agents)
    assert scaled == pytest.approx(9) and plain == 1  # a hundredth of 900


def test_what_is_a_number_is_taken_out_of_the_configuration() -> None:
    config = benchmark.CONFIG
    model = benchmark.SET["without balance"](config).world_model
    assert model.dynamics_weight == model.representation_weight == pytest.approx(0.55)
    assert benchmark.SET["without free nats"](config).world_model.free_nats == 0
    none = benchmark.SET["without unimix"](config)
    share = none.world_model.rssm.unimix
    assert share == none.behaviour.unimix < 1e-6
    certain = torch.tensor([0.0, 200.0, -50.0], requires_grad=True)  # still has its logarithms
    logs = unimix(certain, share)
    (slope,) = torch.autograd.grad((logs.exp() * logs).sum(), certain)
    assert logs.isfinite().all() and slope.isfinite().all() and (logs.exp().sum() - 1).abs() < 1e-6
