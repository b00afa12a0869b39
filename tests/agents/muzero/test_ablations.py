"""MuZero that must paint: what is asked for beside its own losses, and nothing else."""

import numpy as np
import pytest
import torch
from experience import assert_equal_weights
from torch import nn
from torch.nn import functional

from wmlib.agents.muzero import MuZero, MuZeroConfig, NetworkConfig, Spaces, play
from wmlib.agents.muzero.ablations import Painter, Pictured, painting_loss
from wmlib.agents.muzero.agent import unrolled
from wmlib.envs.boards import TicTacToe

GAME = TicTacToe()
SMALL = MuZeroConfig(
    networks=NetworkConfig(state=12, units=24, layers=1), simulations=4, games=16, batch=32,
    unroll=3, capacity=300,
)  # fmt: skip


def filled(agent: MuZero) -> Pictured:
    """Some of its games, after which the buffer has begun anew at its front."""
    buffer = agent.buffer()
    rng = np.random.default_rng(0)
    while buffer.total < 400:
        played = play(GAME, lambda *seen: agent.think(*seen, rng=rng), GAME.start(16), 1.0, rng)
        buffer.extend(played)
    assert isinstance(buffer, Pictured)
    return buffer


def test_its_buffer_draws_the_same_steps_and_what_was_seen_at_each() -> None:
    agent = Painter(Spaces.of(GAME), SMALL)
    buffer = filled(agent)
    drawn = buffer.draw(np.random.default_rng(5), 64, 3)
    plain = super(Pictured, buffer).draw(np.random.default_rng(5), 64, 3)
    assert drawn.observations.shape == (64, 4, 2, 3, 3)
    np.testing.assert_array_equal(drawn.observations[:, 0], plain.observations)
    for name in ("actions", "rewards", "values", "policies"):
        np.testing.assert_array_equal(getattr(drawn, name), getattr(plain, name))
    on = drawn.policies.any(-1)  # (B, K + 1)
    assert 0 < on[:, 3].sum() < 64
    for k in range(3):
        before, after = (
            drawn.observations[on[:, k + 1], at].reshape(-1, 2, 9) for at in (k, k + 1)
        )
        stone = np.eye(9)[drawn.actions[on[:, k + 1], k]]
        np.testing.assert_array_equal(after[:, 1], before[:, 0] + stone)  # as the opponent sees it
        np.testing.assert_array_equal(after[:, 0], before[:, 1])


def test_without_weight_it_learns_as_one_that_does_not_paint() -> None:
    """The first weights, the draws and the losses are the same; with weight they part."""
    plain = MuZero(Spaces.of(GAME), SMALL, seed=2)
    painters = [Painter(Spaces.of(GAME), SMALL, seed=2, weight=weight) for weight in (0.0, 1.0)]
    buffer = filled(painters[0])
    begun = [part.clone() for part in painters[1].decoder.parameters()]
    told = [agent.learn(buffer, 3) for agent in painters]
    plain_buffer = plain.buffer()
    plain_buffer.restore(buffer.state())
    assert plain.learn(plain_buffer, 3) == pytest.approx(told[0], rel=1e-4)
    for one, other in zip(
        plain.networks.parameters(), painters[0].networks.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    apart = [
        float((one - other).abs().max().detach())
        for one, other in zip(
            plain.networks.parameters(), painters[1].networks.parameters(), strict=True
        )
    ]
    assert max(apart) > 1e-3
    assert any(
        not torch.equal(*pair) for pair in zip(begun, painters[1].decoder.parameters(), strict=True)
    )
    with pytest.raises(AssertionError):
        assert_equal_weights(painters[0], painters[1])


def test_what_is_painted_counts_step_by_step_and_not_past_the_end() -> None:
    generator = torch.Generator().manual_seed(0)
    decoder = nn.Linear(5, 8)
    states = torch.rand(3, 4, 5, generator=generator)  # (K + 1, B, S)
    pictures = (torch.rand(4, 3, 2, 4, generator=generator) < 0.5).float()  # (B, K + 1, 2, 4)
    seen = torch.ones(4, 3, dtype=torch.bool)
    seen[1, 1:] = seen[3, 2:] = False
    by_hand = 0.0
    for game in range(4):
        for k in range(3):
            if seen[game, k]:
                loss = functional.binary_cross_entropy(
                    decoder(states[k, game]).sigmoid(), pictures[game, k].flatten()
                )
                by_hand += float(loss.detach()) * (1 if k == 0 else 1 / 2) / 4
    found = painting_loss(decoder, states, pictures, seen)
    assert float(found.detach()) == pytest.approx(by_hand, rel=1e-4)


def test_it_comes_to_paint_what_it_has_not_looked_at() -> None:
    """A decoder reads later boards off imagined states better than before, and better than always
    the same board."""
    agent = Painter(Spaces.of(GAME), SMALL, weight=20.0)
    buffer = filled(agent)
    batch = buffer.draw(np.random.default_rng(9), 200, 3)
    pictures = torch.from_numpy(batch.observations)
    seen = torch.from_numpy(batch.policies.any(-1))

    def missed() -> float:
        with torch.no_grad():
            states, _ = unrolled(agent.networks, pictures[:, 0], torch.from_numpy(batch.actions))
            later = torch.stack(states[1:]), pictures[:, 1:], seen[:, 1:]
            return float(painting_loss(agent.decoder, *later))

    before = missed()
    agent.learn(buffer, 150)
    usual = pictures[:, 1:][seen[:, 1:]].mean(0)  # (2, 3, 3)
    always = (
        functional.binary_cross_entropy(
            usual.expand_as(pictures[:, 1:]), pictures[:, 1:], reduction="none"
        )
        .flatten(2)
        .mean(-1)
    )
    weights = torch.tensor([1.0, 0.5, 0.5])
    assert missed() < 0.8 * float((weights * always * seen[:, 1:]).sum(1).mean()) < before
