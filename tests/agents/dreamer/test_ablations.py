"""Dreamer with a part taken out: what is gone is gone, and what is left is as it was."""

import pytest
import torch
from torch import nn
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from wmlib.agents.dreamer import (
    RSSM,
    Actor,
    BehaviourConfig,
    RSSMConfig,
    WorldModel,
    WorldModelConfig,
    divergence,
    exploring,
)
from wmlib.agents.dreamer.ablations import DiceOnly, PathOnly, recording, reinforce, use_rssm
from wmlib.training import seeded

T, B, E, A = 5, 3, 7, 2
CONFIG = RSSMConfig(deterministic=6, stochastic=4, units=8)
SHAPE = WorldModelConfig(
    frame=(4, 4, 1), channels=(), actions=A, rssm=CONFIG, units=8, embedding=E, free_nats=0.0
)


def stretch() -> tuple[torch.Tensor, ...]:
    """Embeddings, actions, one episode's beginning, and noise."""
    generator = torch.Generator().manual_seed(1)
    first = torch.zeros(T, B)
    first[0] = 1
    return (
        torch.randn(T, B, E, generator=generator),
        torch.rand(T, B, A, generator=generator) * 2 - 1,
        first,
        torch.randn(T, B, CONFIG.stochastic, generator=generator),
    )


def test_without_its_path_a_model_knows_no_more_than_its_last_draw() -> None:
    rssm = seeded(0, lambda: DiceOnly(CONFIG, E, A))
    embeddings, actions, first, noise = stretch()
    states, _, _ = rssm.filter(embeddings, actions, first, noise)
    assert not states.deterministic.any()
    other = embeddings.clone()
    other[0] += 1
    changed, *_ = rssm.filter(other, actions, first, noise)
    assert (changed.stochastic[0] != states.stochastic[0]).all()
    # The same draw before, and the past is forgotten.
    last = states._replace(stochastic=states.stochastic[-2], deterministic=torch.zeros(B, 6))
    alone, posterior, _ = rssm.observe(last, actions[-1], embeddings[-1], noise[-1])
    torch.testing.assert_close(alone.stochastic, states.stochastic[-1])
    assert (posterior.deviation > 0).all() and not rssm.imagine(
        last, actions[-1], noise[-1]
    ).deterministic.any()


def test_without_dice_one_future_follows() -> None:
    rssm = seeded(0, lambda: PathOnly(CONFIG, E, A))
    embeddings, actions, first, noise = stretch()
    states, posterior, prior = rssm.filter(embeddings, actions, first, noise)
    again, *_ = rssm.filter(embeddings, actions, first, -noise)
    assert torch.equal(again.stochastic, states.stochastic)
    assert torch.equal(states.stochastic, posterior.mean)
    apart = (posterior.mean - prior.mean).square().sum(-1)
    expected = apart / (2 * CONFIG.least_deviation**2)
    torch.testing.assert_close(divergence(posterior, prior), expected)
    with torch.no_grad():
        for network in (rssm.to_prior, rssm.to_posterior):
            for weight in network[-1].parameters():
                weight.mul_(0.1)
    _, small, _ = rssm.filter(embeddings, actions, first, noise)
    torch.testing.assert_close(small.mean, posterior.mean, atol=0.01, rtol=0.01)


@pytest.mark.parametrize("kind", [DiceOnly, PathOnly])
def test_an_ablated_model_keeps_its_weights_and_learns_with_them(kind: type[RSSM]) -> None:
    model = seeded(0, lambda: WorldModel(SHAPE))
    weights = dict(model.named_parameters())
    use_rssm(model, kind)
    after = dict(model.named_parameters())
    assert type(model.rssm) is kind and weights.keys() == after.keys()
    assert all(after[name] is weight for name, weight in weights.items())
    _, actions, first, noise = stretch()
    frames = torch.randint(0, 256, (T, B, 4, 4, 1), dtype=torch.uint8)
    loss, _ = model.loss(frames, actions, torch.zeros(T, B), first, torch.zeros(T, B), noise)
    loss.total.backward()
    assert all(w.grad is not None and w.grad.any() for w in model.rssm.to_prior.parameters())


def an_actor() -> Actor:
    return seeded(1, lambda: Actor(5, A, BehaviourConfig(units=6, actor_layers=1))).double()


def test_what_is_recorded_are_the_actors_own_draws() -> None:
    actor, features = an_actor(), torch.randn(T, B, 5, dtype=torch.float64)
    act, drawn = recording(actor, torch.Generator().manual_seed(3))
    same = exploring(actor, torch.Generator().manual_seed(3))
    for t in range(T):
        torch.testing.assert_close(act(features[t]), same(features[t]))
    assert len(drawn) == T and not any(draw.requires_grad for draw in drawn)


def test_reinforce_weighs_the_density_of_the_actions_taken() -> None:
    actor = an_actor()
    features = torch.randn(T, B, 5, dtype=torch.float64, requires_grad=True)
    advantages = torch.randn(T, B, dtype=torch.float64)
    drawn = 0.5 * torch.randn(T, B, A, dtype=torch.float64)
    weights = list(actor.parameters())
    found = torch.autograd.grad(
        reinforce(actor, features, drawn, advantages), [*weights, features], allow_unused=True
    )
    assert found[-1] is None, "the dream passes no gradient"
    squashed = TransformedDistribution(Normal(*actor(features.detach())), TanhTransform())
    density = squashed.log_prob(torch.tanh(drawn)).sum(-1)
    expected = torch.autograd.grad(-(density * advantages).mean(), weights)
    for one, other in zip(found, expected, strict=False):
        torch.testing.assert_close(one, other)


def test_both_gradients_agree_where_both_are_exact() -> None:
    """One decision that pays -(a - 0.3)^2: the mean of many estimates of either is the same."""
    actor, n = an_actor(), 40_000
    bias = actor.network[-1].bias
    assert isinstance(bias, nn.Parameter)
    with torch.no_grad():
        bias[A:] -= 4.0  # a deviation of about 0.3 to 0.8 of what it begins with
    features = torch.zeros(n, 5, dtype=torch.float64)

    def pay(action: torch.Tensor) -> torch.Tensor:
        return -(action - 0.3).square().sum(-1)

    generator = torch.Generator().manual_seed(5)
    through = -pay(exploring(actor, generator)(features)).mean()
    act, drawn = recording(actor, generator)
    paid = pay(act(features))
    by_score = reinforce(actor, features, drawn[0], paid - paid.mean())
    one, other = (torch.autograd.grad(loss, bias)[0] for loss in (through, by_score))
    torch.testing.assert_close(one, other, atol=0.03, rtol=0.1)
