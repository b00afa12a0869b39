"""Tic-tac-toe against MuZero: networks and search in JavaScript, and the game on a page."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import traitlets

from wmlib.agents.muzero import MuZero, Root, Spaces, Step, masked, search, with_noise
from wmlib.agents.muzero.probe import read_board
from wmlib.demos import PlayTicTacToe
from wmlib.demos.page.blocks import unpack
from wmlib.demos.tic_tac_toe.weights import board_probe, pack_player
from wmlib.envs.boards import ConnectFour, TicTacToe, minimax
from wmlib.matches import every_line

ROOT = Path(__file__).parents[2]
GAME, SOLUTION = TicTacToe(), minimax(TicTacToe())
PARITY = 1e-5
MODULES = [
    "page/engine.js", "tic_tac_toe/muzero.js", "tic_tac_toe/rules.js",
]  # fmt: skip
Opened = Callable[..., AbstractContextManager[Any]]  # the fixture `shown`
Script = Callable[..., Any]  # the fixture `run`
OPEN = "const { header, arrays } = unpack(input.bytes); const agent = new MuZero(arrays, header);"


@pytest.fixture(scope="module")
def agent() -> MuZero:
    """The player that the book ships."""
    return MuZero.load(ROOT / "artifacts" / "muzero-tictactoe")


@pytest.fixture(scope="module")
def green() -> MuZero:
    """One of random weights that say something, so that its trees are broad."""
    made = MuZero(Spaces.of(GAME), seed=3)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in made.average.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
        made.average.f[-1].weight.mul_(0.2)  # sure of nothing
    return made


@pytest.fixture(scope="module")
def widget(agent: MuZero) -> PlayTicTacToe:
    return PlayTicTacToe(agent, simulations=20)


@pytest.fixture(params=["in_node", "in_chromium"])
def run(request: pytest.FixtureRequest) -> Script:
    """`run(body, **input)`: what JavaScript beside the search returns, in Node and in Chromium."""
    return partial(request.getfixturevalue(request.param), MODULES)


class Exact:
    """The same networks in double precision, as a page computes: no rounding breaks a tie."""

    def __init__(self, agent: MuZero) -> None:
        self.networks, self.discount = copy.deepcopy(agent.average).double(), agent.discount

    @torch.no_grad()
    def root(self, cells: np.ndarray) -> Root:
        state = self.networks.represent(torch.from_numpy(GAME.observe(cells)).double())
        policy, value = self.networks.predict(state)
        return Root(
            policy.softmax(-1).numpy(), self.networks.values.number(value).numpy(), state.numpy()
        )

    @torch.no_grad()
    def recurrent_fn(self, states: np.ndarray, actions: np.ndarray) -> Step:
        networks = self.networks
        state, reward = networks.dynamics(torch.from_numpy(states), torch.from_numpy(actions))
        policy, value = networks.predict(state)
        return Step(
            networks.rewards.number(reward).numpy(), self.discount, policy.softmax(-1).numpy(),
            networks.values.number(value).numpy(), state.numpy(),
        )  # fmt: skip


def positions(count: int) -> np.ndarray:
    """Some positions (N, 9), the empty board among them."""
    some = np.random.default_rng(0).permutation(len(SOLUTION.cells))[: count - 1]
    return SOLUTION.cells[np.append(0, some)]


# --- in Python


def test_what_does_not_play_tic_tac_toe_is_refused(agent: MuZero) -> None:
    with pytest.raises(ValueError, match="must play tic-tac-toe, with Spaces"):
        PlayTicTacToe(MuZero(Spaces.of(ConnectFour())))
    with pytest.raises(TypeError, match="agent must be a MuZero, got Networks"):
        PlayTicTacToe(agent.average)  # type: ignore[arg-type]
    for options, message in (
        ({"simulations": 201}, r"simulations must be in \[0, 200\], got 201"),
        ({"simulations": -1}, r"simulations must be in \[0, 200\], got -1"),
        ({"moves": [4, 4]}, r"move 4 is not legal at \[0, 0, 0, 0, -1, 0, 0, 0, 0\]"),
        ({"moves": [9]}, r"a move must be in \[0, 8\], got 9"),
        ({"moves": [0, 3, 1, 4, 2, 5]}, "the game is over before move 5"),
    ):
        with pytest.raises(ValueError, match=message):
            PlayTicTacToe(agent, **options)
    broken = copy.deepcopy(agent)
    with torch.no_grad():
        broken.average.g[0].weight[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"g\.0\.weight holds NaN or infinity"):
        PlayTicTacToe(broken)


def test_what_is_set_later_is_checked_too(agent: MuZero) -> None:
    demo = PlayTicTacToe(agent, moves=[4])
    with pytest.raises(traitlets.TraitError, match="move 4 is not legal"):
        demo.moves = [4, 4]
    with pytest.raises(traitlets.TraitError, match=r"simulations must be in \[0, 200\], got 500"):
        demo.simulations = 500
    assert (demo.moves, demo.simulations) == ([4], 50)


def test_all_that_a_page_needs_is_there_and_no_more(agent: MuZero) -> None:
    packed = pack_player(agent)
    arrays, header = unpack(packed)
    networks = agent.average
    for name, weight in networks.named_parameters():
        np.testing.assert_array_equal(arrays[name], weight.detach().numpy())
    count = sum(weight.numel() for weight in networks.parameters()) + 2 * 3 + 65 * 27
    assert sum(array.size for array in arrays.values()) == count
    assert len(packed) < 300_000 and header["discount"] == -1


def test_its_probe_reads_the_boards_that_it_sees(agent: MuZero) -> None:
    read = read_board(board_probe(agent), agent.root(GAME.observe(SOLUTION.cells)).state)
    assert (read == SOLUTION.cells).mean() > 0.95


# --- in JavaScript


def test_a_page_knows_what_the_networks_know(
    run: Script, agent: MuZero, record_property: Any
) -> None:
    """h, g, f and the probe, against PyTorch in single precision."""
    cells, actions = positions(60), np.random.default_rng(1).integers(0, 9, 60)
    ours = run(
        OPEN + """
        return input.cells.map((cells, i) => {
          const root = agent.root(cells);
          const step = agent.step(root.state, input.actions[i]);
          return { root, step, belief: agent.belief(root.state) };
        });
        """,
        bytes=pack_player(agent), cells=cells, actions=actions,
    )  # fmt: skip
    root = agent.root(GAME.observe(cells))
    step = agent.recurrent_fn(root.state, actions)
    for name, theirs, found in (
        ("state", root.state, [one["root"]["state"] for one in ours]),
        ("policy", root.prior, [one["root"]["prior"] for one in ours]),
        ("value", root.value, [one["root"]["value"] for one in ours]),
        ("next state", step.state, [one["step"]["state"] for one in ours]),
        ("reward", step.reward, [one["step"]["reward"] for one in ours]),
        ("next policy", step.prior, [one["step"]["prior"] for one in ours]),
        ("next value", step.value, [one["step"]["value"] for one in ours]),
    ):
        difference = float(np.abs(np.array(found) - theirs).max())
        record_property(name, difference)
        assert difference < PARITY, name
    read = np.array([one["belief"] for one in ours]).argmax(2) - 1
    assert (read == read_board(board_probe(agent), root.state)).mean() > 0.999
    assert np.std(root.value) > 0.1 and np.std(step.reward) > 0.1


SEARCH = (
    OPEN
    + """
    return input.cells.map((cells, i) => {
      const legal = cells.map((c) => c === 0);
      const tree = new Tree(agent, { ...agent.root(cells), prior: input.priors[i] }, legal);
      for (let n = 0; n < input.simulations; n++) tree.grow();
      return { visits: tree.root.n, earned: tree.root.q, nodes: tree.nodes.length };
    });
