"""The recipe for CarRacing, from nothing to a driver."""

import csv
import dataclasses
import itertools
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from wmlib import collecting
from wmlib.agents.world_models import car_racing, stages
from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.car_racing import train_car_racing
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.evolve import DreamTrainingConfig
from wmlib.agents.world_models.gradients import BehaviourConfig
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig
from wmlib.agents.world_models.recipes import OFFICIAL_ID, Recipe
from wmlib.agents.world_models.tiles import grass
from wmlib.agents.world_models.vision import VisionConfig
from wmlib.checkpoint import load_checkpoint
from wmlib.collecting import collect
from wmlib.episodes import Episode, run_episode
from wmlib.evaluation import evaluate
from wmlib.exploration import SmoothRandomPolicy
from wmlib.replay import Replay
from wmlib.runs import Log, claim
from wmlib.storage import DamagedFileError

ARTIFACT = Path(__file__).parents[3] / "artifacts" / "world-models-car-racing"
TINY = Recipe(
    episodes=3, max_steps=33, patience=33, vision_steps=3, memory_steps=3,
    vision=VisionConfig(channels=(2, 4, 4, 4), batch=4),
    behaviour=BehaviourConfig(updates=2, starts=4, horizon=3, price=8.0),
    dream=DreamTrainingConfig(
        generations=3, population=4, starts=4, horizon=3, value=True, value_starts=4,
        value_updates=1,
    ),
    cycles=2, cycle_episodes=2, cycle_patience=33, cycle_memory_steps=2,
)  # fmt: skip
STAGES = (
    (car_racing, "train_vision"), (car_racing, "train_behaviour"),
    (car_racing, "collect"), (car_racing, "fit"), (stages, "write_atomically"), (Log, "add"),
)  # fmt: skip


def killed_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int) -> None:
    """The process dies as it begins `owner.name` for the `call`-th time."""
    calls, done = 0, getattr(owner, name)

    def dies(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return done(*arguments, **options)

    monkeypatch.setattr(owner, name, dies)


def told(folder: Path) -> list[dict[str, float]]:
    """The log, but for times."""
    return [
        {k: v for k, v in row.items() if k != "seconds"} for row in Log(folder / "log.csv").rows
    ]


@pytest.mark.parametrize("optimiser", ["gradient", "evolution"])
def test_a_killed_run_goes_on_and_a_finished_one_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimiser: str
) -> None:
    recipe = replace(TINY, optimiser=optimiser)
    options = {"seed": 2, "recipe": recipe, "n_jobs": 1, "progress": False}
    undisturbed = train_car_racing(tmp_path / "whole", **options)

    folder, resume = tmp_path / "killed", False
    kills = STAGES if optimiser == "gradient" else ((car_racing, "train_in_dream"),)
    for target, name in kills:
        for call in (1, 2):
            with monkeypatch.context() as patch:
                killed_at(patch, target, name, call)
                try:
                    train_car_racing(folder, resume=resume, **options)
                except KeyboardInterrupt:
                    resume = True
    assert resume
    resumed = train_car_racing(folder, resume=True, **options)
    assert told(folder) == told(tmp_path / "whole")
    assert torch.equal(resumed.controller.parameters, undisturbed.controller.parameters)
    for ours, theirs in (
        (resumed.vision, undisturbed.vision),
        (resumed.memory, undisturbed.memory),
    ):
        pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)

    def nothing_left(*_: object, **__: object) -> None:
        raise AssertionError("a finished run is finished")

    for target, name in STAGES:
        monkeypatch.setattr(target, name, nothing_left)
    train_car_racing(folder, resume=True, **options)
    with pytest.raises(ValueError, match=r"killed holds this run already; .* --resume"):
        train_car_racing(folder, **options)
    for changed in ({"seed": 3}, {"recipe": replace(recipe, memory_steps=4)}):
        with pytest.raises(ValueError, match="killed holds another run"):
            train_car_racing(folder, resume=True, **options | changed)


