"""Learning in dreams by REINFORCE: against its expectation, by hand, and to exact values."""

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from wmlib.imagination import Trajectory, imagine
from wmlib.nets.actor_critic import Acting, ActorCritic, ActorCriticConfig
from wmlib.reinforce import losses
from wmlib.training import seeded

CONFIG = ActorCriticConfig(channels=(3, 4), hidden=6, discount=0.9, trace=0.8, entropy=0.01)
FRAME, A = (8, 12, 2), 3
PICTURE = (2, 8, 12)


def made(config: ActorCriticConfig = CONFIG) -> ActorCritic:
    """A network that judges; the heads of a new one are zeros."""
    network = seeded(0, lambda: ActorCritic(config, FRAME, A))
    with torch.no_grad():
        for head in (network.actor, network.critic):
            head.weight.normal_(generator=torch.Generator().manual_seed(1))
    return network


def frames(*shape: int, seed: int = 2) -> Tensor:
    return torch.rand(*shape, *PICTURE, generator=torch.Generator().manual_seed(seed))


def random_dream(t: int, b: int) -> Trajectory:
    generator = torch.Generator().manual_seed(3)
    return Trajectory(
        frames(t + 1, b), torch.eye(A)[torch.randint(A, (t, b), generator=generator)],
        torch.randn(t, b, generator=generator), torch.rand(t, b, generator=generator), None,
    )  # fmt: skip


def test_the_loss_is_that_of_the_papers() -> None:
    network, dream = made(), random_dream(4, 6)
    begins, carry = (
        torch.tensor([1.0, 0, 1, 1, 1, 0]),
        network.burn_in(frames(2, 6), torch.zeros(3, 6)),
    )
    told = losses(network, dream, begins, carry)
    logits, values = network.follow(dream.features, carry)
    following, returns = values[-1].detach(), torch.zeros(4, 6)
    for t in reversed(range(4)):
        mixed = 0.2 * values[t + 1].detach() + 0.8 * following
        following = returns[t] = dream.rewards[t] + 0.9 * dream.continues[t] * mixed
    weights, alive = torch.zeros(4, 6), begins
    for t in range(4):
        weights[t], alive = alive, alive * dream.continues[t]
    index = dream.actions.argmax(-1)
    nats = functional.cross_entropy(logits[:-1].flatten(0, 1), index.flatten(), reduction="none")
    chances = torch.distributions.Categorical(logits=logits[:-1])
    actor = weights * (
        nats.view(4, 6) * (returns - values[:-1].detach()) - 0.01 * chances.entropy()
    )
    critic = weights * functional.mse_loss(values[:-1], returns, reduction="none")
    torch.testing.assert_close(told.actor, actor.mean())
    torch.testing.assert_close(told.critic, critic.mean())
    torch.testing.assert_close(told.returns, returns[0][begins == 1].mean())
    torch.testing.assert_close(told.entropy, chances.entropy().mean().detach())


def test_reinforce_is_the_gradient_of_the_expected_return() -> None:
    """One decision, three choices with rewards of their own: the mean over many dreams."""
    network = made(dataclasses.replace(CONFIG, entropy=0.0))
    pays = torch.tensor([0.1, -0.4, 0.9])
    many, carry = frames(1).expand(100_000, *PICTURE), network.initial(100_000)
    drawn = Acting(network, carry, torch.Generator().manual_seed(4))(many)
    dream = Trajectory(
        torch.stack([many, many]), drawn[None], (drawn @ pays)[None], torch.zeros(1, len(many)),
        None,
    )  # fmt: skip
    bias = network.actor.bias
    (estimate,) = torch.autograd.grad(losses(network, dream, torch.ones(len(many)), carry)[0], bias)
    logits, _, _ = network(frames(1), network.initial(1))
    (exact,) = torch.autograd.grad(-(logits.softmax(-1) @ pays).sum(), bias)
    torch.testing.assert_close(estimate, exact, atol=6e-3, rtol=0)
    assert exact.abs().max() > 0.05


def test_what_follows_an_end_counts_nothing() -> None:
    """Of an imagined end, and of an episode that had ended before the dream began."""
    network, dream = made(), random_dream(4, 6)
    ends = dream.continues.clone()
    ends[1, :3] = 0
    begins, carry = torch.tensor([1.0, 1, 1, 1, 0, 0]), network.initial(6)
    told = losses(network, dream._replace(continues=ends), begins, carry)
    rewards, seen, actions = dream.rewards.clone(), dream.features.clone(), dream.actions.clone()
    rewards[2:, :3], rewards[:, 4:] = 100, 100
    seen[2:, :3], seen[:, 4:] = 0, 0
    actions[2:, :3], actions[:, 4:] = torch.eye(A)[0], torch.eye(A)[0]
    changed = Trajectory(seen, actions, rewards, ends, None)
    other = losses(network, changed, begins, carry)
    for one, two in zip(told[:3], other[:3], strict=True):
        torch.testing.assert_close(one, two)
    counting = losses(network, changed, torch.ones(6), carry)
    assert (counting.critic - told.critic).abs() > 1


class Place(NamedTuple):
    """Where dreams of `Corridor` are: (B,) 0 for A, 1 for B. Its frame is dark or bright."""

    at: Tensor

    @property
    def features(self) -> Tensor:
        return self.at[:, None, None, None].float().expand(-1, *PICTURE)


class Corridor:
    """A dream of two states. From A choice 1 leads to B and earns nothing, others stay and earn
    0.2; from B every choice leads to A and earns 1."""

    def step(self, state: Place, action: Tensor, generator: object) -> tuple[Place, Tensor, Tensor]:
        go = action.argmax(-1) == 1
        at_b = state.at == 1
        reward = torch.where(at_b, 1.0, torch.where(go, 0.0, 0.2))
        return Place((~at_b & go).long()), reward, torch.ones(len(reward))


def test_it_learns_the_exact_values_of_two_states_in_a_dream() -> None:
    config = ActorCriticConfig(channels=(4,), hidden=16, horizon=8, discount=0.8)
    network = seeded(0, lambda: ActorCritic(config, FRAME, A))
    adam = torch.optim.Adam(network.parameters(), lr=5e-3)
    generator, begins = torch.Generator().manual_seed(0), torch.ones(16)
    start = Place(torch.arange(16) % 2)
    for _ in range(400):
        carry = network.initial(16)
        dream = imagine(Corridor(), Acting(network, carry, generator), start, 8, generator)
        told = losses(network, dream, begins, carry)
        adam.zero_grad()
        (told.actor + told.critic).backward()
        adam.step()
    carry = network.initial(2)
    best = imagine(Corridor(), Acting(network, carry, None), Place(torch.arange(2)), 8)
    assert best.rewards.sum(0).tolist() == [4, 4]
    with torch.no_grad():
        _, values = network.follow(best.features[:2], carry)
    worth = torch.tensor([0.8, 1.0]) / (1 - 0.8**2)  # A and B
    torch.testing.assert_close(values, torch.stack([worth, worth.flip(0)]), atol=0.15, rtol=0)
