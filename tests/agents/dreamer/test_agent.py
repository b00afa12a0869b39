"""Dreamer as a whole: against a chain whose values are known, killed, saved, and refused."""

import dataclasses
import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from experience import Chain, assert_equal_weights

import wmlib  # noqa: F401 - registers the environments
from wmlib.agents import load
from wmlib.agents.dreamer import (
    BehaviourConfig,
    Dreamer,
    DreamerConfig,
    RSSMConfig,
    train_dreamer,
)
from wmlib.agents.dreamer.agent import fitted
from wmlib.agents.dreamer.world_model import WorldModelConfig
from wmlib.episodes import run_episode
from wmlib.learning import learn_online
from wmlib.sequences import Sequences
from wmlib.storage import DamagedFileError

SMALL = DreamerConfig(
    world_model=WorldModelConfig(channels=(), rssm=RSSMConfig(16, 4, 16), units=16, embedding=16),
    behaviour=BehaviourConfig(horizon=4, units=16), batch=4, length=6,
)  # fmt: skip


def test_it_learns_a_two_state_chain_to_its_exact_value() -> None:
    gamma = 0.8
    config = DreamerConfig(
        world_model=WorldModelConfig(
            channels=(), rssm=RSSMConfig(16, 4, 32), units=32, embedding=16, free_nats=0.1,
            reward_scale=1.0,
        ),
        # An actor that plays wildly at first: what is only good at its end must be tried.
        behaviour=BehaviourConfig(
            horizon=8, discount=gamma, units=32, actor_layers=2, first_deviation=5.0, entropy=0.0
        ),
        batch=8, length=8, model_rate=3e-3, actor_rate=1e-3, value_rate=1e-3,
    )  # fmt: skip
    env = Chain(gym.spaces.Box(-1, 1, (1,), np.float32))
    agent = Dreamer(fitted(config, env.observation_space, env.action_space), seed=0)
    learn_online(agent, env, steps=600, seed=0, first=200, ratio=1.0, progress=False)
    episode = run_episode(env, agent.policy(), 1)
    assert episode.total_reward == 10.0  # to B and back, ten times
    policy = agent.policy()
    policy.reset(np.random.default_rng(0))
    values = {}
    for t in range(10):
        policy.act(episode.observations[t])
        with torch.no_grad():
            values[t % 2] = float(agent.value(policy.state.features))
    at_a, at_b = Chain.values(gamma)
    assert values[0] == pytest.approx(at_a, abs=0.15)
    assert values[1] == pytest.approx(at_b, abs=0.15)


def test_nothing_is_learned_of_what_follows_an_end() -> None:
    """Where every state is an episode's last one, no dream counts: the actor stays as it was."""
    env = gym.make("wmlib/PixelPendulum-v0")
    agent = Dreamer(fitted(SMALL, env.observation_space, env.action_space))
    batch = Sequences(
        np.zeros((4, 6, 32, 32, 1), np.uint8), np.zeros((4, 6, 1), np.float32),
        np.ones((4, 6), np.float32), np.ones((4, 6), bool), np.ones((4, 6), bool),
    )  # fmt: skip
    before = [weight.clone() for weight in agent.actor.parameters()]
    agent.update(batch)
    assert all(map(torch.equal, before, agent.actor.parameters()))
    agent.update(batch._replace(ended=np.zeros((4, 6), bool)))
    assert not all(map(torch.equal, before, agent.actor.parameters()))


def small_run(folder: Path, steps: int = 1200) -> Dreamer:
    env = gym.make("wmlib/PixelPendulum-v0", action_repeat=4)
    agent = Dreamer(fitted(SMALL, env.observation_space, env.action_space), seed=3)
    learn_online(
        agent, env, steps=steps, seed=3, first=400, ratio=0.02, folder=folder, every=1,
        progress=False,
    )  # fmt: skip
    return agent


