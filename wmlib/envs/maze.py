"""The mazes of Sutton & Barto (2018), chapter 8, in which Dyna learns to plan.

A grid, four moves, a reward of 1 at the goal and 0 anywhere else. The walls are drawn below as
text, may be anything that leaves a path, and may change while an agent lives among them.

>>> import gymnasium, wmlib
>>> env = gymnasium.make("wmlib/DynaMaze-v0")
>>> state, info = env.reset(seed=0)
>>> env.unwrapped.layout.shortest_path()
14

A maze of your own is `Maze(Layout.parse(text))`, or
`Maze(Layout(rows, columns, walls, start, goals))`.

Letters: S states (cells, walls among them), A actions.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

Cell = tuple[int, int]
"""(row, column), counted from the top left."""

ACTIONS = ("up", "down", "left", "right")
"""The actions 0 to 3."""
_MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))

# S start, G goal, # wall, . free.
DYNA = """
.......#G
..#....#.
S.#....#.
..#......
.....#...
.........
"""
"""Example 8.1, figure 8.2: 47 free cells, 14 steps from S to G."""

GAP_RIGHT = """
........G
.........
.........
########.
.........
...S.....
"""
"""Example 8.2, figure 8.4, for 1,000 steps: 10 steps from S to G."""

GAP_LEFT = """
........G
.........
.........
.########
.........
...S.....
"""
"""Example 8.2 from then on, and example 8.3, figure 8.5, for 3,000 steps: 16 steps."""

GAP_BOTH = """
........G
.........
.........
.#######.
.........
...S.....
"""
"""Example 8.3 from then on: the way of 16 steps is as it was, and one of 10 steps has opened."""


@dataclass(frozen=True)
class Layout:
    """Where the walls, the start and the goals are.

    Raises:
        ValueError: a cell is outside the grid or two things at once, there is no goal, or no
            path leads from the start to a goal.
    """

    rows: int
    columns: int
    walls: frozenset[Cell]
    """cells that cannot be entered; any iterable of (row, column)"""
    start: Cell
    goals: frozenset[Cell]
    """cells that end the episode; any iterable of (row, column), at least one"""

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            _at_least(name, getattr(self, name), 1)
        object.__setattr__(self, "start", self._inside("start", self.start))
        for name in ("walls", "goals"):
            try:
                given = iter(getattr(self, name))
            except TypeError:
                raise ValueError(
                    f"{name} must hold cells (row, column), got {getattr(self, name)!r}"
                ) from None
            cells = frozenset(self._inside(name, cell) for cell in given)
            object.__setattr__(self, name, cells)
        if not self.goals:
            raise ValueError("goals must hold at least one cell, got none")
        if self.start in self.walls:
            raise ValueError(f"the start must be a free cell, got a wall at {self.start}")
        if walled := sorted(self.goals & self.walls):
            raise ValueError(f"a goal must be a free cell, got a wall at {walled[0]}")
        if self.start in self.goals:
            raise ValueError(f"the start must not be a goal, got both at {self.start}")
        self.shortest_path()

    def _inside(self, name: str, cell: Iterable[int]) -> Cell:
        try:
            row, column = (operator.index(number) for number in cell)
        except (TypeError, ValueError):
            raise ValueError(f"{name}: a cell is (row, column), got {cell!r}") from None
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            raise ValueError(
                f"{name}: {(row, column)} is outside of {self.rows} rows, {self.columns} columns"
            )
        return row, column

    @classmethod
    def parse(cls, text: str) -> Layout:
        """Read a drawing: one S, at least one G, # for a wall, . for a free cell.

        Raises:
            ValueError: no text, rows differ in length, another character, no S or several; or as
                `Layout`.
        """
        if not isinstance(text, str):
            raise ValueError(f"a maze is drawn as text of S, G, # and ., got {text!r}")
        lines = text.split()
        found: dict[str, list[Cell]] = {mark: [] for mark in "SG#."}
        for row, line in enumerate(lines):
            if len(line) != len(lines[0]):
                raise ValueError(
                    f"rows must be equally long, got {len(lines[0])} cells in row 0 and "
                    f"{len(line)} in row {row}"
                )
            for column, mark in enumerate(line):
                if mark not in found:
                    raise ValueError(f"a cell is S, G, # or ., got {mark!r} at {(row, column)}")
                found[mark].append((row, column))
        if len(found["S"]) != 1:
            raise ValueError(f"a maze has one start S, got {len(found['S'])}")
        return cls(
            len(lines), len(lines[0]), frozenset(found["#"]), found["S"][0], frozenset(found["G"])
        )

    def __str__(self) -> str:
        """The drawing that `parse` reads."""
        marks = {**dict.fromkeys(self.walls, "#"), **dict.fromkeys(self.goals, "G")}
        marks[self.start] = "S"
        return "\n".join(
            "".join(marks.get((row, column), ".") for column in range(self.columns))
            for row in range(self.rows)
        )

    def scaled(self, down: int, across: int) -> Layout:
        """The same maze at a finer resolution: each cell becomes `down` x `across` cells.

        All parts of a goal are goals. The start is the upper left part of the old one.

        Raises:
            ValueError: a factor is not an integer >= 1.
        """
        _at_least("down", down, 1)
        _at_least("across", across, 1)

        def parts(cells: Iterable[Cell]) -> frozenset[Cell]:
            return frozenset(
                (row * down + i, column * across + j)
                for row, column in cells
                for i in range(down)
                for j in range(across)
            )

        start = (self.start[0] * down, self.start[1] * across)
        return Layout(
            self.rows * down, self.columns * across, parts(self.walls), start, parts(self.goals)
        )

    def after(self, cell: Cell, action: int) -> Cell:
        """Where a move leads: the neighbour, or `cell` itself before a wall or the edge."""
        row, column = cell[0] + _MOVES[action][0], cell[1] + _MOVES[action][1]
        if not (0 <= row < self.rows and 0 <= column < self.columns) or (row, column) in self.walls:
            return cell
        return row, column

    def shortest_path(self) -> int:
        """Steps from the start to the nearest goal, by breadth-first search.

        Raises:
            ValueError: there is no path.
        """
        reached, edge, steps = {self.start}, [self.start], 0
        while edge:
            if self.goals.intersection(edge):
                return steps
            edge = list(
                dict.fromkeys(
                    cell
                    for old in edge
                    for action in range(len(ACTIONS))
                    if (cell := self.after(old, action)) not in reached
                )
            )
            reached.update(edge)
            steps += 1
        raise ValueError(f"no path leads from the start {self.start} to {sorted(self.goals)}")


class Maze(gym.Env[Any, Any]):
    """A maze as an environment: Discrete(rows * columns) states, Discrete(4) actions.

    A state is a cell's number, `row * columns + column`. The actions are up, down, left, right; a
    move into a wall or over the edge leaves the agent where it is. The reward is 1 for the step
    that enters a goal, which ends the episode (`terminated`), and 0 for all others. Nothing is
    random, and no episode is truncated.

    The walls can change once, when the agent has taken `change_at` steps in all its episodes
    together, as in examples 8.2 and 8.3; or whenever you call `change`. An agent that a new wall
    falls on can walk out of it.

    Args:
        layout: a `Layout`, or a drawing that `Layout.parse` reads.
        later: the layout from step `change_at` on, of the same size; None: it never changes.
        change_at: steps (>= 0) taken before the layout becomes `later`.
        render_mode: None, or "ansi" for `render` to draw the maze as text, the agent as A.

    Raises:
        ValueError: as `Layout`; sizes differ; one of `later` and `change_at` is given without the
            other, or is out of range; or another `render_mode`.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        layout: Layout | str = DYNA,
        later: Layout | str | None = None,
        change_at: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "ansi"):
            raise ValueError(f"render_mode must be None or 'ansi', got {render_mode!r}")
        if (later is None) != (change_at is None):
            raise ValueError(f"later needs change_at >= 0 and vice versa, got {change_at=}")
        if change_at is not None:
            _at_least("change_at", change_at, 0)
        self.render_mode = render_mode
        self.layout = _layout(layout)
        self._later = None if later is None else self._fitting(_layout(later))
        self._change_at = change_at
        self.steps = 0
        """taken since the maze was made; `reset` does not set it back"""
        self.observation_space = spaces.Discrete(self.layout.rows * self.layout.columns)
        self.action_space = spaces.Discrete(len(ACTIONS))
        self.change(self.layout)
        self._state = self.state(self.layout.start)

    def state(self, cell: Cell) -> int:
        """The number of a cell."""
        return cell[0] * self.layout.columns + cell[1]

    def cell(self, state: int) -> Cell:
        """The cell of a number."""
        return divmod(int(state), self.layout.columns)

    def change(self, layout: Layout | str) -> None:
        """From now on the walls, the start and the goals are those of `layout`.

        The agent stays where it is, and the next `reset` puts it on the new start.

        Raises:
            ValueError: the layout has another size, or as `Layout`.
        """
        self.layout = self._fitting(_layout(layout))
        self._after = [
            [self.state(self.layout.after(self.cell(state), a)) for a in range(len(ACTIONS))]
            for state in range(self.layout.rows * self.layout.columns)
        ]  # (S, A)
        self._goals = {self.state(goal) for goal in self.layout.goals}

    def transitions(self) -> tuple[np.ndarray, np.ndarray]:
        """The whole truth, as `wmlib.dyna.value_iteration` takes it.

        Returns:
            next states (S, A) int64, -1 where the episode ends, and rewards (S, A) float64.
        """
        after = np.array(self._after)  # (S, A)
        ends = np.isin(after, sorted(self._goals))  # (S, A)
        return np.where(ends, -1, after), ends.astype(np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Put the agent on the start. No `options` are known; nothing here is random.

        Returns:
            The start's number, and an empty info.
        """
        super().reset(seed=seed)
        self._state = self.state(self.layout.start)
        return self._state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Move.

        Returns:
            state, reward (0 or 1), terminated, False, and an empty info.

        Raises:
            ValueError: the action is not 0, 1, 2 or 3.
        """
        try:
            action = operator.index(action)
        except TypeError:
            raise ValueError(f"action must be 0, 1, 2 or 3, got {action!r}") from None
        if not 0 <= action <= 3:
            raise ValueError(f"action must be 0, 1, 2 or 3, got {action!r}")
        if self._later is not None and self.steps == self._change_at:
            self.change(self._later)
        self.steps += 1
        self._state = self._after[self._state][action]
        ended = self._state in self._goals
        return self._state, float(ended), ended, False, {}

    def render(self) -> str | None:
        """The maze as text, if the mode is "ansi"."""
        if self.render_mode is None:
            return None
        row, column = self.cell(self._state)
        lines = str(self.layout).split()
        lines[row] = f"{lines[row][:column]}A{lines[row][column + 1 :]}"
        return "\n".join(lines)

    def _fitting(self, layout: Layout) -> Layout:
        size, own = ((x.rows, x.columns) for x in (layout, self.layout))
        if size != own:
            raise ValueError(f"the new layout must have {own} rows and columns, got {size}")
        return layout


def blocking_maze(change_at: int = 1000, render_mode: str | None = None) -> Maze:
    """Example 8.2: the way of 10 steps is walled up, and one of 16 steps opens."""
    return Maze(GAP_RIGHT, GAP_LEFT, change_at, render_mode)


def shortcut_maze(change_at: int = 3000, render_mode: str | None = None) -> Maze:
    """Example 8.3: beside the way of 16 steps one of 10 steps opens."""
    return Maze(GAP_LEFT, GAP_BOTH, change_at, render_mode)


def _layout(layout: Layout | str) -> Layout:
    if not isinstance(layout, Layout | str):
        raise ValueError(f"a layout is a Layout or a drawing, got {layout!r}")
    return Layout.parse(layout) if isinstance(layout, str) else layout


def _at_least(name: str, value: int, least: int) -> None:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
