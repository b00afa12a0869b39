"""DreamerV3 as a whole: against a chain whose values are known, stopped, saved, and refused."""

import dataclasses
import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from experience import Chain, assert_equal_weights
from torch import nn

import wmlib  # noqa: F401 - registers the environments
from wmlib.agents import load
from wmlib.agents.dreamerv3 import (
    BehaviourConfig,
    DreamerV3,
    DreamerV3Config,
    RSSMConfig,
    Spaces,
    WorldModelConfig,
    train_dreamerv3,
)
from wmlib.agents.dreamerv3.agent import clip_adaptively
from wmlib.episodes import run_episode
from wmlib.exploration import random_policy
from wmlib.learning import learn_online
from wmlib.sequences import Sequences, Stream

SMALL = DreamerV3Config(
    world_model=WorldModelConfig(
        rssm=RSSMConfig(16, 4, 4, 4, 16), units=16, embedding=16, layers=1
    ),
    behaviour=BehaviourConfig(horizon=4, units=16, layers=1), first=40, ratio=0.2, batch=4,
    length=6,
)  # fmt: skip
CATCH = "wmlib/PixelCatch-v0"


def test_it_learns_a_two_state_chain_to_its_exact_value() -> None:
    gamma = 0.8
    config = DreamerV3Config(
        world_model=WorldModelConfig(
            rssm=RSSMConfig(32, 4, 4, 4, 32), units=32, embedding=16, layers=1,
            horizon=1 / (1 - gamma),
        ),
        behaviour=BehaviourConfig(horizon=8, units=32, layers=1, slow_rate=0.1), learning_rate=2e-3,
        actor_rate=2e-3,
    )  # fmt: skip
    env = Chain(gym.spaces.Discrete(2))
    agent = DreamerV3(Spaces.of(env.observation_space, env.action_space), config)
    learn_online(agent, env, steps=600, seed=0, first=200, ratio=1.0, progress=False)
    episode = run_episode(env, agent.policy(), 1)
    assert episode.total_reward == 10.0  # to B and back, ten times
    policy = agent.policy()
    policy.reset(np.random.default_rng(0))
    values = {}
    for t in range(10):
        policy.act(episode.observations[t])
        with torch.no_grad():
            values[t % 2] = float(agent.critic(policy.state.features))
    at_a, at_b = Chain.values(gamma)
    assert values[0] == pytest.approx(at_a, abs=0.2)
    assert values[1] == pytest.approx(at_b, abs=0.2)


def test_nothing_is_learned_of_what_follows_an_end() -> None:
    """Where every state is an episode's last one, no dream counts: the actor stays as it was."""
    env = gym.make(CATCH)
    agent = DreamerV3(Spaces.of(env.observation_space, env.action_space), SMALL)
    batch = Sequences(
        np.zeros((4, 6, 16, 16, 1), np.uint8), np.zeros((4, 6), np.int64),
        np.ones((4, 6), np.float32), np.ones((4, 6), bool), np.ones((4, 6), bool),
    )  # fmt: skip
    before = [weight.clone() for weight in agent.actor.parameters()]
    agent.update(batch)
    assert all(map(torch.equal, before, agent.actor.parameters()))
    agent.update(batch._replace(ended=np.zeros((4, 6), bool)))
    assert not all(map(torch.equal, before, agent.actor.parameters()))


def test_the_critic_and_the_encoder_learn_from_what_really_happened() -> None:
    """A reward with the last observation only, of which no dream knows: what the loss on real
    stretches adds to the gradient reaches the critic, and through the states the encoder."""
    env, rng = gym.make(CATCH), np.random.default_rng(0)
    nothing = np.zeros((4, 6), bool)
    batch = Sequences(
        255 * rng.integers(2, size=(4, 6, 16, 16, 1), dtype=np.uint8), rng.integers(3, size=(4, 6)),
        np.zeros((4, 6), np.float32), nothing, nothing,
    )  # fmt: skip

    def gradients(weight: float, reward: float) -> dict[str, torch.Tensor]:
        behaviour = dataclasses.replace(SMALL.behaviour, replay_weight=weight)
        config = dataclasses.replace(SMALL, behaviour=behaviour)
        agent = DreamerV3(Spaces.of(env.observation_space, env.action_space), config)
        with torch.no_grad():  # through a last layer of zeros nothing comes back
            last = agent.critic.network[-1].weight
            last.normal_(generator=torch.Generator().manual_seed(1))
            last.add_(last.flip(0).clone())  # as likely on both sides: it still expects nothing
        agent._descend = lambda loss: loss.backward()
        rewards = batch.rewards.copy()
        rewards[:, -1] = reward
        agent.update(batch._replace(rewards=rewards))
        parts = {
            "critic": agent.critic.network, "encoder": agent.model.encoder, "actor": agent.actor
        }  # fmt: skip
        return {
            name: torch.cat([weights.grad.flatten() for weights in part.parameters()])
            for name, part in parts.items()
        }

    with_it, without = gradients(0.3, 1.0), gradients(0.0, 1.0)
    for name in ("critic", "encoder"):
        assert (with_it[name] - without[name]).abs().max() > 1e-3, name
    assert torch.equal(with_it["actor"], without["actor"])
    # Of the reward the critic hears from there alone.
    assert torch.equal(without["critic"], gradients(0.0, 0.0)["critic"])
    assert (with_it["critic"] - gradients(0.3, 0.0)["critic"]).abs().max() > 1e-3


