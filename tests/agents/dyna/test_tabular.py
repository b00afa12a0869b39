"""Tabular Dyna, held to value iteration; that to linear algebra; and both to the book."""

import math
from dataclasses import replace
from itertools import islice

import gymnasium as gym
import numpy as np
import pytest

from wmlib.agents.dyna.interaction import episode_lengths, live
from wmlib.agents.dyna.tables import DynaConfig, QTable, TabularModel, Visited, table_size
from wmlib.agents.dyna.tabular import DynaQ, PrioritizedSweeping
from wmlib.agents.dyna.value_iteration import greedy_path, value_iteration
from wmlib.envs.layouts import DYNA, GAP_BOTH, Layout
from wmlib.envs.maze import Maze, blocking_maze, shortcut_maze
from wmlib.scratch import dyna_train

RIGHT = 3


def random_world(seed: int, states: int = 12, actions: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """next_states and rewards (S, A), a few pairs of which end the episode."""
    rng = np.random.default_rng(seed)
    after = rng.integers(-1, states, (states, actions))
    return after, rng.normal(size=after.shape)


def policy_values(after: np.ndarray, rewards: np.ndarray, policy: np.ndarray, discount: float):
    """The action values of a policy (S,), by solving its linear equations."""
    s = np.arange(len(after))
    follow = after[s, policy]
    matrix = np.eye(len(after))
    going = follow >= 0
    matrix[s[going], follow[going]] -= discount
    v = np.linalg.solve(matrix, rewards[s, policy])
    return rewards + discount * np.where(after < 0, 0, v[after])


@pytest.mark.parametrize("seed", range(5))
def test_value_iteration_is_policy_iteration(seed: int) -> None:
    after, rewards = random_world(seed)
    values = value_iteration(after, rewards, 0.9)
    policy = np.zeros(len(after), int)
    for _ in range(50):  # Howard's algorithm: exact, and ends after a few rounds
        exact = policy_values(after, rewards, policy, 0.9)
        policy = exact.argmax(1)
    np.testing.assert_allclose(values, exact, atol=1e-10)


def test_value_iteration_knows_the_maze_in_closed_form() -> None:
    """In a maze that pays 1 at the goal, Q = gamma^(steps left after this one)."""
    maze = Maze()
    values = value_iteration(*maze.transitions(), 0.95)
    for start in ((2, 0), (5, 3), (1, 8), (3, 6)):
        steps = replace(maze.layout, start=start).shortest_path()
        assert values[maze.state(start)].max() == pytest.approx(0.95 ** (steps - 1), rel=1e-12)
    path = greedy_path(values, maze.transitions()[0], maze.state(maze.layout.start))
    assert len(path) - 1 == 14 and path[-1] == -1


def test_a_plan_that_turns_in_circles_is_told_from_one_that_arrives() -> None:
    after = [[1, 0], [2, 1], [0, -1]]
    assert greedy_path([[1, 0], [1, 0], [0, 1]], after, 0) == [0, 1, 2, -1]
    assert greedy_path([[1, 0], [1, 0], [1, 0]], after, 0) == [0, 1, 2]
    assert greedy_path(np.zeros((3, 2)), np.array(after), 1) == [1, 2, 0]


def test_planning_to_the_end_gives_the_exact_values_of_the_learned_model() -> None:
    """Some episodes of the maze; then Dyna-Q only imagines, and is held to value iteration."""
    maze = Maze()
    agent = DynaQ(maze, DynaConfig(planning=0), seed=0)
    list(islice(live(agent, maze), 2500))
    agent.plan(250_000)
    known = agent.model.known
    assert 0 < known.sum() < known.size  # the model is not the whole truth
    exact = value_iteration(agent.model.next_states, agent.model.rewards, 0.95)
    assert exact.max() == 1
    np.testing.assert_allclose(agent.policy.values, exact, atol=1e-6)


def test_prioritized_sweeping_ends_at_the_exact_values_too() -> None:
    maze = Maze(Layout.parse(DYNA).scaled(2, 2))
    agent = PrioritizedSweeping(
        maze, DynaConfig(step_size=1.0, planning=10, threshold=1e-12), seed=0
    )
    list(islice(live(agent, maze), 3000))
    agent.plan(1_000_000)
    exact = value_iteration(agent.model.next_states, agent.model.rewards, 0.95)
    assert exact.max() == 1
    np.testing.assert_allclose(agent.policy.values, exact, atol=1e-9)


def test_the_bonus_is_paid_in_imagination() -> None:
    """With time standing still, Dyna-Q+ plans to the values of r + kappa sqrt(tau), where what was
    never tried leads back to its state; and a real step is not paid it."""
    maze, kappa = Maze(GAP_BOTH), 0.01
    agent = DynaQ(maze, DynaConfig(planning=0, bonus=kappa, discount=0.8), seed=3)
    list(islice(live(agent, maze), 300))
    model = agent.model
    tau = model.time - model.last_tried
    assert tau[~model.known].min() == tau.max() == 300
    here = np.arange(54)[:, None].repeat(4, 1)
    ends = model.known & (model.next_states < 0)
    after = np.where(model.known | ends, model.next_states, here)
    never = ~model.known.any(1)  # states never acted in are not planned from
    after[never], paid = -1, model.rewards + kappa * np.sqrt(tau)
    paid[never] = 0
    exact = value_iteration(after, paid, 0.8)
    agent.plan(250_000)
    np.testing.assert_allclose(agent.policy.values, exact, atol=1e-6)


def test_an_end_is_not_bootstrapped_from() -> None:
    """Even if the goal was an ordinary cell before, with a value of its own."""
    table = QTable(2, 2, DynaConfig(step_size=1.0, discount=0.5))
    table.learn(1, 0, 8.0, None)
    table.learn(0, 0, 1.0, 1)
    table.learn(0, 1, 1.0, None)
    assert table.values.tolist() == [[5.0, 1.0], [8.0, 0.0]]
    for agent in (
        DynaQ(Maze("S.G"), DynaConfig(planning=200), seed=0),
        PrioritizedSweeping(Maze("S.G"), DynaConfig(step_size=1.0), seed=0),
    ):
        agent.learn(2, RIGHT, 1.0, 1)
        agent.learn(1, RIGHT, 1.0, None)
        agent.learn(1, RIGHT, 1.0, None)
        assert agent.policy.values[1, RIGHT] == pytest.approx(1.0, abs=1e-3)


def test_q_learning_by_hand() -> None:
    table = QTable(3, 2, DynaConfig(step_size=0.5, discount=0.9))
    table.rows[1][1] = 2.0
    assert table.error(0, 0, 1.0, 1) == pytest.approx(2.8)
    table.learn(0, 0, 1.0, 1)
    assert table.values[0, 0] == pytest.approx(1.4)
    table.learn(0, 0, 1.0, 1)
    assert table.values[0, 0] == pytest.approx(2.1)


def test_ties_are_broken_at_random_and_epsilon_is_a_share() -> None:
    table = QTable(1, 4, DynaConfig(exploration=0.0), seed=0)
    table.rows[0] = [1.0, 0.0, 1.0, 1.0]
    counts = np.bincount([table.act(0) for _ in range(3000)], minlength=4)
    assert counts[1] == 0
    assert counts[[0, 2, 3]].min() > 900
    table = QTable(1, 4, DynaConfig(exploration=0.4), seed=0)
    table.rows[0][2] = 1.0
    counts = np.bincount([table.act(0) for _ in range(4000)], minlength=4) / 4000
    assert counts == pytest.approx([0.1, 0.1, 0.7, 0.1], abs=0.03)


def test_planning_draws_a_state_first_and_then_an_action_tried_there() -> None:
    """State 0 has three actions tried, state 1 one: each state gets half of the updates."""
    seen: list[tuple[int, int]] = []
    agent = DynaQ(Maze("S.G"), DynaConfig(planning=0), seed=0)
    for action in (0, 1, 2):
        agent.model.update(0, action, 0.0, 0)
    agent.model.update(1, RIGHT, 1.0, None)
    agent.policy.learn = lambda s, a, r, n: seen.append((s, a))  # type: ignore[method-assign]
    agent.plan(4000)
    counts = {pair: seen.count(pair) / 4000 for pair in set(seen)}
    assert counts == pytest.approx(
        {(0, 0): 1 / 6, (0, 1): 1 / 6, (0, 2): 1 / 6, (1, RIGHT): 1 / 2}, abs=0.03
    )
    assert agent.updates == 4000


def test_the_model_can_be_read() -> None:
    model = TabularModel(3, 2)
    assert not model.known.any() and model.loss == 0 and model.imagine(2, 1) == (2, 0.0)
    model.update(0, 1, 0.0, 1)
    model.update(1, 0, 5.0, None)
    model.update(0, 1, 0.5, 2)  # the world has changed
    model.update(0, 0, 0.0, 2)
    assert model.visited == [0, 1] and model.tried == [[1, 0], [0], []]
    assert model.known.tolist() == [[True, True], [True, False], [False, False]]
    assert model.last_tried.tolist() == [[4, 3], [2, 0], [0, 0]]
    assert model.next_states.tolist() == [[2, 2], [-1, -1], [-1, -1]]
    assert model.rewards.tolist() == [[0.0, 0.5], [5.0, 0.0], [0.0, 0.0]]
    assert model.imagine(0, 1) == (2, 0.5) and model.imagine(1, 0) == (None, 5.0)
    assert (model.time, model.idle(0, 1), model.idle(2, 0)) == (4, 1, 4)
    assert sorted(model.before(2)) == [(0, 0), (0, 1)] and model.before(1) == []
    assert model.loss == 1.0
    for _ in range(100):
        model.update(0, 0, 0.0, 2)
    assert model.loss == 0.0


def test_the_first_episode_is_the_same_however_much_is_planned() -> None:
    first, later = [], []
    for n in (0, 5, 50):
        maze = Maze()
        lengths = episode_lengths(DynaQ(maze, DynaConfig(planning=n), seed=7), maze, 3)
        first.append(lengths[0])
        later.append(lengths[1])
    assert len(set(first)) == 1 and len(set(later)) == 3


def test_figure_8_2() -> None:
    """Episodes to near-optimal: about 25, 5 and 3 (Sutton & Barto, text of example 8.1)."""

    def steps(n: int, seed: int) -> list[int]:
        maze = Maze()
        return episode_lengths(DynaQ(maze, DynaConfig(planning=n), seed=seed), maze, 40)

    for n, soonest, latest in ((0, 20, 33), (5, 4, 8), (50, 2, 4)):
        curve = np.mean([steps(n, seed) for seed in range(12)], axis=0)  # (episodes,)
        near = 1 + int(np.flatnonzero(curve <= 1.25 * 15.88)[0])  # 15.88: the best with epsilon
        assert soonest <= near <= latest
        assert curve[-5:].mean() < 20


def begun_after(ends: list[int], change: int) -> int:
    """Real steps from a change to the end of the first episode that began after it."""
    late = [end for end in ends if end >= change]
    return late[1] - change if len(late) > 1 else 10**9


def test_dyna_q_plus_recovers_first_from_the_blocked_way() -> None:
    """Figure 8.4, with the settings of a published re-implementation."""
    taken: dict[float, list[int]] = {}
    for kappa in (0.0, 1e-4):
        config = DynaConfig(step_size=1.0, planning=10, bonus=kappa)
        for seed in range(10):
            maze = blocking_maze()
            life = islice(live(DynaQ(maze, config, seed=seed), maze), 3000)
            ends = [t for t, step in enumerate(life) if step.done]
            taken.setdefault(kappa, []).append(begun_after(ends, 1000))
    assert max(taken[1e-4]) < 2000
    assert np.median(taken[1e-4]) < 0.7 * np.median(taken[0.0])


def test_dyna_q_never_takes_the_shortcut_and_dyna_q_plus_does() -> None:
    """Figure 8.5; the plan is what the agent would do at the end, without exploring."""
    for kappa, expected in ((0.0, 16), (1e-3, 10)):
        config = DynaConfig(step_size=1.0, planning=20, bonus=kappa)
        lengths = []
        for seed in range(3):
            maze = shortcut_maze()
            agent = DynaQ(maze, config, seed=seed)
            list(islice(live(agent, maze), 6000))
            exact = value_iteration(agent.model.next_states, agent.model.rewards, 0.95)
            path = greedy_path(exact, agent.model.next_states, maze.state(maze.layout.start))
            lengths.append(len(path) - 1)
        assert lengths == [expected] * 3


def test_prioritized_sweeping_needs_fewer_updates() -> None:
    """Example 8.4: "often by a factor of 5 to 10"; updates until the plan is a shortest path."""
    needed = {}
    for agent_class in (PrioritizedSweeping, DynaQ):
        for seed in range(5):
            maze = Maze()
            agent = agent_class(maze, DynaConfig(step_size=1.0), seed=seed)
            after, start = maze.transitions()[0].tolist(), maze.state(maze.layout.start)
            looked = 0
            for _ in live(agent, maze):
                if agent.updates >= looked + 14:
                    looked = agent.updates
                    path = greedy_path(agent.policy.rows, after, start)
                    if path[-1] == -1 and len(path) == 15:
                        break
            needed.setdefault(agent_class, []).append(agent.updates)
    assert np.median(needed[DynaQ]) > 5 * np.median(needed[PrioritizedSweeping])


def test_the_queue_is_worked_off_from_the_most_urgent() -> None:
    """A corridor walked once: one sweep from the goal back does what is to be done."""
    maze = Maze("S......G")
    agent = PrioritizedSweeping(maze, DynaConfig(step_size=1.0, planning=0), seed=0)
    for state in range(7):
        agent.learn(state, RIGHT, float(state == 6), None if state == 6 else state + 1)
    assert not agent.policy.values.any() and agent.updates == 0
    agent.plan(3)
    assert agent.policy.values[:, RIGHT].tolist() == [0, 0, 0, 0, 0.95**2, 0.95, 1, 0]
    agent.plan(100)
    assert agent.updates == 7  # nothing is left to do
    assert agent.policy.values[0, RIGHT] == pytest.approx(0.95**6)


def test_the_sweep_forgets_who_no_longer_leads_there() -> None:
    agent = PrioritizedSweeping(Maze("S...G"), DynaConfig(step_size=1.0, planning=9), seed=0)
    agent.learn(0, RIGHT, 0.0, 1)
    agent.learn(0, RIGHT, 0.0, 0)  # a wall has come up
    agent.learn(1, RIGHT, 1.0, None)
    assert agent.policy.values[0, RIGHT] == 0


def test_the_articles_loop_solves_the_maze_with_these_parts() -> None:
    maze, config = Maze(), DynaConfig()
    policy, model = QTable(*table_size(maze), config, seed=0), TabularModel(*table_size(maze))
    buffer = Visited(seed=0)
    returns = dyna_train(maze, model, policy, buffer, episodes=12, k=20, verbose=False)
    assert returns == [1.0] * 12
    assert len(buffer) == maze.steps == model.time
    values = policy.values
    path = greedy_path(values, maze.transitions()[0], maze.state(maze.layout.start))
    assert path[-1] == -1 and len(path) - 1 <= 16


def test_a_buffer_of_states_draws_each_equally() -> None:
    buffer = Visited(seed=0)
    with pytest.raises(ValueError, match="the buffer is empty"):
        buffer.random_state()
    for state in [4] * 50 + [7]:
        buffer.add(state, 0, 0.0, None)
    assert len(buffer) == 51
    drawn = [buffer.random_state() for _ in range(2000)]
    assert drawn.count(7) / 2000 == pytest.approx(0.5, abs=0.05)


def test_a_time_limit_is_not_an_end() -> None:
    """Truncated, the agent learns from the state it was cut at."""
    env = gym.wrappers.TimeLimit(Maze("S..G"), 1)
    agent = DynaQ(env, DynaConfig(exploration=1.0, planning=0), seed=0)
    steps = list(islice(live(agent, env), 50))
    assert all(step.done for step in steps)
    assert agent.model.next_states[0, RIGHT] == 1


def test_the_same_seed_is_the_same_life() -> None:
    def life(seed: int) -> list[int]:
        maze = Maze()
        return episode_lengths(DynaQ(maze, seed=seed), maze, 5)

    assert life(3) == life(3) != life(4)
    assert life(3) == life(np.random.default_rng(3))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [("step_size", 0.0), ("step_size", 1.5), ("discount", 1.0), ("discount", -0.1),
     ("exploration", 1.1), ("planning", -1), ("planning", 2.5), ("bonus", -1.0),
     ("bonus", math.inf), ("threshold", math.nan), ("step_size", "0.1"), ("discount", None),
     ("planning", "5"), ("planning", None), ("exploration", "x"), ("bonus", None)],
)  # fmt: skip
def test_configurations_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} must be .*, got {value!r}"):
        DynaConfig(**{field: value})