def test_a_run_tells_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "run"
    train_car_racing(folder, seed=2, recipe=TINY, n_jobs=1)
    replays = [Replay.load(folder / f"cycle-{cycle:02d}" / "episodes") for cycle in range(3)]
    seeds = [[episode.seed for episode in replay] for replay in replays]
    assert seeds == [[2_000_000, 2_000_001, 2_000_002], [2_010_000, 2_010_001],
                     [2_020_000, 2_020_001]]  # fmt: skip
    frames = [sum(int(e.extras["frames"].sum()) for e in replay) for replay in replays]

    with (folder / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["cycle"]) for row in rows] == [0, 1, 2]
    assert [float(row["real_steps"]) for row in rows] == np.cumsum(frames).tolist()
    for row, replay in zip(rows[1:], replays[1:], strict=True):
        returns = [episode.total_reward for episode in replay]
        assert float(row["driven_mean"]) == pytest.approx(np.mean(returns))
        assert float(row["driven_worst"]) == pytest.approx(min(returns))
        ahead = [
            e.rewards[t : t + 3].sum() for e in replay for t in range(TINY.warm, len(e) - 2)
        ]  # fewer than 512: all of them are compared
        assert float(row["ahead_driven"]) == pytest.approx(np.mean(ahead), abs=1e-4)
        assert row["ahead_dreamed"] and row["dream_return"] and row["gradient"]

    _, manifest = load_checkpoint(folder / "controller.safetensors", "controller")
    assert manifest["made"]["real_steps"] == sum(frames)
    assert manifest["made"]["steps"] == 3 * 2
    assert manifest["made"]["seed"] == 2
    told = sum(float(row["seconds"]) for row in rows)
    assert manifest["made"]["wall_seconds"] == pytest.approx(told, abs=0.1)
    shown = capsys.readouterr().err
    assert f"cycle 2 of 2: {sum(frames):,} real frames; drove" in shown
    assert "about 0 left" in shown


def test_the_log_is_a_view_of_what_the_stages_say(tmp_path: Path) -> None:
    options = {"seed": 2, "recipe": TINY, "n_jobs": 1, "progress": False}
    folder = tmp_path / "run"
    train_car_racing(folder, **options)
    log, whole = folder / "log.csv", (folder / "log.csv").read_bytes()
    for text in (b"", whole[:40], b"cycle,real_steps\n0,many\n", None):
        log.unlink() if text is None else log.write_bytes(text)
        train_car_racing(folder, resume=True, **options)
        assert log.read_bytes() == whole
    wall = Log(log).rows[1]["seconds"]
    (folder / "controller.safetensors").unlink()
    (folder / "cycle-01" / "controller.safetensors").unlink()  # once more, from its state
    train_car_racing(folder, resume=True, **options)
    again = Log(log).rows
    assert wall < again[1].pop("seconds") < wall + 60
    log.write_bytes(whole)
    before = Log(log).rows
    del before[1]["seconds"]
    assert again == before


@pytest.mark.parametrize("lost", ["episode-000000", "episode-000001", "swapped"])
def test_a_run_whose_episodes_were_touched_is_refused(tmp_path: Path, lost: str) -> None:
    options = {"seed": 2, "recipe": replace(TINY, cycles=1), "n_jobs": 1, "progress": False}
    folder = tmp_path / "run"
    train_car_racing(folder, **options)
    (folder / "controller.safetensors").unlink()
    one, two = sorted((folder / "cycle-01" / "episodes").iterdir())
    if lost == "swapped":
        one.rename(tmp_path / "away")
        two.rename(one)
        (tmp_path / "away").rename(two)
        lost = "episode-000000.safetensors: it holds episode 1 of 2"
    else:
        (one.parent / f"{lost}.safetensors").unlink()
    with pytest.raises(DamagedFileError, match=lost):
        train_car_racing(folder, resume=True, **options)
    assert not (folder / "controller.safetensors").exists()


