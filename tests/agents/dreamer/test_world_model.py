"""What the world model's loss is made of, held to torch.distributions."""

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from wmlib.agents.dreamer import RSSMConfig, WorldModel, WorldModelConfig
from wmlib.training import seeded

T, B = 5, 3


@pytest.mark.parametrize("channels", [(), (4, 8)])
def test_the_loss_is_minus_the_evidence_lower_bound(channels: tuple[int, ...]) -> None:
    config = WorldModelConfig(
        frame=(8, 8, 2), actions=2, rssm=RSSMConfig(6, 4, 8), units=8, embedding=8,
        channels=channels, free_nats=0.0, reward_scale=0.5, continues=True, continue_weight=3.0,
    )  # fmt: skip
    model = seeded(0, lambda: WorldModel(config))
    rng = np.random.default_rng(0)
    frames = torch.from_numpy(rng.integers(0, 256, (T, B, 8, 8, 2), np.uint8))
    actions = torch.from_numpy(rng.uniform(-1, 1, (T, B, 2)).astype(np.float32))
    rewards = torch.from_numpy(rng.normal(size=(T, B)).astype(np.float32))
    first, ended = torch.zeros(T, B), torch.zeros(T, B)
    first[0], first[3, 1], ended[2, 1] = 1, 1, 1
    noise = torch.randn(T, B, 4, generator=torch.Generator().manual_seed(1))
    loss, states = model.loss(frames, actions, rewards, first, ended, noise)

    pictures = frames.permute(0, 1, 4, 2, 3) / 255 - 0.5
    _, posterior, prior = model.rssm.filter(model.embed(pictures), actions, first, noise)
    constant = 0.5 * np.log(2 * np.pi)
    painted = -Normal(model.paint(states), 1).log_prob(pictures).sum((2, 3, 4)) - 128 * constant
    torch.testing.assert_close(loss.picture, painted.mean())
    expected = model.expected_reward(states.features)
    paid = (-Normal(expected, 1).log_prob(0.5 * rewards) - constant) * (1 - first)
    torch.testing.assert_close(loss.reward, paid.mean())
    nats = kl_divergence(Normal(*posterior), Normal(*prior)).sum(-1).mean()
    torch.testing.assert_close(loss.divergence, nats)
    going = -Bernoulli(model.expected_continue(states.features)).log_prob(1 - ended).mean()
    torch.testing.assert_close(loss.continues, going)
    torch.testing.assert_close(loss.total, painted.mean() + paid.mean() + nats + 3 * going)


def test_free_nats_cost_nothing_and_teach_nothing() -> None:
    config = WorldModelConfig(frame=(4, 4, 1), channels=(), rssm=RSSMConfig(6, 4, 8), free_nats=1e3)
    model = seeded(0, lambda: WorldModel(config))
    frames = torch.zeros(T, B, 4, 4, 1, dtype=torch.uint8)
    nothing = torch.zeros(T, B)
    loss, _ = model.loss(
        frames, torch.zeros(T, B, 1), nothing, nothing, nothing, torch.zeros(T, B, 4)
    )
    assert float((loss.total - loss.picture - loss.reward).detach()) == pytest.approx(1e3)
    loss.total.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.rssm.to_prior.parameters())


def test_frames_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 8, got frame 10 x 10 and channels"):
        WorldModelConfig(frame=(10, 10, 4), channels=(8, 8, 8))
