"""The playground: its algorithms held to agents.dyna in Node, and the whole in Chromium."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traitlets
from playwright.sync_api import Page

from wmlib.agents.dyna.interaction import live
from wmlib.agents.dyna.tables import DynaConfig, TabularModel
from wmlib.agents.dyna.tabular import DynaQ
from wmlib.agents.dyna.value_iteration import greedy_path, value_iteration
from wmlib.demos import Playground
from wmlib.envs.layouts import DYNA, GAP_BOTH, GAP_LEFT, Layout
from wmlib.envs.maze import Maze

AXE = Path(__file__).parents[2] / "book" / "_vendor" / "tests" / "axe.min.js"
Opened = Callable[..., AbstractContextManager[Any]]
Script = Callable[..., Any]
CLOSED = "S.#.G\n..#..\n..#.."
OPEN = "S.#.G\n..#..\n....."


def random_maze(seed: int, rows: int = 6, columns: int = 9) -> Layout:
    """A maze with walls on a quarter of its cells, and a path."""
    rng = np.random.default_rng(seed)
    cells = [divmod(int(i), columns) for i in rng.permutation(rows * columns)]
    walls = cells[2 : 2 + len(cells) // 4]
    try:
        return Layout(rows, columns, frozenset(walls), cells[0], frozenset([cells[1]]))
    except ValueError:
        return random_maze(seed + 1000, rows, columns)


# --- in Python


def test_what_is_no_playground_is_refused() -> None:
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (CLOSED, {}, r"no path leads from the start \(0, 0\) to \[\(0, 4\)\]"),
        ("S.\nG", {}, "the number of cells in row 1 must be 2, got 1"),
        ("S.X\n..G", {}, "a cell is S, G, # or ., got 'X'"),
        ("..G", {}, "the number of starts S must be 1, got 0"),
        ("S..", {}, "goals must hold at least one cell"),
        ("S" + "." * 15 + "G", {}, r"number of columns must be in \[1, 16\], got 17"),
        ("\n".join(["S", *"." * 11, "G"]), {}, r"number of rows must be in \[1, 12\], got 13"),
        (DYNA, {"seed": -1}, r"seed must be in \[0, 4294967295\], got -1"),
        (DYNA, {"seed": 2**32}, "seed must be"),
        (DYNA, {"seed": 0.5}, "seed must be"),
        (DYNA, {"seed": np.nan}, "seed must be a whole number, got nan"),
        (DYNA, {"updates": -1}, r"updates must be in \[0, 50\], got -1"),
        (DYNA, {"updates": 51}, "updates must be"),
        (DYNA, {"updates": 2.5}, "updates must be"),
        (DYNA, {"bonus": -0.1}, r"bonus must be a number, at least 0, got -0\.1"),
        (DYNA, {"bonus": np.nan}, "bonus must be"),
        (DYNA, {"step_size": 0}, "step_size must be"),
        (DYNA, {"discount": 1}, "discount must be"),
        (DYNA, {"exploration": 1.5}, "exploration must be"),
    ]
    for layout, options, message in wrong:
        with pytest.raises(ValueError, match=message):
            Playground(layout, **options)
    for layout in (None, 3, Maze()):
        with pytest.raises(TypeError, match="layout must be a Layout or a word"):
            Playground(layout)  # type: ignore[arg-type]


def test_what_is_set_later_is_checked_too() -> None:
    demo = Playground(OPEN)
    for name, value, message in (
        ("maze", "S.G", r"rows and columns must be \(3, 5\), got \(1, 3\)"),
        ("maze", OPEN.replace("S", "."), "starts S must be 1"),
        ("seed", -1, "seed must be"),
        ("updates", 51, "updates must be"),
        ("bonus", -1.0, "bonus must be"),
    ):
        with pytest.raises(traitlets.TraitError, match=message):
            setattr(demo, name, value)
    demo.updates, demo.bonus = 7, 0.01
    assert (demo.config.planning, demo.config.bonus) == (7, 0.01)
    demo.maze = CLOSED  # as a reader may draw it
    with pytest.raises(ValueError, match="no path leads"):
        _ = demo.world


def test_nothing_is_known_before_a_page_runs() -> None:
    demo = Playground()
    empty = TabularModel(54, 4)
    assert demo.world == Layout.parse(DYNA)
    assert (demo.next_states == empty.next_states).all()
    assert (demo.rewards == empty.rewards).all()
    assert demo.tried.shape == demo.action_values.shape == (54, 4)
    assert not demo.tried.any() and not demo.action_values.any()
    assert (demo.plan, demo.episodes) == ([], [])


# --- in Node


@pytest.fixture
def javascript(in_node: Script) -> Script:
    """`javascript(body, **input)`: what a body returns, beside all that touches no page."""
    modules = ["playground/dyna.js", "playground/grid.js", "playground/life.js"]
    return partial(in_node, modules)


def test_the_generator_is_numpys(javascript: Script) -> None:
    seeds = [0, 1, 7, 123456789, 2**32 - 1]
    body = """
        return input.seeds.map((seed) => [0, 1, 2, 3].map((child) => {
          const random = new Pcg(seed, child);
          return Array.from({ length: 50 }, () => random.uniform());
        }));
    """
    there = np.array(javascript(body, seeds=seeds))  # (seeds, children, draws)
    here = [[child.random(50) for child in np.random.default_rng(s).spawn(4)] for s in seeds]
    assert (there == here).all()


LIVES = [
    {"seed": 0, "updates": 5, "bonus": 0.0, "later": 0.0},
    {"seed": 1, "updates": 0, "bonus": 0.0, "later": 0.0},
    {"seed": 2, "updates": 20, "bonus": 1e-3, "later": 1e-3},
    {"seed": 3, "updates": 5, "bonus": 0.0, "later": 1e-2},
    {"seed": 4, "updates": 50, "bonus": 1e-3, "later": 0.0},
]


@pytest.mark.parametrize("life", LIVES)
def test_the_agent_lives_the_life_of_pythons(javascript: Script, life: dict[str, Any]) -> None:
    """Also through a change of walls, start and goal, and of the bonus."""
    seed, updates, bonus, later = life.values()
    first, second = random_maze(seed), random_maze(seed + 50)
    config = DynaConfig(planning=updates, bonus=bonus)
    maze = Maze(first)
    agent = DynaQ(maze, config, seed=seed)
    steps = live(agent, maze)
    lengths = []
    for layout, episodes in ((first, 8), (second, 5)):
        maze.change(layout)
        for _ in range(episodes):
            lengths.append(1 + next(n for n, step in enumerate(steps) if step.done))
        list(islice(steps, 3))  # the world changes amid an episode
        lengths.append(3)
        maze.change(second)
        agent.config = replace(config, bonus=later)
        # the generator is amid an episode; let it end before the next count
        lengths.append(1 + next(n for n, step in enumerate(steps) if step.done))
    body = """
        const maze = new Maze(input.first);
        const { updates, bonus } = input;
        const config = { updates, bonus, step_size: 0.1, discount: 0.95, exploration: 0.1 };
        const life = new Life(maze, config, input.seed);
        const ended = life.agent.lengths;
        life.choose("learn");
        const lengths = [];
        const episode = () => {
          let steps = 0;
          for (const before = ended.length; ended.length === before; steps++) life.advance();
          lengths.push(steps);
        };
        for (const episodes of [8, 5]) {
          for (let i = 0; i < episodes; i++) episode();
          for (let i = 0; i < 3; i++) life.advance();
          lengths.push(3);
          maze.draw(input.second);
          life.redrawn();
          life.reward(input.later);
          episode();
        }
        const { model, values } = life.agent;
        return {
          lengths, values, after: model.nextStates(), rewards: model.rewards,
          lastTried: model.lastTried, updates: life.agent.updates,
        };
    """
    there = javascript(
        body, first=str(first), second=str(second), seed=seed, updates=updates, bonus=bonus,
        later=later,
    )  # fmt: skip

    def table(name: str) -> np.ndarray:
        return np.array(there[name]).reshape(54, 4)

    assert there["lengths"] == lengths
    np.testing.assert_allclose(table("values"), agent.policy.values, rtol=0, atol=1e-9)
    assert np.abs(agent.policy.values).max() > 0.5
    assert (table("after") == agent.model.next_states).all()
    assert (table("rewards") == agent.model.rewards).all()
    assert (table("lastTried") == agent.model.last_tried).all()
    assert there["updates"] == updates * agent.model.time


def test_wandering_teaches_what_it_would_teach_in_python(javascript: Script) -> None:
    layout = random_maze(3)
    maze, model = Maze(layout), TabularModel(54, 4)
    draws = np.random.default_rng(9).spawn(3)[2]
    state, _ = maze.reset()
    for _ in range(500):
        action = int(draws.random() * 4)
        after, reward, ended, *_ = maze.step(action)
        model.update(state, action, float(reward), None if ended else after)
        state = maze.reset()[0] if ended else after
    body = """
        const agent = new Agent(new Maze(input.maze), {}, 9);
        for (let i = 0; i < 500; i++) agent.wander();
        return { after: agent.model.nextStates(), tried: agent.model.tried };
    """
    there = javascript(body, maze=str(layout))
    assert there["after"] == model.next_states.ravel().tolist()
    assert sum(there["tried"]) == 500
    assert (np.array(there["tried"]).reshape(54, 4) > 0).tolist() == model.known.tolist()


def test_the_plan_is_value_iterations(javascript: Script) -> None:
    """On the very model that was learned: little of it, all of it, or stale."""
    body = """
        return input.worlds.map(({ first, second, steps }, seed) => {
          const maze = new Maze(first);
          const life = new Life(maze, { discount: 0.95 }, seed);
          for (let i = 0; i < steps; i++) life.advance();
          maze.draw(second);
          life.redrawn();
          life.choose("plan");
          const said = life.advance();
          const { model } = life.agent;
          return { said, ...life.route, after: model.nextStates(), rewards: model.rewards };
        });
    """
    worlds = [
        {"first": str(random_maze(seed)), "second": str(random_maze(seed + other)), "steps": steps}
        for seed, (steps, other) in enumerate(
            [(0, 0), (30, 0), (300, 0), (2000, 0), (2000, 70)] * 3
        )
    ]
    plans = 0
    for there, world in zip(javascript(body, worlds=worlds), worlds, strict=True):
        after, rewards = (np.array(there[name]).reshape(54, 4) for name in ("after", "rewards"))
        values = value_iteration(after, rewards, 0.95)
        assert np.array_equal(np.array(there["values"]).reshape(54, 4), values)
        layout = Layout.parse(world["second"])
        start = layout.start[0] * layout.columns + layout.start[1]
        if values[start].max() == 0:
            assert there["path"] == [] and "no way leads" in there["said"]
            continue
        plans += 1
        assert there["path"] == greedy_path(values, after, start)
        assert there["path"][-1] == -1
        # the discounted reward says how long the best way is
        assert values[start].max() == pytest.approx(0.95 ** (len(there["path"]) - 2))
        if world["steps"] == 2000 and world["first"] == world["second"]:
            assert len(there["path"]) - 1 >= layout.shortest_path()
    assert plans >= 6


def test_dreams_are_the_models_and_wrong_where_it_is(javascript: Script) -> None:
    body = """
        const maze = new Maze(input.first);
        const agent = new Agent(maze, {}, 0);
        for (let i = 0; i < 400; i++) agent.wander();
        maze.draw(input.second);
        const dreams = Array.from({ length: 40 }, () => agent.dream(25));
        return { dreams, after: agent.model.nextStates(), tried: agent.model.tried };
    """
    first = random_maze(11)
    free = next(
        cell for cell in [(2, 4), (2, 5), (3, 4)] if str(first).split()[cell[0]][cell[1]] == "."
    )
    second = replace(first, walls=first.walls | {free})
    there = javascript(body, first=str(first), second=str(second))
    after, tried = (np.array(there[name]).reshape(54, 4) for name in ("after", "tried"))
    truth, _ = Maze(second).transitions()  # (S, A)
    (goal,) = (row * 9 + column for row, column in first.goals)
    kinds = set()
    for dream in there["dreams"]:
        cells, wrong = dream["cells"], dream["wrong"]
        assert len(cells) <= 26
        kinds.add((dream["end"], wrong >= 0))
        for step, (state, cell) in enumerate(pairwise(cells)):
            last = step == len(cells) - 2
            believed = -1 if last and dream["end"] == "goal" else cell
            actions = [a for a in range(4) if tried[state, a] and after[state, a] == believed]
            assert actions, "each step is one that was tried"
            follows = truth[state, actions[0]] == believed
            assert follows if wrong < 0 or step < wrong else step != wrong or not follows
        assert (dream["end"] == "goal") == (cells[-1] == goal and len(cells) > 1)
        if dream["end"] == "unknown":
            assert not tried[cells[-1]].any()
    assert {True, False} == {wrong for _, wrong in kinds}


def test_the_world_is_pythons(javascript: Script) -> None:
    layouts = [random_maze(seed, 5, 7) for seed in range(20)]
    body = """
        return input.mazes.map((text) => {
          const maze = new Maze(text);
          const pairs = Array.from({ length: 4 * maze.states }, (_, i) => [i >> 2, i & 3]);
          return {
            text: String(maze), shortest: maze.survey().shortest,
            after: pairs.map(([state, action]) => maze.step(state, action)[0]),
          };
        });
    """
    for there, layout in zip(
        javascript(body, mazes=[str(x) for x in layouts]), layouts, strict=True
    ):
        assert there["text"] == str(layout)
        assert there["shortest"] == layout.shortest_path()
        assert there["after"] == Maze(layout).transitions()[0].ravel().tolist()


# --- on a page


STILL = {"reduced_motion": "reduce"}  # a press of a button does all at once


def press(page: Page, *names: str) -> None:
    for name in names:
        page.get_by_role("button", name=name, exact=True).click()


def status(page: Page) -> str:
    return page.get_by_role("status").text_content() or ""


def alarm(page: Page) -> str:
    return page.get_by_role("alert").text_content() or ""


def cell(page: Page, row: int, column: int) -> Any:
    return page.get_by_role("gridcell", name=f"row {row}, column {column}:", exact=False).first


def value(page: Page, name: str) -> str:
    """Of the line of facts with that name."""
    return page.locator(".wm-fact", has_text=name).locator(".wm-value").text_content() or ""


def slide(page: Page, name: str, to: int) -> None:
    page.get_by_label(name).fill(str(to))


def focused(page: Page) -> str:
    return str(page.evaluate(
        "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
    ))  # fmt: skip


def picture(page: Page) -> list[str]:
    """Where the agent is in both grids."""
    marks = page.locator(".wm-agent, .wm-here").all()
    return [mark.get_attribute("transform") or "" for mark in marks]


def test_nothing_moves_before_the_reader_starts_it(shown: Opened) -> None:
    with shown(Playground()) as it:
        page, before = it.page, picture(it.page)
        page.wait_for_timeout(300)
        assert picture(page) == before
        assert (it.count("pictures"), it.count("steps")) == (1, 0)
        press(page, "Start")  # explores
        it.wait("demo.dataset.steps > 3")
        assert picture(page) != before
        assert page.locator(".wm-demo").get_attribute("data-running") == "true"
        press(page, "Pause")
        rest = it.count("pictures")
        page.wait_for_timeout(300)
        assert it.count("pictures") == rest
        steps = it.count("steps")
        assert status(page).startswith(f"Paused after {steps} real steps: ")
        assert sum(map(sum, it.saved("belief.tried"))) == steps
        press(page, "Learn")
        it.wait(f"demo.dataset.steps > {steps + 5}")
        page.keyboard.press("Escape")
        assert page.locator(".wm-demo").get_attribute("data-running") == "false"
        assert status(page).startswith("Paused in episode 1, after")


def test_the_page_learns_what_python_learns(shown: Opened) -> None:
    demo = Playground(GAP_LEFT, seed=5, updates=10, step_size=0.5, discount=0.9, exploration=0.2)
    agent, maze = DynaQ(Maze(demo.world), demo.config, seed=5), Maze(demo.world)
    steps = live(agent, maze)
    lengths = [1 + next(n for n, step in enumerate(steps) if step.done) for _ in range(10)]
    with shown(demo, **STILL) as it:
        press(it.page, "Learn")
        assert it.saved("curves.at(-1).lengths") == lengths
        names = ("belief", "values", "curves", "plan", "maze")
        demo.set_state({name: it.saved(name) for name in names})  # as a kernel would
    np.testing.assert_allclose(demo.action_values, agent.policy.values, rtol=0, atol=1e-9)
    assert (demo.next_states == agent.model.next_states).all()
    assert (demo.rewards == agent.model.rewards).all()
    assert (demo.tried > 0).tolist() == agent.model.known.tolist()
    assert demo.episodes == lengths
    assert demo.world == Layout.parse(GAP_LEFT)


def test_explore_dream_and_plan_in_words(shown: Opened) -> None:
    demo = Playground()
    with shown(demo, **STILL) as it:
        page = it.page
        press(page, "Dream")
        assert status(page).startswith("The model is empty")
        press(page, "Plan")
        assert status(page).startswith("In the model no way leads from the start to a goal")
        press(page, "Explore")
        assert (
            status(page)
            == f"Paused after 200 real steps: {value(page, 'Pairs tried')} pairs tried."
        )
        for _ in range(14):
            press(page, "Explore")
        press(page, "Plan")
        demo.belief, plan = it.saved("belief"), it.saved("plan")
        values = value_iteration(demo.next_states, demo.rewards, demo.discount)
        assert plan == greedy_path(values, demo.next_states, 18)
        assert (
            status(page)
            == f"The plan held: the goal after {len(plan) - 1} steps. No way is shorter."
        )
        assert len(plan) - 1 == demo.world.shortest_path()
        press(page, "Dream")
        assert status(page).startswith("4 dreams ended: ")
        assert status(page).endswith("The real world would follow them all.")
        assert page.locator(".wm-dreams [data-dream]").count() == 4


def know_all(page: Page) -> None:
    """Explore until nothing is left to try."""
    for _ in range(200):
        press(page, "Explore")
        if status(page).startswith("Every pair"):
            return
    raise AssertionError(status(page))


def test_the_belief_goes_stale_and_the_plan_fails(shown: Opened) -> None:
    with shown(Playground("S..\n.#.\n..G"), **STILL) as it:
        page = it.page
        know_all(page)
        assert value(page, "Pairs wrong by now") == "0"
        press(page, "Plan")  # down, down, right, right or right, right, down, down
        cell(page, 3, 1).click()  # a wall
        cell(page, 1, 3).click()
        assert "The model is wrong about" in status(page)
        assert "No path leads" in alarm(page)
        assert page.locator(".wm-map [data-wrong='true']").count() == int(
            value(page, "Pairs wrong by now")
        )
        cell(page, 2, 2).click()  # a way through the middle, unknown to the model
        assert alarm(page) == ""
        press(page, "Plan")
        assert "went wrong: the model expected a free way to row" in status(page)
        assert "but there is a wall. The model has taken note." in status(page)
        assert value(page, "Last surprise").startswith("step ")
        press(page, "Plan")
        assert "but there is a wall" in status(page)  # the other way
        press(page, "Plan")
        assert status(page).startswith("In the model no way leads")
        press(page, "Dream")
        page.wait_for_timeout(50)
        know_all(page)
        press(page, "Plan")
        assert status(page) == "The plan held: the goal after 4 steps. No way is shorter."


def test_start_and_goal_move(shown: Opened) -> None:
    with shown(Playground("S....\n.....\n....G"), **STILL) as it:
        page = it.page
        know_all(page)
        press(page, "Goal G")
        cell(page, 1, 5).click()
        assert status(page).startswith("The goal is at row 1, column 5. The model is wrong about")
        assert it.saved("maze") == "S...G\n.....\n....."
        press(page, "Plan")
        assert "the model expected a goal at row 3, column 5, but there is none" in status(page)
        press(page, "Start S")
        cell(page, 2, 4).click()
        assert it.saved("maze") == "....G\n...S.\n....."
        cell(page, 1, 5).click()
        assert status(page) == "The start needs a free cell: row 1, column 5 is not free."
        press(page, "Walls")
        cell(page, 1, 5).focus()
        page.keyboard.press("Enter")
        assert status(page) == "No wall can stand on the start or on a goal."
        press(page, "Goal G")
        cell(page, 2, 4).focus()
        page.keyboard.press(" ")
        assert status(page) == "The goal needs a free cell: row 2, column 4 is not free."
        assert it.saved("maze") == "....G\n...S.\n....."


def test_a_short_cut_unknown_to_the_model_is_said(shown: Opened) -> None:
    with shown(Playground("S.\n#.\nG."), **STILL) as it:
        know_all(it.page)
        cell(it.page, 2, 1).click()
        press(it.page, "Plan")
        assert status(it.page) == (
            "The plan held: the goal after 4 steps. "
            "There is a way of 2 steps, which the model does not know."
        )


def test_only_the_bonus_notices_a_short_cut(shown: Opened) -> None:
    """Example 8.3 of Sutton & Barto, the wall redrawn by the reader."""
    assert Layout.parse(GAP_BOTH).shortest_path() == 10
    with shown(Playground(GAP_LEFT, updates=5), **STILL) as it:
        page = it.page
        press(page, "Learn", "Learn", "Learn")
        cell(page, 4, 9).click()
        assert it.saved("maze") == str(Layout.parse(GAP_BOTH))
        press(page, *["Learn"] * 7)
        assert min(it.saved("curves.at(-1).lengths")) == 16  # 100 episodes, and the old way
        page.get_by_label("Bonus").check()
        assert it.saved("bonus") == 0.001
        for _ in range(40):
            press(page, "Learn")
            if min(it.saved("curves.at(-1).lengths")) <= 12:
                break
        lengths = it.saved("curves.at(-1).lengths")
        assert min(lengths[:100]) == 16 and min(lengths) <= 12
        assert it.saved("curves.at(-1).label") == "k = 5, bonus on from episode 101, seed 0"
        assert page.locator(".wm-edit").count() == 1
        assert value(page, "Last surprise").startswith("step ")


def test_curves_of_other_agents_stay_until_reset(shown: Opened) -> None:
    with shown(Playground(), **STILL) as it:
        page, k = it.page, "Imagined updates k"
        press(page, "Learn")
        first = it.saved("curves[0].lengths")
        slide(page, k, 50)
        assert status(page) == "A new agent, with k = 50. It knows nothing. The curves stay."
        assert (it.saved("updates"), it.count("steps")) == (50, 0)
        press(page, "Learn")
        assert it.saved("curves.map((curve) => curve.updates)") == [5, 50]
        assert it.saved("curves[0].lengths") == first
        press(page, "New agent", "Learn")
        assert it.saved("curves[1].lengths") == it.saved("curves[2].lengths")  # the same seed
        page.get_by_label("Seed").fill("3")
        page.keyboard.press("Enter")
        press(page, "Learn")
        labels = ["k = 5, seed 0", "k = 50, seed 0", "k = 50, seed 0", "k = 50, seed 3"]
        assert it.saved("curves.map((curve) => curve.label)") == labels
        assert it.saved("curves[2].lengths") != it.saved("curves[3].lengths")
        assert page.locator(".wm-legend li", has_text="k = 50, seed 3: 10 episodes").count() == 1
        assert page.locator(".wm-line:not(.wm-present)").count() >= 3
        cell(page, 6, 9).click()
        press(page, "Reset")
        assert it.saved("curves.length") == 1 and it.saved("curves[0].lengths") == []
        assert it.saved("maze") == str(Layout.parse(DYNA))
        assert (it.count("steps"), it.saved("updates"), it.saved("seed")) == (0, 50, 3)
        slide(page, k, 5)  # an agent that has not learned yet may still change
        assert "A new agent" not in status(page)


def test_a_seed_that_is_none_becomes_a_message(shown: Opened) -> None:
    with shown(Playground(seed=4)) as it:
        box = it.page.get_by_label("Seed")
        for wrong in ("-1", "4294967296", "0.5", ""):
            box.fill(wrong)
            box.press("Enter")
            assert status(it.page) == "A seed is a whole number from 0 to 4,294,967,295."
            assert (box.input_value(), it.saved("seed")) == ("4", 4)


def test_without_a_path_nothing_breaks(shown: Opened) -> None:
    with shown(Playground(OPEN), **STILL) as it:
        page = it.page
        assert alarm(page) == ""
        cell(page, 3, 3).click()
        assert alarm(page).startswith("No path leads from the start S to a goal G")
        press(page, "Learn")
        assert status(page).endswith("20,000 steps were not enough for 10 episodes.")
        press(page, "Explore", "Dream", "Plan")
        assert status(page).startswith("In the model no way leads")
        cell(page, 3, 3).click()
        assert alarm(page) == ""
        press(page, "Reset", "Learn")
        assert it.count("episodes") == 10


def test_single_steps(shown: Opened) -> None:
    with shown(Playground(updates=3)) as it:
        page = it.page
        press(page, "Learn", "Pause", "New agent")
        for step in range(1, 4):
            press(page, "One step")
            assert it.count("steps") == step
            assert status(page).startswith(f"Real step {step}: ")
            assert status(page).endswith(" Then 3 imagined updates, dotted.")
        assert 1 <= page.locator(".wm-dots circle").count() <= 3
        slide(page, "Speed", 9)  # at once
        for _ in range(3):
            press(page, "Learn")
        press(page, "Plan")
        slide(page, "Speed", 9)
        assert status(page).startswith("Paused after")
        press(page, "Start")
        assert status(page).startswith("The plan held")
        steps = it.count("steps")
        press(page, "One step")  # plans anew
        assert status(page).startswith("The plan, by the model alone: ")
        assert it.count("steps") == steps
        press(page, "One step")
        assert (it.count("steps"), it.saved("plan.length") > 10) == (steps + 1, True)
        press(page, "Dream", "One step")
        assert status(page).startswith(("Step ", "4 dreams ended"))


def test_a_keyboard_alone_does_everything(shown: Opened) -> None:
    with shown(Playground("S.G\n...\n..."), **STILL) as it:
        page = it.page
        page.get_by_role("link", name="above").focus()
        order = []
        while focused(page) != "below":
            page.keyboard.press("Tab")
            kind = page.evaluate("document.activeElement.type")
            order.append(kind if kind in ("range", "checkbox", "number") else focused(page))
            if order[-1] == "Explore":
                page.keyboard.press("Enter")
                assert it.count("steps") > 0
            if order[-1].endswith("column 1: start"):
                at = page.evaluate("scrollY")
                for key in ("ArrowLeft", "ArrowUp"):  # the edge
                    page.keyboard.press(key)
                for key in ("ArrowDown", "ArrowRight", "Enter", "ArrowDown", " "):
                    page.keyboard.press(key)
                assert focused(page) == "row 3, column 2: wall"
                page.keyboard.press("Enter")
                assert focused(page) == "row 3, column 2: free"
                assert it.saved("maze") == "S.G\n.#.\n..."
                assert page.evaluate("scrollY") == at
            if order[-1] == "range" and order.count("range") == 1:
                page.keyboard.press("ArrowRight")
                assert it.saved("updates") == 6
            if order[-1] == "checkbox":
                page.keyboard.press(" ")
                assert it.saved("bonus") == 0.001
            if order[-1] == "number":
                page.keyboard.type("7")
                page.keyboard.press("Enter")
                assert it.saved("seed") in (7, 70)
            if order[-1] == "The belief as text":
                page.keyboard.press("Enter")
        assert order == [
            "Explore", "Dream", "Plan", "Learn", "Start", "One step", "New agent", "Reset",
            "row 1, column 1: start", "Walls", "Start S", "Goal G", "range", "range", "checkbox",
            "number", "The belief as text", "The belief as text", "below",
        ]  # fmt: skip


@pytest.mark.parametrize("where", ["Pause", "row 1, column 1: free"])
def test_page_keys_scroll(shown: Opened, where: str) -> None:
    """Wherever the focus is; in the grid only the arrow keys are the grid's."""
    with shown(Playground()) as it:
        press(it.page, "Start")
        target = it.page.get_by_label(where) if "row" in where else it.page.get_by_text(where)
        target.evaluate("(element) => element.focus({ preventScroll: true })")
        it.page.keyboard.press("ArrowRight")
        assert it.page.evaluate("scrollX + scrollY") == 0
        for _ in range(20):  # a page that has only just been drawn may miss a key
            it.page.keyboard.press("PageDown")
            it.page.wait_for_timeout(300)
            if it.page.evaluate("scrollY") > 0:
                return
        raise AssertionError("the page did not scroll")


