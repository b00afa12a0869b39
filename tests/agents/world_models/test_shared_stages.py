"""An ablation that takes over stages of a full run ends as one that made them itself."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from programs import load_program

from wmlib.agents.world_models.car_racing import train_car_racing
from wmlib.agents.world_models.controller import ControllerConfig
from wmlib.agents.world_models.evolve import DreamTrainingConfig
from wmlib.agents.world_models.gradients import BehaviourConfig
from wmlib.agents.world_models.recipes import Recipe
from wmlib.agents.world_models.vision import VisionConfig
from wmlib.exploration import ExplorationConfig

benchmark = load_program("car_racing")

V = VisionConfig(channels=(2, 4, 4, 4), batch=4)
FULL = Recipe(
    episodes=3, max_steps=40, patience=40, vision_steps=2, memory_steps=2, vision=V,
    behaviour=BehaviourConfig(updates=1, starts=4, horizon=3, price=8.0),
    dream=DreamTrainingConfig(
        generations=1, population=4, starts=4, horizon=3, value=True, value_starts=4,
        value_updates=1,
    ),
    cycles=2, cycle_episodes=1, cycle_patience=40, cycle_memory_steps=1,
)  # fmt: skip
SMALL = replace(FULL, cycles=1, behaviour=replace(FULL.behaviour, price=4.0))
STAGES = ("episodes", "vision", "memory", "controller")
CHANGES = {  # what an ablation changes, and up to where it is still the full run
    "nothing": ({}, "controller"),
    "the price": ({"behaviour": replace(SMALL.behaviour, price=0.0)}, "controller"),
    "who drives in the cycles": ({"cycle_driver": "random"}, "controller"),
    "the horizon": ({"behaviour": replace(SMALL.behaviour, horizon=2)}, "memory"),
    "the optimiser": ({"optimiser": "evolution"}, "memory"),
    "what C sees": ({"controller": ControllerConfig(hidden=0)}, "memory"),
    "what M learns": ({"memory_learns": "heads"}, "vision"),
    "M's head for grass": ({"grass": 0.0, "behaviour": replace(SMALL.behaviour, price=0.0)},
                           "vision"),
    "V's loss": ({"vision": replace(V, reconstruction_weight=1.0)}, "episodes"),
    "the exploration": ({"exploration": ExplorationConfig()}, None),
}  # fmt: skip


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder under which a full run of seed 5 lies."""
    root = tmp_path_factory.mktemp("root")
    folder = root / "runs" / "car-racing" / "full" / "5"
    train_car_racing(folder, seed=5, recipe=FULL, n_jobs=1, progress=False)
    return root


@pytest.mark.parametrize(("changed", "last"), CHANGES.values(), ids=CHANGES)
def test_a_run_with_shared_stages_ends_where_one_from_nothing_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_run: Path, changed: dict, last: str | None
) -> None:
    monkeypatch.setattr(benchmark, "ROOT", full_run)
    monkeypatch.setattr(benchmark, "FULL", FULL)
    recipe, before = replace(SMALL, **changed), contents(full_run)
    benchmark.share_stages(tmp_path / "shared", 5, recipe)
    there = {path.name.split(".")[0] for path in (tmp_path / "shared" / "cycle-00").iterdir()}
    assert there == set(STAGES[: STAGES.index(last) + 1] if last else ())

    options = {"seed": 5, "recipe": recipe, "n_jobs": 1, "progress": False}
    shared = train_car_racing(tmp_path / "shared", resume=True, **options)
    alone = train_car_racing(tmp_path / "alone", **options)
    assert torch.equal(shared.controller.parameters, alone.controller.parameters)
    assert contents(full_run) == before, "the full run is left as it was"
