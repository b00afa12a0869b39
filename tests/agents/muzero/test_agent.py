"""MuZero as a whole: small worlds whose answers are known, killed runs, files, bad input."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from experience import assert_equal_weights

from wmlib.agents import load
from wmlib.agents.muzero import MuZero, MuZeroConfig, NetworkConfig, Spaces, train_muzero
from wmlib.agents.muzero.buffer import Played
from wmlib.agents.muzero.search import Root, Searched, search
from wmlib.agents.muzero.self_play import drawn, play, random_states
from wmlib.agents.muzero.train import Run
from wmlib.envs.boards import TicTacToe
from wmlib.storage import DamagedFileError

SMALL = MuZeroConfig(
    networks=NetworkConfig(state=16, units=32, layers=1), simulations=20, games=32, random_moves=4,
    ratio=0.05, batch=64, learning_rate=0.01, horizon=1, capacity=2000, average_rate=0.1,
)  # fmt: skip
STEPS, HEAPS = 5000, np.arange(1, 6)


class After(NamedTuple):
    state: np.ndarray
    rewards: np.ndarray
    over: np.ndarray


class Nim:
    """A heap of five stones; take one or two; who takes the last one wins.

    Who is to move before a multiple of three has lost; from all others, take what leads to one.
    """

    name, shape, actions, players, limit, stones = "nim", (6,), 2, 2, None, 5

    def start(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return np.full(count, self.stones)

    def observe(self, state: np.ndarray) -> np.ndarray:
        return np.eye(self.stones + 1, dtype=np.float32)[state]

    def legal(self, state: np.ndarray) -> np.ndarray:
        return state[:, None] >= np.array([1, 2])

    def step(self, state: np.ndarray, actions: np.ndarray) -> After:
        after = state - actions - 1
        assert (after >= 0).all()
        return After(after, (after == 0).astype(np.float32), after == 0)

    def optimal(self, moves: np.ndarray) -> float:
        """Share of the four heaps that can be won in which moves (5,), of heaps 1 to 5, win."""
        heaps = np.arange(1, 6)
        return float(np.mean((heaps - moves - 1)[heaps % 3 != 0] % 3 == 0))


class Walk:
    """Five cells in a row; the left end pays 2, the right end 10, and both end the walk.

    One begins beside the left end, and every other step costs 0.5: right is best.
    """

    name, shape, actions, players, limit, cells = "walk", (5,), 2, 1, None, 5

    def start(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return np.ones(count, int)

    def observe(self, state: np.ndarray) -> np.ndarray:
        return np.eye(self.cells, dtype=np.float32)[state]

    def legal(self, state: np.ndarray) -> np.ndarray:
        return np.ones((len(state), 2), bool)

    def step(self, state: np.ndarray, actions: np.ndarray) -> After:
        after = state + np.where(actions == 0, -1, 1)
        over = (after == 0) | (after == self.cells - 1)
        return After(after, np.where(after == 0, 2.0, np.where(over, 10.0, -0.5)), over)


def nim_player(players: int) -> float:
    """How well one plays Nim that learned it as a game of so many players."""
    nim = Nim()
    nim.players = players
    agent = train_muzero(nim, steps=STEPS, seed=0, config=SMALL, progress=False)
    return nim.optimal(agent.player(nim, 12).move(HEAPS))


def test_it_learns_a_game_of_two_and_not_where_the_opponents_gain_is_its_own() -> None:
    assert nim_player(players=2) == 1.0
    assert nim_player(players=1) < 1.0  # the one line: what the next player wins counts as won


def test_it_learns_a_walk_of_one_to_its_exact_values() -> None:
    networks = dataclasses.replace(
        SMALL.networks, value_support=12.0, reward_support=10.0, atoms=10
    )
    config = dataclasses.replace(
        SMALL, networks=networks, discount=0.9, temperatures=(1.0, 1.0, 0.5)
    )
    walk = Walk()
    agent = train_muzero(walk, steps=STEPS, seed=0, config=config, progress=False)
    inner = np.arange(1, 4)
    assert agent.player(walk, 12).move(inner).tolist() == [1] * 3
    exact = [10.0]
    for _ in range(2):
        exact.insert(0, -0.5 + 0.9 * exact[0])
    np.testing.assert_allclose(agent.root(walk.observe(inner)).value, exact, atol=0.7)


class Killed(Exception):
    pass


def test_a_run_killed_anywhere_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    def kill(steps: int, agent: MuZero) -> None:
        raise Killed

    options = {"steps": 1500, "seed": 3, "config": SMALL, "every": 1, "progress": False}
    whole = train_muzero(Nim(), folder=tmp_path / "whole", **options)
    for mark in (200, 900):
        folder = tmp_path / str(mark)
        with pytest.raises(Killed):
            train_muzero(Nim(), folder=folder, marks=[mark], after=kill, **options)
        assert not (folder / "agent.safetensors").exists()
        again = train_muzero(Nim(), folder=folder, resume=True, **options)
        assert_equal_weights(whole, again)
        logs = [(tmp_path / name / "log.csv").read_bytes() for name in ("whole", str(mark))]
        assert logs[0] == logs[1]
    assert logs[0].startswith(b"real_steps,earned,updates,policy,value,reward\n")


def test_a_trained_agent_is_saved_and_loaded_and_its_run_is_its_own(tmp_path: Path) -> None:
    options = {"steps": 300, "config": SMALL, "progress": False}
    agent = train_muzero(TicTacToe(), folder=tmp_path, **options)
    again = load(tmp_path)
    assert isinstance(again, MuZero)
    assert (again.config, again.spaces) == (SMALL, Spaces((2, 3, 3), 9, 2))
    assert again.environment == "tic-tac-toe"
    cells = TicTacToe().start(3)
    for simulations in (0, 5):
        one, other = (a.player(TicTacToe(), simulations).move(cells) for a in (agent, again))
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="holds this run already"):
        train_muzero(TicTacToe(), folder=tmp_path, **options)
    with pytest.raises(ValueError, match="holds another run"):
        train_muzero(TicTacToe(), folder=tmp_path, seed=1, resume=True, **options)
    with pytest.raises(ValueError, match="spaces of the world must be"):
        again.player(Nim(), 5)
    path = tmp_path / "agent.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFileError):
        load(tmp_path)


@pytest.mark.parametrize("reanalyze", [0.5, 3.0])
def test_a_round_searches_each_new_position_and_so_many_old_ones(
    reanalyze: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what the new searches say takes the places of what the old ones had said."""
    agent = MuZero(Spaces.of(Nim()), dataclasses.replace(SMALL, reanalyze=reanalyze))
    run, roots, played = Run(agent, Nim(), 10_000, None), list[int](), list[Played]()
    extend = run.buffer.extend

    def counted(root: Root, *others: Any) -> Searched:
        roots.append(len(root.prior))
        found = search(root, *others)
        return found._replace(actions=found.actions + 0.5) if played else found

    def kept(steps: Played) -> None:
        played.append(steps)
        extend(steps)

    monkeypatch.setattr("wmlib.agents.muzero.agent.search", counted)
    monkeypatch.setattr(run.buffer, "extend", kept)
    run.round()
    (new,) = played
    steps = len(new.actions)
    assert steps == len(run.buffer) > 50
    assert sum(roots) == steps + round(reanalyze * steps)
    now = run.buffer.kept
    refreshed = now.values[:steps] == 0.5
    share = 1 - np.exp(-reanalyze)  # of steps that are drawn at least once
    assert refreshed.mean() == pytest.approx(share, abs=0.1) and not new.values.any()
    changed = (now.policies[:steps] != new.policies).any(1)  # by fresh noise at the root
    assert changed[refreshed].mean() > 0.3 and not changed[~refreshed].any()
    np.testing.assert_allclose(now.policies[:steps].sum(1), 1, rtol=1e-6)
    assert (now.policies[:steps][~new.legal] == 0).all()


