"""Plain tree search with the rules: bitboards against the boards, and what it must not miss."""

import numpy as np
import pytest

from wmlib.envs.bitboards import Bitboards
from wmlib.envs.boards import (
    BOARDS,
    ConnectFour,
    PerfectPlayer,
    RandomPlayer,
    TicTacToe,
    any_of,
    every_move,
    minimax,
)
from wmlib.envs.mcts import MCTSPlayer
from wmlib.matches import play_match


@pytest.mark.parametrize("name", BOARDS)
def test_bitboards_keep_the_rules_of_the_board(name: str) -> None:
    game, rng = BOARDS[name](), np.random.default_rng(0)
    rules, cells, wins = Bitboards(game), game.start(300), 0
    while len(cells):
        own, other = rules.pack(cells)
        assert ((rules.stones((own | other)[:, None]) != 0) == game.legal(cells)).all()
        moves = RandomPlayer(game).move(cells, rng)
        after = game.step(cells, moves)
        stones = own | rules.stones(own | other, moves)
        np.testing.assert_array_equal(rules.pack(after.cells), (other, stones))
        np.testing.assert_array_equal(rules.won(stones), after.rewards == 1)
        np.testing.assert_array_equal(
            rules.won(stones) | ((other | stones) == rules.full), after.over
        )
        wins += after.rewards.sum()
        cells = after.cells[~after.over]
    assert 150 < wins < 300


def test_every_line_is_seen_and_nothing_else() -> None:
    """A line is won by its four cells, and by no three of them; no four go around a corner."""
    game = ConnectFour()
    rules = Bitboards(game)
    whole = np.bitwise_or.reduce(rules.bits[game.lines], axis=1)  # (69,)
    assert rules.won(whole).all()
    assert not rules.won(whole[:, None] ^ rules.bits[game.lines]).any()
    rng = np.random.default_rng(0)
    cells = (rng.random((4000, 42)) < 0.35).astype(np.int8)
    straight = (cells[:, game.lines] == 1).all(-1).any(-1)
    np.testing.assert_array_equal(rules.won(rules.pack(cells)[0]), straight)
    assert 0.1 < straight.mean() < 0.9


@pytest.mark.parametrize("name", BOARDS)
def test_random_ends_are_those_of_random_players(name: str) -> None:
    """From the first board, and where columns are full: games played move by move say as much."""
    game, rng, count = BOARDS[name](), np.random.default_rng(0), 12_000
    start = game.start(1)
    for move in (0, 0, 0, 0, 0, 0, 1, 2, 2)[: 0 if name == "tic-tac-toe" else 9]:
        start = game.step(start, np.array([move])).cells
    for first in (game.start(1), start):
        cells, numbers, ends, sign = first.repeat(count, 0), np.arange(count), np.zeros(count), 1
        while len(cells):
            cells, rewards, over = game.step(cells, any_of(game.legal(cells), rng))
            ends[numbers] = sign * rewards
            cells, numbers, sign = cells[~over], numbers[~over], -sign
        drawn = Bitboards(game).random_ends(*Bitboards(game).pack(first.repeat(count, 0)), rng)
        for end in (-1, 0, 1):  # four standard errors of a difference of shares
            assert abs((ends == end).mean() - (drawn == end).mean()) < 4 * (0.5 / count) ** 0.5


def test_a_random_end_of_one_move_is_that_move() -> None:
    game, rng = TicTacToe(), np.random.default_rng(0)
    cells = np.array([[1, -1, 1, 1, -1, -1, -1, 1, 0], [1, 1, 0, -1, -1, 1, 1, -1, -1],
                      [1, -1, 1, 1, -1, -1, -1, 1, 1]], np.int8)  # fmt: skip
    rules = Bitboards(game)
    assert rules.random_ends(*rules.pack(cells), rng).tolist() == [0, 1, 0]


def random_boards(game: ConnectFour, count: int) -> np.ndarray:
    """Positions of random games, of every length."""
    rng, cells, found = np.random.default_rng(1), game.start(count), []
    while len(cells):
        found.append(cells)
        after = game.step(cells, RandomPlayer(game).move(cells, rng))
        cells = after.cells[~after.over]
    return np.concatenate(found)


def wins(game: ConnectFour, cells: np.ndarray) -> np.ndarray:
    """(N, A) which moves win at once."""
    found = np.zeros((len(cells), game.actions), bool)
    (where, moves), after = every_move(game, cells)
    found[where, moves] = after.rewards == 1
    return found


def test_it_wins_where_it_can_and_blocks_where_it_must() -> None:
    game, rng = ConnectFour(), np.random.default_rng(0)
    player, cells = MCTSPlayer(game, 200), random_boards(game, 60)
    own, theirs = wins(game, cells), wins(game, -cells)
    can = own.any(1)
    assert own[can][np.arange(can.sum()), player.move(cells[can], rng)].mean() > 0.98
    must = ~can & (theirs.sum(1) == 1)
    blocked = game.step(cells[must], theirs[must].argmax(1)).cells  # else it is lost anyway
    holds = ~wins(game, blocked).any(1)
    must[must] = holds
    assert theirs[must][np.arange(must.sum()), player.move(cells[must], rng)].mean() > 0.95
    assert can.sum() > 100 < must.sum()


def test_with_many_rollouts_it_does_not_lose_tic_tac_toe() -> None:
    game = TicTacToe()
    match = play_match(game, MCTSPlayer(game, 3000), PerfectPlayer(game), 60, 0)
    assert match.losses == match.wins == 0
    weak = play_match(game, MCTSPlayer(game, 5), PerfectPlayer(game), 60, 0)
    assert weak.losses > 10


def test_more_rollouts_find_better_moves() -> None:
    game, rng = TicTacToe(), np.random.default_rng(0)
    solution = minimax(game)
    some = rng.choice(len(solution.cells), 400, replace=False)
    shares = []
    for rollouts in (1, 10, 100, 500):
        moves = MCTSPlayer(game, rollouts).move(solution.cells[some], rng)
        shares.append(solution.best[some, moves].mean())
    assert shares == sorted(shares) and shares[0] < 0.75 and shares[-1] > 0.95


def test_visits_are_the_rollouts_and_fall_on_legal_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    game = ConnectFour()
    cells = random_boards(game, 20)
    player = MCTSPlayer(game, 30)
    visits = player.visits(cells, np.random.default_rng(0))
    assert (visits.sum(1) == 30).all() and not visits[~game.legal(cells)].any()
    assert (visits[game.legal(cells)] >= 1).all()  # each is tried before any twice
    monkeypatch.setattr("wmlib.envs.mcts.MOST_NODES", 500)  # few trees at a time
    moves = player.move(cells, np.random.default_rng(0))
    assert game.legal(cells)[np.arange(len(cells)), moves].all()


@pytest.mark.parametrize("wrong", [0, -3, 1.5, True])
def test_a_search_without_rollouts_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="rollouts must be"):
        MCTSPlayer(ConnectFour(), wrong)
