"""Files of the chapters, found from any folder."""

import shutil
from pathlib import Path

import pytest

from wmlib import artifacts
from wmlib.agents import load
from wmlib.artifacts import artifact, load_results
from wmlib.evaluation import evaluate

ROOT = Path(__file__).parents[1]


def test_the_checkout_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = ROOT / "artifacts" / "world-models-car-racing"
    assert artifact("world-models-car-racing").samefile(folder)
    assert len(load_results("ppo")["rows"]) > 0


def test_files_above_a_notebook_are_found_without_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "CHECKOUT", tmp_path / "site-packages")
    there = tmp_path / "taken" / "artifacts" / "world-models-car-racing"
    shutil.copytree(ROOT / "artifacts" / "world-models-car-racing", there)
    deep = tmp_path / "taken" / "book" / "mine"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert artifact("world-models-car-racing") == there
    with pytest.raises(FileNotFoundError, match=r"artifacts/gone lies neither in .*site-packages"):
        artifact("gone")


def test_the_shipped_catcher_catches() -> None:
    agent = load(ROOT / "artifacts" / "world-models-catch")
    assert agent.environment == "wmlib/PixelCatch-v0"
    score = evaluate(
        agent.policy(), agent.environment, episodes=30, seed=950_000, n_jobs=1, progress=False
    )
    assert score.mean > 0.8  # of at most 1; on the day it was made 1.0
