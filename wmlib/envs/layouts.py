"""Layouts of mazes: walls, a start and goals, drawn as text.

>>> Layout.parse(DYNA).shortest_path()
14
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass

from wmlib.typed import PositiveInt, check_same, check_type, typed

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
        check_type("rows", self.rows, PositiveInt)
        check_type("columns", self.columns, PositiveInt)
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
        if both := sorted(({self.start} | self.goals) & self.walls | ({self.start} & self.goals)):
            raise ValueError(f"start, goals and walls must be apart, got two of them at {both[0]}")
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
    @typed
    def parse(cls, text: str) -> Layout:
        """Read a drawing: one S, at least one G, # for a wall, . for a free cell.

        Raises:
            ValueError: no text, rows differ in length, another character, no S or several; or as
                `Layout`.
        """
        lines = text.split()
        found: dict[str, list[Cell]] = {mark: [] for mark in "SG#."}
        for row, line in enumerate(lines):
            check_same(f"the number of cells in row {row}", len(line), len(lines[0]))
            for column, mark in enumerate(line):
                if mark not in found:
                    raise ValueError(f"a cell is S, G, # or ., got {mark!r} at {(row, column)}")
                found[mark].append((row, column))
        check_same("the number of starts S", len(found["S"]), 1)
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

    @typed
    def scaled(self, down: PositiveInt, across: PositiveInt) -> Layout:
        """The same maze at a finer resolution: each cell becomes `down` x `across` cells.

        All parts of a goal are goals. The start is the upper left part of the old one.

        Raises:
            ValueError: a factor is not an integer >= 1.
        """

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


@typed
def as_layout(layout: Layout | str) -> Layout:
    return Layout.parse(layout) if isinstance(layout, str) else layout
