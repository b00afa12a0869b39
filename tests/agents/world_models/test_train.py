"""World Models on any environment of pictures."""

import contextlib
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.config import (
    MINATAR,
    WorldModelsConfig,
    budgets,
    fitted,
    usual,
)
from wmlib.agents.world_models.evolve import DreamTrainingConfig
from wmlib.agents.world_models.memory import MemoryConfig
from wmlib.agents.world_models.train import play, train_world_models
from wmlib.agents.world_models.vision import VisionConfig
from wmlib.checkpoint import load_checkpoint
from wmlib.evaluation import evaluate
from wmlib.exploration import random_policy
from wmlib.replay import Replay
from wmlib.runs import Log

CATCH = "wmlib/PixelCatch-v0"


class Lamp(gym.Env):
    """Two decisions: point to the half of the picture that is lit, +1, or to the other, -1."""

    def __init__(self, bright: int | bool = 255) -> None:
        self.bright, dtype = bright, np.min_scalar_type(bright)
        self.observation_space = gym.spaces.Box(0, int(bright), (8, 8, 1), dtype)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.left = 2
        return self._picture(), {}

    def _picture(self) -> np.ndarray:
        self.side = int(self.np_random.integers(2))
        picture = np.zeros((8, 8, 1), self.observation_space.dtype)
        picture[:, 4 * self.side : 4 * self.side + 4] = self.bright
        return picture

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.left -= 1
        reward = 1.0 if action == self.side else -1.0
        return self._picture(), reward, self.left == 0, False, {}


gym.register("test/Lamp-v0", entry_point=Lamp)
gym.register("test/BoolLamp-v0", entry_point=Lamp, kwargs={"bright": True})
TINY = WorldModelsConfig(
    random_share=0.4, cycles=2,
    vision=VisionConfig(latent=2, channels=(4,), batch=16, frame=(16, 16, 1)), vision_steps=2,
    cycle_vision_steps=1, memory=MemoryConfig(hidden=4, mixtures=2, window=1, batch=8),
    memory_steps=2, cycle_memory_steps=1,
    dream=DreamTrainingConfig(generations=2, population=4, starts=4, horizon=3),
)  # fmt: skip


def test_the_best_choice_is_found_in_a_world_where_it_is_known() -> None:
    config = replace(
        TINY, vision=replace(TINY.vision, learning_rate=3e-3), vision_steps=200,
        memory=replace(TINY.memory, hidden=32, batch=64, learning_rate=1e-2, reward_weight=10.0),
        memory_steps=500,
        cycles=1, cycle_vision_steps=20, cycle_memory_steps=100,
        dream=DreamTrainingConfig(
            generations=20, population=12, starts=32, horizon=2, temperature=1.0, discount=1.0
        ),
    )  # fmt: skip
    agent = train_world_models("test/Lamp-v0", steps=300, seed=1, config=config, progress=False)
    score = evaluate(agent.policy(), "test/Lamp-v0", episodes=20, seed=900_000, progress=False)
    assert score.returns == (2.0,) * 20


def test_a_run_uses_all_of_its_steps_and_is_kept(tmp_path: Path) -> None:
    options = {"steps": 101, "seed": 3, "config": TINY, "progress": False}
    agent = train_world_models(CATCH, folder=tmp_path / "run", **options)
    cycles = [Replay.load(tmp_path / "run" / f"cycle-0{i}" / "episodes") for i in range(3)]
    assert [cycle.steps for cycle in cycles] == [40, 30, 31]
    seeds = [episode.seed for cycle in cycles for episode in cycle]
    assert seeds == list(range(3_000_000, 3_000_000 + len(seeds)))
    assert not cycles[0].episodes[-1].terminated  # cut where the steps were used up
    loaded = Agent.load(tmp_path / "run")
    assert loaded.environment == CATCH
    assert loaded.vision.config.frame == (16, 16, 1)
    assert torch.equal(loaded.controller.parameters, agent.controller.parameters)
    _, manifest = load_checkpoint(tmp_path / "run" / "controller.safetensors", "controller")
    assert manifest["made"]["environment"] == CATCH and manifest["made"]["real_steps"] == 101
    nowhere = train_world_models(CATCH, **options)
    assert torch.equal(nowhere.controller.parameters, agent.controller.parameters)
    with pytest.raises(ValueError, match="go on with it by --resume"):
        train_world_models(CATCH, folder=tmp_path / "run", **options)


def told(folder: Path) -> list[dict[str, float]]:
    """The log, but for times."""
    rows = Log(folder / "log.csv").rows
    return [{name: n for name, n in row.items() if name != "seconds"} for row in rows]


