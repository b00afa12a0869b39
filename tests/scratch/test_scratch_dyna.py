"""`dyna_train`, against the article's own listing, run as it is printed."""

import inspect
from typing import Any

import numpy as np
import pytest

from wmlib.agents.dyna.tables import DynaConfig, QTable, TabularModel, Visited
from wmlib.agents.dyna.value_iteration import value_iteration
from wmlib.envs.maze import Maze
from wmlib.scratch import dyna_train, replay_train

LISTING = '''
def dyna_train(env, model, policy, buffer, episodes=200, k=5):
    """Dyna: one real step generates k imagined steps."""
    for ep in range(episodes):
        obs, done, ep_reward = env.reset(), False, 0
        while not done:
            action = policy.act(obs)
            next_obs, reward, done = env.step(action)
            buffer.add(obs, action, reward, next_obs)
            # 1. Update world model on real transition
            model.update(obs, action, reward, next_obs)
            # 2. Generate k dream transitions per real one
            for _ in range(k):
                s = buffer.random_state()
                a = policy.act(s)
                s_next, r = model.imagine(s, a)
                policy.learn(s, a, r, s_next)
            # 3. Also learn from real experience
            policy.learn(obs, action, reward, next_obs)
            obs = next_obs
            ep_reward += reward
        if ep % 20 == 0:
            print(f"Episode {ep}: reward={ep_reward:.1f}, "
                  f"model_loss={model.loss:.4f}, buffer={len(buffer)}")
'''


class OldMaze:
    """The maze with the API that the article's listing expects."""

    def __init__(self) -> None:
        self.maze = Maze()

    def reset(self):
        return self.maze.reset()[0]

    def step(self, action):
        return self.maze.step(action)[:3]


def parts() -> tuple[TabularModel, QTable, Visited]:
    return TabularModel(54, 4), QTable(54, 4, DynaConfig(), seed=1), Visited(seed=2)


def test_it_learns_and_prints_what_the_listing_does(capsys) -> None:
    """In a maze the end is a state of its own whose value stays 0, so nothing goes wrong there."""
    names: dict[str, Any] = {}
    exec(LISTING, names)
    model, theirs, buffer = parts()
    names["dyna_train"](OldMaze(), model, theirs, buffer, episodes=22, k=3)
    printed = capsys.readouterr().out
    model, ours, buffer = parts()
    returns = dyna_train(Maze(), model, ours, buffer, episodes=22, k=3)
    assert ours.values.max() > 0.5
    assert np.array_equal(ours.values, theirs.values)
    assert capsys.readouterr().out == printed
    assert printed.startswith("Episode 0: reward=1.0, model_loss=")
    assert printed.splitlines()[1].startswith("Episode 20: reward=1.0, model_loss=0.0")
    assert returns == [1.0] * 22


def test_its_signature_is_the_articles() -> None:
    mine = [
        p.name if p.default is p.empty else f"{p.name}={p.default}"
        for p in inspect.signature(dyna_train).parameters.values()
        if p.kind is not p.KEYWORD_ONLY
    ]
    assert ", ".join(mine) == "env, model, policy, buffer, episodes=200, k=5"


class Scripted:
    """Env, model, policy and buffer in one, which write down what is asked of them.

    The episode's observations are 0, 1, 2. It ends or is cut at the second step.
    """

    loss = 0.25

    def __init__(self, terminated: bool) -> None:
        self.terminated = terminated
        self.log: list[tuple] = []
        self.seeds: list[int | None] = []

    def reset(self, *, seed=None):
        self.seeds.append(seed)
        self.at = 0
        return 0, {}

    def step(self, action):
        self.at += 1
        over = self.at == 2
        self.log.append(("step", action))
        return self.at, 0.5, over and self.terminated, over and not self.terminated, {}

    def act(self, obs):
        self.log.append(("act", obs))
        return f"a{obs}"

    def add(self, *transition):
        self.log.append(("add", *transition))

    def update(self, *transition):
        self.log.append(("update", *transition))

    def random_state(self):
        self.log.append(("random_state",))
        return "s"

    def random_transition(self):
        self.log.append(("random_transition",))
        return "s", "a", "r", "n"

    def imagine(self, s, a):
        self.log.append(("imagine", s, a))
        return "n", "r"

    def learn(self, *transition):
        self.log.append(("learn", *transition))

    def __len__(self):
        return 7


IMAGINED = [("random_state",), ("act", "s"), ("imagine", "s", "as"), ("learn", "s", "as", "r", "n")]
REPLAYED = [("random_transition",), ("learn", "s", "a", "r", "n")]