def test_ctrl_c_keeps_the_episodes_that_were_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"seed": 2, "recipe": replace(TINY, cycles=0), "n_jobs": 1, "progress": False}
    folder, seeds = tmp_path / "run", []
    episode = collecting.run_episode

    def counted(env: gym.Env, policy: object, seed: int, *limits: object) -> Episode:
        seeds.append(seed)
        if len(seeds) == 3:
            raise KeyboardInterrupt
        return episode(env, policy, seed, *limits)

    monkeypatch.setattr(collecting, "run_episode", counted)
    with pytest.raises(KeyboardInterrupt, match=r"2 of 3 episodes are finished\n2 are kept in"):
        train_car_racing(folder, **options)
    train_car_racing(folder, resume=True, **options)
    assert seeds == [2_000_000, 2_000_001, 2_000_002, 2_000_002]


def test_every_cycle_learns_from_all_that_was_driven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warmed, windows = [], []

    def remember(kept: list[int], owner: object, name: str, where: int) -> None:
        original = getattr(owner, name)

        def call(*arguments: object, **options: object) -> object:
            kept.append(len(arguments[where].lengths))
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    remember(warmed, car_racing, "warm_up", 1)
    remember(windows, car_racing, "batch_loss", 1)
    recipe = replace(TINY, memory_steps=10, cycle_memory_steps=10)
    train_car_racing(tmp_path / "run", seed=2, recipe=recipe, n_jobs=1, progress=False)
    # random driving alone; then each cycle's comparison, and all moments to dream from
    assert warmed == [3, 2, 3, 2, 2, 3, 4]
    first, second, third = windows[:10], windows[10:20], windows[20:]
    assert set(first) == {3} and set(second) == {3, 2} and set(third) == {3, 4}


def test_m_learns_what_is_grass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Codes] = []
    loss_of_m = car_racing.batch_loss

    def learn(memory: MDNRNN, codes: Codes, rng: np.random.Generator) -> object:
        seen.append(codes)
        return loss_of_m(memory, codes, rng)

    monkeypatch.setattr(car_racing, "batch_loss", learn)
    folder = tmp_path / "run"
    train_car_racing(folder, seed=2, recipe=TINY, n_jobs=1, progress=False)
    random = Replay.load(folder / "cycle-00" / "episodes")
    assert any(len(codes.lengths) != len(random) for codes in seen)  # its own driving
    for codes in seen:
        assert (np.isnan(codes.costs).sum() == len(codes.lengths)) and np.nansum(codes.costs) > 0
    first = np.concatenate([np.append(grass(e.observations[1:]), np.nan) for e in random])
    assert np.array_equal(seen[0].costs, first, equal_nan=True)
    assert MDNRNN.load(folder / "memory.safetensors").config.cost_weight == 1.0
    log = Log(folder / "log.csv").rows
    assert all(0 < row[name] < 1 for row in log for name in ("memory_cost", "dream_cost"))


