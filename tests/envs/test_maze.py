"""The mazes: drawings, rules, changes; against Gymnasium's checker and scipy's shortest paths."""

import copy
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

import wmlib  # noqa: F401  registers the environments
from wmlib.envs.layouts import ACTIONS, DYNA, GAP_BOTH, GAP_LEFT, GAP_RIGHT, Layout
from wmlib.envs.maze import Maze, blocking_maze, shortcut_maze

UP, DOWN, LEFT, RIGHT = range(4)
IDS = ("wmlib/DynaMaze-v0", "wmlib/BlockingMaze-v0", "wmlib/ShortcutMaze-v0")


def scipy_distance(layout: Layout) -> float:
    """Steps from the start to the nearest goal, by scipy, from the cells alone."""
    free = {
        (r, c) for r in range(layout.rows) for c in range(layout.columns)
    } - layout.walls  # fmt: skip
    pairs = [
        (r * layout.columns + c, r2 * layout.columns + c2)
        for r, c in free
        for r2, c2 in free
        if abs(r - r2) + abs(c - c2) == 1
    ]
    n = layout.rows * layout.columns
    graph = csr_matrix((np.ones(len(pairs)), tuple(zip(*pairs, strict=True))), shape=(n, n))
    start = layout.start[0] * layout.columns + layout.start[1]
    steps = dijkstra(graph, indices=start)
    return min(steps[r * layout.columns + c] for r, c in layout.goals)


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_finds_nothing_wrong(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(name, render_mode="ansi")
        check_env(env.unwrapped)
    assert env.observation_space == gym.spaces.Discrete(54)
    assert env.action_space == gym.spaces.Discrete(4)
    assert env.spec is not None and env.spec.max_episode_steps is None


def test_the_dyna_maze_is_that_of_the_book() -> None:
    """Sutton & Barto, example 8.1: 47 states, and the walls of a published re-implementation."""
    layout = Layout.parse(DYNA)
    walls = {(1, 2), (2, 2), (3, 2), (0, 7), (1, 7), (2, 7), (4, 5)}
    assert layout == Layout(6, 9, walls, (2, 0), [(0, 8)])
    assert 6 * 9 - len(layout.walls) == 47


@pytest.mark.parametrize(
    ("drawing", "steps"), [(DYNA, 14), (GAP_RIGHT, 10), (GAP_LEFT, 16), (GAP_BOTH, 10)]
)
def test_shortest_paths(drawing: str, steps: int) -> None:
    layout = Layout.parse(drawing)
    assert layout.shortest_path() == scipy_distance(layout) == steps


def test_shortest_paths_of_random_grids_are_scipys() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(60):
        walls = [(r, c) for r in range(5) for c in range(7) if rng.random() < 0.35]
        try:
            layout = Layout(5, 7, set(walls) - {(0, 0), (4, 6)}, (0, 0), [(4, 6)])
        except ValueError as error:
            assert "no path leads from the start (0, 0) to [(4, 6)]" in str(error)
            continue
        assert layout.shortest_path() == scipy_distance(layout)
        found += 1
    assert 10 < found < 50


@pytest.mark.parametrize("drawing", [DYNA, GAP_LEFT, "S#.\n..G\nG.."])
def test_a_drawing_survives(drawing: str) -> None:
    assert str(Layout.parse(drawing)) == drawing.strip()


def test_scaling_makes_each_cell_a_block() -> None:
    layout = Layout.parse("S#G\n...")
    assert str(layout.scaled(2, 1)) == "S#G\n.#G\n...\n..."
    assert str(layout.scaled(1, 2)) == "S.##GG\n......"
    fine = Layout.parse(DYNA).scaled(2, 3)
    assert 12 * 27 - len(fine.walls) == 47 * 6
    assert len(fine.goals) == 6
    assert fine.shortest_path() == scipy_distance(fine)


def test_moves_edges_and_walls() -> None:
    env = Maze("..G\nS#.")
    assert env.reset() == (3, {})
    for action, cell in [
        (DOWN, (1, 0)), (LEFT, (1, 0)), (RIGHT, (1, 0)), (UP, (0, 0)), (UP, (0, 0)),
        (RIGHT, (0, 1)), (DOWN, (0, 1)), (LEFT, (0, 0)), (RIGHT, (0, 1)),
    ]:  # fmt: skip
        state, reward, terminated, truncated, info = env.step(action)
        assert (env.cell(state), reward, terminated, truncated, info) == (cell, 0, False, False, {})
    assert env.step(RIGHT) == (2, 1.0, True, False, {})
    assert env.reset()[0] == 3
    assert ACTIONS == ("up", "down", "left", "right")


def test_transitions_are_what_steps_do() -> None:
    env = Maze()
    after, rewards = env.transitions()
    assert after.shape == rewards.shape == (54, 4)
    rng = np.random.default_rng(0)
    seen = set()
    state, _ = env.reset()
    for _ in range(20_000):
        action = int(rng.integers(4))
        following, reward, terminated, _, _ = env.step(action)
        assert rewards[state, action] == reward
        assert after[state, action] == (-1 if terminated else following)
        seen.add((state, action))
        state = env.reset()[0] if terminated else following
    assert len(seen) == 46 * 4  # all but the goal


def walk(env: Maze, actions: list[int]) -> list[tuple[int, int]]:
    return [env.cell(env.step(action)[0]) for action in actions]


def test_the_walls_change_after_so_many_steps_of_a_whole_life() -> None:
    env = blocking_maze(change_at=7)
    env.reset()
    way = [(5, 4), (5, 5), (5, 6), (5, 7), (5, 8), (4, 8), (3, 8)]
    assert walk(env, [RIGHT] * 5 + [UP, UP]) == way  # 7 steps: still open
    assert str(env.layout) == GAP_RIGHT.strip()
    env.reset()  # does not set the clock back
    assert walk(env, [LEFT])[0] == (5, 2)
    assert str(env.layout) == GAP_LEFT.strip()
    assert walk(env, [LEFT, LEFT, UP, UP, UP]) == [(5, 1), (5, 0), (4, 0), (3, 0), (2, 0)]
    assert env.steps == 13


def test_who_stands_where_a_wall_falls_walks_out() -> None:
    env = blocking_maze(change_at=7)
    env.reset()
    assert walk(env, [RIGHT] * 5 + [UP, UP])[-1] == (3, 8)
    assert walk(env, [LEFT, DOWN, UP]) == [(3, 8), (4, 8), (4, 8)]  # out, and not in again


def test_the_published_changes() -> None:
    for make, at, before, after in (
        (blocking_maze, 1000, GAP_RIGHT, GAP_LEFT), (shortcut_maze, 3000, GAP_LEFT, GAP_BOTH),
    ):  # fmt: skip
        env = make()
        env.reset()
        walk(env, [DOWN] * at)
        assert str(env.layout) == before.strip()
        walk(env, [DOWN])
        assert str(env.layout) == after.strip()


def test_a_reader_may_move_everything() -> None:
    env = Maze("S.G\n...")
    env.reset()
    env.change("G#S\n...")
    assert walk(env, [RIGHT, DOWN]) == [(0, 0), (1, 0)]  # the agent stayed where it was
    assert env.step(UP) == (0, 1.0, True, False, {})
    assert env.reset()[0] == 2


def test_rendering() -> None:
    env = gym.make("wmlib/DynaMaze-v0", render_mode="ansi")
    env.reset()
    assert env.render() == DYNA.strip().replace("S", "A")
    env.step(UP)
    assert env.render().splitlines()[1] == "A.#....#."
    assert env.render().splitlines()[2] == "S.#....#."
    assert Maze().render() is None


def test_a_copy_goes_on_where_the_original_stands() -> None:
    env = Maze("S..G", "S.G.", 2)
    env.reset()
    env.step(RIGHT)
    for twin in (pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):
        assert (twin.steps, twin.step(RIGHT)[:3]) == (1, (2, 0.0, False))
        assert str(twin.layout) == "S..G"
        twin.reset()
        twin.step(RIGHT)
        assert str(twin.layout) == "S.G."  # its walls have changed after two steps
    assert env.steps == 1


def test_the_names_are_registered_without_importing_mazes() -> None:
    code = "import sys, wmlib; sys.exit('wmlib.envs.maze' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("drawing", "words"),
    [
        ("S#G\n.#.", r"no path leads from the start \(0, 0\) to \[\(0, 2\)\]"),
        ("S.G\n..", "the number of cells in row 1 must be 3, got 2"),
        ("S.G\n.x.", r"a cell is S, G, # or ., got 'x' at \(1, 1\)"),
        ("..G", "the number of starts S must be 1, got 0"),
        ("SSG", "the number of starts S must be 1, got 2"),
        ("S..", "goals must hold at least one cell"),
        ("", "the number of starts S must be 1, got 0"),
    ],
)
def test_wrong_drawings_are_refused(drawing: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Layout.parse(drawing)
    with pytest.raises(ValueError, match=words):
        Maze(drawing)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((0, 3, [], (0, 0), [(0, 2)]), "rows must be at least 1, got 0"),
        ((2.5, 3, [], (0, 0), [(0, 2)]), "rows must be a whole number, got 2.5"),
        ((2, "3", [], (0, 0), [(0, 2)]), "columns must be a whole number, got '3'"),
        ((2, 3, 5, (0, 0), [(0, 2)]), r"walls must hold cells \(row, column\), got 5"),
        ((2, 3, [], (0, 0), None), r"goals must hold cells \(row, column\), got None"),
        ((1, 3, [(0, 5)], (0, 0), [(0, 2)]), r"walls: \(0, 5\) is outside of 1 rows, 3 columns"),
        ((1, 3, [], (0, -1), [(0, 2)]), r"start: \(0, -1\) is outside"),
        ((1, 3, [], (0, 0), [7]), r"goals: a cell is \(row, column\), got 7"),
        ((1, 3, [], (0, 0.5), [(0, 2)]), r"start: a cell is \(row, column\)"),
        (
            (1, 3, [(0, 0)], (0, 0), [(0, 2)]),
            r"start, goals and walls must be apart, got two of them at",
        ),
        (
            (1, 3, [(0, 2)], (0, 0), [(0, 2)]),
            r"start, goals and walls must be apart, got two of them at \(0, 2\)",
        ),
        ((1, 3, [], (0, 0), [(0, 0)]), "start, goals and walls must be apart, got two of them at"),
    ],
)
def test_wrong_grids_are_refused(given: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Layout(*given)


def test_wrong_calls_are_refused() -> None:
    env = Maze()
    env.reset()
    for call, words in [
        (lambda: env.step(4), "action must be 0, 1, 2 or 3, got 4"),
        (lambda: env.step(None), "action must be"),
        (lambda: env.step(1.0), "action must be 0, 1, 2 or 3, got 1.0"),
        (lambda: env.step(np.array([0, 1])), "action must be 0, 1, 2 or 3, got array"),
        (lambda: env.step(-1), "action must be 0, 1, 2 or 3, got -1"),
        (lambda: Maze(5), "layout must be a Layout or a word, got 5"),
        (
            lambda: Maze(GAP_LEFT, GAP_BOTH, 1.5),
            r"change_at must be a whole number or None, got 1\.5",
        ),
        (lambda: Layout.parse(None), "text must be a word, got None"),
        (lambda: Layout.parse(DYNA).scaled(2, 1.5), r"across must be a whole number, got 1\.5"),
        (lambda: env.change("S.G"), r"columns of the new layout must be \(6, 9\), got \(1, 3\)"),
        (lambda: Maze(DYNA, "S.G", 5), r"columns of the new layout must be \(6, 9\), got"),
        (lambda: Maze(GAP_LEFT, GAP_BOTH), "later needs change_at >= 0 and vice versa"),
        (lambda: Maze(GAP_LEFT, change_at=3), "later needs change_at"),
        (lambda: Maze(GAP_LEFT, GAP_BOTH, -1), "change_at must be at least 0, got -1"),
        (lambda: Maze(render_mode="human"), "render_mode must be 'ansi' or None, got 'human'"),
        (lambda: Layout.parse(DYNA).scaled(0, 1), "down must be at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
