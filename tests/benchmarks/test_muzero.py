"""The committed rows of MuZero, and what is said of them."""

import dataclasses
import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from programs import load_program

from wmlib.agents.muzero.ablations import Painter
from wmlib.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
benchmark = load_program("muzero")


@pytest.fixture(scope="module")
def result() -> dict:
    path = ROOT / "benchmarks" / "results" / "muzero.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_summary_is_that_of_the_rows(result: dict) -> None:
    assert json.loads(json.dumps(benchmark.summary(result["rows"]))) == result["summary"]


def test_every_seed_is_unbeatable_and_knows_almost_every_position(result: dict) -> None:
    trained = [row for row in result["rows"] if row["part"] == "train"]
    assert [row["seed"] for row in trained] == [0, 1, 2]
    for row in trained:
        for kind in ("lines", "matches"):
            assert not any(one["losses"] for one in row[kind].values())
        assert row["seconds"] <= 1200 and row["threads"] == 1
        assert row["by_search"] >= 0.99 and row["by_network"] >= 0.98
        for name, match in row["matches"].items():
            assert sum(match.values()) == 1000
            assert (match["wins"] > 900) == (name == "random")


def test_the_shipped_player_is_one_that_nobody_can_beat(result: dict) -> None:
    _, manifest = load_checkpoint(
        ROOT / "artifacts" / "muzero-tictactoe" / "agent.safetensors", "muzero"
    )
    seed = str(manifest["made"]["seed"])
    assert result["summary"]["lines_lost"][seed] == result["summary"]["matches_lost"][seed] == 0
    assert manifest["made"]["steps"] == next(
        row["curve"][-1]["updates"]
        for row in result["rows"]
        if row["part"] == "train" and row["seed"] == int(seed)
    )


@pytest.mark.parametrize("variant", benchmark.VARIANTS)
def test_every_variant_is_run_with_every_seed_and_as_much(variant: str, result: dict) -> None:
    agent = benchmark.begun(variant, 3)
    assert isinstance(agent, Painter) == (variant == "painting") and agent.seed == 3
    assert agent.config.unroll == (1 if variant == "unrolled by 1" else 5)
    rows = [row for row in result["rows"] if row.get("variant") == variant]
    assert [row["seed"] for row in rows] == [*range(benchmark.SHORT_SEEDS)]
    short = [row for row in result["rows"] if row["part"] == "ablation"]
    assert {row["noise"] for row in short} == {rows[0]["noise"]}, "like beside like"
    for row in rows:
        assert 0 <= row["real_steps"] - benchmark.SHORT < 5000
        assert row["updates"] == int(agent.config.ratio * row["real_steps"] + 1e-9)
        assert row["threads"] == 1
        assert all(len(shares) == 6 for shares in row["read"].values())


def test_errors_fall_as_simulations_grow(result: dict) -> None:
    rows = sorted(
        (row for row in result["rows"] if row["part"] == "search"), key=lambda r: r["per_search"]
    )
    assert [row["per_search"] for row in rows] == [2**k for k in range(2, 13)]
    errors = [row["value_error"] for row in rows[3:]]
    assert errors == sorted(errors, reverse=True)
    assert rows[-1]["best_action"] >= 0.99
    again = benchmark.search_errors(64)
    row = next(row for row in rows if row["per_search"] == 64)
    assert again["value_error"] == pytest.approx(row["value_error"], rel=1e-3)
    assert np.isclose(again["best_action"], row["best_action"], atol=0.01)


def test_cartpole_is_learned_in_three_of_four_seeds(result: dict) -> None:
    rows = [row for row in result["rows"] if row["part"] == "cartpole"]
    assert [row["seed"] for row in rows] == [0, 1, 2, 3]
    assert result["made"]["cartpole"] == json.loads(
        json.dumps(dataclasses.asdict(benchmark.ONE_PLAYER))
    )
    usual = str(benchmark.ONE_PLAYER.simulations)
    assert sum(row["returns"][usual] >= benchmark.BARS["cartpole"] for row in rows) >= 3
    for row in rows:
        assert row["real_steps"] <= 20_000 and row["updates"] == row["real_steps"]
        assert row["threads"] == 1 and row["curve"][0]["real_steps"] < 7000
        assert row["returns"] == row["curve"][-1]["returns"]
        for one in row["curve"]:
            for count, episodes in one["episodes"].items():
                assert len(episodes) == benchmark.EPISODES and max(episodes) <= 500
                assert one["returns"][count] == round(float(np.mean(episodes)), 1)