@pytest.mark.parametrize(
    ("done", "temperature", "rate"), [(0.0, 1.0, 1.0), (0.5, 0.5, 5 / 6), (0.75, 0.25, 5 / 12)]
)
def test_a_run_plays_colder_and_learns_slower_towards_its_end(
    done: float, temperature: float, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(SMALL, temperatures=(1.0, 0.5, 0.25), cooldown=0.6)
    agent = MuZero(Spaces.of(Nim()), config)
    run, told = Run(agent, Nim(), 4000, None), list[float]()

    def warm(
        world: Nim, think: Callable, state: np.ndarray, temperature: float, *others: Any
    ) -> Played:
        told.append(temperature)
        return play(world, think, state, temperature, *others)

    monkeypatch.setattr("wmlib.agents.muzero.train.play", warm)
    run.steps = int(done * run.most)
    agent.updates = int(config.ratio * run.steps)
    run.round()
    assert told == [temperature]
    assert run.rows[0]["updates"] > int(config.ratio * done * run.most)
    assert agent.adam.param_groups[0]["lr"] == pytest.approx(rate * config.learning_rate)


def test_games_are_played_to_their_ends_and_kept_in_order() -> None:
    nim, agent = Nim(), MuZero(Spaces.of(Nim()), SMALL)
    heaps = np.array([5, 1, 4])
    played = play(nim, agent.think, heaps, 1.0, np.random.default_rng(0))
    begin = 0
    for heap in heaps:
        length = played.ends[begin]
        game = slice(begin, begin + length)
        assert played.ends[game].tolist() == list(range(length, 0, -1))
        assert played.rewards[game].tolist() == [0.0] * (length - 1) + [1.0]
        assert (played.actions[game] + 1).sum() == heap
        left = heap - np.concatenate([[0], np.cumsum(played.actions[game] + 1)[:-1]])
        assert played.observations[game].argmax(1).tolist() == left.tolist()
        begin += length
    assert begin == len(played.actions)
    np.testing.assert_allclose(played.policies.sum(1), 1, rtol=1e-6)
    assert (played.policies[~played.legal] == 0).all()


def test_moves_are_drawn_by_visits_and_sharper_when_it_is_cold() -> None:
    visits = np.array([[30.0, 10.0, 0.0]]).repeat(4000, 0)
    for temperature, share in ((1.0, 3 / 4), (0.5, 9 / 10), (0.25, 81 / 82)):
        moves = drawn(visits, temperature, np.random.default_rng(0))
        assert set(moves) <= {0, 1}
        assert (moves == 0).mean() == pytest.approx(share, abs=0.02)


def test_games_begin_after_so_many_random_moves() -> None:
    game, rng = TicTacToe(), np.random.default_rng(0)
    moves = np.repeat(np.arange(5), 50)
    state, taken = random_states(game, moves, rng)  # nobody can win in four moves
    assert (state != 0).sum(1).tolist() == moves.tolist() and taken == moves.sum()
    late, taken = random_states(game, np.full(300, 8), rng)
    assert game.legal(late).any(1).all() and taken > 300 * 5
    assert not (late[:, game.lines] == -1).all(-1).any()
    assert len(np.unique((late != 0).sum(1))) > 1


def test_a_world_without_a_known_number_of_actions_is_refused() -> None:
    for actions in (None, 0, 2.5):
        world = SimpleNamespace(name="odd", shape=(3,), actions=actions, players=1)
        message = f"actions must be (a whole number|at least 1), got {actions}"
        with pytest.raises(ValueError, match=message):
            train_muzero(world, steps=10, config=SMALL, progress=False)
    with pytest.raises(TypeError, match=r"must be a World, such as GymWorld\('CartPole-v1'\), got"):
        train_muzero("CartPole-v1")
    for mark in (99, -4):
        with pytest.raises(ValueError, match=rf"a mark must be in \[1, 16\], got {mark}"):
            train_muzero(Nim(), steps=16, marks=(8, mark), config=SMALL, progress=False)
    with pytest.raises(ValueError, match=r"players must be in \[1, 2\], got 3"):
        Spaces.of(SimpleNamespace(shape=(3,), actions=2, players=3))


def test_a_support_too_small_for_what_is_seen_stops_the_run() -> None:
    with pytest.raises(ValueError, match="reaches to 1, and there is one of 10"):
        train_muzero(Walk(), steps=200, config=SMALL, progress=False)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"simulations": 0}, "simulations must be at least 1, got 0"),
     ({"noise": 1.0}, r"noise must be in \[0, 1\), got 1.0"),
     ({"unroll": 0}, "unroll must be at least 1, got 0")],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **wrong)