def test_worlds_that_do_not_fit_a_table_are_refused() -> None:
    for env, words in [
        (gym.make("CartPole-v1"), r"observation_space must be Discrete\(n\) from 0, got Box"),
        (gym.make("Pendulum-v1"), "observation_space must be Discrete"),
    ]:
        with pytest.raises(ValueError, match=words):
            DynaQ(env)
    maze = Maze()
    maze.action_space = gym.spaces.Box(-1, 1)
    with pytest.raises(ValueError, match=r"action_space must be Discrete\(n\) from 0, got Box"):
        DynaQ(maze)
    for kind in (QTable, TabularModel):
        for wrong in (0, 2.5, "4", None):
            with pytest.raises(
                ValueError,
                match=f"states must be (a whole number|at least 1)( or None)?, got {wrong!r}",
            ):
                kind(wrong, 4)
            with pytest.raises(
                ValueError,
                match=f"actions must be (a whole number|at least 1)( or None)?, got {wrong!r}",
            ):
                kind(4, wrong)
    with pytest.raises(ValueError, match="env must be an Env, got 'maze'"):
        DynaQ("maze")
    for kind in (DynaQ, PrioritizedSweeping):
        with pytest.raises(ValueError, match="config must be a DynaConfig or None, got 5"):
            kind(Maze(), 5)
        with pytest.raises(ValueError, match=r"updates must be an integer >= 0, got -1"):
            kind(Maze()).plan(-1)
    with pytest.raises(
        ValueError, match=r"episodes must be (a whole number|at least 1)( or None)?, got 0"
    ):
        episode_lengths(DynaQ(Maze()), Maze(), 0)
    for wrong in (-1, 3, 0.5, "x"):
        with pytest.raises(ValueError, match=f"start must be .*, got {wrong!r}"):
            greedy_path(np.zeros((3, 2)), [[1, 0], [2, 1], [0, -1]], wrong)
    with pytest.raises(ValueError, match=r"prioritized sweeping has no bonus, got 0\.1"):
        PrioritizedSweeping(Maze(), DynaConfig(bonus=0.1))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            ([0, 1], [0.0, 1.0], 0.9),
            r"next_states must be .* \(S, A\) of whole numbers, got \[0, 1\]",
        ),
        (
            ([[0, 1]], [[0.0]], 0.9),
            r"rewards must be an array of shape \(1, 2\) .*, got \[\[0\.0\]\]",
        ),
        (([[0, 1]], [[0.0, 1.0]], 0.9), r"integers in -1\.\.0"),
        (([[0.5]], [[0.0]], 0.9), "must be .* of whole numbers"),
        (([[-2]], [[0.0]], 0.9), "must be integers in -1"),
        (([[0]], [[math.nan]], 0.9), "rewards must be finite"),
        (([[0]], [[1.0]], 1.0), r"discount must be in \[0, 1\), got 1\.0"),
        (([[0]], [[1.0]], 0.5, 0.0), r"tolerance must be a positive number, got 0\.0"),
        (([[0]], [[1.0]], "x"), "discount must be a number, got 'x'"),
        (([[0]], [["x"]], 0.5), r"rewards must be .* real numbers.*, got \[\['x'\]\]"),
        (([[0, 1], [0]], [[1.0]], 0.5), r"next_states must be .*, got \[\[0, 1\], \[0\]\]"),
    ],
)
def test_value_iteration_names_bad_input(given: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        value_iteration(*given)


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, None, "much", [1.0, 2.0]])
def test_a_reward_that_is_not_finite_ends_a_life_by_name(reward: object) -> None:
    """The third step of a corridor pays something else than a number."""

    class Broken(Maze):
        def step(self, action):
            state, paid, *rest = super().step(action)
            return state, (reward if self.steps == 3 else paid), *rest

    for agent_class in (DynaQ, PrioritizedSweeping):
        maze = Broken("S....G")
        agent = agent_class(maze, seed=0)
        with pytest.raises(ValueError, match=r"^action \d in state \d: .* reward must be finite"):
            list(islice(live(agent, maze), 10))
        assert maze.steps == 3
        assert np.isfinite(agent.policy.values).all()