def test_a_training_on_cartpole_says_what_episodes_return(monkeypatch: pytest.MonkeyPatch) -> None:
    small = dataclasses.replace(benchmark.ONE_PLAYER, games=2, simulations=2, ratio=0.1, batch=8)
    settings = {"ONE_PLAYER": small, "CARTPOLE_STEPS": 80, "EPISODES": 3, "SEARCHED": (0, 2)}
    for name, value in settings.items():
        monkeypatch.setattr(benchmark, name, value)
    row = benchmark.cartpole(0)
    assert 80 <= row["real_steps"] < 82 and row["updates"] == int(0.1 * row["real_steps"] + 1e-9)
    assert [one["real_steps"] for one in row["curve"]][-1] == row["real_steps"]
    for one in row["curve"]:
        for count in ("0", "2"):
            episodes = one["episodes"][count]
            assert len(episodes) == 3 and min(episodes) >= 8  # nobody falls sooner
            assert one["returns"][count] == round(float(np.mean(episodes)), 1)
    assert row["returns"] == row["curve"][-1]["returns"]
    assert row["seconds"] == row["curve"][-1]["seconds"]


def test_a_training_on_connect_four_goes_on_where_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = dataclasses.replace(
        benchmark.CONNECT_FOUR, games=4, simulations=2, ratio=0.1, batch=8,
        networks=dataclasses.replace(benchmark.CONNECT_FOUR.networks, state=4, units=8),
    )  # fmt: skip
    settings = {
        "CONNECT_FOUR": small, "FOUR_STEPS": 400, "FOUR_MARKS": 2, "FOUR_GAMES": 4, "GAMES": 6,
        "OPPONENTS": {2: (0, 2), 3: (2,)}, "SIMULATIONS": 2,
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setattr(benchmark, name, value)

    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(benchmark, "play_match", killed)
    with pytest.raises(RuntimeError, match="killed"):
        benchmark.connect_four(0, tmp_path)
    monkeypatch.undo()
    for name, value in settings.items():
        monkeypatch.setattr(benchmark, name, value)
    row = benchmark.connect_four(0, tmp_path)
    assert 400 <= row["real_steps"] == row["curve"][-1]["real_steps"]
    assert row["updates"] == int(0.1 * row["real_steps"] + 1e-9)
    assert sum(row["random"].values()) == 6
    assert {n: [*matches] for n, matches in row["matches"].items()} == {"2": ["0", "2"], "3": ["2"]}
    for rollouts, matches in row["matches"].items():
        for match in matches.values():
            assert match["wins"] + match["draws"] + match["losses"] == 4 >= match["of"]
            assert match["of"] >= match["openings"]
            assert match["points"] == (match["wins"] + match["draws"] / 2) / 4
        assert row["points"][rollouts] == matches["2"]["points"]
    assert benchmark.summary([row | {"part": "connect-four", "seed": 0}])["connect_four"] == {
        0: row["points"]
    }
    assert benchmark.connect_four(0, tmp_path)["curve"] == row["curve"], "it is trained already"


def test_openings_are_kept_where_so_many_stones_lie() -> None:
    game, random = benchmark.Openings(), benchmark.RandomPlayer(benchmark.FOUR)
    benchmark.play_match(game, random, random, 30, 0)
    met = np.concatenate(game.met)
    assert 15 < len(np.unique(met, axis=0)) == len(met) <= 30
    assert ((met != 0).sum(1) == benchmark.OPENING).all()


def test_the_seconds_of_examinations_do_not_count() -> None:
    def examine(agent: SimpleNamespace) -> dict:
        until = time.process_time() + 0.5
        while time.process_time() < until:
            pass
        return {"found": agent.updates}

    curve = benchmark.Curve(examine)
    for used in (10, 20):
        curve.after(used, SimpleNamespace(updates=used // 2))
    assert [(row["real_steps"], row["found"]) for row in curve.rows] == [(10, 5), (20, 10)]
    assert curve.rows[1]["seconds"] < 0.4 and curve.seconds < 0.4
