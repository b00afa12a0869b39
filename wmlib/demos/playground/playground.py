"""World Model Playground: an agent in a maze, beside what it believes of the maze.

The article's first demo. The agent wanders and learns a tabular model; it dreams in that model,
plans in it by value iteration, and learns with it by Dyna-Q (Sutton 1991). The reader redraws the
real world, so that the belief goes stale, and sees whether the agent notices.

The browser does all of this by itself, number for number as `wmlib.agents.dyna.tabular` does: the
agent of the page learns as `DynaQ(Maze(demo.world), demo.config, seed=demo.seed)` would.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray
from pydantic import Field

from wmlib.agents.dyna.tables import DynaConfig
from wmlib.demos.page.settings import settings, whole
from wmlib.demos.page.still import still
from wmlib.envs.layouts import ACTIONS, DYNA, Layout, as_layout
from wmlib.typed import NonNegativeFloat, check_same, check_type, typed

MOST_ROWS, MOST_COLUMNS = 12, 16
PageSeed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Updates = Annotated[int, Field(ge=0, le=50)]  # up to the end of the slider
KAPPA = 1e-3  # ours: finds the short cut of example 8.3 in some thousands of steps


class Playground(anywidget.AnyWidget):
    """A maze to explore, dream of, plan in and learn in, and to redraw.

    What the reader did can be read from Python, as of the last pause: the maze, the belief, the
    values, the plan and the learning curves. `maze`, `updates`, `bonus` and `seed` may be set, too.

    Args:
        layout: of the real world at first, a `Layout` or a drawing that `Layout.parse` reads; at
            most 12 rows and 16 columns.
        seed: of the agent, in [0, 2**32).
        updates: k, imagined updates for each real step, in 0..50.
        bonus: kappa >= 0 of Dyna-Q+; 0 is Dyna-Q, and the page's switch then stands for 0.001.
        step_size: alpha in (0, 1].
        discount: gamma in [0, 1), for each step.
        exploration: epsilon in [0, 1], the share of random actions while it learns.

    Raises:
        ValueError: no path leads from the start to a goal, the drawing is none, the maze is too
            large, or a number is out of range.
        TypeError: the layout is something else.
    """

    _esm = Path(__file__).with_name("bundle.js")
    _css = Path(__file__).with_name("bundle.css")

    still = traitlets.Unicode().tag(sync=True)
    maze = traitlets.Unicode().tag(sync=True)
    """The real world as a drawing. A reader, or you, may leave no path in it."""
    seed = traitlets.Int(0).tag(sync=True)
    updates = traitlets.Int(5).tag(sync=True)
    bonus = traitlets.Float(0.0).tag(sync=True)
    step_size = traitlets.Float(0.1).tag(sync=True)
    discount = traitlets.Float(0.95).tag(sync=True)
    exploration = traitlets.Float(0.1).tag(sync=True)
    kappa = traitlets.Float(KAPPA).tag(sync=True)
    belief = traitlets.Dict().tag(sync=True)
    """The model: `tried` (how often), `last_tried`, `next_states`, `rewards`, each (S, A) lists."""
    values = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    """The action values that the agent has learned by Dyna-Q, (S, A) lists."""
    plan = traitlets.List(traitlets.Int()).tag(sync=True)
    """The states of the latest plan, as `greedy_path` gives them; none: empty."""
    curves = traitlets.List(traitlets.Dict()).tag(sync=True)
    """Of each agent, the present one last: `label`, `updates`, `bonus`, `seed` and `lengths`."""

    @typed
    def __init__(
        self,
        layout: Layout | str = DYNA,
        *,
        seed: PageSeed = 0,
        updates: Updates = 5,
        bonus: float = 0.0,
        step_size: float = 0.1,
        discount: float = 0.95,
        exploration: float = 0.1,
    ) -> None:
        world = as_layout(layout)
        check_type("the number of rows", world.rows, whole(1, MOST_ROWS))
        check_type("the number of columns", world.columns, whole(1, MOST_COLUMNS))
        DynaConfig(step_size, discount, exploration, updates, bonus)  # checks the others
        nothing = np.zeros((world.rows * world.columns, len(ACTIONS)), np.int64)  # (S, A)
        super().__init__(
            maze=str(world),
            still=still(
                _drawn(world),
                "World Model Playground: an agent learns its way from S to G in this maze, beside "
                "what it believes of the maze.",
            ),
            seed=int(seed),
            updates=int(updates),
            bonus=float(bonus),
            step_size=float(step_size),
            discount=float(discount),
            exploration=float(exploration),
            belief={
                "tried": nothing.tolist(),
                "last_tried": nothing.tolist(),
                "next_states": (nothing - 1).tolist(),
                "rewards": nothing.tolist(),
            },
            values=nothing.tolist(),
        )

    @property
    def world(self) -> Layout:
        """The real world.

        Raises:
            ValueError: as the reader drew it, no path leads from the start to a goal.
        """
        return Layout.parse(self.maze)

    @property
    def config(self) -> DynaConfig:
        """The hyper-parameters, as the reader set them."""
        return DynaConfig(self.step_size, self.discount, self.exploration, self.updates, self.bonus)

    @property
    def tried(self) -> NDArray[np.int64]:
        """How often each pair was tried, (S, A)."""
        return np.array(self.belief["tried"], dtype=np.int64)

    @property
    def next_states(self) -> NDArray[np.int64]:
        """Where each pair leads by the model, (S, A); -1: to the end of the episode, or untried."""
        return np.array(self.belief["next_states"], dtype=np.int64)

    @property
    def rewards(self) -> NDArray[np.float64]:
        """What each pair pays by the model, (S, A); 0 if it was never tried."""
        return np.array(self.belief["rewards"], dtype=np.float64)

    @property
    def action_values(self) -> NDArray[np.float64]:
        """`values` as an array, (S, A)."""
        return np.array(self.values, dtype=np.float64)

    @property
    def episodes(self) -> list[int]:
        """The steps of each episode of learning of the present agent."""
        return list(self.curves[-1]["lengths"]) if self.curves else []

    @traitlets.validate("maze")
    def _check_maze(self, proposal: Any) -> str:
        drawing: str = proposal["value"]
        try:
            drawn, own = (  # all but the path is checked
                Layout.parse(text.replace("#", ".")) for text in (drawing, self.maze or drawing)
            )
            sizes = (drawn.rows, drawn.columns), (own.rows, own.columns)
            check_same("the maze's rows and columns", *sizes)
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None
        return "\n".join(drawing.split())

    def _check(self, name: str, value: Any) -> None:
        kinds = {"seed": PageSeed, "updates": Updates, "bonus": NonNegativeFloat}
        check_type(name, value, kinds[name])

    _settings = settings("seed", "updates", "bonus")


def _drawn(world: Layout) -> str:
    """The maze as a picture (SVG)."""
    side = 30
    shapes = []
    for row, column in np.ndindex(world.rows, world.columns):
        fill = "#444c56" if (row, column) in world.walls else "#f1f4f8"
        shapes.append(
            f'<rect x="{column * side}" y="{row * side}" width="{side}" height="{side}" '
            f'fill="{fill}" stroke="#c3cad3"/>'
        )
    for letter, cells in (("S", {world.start}), ("G", world.goals)):
        shapes += [
            f'<text x="{(column + 0.5) * side}" y="{(row + 0.7) * side}" text-anchor="middle" '
            f'font-size="{0.6 * side:.0f}" fill="#1d2329">{letter}</text>'
            for row, column in sorted(cells)
        ]
    size = f'width="{world.columns * side}" height="{world.rows * side}"'
    box = f'viewBox="0 0 {world.columns * side} {world.rows * side}"'
    return f'<svg {size} {box} role="img" aria-label="The maze">{"".join(shapes)}</svg>'
