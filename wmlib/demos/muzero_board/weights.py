"""MuZero for the page: its networks as they play, and a probe that reads small boards off states.

The networks are small, so all numbers stay float32: what plays in the page is what was examined in
Python.

Letters: S numbers in a hidden state, C cells.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from wmlib.agents.muzero import MuZero, Spaces
from wmlib.agents.muzero.probe import fit_probe, imagined
from wmlib.demos.page.blocks import pack
from wmlib.envs.boards import TicTacToe, minimax

DEPTH = 6
"""moves that the model follows without looking, in the lines that the probe is fitted to"""


def pack_player(agent: MuZero, game: TicTacToe) -> bytes:
    """What a page needs of an agent that plays this game.

    Raises:
        ValueError: it plays something else, or a number is NaN or infinite, which the message
            names.
    """
    if agent.spaces != (wanted := Spaces.of(game)):
        raise ValueError(f"the agent must play {game.name}, with {wanted}, got {agent.spaces}")
    networks = agent.average
    arrays = {name: _numpy(part) for name, part in networks.named_parameters()}
    arrays |= {
        "values.atoms": _numpy(networks.values.atoms),
        "rewards.atoms": _numpy(networks.rewards.atoms),
    }
    drops = game.actions < game.cells  # a move names a column, and not a cell
    if not drops:  # of a larger board little can be read off a state
        probe = board_probe(agent, game)  # (S + 1, 3 C)
        arrays |= {"probe.weight": probe[:-1].T, "probe.bias": probe[-1]}
    about = {
        "networks": dataclasses.asdict(networks.config),
        "inputs": int(np.prod(game.shape)),
        "actions": game.actions,
        "discount": agent.discount,
        "rows": game.rows,
        "columns": game.columns,
        "drops": drops,
        "probe": not drops,
        "lines": game.lines.tolist(),
    }
    return pack(arrays, {}, about)


def board_probe(agent: MuZero, game: TicTacToe) -> np.ndarray:
    """One probe (S + 1, 3 C) for all depths of a tree.

    It is fitted to lines from every position: some by random legal moves, some by the moves that
    the network itself likes best, which a tree follows most.

    Raises:
        ValueError: the game has too many positions.
    """
    cells, player = minimax(game).cells, agent.player(game, 0)

    def liked(positions: np.ndarray) -> np.ndarray:
        chosen: np.ndarray = np.eye(game.actions, dtype=bool)[player.move(positions)]
        return chosen

    rng = np.random.default_rng(0)
    lines = [
        line
        for moves in (game.legal, liked)
        for line in imagined(agent.average, game, cells, moves, DEPTH, rng)
    ]
    return fit_probe(*(np.concatenate([line[part] for line in lines]) for part in (2, 1)))


def check_moves(game: TicTacToe, moves: list[int]) -> None:
    """Refuse moves that no game begins with.

    Raises:
        ValueError: one of them is not legal, or comes after the end.
    """
    cells, over = game.start(1), False
    for move in moves:
        if not 0 <= move < game.actions:
            raise ValueError(f"a move must be in [0, {game.actions - 1}], got {move}")
        if over:
            raise ValueError(f"the game is over before move {move} of {moves}")
        after = game.step(cells, np.array([move]))
        cells, over = after.cells, bool(after.over[0])


def _numpy(tensor: Any) -> np.ndarray:
    array: np.ndarray = tensor.detach().cpu().numpy()
    return array