def test_a_run_that_was_stopped_ends_with_equal_weights(tmp_path: Path) -> None:
    whole = small_run(tmp_path / "whole")
    small_run(tmp_path / "killed", steps=800)
    again = small_run(tmp_path / "killed")
    assert whole.updates == again.updates == 24
    assert_equal_weights(whole, again)


def test_a_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, first=200, ratio=0.01)
    marks: list[int] = []
    train_dreamer(
        "wmlib/PixelPendulum-v0", steps=400, seed=1, config=config, folder=tmp_path, marks=(300,),
        after=lambda used, agent: marks.append(used), progress=False,
    )  # fmt: skip
    assert marks == [300]
    manifest = json.loads((tmp_path / "agent.json").read_text(encoding="utf-8"))
    assert manifest["made"]["environment"] == "wmlib/PixelPendulum-v0"
    assert (manifest["made"]["real_steps"], manifest["made"]["steps"]) == (400, 4)
    with pytest.raises(ValueError, match="go on with it by --resume"):
        train_dreamer("wmlib/PixelPendulum-v0", steps=400, seed=1, config=config, folder=tmp_path)
    with pytest.raises(ValueError, match="holds another run"):
        train_dreamer("wmlib/PixelPendulum-v0", steps=400, seed=2, config=config, folder=tmp_path)
    with pytest.raises(ValueError, match="actions must be in a bounded Box"):
        train_dreamer("wmlib/PixelCatch-v0", steps=400)


@pytest.mark.parametrize("name", ["model", "actor", "value"])
def test_each_loss_teaches_its_own_network_alone(name: str) -> None:
    """A loss that hangs on all three moves one, and leaves no gradient in the others."""
    env = gym.make("wmlib/PixelPendulum-v0", action_repeat=4)
    agent = Dreamer(fitted(SMALL, env.observation_space, env.action_space))
    before = {n: [p.clone() for p in m.parameters()] for n, m in agent.modules.items()}
    last = agent.model.reward[-1], agent.actor.network[-1], agent.value[-1]
    agent._descend(name, sum(layer.bias.sum() for layer in last))
    moved, taught = set(), set()
    for other, module in agent.modules.items():
        if not all(map(torch.equal, before[other], module.parameters())):
            moved.add(other)
        if any(weight.grad is not None for weight in module.parameters()):
            taught.add(other)
    assert moved == taught == {name}


def test_a_saved_agent_plays_as_before(tmp_path: Path) -> None:
    env = gym.make("wmlib/PixelPendulum-v0", action_repeat=4)
    agent = Dreamer(fitted(SMALL, env.observation_space, env.action_space), seed=1)
    agent.save(tmp_path, {"environment": env.spec.id, "steps": 0})
    again = load(tmp_path)
    assert isinstance(again, Dreamer) and again.config == agent.config
    one, other = (run_episode(env, each.policy(), 5) for each in (agent, again))
    assert np.array_equal(one.actions, other.actions)
    path = tmp_path / "agent.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFileError):
        load(tmp_path)


def test_exploring_is_noisy_and_playing_is_within_bounds() -> None:
    env = gym.make("wmlib/PixelPendulum-v0", action_repeat=4)
    agent = Dreamer(fitted(SMALL, env.observation_space, env.action_space))
    played, explored = (run_episode(env, agent.policy(explore), 2) for explore in (False, True))
    assert np.abs(played.actions).max() <= 2
    assert np.abs(explored.actions).max() <= 2
    assert explored.actions.std() > played.actions.std() + 0.5


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [(gym.spaces.Box(-1, 1, (3,)), gym.spaces.Box(-1, 1, (1,)), "of uint8, got"),
     (gym.spaces.Box(0, 255, (4, 4, 1), np.uint8), gym.spaces.Discrete(3), "in a bounded Box"),
     (gym.spaces.Box(0, 255, (4, 4, 1), np.uint8), gym.spaces.Box(-np.inf, 1, (1,)), "bounded")],
)  # fmt: skip
def test_other_spaces_are_refused(
    observations: gym.Space, actions: gym.Space, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(DreamerConfig(), observations, actions)