"""
)


@pytest.mark.parametrize("noise", [0.0, 0.25])
@pytest.mark.parametrize(("who", "simulations"), [("agent", 50), ("green", 50), ("green", 200)])
def test_a_page_searches_as_python_does(
    run: Script, request: pytest.FixtureRequest, who: str, simulations: int, noise: float
) -> None:
    """The same visits for the same weights and noise."""
    player: MuZero = request.getfixturevalue(who)
    exact, cells = Exact(player), positions(40)
    legal, root = GAME.legal(cells), exact.root(cells)
    priors = with_noise(
        masked(root.prior, legal), legal, noise, 0.3, np.random.default_rng(simulations)
    )
    theirs = search(root._replace(prior=priors), exact.recurrent_fn, simulations, legal)
    ours = run(
        SEARCH, bytes=pack_player(player), cells=cells, priors=priors, simulations=simulations
    )
    assert [one["visits"] for one in ours] == theirs.visits.astype(int).tolist()
    assert {one["nodes"] for one in ours} == {simulations + 1}
    earned = np.array([one["earned"] for one in ours])
    np.testing.assert_allclose(earned, theirs.actions, rtol=0, atol=1e-9)
    if who == "green":
        assert (theirs.visits > 0).sum() > 0.6 * legal.sum(), "broad trees"


def test_without_its_policy_a_page_searches_as_python_does(run: Script, agent: MuZero) -> None:
    exact, cells = Exact(agent), positions(40)
    legal, root = GAME.legal(cells), exact.root(cells)

    def blind(states: np.ndarray, actions: np.ndarray) -> Step:
        step = exact.recurrent_fn(states, actions)
        return step._replace(prior=np.full_like(step.prior, 1 / 9))

    priors = masked(np.full(legal.shape, 1 / 9), legal)
    theirs = search(root._replace(prior=priors), blind, 100, legal)
    ours = run(
        OPEN
        + """
        return input.cells.map((cells) => {
          const tree = think(withoutPolicy(agent), cells);
          for (let n = 0; n < 100; n++) tree.grow();
          return tree.root.n;
        });
        """,
        bytes=pack_player(agent),
        cells=cells,
    )
    assert ours == theirs.visits.astype(int).tolist()
    assert (theirs.visits > 0).sum() > 0.9 * legal.sum()


class PagePlayer:
    """What moves on a page after so many simulations."""

    def __init__(self, run: Script, agent: MuZero, simulations: int) -> None:
        self.run, self.bytes, self.simulations = run, pack_player(agent), simulations

    def move(self, cells: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        return np.array(self.run(
            OPEN + """
            return input.cells.map((cells) => {
              const tree = think(agent, cells);
              for (let n = 0; n < input.simulations; n++) tree.grow();
              return tree.choice;
            });
            """,
            bytes=self.bytes, cells=cells, simulations=self.simulations,
        ))  # fmt: skip


def test_nobody_can_beat_it_on_a_page_either(in_node: Script, agent: MuZero) -> None:
    began, followed = every_line(
        GAME, PagePlayer(partial(in_node, MODULES), agent, 50), alone=False
    )
    assert began.losses == followed.losses == 0 and began.games > 50 < followed.games


@pytest.mark.parametrize("simulations", [0, 1, 50])
def test_a_page_moves_as_the_player_does(in_node: Script, agent: MuZero, simulations: int) -> None:
    """In single precision, too, but for near ties."""
    cells = positions(200)
    ours = PagePlayer(partial(in_node, MODULES), agent, simulations).move(cells)
    assert (ours == agent.player(GAME, simulations).move(cells)).mean() >= 0.99


def test_a_root_with_nothing_to_do_is_refused(run: Script, agent: MuZero) -> None:
    body = (
        OPEN
        + """
        const full = [1, -1, 1, 1, -1, -1, -1, 1, 1];
        try { think(agent, full); } catch (error) { return error.message; }
        return null;
    """
    )
    assert run(body, bytes=pack_player(agent)) == "nothing is legal at the root"


def test_the_rules_of_a_page_are_those_of_the_library(run: Script, agent: MuZero) -> None:
    """Random games, move by move."""
    _, header = unpack(pack_player(agent))
    rng, games, wanted = np.random.default_rng(0), [], []
    for _ in range(60):
        cells, moves, over = GAME.start(1), list[int](), False
        while not over:
            moves.append(int(rng.choice(np.flatnonzero(GAME.legal(cells)[0]))))
            after = GAME.step(cells, np.array(moves[-1:]))
            cells, over = after.cells, bool(after.over[0])
            turn = -1 if len(moves) % 2 else 1  # who is to move: X has 1
            games.append(moves.copy())
            winner = int(-turn * after.rewards[0])
            wanted.append([(turn * cells[0]).tolist(), over, winner])
    told = run(
        """
        return input.games.map((moves) => {
          const cells = boardAfter(moves);
          const { over, winner } = outcome(cells, input.lines);
          return [cells, over, winner];
        });
        """,
        games=games, lines=header["lines"],
    )  # fmt: skip
    assert told == wanted and {one[2] for one in wanted} == {-1, 0, 1}


def test_nodes_that_no_game_reaches_are_marked(run: Script, green: MuZero) -> None:
    """What a walk by Python's rules says of every node of a tree."""
    ours = run(
        OPEN + """
        const tree = think(agent, input.cells);
        for (let n = 0; n < 200; n++) tree.grow();
        return tree.nodes.slice(1).map((node) => {
          const path = [];
          for (let at = node; at.parent; at = at.parent) path.unshift(at.action);
          return [path, kindOf(node, input.cells, 1, header.lines)];
        });
        """,
        bytes=pack_player(green), cells=np.array([1, 1, 0, -1, -1, 0, 0, 0, 0]),
    )  # fmt: skip
    for path, told in ours:
        cells, kind, over = np.array([[1, 1, 0, -1, -1, 0, 0, 0, 0]], np.int8), "game", False
        for move in path:
            if kind == "game" and (over or cells[0, move]):
                kind = "past" if over else "taken"
            elif kind == "game":
                after = GAME.step(cells, np.array([move]))
                cells, over = after.cells, bool(after.over[0])
        assert told == kind, path
    assert {kind for _, kind in ours} == {"game", "past", "taken"}


