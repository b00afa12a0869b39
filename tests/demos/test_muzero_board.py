"""Board games against MuZero: networks and search in JavaScript, and the games on a page."""

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

from wmlib.agents.muzero import (
    MuZero,
    MuZeroConfig,
    NetworkConfig,
    Root,
    Spaces,
    Step,
    masked,
    search,
    with_noise,
)
from wmlib.agents.muzero.probe import read_board
from wmlib.demos import PlayConnectFour, PlayTicTacToe
from wmlib.demos.muzero_board.muzero_board import PlayBoard
from wmlib.demos.muzero_board.weights import board_probe, pack_player
from wmlib.demos.page.blocks import unpack
from wmlib.envs.boards import ConnectFour, TicTacToe, any_of, minimax
from wmlib.matches import every_line

ROOT = Path(__file__).parents[2]
GAME, SOLUTION, FOUR = TicTacToe(), minimax(TicTacToe()), ConnectFour()
PARITY = 1e-5
MODULES = [
    "page/engine.js", "muzero_board/muzero.js", "muzero_board/rules.js",
]  # fmt: skip
Opened = Callable[..., AbstractContextManager[Any]]  # the fixture `shown`
Script = Callable[..., Any]  # the fixture `run`
OPEN = """
    const { header, arrays } = unpack(input.bytes);
    const [agent, rules] = [new MuZero(arrays, header), new Rules(header)];
    const open = (cells) => think(agent, cells, rules.legal(cells));
"""


@pytest.fixture(scope="module")
def agent() -> MuZero:
    """The player that the book ships."""
    return MuZero.load(ROOT / "artifacts" / "muzero-tictactoe")


@pytest.fixture(scope="module")
def green() -> MuZero:
    """One of random weights that say something, so that its trees are broad."""
    return untrained(GAME)


@pytest.fixture(scope="module")
def four() -> MuZero:
    """The same for Connect Four, of the size of a player."""
    return untrained(FOUR, NetworkConfig(state=128, units=256))


def untrained(game: TicTacToe, networks: NetworkConfig | None = None) -> MuZero:
    made = MuZero(Spaces.of(game), MuZeroConfig(networks=networks or NetworkConfig()), seed=3)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in made.average.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
        made.average.f[-1].weight.mul_(0.2)  # sure of nothing
    return made


def game_of(player: MuZero) -> TicTacToe:
    return GAME if player.spaces == Spaces.of(GAME) else FOUR


def packed(player: MuZero) -> bytes:
    return pack_player(player, game_of(player))


@pytest.fixture(params=["agent", "four"])
def player(request: pytest.FixtureRequest) -> MuZero:
    """One of each game."""
    made: MuZero = request.getfixturevalue(request.param)
    return made


@pytest.fixture(params=["green", "four"])
def unsure(request: pytest.FixtureRequest) -> MuZero:
    """One of each game, whose trees are broad."""
    made: MuZero = request.getfixturevalue(request.param)
    return made


@pytest.fixture(scope="module")
def widget(agent: MuZero) -> PlayTicTacToe:
    return PlayTicTacToe(agent, simulations=20)


@pytest.fixture(scope="module")
def drops(four: MuZero) -> PlayConnectFour:
    return PlayConnectFour(four, simulations=20)


@pytest.fixture(params=["in_node", "in_chromium"])
def run(request: pytest.FixtureRequest) -> Script:
    """`run(body, **input)`: what JavaScript beside the search returns, in Node and in Chromium."""
    return partial(request.getfixturevalue(request.param), MODULES)


class Exact:
    """The same networks in double precision, as a page computes: no rounding breaks a tie."""

    def __init__(self, agent: MuZero) -> None:
        self.networks, self.discount = copy.deepcopy(agent.average).double(), agent.discount
        self.game = game_of(agent)

    @torch.no_grad()
    def root(self, cells: np.ndarray) -> Root:
        state = self.networks.represent(torch.from_numpy(self.game.observe(cells)).double())
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


def positions(game: TicTacToe, count: int) -> np.ndarray:
    """Some positions (N, C), the empty board among them, and some at which a column is full."""
    rng = np.random.default_rng(0)
    known = SOLUTION.cells if game is GAME else from_random_games(rng)
    return known[np.append(0, rng.permutation(len(known))[: count - 1])]


def from_random_games(rng: np.random.Generator) -> np.ndarray:
    """Positions (N, 42) from which Connect Four goes on; the first is the empty board."""
    cells, seen = FOUR.start(40), []
    while len(cells):
        seen.append(cells)
        cells, _, over = FOUR.step(cells, any_of(FOUR.legal(cells), rng))
        cells = cells[~over]
    return np.concatenate(seen)


