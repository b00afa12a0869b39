"""The recipe for CarRacing, from nothing to a driver."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wmlib.agents import car_racing
from wmlib.agents.car_racing import Recipe, claim, real_steps, tile_rewards, train_car_racing
from wmlib.agents.world_models import DreamTrainingConfig
from wmlib.checkpoint import load_checkpoint
from wmlib.data import Episode, Replay
from wmlib.dream import Dream
from wmlib.vision import VisionConfig

TINY = Recipe(
    episodes=3, max_steps=40, patience=40, vision_steps=3, memory_steps=3,
    vision=VisionConfig(channels=(2, 4, 4, 4), batch=4),
    dream=DreamTrainingConfig(
        generations=3, population=4, starts=4, horizon=3, value_starts=4, value_updates=1
    ),
)  # fmt: skip


def test_a_killed_run_goes_on_and_a_finished_one_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"seed": 2, "recipe": TINY, "n_jobs": 1, "progress": False}
    undisturbed = train_car_racing(tmp_path / "whole", **options)

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "killed"
    for target, name in ((car_racing, "train_memory"), (Dream, "returns")):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(target, name, kill)
            train_car_racing(folder, **options)
    resumed = train_car_racing(folder, **options)
    assert torch.equal(resumed.controller.parameters, undisturbed.controller.parameters)
    for ours, theirs in (
        (resumed.vision, undisturbed.vision),
        (resumed.memory, undisturbed.memory),
    ):
        pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)

    for target, name in ((car_racing, "collect"), (car_racing, "train_in_dream")):
        monkeypatch.setattr(target, name, kill)
    train_car_racing(folder, **options)  # nothing is left to do
    for changed in ({"seed": 3}, {"recipe": replace(TINY, memory_steps=4)}):
        with pytest.raises(ValueError, match="killed holds another run"):
            train_car_racing(folder, **options | changed)

    _, manifest = load_checkpoint(folder / "controller.safetensors", "controller")
    replay = Replay.load(folder / "random")
    assert [e.seed for e in replay] == [2_000_000, 2_000_001, 2_000_002]
    assert manifest["made"]["real_steps"] == sum(int(e.extras["frames"].sum()) for e in replay)
    assert manifest["made"]["steps"] == 3
    assert manifest["made"]["seed"] == 2


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    claim(tmp_path / "run", {"seed": 1})
    claim(tmp_path / "run", {"seed": 1})
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == {"seed": 1}
    with pytest.raises(ValueError, match="run holds another run"):
        claim(tmp_path / "run", {"seed": 2})
    other = tmp_path / "other"
    other.mkdir()
    (other / ".run.json.x.tmp").write_text("left by a kill")
    claim(other, {"seed": 1})
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="third is not empty and holds no run"):
        claim(tmp_path / "third", {"seed": 1})


def test_the_reward_of_a_tile_is_found_in_the_rewards() -> None:
    scale, offset = 1000 / 280, -0.3
    tiles = np.random.default_rng(0).choice(3, p=[0.6, 0.35, 0.05], size=400)
    config = tile_rewards((offset + scale * tiles).astype(np.float32), action_repeat=3)
    assert config.reward == "poisson"
    assert config.reward_offset == pytest.approx(offset)
    assert config.reward_scale == pytest.approx(scale, rel=1e-4)
    with pytest.raises(ValueError, match="no reward in these episodes is positive"):
        tile_rewards(np.full(5, -0.3), 3)
    with pytest.raises(ValueError, match="action_repeat must be at least 1, got 0"):
        tile_rewards(np.ones(5), 0)


def test_real_steps_count_frames() -> None:
    arrays = np.zeros((5, 2), np.uint8), np.zeros((4, 3), np.float32), np.zeros(4, np.float32)
    told = Episode(*arrays, False, True, 0, {"frames": np.array([3, 3, 3, 1])})
    silent = Episode(*arrays, False, True, 1)
    assert real_steps(Replay([told, silent]), 3) == 10 + 12


@pytest.mark.parametrize(
    ("name", "value"),
    [("episodes", 0), ("max_steps", 10), ("patience", 0), ("action_repeat", 0), ("warm", -1),
     ("vision_steps", 0), ("memory_steps", 0)],
)  # fmt: skip
def test_recipes_that_cannot_run_are_refused_at_once(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least .*, got {value}"):
        Recipe(**{name: value})


def test_a_wrong_seed_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        train_car_racing(tmp_path / "run", seed=-1, recipe=TINY)
    assert not (tmp_path / "run").exists()