def test_what_is_drawn_hangs_together_and_nothing_overlaps(in_node: Script, green: MuZero) -> None:
    """Node has no page, but where boards stand is plain arithmetic."""
    modules = [*MODULES, "tic_tac_toe/tree.js"]
    places = in_node(
        modules,
        OPEN + """
        const tree = think(agent, new Array(9).fill(0));
        for (let n = 0; n < 200; n++) tree.grow();
        const nodes = kept(tree.nodes);
        const { places, width } = layout(tree.root, nodes);
        return nodes.map((node) => ({
          depth: node.depth, ...places.get(node), width,
          hangs: !node.parent || places.has(node.parent),
        }));
        """,
        bytes=pack_player(green),
    )  # fmt: skip
    assert len(places) == 48 and all(one["hangs"] for one in places)
    for depth in {one["depth"] for one in places}:
        xs = sorted(one["x"] for one in places if one["depth"] == depth)
        assert xs[0] >= 26 and xs[-1] <= places[0]["width"] - 26
        assert all(right - left >= 52 - 1e-9 for left, right in pairwise(xs))


def test_weights_of_another_shape_are_refused_by_name(run: Script, agent: MuZero) -> None:
    body = """
        const { header, arrays } = unpack(input.bytes);
        header.networks.units += 1;
        try { new MuZero(arrays, header); } catch (error) { return error.message; }
        return null;
    """
    assert run(body, bytes=pack_player(agent)) == "h.0.weight has shape 128,18, expected 129,18"


