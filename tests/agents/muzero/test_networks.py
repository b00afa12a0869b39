"""h, g and f: what a state is, what a number is, and where a gradient goes."""

import numpy as np
import pytest
import torch

from wmlib.agents.muzero import Batch, NetworkConfig, Networks, Support, losses
from wmlib.agents.muzero.agent import half_gradient
from wmlib.training import seeded

SMALL = NetworkConfig(state=5, units=8, layers=1, value_support=10.0, reward_support=2.0, atoms=4)


def networks(seed: int = 0) -> Networks:
    made = seeded(seed, lambda: Networks(6, 3, SMALL))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():  # the heads begin at 0
        for layer in (made.f[-1], made.g[-1]):
            layer.weight.normal_(generator=generator)
    return made


def batch(B: int = 4, K: int = 3) -> Batch:
    rng = np.random.default_rng(0)
    policies = rng.dirichlet(np.ones(3), (B, K + 1)).astype(np.float32)
    policies[-1, 2:] = 0  # past the end of a game
    return Batch(
        rng.random((B, 2, 3), dtype=np.float32), rng.integers(3, size=(B, K)),
        rng.uniform(-2, 2, (B, K)).astype(np.float32),
        rng.uniform(-10, 10, (B, K + 1)).astype(np.float32), policies,
        np.ones((B, K + 1), np.float32),
    )  # fmt: skip


def test_hidden_states_reach_from_0_to_1() -> None:
    made = networks()
    state = made.represent(torch.randn(7, 2, 3))
    following, reward = made.dynamics(state, torch.tensor([0, 1, 2, 0, 1, 2, 0]))
    policy, value = made.predict(following)
    assert (reward.shape, policy.shape, value.shape) == ((7, 9), (7, 3), (7, 9))
    for states in (state, following):
        assert states.shape == (7, 5)
        assert (states.min(1).values == 0).all() and (states.max(1).values == 1).all()


def test_at_first_nothing_is_expected() -> None:
    made = Networks(6, 3, SMALL)
    state = made.represent(torch.randn(7, 2, 3))
    policy, value = made.predict(state)
    assert (policy == 0).all() and (made.values.number(value) == 0).all()
    _, reward = made.dynamics(state, torch.zeros(7, dtype=torch.long))
    assert (made.rewards.number(reward) == 0).all()


@pytest.mark.parametrize("number", [-300.0, -3.7, 0.0, 0.02, 1.0, 259.0])
def test_a_number_that_is_learned_comes_back(number: float) -> None:
    support = Support("value", 300.0, 20)
    logits = torch.zeros(1, 41, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = support.loss(logits, torch.tensor([number])).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    found = float(support.number(logits.detach()))
    assert found == pytest.approx(number, abs=0.02, rel=0.01)


def test_a_support_that_is_too_small_is_an_error_that_names_both() -> None:
    support = Support("value", 117.0, 10)
    support.check(np.array([117.0, -116.0]))
    message = "value_support must hold every value that is seen: it reaches to 117, and .* of 259"
    with pytest.raises(ValueError, match=message):
        support.check(np.array([3.0, -259.0]))


def test_half_of_a_gradient_flows() -> None:
    state = torch.tensor([0.2, 0.7], requires_grad=True)
    halved = half_gradient(state)
    torch.testing.assert_close(halved, state)
    (halved * torch.tensor([3.0, 5.0])).sum().backward()
    torch.testing.assert_close(state.grad, torch.tensor([1.5, 2.5]))


def cross_entropy(target: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return -(target * logits.log_softmax(-1)).sum(-1).mean()


def by_hand(made: Networks, given: Batch, flows: float) -> list[torch.Tensor]:
    """The losses step by step; of a gradient, the share `flows` goes back into each state."""
    seen, actions, rewards, values, policies, _ = map(torch.from_numpy, given)
    K, state = actions.shape[1], made.represent(seen)
    told = [torch.zeros(()) for _ in range(3)]
    for k in range(K + 1):
        policy, value = made.predict(state)
        scale = 1 / K if k else 1.0
        told[0] = told[0] + scale * cross_entropy(policies[:, k], policy)
        told[1] = told[1] + scale * made.values.loss(value, values[:, k]).mean()
        if k < K:
            below = flows * state + (1 - flows) * state.detach()
            state, reward = made.dynamics(below, actions[:, k])
            told[2] = told[2] + made.rewards.loss(reward, rewards[:, k]).mean() / K
    return told


def gradient(total: torch.Tensor, made: Networks) -> torch.Tensor:
    found = torch.autograd.grad(total, list(made.parameters()))
    return torch.cat([part.flatten() for part in found])


def test_losses_are_those_of_a_loop_and_gradients_are_halved_at_each_step() -> None:
    made, given = networks(), batch()
    told = losses(made, given)
    torch.testing.assert_close(told, torch.stack(by_hand(made, given, 0.5)))
    found = gradient(told.sum(), made)
    torch.testing.assert_close(found, gradient(sum(by_hand(made, given, 0.5)), made))
    whole = gradient(sum(by_hand(made, given, 1.0)), made)
    assert (found - whole).norm() > 0.01 * whole.norm()


def test_past_where_a_game_was_cut_off_nothing_is_asked() -> None:
    made, given = networks(), batch()
    given.known[1, 2:] = 0
    told = losses(made, given)
    assert not torch.allclose(told, losses(made, batch()))
    wild = batch()
    wild.known[:] = given.known
    wild.values[1, 2:], wild.rewards[1, 2:], wild.policies[1, 2:] = 7, 2, 0.1
    torch.testing.assert_close(losses(made, wild), told)
    wild.rewards[1, 1] = -2  # the last step before it paid what it paid
    assert not torch.allclose(losses(made, wild), told)
