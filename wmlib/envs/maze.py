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
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from wmlib.envs.layouts import (
    ACTIONS,
    DYNA,
    GAP_BOTH,
    GAP_LEFT,
    GAP_RIGHT,
    Cell,
    Layout,
    as_layout,
)
from wmlib.typed import NonNegativeInt, check_same, typed


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

    @typed
    def __init__(
        self,
        layout: Layout | str = DYNA,
        later: Layout | str | None = None,
        change_at: NonNegativeInt | None = None,
        render_mode: Literal["ansi"] | None = None,
    ) -> None:
        if (later is None) != (change_at is None):
            raise ValueError(f"later needs change_at >= 0 and vice versa, got {change_at=}")
        self.render_mode = render_mode
        self.layout = as_layout(layout)
        self._later = None if later is None else self._fitting(as_layout(later))
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
        self.layout = self._fitting(as_layout(layout))
        self._after = [
            [self.state(self.layout.after(self.cell(state), a)) for a in range(len(ACTIONS))]
            for state in range(self.layout.rows * self.layout.columns)
        ]  # (S, A)
        self._goals = {self.state(goal) for goal in self.layout.goals}

    def transitions(self) -> tuple[np.ndarray, np.ndarray]:
        """The whole truth, as `wmlib.agents.dyna.value_iteration.value_iteration` takes it.

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
        if not 0 <= action < len(ACTIONS):
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
        check_same("rows and columns of the new layout", size, own)
        return layout


def blocking_maze(change_at: int = 1000, render_mode: Literal["ansi"] | None = None) -> Maze:
    """Example 8.2: the way of 10 steps is walled up, and one of 16 steps opens."""
    return Maze(GAP_RIGHT, GAP_LEFT, change_at, render_mode)


def shortcut_maze(change_at: int = 3000, render_mode: Literal["ansi"] | None = None) -> Maze:
    """Example 8.3: beside the way of 16 steps one of 10 steps opens."""
    return Maze(GAP_LEFT, GAP_BOTH, change_at, render_mode)