# --- on a page


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def cell(page: Any, number: int) -> None:
    page.locator(".wm-cell").nth(number).click()


def status(page: Any) -> str:
    return page.get_by_role("status").text_content() or ""


def told(page: Any, name: str) -> str:
    """The number behind a name."""
    row = page.locator(".wm-fact").filter(has_text=name)
    return str(row.locator(".wm-value").text_content())


def board(page: Any) -> str:
    return "".join(
        one.text_content() or "." for one in page.locator(".wm-cell").all()
    )  # fmt: skip


def test_nothing_moves_before_the_reader_does(shown: Opened, widget: PlayTicTacToe) -> None:
    with shown(widget) as it:
        it.page.wait_for_timeout(400)
        assert board(it.page) == "." * 9 and it.count("nodes") == 0
        assert status(it.page) == "Make a move, or let it begin."


def test_the_reader_moves_and_it_answers(
    shown: Opened, widget: PlayTicTacToe, agent: MuZero
) -> None:
    """With the visits of Python's search, and a tree that grew."""
    with shown(widget) as it:
        cell(it.page, 0)
        assert status(it.page) == "It thinks."
        it.wait("demo.dataset.running === 'false'")
        cells = np.array([[-1, 0, 0, 0, 0, 0, 0, 0, 0]], np.int8)
        legal, exact = GAME.legal(cells), Exact(agent)
        root = exact.root(cells)
        searched = search(
            root._replace(prior=masked(root.prior, legal)), exact.recurrent_fn, 20, legal
        )
        visits = searched.visits[0].astype(int)
        assert it.saved("visits") == visits.tolist()
        assert it.saved("moves") == [0, int(visits.argmax())]
        assert it.count("nodes") == 20 and told(it.page, "Simulations of this thought") == "20"
        assert status(it.page).endswith("You are to move.")
        assert it.page.locator(".wm-node").count() == 21
        label = it.page.locator("svg.wm-tree").get_attribute("aria-label")
        assert label.startswith("A tree of 20 simulations. Most went down this line: ")
        it.page.locator("summary").click()
        assert it.page.locator("tbody tr").count() == 8


