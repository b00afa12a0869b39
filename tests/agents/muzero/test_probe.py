"""Boards that are read off hidden states, and lines along which a model does not look."""

import numpy as np
import pytest
import torch

from wmlib.agents.muzero import NetworkConfig, Networks
from wmlib.agents.muzero.probe import fit_probe, imagined, read_board, shares_read
from wmlib.envs.boards import TicTacToe, minimax

GAME = TicTacToe()


@pytest.fixture(scope="module")
def networks() -> Networks:
    torch.manual_seed(0)
    return Networks(18, 9, NetworkConfig(state=16, units=32))


def test_a_board_that_is_written_in_a_state_is_read() -> None:
    cells = minimax(GAME).cells
    hidden = np.hstack([cells == 1, cells == -1]) @ np.random.default_rng(0).normal(size=(18, 40))
    probe = fit_probe(hidden[::2], cells[::2])
    assert probe.shape == (41, 27)
    assert (read_board(probe, hidden[1::2]) == cells[1::2]).all()
    nothing = np.zeros((len(cells), 4))  # says nothing: what lies there most often
    read = read_board(fit_probe(nothing, cells), nothing)
    usual = [np.bincount(column + 1, minlength=3).argmax() - 1 for column in cells.T]
    assert (read == usual).all()


def test_a_line_is_what_the_networks_say_one_step_at_a_time(networks: Networks) -> None:
    cells = minimax(GAME).cells[::50]
    first, *others = imagined(networks, GAME, cells, GAME.legal, 4, np.random.default_rng(3))
    assert (first.starts == np.arange(len(cells))).all() and (first.cells == cells).all()
    with torch.no_grad():
        seen = networks.represent(torch.from_numpy(GAME.observe(cells)))
    np.testing.assert_allclose(first.states, seen.numpy(), rtol=0, atol=1e-6)
    before = first
    for moves, line in enumerate(others, 1):
        above = np.searchsorted(before.starts, line.starts)
        assert (before.starts[above] == line.starts).all()
        old, new = before.cells[above], -line.cells  # as who has moved sees both
        assert ((old != new).sum(1) == 1).all() and ((new - old).sum(1) == 1).all()
        assert ((line.cells != 0).sum(1) == (cells[line.starts] != 0).sum(1) + moves).all()
        with torch.no_grad():
            state, _ = networks.dynamics(
                torch.from_numpy(before.states[above]),
                torch.from_numpy((old != new).argmax(1)),
            )
        np.testing.assert_allclose(line.states, state.numpy(), rtol=0, atol=1e-5)
        before = line
    assert 0 < len(before.starts) < len(cells)


def test_only_the_moves_that_are_asked_for_are_made(networks: Networks) -> None:
    solution = minimax(GAME)

    def best(cells: np.ndarray) -> np.ndarray:
        return solution.best[solution.find(cells)]

    drawn = solution.cells[solution.values == 0][:200]
    for line in imagined(networks, GAME, drawn, best, 5, np.random.default_rng(0)):
        assert (solution.values[solution.find(line.cells)] == 0).all()


class Rules(Networks):
    """Networks whose state is the board in two planes, and whether it is the other player's turn.

    Either the planes change places with each move, so that the first is always of who is to move;
    or each belongs to one player for ever.
    """

    change = True

    def represent(self, observation: torch.Tensor) -> torch.Tensor:
        return torch.cat([observation.flatten(1), torch.zeros(len(observation), 1)], 1)

    def dynamics(
        self, state: torch.Tensor, action: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        first, second, turn = state.split([9, 9, 1], 1)
        stone = torch.nn.functional.one_hot(action, self.actions)
        if self.change:
            first, second = second, first + stone
        else:
            first, second = first + (1 - turn) * stone, second + turn * stone
        return torch.cat([first, second, 1 - turn], 1), torch.zeros(len(state), 3)


def test_one_probe_reads_all_depths_only_where_all_are_written_alike(networks: Networks) -> None:
    cells = minimax(GAME).cells[::8]
    rules = Rules(18, 9, NetworkConfig(state=19, units=8))
    shares = shares_read(rules, GAME, cells, 3, lines=2)
    np.testing.assert_array_equal(shares, np.ones((2, 4)))
    rules.change = False
    one, own = shares_read(rules, GAME, cells, 3, lines=2)
    assert (own == 1).all() and (one[1::2] < 0.6).all()
    blank = shares_read(networks, GAME, cells, 3, lines=2)
    assert (blank[:, 3] < 0.9).all() and (blank > 0.2).all()
