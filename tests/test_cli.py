"""The command line."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wmlib import cli, commands
from wmlib.agents.muzero import ONE_PLAYER, MuZero, MuZeroConfig, NetworkConfig, Spaces
from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.config import WorldModelsConfig
from wmlib.agents.world_models.controller import ControllerConfig, LinearController
from wmlib.agents.world_models.evolve import DreamTrainingConfig, Evolved, train_in_dream
from wmlib.agents.world_models.gradients import BehaviourConfig
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig
from wmlib.agents.world_models.recipes import RECIPES, Recipe
from wmlib.agents.world_models.starts import Starts
from wmlib.agents.world_models.vision import VAE, VisionConfig, train_vision
from wmlib.artifacts import artifact
from wmlib.checkpoint import load_checkpoint, made_by, save_checkpoint, save_module
from wmlib.cli import main
from wmlib.collecting import CollectError
from wmlib.envs.boards import ConnectFour
from wmlib.episodes import Episode
from wmlib.replay import Replay
from wmlib.training import seeded

COLLECT = ["collect", "wmlib/CarRacing-v3", "--jobs", "1"]


def train(part: str) -> list[str]:
    return ["train", part, "--env", "wmlib/PixelCatch-v0", "--out", "x"]


def said(capsys: pytest.CaptureFixture) -> dict:
    """The one JSON object on standard output."""
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An agent that has learned nothing, and episodes of random driving."""
    folder = tmp_path_factory.mktemp("agent")
    made = made_by(seed=0, steps=1, seconds=0.0)
    vision = seeded(0, lambda: VAE(VisionConfig(latent=4, channels=(2, 2, 4, 4))))
    save_module(folder / "vision.safetensors", vision, "vision", made)
    memory = seeded(0, lambda: MDNRNN(MemoryConfig(latent=4, hidden=5, mixtures=2)))
    save_module(folder / "memory.safetensors", memory, "memory", made)
    shape = ControllerConfig(4, 5)
    LinearController(np.zeros(shape.parameters), shape).save(
        folder / "controller.safetensors", made
    )
    options = ["--episodes", "2", "--max-steps", "40", "--action-repeat", "3", "--seed", "1"]
    assert main([*COLLECT, *options, "--out", str(folder / "data")]) == 0
    return folder