def test_its_tree_grows_while_it_thinks(shown: Opened, agent: MuZero) -> None:
    with shown(PlayTicTacToe(agent, simulations=200)) as it:
        cell(it.page, 4)
        it.wait("demo.dataset.nodes > 5 && demo.dataset.nodes < 195")
        it.page.keyboard.press("Escape")
        grown = it.count("nodes")
        assert status(it.page) == "Paused. Make a move, or let it go on."
        it.page.wait_for_timeout(400)
        assert it.count("nodes") == grown and it.saved("moves") == [4]
        press(it.page, "Let it move")
        it.wait("demo.dataset.running === 'false'")
        assert it.count("nodes") == 200 and len(it.saved("moves")) == 2


def test_without_its_policy_its_tree_is_broad(shown: Opened, agent: MuZero) -> None:
    with shown(PlayTicTacToe(agent, simulations=100)) as it:
        tried = []
        for pressed in ("false", "true"):
            it.page.evaluate("model.set('moves', [4])")
            toggle = it.page.get_by_role("button", name="Without its policy")
            assert toggle.get_attribute("aria-pressed") == pressed
            press(it.page, "Let it move")
            it.wait("demo.dataset.running === 'false'")
            tried.append(sum(count > 0 for count in it.saved("visits")))
            toggle.click()
        assert tried[0] < tried[1] and tried[1] > 5


def test_without_simulations_the_network_moves(
    shown: Opened, widget: PlayTicTacToe, agent: MuZero
) -> None:
    with shown(widget) as it:
        it.page.get_by_label("Simulations before a move").fill("0")
        assert it.saved("simulations") == 0
        press(it.page, "New game: it begins")
        it.wait("demo.dataset.running === 'false'")
        assert it.saved("moves") == agent.player(GAME, 0).move(GAME.start(1)).tolist()
        assert it.page.locator(".wm-node").count() == 1


def test_it_plays_both_sides_until_the_reader_takes_over(
    shown: Opened, widget: PlayTicTacToe
) -> None:
    with shown(widget) as it:
        it.page.get_by_label("Simulations before a move").fill("0")
        press(it.page, "Let it play both sides")
        it.wait("demo.dataset.moves >= 2")
        press(it.page, "Pause")
        count = it.count("moves")
        it.page.wait_for_timeout(1200)
        assert it.count("moves") == count < 9
        press(it.page, "Let it play both sides")
        it.wait("demo.dataset.running === 'false'")
        assert status(it.page).endswith("A draw.") and it.count("moves") == 9
        press(it.page, "Let it play both sides")  # the next game
        assert it.count("moves") < 2
        it.wait("demo.dataset.moves >= 1")
        free = board(it.page).index(".")
        cell(it.page, free)  # the reader has that side now, and it answers once
        it.wait("demo.dataset.running === 'false'")
        assert it.saved("moves").count(free) == 1 and it.count("moves") < 9


def test_taken_cells_and_games_that_are_over(shown: Opened, agent: MuZero) -> None:
    with shown(PlayTicTacToe(agent, moves=[0, 3, 1, 4])) as it:
        cell(it.page, 3)
        assert status(it.page) == "The middle row, left column is taken."
        cell(it.page, 2)
        assert status(it.page) == "Three in a row: X wins."
        assert it.page.locator(".wm-won").count() == 3
        cell(it.page, 8)
        assert status(it.page).startswith("Three in a row: X wins. Begin a new game")
        press(it.page, "Let it move")
        assert it.saved("moves") == [0, 3, 1, 4, 2]


def test_moves_are_taken_back(shown: Opened, widget: PlayTicTacToe) -> None:
    with shown(widget) as it:
        it.page.get_by_label("Simulations before a move").fill("0")
        press(it.page, "Take back")
        assert status(it.page) == "There is no move to take back."
        for number in (0, 1):
            free = [i for i, c in enumerate(board(it.page)) if c == "."]
            cell(it.page, free[number])
            it.wait("demo.dataset.running === 'false'")
        before = it.saved("moves")
        press(it.page, "Take back")
        assert it.saved("moves") == before[:2]
        assert status(it.page) == "Taken back. You are to move."
        press(it.page, "New game: it begins")
        it.wait("demo.dataset.running === 'false'")
        press(it.page, "Take back")
        assert it.saved("moves") == []
        assert status(it.page) == "Taken back. Let it move."


