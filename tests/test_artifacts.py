"""Files of the chapters, found from any folder."""

import shutil
from pathlib import Path

import pytest

from wmlib import artifacts
from wmlib.artifacts import artifact, results

ROOT = Path(__file__).parents[1]


def test_the_checkout_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert artifact("car-racing").samefile(ROOT / "artifacts" / "car-racing")
    assert results("ppo").samefile(ROOT / "benchmarks" / "results" / "ppo.json")


def test_files_above_a_notebook_are_found_without_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "CHECKOUT", tmp_path / "site-packages")
    there = tmp_path / "taken" / "artifacts" / "car-racing"
    shutil.copytree(ROOT / "artifacts" / "car-racing", there)
    deep = tmp_path / "taken" / "book" / "mine"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert artifact("car-racing") == there
    with pytest.raises(FileNotFoundError, match=r"artifacts/gone lies neither in .*site-packages"):
        artifact("gone")