@pytest.mark.parametrize(
    "command",
    [[], ["collect"], ["train"], ["train", "car-racing"], ["train", "world-models"],
     ["train", "vision"], ["train", "memory"], ["train", "controller"],
     ["evaluate"], ["dream"], ["arena"], ["bench"]],
)  # fmt: skip
def test_help_explains_every_option(command: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "usage: python -m wmlib" in out
    for line in out.splitlines():
        words = line.split()
        alone = len(words) == 2 and words[1].isupper()  # argparse puts a long option's help below
        assert not line.startswith("  --") or len(words) > 2 or alone or len(words) == 1


def test_the_example_in_the_help_can_be_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = cli.DESCRIPTION.replace("\\\n", " ").splitlines()
    commands = [line.split()[3:] for line in lines if line.strip().startswith("python -m wmlib")]
    assert len(commands) == 6
    for command in commands:
        assert callable(cli.parser().parse_args(command).run)


@pytest.mark.parametrize(
    "command", [[], ["fly"], ["train"], ["bench", "coffee"], ["collect", "CartPole-v1"],
                ["evaluate", "x", "--episodes", "many"], ["bench", "dream", "--runs", "3"],
                ["evaluate", "x", "--fast"]],
)  # fmt: skip
def test_a_wrong_call_is_2(command: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_collect_writes_what_it_says(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "new" / "data"
    options = ["--episodes", "2", "--max-steps", "3", "--action-repeat", "2", "--seed", "7"]
    capsys.readouterr()
    assert main([*COLLECT, *options, "--out", str(out), "--json"]) == 0
    result, replay = said(capsys), Replay.load(out)
    assert result["episodes"] == len(replay) == 2
    assert result["decisions"] == replay.steps == 6
    assert result["mean_return"] == pytest.approx(np.mean([e.total_reward for e in replay]))
    assert [e.seed for e in replay] == [7, 8]
    assert replay.episodes[0].extras["frames"].tolist() == [2, 2, 2]
    assert main([*COLLECT, *options, "--out", str(out)]) == 2
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["collect", "CarRace-v9", "--out", "x"], "CarRace-v9"),
        (["collect", "Pendulum-v1", "--out", __file__], "Not a directory"),
        (["collect", "nowhere:Env-v0", "--out", "x"], "nowhere:Env-v0"),
        (["collect", "CartPole-v1", "--out", "x"], "bounded Box of one axis, got Discrete"),
        ([*COLLECT, "--episodes", "0", "--out", "x"], "episodes must be at least 1, got 0"),
        ([*COLLECT, "--seed", "-1", "--out", "x"], "seed must be at least 0, got -1"),
        ([*COLLECT, "--action-repeat", "0", "--out", "x"], "action_repeat must be"),
        (["train", "car-racing", "--seed", "-1", "--out", "x"], "seed must be at least 0, got -1"),
        (["train", "car-racing", "--recipe", "x", "--out", "x"], "recipe must be one of full,"),
        (["train", "world-models", "--env", "None-v0", "--out", "x"], "unknown environment 'None-"),
        (["train", "world-models", "--env", "CartPole-v1", "--out", "x"], "must be frames (H, W"),
        (["train", "vision", "--data", "none", "--out", "v.safetensors"], "no episodes"),
        (["train", "vision", "--data", "none", "--out", "v.pt"], ".safetensors, got v.pt"),
        (["train", "vision", "--data", "x", "--steps", "0", "--out", "x"], "steps must be at le"),
        (
            [*"train memory --data x --vision x --out x --action-repeat".split(), "0"],
            "action_repeat must be at least 1, got 0",
        ),
        ([*COLLECT, "--seed", str(2**63), "--out", "x"], "seed must be at most"),
        ([*COLLECT, "--time-limit", "nan", "--out", "x"], "time_limit must be a positive number"),
        (["collect", "Pendulum-v1", "--jobs", "0", "--out", "x"], "or at least 1, got 0"),
        (
            ["train", "car-racing", "--seed", "1000000000000000", "--out", "x"],
            "seed must be in [0, 9223372036854)",
        ),
        (["train", "car-racing", "--jobs", "0", "--out", "x"], "or at least 1, got 0"),
        (["train", "vision", "--data", "x", "--seed", str(2**70), "--out", "x"], "at most 922337"),
        (["dream", "none", "--film", "d.png"], "must be a file that ends in .gif, got d.png"),
        (["evaluate", "none"], "no such folder: none"),
        (["evaluate", __file__], "test_cli.py is a file; name the folder of an agent"),
        (["evaluate", str(artifact("diamond-car-racing"))], "holds denoiser, but no agent"),
        (["evaluate", "none", "--episodes", "0"], "episodes must be at least 1, got 0"),
        (["evaluate", "none", "--action-repeat", "0"], "action_repeat must be at least 1, got 0"),
        (["evaluate", "none", "--action-repeat", "-1"], "action_repeat must be at least 1, got -1"),
        (["dream", "none"], "no such folder: none"),
        (["dream", "none", "--steps", "0"], "steps must be at least 1, got 0"),
        (["dream", str(artifact("muzero-tictactoe"))], "muzero-tictactoe holds a MuZero"),
        ([*train("iris"), "--steps", "5"], "steps must be at least 500 (random play comes first)"),
        ([*train("world-models"), "--steps", "1"], "1 steps are too few"),
        (
            [*train("dreamer"), "--env", "wmlib/PixelPendulum-v0", "--steps", "1001"],
            "steps must be a multiple of 2 (real steps in a decision), got 1001",
        ),
        (
            ["arena", "--env", "x", "--steps", "8", "--agents", "random", "--out", "a.txt"],
            "--out must be a file that ends in .json, got a.txt",
        ),
        (["bench", "dream", "--seconds", "0"], "seconds must be in (0, 86400], got 0"),
        (["bench", "environment", "--seconds", "-1"], "seconds must be a positive number, got -1"),
    ],
)  # fmt: skip
def test_wrong_input_is_2_with_one_line_and_nothing_written(
    command: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("wmlib: error: ")
    assert message in captured.err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "code"),
    [(CollectError("the episode with seed 3 failed"), 1), (ArithmeticError("nan"), 1),
     (OSError(28, "No space left on device"), 2), (KeyboardInterrupt(), 130)],
)  # fmt: skip
def test_a_failed_run_has_its_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fail(options: object) -> None:
        raise error

    monkeypatch.setattr(cli, "run_bench", fail)
    assert main(["bench", "dream"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(error) in captured.err


def test_a_benchmark_of_the_checkout_gets_its_own_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    script = "import sys; print(sys.argv[1:]); sys.exit(len(sys.argv) - 3)"
    (tmp_path / "coffee.py").write_text(script, encoding="utf-8")
    monkeypatch.setattr(commands, "BENCHMARKS", tmp_path)
    assert main(["bench", "coffee", "--cups", "3"]) == 0
    out = capfd.readouterr().out
    assert "['--cups', '3']" in out and f"results: {tmp_path / 'results'}" in out
    assert main(["bench", "coffee", "--cups", "3", "--hot"]) == 1
    assert "coffee.py ended with exit code 1" in capfd.readouterr().err


def test_results_are_readable_without_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(cli, "run_bench", lambda options: {"steps": 3, "rate": 1234.56789})
    assert main(["bench", "dream"]) == 0
    assert capsys.readouterr().out == "steps: 3\nrate: 1235\n"


def small_vision(monkeypatch: pytest.MonkeyPatch) -> None:
    """`train vision` trains a V that is quickly trained."""
    small = VisionConfig(latent=4, channels=(2, 2, 4, 4), batch=4)
    monkeypatch.setattr(
        "wmlib.agents.world_models.vision.train_vision",
        lambda replay, _, **options: train_vision(replay, small, **options),
    )


def test_v_m_and_c_are_trained_step_by_step(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ["--data", str(folder / "data")]
    small_vision(monkeypatch)

    def in_few_dreams(
        memory: MDNRNN, starts: Starts, c: ControllerConfig, config: DreamTrainingConfig, **options
    ) -> Evolved:
        config = replace(config, population=4, starts=4, value_starts=4)
        return train_in_dream(memory, starts, c, config, **options)

    monkeypatch.setattr("wmlib.agents.world_models.evolve.train_in_dream", in_few_dreams)
    v, m, c = (str(tmp_path / f"{part}.safetensors") for part in ("vision", "memory", "controller"))
    capsys.readouterr()
    killed = tmp_path / "vision.state.seconds"
    killed.write_text("1000", encoding="utf-8")  # of a process before
    assert main(["train", "vision", *data, "--out", v, "--steps", "2", "--json"]) == 0
    told = said(capsys)
    assert told.keys() == {"out", "seconds", "squared_error", "kl"} and told["seconds"] > 1000
    see = ["--vision", v]
    assert main(["train", "memory", *data, *see, "--out", m, "--steps", "2", "--json"]) == 0
    learned = said(capsys)
    assert learned.keys() == {"out", "seconds", "code", "reward", "end", "reward_head"}
    assert learned["reward_head"] == "poisson"
    evolve = ["train", "controller", *data, *see, "--memory", m, "--out", c, "--json"]
    assert main([*evolve, "--temperature", "0"]) == 2
    assert "temperature must be in [1e-06, 1e+06], got 0" in capsys.readouterr().err
    more = ["--temperature", "1.3", "--value", "--horizon", "2", "--generations", "2"]
    assert main([*evolve, *more]) == 0
    assert said(capsys).keys() == {"out", "seconds", "dream_return", "sigma"}
    agent = Agent.load(tmp_path)
    assert agent.memory.config.latent == 4
    assert agent.memory.config.reward_offset == pytest.approx(-0.3)
    assert (
        load_checkpoint(tmp_path / "controller.safetensors", "controller")[1]["made"]["steps"] == 2
    )
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}
    assert len(list(tmp_path.iterdir())) == 6  # no state is left
    assert main(["train", "vision", *data, "--out", v, "--steps", "2"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_an_agent_dreams_and_is_filmed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = ["dream", str(folder), "--steps", "4", "--film", str(tmp_path / "d.gif"), "--json"]
    capsys.readouterr()
    assert main(command) == 0
    first = said(capsys)
    assert first["decisions"] == 4
    assert (tmp_path / "d.gif").read_bytes().startswith(b"GIF89a")
    assert main(command) == 0
    assert said(capsys) == first
    assert main(["dream", str(folder), "--temperature", "0"]) == 2
    assert "temperature must be" in capsys.readouterr().err


def test_a_score_is_printed_and_recorded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from wmlib.evaluation import Score

    score = Score("E", (1.0, 3.0), (0, 1))
    monkeypatch.setattr("wmlib.evaluation.evaluate", lambda *_, **__: score)
    assert main(["evaluate", str(folder), "--episodes", "2", "--record", "--json"]) == 0
    assert said(capsys)["mean"] == 2.0
    path = folder / "controller.safetensors"
    assert load_checkpoint(path, "controller")[1]["scored"]["returns"] == [1.0, 3.0]


def test_a_process_of_its_own_keeps_standard_output_clean(tmp_path: Path) -> None:
    command = [*COLLECT, "--episodes", "1", "--max-steps", "2", "--out", str(tmp_path / "data")]
    done = subprocess.run(
        [sys.executable, "-m", "wmlib", *command, "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["decisions"] == 2
    assert "collecting" in done.stderr


def test_the_official_environment_keeps_standard_output_clean() -> None:
    code = "import gymnasium, wmlib; gymnasium.make('wmlib/OfficialCarRacing-v3').reset(seed=0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_whole_recipe_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    tiny = Recipe(
        episodes=2, max_steps=40, vision=VisionConfig(channels=(2, 4, 4, 4), batch=4),
        vision_steps=2, memory_steps=2, behaviour=BehaviourConfig(updates=2, starts=4, horizon=3),
        cycles=1, cycle_episodes=1, cycle_patience=60, cycle_memory_steps=2,
    )  # fmt: skip
    monkeypatch.setitem(RECIPES, "full", tiny)
    folder = tmp_path / "run"
    command = ["train", "car-racing", "--seed", "1", "--jobs", "1", "--out", str(folder)]
    for more in ([], ["--resume"]):  # the second time there is nothing left to do
        assert main([*command, "--json", *more]) == 0
        result = said(capsys)
        assert result["real_steps"] == sum(
            int(episode.extras["frames"].sum())
            for cycle in ("cycle-00", "cycle-01")
            for episode in Replay.load(folder / cycle / "episodes")
        )
        assert result["seconds"] > 0
    Agent.load(folder)
    assert main(command) == 2
    assert "go on with it by --resume" in capsys.readouterr().err
    assert main([*command, "--resume", "--seed", "2"]) == 2
    assert "holds another run" in capsys.readouterr().err


def test_world_models_are_trained_and_scored_on_another_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    tiny = WorldModelsConfig(
        cycles=1, vision=VisionConfig(latent=2, channels=(2, 4), batch=4, frame=(16, 16, 1)),
        vision_steps=2,
        cycle_vision_steps=1, memory=MemoryConfig(hidden=4, mixtures=2, window=1, batch=4),
        memory_steps=2, cycle_memory_steps=1,
        dream=DreamTrainingConfig(generations=2, population=4, starts=4, horizon=3),
    )  # fmt: skip
    monkeypatch.setattr("wmlib.agents.world_models.train.WorldModelsConfig", lambda: tiny)
    out, world = str(tmp_path / "run"), "wmlib/WindyPixelCatch-v0"
    train = ["train", "world-models", "--env", world, "--steps", "40", "--out", out, "--json"]
    assert main(train) == 0
    told = said(capsys)
    assert (told["environment"], told["real_steps"]) == (world, 40)
    assert main(["evaluate", out, "--episodes", "3", "--jobs", "1", "--json"]) == 0
    score = said(capsys)
    assert score["environment"] == world and score["seeds"] == [900_000, 900_001, 900_002]
    assert set(score["returns"]) <= {-1.0, 1.0}
    film = tmp_path / "grey.gif"
    assert main(["dream", out, "--steps", "9", "--film", str(film), "--json"]) == 0
    assert said(capsys)["decisions"] == 9 and film.read_bytes().startswith(b"GIF89a")
    assert main(["evaluate", out, "--action-repeat", "2"]) == 2
    assert f"this agent was trained on {world}" in capsys.readouterr().err
    assert main(train) == 2
    assert "go on with it by --resume" in capsys.readouterr().err
    assert main([*train, "--resume"]) == 0


def test_muzero_is_trained_and_plays_matches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    tiny = MuZeroConfig(NetworkConfig(state=4, units=8), simulations=3, games=16, batch=8)
    monkeypatch.setattr("wmlib.agents.muzero.config.MuZeroConfig", lambda: tiny)
    out = str(tmp_path / "run")
    train = ["train", "muzero", "--env", "tic-tac-toe", "--steps", "300", "--out", out, "--json"]
    assert main(train) == 0
    told = said(capsys)
    assert told["environment"] == "tic-tac-toe" and 300 <= told["real_steps"] < 600
    match = ["evaluate", out, "--episodes", "11", "--json", "--opponent"]
    for opponent in ("perfect", "random"):
        assert main([*match, opponent, "--simulations", "5", "--record"]) == 0
        told = said(capsys)
        assert (told["opponent"], told["simulations"], told["episodes"]) == (opponent, 5, 11)
        assert told["wins"] + told["draws"] + told["losses"] == 11
        assert opponent == "random" or told["wins"] == 0
    assert main([*match, "mcts", "--rollouts", "20", "--record"]) == 0
    told = said(capsys)
    assert told["rollouts"] == 20 and told["wins"] + told["draws"] + told["losses"] == 11
    assert set(load_checkpoint(tmp_path / "run" / "agent.safetensors", "muzero")[1]["scored"]) == {
        "perfect", "random", "mcts-20"
    }  # fmt: skip
    wanted = "--opponent must be perfect, random or mcts on a board, got"
    for wrong, message in (
        ([*match, "clever"], f"{wanted} 'clever'"),
        ([*match[:-1]], f"{wanted} none"),
        ([*match, "mcts", "--rollouts", "0"], "rollouts must be at least 1, got 0"),
        ([*match, "random", "--rollouts", "9"], "--rollouts is for --opponent mcts, got random"),
        ([*match, "random", "--simulations", "-1"], "simulations must be at least 0, got -1"),
        ([*match, "random", "--action-repeat", "3"], "--action-repeat is not for tic-tac-toe"),
        (train, "go on with it by --resume"),
        ([*train[:3], "chess", *train[4:]], "or a board game: tic-tac-toe, connect-four"),
    ):
        assert main(wrong) == 2
        assert message in capsys.readouterr().err


def test_muzero_is_trained_and_scored_on_an_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    tiny = dataclasses.replace(ONE_PLAYER, simulations=3, games=4, batch=8)
    monkeypatch.setattr("wmlib.agents.muzero.config.ONE_PLAYER", tiny)
    out = str(tmp_path / "run")
    train = ["train", "muzero", "--env", "CartPole-v1", "--steps", "100", "--out", out, "--json"]
    assert main(train) == 0
    assert 100 <= said(capsys)["real_steps"] < 104
    score = ["evaluate", out, "--episodes", "2", "--jobs", "1", "--json"]
    assert main([*score, "--simulations", "2"]) == 0
    assert len(said(capsys)["returns"]) == 2
    assert main([*score, "--opponent", "random"]) == 2
    assert "--opponent is for board games" in capsys.readouterr().err
    assert main([*train, "--resume"]) == 0


def test_no_perfect_player_of_connect_four_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    game, tiny = ConnectFour(), MuZeroConfig(NetworkConfig(state=4, units=8))
    made = {"environment": game.name, "steps": 0}
    MuZero(Spaces.of(game), tiny).save(tmp_path, made)
    match = ["evaluate", str(tmp_path), "--episodes", "2", "--simulations", "0", "--opponent"]
    assert main([*match, "perfect"]) == 2
    assert "which connect-four has too many of" in capsys.readouterr().err
    assert main([*match, "mcts", "--rollouts", "2"]) == 0


def test_opponents_are_for_board_games(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["evaluate", str(folder), "--opponent", "random"]) == 2
    assert "--opponent is for board games" in capsys.readouterr().err


@pytest.mark.slow
def test_the_tiny_recipe_runs_and_its_agent_is_scored(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "wmlib"]
    out = str(tmp_path / "run")
    train = [*run, "train", "car-racing", "--recipe", "tiny", "--seed", "1", "--out", out, "--json"]
    for more in ([], ["--resume"]):
        done = subprocess.run([*train, *more], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["real_steps"] > 0
    score = [*run, "evaluate", out, "--episodes", "1", "--jobs", "1", "--json"]
    done = subprocess.run(score, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["environment"] == "wmlib/OfficialCarRacing-v3"


# Where the result goes


def nothing_is_driven(*_: object, **__: object) -> None:
    raise AssertionError("the place is looked at first")


UNWRITABLE = [
    "afile/x",
    pytest.param("/proc/x", marks=pytest.mark.skipif(sys.platform != "linux", reason="no /proc")),
    pytest.param("locked/x", marks=pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is locked for root")),
]  # fmt: skip


@pytest.mark.parametrize("place", UNWRITABLE)
def test_a_place_where_nothing_can_be_written_is_refused_before_the_work(
    place: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    (tmp_path / "afile").touch()
    (tmp_path / "locked").mkdir(mode=0o500)
    monkeypatch.chdir(tmp_path)
    for module, name in (
        ("collecting", "collect"), ("agents.world_models.vision", "train_vision"),
        ("agents.world_models.dream", "Dream"),
    ):  # fmt: skip
        monkeypatch.setattr(f"wmlib.{module}.{name}", nothing_is_driven)
    data = ["--data", str(folder / "data")]
    for command in (
        ["collect", "Pendulum-v1", "--out", place],
        ["train", "vision", *data, "--out", f"{place}/v.safetensors"],
        ["dream", str(folder), "--film", f"{place}/d.gif"],
    ):
        assert main(command) == 2
        assert "cannot be written" in capsys.readouterr().err
    assert main(["train", "car-racing", "--out", place]) == 2
    assert "wmlib: error: " in capsys.readouterr().err


def test_a_score_that_could_not_be_recorded_is_not_driven_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("wmlib.evaluation.evaluate", nothing_is_driven)

    def full(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    assert main(["evaluate", str(folder), "--record"]) == 2
    assert "cannot be written: Read-only file system" in capsys.readouterr().err


def test_an_empty_folder_that_is_there_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    monkeypatch.chdir(tmp_path / "here")
    for out in (".", "../link"):
        command = ["collect", "Pendulum-v1", "--episodes", "1", "--max-steps", "3", "--jobs", "1"]
        assert main([*command, "--out", out]) == 0, capsys.readouterr().err
        assert Replay.load(out).steps == 3


# Interruptions


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Ctrl-C in a terminal of Unix")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_keeps_what_was_collected(jobs: str, tmp_path: Path) -> None:
    out = tmp_path / "data"
    command = ["collect", "Pendulum-v1", "--episodes", "100000", "--jobs", jobs, "--out", str(out)]
    assert main([*command, "--time-limit", "0.0001"]) == 1  # not one was finished
    collecting = subprocess.Popen(
        [sys.executable, "-m", "wmlib", *command], stderr=subprocess.PIPE, start_new_session=True
    )
    assert collecting.stderr is not None
    told = b""
    while b"mean return" not in told:
        told += os.read(collecting.stderr.fileno(), 1000)
    time.sleep(0.5)
    os.killpg(collecting.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, err = collecting.communicate(timeout=60)
    assert collecting.returncode == 130, err
    replay = Replay.load(out, unfinished=True)
    assert f"{len(replay)} are kept in {out}; the same call goes on" in err.decode()
    assert b"Traceback" not in err
    seeds = [e.seed for e in replay]
    assert seeds == sorted(set(seeds)) and len(seeds) > 1


def test_an_episode_whose_file_was_just_written_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from wmlib import replay

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(replay, "_load_file", interrupted)
    command = ["collect", "Pendulum-v1", "--episodes", "2", "--max-steps", "3", "--jobs", "1"]
    assert main([*command, "--out", str(tmp_path)]) == 130
    assert f"1 are kept in {tmp_path}; the same call goes on" in capsys.readouterr().err


def test_an_interrupted_collecting_goes_on_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from wmlib import collecting

    run, seeds = collecting.run_episode, []

    def counted(env: object, policy: object, seed: int, *limits: object) -> Episode:
        seeds.append(seed)
        if len(seeds) == 3:
            raise KeyboardInterrupt
        return run(env, policy, seed, *limits)

    monkeypatch.setattr(collecting, "run_episode", counted)
    command = ["collect", "Pendulum-v1", "--episodes", "4", "--max-steps", "3", "--jobs", "1"]
    assert main([*command, "--out", str(tmp_path / "a")]) == 130
    assert f"2 are kept in {tmp_path / 'a'}; the same call goes on" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "a"), "--max-steps", "4"]) == 2
    assert "of another run, with another limits" in capsys.readouterr().err
    assert main(["train", "vision", "--data", str(tmp_path / "a"), "--out", "v.safetensors"]) == 2
    assert "episode-000002.safetensors is missing, and 1 more of 4" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "a"), "--json"]) == 0
    assert said(capsys)["episodes"] == 4
    assert seeds == [0, 1, 2, 2, 3]
    assert main([*command, "--out", str(tmp_path / "b")]) == 0
    assert Replay.load(tmp_path / "a").digest() == Replay.load(tmp_path / "b").digest()
    assert main([*command, "--out", str(tmp_path / "a")]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_what_an_interrupted_training_leaves_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def interrupted(folder: Path, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wmlib.agents.iris.train_iris", interrupted)
    command = ["train", "iris", "--env", "wmlib/PixelCatch-v0", "--out", str(tmp_path)]
    assert main(command) == 130
    assert "wmlib: nothing was saved yet; begin anew with --resume" in capsys.readouterr().err
    (state := tmp_path / "state.safetensors").touch()
    assert main(command) == 130
    told = f"wmlib: the last state that was saved is kept, {state}; go on with --resume"
    assert told in capsys.readouterr().err


def test_a_folder_without_an_agent_says_what_it_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def told() -> str:
        assert main(["evaluate", str(tmp_path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix(f"wmlib: error: {tmp_path}")

    assert told() == " holds no agent"
    (tmp_path / "run.json").touch()
    assert told().startswith(" holds a run, but no agent; if it is not finished, go on with it by")
    made = made_by(seed=0, steps=1, seconds=0.0)
    save_checkpoint(
        tmp_path / "agent.safetensors", {}, kind="robot", config=ControllerConfig(), made=made
    )
    expected = "/agent.safetensors holds 'robot'; there are agents of dreamer, dreamerv3, muzero,"
    assert told().startswith(expected)


def test_an_interrupted_training_goes_on_with_its_own_data_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    small_vision(monkeypatch)
    other = [replace(e, seed=e.seed + 1) for e in Replay.load(folder / "data")]
    Replay(other).save(tmp_path / "other")
    out = tmp_path / "v.safetensors"
    command = ["train", "vision", "--steps", "2", "--out", str(out)]
    mine = [*command, "--data", str(folder / "data")]
    from wmlib import training

    save = training.save_state

    def killed(*arguments: object) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_state", killed)
        assert main(mine) == 130
    assert "go on by the same command" in capsys.readouterr().err
    assert main([*command, "--data", str(tmp_path / "other")]) == 2
    assert "is the state of another run, with another data" in capsys.readouterr().err
    assert main(mine) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"other", "v.safetensors", "v.json"}
    (tmp_path / "w.state.safetensors").write_bytes(b"of nobody knows which run")
    assert main([*mine[:-3], str(tmp_path / "w.safetensors"), *mine[-2:]]) == 2
    assert "w.state.safetensors" in capsys.readouterr().err


# Numbers


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", [lambda v: v, lambda v: [1.0, v], lambda v: {"mean": (v,)}])
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_what_is_no_number_is_no_result(
    option: list[str],
    where: object,
    value: float,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(cli, "run_bench", lambda options: {"rate": where(float(value))})
    assert main(["bench", "dream", *option]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"is {value}: not a finite number" in captured.err


def test_a_dream_too_hot_for_numbers_fails(folder: Path, capsys: pytest.CaptureFixture) -> None:
    capsys.readouterr()
    assert main(["dream", str(folder), "--temperature", "1e300", "--steps", "5", "--json"]) != 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("wmlib: ")


def test_m_takes_any_rewards_and_any_number_of_actions(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Not CarRacing: each of two actions costs 1."""
    rng = np.random.default_rng(0)
    Replay(
        Episode(
            rng.integers(256, size=(41, 64, 64, 3), dtype=np.uint8),
            rng.normal(size=(40, 2)).astype(np.float32), np.full(40, -1, np.float32), True, False,
            seed,
        )
        for seed in range(2)
    ).save(tmp_path / "data")  # fmt: skip
    m = tmp_path / "m.safetensors"
    command = ["train", "memory", "--data", str(tmp_path / "data"), "--out", str(m), "--steps", "2"]
    capsys.readouterr()
    assert main([*command, "--vision", str(folder / "vision.safetensors"), "--json"]) == 0
    assert said(capsys)["reward_head"] == "normal"
    memory = MDNRNN.load(m)
    assert memory.config.actions == 2
    expected = memory.expected_reward(memory.predict(memory.initial(1).hidden))
    assert expected.item() == pytest.approx(-1, abs=0.5)


# Standard output


def wmlib(command: list[str], **options: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "wmlib", *command], stderr=subprocess.PIPE, text=True, **options
    )


@pytest.mark.parametrize("words", [["--help"], ["--json"], []])
def test_a_reader_who_went_away_is_no_failure(words: list[str], tmp_path: Path) -> None:
    quick = ["collect", "Pendulum-v1", "--episodes", "1", "--max-steps", "2", "--jobs", "1"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = wmlib([*quick, "--out", str(tmp_path / "data"), *words], stdout=writing)
    finally:
        os.close(writing)
    assert done.returncode == 0
    assert "Error" not in done.stderr and "Exception" not in done.stderr
    assert (tmp_path / "data").exists() == (words != ["--help"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_standard_output_that_is_full_is_named(tmp_path: Path) -> None:
    quick = ["collect", "Pendulum-v1", "--episodes", "1", "--max-steps", "2", "--jobs", "1"]
    with open("/dev/full", "wb") as full:
        done = wmlib([*quick, "--out", str(tmp_path / "data")], stdout=full)
    assert done.returncode == 2
    expected = "wmlib: error: standard output: [Errno 28] No space left on device"
    assert done.stderr.splitlines()[-1] == expected
    assert len(Replay.load(tmp_path / "data")) == 1


def test_a_name_that_the_terminal_cannot_spell_is_no_failure(tmp_path: Path) -> None:
    quick = ["collect", "Pendulum-v1", "--episodes", "1", "--max-steps", "2", "--jobs", "1"]
    done = wmlib(
        [*quick, "--out", str(tmp_path / "données")], stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert r"donn\xe9es" in done.stdout
    assert len(Replay.load(tmp_path / "données")) == 1