# --- in Python


def test_what_does_not_play_the_game_is_refused(agent: MuZero, four: MuZero) -> None:
    with pytest.raises(ValueError, match="must play tic-tac-toe, with Spaces"):
        PlayTicTacToe(four)
    with pytest.raises(ValueError, match="must play connect-four, with Spaces"):
        PlayConnectFour(agent)
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
    for options, message in (
        ({"moves": [3, 7]}, r"a move must be in \[0, 6\], got 7"),
        ({"moves": [2] * 7}, "move 2 is not legal at"),
        ({"moves": [0, 1, 0, 1, 0, 1, 0, 1]}, "the game is over before move 1"),
    ):
        with pytest.raises(ValueError, match=message):
            PlayConnectFour(four, **options)


def test_weights_that_are_no_numbers_are_refused(player: MuZero) -> None:
    broken = copy.deepcopy(player)
    with torch.no_grad():
        broken.average.g[0].weight[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"g\.0\.weight holds NaN or infinity"):
        packed(broken)


def test_what_is_set_later_is_checked_too(agent: MuZero) -> None:
    demo = PlayTicTacToe(agent, moves=[4])
    with pytest.raises(traitlets.TraitError, match="move 4 is not legal"):
        demo.moves = [4, 4]
    with pytest.raises(traitlets.TraitError, match=r"simulations must be in \[0, 200\], got 500"):
        demo.simulations = 500
    assert (demo.moves, demo.simulations) == ([4], 50)


def test_all_that_a_page_needs_is_there_and_no_more(player: MuZero) -> None:
    sent, game = packed(player), game_of(player)
    arrays, header = unpack(sent)
    networks = player.average
    for name, weight in networks.named_parameters():
        np.testing.assert_array_equal(arrays[name], weight.detach().numpy())
    count = sum(weight.numel() for weight in networks.parameters()) + 2 * 3
    if game is GAME:
        count += 65 * 27  # a probe
    assert sum(array.size for array in arrays.values()) == count
    assert len(sent) < (300_000 if game is GAME else 3_000_000) and header["discount"] == -1


def test_its_probe_reads_the_boards_that_it_sees(agent: MuZero, four: MuZero) -> None:
    read = read_board(board_probe(agent, GAME), agent.root(GAME.observe(SOLUTION.cells)).state)
    assert (read == SOLUTION.cells).mean() > 0.95
    with pytest.raises(ValueError, match="too many"):
        board_probe(four, FOUR)


# --- in JavaScript


def test_a_page_knows_what_the_networks_know(
    run: Script, player: MuZero, record_property: Any
) -> None:
    """h, g, f and the probe, against PyTorch in single precision."""
    game = game_of(player)
    cells = positions(game, 60)
    actions = np.random.default_rng(1).integers(0, game.actions, 60)
    ours = run(
        OPEN + """
        return input.cells.map((cells, i) => {
          const root = agent.root(cells);
          const step = agent.step(root.state, input.actions[i]);
          return { root, step, belief: agent.probe ? agent.belief(root.state) : null };
        });
        """,
        bytes=packed(player), cells=cells, actions=actions,
    )  # fmt: skip
    root = player.root(game.observe(cells))
    step = player.recurrent_fn(root.state, actions)
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
    if game is GAME:
        read = np.array([one["belief"] for one in ours]).argmax(2) - 1
        assert (read == read_board(board_probe(player, game), root.state)).mean() > 0.999
    varied = 0.1 if game is GAME else 0.03
    assert np.std(root.value) > varied < np.std(step.reward)


SEARCH = (
    OPEN
    + """
    return input.cells.map((cells, i) => {
      const root = { ...agent.root(cells), prior: input.priors[i] };
      const tree = new Tree(agent, root, rules.legal(cells));
      for (let n = 0; n < input.simulations; n++) tree.grow();
      return { visits: tree.root.n, earned: tree.root.q, nodes: tree.nodes.length };
    });
"""
)


