"""The search against exact values, against the pseudocode's tree, and against minimax."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from wmlib.agents.muzero import Root, Searched, Step, masked, plain, search, with_noise
from wmlib.agents.muzero.exact import finite_model, game_model
from wmlib.agents.muzero.plain import run_mcts
from wmlib.envs.boards import TicTacToe, minimax
from wmlib.envs.finite import FiniteMDPs

GAME = TicTacToe()


def errors(searched: Searched, truth: np.ndarray) -> tuple[float, float]:
    """Mean error of the roots' values, and mean loss by the actions that were visited most, against
    Q (W, A) of value iteration."""
    chosen = truth[np.arange(len(truth)), searched.visits.argmax(1)]
    wrong, lost = np.abs(searched.value - truth.max(1)), truth.max(1) - chosen  # (W,) each
    return float(wrong.mean()), float(lost.mean())


def converges(worlds: int, simulations: tuple[int, ...]) -> list[tuple[float, float]]:
    mdps = FiniteMDPs(worlds, discount=0.5)
    root, recurrent_fn = finite_model(mdps)
    truth = mdps.values()[:, 0]
    return [errors(search(root, recurrent_fn, n), truth) for n in simulations]


def test_it_converges_to_value_iteration() -> None:
    found = converges(20, (4, 64, 1024))
    assert found[2][0] < 0.5 * found[1][0] < 0.5 * found[0][0]
    assert found[2][0] < 0.1
    assert found[2][1] < found[0][1] and found[2][1] < 1e-3


@pytest.mark.slow
def test_it_converges_to_value_iteration_in_two_hundred_worlds() -> None:
    found = converges(200, (16, 64, 256, 1024, 4096))
    values, lost = zip(*found, strict=True)
    assert list(values) == sorted(values, reverse=True)
    assert values[-1] < 0.05
    slope = np.polyfit(np.log([256, 1024, 4096]), np.log(values[2:]), 1)[0]
    assert -0.7 < slope < -0.3  # about one over the root of the simulations
    assert lost[-1] < 1e-3 < lost[0]


def random_model(seed: int, actions: int, sign: float) -> tuple[Root, Callable]:
    """Priors, values and rewards that are a hash of the way from the root."""

    def of(states: np.ndarray) -> np.ndarray:
        rows = [np.random.default_rng([seed, int(s)]).normal(size=actions + 2) for s in states]
        return np.array(rows)

    def shares(logits: np.ndarray) -> np.ndarray:
        return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)

    def recurrent_fn(states: np.ndarray, moves: np.ndarray) -> Step:
        after = (states * actions + moves + 1) % (2**40)
        drawn = of(after)
        return Step(drawn[:, 0], sign * 0.97, shares(drawn[:, 2:]), drawn[:, 1], after)

    states = np.arange(5) * 1000
    drawn = of(states)
    return Root(shares(drawn[:, 2:]), drawn[:, 1], states), recurrent_fn


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("seed", range(3))
def test_visits_are_those_of_a_plain_tree_for_one_game(seed: int, sign: float) -> None:
    root, recurrent_fn = random_model(seed, 4, sign)
    legal = np.random.default_rng(seed).random((5, 4)) < 0.7
    legal[:, seed] = True
    searched = search(root, recurrent_fn, 60, legal)
    assert (searched.visits.sum(1) == 60).all() and (searched.visits[~legal] == 0).all()
    for game in range(5):
        visits, values = run_mcts(
            root.prior[game], root.value[game], root.state[game], recurrent_fn, 60, legal[game]
        )
        np.testing.assert_array_equal(searched.visits[game], visits)
        np.testing.assert_allclose(searched.actions[game], values, atol=1e-12)


SCORE = plain.score


def among_siblings(
    root_value: float, parent: plain.Node, child: plain.Node, bounds: plain.Bounds, c1: float,
    c2: float,
) -> float:  # fmt: skip
    """The bound of a child where Q is scaled as in mctx: by its siblings and the parent's value."""
    tried = [other for other in parent.children.values() if other.visits]
    if parent.visits:
        value = (parent.worth - parent.reward) / parent.discount
    else:  # the root, whose own expansion counts as a visit
        total = root_value + sum(other.total for other in tried)
        value = total / (1 + sum(other.visits for other in tried))
    near = plain.Bounds(value)
    for other in tried:
        near.update(other.worth)
    return SCORE(parent, child, near, c1, c2)


