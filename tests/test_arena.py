"""The arena: equal real steps, rows that survive, and what it refuses."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gymnasium as gym
import numpy as np
import pytest
import torch
from packaging.version import Version

from wmlib import arena
from wmlib.agents.dreamerv3 import BehaviourConfig, DreamerV3Config, RSSMConfig, WorldModelConfig
from wmlib.agents.muzero import ONE_PLAYER, MuZero, NetworkConfig, Spaces
from wmlib.arena import (
    EPISODES,
    RandomEntrant,
    Row,
    Trained,
    add_row,
    examinations,
    load_rows,
    race,
)
from wmlib.cli import main
from wmlib.entrants import LearnerEntrant, MuZeroEntrant, entrants, everywhere
from wmlib.envs.catch import PixelCatch
from wmlib.exploration import UniformRandomPolicy
from wmlib.storage import DamagedFileError

ROOT = Path(__file__).parents[1]
CATCH = "wmlib/PixelCatch-v0"


class Counted(PixelCatch):
    """PixelCatch that counts its steps, over all copies."""

    steps = 0

    def step(self, action: int) -> Any:
        Counted.steps += 1
        return super().step(action)


@pytest.fixture
def counted() -> Iterator[str]:
    gym.register("counted/Catch-v0", entry_point=Counted)
    Counted.steps = 0
    yield "counted/Catch-v0"
    del gym.registry["counted/Catch-v0"]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Examinations drive nothing, and note how many real steps the world has counted until then."""
    counts: list[int] = []

    def drive(*_: object, seed: int, **__: object) -> list[SimpleNamespace]:
        if seed % arena.SEEDS == arena.EXAMINED:
            counts.append(Counted.steps)
        return [SimpleNamespace(total_reward=0.0)]

    monkeypatch.setattr(arena, "collect", drive)
    return counts


@dataclass(frozen=True)
class Walker:
    """Takes every real step at random and learns nothing; `shift` lets it lose count."""

    shift: int = 0
    skip: int = 0

    def check(self, env: gym.Env, steps: int) -> None:
        if steps == 13:
            raise ValueError("it takes no 13 steps")

    def run(self, env_id: str, steps: int, seed: int, examine: arena.Examine) -> Trained:
        env = gym.make(env_id)
        policy = UniformRandomPolicy(env.action_space)
        policy.reset(np.random.default_rng(seed))
        observation, _ = env.reset(seed=seed * arena.SEEDS)
        due = examinations(steps)[self.skip :]
        for step in range(1, steps + 1):
            observation, _, terminated, truncated, _ = env.step(policy.act(observation))
            if terminated or truncated:
                observation, _ = env.reset()
            if step in due:
                examine(step + self.shift, policy)
        return Trained(updates=7, parameters=3, settings={"why": "none"})


def told(row: Row) -> Row:
    """What of a row must be the same whenever it is made."""
    return {name: row[name] for name in row.keys() - {"core_minutes", "made"}}


