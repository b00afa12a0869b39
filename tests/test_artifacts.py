"""Files of the chapters, found from any folder."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from wmlib import artifacts
from wmlib.agents import load
from wmlib.artifacts import artifact, load_results
from wmlib.envs.boards import TicTacToe, minimax
from wmlib.evaluation import evaluate
from wmlib.matches import every_line

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


@pytest.mark.parametrize(
    "alone", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["together", "alone"]
)
def test_nobody_can_beat_the_shipped_player_of_tic_tac_toe(alone: bool) -> None:
    agent, game = load(ROOT / "artifacts" / "muzero-tictactoe"), TicTacToe()
    assert agent.environment == game.name
    began, followed = every_line(game, agent.player(game), alone)
    assert began.losses == followed.losses == 0 and began.games > 50 < followed.games


def test_the_shipped_player_of_tic_tac_toe_knows_almost_every_position() -> None:
    agent, game = load(ROOT / "artifacts" / "muzero-tictactoe"), TicTacToe()
    solution = minimax(game)
    for simulations, bar in ((0, 0.98), (50, 0.99)):
        moves = agent.player(game, simulations).move(solution.cells)
        assert solution.best[np.arange(4520), moves].mean() >= bar


@pytest.mark.parametrize("kind", ["world-models", "dreamerv3", "iris", "diamond"])
def test_the_shipped_catchers_catch(kind: str) -> None:
    agent = load(ROOT / "artifacts" / f"{kind}-catch")
    assert agent.environment == "wmlib/PixelCatch-v0"
    score = evaluate(
        agent.policy(), agent.environment, episodes=30, seed=950_000, n_jobs=1, progress=False
    )
    assert score.mean > 0.8  # of at most 1; on the days they were made 1.0


def test_the_shipped_swinger_swings_up() -> None:
    agent = load(ROOT / "artifacts" / "dreamer-pendulum")
    assert agent.environment == "wmlib/PixelPendulum-v0"
    score = evaluate(
        agent.policy(), agent.environment, episodes=5, seed=950_000, n_jobs=1, progress=False
    )
    assert score.mean > -400  # at random -1,200; on the day it was made -177
