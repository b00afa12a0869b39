"""What the benchmark counts and times of an update of DreamerV3."""

import dataclasses

import gymnasium as gym
import pytest
import torch
from programs import load_program

from wmlib.agents.dreamerv3 import DreamerV3Config
from wmlib.agents.dreamerv3.agent import Spaces
from wmlib.agents.dreamerv3.behaviour import BehaviourConfig
from wmlib.agents.dreamerv3.rssm import RSSMConfig
from wmlib.agents.dreamerv3.world_model import WorldModelConfig

benchmark = load_program("dreamerv3_cost")

SMALL = DreamerV3Config(
    world_model=WorldModelConfig(
        rssm=RSSMConfig(16, 2, 4, 4, 16), units=16, layers=1, embedding=16, bins=21
    ),
    behaviour=BehaviourConfig(horizon=4, units=16, layers=1), batch=4, length=6,
)  # fmt: skip


def test_products_are_counted_forward_and_back() -> None:
    weights, inputs = torch.randn(5, 7, requires_grad=True), torch.randn(3, 5)
    assert benchmark.operations(lambda: inputs @ weights.detach()) == 2 * 3 * 5 * 7
    # Back to the weights only: the inputs want no gradient.
    assert benchmark.operations(lambda: (inputs @ weights).sum().backward()) == 4 * 3 * 5 * 7


def test_an_update_costs_as_many_operations_as_it_has_stretches() -> None:
    env = gym.make(benchmark.ENV_ID)
    spaces = Spaces.of(env.observation_space, env.action_space)
    work = [
        benchmark.operations(benchmark.ours(spaces, dataclasses.replace(SMALL, batch=batch))[0])
        for batch in (2, 4)
    ]
    assert work[1] == 2 * work[0] > 0


def test_turns_are_taken_and_timed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, took = [0.0], {"one": 1.0, "two": 3.0}
    monkeypatch.setattr(benchmark.time, "process_time", lambda: clock[0])
    turns: list[str] = []

    def turn(name: str) -> None:
        turns.append(name)
        clock[0] += took[name] if len(turns) > 2 * benchmark.WARM else 100

    seconds = benchmark.cost({name: lambda name=name: turn(name) for name in took}, 3)
    assert turns == ["one", "two"] * (benchmark.WARM + 3)
    assert {name: times.tolist() for name, times in seconds.items()} == {
        "one": [1.0] * 3, "two": [3.0] * 3, "product": [0.0] * 3
    }  # fmt: skip


def test_a_row_without_a_peer_says_what_ours_costs() -> None:
    row = benchmark.measure(None, 2, SMALL)
    assert "ratio" not in row and set(row["gflop"]) == {"wmlib"}
    assert 0 < row["share_of_machine"]["wmlib"] < 1 and row["updates_per_second"]["wmlib"] > 0


def test_the_peer_gets_our_sizes() -> None:
    settings = benchmark.settings_of_peer()
    rssm = benchmark.CONFIG.world_model.rssm
    assert (settings.rssm.deter, settings.rssm.stoch, settings.rssm.discrete) == (256, 16, 16)
    assert (settings.rssm.hidden, settings.rssm.blocks) == (rssm.units, rssm.blocks)
    assert settings.actor.units == 128 and settings.critic.dist.bin_num == 255
    settings.actor.shape = (3,)
    assert dict(settings.actor)["shape"] == (3,), "the peer sets what it finds out"
    assert benchmark.Batch(action=torch.zeros(2, 5, 3)).shape == (2, 5)