@pytest.mark.parametrize("noise", [0.0, 0.25])
@pytest.mark.parametrize(
    ("who", "simulations"),
    [("agent", 50), ("green", 50), ("green", 200), ("four", 200)],
)
def test_a_page_searches_as_python_does(
    run: Script, request: pytest.FixtureRequest, who: str, simulations: int, noise: float
) -> None:
    """The same visits for the same weights and noise."""
    player: MuZero = request.getfixturevalue(who)
    game = game_of(player)
    exact, cells = Exact(player), positions(game, 40)
    legal, root = game.legal(cells), exact.root(cells)
    priors = with_noise(
        masked(root.prior, legal), legal, noise, 0.3, np.random.default_rng(simulations)
    )
    theirs = search(root._replace(prior=priors), exact.recurrent_fn, simulations, legal)
    ours = run(SEARCH, bytes=packed(player), cells=cells, priors=priors, simulations=simulations)
    assert [one["visits"] for one in ours] == theirs.visits.astype(int).tolist()
    assert {one["nodes"] for one in ours} == {simulations + 1}
    earned = np.array([one["earned"] for one in ours])
    np.testing.assert_allclose(earned, theirs.actions, rtol=0, atol=1e-9)
    assert not legal.all(1).all(), "some moves are not legal"
    if who != "agent":
        assert (theirs.visits > 0).sum() > 0.6 * legal.sum(), "broad trees"


def test_without_its_policy_a_page_searches_as_python_does(run: Script, player: MuZero) -> None:
    game = game_of(player)
    exact, cells = Exact(player), positions(game, 40)
    legal, root = game.legal(cells), exact.root(cells)

    def blind(states: np.ndarray, actions: np.ndarray) -> Step:
        step = exact.recurrent_fn(states, actions)
        return step._replace(prior=np.full_like(step.prior, 1 / game.actions))

    priors = masked(np.full(legal.shape, 1 / game.actions), legal)
    theirs = search(root._replace(prior=priors), blind, 100, legal)
    ours = run(
        OPEN
        + """
        return input.cells.map((cells) => {
          const tree = think(withoutPolicy(agent), cells, rules.legal(cells));
          for (let n = 0; n < 100; n++) tree.grow();
          return tree.root.n;
        });
        """,
        bytes=packed(player),
        cells=cells,
    )
    assert ours == theirs.visits.astype(int).tolist()
    assert (theirs.visits > 0).sum() > 0.9 * legal.sum()