def test_a_mouse_draws_and_drags(shown: Opened) -> None:
    with shown(Playground("S....\n.....\n....G")) as it:
        page = it.page

        def drag(*ways: tuple[int, int]) -> None:
            for i, (row, column) in enumerate(ways):
                box = cell(page, row, column).bounding_box()
                page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
                if i == 0:
                    page.mouse.down()
            page.mouse.up()

        drag((2, 2), (2, 5))  # at one go, so that cells are skipped
        assert it.saved("maze") == "S....\n.####\n....G"
        drag((2, 4), (2, 3), (1, 3))  # from a wall on: walls go
        assert it.saved("maze") == "S....\n.#..#\n....G"
        drag((1, 1), (2, 1), (3, 1))
        assert it.saved("maze") == ".....\n.#..#\nS...G"
        drag((3, 5), (2, 4), (1, 4))
        assert it.saved("maze") == "...G.\n.#..#\nS...."
        drag((1, 4), (3, 1))  # not onto the start
        assert it.saved("maze").count("S") == it.saved("maze").count("G") == 1
        cell(page, 3, 3).click()
        assert it.saved("maze").split()[2] == "S.#.."
        page.mouse.move(5, 5)  # no button is down
        assert it.saved("maze").split()[2] == "S.#.."


def test_a_finger_taps(shown: Opened) -> None:
    with shown(Playground(), width=360, has_touch=True, is_mobile=True) as it:
        cell(it.page, 6, 1).tap()
        assert it.saved("maze").split()[5] == "#........"
        cell(it.page, 6, 1).tap()
        assert it.saved("maze").split()[5] == "........."


