"""Two players of a board game: a match of many games, and a walk through every line.

Letters: N positions, C cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wmlib.envs.boards import Game, Player, every_move
from wmlib.typed import PositiveInt, Seed, typed


@dataclass(frozen=True)
class Match:
    """How games ended, as the first of two players sees it."""

    wins: int
    draws: int
    losses: int

    @property
    def games(self) -> int:
        return self.wins + self.draws + self.losses


@typed
def play_match(
    game: Game, player: Player, opponent: Player, games: PositiveInt, seed: Seed
) -> Match:
    """Games of two players from the empty board; they begin in turns, the player the first.

    Args:
        game: that is played, all games side by side.
        player, opponent: who play it.
        games: how many.
        seed: of all that is drawn.
    """
    rng = np.random.default_rng(seed)
    cells, numbers, results = game.start(games), np.arange(games), np.zeros(games)
    for turn in range(1_000_000):
        ours = (numbers + turn) % 2 == 0  # (N,) whether the player is to move
        moves = np.empty(len(cells), int)  # (N,)
        for mask, who in ((ours, player), (~ours, opponent)):
            if mask.any():
                moves[mask] = who.move(cells[mask], rng)
        cells, rewards, over = game.step(cells, moves)
        results[numbers] += np.where(ours, rewards, -rewards)
        cells, numbers = cells[~over], numbers[~over]
        if not len(numbers):
            break
    return _counted(results)


def _counted(results: np.ndarray) -> Match:
    wins, losses = int((results > 0).sum()), int((results < 0).sum())
    return Match(wins, len(results) - wins - losses, losses)


@typed
def every_line(game: Game, player: Player, alone: bool = True) -> tuple[Match, Match]:
    """All that can happen to a player who draws nothing, whatever the opponent does.

    Args:
        game: that is played.
        player: whose moves are one in each position.
        alone: ask for a move in one position at a time, as in a game against a person; else in all
            at once. That is faster, but in company a network's numbers may differ in their last
            bits.

    Returns:
        How every line ends in which the player begins, and every line in which the opponent does.
        Where both come to 0 losses, nobody can beat the player.
    """
    began, followed = (_lines(game, player, ours, alone) for ours in (True, False))
    return began, followed


def _lines(game: Game, player: Player, ours: bool, alone: bool) -> Match:
    rng, ended, cells = np.random.default_rng(0), [np.empty(0)], game.start(1)
    while len(cells):
        if ours:
            different, back = np.unique(cells, axis=0, return_inverse=True)
            asked = np.split(different, len(different)) if alone else [different]
            moves = np.concatenate([player.move(some, rng) for some in asked])
            cells, rewards, over = game.step(cells, moves[back.reshape(-1)])
        else:
            _, (cells, rewards, over) = every_move(game, cells)
        ended.append(rewards[over] if ours else -rewards[over])
        cells, ours = cells[~over], not ours
    return _counted(np.concatenate(ended))