class PagePlayer:
    """What moves on a page after so many simulations."""

    def __init__(self, run: Script, agent: MuZero, simulations: int) -> None:
        self.run, self.bytes, self.simulations = run, packed(agent), simulations

    def move(self, cells: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        return np.array(self.run(
            OPEN + """
            return input.cells.map((cells) => {
              const tree = open(cells);
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
def test_a_page_moves_as_the_player_does(in_node: Script, player: MuZero, simulations: int) -> None:
    """In single precision, too, but for near ties."""
    game = game_of(player)
    cells = positions(game, 200)
    ours = PagePlayer(partial(in_node, MODULES), player, simulations).move(cells)
    assert (ours == player.player(game, simulations).move(cells)).mean() >= 0.99


def test_a_root_with_nothing_to_do_is_refused(run: Script, player: MuZero) -> None:
    body = (
        OPEN
        + """
        const full = Array.from({ length: rules.size }, (_, i) => (i % 2 ? 1 : -1));
        try { open(full); } catch (error) { return error.message; }
        return null;
    """
    )
    assert run(body, bytes=packed(player)) == "nothing is legal at the root"


def test_the_rules_of_a_page_are_those_of_the_library(run: Script, player: MuZero) -> None:
    """Random games, move by move."""
    rng, games, wanted, game = np.random.default_rng(0), [], [], game_of(player)
    for _ in range(60):
        cells, moves, over = game.start(1), list[int](), False
        while not over:
            moves.append(int(rng.choice(np.flatnonzero(game.legal(cells)[0]))))
            after = game.step(cells, np.array(moves[-1:]))
            cells, over = after.cells, bool(after.over[0])
            turn = -1 if len(moves) % 2 else 1  # who is to move: X has 1
            games.append(moves.copy())
            winner = int(-turn * after.rewards[0])
            legal = game.legal(cells)[0].tolist()
            wanted.append([(turn * cells[0]).tolist(), legal, over, winner])
    told = run(
        OPEN + """
        return input.games.map((moves) => {
          const cells = rules.after(moves);
          const { over, winner } = rules.outcome(cells);
          return [cells, rules.legal(cells), over, winner];
        });
        """,
        bytes=packed(player), games=games,
    )  # fmt: skip
    assert told == wanted and {one[3] for one in wanted} == {-1, 0, 1}
    assert not all(all(legal) for _, legal, *_ in wanted)


def test_every_line_of_a_page_wins(run: Script, player: MuZero) -> None:
    """Each alone on a board, for either side; without its last stone nobody has won."""
    told = run(
        OPEN + """
        return [1, -1].flatMap((side) => rules.lines.map((line) => {
          const cells = new Array(rules.size).fill(0);
          const [last, ...others] = line;
          for (const cell of others) cells[cell] = side;
          const before = rules.outcome(cells).winner;
          cells[last] = side;
          const after = rules.outcome(cells);
          return before === 0 && after.winner === side && String(after.line) === String(line);
        }));
        """,
        bytes=packed(player),
    )  # fmt: skip
    assert all(told) and len(told) == 2 * (8 if game_of(player) is GAME else 69)


STARTS = {  # of the tree: somebody may win, and few cells or columns are free
    GAME.name: [0, 3, 1, 4],
    FOUR.name: [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 6, 2, 6, 4, 6, 4],
}


def test_nodes_that_no_game_reaches_are_marked(run: Script, unsure: MuZero) -> None:
    """What a walk by Python's rules says of every node of a tree."""
    game = game_of(unsure)
    start = game.start(1)
    for move in STARTS[game.name]:
        start = game.step(start, np.array([move])).cells
    ours = run(
        OPEN + """
        const tree = open(input.cells);
        for (let n = 0; n < 200; n++) tree.grow();
        return tree.nodes.slice(1).map((node) => {
          const path = [];
          for (let at = node; at.parent; at = at.parent) path.unshift(at.action);
          return [path, rules.kindOf(node, input.cells, 1)];
        });
        """,
        bytes=packed(unsure), cells=start[0],
    )  # fmt: skip
    for path, told in ours:
        cells, kind, over = start, "game", False
        for move in path:
            if kind == "game" and (over or not game.legal(cells)[0, move]):
                kind = "past" if over else "taken"
            elif kind == "game":
                after = game.step(cells, np.array([move]))
                cells, over = after.cells, bool(after.over[0])
        assert told == kind, path
    assert {kind for _, kind in ours} == {"game", "past", "taken"}


def test_what_is_drawn_hangs_together_and_nothing_overlaps(in_node: Script, unsure: MuZero) -> None:
    """Node has no page, but where boards stand is plain arithmetic."""
    modules = [*MODULES, "muzero_board/tree.js"]
    places = in_node(
        modules,
        OPEN + """
        const tree = open(new Array(rules.size).fill(0));
        for (let n = 0; n < 200; n++) tree.grow();
        const nodes = kept(tree.nodes);
        const { places, width } = layout(tree.root, nodes, sizes(rules));
        return nodes.map((node) => ({
          depth: node.depth, ...places.get(node), width,
          hangs: !node.parent || places.has(node.parent),
        }));
        """,
        bytes=packed(unsure),
    )  # fmt: skip
    slot = 52 if game_of(unsure) is GAME else 65
    assert len(places) == 48 and all(one["hangs"] for one in places)
    for depth in {one["depth"] for one in places}:
        xs = sorted(one["x"] for one in places if one["depth"] == depth)
        assert xs[0] >= slot / 2 and xs[-1] <= places[0]["width"] - slot / 2
        assert all(right - left >= slot - 1e-9 for left, right in pairwise(xs))


def test_weights_of_another_shape_are_refused_by_name(run: Script, agent: MuZero) -> None:
    body = """
        const { header, arrays } = unpack(input.bytes);
        header.networks.units += 1;
        try { new MuZero(arrays, header); } catch (error) { return error.message; }
        return null;
    """
    assert run(body, bytes=packed(agent)) == "h.0.weight has shape 128,18, expected 129,18"


# --- on a page


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def place(page: Any, action: int) -> None:
    page.locator(".wm-place").nth(action).click()


def status(page: Any) -> str:
    return page.get_by_role("status").text_content() or ""


def told(page: Any, name: str) -> str:
    """The number behind a name."""
    row = page.locator(".wm-fact").filter(has_text=name)
    return str(row.locator(".wm-value").text_content())


def board(page: Any) -> str:
    """What lies there, as the page has it: cells row by row, or columns from above."""
    return "".join(
        one.text_content() or "." for one in page.locator(".wm-cell").all()
    )  # fmt: skip


@pytest.fixture(params=["widget", "drops"])
def either(request: pytest.FixtureRequest) -> PlayBoard:
    """Each of the two games, which think for 20 simulations."""
    made: PlayBoard = request.getfixturevalue(request.param)
    return made


def test_nothing_moves_before_the_reader_does(shown: Opened, either: PlayBoard) -> None:
    with shown(either) as it:
        name = it.page.locator(".wm-demo").get_attribute("aria-label")
        assert name == f"Play {either.title} against MuZero"
        it.page.wait_for_timeout(400)
        assert board(it.page) == "." * either.GAME.cells and it.count("nodes") == 0
        assert status(it.page) == "Make a move, or let it begin."


@pytest.mark.parametrize("who", ["agent", "four"])
def test_the_reader_moves_and_it_answers(
    shown: Opened, request: pytest.FixtureRequest, who: str
) -> None:
    """With the visits of Python's search, and a tree that grew."""
    player: MuZero = request.getfixturevalue(who)
    game = game_of(player)
    demo = {GAME: PlayTicTacToe, FOUR: PlayConnectFour}[game]
    with shown(demo(player, simulations=20)) as it:
        place(it.page, 0)
        assert status(it.page) == "It thinks."
        it.wait("demo.dataset.running === 'false'")
        cells = game.step(game.start(1), np.array([0])).cells
        legal, exact = game.legal(cells), Exact(player)
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
        assert it.page.locator("tbody tr").count() == legal.sum()


def test_its_tree_grows_while_it_thinks(shown: Opened, agent: MuZero) -> None:
    with shown(PlayTicTacToe(agent, simulations=200)) as it:
        place(it.page, 4)
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
        place(it.page, free)  # the reader has that side now, and it answers once
        it.wait("demo.dataset.running === 'false'")
        assert it.saved("moves").count(free) == 1 and it.count("moves") < 9


def test_taken_cells_and_games_that_are_over(shown: Opened, agent: MuZero) -> None:
    with shown(PlayTicTacToe(agent, moves=[0, 3, 1, 4])) as it:
        place(it.page, 3)
        assert status(it.page) == "The middle row, left column is taken."
        place(it.page, 2)
        assert status(it.page) == "Three in a row: X wins."
        assert it.page.locator(".wm-won").count() == 3
        place(it.page, 8)
        assert status(it.page).startswith("Three in a row: X wins. Begin a new game")
        press(it.page, "Let it move")
        assert it.saved("moves") == [0, 3, 1, 4, 2]


def test_a_stone_drops_until_its_column_is_full(shown: Opened, four: MuZero) -> None:
    with shown(PlayConnectFour(four, simulations=0, moves=[3] * 5)) as it:
        column = it.page.locator(".wm-place").nth(3)
        assert column.get_attribute("aria-label") == "column 4: X, O, X, O, X"
        assert column.text_content() == "XOXOX" and board(it.page)[3 * 6] == "."
        column.click()
        it.wait("demo.dataset.running === 'false'")
        assert board(it.page)[3 * 6 : 4 * 6] == "OXOXOX" and it.saved("moves")[5] == 3
        assert len(it.saved("moves")) == 7 and it.saved("moves")[6] != 3
        last = it.page.locator(".wm-last")
        assert last.count() == 1 and last.text_content() == "X"
        column.click()
        assert status(it.page) == "Column 4 is full." and it.count("moves") == 7
        it.page.locator("summary").click()
        press(it.page, "Let it move")
        it.wait("demo.dataset.running === 'false'")
        assert it.page.locator("tbody tr").count() == 6


@pytest.mark.parametrize(
    ("moves", "last"),
    [([0, 6, 1, 6, 2, 5], 3), ([1, 2, 1, 2, 1, 2], 1), ([0, 1, 1, 2, 2, 3, 2, 3, 3, 6], 3)],
)
def test_four_in_a_row_win(shown: Opened, four: MuZero, moves: list[int], last: int) -> None:
    """Across, down and aslant."""
    with shown(PlayConnectFour(four, moves=moves)) as it:
        place(it.page, last)
        assert status(it.page) == "Four in a row: X wins."
        assert it.page.locator(".wm-won").all_text_contents() == ["X"] * 4
        place(it.page, 6)
        assert status(it.page).startswith("Four in a row: X wins. Begin a new game")
        press(it.page, "Take back")
        assert it.saved("moves") == moves and it.page.locator(".wm-won").count() == 0


def test_moves_are_taken_back(shown: Opened, widget: PlayTicTacToe) -> None:
    with shown(widget) as it:
        it.page.get_by_label("Simulations before a move").fill("0")
        press(it.page, "Take back")
        assert status(it.page) == "There is no move to take back."
        for number in (0, 1):
            free = [i for i, c in enumerate(board(it.page)) if c == "."]
            place(it.page, free[number])
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
        place(it.page, 8)
        it.wait("demo.dataset.running === 'false'")
        assert it.count("nodes") == 7


def test_a_keyboard_alone_plays_and_leaves(shown: Opened, either: PlayBoard) -> None:
    with shown(either) as it:
        page, actions = it.page, either.GAME.actions
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
        first = "top row, left column" if actions == 9 else "column 1"
        assert order[0] == f"{first}: empty" and len(order) == actions + 9
        assert order[actions:] == [
            "New game: you begin", "New game: it begins", "Take back", "Let it move",
            "Let it play both sides", "Simulations before a move", "Without its policy",
            "The moves at the root, in numbers", "below",
        ]  # fmt: skip
        page.locator(".wm-place").nth(4).focus()
        page.keyboard.press("Enter")
        it.wait("demo.dataset.running === 'false'")
        assert it.saved("moves")[0] == 4 and len(it.saved("moves")) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_into_320_pixels(shown: Opened, either: PlayBoard, scheme: str) -> None:
    """Buttons are 44 pixels wide and high; a column has less of the one and more of the other."""
    least = 44 if either.GAME is GAME else 32
    with shown(either, width=320, color_scheme=scheme) as it:
        place(it.page, 4)
        it.wait("demo.dataset.running === 'false'")
        assert it.page.evaluate("document.documentElement.scrollWidth") <= 320
        boxes = [one.bounding_box() for one in it.page.locator(".wm-demo button").all()]
        assert all(box and box["height"] >= 44 and box["width"] >= least for box in boxes)
        assert all(max(box["height"], box["width"]) >= 44 for box in boxes)


def test_the_root_stays_in_sight_until_the_reader_moves_the_tree(
    shown: Opened, green: MuZero
) -> None:
    """On a page that is narrower than the tree."""
    at = "document.querySelector('.wm-tree-scroll').scrollLeft"
    with shown(PlayTicTacToe(green, simulations=120), width=320) as it:
        scroll = it.page.locator(".wm-tree-scroll")
        assert scroll.get_attribute("tabindex") is None, "nothing to scroll yet"
        place(it.page, 4)
        it.wait("demo.dataset.running === 'false'")
        root, frame = it.page.locator(".wm-node rect").first.bounding_box(), scroll.bounding_box()
        assert root and frame and it.page.locator("svg.wm-tree").bounding_box()["width"] > 320
        middle = root["x"] + root["width"] / 2
        assert abs(middle - frame["x"] - frame["width"] / 2) < 30
        scroll.focus()
        before = it.page.evaluate(at)
        it.page.keyboard.press("ArrowLeft")
        it.page.wait_for_function(f"{at} < {before}")
        it.page.evaluate("document.querySelector('.wm-tree-scroll').scrollLeft = 7")
        press(it.page, "Let it move")  # a new tree, in the middle again
        it.wait("demo.dataset.running === 'false'")
        assert it.page.evaluate(at) > 7


# Node counts that were seen, and how many frames there were.
WATCH = """
    window.seen = new Set();
    window.frames = 0;
    const demo = document.querySelector(".wm-demo");
    new MutationObserver(() => seen.add(demo.dataset.nodes))
      .observe(demo, { attributes: true, attributeFilter: ["data-nodes"] });
    const count = () => { frames += 1; requestAnimationFrame(count); };
    count();
"""


def test_stillness_shows_a_whole_tree_at_once(shown: Opened, agent: MuZero) -> None:
    with shown(PlayTicTacToe(agent, simulations=100), reduced_motion="reduce") as it:
        it.page.evaluate(WATCH)
        place(it.page, 0)
        it.wait("demo.dataset.running === 'false'")
        assert set(it.page.evaluate("[...seen]")) <= {"0", "100"}


def test_a_slow_machine_stays_awake(shown: Opened, four: MuZero) -> None:
    """Where each simulation takes longer than a frame may, there is one in a frame, also of a tree
    that is shown whole."""
    slow = "let asked = 0; performance.now = () => (asked += 13);"
    demo = PlayConnectFour(four, simulations=30)
    with shown(demo, first=slow, reduced_motion="reduce") as it:
        it.page.evaluate(WATCH)
        place(it.page, 3)
        it.wait("demo.dataset.running === 'false'")
        assert it.page.evaluate("frames") >= 30 and it.count("nodes") == 30
        assert set(it.page.evaluate("[...seen]")) <= {"0", "30"}