@pytest.mark.parametrize(
    ("steps", "due"),
    [(4, (1, 2, 4)), (7, (1, 3, 7)), (100, (25, 50, 100)), (3001, (750, 1500, 3001))],
)  # fmt: skip
def test_examinations_come_at_a_quarter_half_and_all(
    steps: int, due: tuple[int, ...], counted: str, watched: list[int], tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "arena.json"
    (row,) = race({"walker": Walker()}, counted, steps=steps, seeds=1, out=out, progress=False)
    assert examinations(steps) == due == tuple(watched)
    assert tuple(one["real_steps"] for one in row["evaluations"]) == due
    assert Counted.steps == row["real_steps"] == steps


def test_a_row_says_what_was_asked_and_what_came_of_it(tmp_path: Path) -> None:
    out = tmp_path / "arena.json"
    rows = race({"walker": Walker()}, CATCH, steps=40, seeds=2, out=out, progress=False)
    assert rows == json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [row["seed"] for row in rows] == [0, 1]
    for row in rows:
        assert list(row) == [
            "agent", "world", "seed", "real_steps", "updates", "evaluations", "core_minutes",
            "parameters", "made",
        ]  # fmt: skip
        assert (row["agent"], row["world"], row["real_steps"]) == ("walker", CATCH, 40)
        assert (row["updates"], row["parameters"]) == (7, 3)
        assert row["core_minutes"] < 1
        for one in row["evaluations"]:
            assert len(one["returns"]) == EPISODES >= 30 and set(one["returns"]) <= {-1.0, 1.0}
        made = row["made"]
        assert made["settings"] == {"why": "none"} and made["threads"] == 1
        assert {"python", "torch", "gymnasium", "wmlib"} <= made["versions"].keys()
        assert made["processor"] and made["command"]


def test_episodes_of_an_examination_are_fresh_and_the_same_for_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[int] = []

    def drive(*_: object, seed: int, **options: Any) -> list[SimpleNamespace]:
        assert options["max_steps"] == arena.LONGEST
        seen.append(seed)
        return [SimpleNamespace(total_reward=0.0)]

    monkeypatch.setattr(arena, "collect", drive)
    two = {"random": RandomEntrant(), "walker": Walker()}
    race(two, CATCH, steps=8, seeds=2, out=tmp_path / "arena.json", progress=False)
    first = [range(seed * 1_000_000 + 900_000, seed * 1_000_000 + 900_100) for seed in (0, 1)]
    assert seen == 6 * list(first[0]) + 6 * list(first[1])


def test_examinations_do_not_count_as_its_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def drive(*_: object, **__: object) -> list[SimpleNamespace]:
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass
        return [SimpleNamespace(total_reward=0.0)]

    monkeypatch.setattr(arena, "collect", drive)
    out = tmp_path / "arena.json"
    (row,) = race({"walker": Walker()}, CATCH, steps=8, seeds=1, out=out, progress=False)
    assert row["core_minutes"] * 60 < 1 < 3 * EPISODES * 0.02 < row["made"]["wall_seconds"] + 0.1


@pytest.mark.parametrize(
    ("walker", "message"),
    [
        (Walker(shift=1), r"due after \(10, 20, 40\) steps, not after 11"),
        (Walker(skip=1), r"due after \(10, 20, 40\) steps, not after 20"),
        (Walker(skip=3), "examined 0 of 3 times"),
    ],
)
def test_an_entrant_that_is_not_examined_in_time_has_no_row(
    walker: Walker, message: str, watched: list[int], tmp_path: Path
) -> None:
    out = tmp_path / "arena.json"
    with pytest.raises(RuntimeError, match=f"walker on {CATCH} with seed 0 failed:\n.*") as caught:
        race({"walker": walker}, CATCH, steps=40, seeds=1, out=out, progress=False)
    assert caught.match(message) and not out.exists()


def test_rows_that_are_there_are_not_run_again(tmp_path: Path) -> None:
    out = tmp_path / "arena.json"
    race({"random": RandomEntrant()}, CATCH, steps=8, seeds=2, out=out, progress=False)
    before = out.read_bytes()
    failing: Any = SimpleNamespace(check=lambda *_: None, run=None)
    rows = race({"random": failing}, CATCH, steps=8, seeds=2, out=out, progress=False)
    assert len(rows) == 2 and out.read_bytes() == before
    both = {"random": failing, "walker": Walker()}
    rows = race(both, CATCH, steps=8, seeds=2, out=out, progress=False)
    assert [(row["agent"], row["seed"]) for row in rows] == [
        ("random", 0), ("random", 1), ("walker", 0), ("walker", 1),
    ]  # fmt: skip
    assert set(before.rstrip().splitlines()[1:2]) <= set(out.read_bytes().splitlines())
    others = race({"random": RandomEntrant()}, CATCH, steps=12, seeds=1, out=out, progress=False)
    assert [row["real_steps"] for row in others] == [12] and len(load_rows(out)) == 5


def test_workers_make_the_same_rows(counted: str, tmp_path: Path) -> None:
    """Also in a world that they cannot know by name."""
    one, two = (
        race({"random": RandomEntrant()}, counted, steps=8, seeds=3, out=tmp_path / f"{n}.json",
             n_jobs=n, progress=False)
        for n in (1, 2)
    )  # fmt: skip
    assert [told(row) for row in one] == [told(row) for row in two]
    assert len({str(row["evaluations"]) for row in one}) == 3


RACE = """\
import os, signal, sys
from pathlib import Path
from wmlib.arena import RandomEntrant, race

class Mortal(RandomEntrant):
    def run(self, env_id, steps, seed, examine):
        def deadly(used, policy):
            examine(used, policy)
            if seed == int(sys.argv[2]) and used == steps:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().run(env_id, steps, seed, deadly)

race({"a": Mortal(), "b": RandomEntrant()}, "wmlib/PixelCatch-v0", steps=8, seeds=3,
     out=Path(sys.argv[1]), progress=False)
"""


def run_race(out: Path, deadly: int) -> int:
    return subprocess.run([sys.executable, "-c", RACE, out, str(deadly)], cwd=ROOT).returncode


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_race_that_was_killed_goes_on_and_ends_with_the_same_rows(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed.json", tmp_path / "whole.json"
    assert run_race(killed, deadly=1) == -signal.SIGKILL
    assert [(row["agent"], row["seed"]) for row in load_rows(killed)] == [("a", 0), ("b", 0)]
    assert run_race(killed, deadly=2) == -signal.SIGKILL
    assert len(load_rows(killed)) == 4
    assert run_race(killed, deadly=-1) == run_race(whole, deadly=-1) == 0
    assert list(map(told, load_rows(killed))) == list(map(told, load_rows(whole)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.json", "whole.json"]


ADD = """\
import sys, time
from pathlib import Path
from wmlib.arena import add_row

out = Path(sys.argv[1])
out.with_suffix(f".{sys.argv[2]}").touch()  # ready
while len(list(out.parent.glob("arena.[ab]"))) < 2:
    time.sleep(0.001)
for seed in range(40):
    row = {"agent": sys.argv[2], "world": "w", "seed": seed, "real_steps": 4}
    add_row(out, row)
    add_row(out, row | {"agent": "both", "by": sys.argv[2]})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no lock on Windows")
def test_two_processes_on_one_file_lose_no_row(tmp_path: Path) -> None:
    out = tmp_path / "arena.json"
    adding = [
        subprocess.Popen([sys.executable, "-c", ADD, out, name], cwd=ROOT) for name in ("a", "b")
    ]
    assert [process.wait(120) for process in adding] == [0, 0]
    rows = load_rows(out)
    assert [(row["agent"], row["seed"]) for row in rows] == [
        (name, seed) for name in ("a", "b", "both") for seed in range(40)
    ]


def test_of_two_equal_rows_the_first_stays(tmp_path: Path) -> None:
    out = tmp_path / "arena.json"
    row = {"agent": "a", "world": "w", "seed": 0, "real_steps": 4}
    add_row(out, row | {"updates": 1})
    add_row(out, row | {"updates": 2})
    assert load_rows(out) == [row | {"updates": 1}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "it has no rows"),
        ('{"rows": {}}', "it has no rows"),
        ('{"rows": [{"agent": "a"}]}', "a row lacks 'world'"),
        ('{"rows": [3]}', "a row lacks"),
    ],
)
def test_a_file_that_is_no_table_is_refused_before_any_work(
    text: str, message: str, tmp_path: Path
) -> None:
    out = tmp_path / "arena.json"
    out.write_text(text, encoding="utf-8")
    failing: Any = SimpleNamespace(check=lambda *_: None, run=None)
    with pytest.raises(DamagedFileError, match=f"arena.json: .*{message}"):
        race({"a": failing}, CATCH, steps=8, seeds=1, out=out, progress=False)
    assert out.read_text(encoding="utf-8") == text


def test_a_worker_that_dies_is_told_with_what_it_leaves_undone(tmp_path: Path) -> None:
    class Deadly(RandomEntrant):
        def run(self, *arguments: Any) -> Trained:
            os._exit(1)

    out = tmp_path / "arena.json"
    with pytest.raises(RuntimeError, match=r"a worker process died; not made: .*deadly seed 0"):
        race({"deadly": Deadly()}, CATCH, steps=8, seeds=1, out=out, n_jobs=2, progress=False)


COMMAND = {
    "--env": CATCH, "--steps": "8", "--seeds": "1", "--agents": "random", "--jobs": "1",
}  # fmt: skip


def command(out: Path, changes: dict[str, str]) -> list[str]:
    pairs = ({"--out": str(out)} | COMMAND | changes).items()
    return ["arena", *(word for pair in pairs for word in pair)]


def test_the_command_says_how_each_did(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "arena.json"
    assert main([*command(out, {"--seeds": "2"}), "--json"]) == 0
    rows = load_rows(out)
    returns = [one for row in rows for one in row["evaluations"][-1]["returns"]]
    assert json.loads(capsys.readouterr().out) == {
        "out": str(out), "rows": 2, "random": pytest.approx(np.mean(returns)),
    }  # fmt: skip
    assert -1 < np.mean(returns) < 0  # a paddle at random catches one ball in five


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--env": "wmlib/Catch-v0"},
         "unknown environment 'wmlib/Catch-v0'.*Known here: .*wmlib/PixelCatch-v0"),
        ({"--env": "Pong-v9"}, "unknown environment 'Pong-v9'.*MinAtar/Breakout-v1.*PixelCatch"),
        ({"--agents": "random,pong"},
         "unknown agent 'pong'; there are random, .*, diamond, muzero, dqn, ppo, and .*@N"),
        ({"--agents": "random,"}, "unknown agent ''"),
        ({"--agents": "random@5"}, "unknown agent 'random@5'"),
        ({"--agents": "dqn@"}, "unknown agent 'dqn@'"),
        ({"--agents": "dqn@-1"}, "unknown agent 'dqn@-1'"),
        ({"--agents": "dqn@007"}, "unknown agent 'dqn@007'"),
        ({"--agents": "iris@10000000"}, "unknown agent 'iris@10000000'"),
        ({"--agents": "world-models@7"}, "unknown agent 'world-models@7'; .*, dreamerv3@N, .*"),
        ({"--agents": "iris@0"}, "iris needs at least one update, got 'iris@0'"),
        ({"--agents": "random,random"}, "enters once, got 'random' twice in 'random,random'"),
        ({"--agents": "dqn,random,dqn"}, "enters once, got 'dqn' twice"),
        ({"--steps": "3"}, "steps must be at least 4, got 3"),
        ({"--seeds": "0"}, r"seeds must be in \[1, 1000\], got 0"),
        ({"--jobs": "0"}, "n_jobs must be at most -1 or at least 1, got 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_line_before_any_work(
    changes: dict[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "arena.json"
    assert main(command(out, changes)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and not out.exists()
    assert re.search(message, error)


def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert main(command(tmp_path / "file" / "arena.json", {})) == 2
    assert main(command(tmp_path, {})) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_an_entrant_may_refuse_before_any_work(tmp_path: Path) -> None:
    out = tmp_path / "arena.json"
    both = {"random": RandomEntrant(), "walker": Walker()}
    message = f"walker cannot enter {CATCH}: it takes no 13 steps"
    with pytest.raises(ValueError, match=message):
        race(both, CATCH, steps=13, seeds=1, out=out, progress=False)
    with pytest.raises(ValueError, match="entrants must be a Mapping of length 1 or more"):
        race({}, CATCH, steps=8, seeds=1, out=out, progress=False)
    assert not out.exists()


@pytest.mark.parametrize(
    ("missing", "changes", "message"),
    [
        ("minatar.gym", {"--env": "MinAtar/Breakout-v1"}, "cannot make 'MinAtar/Breakout-v1'"),
        ("stable_baselines3", {"--agents": "random,dqn"}, "dqn needs stable-baselines3"),
        ("stable_baselines3", {"--agents": "ppo@5"}, "ppo@5 needs stable-baselines3"),
    ],
)
def test_what_is_not_installed_is_named_with_how_to_install_it(
    missing: str, changes: dict[str, str], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "wmlib.rivals", raising=False)
    assert main(command(tmp_path / "arena.json", changes)) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert "pip install --no-deps -r requirements-arena.txt" in error


def test_the_extra_is_pinned_as_the_package_asks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = (ROOT / "requirements-arena.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in pins if not line.startswith("#"))
    for asked in project["optional-dependencies"]["arena"]:
        name, least = asked.split(">=")
        assert Version(pinned[name]) >= Version(least)


def test_the_agents_are_found_without_the_extra() -> None:
    assert isinstance(entrants("random")["random"], RandomEntrant)
    code = "import sys, wmlib.cli, wmlib.entrants; print('wmlib.rivals' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


FEWER = {"MinAtar/Breakout-v1": {"dreamerv3@12500": 1, "muzero@12500": 1}}
"""seeds so far, of those that have not run with all of a world's; their pages say so"""


def test_committed_rows_are_complete() -> None:
    """Each agent of a world with the same real steps has the same seeds, but for `FEWER`."""
    rows = load_rows(ROOT / "benchmarks" / "results" / "arena.json")
    races: dict[tuple[str, int], dict[str, set[int]]] = {}
    for row in rows:
        agents = races.setdefault((row["world"], row["real_steps"]), {})
        agents.setdefault(row["agent"], set()).add(row["seed"])
        due = tuple(one["real_steps"] for one in row["evaluations"])
        assert due == examinations(row["real_steps"])
        assert all(len(one["returns"]) >= 30 for one in row["evaluations"])
    assert races
    for (world, _), agents in races.items():
        seeds, fewer = len(agents["random"]), FEWER.get(world, {})
        assert fewer.keys() <= agents.keys()
        for agent, found in agents.items():
            assert found == set(range(fewer.get(agent, seeds)))


SMALL_MUZERO = replace(
    ONE_PLAYER, networks=NetworkConfig(4, 8, 1, 500.0, 2.0, 4), simulations=2, games=3, ratio=0.1,
    batch=8,
)  # fmt: skip


def test_muzeros_games_end_where_it_is_examined(
    counted: str, watched: list[int], tmp_path: Path
) -> None:
    entrant = MuZeroEntrant(SMALL_MUZERO)
    rows = [
        race({"muzero": entrant}, counted, steps=83, seeds=1, out=tmp_path / f"{n}.json",
             progress=False)
        for n in range(2)
    ]  # fmt: skip
    assert watched == [20, 41, 83, 103, 124, 166]  # 83 steps of each race
    (row,), (again,) = rows
    assert told(row) == told(again) and row["updates"] == 8
    agent = MuZero(Spaces((16, 16, 1), 3, 1), SMALL_MUZERO)
    assert row["parameters"] == sum(p.numel() for p in agent.networks.parameters())
    assert row["made"]["settings"]["config"]["simulations"] == 2


def test_muzero_trains_in_its_own_worlds_and_is_examined_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeds, weights = list[int | None](), list[torch.Tensor]()
    reset = PixelCatch.reset

    def noted(self: PixelCatch, *, seed: int | None = None, **options: Any) -> Any:
        seeds.append(seed)
        return reset(self, seed=seed, **options)

    monkeypatch.setattr(PixelCatch, "reset", noted)
    MuZeroEntrant(SMALL_MUZERO).run(
        CATCH, 83, 2, lambda _, policy: weights.append(next(policy.agent.average.parameters()) + 0)
    )
    assert len(seeds) == len(set(seeds)) > 9
    assert set(seeds) <= set(range(2 * arena.SEEDS, 2 * arena.SEEDS + arena.EXAMINED))
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(weights))


SMALL_V3 = DreamerV3Config(
    world_model=WorldModelConfig(RSSMConfig(16, 2, 2, 4, 8), units=8, embedding=8, bins=9),
    behaviour=BehaviourConfig(horizon=2, units=8), first=20, batch=2, length=4,
)  # fmt: skip


@pytest.mark.parametrize(("updates", "expected"), [(None, 83), (7, 7), (200, 200)])
def test_an_agent_that_learns_makes_as_many_updates_as_it_is_told(
    updates: int | None, expected: int, tmp_path: Path
) -> None:
    entered = replace(
        entrants("dreamerv3")["dreamerv3"], usual=partial(everywhere, SMALL_V3), updates=updates
    )
    (row,) = race(
        {"dreamerv3": entered}, CATCH, steps=83, seeds=1, out=tmp_path / "arena.json",
        progress=False,
    )  # fmt: skip
    assert row["updates"] == expected
    assert row["made"]["settings"]["config"]["ratio"] == pytest.approx(expected / 83)


def test_a_number_of_updates_goes_with_the_name() -> None:
    for name in ("dreamer", "dreamerv3", "iris", "diamond", "muzero"):
        plain, counted = (
            cast(Any, entrants(each)[each]) for each in (name, f"{name}@12500")
        )  # fmt: skip
        assert counted == replace(plain, updates=12_500) and plain.updates is None


@pytest.mark.parametrize("name", ["iris", "diamond"])
@pytest.mark.parametrize("game", ["Breakout", "SpaceInvaders"])
def test_agents_of_frames_enter_minatar_with_settings_of_their_own(
    name: str, game: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("minatar")
    monkeypatch.setattr(arena, "EPISODES", 2)
    world, entrant = f"MinAtar/{game}-v1", entrants(f"{name}@4")[f"{name}@4"]
    assert isinstance(entrant, LearnerEntrant)
    entrant.check(gym.make(world), 100_000)
    short = replace(entrant.usual(world), first=40)
    entered = replace(entrant, usual=partial(everywhere, short))
    out = tmp_path / "arena.json"
    (row,) = race({name: entered}, world, steps=80, seeds=1, out=out, progress=False)
    assert row["updates"] == 4
    config = row["made"]["settings"]["config"]
    assert (config["first"], config["ratio"]) == (40, 0.05)
    frame = gym.make(world).observation_space.shape
    parts = {"iris": ("tokenizer", "actor_critic"), "diamond": ("behaviour",)}[name]
    assert frame[:2] == (10, 10) and all(config[part]["channels"] == [32] for part in parts)


def test_muzero_refuses_what_it_cannot_act_in_or_count() -> None:
    entrant = entrants("muzero")["muzero"]
    assert entrant == MuZeroEntrant()
    for env_id in (CATCH, "CartPole-v1"):
        entrant.check(gym.make(env_id), 100)
    with pytest.raises(ValueError, match=r"actions must be Discrete\(n\) from 0, got Box"):
        entrant.check(gym.make("Pendulum-v1"), 100)
    slow = gym.make(CATCH)
    slow.unwrapped.action_repeat = 2  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="a decision must be one real step, got 2"):
        entrant.check(slow, 100)


class TestRivals:
    """DQN and PPO of stable-baselines3; skipped where it is not installed."""

    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("stable_baselines3")

    @pytest.mark.parametrize("name", ["dqn", "dqn@320", "ppo", "ppo@320", "ppo@0"])
    def test_take_the_real_steps_that_they_may(
        self, name: str, counted: str, watched: list[int], tmp_path: Path
    ) -> None:
        out = tmp_path / "arena.json"
        (row,) = race(entrants(name), counted, steps=402, seeds=1, out=out, progress=False)
        assert watched == [100, 201, 402] and Counted.steps == 402
        # dqn: one for each step after 100. ppo: 1 + 2 + 3 rollouts, 4 passes of 4 minibatches.
        least = {"dqn": 302, "ppo": 6 * 16}.get(name) or int(name.partition("@")[2])
        assert abs(row["updates"] - least) <= (2 if name == "ppo@320" else 0)
        # 16 x 9 weights and 16 biases, 16 x 14 x 14 x 128 and 128, 128 x 3 and 3; ppo: a value
        value = 129 if name.startswith("ppo") else 0
        assert row["parameters"] == 160 + 3136 * 128 + 128 + 387 + value

    @pytest.mark.parametrize(("steps", "copies"), [(400, 5), (800, 8), (402, 1), (401, 1)])
    def test_copies_of_a_world_share_the_real_steps(
        self, steps: int, copies: int, counted: str, watched: list[int],
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    ) -> None:  # fmt: skip
        from wmlib import rivals

        atari = staticmethod(lambda _: rivals.ATARI_PPO)
        monkeypatch.setattr(rivals.PPOEntrant, "config", atari)
        out = tmp_path / "arena.json"
        (row,) = race(entrants("ppo"), counted, steps=steps, seeds=1, out=out, progress=False)
        assert row["made"]["settings"]["copies"] == copies
        assert tuple(watched) == examinations(steps) and Counted.steps == steps

    @pytest.mark.parametrize("name", ["dqn@400", "ppo@400"])
    def test_are_repeatable_and_beat_random_play(self, name: str, tmp_path: Path) -> None:
        rows = [
            race(entrants(f"random,{name}"), CATCH, steps=400, seeds=1, out=tmp_path / f"{n}.json",
                 progress=False)
            for n in range(2)
        ]  # fmt: skip
        assert [told(row) for row in rows[0]] == [told(row) for row in rows[1]]
        scores = {row["agent"]: np.mean(row["evaluations"][-1]["returns"]) for row in rows[0]}
        assert scores[name] > scores["random"] + 0.3  # of 2; 100 episodes have a sd of 0.1

    @pytest.mark.parametrize("name", ["dqn", "ppo"])
    def test_are_examined_as_stable_baselines3_would(self, name: str) -> None:
        from wmlib import rivals

        seen: list[Any] = []
        keep = rivals._trained

        def trained(model: Any, acting: Any, *arguments: Any) -> Trained:
            seen.extend((model, rivals.GreedyPolicy(acting)))
            return keep(model, acting, *arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rivals, "_trained", trained)
            entrants(name)[name].run(CATCH, 200, 0, lambda *_: None)
        model, policy = seen
        env = gym.make(CATCH)
        for seed in range(40):
            picture, _ = env.reset(seed=seed)
            for _ in range(seed % 9):
                picture = env.step(seed % 3)[0]
            action, _ = model.predict(np.moveaxis(picture, -1, 0), deterministic=True)
            assert policy.act(picture) == action

    @pytest.mark.parametrize(
        ("env_id", "message"),
        [
            ("wmlib/PixelPendulum-v0", r"actions must be Discrete\(n\) from 0, got Box"),
            ("CartPole-v1", r"observations must be frames \(H, W, C\) of uint8 or bool"),
        ],
    )
    @pytest.mark.parametrize("name", ["dqn", "ppo"])
    def test_refuse_a_world_that_they_cannot_act_in(
        self, name: str, env_id: str, message: str, tmp_path: Path,
        capsys: pytest.CaptureFixture,
    ) -> None:  # fmt: skip
        changes = {"--env": env_id, "--agents": f"random,{name}", "--steps": "400"}
        assert main(command(tmp_path / "arena.json", changes)) == 2
        error = capsys.readouterr().err
        assert re.search(f"{name} cannot enter {env_id}: {message}", error)
        assert error.count("\n") == 1

    def test_dqn_needs_more_steps_than_it_only_watches(
        self, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        assert main(command(tmp_path / "arena.json", {"--agents": "dqn", "--steps": "100"})) == 2
        assert "it learns nothing in its first 100 steps, got 100" in capsys.readouterr().err

    @pytest.mark.parametrize("name", ["dqn", "ppo"])
    def test_enter_minatar_with_its_authors_settings(
        self, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        pytest.importorskip("minatar")
        monkeypatch.setattr(arena, "EPISODES", 2)
        out = tmp_path / "arena.json"
        world = "MinAtar/SpaceInvaders-v1"
        (row,) = race(entrants(name), world, steps=5200, seeds=1, out=out, progress=False)
        # 1,300, 1,300 and 2,600 steps of 5 copies: 3 + 3 + 5 rollouts of at most 128 decisions
        assert row["updates"] == {"dqn": 200, "ppo": 11 * 16}[name]
        assert row["made"]["versions"]["minatar"] == version("minatar")
        assert row["made"]["settings"]["learning_rate"] == 0.00025
        value = 129 if name == "ppo" else 0
        assert row["parameters"] == (6 * 9 + 1) * 16 + 64 * 16 * 128 + 128 + 4 * 129 + value
