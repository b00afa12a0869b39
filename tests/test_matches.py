"""Matches of two players, and the walk through every line."""

import numpy as np

from wmlib.envs.boards import PerfectPlayer, RandomPlayer, TicTacToe, minimax
from wmlib.matches import Match, every_line, play_match

GAME = TicTacToe()
SOLUTION = minimax(GAME)


class First:
    """Takes the first best move, or the first legal one."""

    def __init__(self, wise: bool = True) -> None:
        self.wise, self.asked = wise, 0

    def move(self, cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        self.asked += len(cells)
        allowed = SOLUTION.best[SOLUTION.find(cells)] if self.wise else GAME.legal(cells)
        return allowed.argmax(1)


def lines(cells: tuple[int, ...], player: First, ours: bool) -> list[int]:
    """Every end of a game, one after the other: 1 won by the player, 0 drawn, -1 lost."""
    board = np.array([cells], np.int8)
    moves = player.move(board, np.random.default_rng(0)) if ours else np.flatnonzero(board == 0)
    ends = []
    for move in moves:
        (after,), (reward,), (over,) = GAME.step(board, np.array([move]))
        if over:
            ends.append(int(reward) * (1 if ours else -1))
        else:
            ends += lines(tuple(after.tolist()), player, not ours)
    return ends


def test_every_line_is_walked() -> None:
    for wise in (True, False):
        found = every_line(GAME, First(wise))
        assert found == every_line(GAME, First(wise), alone=False)
        for ours, match in zip((True, False), found, strict=True):
            ends = lines((0,) * 9, First(wise), ours)
            assert match == Match(ends.count(1), ends.count(0), ends.count(-1))
            assert (match.losses == 0) == wise
            assert match.games == len(ends) > 50


def test_perfect_players_draw_and_a_random_one_loses() -> None:
    perfect, random = PerfectPlayer(GAME), RandomPlayer(GAME)
    assert play_match(GAME, perfect, perfect, 40, 0) == Match(0, 40, 0)
    beaten = play_match(GAME, random, perfect, 200, 1)
    assert beaten.wins == 0 and beaten.losses > 100 and beaten.games == 200
    assert play_match(GAME, random, perfect, 200, 1) == beaten


def test_players_begin_in_turns() -> None:
    """The first legal move each time: who begins takes 0, 2, 4, 6 and wins."""
    assert play_match(GAME, First(False), First(False), 7, 0) == Match(4, 0, 3)
