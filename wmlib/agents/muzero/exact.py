"""Models that are not learned but true: what a search finds in them can be checked.

Letters: W worlds, S states, N positions, C cells, A actions.
"""

from __future__ import annotations

import numpy as np

from wmlib.agents.muzero.search import RecurrentFn, Root, Step
from wmlib.envs.boards import Game
from wmlib.envs.finite import FiniteMDPs
from wmlib.typed import NonNegativeFloat, Seed, typed


@typed
def finite_model(
    mdps: FiniteMDPs, noise: NonNegativeFloat = 0.3, seed: Seed = 1
) -> tuple[Root, RecurrentFn]:
    """Random finite worlds as a search knows them, from the first state of each.

    Their steps are exact, priors say nothing, and values are off by normal noise.

    Args:
        mdps: W worlds.
        noise: its deviation.
        seed: that it is drawn with.
    """
    truth = mdps.values().max(2)  # (W, S)
    guesses = truth + noise * np.random.default_rng(seed).normal(size=truth.shape)  # (W, S)

    def uniform(count: int) -> np.ndarray:
        return np.full((count, mdps.actions), 1 / mdps.actions)

    def recurrent_fn(states: np.ndarray, actions: np.ndarray) -> Step:
        rewards, goes_on, after = mdps.step(states, actions)
        discounts, values = mdps.discount * goes_on, guesses[tuple(after.T)]
        return Step(rewards, discounts, uniform(len(after)), values, after)

    start = mdps.start()  # (W, 2)
    return Root(uniform(len(start)), guesses[:, 0], start), recurrent_fn


def game_model(game: Game, cells: np.ndarray, opponent: float = -1.0) -> tuple[Root, RecurrentFn]:
    """The rules of a board game as a search knows them, from positions (N, C).

    Of legal moves each is as likely, and values say nothing. A state is a position and whether the
    game is over there: (N, C + 1).

    Args:
        game: of two players.
        cells: where the searches begin.
        opponent: what a unit of the opponent's value is worth; anything but -1 is wrong.
    """

    def prior(board: np.ndarray) -> np.ndarray:
        free = game.legal(board)  # (N, A)
        shares: np.ndarray = free / np.maximum(free.sum(1, keepdims=True), 1)
        return shares

    def recurrent_fn(states: np.ndarray, actions: np.ndarray) -> Step:
        going = states[:, -1] == 0  # (N,) past its end a game stands still
        after, rewards, over = states[:, :-1].copy(), np.zeros(len(states)), ~going
        after[going], rewards[going], over[going] = game.step(after[going], actions[going])
        following = np.concatenate([after, over[:, None]], 1)  # (N, C + 1)
        discounts = np.where(over, 0.0, opponent)
        return Step(rewards, discounts, prior(after), np.zeros(len(after)), following)

    states = np.concatenate([cells, np.zeros_like(cells[:, :1])], 1)  # (N, C + 1)
    return Root(prior(cells), np.zeros(len(cells)), states), recurrent_fn
