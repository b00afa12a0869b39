"""Can the board be read from a hidden state, although nothing ever asked for it?

A linear probe is fitted to states whose boards are known, and read at others. `imagined` makes such
states: lines of the game along which the model never looks at a board again.

Letters: N positions or lines, S numbers in a hidden state, C cells, A actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from wmlib.agents.muzero.networks import Networks
from wmlib.envs.boards import Game, any_of


class Imagined(NamedTuple):
    """Lines that are still going on after so many moves."""

    starts: np.ndarray
    """(N,) of which position each began"""
    cells: np.ndarray
    """(N, C) the true boards, as who is to move sees them"""
    states: np.ndarray
    """(N, S) what h and so many steps of g have made of the first board"""


@torch.inference_mode()
def imagined(
    networks: Networks,
    game: Game,
    cells: np.ndarray,
    moves: Callable[[np.ndarray], np.ndarray],
    steps: int,
    rng: np.random.Generator,
) -> list[Imagined]:
    """Play on from positions (N, C), and let the model follow without looking.

    Args:
        networks: that follow: h sees the first board, g each move.
        game: whose rules say what is there in truth.
        cells: (N, C) from which games go on.
        moves: positions to masks (N, A) of the moves that are drawn from, each as likely.
        steps: how many moves.
        rng: that they are drawn with.

    Returns:
        after 0, 1, ..., `steps` moves, the lines on which the game is not over.
    """
    starts, device = np.arange(len(cells)), next(networks.parameters()).device
    state = networks.represent(torch.from_numpy(game.observe(cells)).to(device))  # (N, S)
    lines = [Imagined(starts, cells, state.cpu().numpy())]
    for _ in range(steps):
        drawn = any_of(moves(cells), rng)  # (N,)
        state, _ = networks.dynamics(state, torch.from_numpy(drawn).to(device))
        cells, _, over = game.step(cells, drawn)
        going = np.flatnonzero(~over)
        starts, cells, state = starts[going], cells[going], state[going]
        lines.append(Imagined(starts, cells, state.cpu().numpy()))
    return lines


def with_one(states: np.ndarray) -> np.ndarray:
    """States (N, S) and a 1 behind each: (N, S + 1)."""
    return np.hstack([states, np.ones((len(states), 1))])


def fit_probe(states: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Least squares (S + 1, 3 C) from states (N, S) to boards (N, C).

    For each cell three numbers are asked for: 1 for what lies there (opponent, nothing, own), and 0
    for the rest. A little ridge keeps them finite where states say the same thing twice.
    """
    inputs = with_one(states)  # (N, S + 1)
    wanted = np.eye(3)[cells + 1].reshape(len(cells), -1)  # (N, 3 C)
    squares = inputs.T @ inputs + 1e-3 * np.eye(inputs.shape[1])
    return np.linalg.solve(squares, inputs.T @ wanted)


def read_board(probe: np.ndarray, states: np.ndarray) -> np.ndarray:
    """The boards (N, C) that a probe reads off states (N, S)."""
    scores = (with_one(states) @ probe).reshape(len(states), -1, 3)  # (N, C, 3)
    board: np.ndarray = scores.argmax(2) - 1
    return board


def shares_read(
    networks: Networks, game: Game, cells: np.ndarray, steps: int, lines: int, seed: int = 0
) -> np.ndarray:
    """How much of the board is read off states after 0, 1, ..., `steps` moves without looking.

    From each position go so many lines of random legal moves. Those from one half of the positions
    serve to fit, the others to read.

    Returns:
        (2, steps + 1) shares of cells: by one probe for all depths, and by a probe for each.
    """
    rng = np.random.default_rng(seed)
    half = rng.permutation(len(cells)) % 2 == 0  # (N,)
    walks = imagined(networks, game, np.tile(cells, (lines, 1)), game.legal, steps, rng)
    fits = [np.tile(half, lines)[walk.starts] for walk in walks]
    together = fit_probe(
        np.concatenate([walk.states[fit] for walk, fit in zip(walks, fits, strict=True)]),
        np.concatenate([walk.cells[fit] for walk, fit in zip(walks, fits, strict=True)]),
    )
    shares = []
    for (_, board, states), fit in zip(walks, fits, strict=True):
        own = fit_probe(states[fit], board[fit])
        shares.append(
            [(read_board(probe, states[~fit]) == board[~fit]).mean() for probe in (together, own)]
        )
    return np.array(shares).T
