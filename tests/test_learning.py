"""Playing and learning in turns; killed anywhere, it ends the same."""

import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import wmlib  # noqa: F401 - registers the environments
from wmlib.agents.dreamerv3 import (
    BehaviourConfig,
    DreamerV3Config,
    RSSMConfig,
    WorldModelConfig,
    train_dreamerv3,
)
from wmlib.learning import MOST_UPDATES, learn_online
from wmlib.runs import Row
from wmlib.sequences import Stream
from wmlib.storage import DamagedFileError, open_arrays
from wmlib.training import seeded


class Mean:
    """Learns the mean reward by steps of Adam, and plays by what it has learned."""

    stretch = 3

    def __init__(self, killed_at: int = -1) -> None:
        self.killed_at = killed_at
        self.net = seeded(0, lambda: nn.Linear(1, 1))
        self.modules = {"net": self.net}
        self.optimisers = {"net_adam": torch.optim.Adam(self.net.parameters(), lr=0.05)}
        self.updates = 0
        self.seen: list[int] = []

    def reset(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def act(self, observation: np.ndarray) -> int:
        shift = float(self.net.bias.detach())
        return int(np.clip(round(1 + shift + self.rng.normal()), 0, 2))

    def policy(self, explore: bool) -> "Mean":
        assert explore
        return self

    def learn(self, stream: Stream, updates: int) -> Row:
        self.seen.append(len(stream))
        loss = torch.zeros(())
        for _ in range(updates):
            if self.updates == self.killed_at:
                raise Killed
            batch = stream.draw(np.random.default_rng(self.updates), 4, 3)
            loss = (self.net(torch.ones(1)) - float(batch.rewards.mean())).square().sum()
            self.optimisers["net_adam"].zero_grad()
            loss.backward()
            self.optimisers["net_adam"].step()
            self.updates += 1
        return {"loss": float(loss.detach())}


class Killed(Exception):
    pass


def run(learner: Mean, folder: Path | None = None, kill_at: int = 10**9, **given: object):
    def at_mark(steps: int) -> None:
        marked.append(steps)
        if steps >= kill_at:
            raise Killed

    marked: list[int] = []
    env = gym.make("wmlib/PixelCatch-v0")
    options = {"steps": 100, "seed": 5, "first": 20, "ratio": 0.5, "marks": (25, 50, 75, 100),
               "every": 1, "progress": False} | given  # fmt: skip
    try:
        return learn_online(learner, env, folder=folder, at_mark=at_mark, **options), marked
    except Killed:
        return [], marked


def test_steps_updates_and_marks_are_exact() -> None:
    learner = Mean()
    rows, marked = run(learner)
    assert marked == [25, 50, 75, 100]
    assert rows[-1]["real_steps"] == 100
    assert learner.updates == rows[-1]["updates"] == 50
    assert all(row["updates"] == row["real_steps"] // 2 for row in rows if "updates" in row)
    assert [row["real_steps"] for row in rows][:4] == [9, 18, 20, 25]  # cut for the start, a mark
    assert "updates" not in rows[1] and rows[2]["updates"] == 10


@pytest.mark.parametrize("kill_at", [25, 50, 75, 100])
def test_a_run_killed_anywhere_ends_the_same(tmp_path: Path, kill_at: int) -> None:
    whole, again = Mean(), Mean()
    rows, _ = run(whole, tmp_path / "whole")
    run(Mean(), tmp_path / "killed", kill_at)
    resumed, _ = run(again, tmp_path / "killed")
    assert resumed == rows
    for name, tensor in whole.net.state_dict().items():
        assert torch.equal(tensor, again.net.state_dict()[name])
    logs = [
        (tmp_path / name / "log.csv").read_text(encoding="utf-8") for name in ("whole", "killed")
    ]
    assert logs[0] == logs[1]
    assert logs[0].startswith("real_steps,return,updates,loss\n9,")


@pytest.mark.parametrize(
    ("killed_at", "state"), [(0, 0), (1, 0), (4, 4), (7, 4), (9, 8), (11, 8), (12, 12)]
)
def test_a_run_killed_while_it_learns_goes_on_in_the_middle(
    tmp_path: Path, killed_at: int, state: int
) -> None:
    """Ten updates come at once after random play; every fourth leaves a state, and so does play."""
    whole, again = Mean(), Mean()
    rows, _ = run(whole, every=4)
    run(Mean(killed_at), tmp_path, every=4)
    assert open_arrays(tmp_path / "state.safetensors")[1]["updates"] == str(state)
    resumed, marked = run(again, tmp_path, every=4)
    assert resumed == rows and set(marked) >= {50, 75, 100}
    assert torch.equal(whole.net.bias, again.net.bias)
    assert len(again.seen) == 50 - state  # and no update was made twice


def test_a_state_cut_short_is_refused(tmp_path: Path) -> None:
    run(Mean(), tmp_path)
    path = tmp_path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=r"state\.safetensors"):
        run(Mean(), tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"first": 0}, "first must be at least 1, got 0"),
     ({"first": 101}, r"steps must be at least 101 \(random play comes first\), got 100"),
     ({"first": 1}, "first must be at least 2, for stretches of 3, got 1"),
     ({"marks": (25, 101)}, r"a mark must be in \[1, 100\], got 101"),
     ({"marks": (2.5,)}, r"a mark must be a whole number, got 2\.5"),
     ({"ratio": 0.0}, "ratio must be a positive number, got 0.0"),
     ({"steps": 2.5}, "steps must be a whole number, got 2.5")],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(Mean(), **wrong)


def test_repeated_actions_are_counted() -> None:
    env = gym.make("wmlib/PixelPendulum-v0", action_repeat=4)

    class Still(Mean):
        def act(self, observation: np.ndarray) -> np.ndarray:
            return np.zeros(1, np.float32)

    learner = Still()
    rows = learn_online(learner, env, steps=600, seed=0, first=200, ratio=0.01, progress=False)
    assert [row["real_steps"] for row in rows] == [200, 400, 600]
    assert learner.seen == [51, 51, 102, 102, 153, 153]
    for steps, first, wrong in (
        (600, 30, "first must be a multiple of 4 (real steps in a decision), got 30"),
        (601, 200, "steps must be a multiple of 4 (real steps in a decision), got 601"),
        (600, 4, "first must be at least 8, for stretches of 3, got 4"),
    ):
        with pytest.raises(ValueError, match=re.escape(wrong)):
            learn_online(learner, env, steps=steps, seed=0, first=first, ratio=1.0, progress=False)


LARGEST_SEED = 922_337_203_684


def test_the_largest_seed_has_dice_for_every_update_and_the_next_is_refused() -> None:
    """At once, and not by the generator of the first update, when random play has been paid for."""
    config = DreamerV3Config(
        world_model=WorldModelConfig(rssm=RSSMConfig(8, 2, 2, 2, 8), units=8, embedding=8),
        behaviour=BehaviourConfig(horizon=2, units=8), batch=2, length=4, first=10, ratio=0.2,
    )  # fmt: skip
    options = {"steps": 10, "config": config, "progress": False}
    agent = train_dreamerv3("wmlib/PixelCatch-v0", seed=LARGEST_SEED, **options)
    assert agent.updates == 2
    torch.Generator().manual_seed(LARGEST_SEED * MOST_UPDATES + MOST_UPDATES - 1)
    for seed in (LARGEST_SEED + 1, 1_844_674_407_371):
        with pytest.raises(ValueError, match=f"seed must be .*, got {seed}"):
            train_dreamerv3("no-such-world", seed=seed, **options)