def test_drawing_while_it_runs(shown: Opened) -> None:
    with shown(Playground(OPEN)) as it:
        page = it.page
        press(page, "Learn")
        it.wait("demo.dataset.steps > 5")
        cell(page, 3, 3).click()
        assert alarm(page).startswith("No path")
        steps = it.count("steps")
        it.wait(f"demo.dataset.steps > {steps + 5}")
        cell(page, 3, 3).click()
        it.wait("demo.dataset.episodes > 0")
        press(page, "Pause")


def test_python_may_set_things(shown: Opened) -> None:
    with shown(Playground(), **STILL) as it:
        page = it.page
        page.evaluate("model.set('updates', 20)")
        assert page.get_by_label("Imagined updates k").input_value() == "20"
        page.evaluate("model.set('bonus', 0.01)")
        assert page.get_by_label("Bonus").is_checked()
        page.get_by_label("Bonus").uncheck()
        page.get_by_label("Bonus").check()
        assert it.saved("bonus") == 0.01
        page.evaluate("model.set('seed', 8)")
        assert page.get_by_label("Seed").input_value() == "8"
        drawing = str(Layout.parse(DYNA)).replace("S.#", "S##")
        page.evaluate("(drawing) => model.set('maze', drawing)", drawing)
        assert cell(page, 3, 2).get_attribute("aria-label") == "row 3, column 2: wall"
        press(page, "Learn")
        assert it.saved("curves.at(-1).label") == "k = 20, bonus, seed 8"


