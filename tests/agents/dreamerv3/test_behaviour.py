"""Actor and critic: REINFORCE against its expectation, ranges, and what really happened."""

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Normal

from wmlib.agents.dreamerv3 import Actor, BehaviourConfig, Critic, Range, State, losses
from wmlib.agents.dreamerv3.behaviour import replay_loss
from wmlib.imagination import Trajectory
from wmlib.nets.heads import two_hot_loss
from wmlib.training import seeded

CONFIG = BehaviourConfig(units=8, layers=1, entropy=0.0, trace=0.8)
F = 6


def actor(discrete: bool, actions: int = 3) -> Actor:
    made = seeded(0, lambda: Actor(F, actions, discrete, CONFIG))
    with torch.no_grad():
        made.network[-1].weight.mul_(100)
    return made


def test_reinforce_is_the_gradient_of_the_expected_return() -> None:
    """One decision, three choices with rewards of their own: the mean over many dreams."""
    choosing, critic = actor(True), seeded(1, lambda: Critic(F, CONFIG))
    features = torch.randn(1, F, generator=torch.Generator().manual_seed(3))
    pays = torch.tensor([0.1, -0.4, 0.9])
    many = features.expand(200_000, F)
    drawn = choosing.draw(many, torch.Generator().manual_seed(4))
    dream = Trajectory(
        torch.stack([many, many]), drawn[None], (drawn @ pays)[None],
        torch.zeros(1, len(many)), State(many, many),
    )  # fmt: skip
    told, _ = losses(dream, torch.ones(200_000), choosing, critic, Range(0.01), CONFIG)
    bias = choosing.network[-1].bias
    (estimate,) = torch.autograd.grad(told.actor, bias)
    (exact,) = torch.autograd.grad(-(choosing.choice(features).exp() @ pays).sum(), bias)
    torch.testing.assert_close(estimate, exact, atol=4e-3, rtol=0)
    assert exact.abs().max() > 0.05


@pytest.mark.parametrize("discrete", [True, False])
def test_log_probability_and_entropy_are_those_of_torch_distributions(discrete: bool) -> None:
    acting = actor(discrete, 2)
    features = torch.randn(50, F, generator=torch.Generator().manual_seed(0))
    action = acting.draw(features, torch.Generator().manual_seed(1))
    logs, entropy = acting.log_probability(features, action)
    if discrete:
        same = Categorical(logits=acting.choice(features))
        torch.testing.assert_close(logs, same.log_prob(action.argmax(-1)))
        torch.testing.assert_close(entropy, same.entropy())
        assert acting.choice(features).exp().min() >= 0.005 * (1 - 1e-5)
    else:
        normal = Normal(*acting.numbers(features))
        torch.testing.assert_close(logs, normal.log_prob(action).sum(-1))
        assert (normal.mean.abs() <= 1).all()
        assert ((normal.stddev >= 0.1) & (normal.stddev <= 1)).all()


def test_the_range_follows_percentiles_and_small_ones_are_left_small() -> None:
    spread = Range(0.5)
    returns = torch.arange(101.0)
    assert float(spread.follow(returns)) == pytest.approx(0.5 * 90)  # from zeros half of the way
    for _ in range(30):
        last = float(spread.follow(returns))
    assert last == pytest.approx(np.percentile(returns, 95) - np.percentile(returns, 5), rel=1e-4)
    assert float(Range(1.0).follow(returns / 1000)) == 1


def test_rewards_a_hundred_times_as_large_make_the_same_actor_loss() -> None:
    """Where the range is above 1: advantages are divided by it."""
    features = torch.randn(4, 50, F, generator=torch.Generator().manual_seed(0))
    actions = torch.eye(3)[torch.randint(3, (3, 50), generator=torch.Generator().manual_seed(1))]
    rewards = torch.randn(3, 50, generator=torch.Generator().manual_seed(2))
    goes_on, end = torch.full((3, 50), 0.9), State(features[-1], features[-1])
    told = []
    for scale in (10.0, 1000.0):
        dream = Trajectory(features, actions, scale * rewards, goes_on, end)
        critic = seeded(1, lambda: Critic(F, CONFIG))
        told.append(losses(dream, torch.ones(50), actor(True), critic, Range(1.0), CONFIG)[0].actor)
    torch.testing.assert_close(told[0], told[1], rtol=1e-3, atol=1e-5)


def test_dreams_that_begin_where_an_episode_had_ended_count_nothing() -> None:
    features = torch.randn(4, 6, F, generator=torch.Generator().manual_seed(0))
    dream = Trajectory(
        features, torch.eye(3)[torch.arange(18).view(3, 6) % 3], torch.ones(3, 6),
        torch.full((3, 6), 0.9), State(features[-1], features[-1]),
    )  # fmt: skip
    critic, begins = seeded(1, lambda: Critic(F, CONFIG)), torch.tensor([1.0, 0, 1, 1, 0, 1])
    told, _ = losses(dream, begins, actor(True), critic, Range(1.0), CONFIG)
    kept = begins.bool()
    fewer = Trajectory(*(part[:, kept] for part in dream[:4]), dream.last)
    same, _ = losses(fewer, torch.ones(4), actor(True), critic, Range(1.0), CONFIG)
    torch.testing.assert_close(told.actor * 6, same.actor * 4)
    torch.testing.assert_close(told.critic * 6, same.critic * 4)


def test_the_slow_critic_follows() -> None:
    critic = seeded(1, lambda: Critic(F, CONFIG))
    with torch.no_grad():
        critic.network[-1].bias.fill_(1.0)
    critic.follow()
    torch.testing.assert_close(critic.slow[-1].bias, torch.full((255,), 0.02))
    assert all(not p.requires_grad for p in critic.slow.parameters())


def test_the_critic_learns_from_what_really_happened() -> None:
    """Lambda-returns by hand, across the end of an episode and across one that a limit cut."""
    t, b, gamma, trace = 6, 2, 0.9, 0.7
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(t, b, F, generator=generator)
    rewards = torch.randn(t, b, generator=generator)
    begun = torch.randn(t, b, generator=generator)
    first, ended = torch.zeros(t, b), torch.zeros(t, b)
    ended[2, 0], first[3, 0] = 1, 1  # the environment ended it
    first[4, 1] = 1  # a limit did
    critic = seeded(1, lambda: Critic(F, CONFIG))
    targets = torch.zeros(t - 1, b)
    for column in range(b):
        following = float(begun[-1, column])
        for row in reversed(range(t - 1)):
            if first[row + 1, column]:
                following = float(begun[row, column])
            else:
                mixed = (1 - trace) * float(begun[row + 1, column]) + trace * following
                alive = gamma * (1 - float(ended[row + 1, column]))
                following = float(rewards[row + 1, column]) + alive * mixed
            targets[row, column] = following
    logits = critic.network(features[:-1])
    nothing = torch.zeros(t - 1, b)  # is what a new slow copy expects
    errors = sum(two_hot_loss(logits, one, critic.bins) for one in (targets, nothing))  # (T - 1, B)
    expected = ((1 - first[1:]) * errors).mean()
    got = replay_loss(critic, features, rewards, first, ended, begun, gamma, trace)
    torch.testing.assert_close(got, expected)