@pytest.mark.parametrize("optimiser", ["gradient", "evolution"])
def test_the_price_rises_with_the_cycles(
    optimiser: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    for name, place in (("train_behaviour", 3), ("train_in_dream", 3)):
        real = getattr(car_racing, name)

        def train(*given: object, real=real, place=place, **options: object) -> object:
            asked.append(given[place].price)
            return real(*given, **options)

        monkeypatch.setattr(car_racing, name, train)
    few = {"episodes": 1, "cycle_episodes": 1, "vision_steps": 1, "memory_steps": 1}
    recipe = replace(TINY, optimiser=optimiser, dream=replace(TINY.dream, price=8.0), **few)
    train_car_racing(tmp_path / "run", seed=2, recipe=recipe, n_jobs=1, progress=False)
    assert asked == [0.0, 4.0, 8.0]
    asked.clear()
    alone = replace(recipe, cycles=0)
    train_car_racing(tmp_path / "alone", seed=2, recipe=alone, n_jobs=1, progress=False)
    assert asked == [8.0]


def test_a_recipe_can_do_without_grass(tmp_path: Path) -> None:
    free = replace(TINY, cycles=0, grass=0.0, behaviour=replace(TINY.behaviour, price=0.0))
    agent = train_car_racing(tmp_path / "free", seed=2, recipe=free, n_jobs=1, progress=False)
    assert agent.memory.cost is None
    with pytest.raises(ValueError, match=r"a price of 8\.0 needs an M that foresees grass"):
        replace(TINY, grass=0.0)


def test_real_rewards_reach_c_through_m_alone(tmp_path: Path) -> None:
    """C and V come out the same when M is kept from learning what the rewards were."""
    agents = []

    def normal(*_: object) -> MemoryConfig:
        return MemoryConfig(reward="normal", reward_weight=1e-30)

    for name, flip in (("as they are", 1.0), ("changed", -3.0)):
        recipe = replace(TINY, cycles=0)
        folder = tmp_path / name
        made = Replay(drive(flip))
        claim(folder, {"seed": 2, "recipe": dataclasses.asdict(recipe)})
        made.save(folder / "cycle-00" / "episodes")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(car_racing, "tile_rewards", normal)
            options = {"seed": 2, "recipe": recipe, "n_jobs": 1, "progress": False}
            agents.append(train_car_racing(folder, resume=True, **options))
    assert torch.equal(agents[0].controller.parameters, agents[1].controller.parameters)


@pytest.mark.parametrize("cycle", [0, 1])
def test_rewards_that_m_cannot_say_are_refused(tmp_path: Path, cycle: int) -> None:
    folder, recipe = tmp_path / "run", replace(TINY, cycles=cycle)
    claim(folder, {"seed": 2, "recipe": dataclasses.asdict(recipe)})
    for of, shift in enumerate([0.0] * cycle + [-1.0]):
        driven = [replace(e, rewards=e.rewards + np.float32(shift)) for e in drive(1.0)]
        driven[0].rewards[-1] = 3.0  # a tile, however they drove
        Replay(driven).save(folder / f"cycle-{of:02d}" / "episodes")
    with pytest.raises(ValueError, match=r"a reward below reward_offset -0\.3, got -1\.3"):
        train_car_racing(folder, seed=2, recipe=recipe, resume=True, n_jobs=1, progress=False)
    assert not (folder / f"cycle-{cycle:02d}" / "memory.safetensors").exists()


def drive(flip: float) -> list[Episode]:
    env = gym.make("wmlib/CarRacing-v3", action_repeat=3)
    policy = SmoothRandomPolicy(env.action_space)
    episodes = [run_episode(env, policy, seed, max_steps=33) for seed in range(2)]
    env.close()
    return [replace(episode, rewards=flip * episode.rewards) for episode in episodes]


def test_parts_can_be_left_out(tmp_path: Path) -> None:
    options = {"seed": 2, "n_jobs": 1, "progress": False}
    for name, value in (("memory_learns", "nothing"), ("memory_learns", "heads"),
                        ("cycle_driver", "random")):  # fmt: skip
        folder = tmp_path / value
        train_car_racing(folder, recipe=replace(TINY, **{name: value}), **options)
    first, last = (
        {part: MDNRNN.load(tmp_path / part / f"cycle-{c:02d}" / "memory.safetensors").state_dict()
         for part in ("nothing", "heads")} for c in (1, 2)
    )  # fmt: skip
    changed = {
        part: {name.split(".")[0] for name, tensor in before.items()
               if not torch.equal(tensor, last[part][name])}
        for part, before in first.items()
    }  # fmt: skip
    assert changed == {"nothing": set(), "heads": {"mixture", "reward", "end", "cost"}}
    random = Replay.load(tmp_path / "random" / "cycle-01" / "episodes")
    env = gym.make("wmlib/CarRacing-v3", action_repeat=3)
    first_one = random.episodes[0]
    policy = SmoothRandomPolicy(env.action_space, TINY.exploration)
    expected = run_episode(env, policy, first_one.seed, max_steps=33, patience=33)
    env.close()
    assert np.array_equal(first_one.actions, expected.actions)


@pytest.mark.parametrize(
    ("name", "value"),
    [("episodes", 0), ("max_steps", 10), ("patience", 0), ("action_repeat", 0), ("warm", -1),
     ("vision_steps", 0), ("memory_steps", 0), ("cycles", -1), ("grass", -1.0),
     ("grass", float("nan")), ("grass", float("inf")), ("cycle_noise", float("nan")),
     ("episodes", 1.5), ("cycles", "6"), ("warm", float("nan")), ("driven", float("nan")),
     ("episodes", 10_001), ("cycle_episodes", 10_001), ("cycles", 90)],
)  # fmt: skip
def test_recipes_that_cannot_run_are_refused_at_once(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value!r}"):
        Recipe(**{name: value})


def test_parts_of_another_kind_are_refused(tmp_path: Path) -> None:
    for name in ("exploration", "vision", "controller", "behaviour", "dream"):
        with pytest.raises(TypeError, match=f"{name} must be an? .*Config, got"):
            Recipe(**{name: 3})
    with pytest.raises(TypeError, match="recipe must be a Recipe or None, got"):
        train_car_racing(tmp_path / "run", seed=0, recipe="full")
    assert not (tmp_path / "run").exists()


def test_no_two_cycles_share_a_track() -> None:
    """Not in the largest run either, nor with the run of the next seed, nor with a verdict."""
    most = Recipe(episodes=10_000, cycle_episodes=10_000, cycles=89)
    tracks = [
        range(first := car_racing.TRACKS * seed + car_racing.EPISODES * cycle, first + 10_000)
        for seed in (0, 1) for cycle in range(most.cycles + 1)
    ]  # fmt: skip
    assert all(a.stop <= b.start for a, b in itertools.pairwise(tracks))
    assert tracks[most.cycles].stop <= 900_000  # `evaluate` begins there


@pytest.mark.parametrize("seed", [-1, 1.5, "2", 10**15, True])
def test_a_wrong_seed_leaves_nothing_behind(tmp_path: Path, seed: object) -> None:
    with pytest.raises(ValueError, match="seed must be "):
        train_car_racing(tmp_path / "run", seed=seed, recipe=TINY)
    with pytest.raises(ValueError, match="n_jobs must be at most -1 or at least 1, got 0"):
        train_car_racing(str(tmp_path / "run"), seed=1, recipe=TINY, n_jobs=0)
    assert not (tmp_path / "run").exists()


def test_the_shipped_driver_drives() -> None:
    """On tracks that no run has learned from; a C that saw no real reward, of the paper's size."""
    agent = Agent.load(ARTIFACT)
    assert agent.controller.parameters.numel() == 867
    driven = collect(
        agent.policy(), car_racing.ENV_ID, episodes=4, seed=950_000,
        env_kwargs={"action_repeat": 3}, n_jobs=1, progress=False,
    )  # fmt: skip
    assert np.mean([episode.total_reward for episode in driven]) > 880


@pytest.mark.slow
def test_the_shipped_driver_scores_what_it_is_said_to() -> None:
    """On the first tracks of its verdict; another processor may round otherwise."""
    agent = Agent.load(ARTIFACT)
    _, manifest = load_checkpoint(ARTIFACT / "controller.safetensors", "controller")
    score = evaluate(
        agent.policy(), OFFICIAL_ID, episodes=3, seed=manifest["scored"]["seeds"][0],
        env_kwargs={"action_repeat": 3},
    )  # fmt: skip
    assert score.returns == pytest.approx(manifest["scored"]["returns"][:3], abs=1.0)