def test_the_belief_as_text(shown: Opened) -> None:
    with shown(Playground("S..\n.#.\n..G"), **STILL) as it:
        text = it.page.locator("pre")
        assert text.text_content() == "S??\n???\n???"
        know_all(it.page)
        assert text.text_content() == "S..\n.#.\n..G"
        label = it.page.get_by_role("img", name="What the agent believes: 28 of 28 pairs")
        assert label.count() == 1


def test_stillness_is_honoured(shown: Opened) -> None:
    with shown(Playground(), **STILL) as it:
        press(it.page, "Start")
        assert (it.count("steps"), it.count("pictures")) == (200, 2)
        it.page.wait_for_timeout(200)
        assert it.count("pictures") == 2
        slide(it.page, "Speed", 4)  # asked for
        press(it.page, "Start")
        it.wait("demo.dataset.steps > 205")
        press(it.page, "Pause")
        assert it.count("pictures") <= it.count("steps") - 200 + 4  # none between cells


def test_it_rests_out_of_sight_and_stops_when_removed(shown: Opened) -> None:
    with shown(Playground()) as it:
        press(it.page, "Start")
        it.wait("demo.dataset.steps > 1")
        it.page.evaluate("scrollTo(0, 3500)")
        it.wait("demo.dataset.running === 'false'")
        assert status(it.page).endswith("It was out of sight.")
        it.page.evaluate("scrollTo(0, 0)")
        press(it.page, "Start")
        it.page.evaluate("window.remove()")
        rest = it.count("pictures")
        it.page.wait_for_timeout(200)
        assert it.count("pictures") == rest