def test_scaling_among_siblings_as_in_mctx_is_another_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is far better or worse elsewhere in the tree makes siblings look alike; in mctx not."""
    root, recurrent_fn = random_model(0, 4, 1.0)
    ours, theirs = search(root, recurrent_fn, 60).visits, []
    for prior, value, state in zip(*root, strict=True):
        monkeypatch.setattr(plain, "score", partial(among_siblings, value))
        theirs.append(plain.run_mcts(prior, value, state, recurrent_fn, 60, np.ones(4, bool))[0])
    assert (ours != theirs).any(1).all()
    assert (ours.argmax(1) == np.argmax(theirs, 1)).mean() >= 0.6  # though mostly of one mind


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("seed", range(3))
def test_with_its_scaling_the_plain_tree_visits_what_mctx_visits(
    seed: int, sign: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DeepMind's own search, which is an extra: pip install mctx "jax[cpu]".

    With the paper's scaling the visits of the plain tree are ours, with mctx's they are those of
    mctx: the two searches differ in that alone.
    """
    mctx, jax = pytest.importorskip("mctx"), pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    root, recurrent_fn = random_model(seed, 4, sign)
    legal = np.random.default_rng(seed).random((5, 4)) < 0.7
    legal[:, seed] = True

    def step(actions: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, ...]:
        told = recurrent_fn(np.asarray(states), np.asarray(actions))
        discounts = np.broadcast_to(told.discount, told.reward.shape)
        return told.reward, discounts, np.log(told.prior), told.value, told.state

    def theirs(_: None, key: object, actions: object, states: object) -> tuple:
        one, rows = jax.ShapeDtypeStruct((5,), float), jax.ShapeDtypeStruct((5, 4), float)
        shapes = one, one, rows, one, jax.ShapeDtypeStruct((5,), int)
        *parts, following = jax.pure_callback(step, shapes, actions, states)
        names = "reward", "discount", "prior_logits", "value"
        return mctx.RecurrentFnOutput(**dict(zip(names, parts, strict=True))), following

    begun = mctx.RootFnOutput(
        prior_logits=np.log(root.prior), value=root.value, embedding=root.state
    )
    found = mctx.muzero_policy(
        None, jax.random.PRNGKey(0), begun, theirs, 60, ~legal, dirichlet_fraction=0.0
    ).search_tree.summary().visit_counts  # fmt: skip
    allowed = masked(root.prior, legal)
    for game, (prior, value, state) in enumerate(zip(allowed, *root[1:], strict=True)):
        monkeypatch.setattr(plain, "score", partial(among_siblings, value))
        visits, _ = plain.run_mcts(prior, value, state, recurrent_fn, 60, legal[game])
        np.testing.assert_array_equal(found[game], visits)


def optimal_share(positions: np.ndarray, simulations: int, sign: float = -1.0) -> float:
    solution = minimax(GAME)
    cells = solution.cells[positions]
    root, recurrent_fn = game_model(GAME, cells, sign)
    moves = search(root, recurrent_fn, simulations, GAME.legal(cells)).visits.argmax(1)
    return float(solution.best[positions, moves].mean())


def test_with_the_true_rules_it_plays_as_minimax() -> None:
    positions = np.random.default_rng(0).choice(4520, 60, replace=False)
    few, many = (optimal_share(positions, n) for n in (10, 500))
    assert many == 1.0 > few


def test_a_player_whose_opponent_plays_for_it_is_no_good() -> None:
    positions = np.random.default_rng(1).choice(4520, 60, replace=False)
    assert optimal_share(positions, 200, sign=1.0) < optimal_share(positions, 200) - 0.1


@pytest.mark.slow
def test_with_the_true_rules_it_plays_as_minimax_everywhere() -> None:
    early, late = np.split(np.arange(4520), [334])  # up to three stones; more
    assert [optimal_share(part, 800) for part in np.array_split(late, 8)] == [1.0] * 8
    for cells in np.split(early, 2):
        few, many = (optimal_share(cells, n) for n in (100, 5000))
        assert few < many >= 0.99


def test_a_game_is_searched_as_if_it_were_alone() -> None:
    root, recurrent_fn = random_model(7, 3, 1.0)
    together = search(root, recurrent_fn, 30)
    for game in range(5):
        one = Root(*(part[game : game + 1] for part in root))
        alone = search(one, recurrent_fn, 30)
        np.testing.assert_array_equal(alone.visits[0], together.visits[game])


def test_values_and_policies_are_means_and_shares() -> None:
    searched = Searched(np.array([[3.0, 1.0, 0.0]]), np.array([[1.0, -1.0, 0.0]]))
    assert searched.value == [0.5] and searched.greedy == [1.0]
    np.testing.assert_array_equal(searched.policy, [[0.75, 0.25, 0.0]])


def test_nothing_hangs_on_the_scale_of_rewards() -> None:
    root, recurrent_fn = random_model(3, 4, 1.0)

    def larger(states: np.ndarray, actions: np.ndarray) -> Step:
        step = recurrent_fn(states, actions)
        return step._replace(reward=64 * step.reward, value=64 * step.value)

    small = search(root, recurrent_fn, 40)
    large = search(root._replace(value=64 * root.value), larger, 40)
    np.testing.assert_array_equal(small.visits, large.visits)


def test_noise_is_a_distribution_over_what_is_legal() -> None:
    prior = np.array([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]])
    legal = np.array([[True, True, False], [True, True, False]])
    quiet = masked(prior, legal)
    np.testing.assert_allclose(quiet, [[7 / 9, 2 / 9, 0], [0.5, 0.5, 0]], atol=1e-8)
    drawn = with_noise(quiet.repeat(2000, 0), legal.repeat(2000, 0), 0.25, 0.3,
                       np.random.default_rng(0))  # fmt: skip
    np.testing.assert_allclose(drawn.sum(1), 1)
    assert (drawn[:, 2] == 0).all() and (drawn[:2000, 0] >= 0.75 * 7 / 9 - 1e-6).all()
    np.testing.assert_allclose(drawn[:2000, 0].mean(), 0.75 * 7 / 9 + 0.25 / 2, atol=0.02)


@pytest.mark.parametrize("simulations", [0, -3])
def test_no_simulation_is_refused(simulations: int) -> None:
    root, recurrent_fn = random_model(0, 3, 1.0)
    with pytest.raises(ValueError, match=f"simulations must be at least 1, got {simulations}"):
        search(root, recurrent_fn, simulations)


def test_a_root_with_nothing_to_do_is_refused() -> None:
    root, recurrent_fn = random_model(0, 3, 1.0)
    legal = np.ones((5, 3), bool)
    legal[2] = False
    with pytest.raises(ValueError, match="nothing is legal at root 2"):
        search(root, recurrent_fn, 5, legal)