@pytest.mark.parametrize(("terminated", "last"), [(True, None), (False, 2)])
def test_every_line_in_its_order_and_none_after_an_end(terminated: bool, last: int | None) -> None:
    s = Scripted(terminated)
    assert dyna_train(s, s, s, s, episodes=1, k=2, verbose=False) == [1.0]
    first, second = (0, "a0", 0.5, 1), (1, "a1", 0.5, last)
    assert s.log == [
        ("act", 0), ("step", "a0"), ("add", *first), ("update", *first), *IMAGINED, *IMAGINED,
        ("learn", *first),
        ("act", 1), ("step", "a1"), ("add", *second), ("update", *second), *IMAGINED, *IMAGINED,
        ("learn", *second),
    ]  # fmt: skip


@pytest.mark.parametrize(("terminated", "last"), [(True, None), (False, 2)])
def test_the_control_replays_where_dyna_imagines(terminated: bool, last: int | None) -> None:
    s = Scripted(terminated)
    assert replay_train(s, s, s, episodes=1, k=2) == [1.0]
    first, second = (0, "a0", 0.5, 1), (1, "a1", 0.5, last)
    assert s.log == [
        ("act", 0), ("step", "a0"), ("add", *first), *REPLAYED, *REPLAYED, ("learn", *first),
        ("act", 1), ("step", "a1"), ("add", *second), *REPLAYED, *REPLAYED, ("learn", *second),
    ]  # fmt: skip


def test_the_first_reset_is_seeded_and_training_stops_when_told(capsys) -> None:
    for train in (
        lambda s, **options: dyna_train(s, s, s, s, k=0, **options),
        lambda s, **options: replay_train(s, s, s, k=0, **options),
    ):
        s = Scripted(True)
        returns = train(s, seed=5, until=lambda returns: len(returns) == 3)
        assert returns == [1.0] * 3
        assert s.seeds == [5, None, None]
    assert capsys.readouterr().out == "Episode 0: reward=1.0, model_loss=0.2500, buffer=7\n"
    s = Scripted(True)
    dyna_train(s, s, s, s, episodes=2, k=0, verbose=False)
    assert capsys.readouterr().out == "" and s.seeds == [None, None]


def test_the_articles_call_bootstraps_from_beyond_the_end_and_ours_does_not() -> None:
    """The goal moves onto a cell with a value of its own: the listing goes on counting on it."""
    names: dict[str, Any] = {}
    exec(LISTING, names)

    def moved(old: bool) -> float:
        env = Maze("S...G")
        model, policy, buffer = (
            TabularModel(5, 4), QTable(5, 4, DynaConfig(step_size=0.5), seed=1), Visited(seed=2),
        )  # fmt: skip
        wrapped = OldMaze()
        wrapped.maze = env
        train = names["dyna_train"] if old else dyna_train
        for layout in ("S...G", "S.G.."):
            env.change(layout)
            train(wrapped if old else env, model, policy, buffer, episodes=30, k=20)
        return float(policy.values[1].max())

    truth = value_iteration(*Maze("S.G..").transitions(), 0.95)[1].max()
    assert moved(old=False) == pytest.approx(truth, abs=1e-3) == 1.0
    assert moved(old=True) > 1.5


@pytest.mark.parametrize(
    ("episodes", "k", "name"), [(0, 5, "episodes"), (3, -1, "k"), (3, 1.5, "k")]
)
def test_bad_input_is_named(episodes: int, k: float, name: str) -> None:
    s = Scripted(True)
    for train in (
        lambda: dyna_train(s, s, s, s, episodes, k),  # type: ignore[arg-type]
        lambda: replay_train(s, s, s, episodes, k),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=f"^{name} must be (a whole|at least [01])"):
            train()


@pytest.mark.parametrize("what", ["observation", "reward"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "x"])
def test_what_is_not_finite_is_named_by_its_step(what: str, value: object) -> None:
    """`Scripted` has seen 7 real steps by its own account."""

    class Broken(Scripted):
        def step(self, action):
            observation, reward, *rest = super().step(action)
            return (value, reward, *rest) if what == "observation" else (observation, value, *rest)

    for train in (
        lambda s: dyna_train(s, s, s, s, episodes=1),
        lambda s: replay_train(s, s, s, episodes=1),
    ):
        s = Broken(True)
        with pytest.raises(ValueError, match=f"^step 8: the environment's {what} must be finite"):
            train(s)
        assert not any(entry[0] in ("add", "update", "learn") for entry in s.log)
