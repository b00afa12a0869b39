"""Files of the chapters, found from any folder."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from wmlib import artifacts
from wmlib.agents import load
from wmlib.agents.diamond import dream_frames, load_denoiser, pixels
from wmlib.agents.world_models import Agent, Codes, forecast, grass
from wmlib.artifacts import artifact, load_results
from wmlib.collecting import collect
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


def test_the_shipped_denoiser_dreams_a_road_and_a_car_as_v_and_m_do() -> None:
    """From one moment of a drive, with the actions that followed there."""
    denoiser = load_denoiser(ROOT / "artifacts" / "diamond-car-racing")
    agent = Agent.load(ROOT / "artifacts" / "world-models-car-racing")
    begin, horizon = 40, 20
    (drive,) = collect(
        agent.policy(), "wmlib/CarRacing-v3", episodes=1, seed=640_000, n_jobs=1, progress=False,
        max_steps=begin + horizon, env_kwargs={"action_repeat": 3},
    )  # fmt: skip
    codes = Codes.of([drive], agent.vision.encode)
    told = forecast(agent.memory, codes, horizon=horizon, moments=np.array([begin]), dreams=16)
    frames = pixels(torch.from_numpy(np.array(drive.observations[begin - 3 : begin + 1])))[None]
    actions = torch.from_numpy(np.array(drive.actions[begin - 3 :]))[None]
    dreamed = dream_frames(denoiser, frames, actions, generator=torch.Generator().manual_seed(0))
    drawn = ((dreamed[0] + 1) / 2 * 255).round().byte().movedim(1, -1).numpy()  # (T, H, W, C)
    of_all_dreams = told.codes[:, 0].reshape(-1, told.codes.shape[-1])  # (D * T, Z)
    painted = agent.vision.decode(of_all_dreams)
    for film in (drive.observations[begin + 1 :], painted, drawn):
        red, green, blue = np.moveaxis(np.asarray(film).astype(int), -1, 0)
        car = (red > np.maximum(green, blue) + 40)[:, 51:59, 31:33]
        assert car.mean() > 0.5
        assert np.mean(grass(np.asarray(film)) < 0.5) > 0.7  # it stays on the road
        meadow = green > np.maximum(red, blue) + 40
        assert 0.5 < meadow.mean() < 0.95