def test_a_run_killed_at_every_result_goes_on_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As each file of a result is to take its name, one after the other."""
    options = {"steps": 90, "seed": 3, "config": TINY, "progress": False}
    whole = train_world_models(CATCH, folder=tmp_path / "whole", **options)
    folder, rename = tmp_path / "killed", os.replace
    results = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*")]
    results = [path for path in results if path.suffix in (".safetensors", ".json", ".csv")]
    assert {path.name for path in results} > {"run.json", "log.csv", "driven.json"}
    died = []

    def dies(source: Path, target: Path) -> None:
        if target.is_relative_to(folder):
            inside = target.relative_to(folder)
            if inside not in died and threading.current_thread() is threading.main_thread():
                died.append(inside)
                raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "replace", dies)
    for _ in range(200):
        with contextlib.suppress(KeyboardInterrupt):
            resume = (folder / "run.json").exists()
            again = train_world_models(CATCH, folder=folder, resume=resume, **options)
            break
    named = {path for path in results if path.parent.name != "episodes"}
    assert set(died) >= named and Path("cycle-01/episodes") in died
    assert told(folder) == told(tmp_path / "whole")
    for ours, theirs in ((again.vision, whole.vision), (again.memory, whole.memory)):
        pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert torch.equal(again.controller.parameters, whole.controller.parameters)


def test_a_finished_run_is_opened_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"steps": 90, "seed": 3, "config": TINY, "progress": False}
    folder = tmp_path / "run"
    whole = train_world_models(CATCH, folder=folder, **options)
    log = (folder / "log.csv").read_bytes()
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}
    monkeypatch.setattr(os, "access", lambda *_: False)  # as of a file system that is read-only
    opened = train_world_models(CATCH, folder=folder, resume=True, **options)
    assert torch.equal(opened.controller.parameters, whole.controller.parameters)
    assert before == {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}
    assert (folder / "log.csv").read_bytes() == log
    with pytest.raises(ValueError, match="run holds another run"):
        train_world_models(CATCH, folder=folder, resume=True, **options | {"seed": 4})


def test_steps_are_shared_exactly() -> None:
    assert budgets(WorldModelsConfig(), 3000) == [750, 750, 750, 750]
    for steps in (5, 17, 100, 1001):
        shares = budgets(TINY, steps)
        assert sum(shares) == steps and max(shares[1:]) - min(shares[1:]) <= 1
    assert budgets(replace(TINY, cycles=0), 7) == [7]
    with pytest.raises(ValueError, match="3 steps are too few"):
        budgets(replace(TINY, cycles=5), 3)
    env = gym.make(CATCH)
    episodes = play(env, random_policy(env.action_space), 20, 5, progress=False)
    assert [len(episode) for episode in episodes] == [9, 9, 2]


def test_a_picture_may_be_of_bools() -> None:
    options = {"steps": 40, "seed": 3, "config": TINY, "progress": False}
    of_bools = train_world_models("test/BoolLamp-v0", **options)
    of_bytes = train_world_models("test/Lamp-v0", **options)
    assert of_bools.controller.parameters.tolist() == of_bytes.controller.parameters.tolist()


def test_minatar_has_settings_of_its_own() -> None:
    assert usual("wmlib/PixelCatch-v0") == WorldModelsConfig()
    assert usual("MinAtar/Breakout-v1") == MINATAR != WorldModelsConfig()


def test_the_environment_says_what_v_and_m_see() -> None:
    config = fitted(WorldModelsConfig(), gym.make("test/Lamp-v0"))
    assert config.vision.frame == (8, 8, 1)
    assert (config.memory.actions, config.memory.latent) == (2, config.vision.latent)


@pytest.mark.parametrize(
    ("env_id", "options", "message"),
    [
        ("wmlib/Nowhere-v0", {}, r"unknown environment 'wmlib/Nowhere-v0' .*wmlib/PixelCatch-v0"),
        ("nowhere:Env-v0", {}, "unknown environment 'nowhere:Env-v0' .*MODULE:ID"),
        ("CartPole-v1", {}, r"must be frames \(H, W, C\) of uint8 or bool, got Box"),
        (CATCH, {"steps": 0}, r"steps must be in \[1, 900000\], got 0"),
        (CATCH, {"steps": 2}, "2 steps are too few"),
        (CATCH, {"seed": -1}, r"seed must be in \[0, 9223372036854\), got -1"),
        (CATCH, {"config": 3}, "config must be a WorldModelsConfig or None, got 3"),
        (CATCH, {"config": replace(TINY, vision=VisionConfig(2, (2,) * 5, frame=(32, 32, 1)))},
         "multiples of 32, got frame 16 x 16"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_one_line(
    tmp_path: Path, env_id: str, options: dict, message: str
) -> None:
    given = {"steps": 50, "seed": 0, "config": TINY, "folder": tmp_path / "run", **options}
    with pytest.raises(ValueError, match=message) as error:
        train_world_models(env_id, progress=False, **given)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_catching_is_learned_in_dreams() -> None:
    """At 3,000 real steps; random play gets -0.6, the best 1."""
    agent = train_world_models(CATCH, steps=3000, seed=1, progress=False)
    score = evaluate(agent.policy(), CATCH, episodes=100, seed=900_000, progress=False)
    assert score.mean > 0.5
