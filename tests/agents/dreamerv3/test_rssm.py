"""The categorical state-space model, held to torch.distributions and to plain loops."""

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from wmlib.agents.dreamerv3 import RSSM, RSSMConfig, State, balanced, divergence
from wmlib.agents.dreamerv3.rssm import BlockGRU
from wmlib.training import seeded

T, B, E, A = 7, 3, 5, 2
CONFIG = RSSMConfig(deterministic=8, blocks=4, variables=3, classes=4, units=6)


@pytest.fixture
def rssm() -> RSSM:
    return seeded(0, lambda: RSSM(CONFIG, E, A))


def stretch() -> tuple[torch.Tensor, ...]:
    """Embeddings, actions, where episodes begin (one in the middle), and dice."""
    generator = torch.Generator().manual_seed(1)
    first = torch.zeros(T, B)
    first[0], first[4, 1] = 1, 1
    return (
        torch.randn(T, B, E, generator=generator),
        torch.rand(T, B, A, generator=generator) * 2 - 1,
        first,
        torch.rand(T, B, CONFIG.variables, generator=generator),
    )


def dice(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(9, 3, 4, generator=generator).log_softmax(-1).requires_grad_()


def test_the_divergence_is_that_of_torch_distributions() -> None:
    one, other = dice(0), dice(1)
    expected = kl_divergence(Categorical(logits=one), Categorical(logits=other)).sum(-1)
    torch.testing.assert_close(divergence(one, other), expected)


def test_each_side_of_the_divergence_teaches_one_side() -> None:
    posterior, prior = dice(0), dice(1)
    dynamics, representation = balanced(posterior, prior, 0.0)
    torch.testing.assert_close(dynamics, representation)
    of_dynamics = torch.autograd.grad(dynamics.sum(), (posterior, prior), allow_unused=True)
    assert of_dynamics[0] is None and of_dynamics[1].any()
    of_other = torch.autograd.grad(representation.sum(), (posterior, prior), allow_unused=True)
    assert of_other[0].any() and of_other[1] is None


def test_below_the_free_nats_nobody_owes_anything() -> None:
    posterior, prior = dice(0), dice(1)
    free = 1.7  # five of the nine are below
    for side, learner in zip(balanced(posterior, prior, free), (prior, posterior), strict=True):
        owed = torch.autograd.grad(side.sum(), learner)[0].flatten(1).any(1)
        assert torch.equal(owed, divergence(posterior, prior) > free)
        assert (side >= free).all()


def test_no_die_has_an_impossible_face(rssm: RSSM) -> None:
    hidden = 1e3 * torch.randn(50, CONFIG.deterministic)
    faces = rssm.prior(hidden).exp()
    assert float(faces.min().detach()) >= 0.01 / CONFIG.classes * (1 - 1e-5)


def test_the_cell_in_blocks_is_a_loop_over_blocks() -> None:
    cell = seeded(0, lambda: BlockGRU(CONFIG, 5))
    state, inputs = torch.randn(B, 8), torch.randn(B, 5)
    g, size = CONFIG.blocks, 8 // CONFIG.blocks
    mixed = torch.cat(
        [
            torch.cat([state[:, size * i : size * (i + 1)], inputs], 1) @ cell.mix.weight[i]
            + cell.mix.bias[i]
            for i in range(g)
        ],
        1,
    )
    scale = (mixed.square().mean(1, keepdim=True) + 1e-4).rsqrt()
    mixed = torch.nn.functional.silu(mixed * scale * cell.norm.weight)
    expected = []
    for i in range(g):
        own = slice(size * i, size * (i + 1))
        gates = mixed[:, own] @ cell.gates.weight[i] + cell.gates.bias[i]
        reset, candidate, update = gates.split(size, 1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update - 1)
        expected.append(update * candidate + (1 - update) * state[:, own])
    torch.testing.assert_close(cell(state, inputs), torch.cat(expected, 1))


def test_a_boundary_in_a_batch_resets_the_state(rssm: RSSM) -> None:
    """What follows a new episode is what it would be if the stretch began there."""
    embeddings, actions, first, uniform = stretch()
    whole, posterior = rssm.filter(embeddings, actions, first, uniform)
    cut = slice(4, None), slice(1, 2)
    alone, other = rssm.filter(embeddings[cut], actions[cut], first[cut], uniform[cut])
    torch.testing.assert_close(posterior[cut], other)
    for part, one in zip(whole, alone, strict=True):
        torch.testing.assert_close(part[cut], one)


def test_imagining_with_given_actions_is_the_prior_of_filtering(rssm: RSSM) -> None:
    embeddings, actions, first, uniform = stretch()
    states, _ = rssm.filter(embeddings, actions, first, uniform)
    for t in range(1, T):
        known = State(*(part[t - 1] for part in states))
        imagined = rssm.imagine(known, actions[t], uniform[t])
        same = first[t] == 0
        torch.testing.assert_close(imagined.deterministic[same], states.deterministic[t][same])
        faces = rssm.prior(states.deterministic[t]).exp().cumsum(-1)  # (B, Z, K)
        came = imagined.stochastic.unflatten(-1, (3, 4)).argmax(-1)  # (B, Z)
        above = faces.gather(-1, came[..., None]).squeeze(-1)
        assert (above[same] > uniform[t][same]).all()


def test_blocks_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="blocks must divide deterministic, got 3 and 8"):
        RSSM(RSSMConfig(deterministic=8, blocks=3), E, A)
