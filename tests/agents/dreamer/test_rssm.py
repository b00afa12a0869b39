"""The recurrent state-space model, held to torch.distributions and to itself step by step."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from wmlib.agents.dreamer import RSSM, Belief, RSSMConfig, State, divergence
from wmlib.training import seeded

T, B, E, A = 7, 3, 5, 2
CONFIG = RSSMConfig(deterministic=6, stochastic=4, units=8)


@pytest.fixture
def rssm() -> RSSM:
    return seeded(0, lambda: RSSM(CONFIG, E, A))


def stretch() -> tuple[torch.Tensor, ...]:
    """Embeddings, actions, where episodes begin (one in the middle), and noise."""
    generator = torch.Generator().manual_seed(1)
    first = torch.zeros(T, B)
    first[0], first[4, 1] = 1, 1
    return (
        torch.randn(T, B, E, generator=generator),
        torch.rand(T, B, A, generator=generator) * 2 - 1,
        first,
        torch.randn(T, B, CONFIG.stochastic, generator=generator),
    )


def test_the_divergence_is_that_of_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(2)
    one, two = (
        Belief(torch.randn(9, 4, generator=generator), torch.rand(9, 4, generator=generator) + 0.1)
        for _ in range(2)
    )
    expected = kl_divergence(Normal(*one), Normal(*two)).sum(-1)
    torch.testing.assert_close(divergence(one, two), expected)
    assert torch.equal(divergence(one, one), torch.zeros(9))


def test_a_boundary_in_a_batch_resets_the_state(rssm: RSSM) -> None:
    """What follows a new episode is what it would be if the stretch began there."""
    embeddings, actions, first, noise = stretch()
    whole, posterior, prior = rssm.filter(embeddings, actions, first, noise)
    cut = slice(4, None), slice(1, 2)
    alone = rssm.filter(embeddings[cut], actions[cut], first[cut], noise[cut])
    for got, expected in zip((whole, posterior, prior), alone, strict=True):
        for part, one in zip(got, expected, strict=True):
            torch.testing.assert_close(part[cut], one)
    changed = actions.clone()
    changed[4, 1] = 1  # nobody took an action into the first observation of an episode
    again, *_ = rssm.filter(embeddings, changed, first, noise)
    assert torch.equal(again.deterministic, whole.deterministic)


def test_imagining_with_given_actions_is_the_prior_of_filtering(rssm: RSSM) -> None:
    """As long as the dice of the dream are what the filter saw."""
    embeddings, actions, first, noise = stretch()
    states, _, prior = rssm.filter(embeddings, actions, first, noise)
    for t in range(1, T):
        known = State(*(part[t - 1] for part in states))
        imagined = rssm.imagine(known, actions[t], noise[t])
        same = first[t] == 0
        expected = prior.mean[t] + prior.deviation[t] * noise[t]
        torch.testing.assert_close(imagined.stochastic[same], expected[same])
        torch.testing.assert_close(imagined.deterministic[same], states.deterministic[t][same])


def test_a_posterior_depends_on_the_picture_and_a_prior_does_not(rssm: RSSM) -> None:
    embeddings, actions, first, noise = stretch()
    _, posterior, prior = rssm.filter(embeddings, actions, first, noise)
    embeddings[-1] += 1
    _, other, same = rssm.filter(embeddings, actions, first, noise)
    assert torch.equal(same.mean, prior.mean)
    assert (other.mean[-1] != posterior.mean[-1]).all()
    assert torch.equal(other.mean[:-1], posterior.mean[:-1])


def test_deviations_are_not_too_small(rssm: RSSM) -> None:
    hidden = 1e3 * torch.randn(50, CONFIG.deterministic)
    assert (rssm.prior(hidden).deviation >= CONFIG.least_deviation).all()
