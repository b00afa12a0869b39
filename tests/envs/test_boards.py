"""Board games: their rules by hand, and minimax against an independent search of one game."""

import functools

import numpy as np
import pytest

from wmlib.envs.boards import (
    BOARDS,
    ConnectFour,
    PerfectPlayer,
    RandomPlayer,
    TicTacToe,
    every_move,
    lines,
    minimax,
)

GAME = TicTacToe()
SOLUTION = minimax(GAME)


def won(board: tuple[int, ...], who: int) -> bool:
    triples = ("012", "345", "678", "036", "147", "258", "048", "246")
    return any(all(board[int(cell)] == who for cell in triple) for triple in triples)


@functools.cache
def best(board: tuple[int, ...]) -> int:
    """The value of a board for who is to move (1), by plain recursion."""
    if won(board, -1):
        return -1
    free = [cell for cell in range(9) if not board[cell]]
    if not free:
        return 0
    return max(-best(tuple(-x for x in (*board[:c], 1, *board[c + 1 :]))) for c in free)


def test_minimax_knows_every_position_that_can_be_reached() -> None:
    assert len(SOLUTION.cells) == len(np.unique(SOLUTION.cells, axis=0)) == 4520
    stones = np.bincount((SOLUTION.cells != 0).sum(1)).tolist()
    assert stones == [1, 9, 72, 252, 756, 1140, 1372, 696, 222]
    assert SOLUTION.values[0] == 0  # with best play nobody wins
    assert [best(tuple(row)) for row in SOLUTION.cells.tolist()] == SOLUTION.values.tolist()
    assert ((SOLUTION.actions == -np.inf) == ~GAME.legal(SOLUTION.cells)).all()
    corner = SOLUTION.actions[SOLUTION.find(np.array([[-1, 0, 0, 0, 0, 0, 0, 0, 0]]))][0]
    assert corner.tolist() == [-np.inf, -1, -1, -1, 0, -1, -1, -1, -1]  # only the centre holds


def test_positions_are_found_and_others_refused() -> None:
    some = np.array([4519, 0, 17])
    assert SOLUTION.find(SOLUTION.cells[some]).tolist() == some.tolist()
    with pytest.raises(ValueError, match=r"no game goes on from \[1, 1, 1, 0"):
        SOLUTION.find(np.array([[1, 1, 1, 0, -1, -1, -1, 0, 0]]))
    with pytest.raises(ValueError, match="too many"):
        minimax(ConnectFour())


def test_a_line_wins_and_a_full_board_is_a_draw() -> None:
    cells = np.array([[1, 1, 0, -1, -1, 0, 0, 0, 0], [1, -1, 1, -1, -1, 1, 0, 1, -1],
                      [0, 0, 0, 0, 0, 0, 0, 0, 0]], np.int8)  # fmt: skip
    after, rewards, over = GAME.step(cells, np.array([2, 6, 4]))
    assert rewards.tolist() == [1, 0, 0] and over.tolist() == [True, True, False]
    assert after[2].tolist() == [0, 0, 0, 0, -1, 0, 0, 0, 0]  # as the other player sees it
    assert after[0].tolist() == [-1, -1, -1, 1, 1, 0, 0, 0, 0]
    assert (cells[2] == 0).all()  # what was given is left alone
    seen = GAME.observe(cells[:1])
    assert seen.shape == (1, 2, 3, 3) and seen.dtype == np.float32
    assert seen[0].reshape(2, 9).tolist() == [[1, 1, *[0] * 7], [0, 0, 0, 1, 1, *[0] * 4]]


@pytest.mark.parametrize("move", [3, 0])
def test_an_illegal_move_is_refused(move: int) -> None:
    cells = np.array([[1, 1, 0, -1, -1, 0, 0, 0, 0]], np.int8)
    with pytest.raises(ValueError, match=f"move {move} is not legal at "):
        GAME.step(cells, np.array([move]))


def test_lines_are_counted() -> None:
    assert len(lines(3, 3, 3)) == 8
    assert len(lines(6, 7, 4)) == 69
    assert sorted(map(tuple, lines(3, 3, 3).tolist())) == [
        (0, 1, 2), (0, 3, 6), (0, 4, 8), (1, 4, 7), (2, 4, 6), (2, 5, 8), (3, 4, 5), (6, 7, 8)
    ]  # fmt: skip


def test_stones_fall_in_connect_four() -> None:
    game, cells = ConnectFour(), ConnectFour().start(1)
    for move in (3, 3, 2, 2, 1, 1):
        cells, rewards, over = game.step(cells, np.array([move]))
        assert not over[0] and rewards[0] == 0
    board = cells.reshape(6, 7)
    assert board[5].tolist() == [0, 1, 1, 1, 0, 0, 0]
    assert board[4].tolist() == [0, -1, -1, -1, 0, 0, 0]
    cells, rewards, over = game.step(cells, np.array([0]))
    assert rewards[0] == 1 and over[0]
    full = game.start(1)
    for _ in range(6):
        full, _, _ = game.step(full, np.array([0]))
    assert game.legal(full)[0].tolist() == [False, *[True] * 6]


@pytest.mark.parametrize("name", BOARDS)
def test_random_games_end_as_the_rules_say(name: str) -> None:
    game, rng = BOARDS[name](), np.random.default_rng(0)
    cells, ended, plies = game.start(200), 0, 0
    while len(cells):
        moves = RandomPlayer(game).move(cells, rng)
        cells, rewards, over = game.step(cells, moves)
        straight = (cells[:, game.lines] == -1).all(-1).any(-1)
        assert (straight == (rewards == 1)).all()
        assert (over == (straight | (cells != 0).all(1))).all()
        ended, plies, cells = ended + over.sum(), plies + 1, cells[~over]
        assert game.legal(cells).any(1).all()
    assert ended == 200 and plies <= game.cells


def test_every_move_is_every_legal_one() -> None:
    (where, moves), after = every_move(GAME, SOLUTION.cells[:10])
    assert where.tolist() == [0] * 9 + [i for i in range(1, 10) for _ in range(8)]
    assert moves[:9].tolist() == list(range(9)) and len(after.cells) == 81


def test_a_perfect_player_is_never_beaten_and_a_random_one_is() -> None:
    perfect, cells = PerfectPlayer(GAME), SOLUTION.cells
    moves = perfect.move(cells, np.random.default_rng(0))
    assert SOLUTION.best[np.arange(4520), moves].all()
    again = perfect.move(cells, np.random.default_rng(1))
    assert (moves != again).any()  # any of the best
    wrong = RandomPlayer(GAME).move(cells, np.random.default_rng(0))
    assert not SOLUTION.best[np.arange(4520), wrong].all()