LARGE = "\n".join(["S" + 15 * ".", *[16 * "."] * 10, 15 * "." + "G"])


@pytest.mark.parametrize("width", [320, 768, 1280])
@pytest.mark.parametrize("layout", [DYNA, LARGE], ids=["dyna", "large"])
def test_it_is_no_wider_than_the_screen(shown: Opened, width: int, layout: str) -> None:
    with shown(Playground(layout), width=width, **STILL) as it:
        press(it.page, "Learn", "Plan")
        it.page.get_by_text("The belief as text").click()
        assert it.page.evaluate("document.documentElement.scrollWidth") <= width
        wide = """(width) => [...document.querySelectorAll('.wm-demo *')]
            .filter((e) => e.getBoundingClientRect().right > width).map((e) => e.className)"""
        assert it.page.evaluate(wide, width) == []
        small = """
            [...document.querySelectorAll('.wm-demo :is(button, label:has(input))')]
              .map((e) => e.getBoundingClientRect()).filter(({ height }) => height < 44).length
        """
        assert it.page.evaluate(small) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barrier(shown: Opened, scheme: str) -> None:
    if not AXE.exists():
        pytest.skip("`make setup` fetches axe-core")
    with shown(Playground(OPEN), **STILL) as it:
        page = it.page
        page.evaluate("(scheme) => { document.documentElement.dataset.theme = scheme; }", scheme)
        press(page, "Learn")
        cell(page, 3, 3).click()
        press(page, "Plan")
        page.add_script_tag(path=AXE)
        found = page.evaluate("axe.run('.wm-demo', { resultTypes: ['violations'] })")
        assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found["violations"]] == []
