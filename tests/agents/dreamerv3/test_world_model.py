"""What the world model's loss is made of, held to torch.distributions."""

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Categorical, kl_divergence

from wmlib.agents.dreamerv3 import RSSMConfig, WorldModel, WorldModelConfig
from wmlib.nets.heads import symlog, two_hot
from wmlib.training import seeded

T, B = 5, 3
CONFIG = WorldModelConfig(
    rssm=RSSMConfig(8, 4, 3, 4, 6), units=8, embedding=6, free_nats=0.5, horizon=5.0
)


def batch(shape: tuple[int, ...], pictures: bool) -> tuple[torch.Tensor, ...]:
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 256, (T, B, *shape), np.uint8)
    observations = seen if pictures else rng.normal(0, 100, seen.shape).astype(np.float32)
    first, ended = torch.zeros(T, B), torch.zeros(T, B)
    first[0], first[3, 1], ended[2, 1] = 1, 1, 1
    return (
        torch.from_numpy(observations),
        torch.from_numpy(np.eye(2, dtype=np.float32)[rng.integers(2, size=(T, B))]),
        torch.from_numpy(rng.normal(0, 50, (T, B)).astype(np.float32)),
        first, ended, torch.rand(T, B, 3, generator=torch.Generator().manual_seed(1)),
    )  # fmt: skip


@pytest.mark.parametrize(("shape", "pictures"), [((4, 4, 1), True), ((6,), False)])
def test_the_loss_is_the_sum_of_its_parts(shape: tuple[int, ...], pictures: bool) -> None:
    model = seeded(0, lambda: WorldModel(CONFIG, shape, pictures, 2))
    with torch.no_grad():
        model.reward[-1].weight.normal_(generator=torch.Generator().manual_seed(2))
    observations, actions, rewards, first, ended, uniform = batch(shape, pictures)
    loss, states = model.loss(observations, actions, rewards, first, ended, uniform)

    flat = observations.flatten(2)
    seen = flat / 255 if pictures else symlog(flat)
    states, posterior = model.rssm.filter(model.encoder(seen), actions, first, uniform)
    painted = (model.paint(states.features) - seen).square().sum(-1).mean()
    torch.testing.assert_close(loss.observation, painted)
    says = Categorical(logits=model.reward(states.features))
    paid = -(two_hot(rewards, model.bins) * says.logits).sum(-1).mean()
    torch.testing.assert_close(loss.reward, paid)
    going = Bernoulli(model.expected_continue(states.features))
    wanted = 0.8 * (1 - ended)  # of horizon 5
    goes_on = -(wanted * going.probs.log() + (1 - wanted) * (1 - going.probs).log()).mean()
    torch.testing.assert_close(loss.continues, goes_on)
    prior = model.rssm.prior(states.deterministic)
    nats = kl_divergence(Categorical(logits=posterior), Categorical(logits=prior)).sum(-1)
    torch.testing.assert_close(loss.divergence, nats.mean().detach())
    owed = 1.1 * nats.clamp(min=0.5).mean()
    torch.testing.assert_close(loss.total, painted + paid + goes_on + owed)


def test_a_new_model_expects_no_reward() -> None:
    model = seeded(0, lambda: WorldModel(CONFIG, (3,), False, 2))
    features = 100 * torch.randn(20, 8 + 12)
    assert torch.equal(model.expected_reward(features), torch.zeros(20))


def test_bools_are_pictures_of_ones() -> None:
    model = seeded(0, lambda: WorldModel(CONFIG, (2, 2), True, 2))
    seen = torch.tensor([[[True, False], [False, True]]])
    assert model.numbers(seen).tolist() == [[1, 0, 0, 1]]
    assert model.numbers(255 * seen.to(torch.uint8)).tolist() == [[1, 0, 0, 1]]