def test_the_actor_has_a_rate_of_its_own() -> None:
    """Adam's first step moves a weight by the rate, or less where the gradient is tiny."""
    env = gym.make(CATCH)
    config = dataclasses.replace(SMALL, warmup=1, learning_rate=4e-3, actor_rate=1e-4)
    agent = DreamerV3(Spaces.of(env.observation_space, env.action_space), config)
    before = {n: [p.clone() for p in m.parameters()] for n, m in agent.modules.items()}
    stream = Stream()
    stream.extend(run_episode(env, random_policy(env.action_space), 0))
    agent.learn(stream, 1)
    for name, rate in (("model", 4e-3), ("critic", 4e-3), ("actor", 1e-4)):
        pairs = zip(before[name], agent.modules[name].parameters(), strict=True)
        moved = max(float((a - b).detach().abs().max()) for a, b in pairs)
        assert rate / 2 < moved < 1.01 * rate, name


def small_run(folder: Path, steps: int = 120) -> DreamerV3:
    env = gym.make(CATCH)
    agent = DreamerV3(Spaces.of(env.observation_space, env.action_space), SMALL, seed=3)
    learn_online(
        agent, env, steps=steps, seed=3, first=40, ratio=0.2, marks=(60,), folder=folder, every=1,
        progress=False,
    )  # fmt: skip
    return agent


def test_a_run_that_was_stopped_ends_with_equal_weights(tmp_path: Path) -> None:
    whole = small_run(tmp_path / "whole")
    small_run(tmp_path / "killed", steps=60)
    again = small_run(tmp_path / "killed")
    assert whole.updates == again.updates == 24
    assert_equal_weights(whole, again)


@pytest.mark.parametrize("env_id", [CATCH, "CartPole-v1", "wmlib/PixelPendulum-v0"])
def test_one_configuration_sees_and_acts_in_every_world(env_id: str, tmp_path: Path) -> None:
    agent = train_dreamerv3(env_id, steps=60, seed=1, config=SMALL, folder=tmp_path, progress=False)
    assert json.loads((tmp_path / "agent.json").read_text(encoding="utf-8"))["made"]["steps"] == 12
    again = load(tmp_path)
    assert isinstance(again, DreamerV3)
    assert (again.config, again.spaces, again.environment) == (SMALL, agent.spaces, env_id)
    one, other = (run_episode(gym.make(env_id), each.policy(), 5) for each in (agent, again))
    assert np.array_equal(one.actions, other.actions)


def test_gradients_are_clipped_by_the_size_of_their_weights() -> None:
    large, small, none = (nn.Parameter(torch.full((4,), size)) for size in (1.0, 1.0, 0.0))
    large.grad, small.grad, none.grad = torch.full((4,), 3.0), torch.full((4,), 0.1), torch.ones(4)
    clip_adaptively([large, small, none, nn.Parameter(torch.ones(1))], 0.3)
    torch.testing.assert_close(large.grad.norm(), torch.tensor(0.6))  # 0.3 of a norm of 2
    torch.testing.assert_close(small.grad, torch.full((4,), 0.1))
    torch.testing.assert_close(none.grad.norm(), torch.tensor(0.3e-3))


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [(gym.spaces.Discrete(3), gym.spaces.Discrete(3), "observations must be a Box of numbers"),
     (gym.spaces.Box(0, 1, (3,)), gym.spaces.Box(-np.inf, 1, (1,)), "actions must be Discrete"),
     (gym.spaces.Box(0, 1, (3,)), gym.spaces.MultiDiscrete([2, 2]), "actions must be Discrete")],
)  # fmt: skip
def test_other_spaces_are_refused(
    observations: gym.Space, actions: gym.Space, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Spaces.of(observations, actions)