def test_python_sets_up_a_position(shown: Opened, widget: PlayTicTacToe) -> None:
    with shown(widget) as it:
        it.page.evaluate("model.set('moves', [4, 0])")
        assert board(it.page) == "O...X...." and status(it.page) == "X is to move."
        it.page.evaluate("model.set('simulations', 7)")
        assert it.page.get_by_label("Simulations before a move").input_value() == "7"
        cell(it.page, 8)
        it.wait("demo.dataset.running === 'false'")
        assert it.count("nodes") == 7


def test_a_keyboard_alone_plays_and_leaves(shown: Opened, widget: PlayTicTacToe) -> None:
    with shown(widget) as it:
        page = it.page
        page.get_by_role("link", name="above").focus()
        order = []
        for _ in range(20):
            page.keyboard.press("Tab")
            order.append(page.evaluate(
                "(({ labels, ariaLabel, textContent }) =>"
                " ariaLabel || labels?.[0]?.textContent || textContent)(document.activeElement)"
            ))  # fmt: skip
            if order[-1] == "below":
                break
        assert order[0] == "top row, left column: empty" and len(order) == 18
        assert order[9:] == [
            "New game: you begin", "New game: it begins", "Take back", "Let it move",
            "Let it play both sides", "Simulations before a move", "Without its policy",
            "The moves at the root, in numbers", "below",
        ]  # fmt: skip
        page.locator(".wm-cell").nth(4).focus()
        page.keyboard.press("Enter")
        it.wait("demo.dataset.running === 'false'")
        assert it.saved("moves")[0] == 4 and len(it.saved("moves")) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_into_320_pixels(shown: Opened, widget: PlayTicTacToe, scheme: str) -> None:
    with shown(widget, width=320, color_scheme=scheme) as it:
        cell(it.page, 4)
        it.wait("demo.dataset.running === 'false'")
        assert it.page.evaluate("document.documentElement.scrollWidth") <= 320
        boxes = [one.bounding_box() for one in it.page.locator(".wm-demo button").all()]
        assert all(box and box["height"] >= 44 and box["width"] >= 44 for box in boxes)


def test_the_root_stays_in_sight_until_the_reader_moves_the_tree(
    shown: Opened, green: MuZero
) -> None:
    """On a page that is narrower than the tree."""
    at = "document.querySelector('.wm-tree-scroll').scrollLeft"
    with shown(PlayTicTacToe(green, simulations=120), width=320) as it:
        scroll = it.page.locator(".wm-tree-scroll")
        assert scroll.get_attribute("tabindex") is None, "nothing to scroll yet"
        cell(it.page, 4)
        it.wait("demo.dataset.running === 'false'")
        root, frame = it.page.locator(".wm-node rect").first.bounding_box(), scroll.bounding_box()
        assert root and frame and it.page.locator("svg.wm-tree").bounding_box()["width"] > 320
        middle = root["x"] + root["width"] / 2
        assert abs(middle - frame["x"] - frame["width"] / 2) < 30
        scroll.focus()
        it.page.keyboard.press("ArrowLeft")
        it.page.wait_for_function(f"{at} < {it.page.evaluate(at)}")
        it.page.evaluate("document.querySelector('.wm-tree-scroll').scrollLeft = 7")
        press(it.page, "Let it move")  # a new tree, in the middle again
        it.wait("demo.dataset.running === 'false'")
        assert it.page.evaluate(at) > 7


def test_stillness_shows_a_whole_tree_at_once(shown: Opened, agent: MuZero) -> None:
    with shown(PlayTicTacToe(agent, simulations=100), reduced_motion="reduce") as it:
        it.page.evaluate("""
            window.seen = new Set();
            const demo = document.querySelector(".wm-demo");
            new MutationObserver(() => seen.add(demo.dataset.nodes))
              .observe(demo, { attributes: true, attributeFilter: ["data-nodes"] });
        """)
        cell(it.page, 0)
        it.wait("demo.dataset.running === 'false'")
        assert set(it.page.evaluate("[...seen]")) <= {"0", "100"}
