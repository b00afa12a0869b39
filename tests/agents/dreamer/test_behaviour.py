"""Actor and value: gradients through the dream, against finite differences and brute force."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from wmlib.agents.dreamer import (
    Actor,
    BehaviourConfig,
    RSSMConfig,
    State,
    WorldModel,
    WorldModelConfig,
    exploring,
    losses,
)
from wmlib.agents.dreamer.behaviour import weights_of
from wmlib.imagination import Trajectory, imagine
from wmlib.training import seeded

S, T = 4, 3
BEHAVIOUR = BehaviourConfig(horizon=T, units=6, actor_layers=1, discount=0.9, trace=0.8)
SHAPE = WorldModelConfig(
    frame=(4, 4, 1),
    channels=(),
    actions=2,
    rssm=RSSMConfig(6, 4, 8),
    units=8,
    embedding=8,
    continues=True,
)


@pytest.fixture
def model() -> WorldModel:
    return seeded(0, lambda: WorldModel(SHAPE)).double()


@pytest.fixture
def actor() -> Actor:
    return seeded(1, lambda: Actor(10, 2, BEHAVIOUR)).double()


def start() -> State:
    generator = torch.Generator().manual_seed(3)
    draw = torch.randn(S, 10, generator=generator, dtype=torch.float64)
    return State(draw[:, :6], draw[:, 6:])


def dream_of(model: WorldModel, actor: Actor, horizon: int = T) -> Trajectory[State]:
    generator = torch.Generator().manual_seed(4)
    return imagine(model, exploring(actor, generator), start(), horizon, generator)


def test_the_actors_gradient_is_that_of_finite_differences(model: WorldModel, actor: Actor) -> None:
    """The dice held fixed; what the actor reads is held fixed too, as the method says."""
    value = seeded(2, lambda: nn.Linear(10, 1)).double()
    bias = actor.network[-1].bias

    def objective() -> torch.Tensor:
        return losses(dream_of(model, actor), torch.ones(S), value, BEHAVIOUR)[0]

    # With one decision nothing that the actor reads hangs on its weights: the gradient is whole.
    def first_only() -> torch.Tensor:
        return losses(dream_of(model, actor, 1), torch.ones(S), value, BEHAVIOUR)[0]

    (gradient,) = torch.autograd.grad(first_only(), bias)
    for i in range(len(bias)):
        with torch.no_grad():
            bias[i] += 1e-6
            above = first_only()
            bias[i] -= 2e-6
            below = first_only()
            bias[i] += 1e-6
        assert float(above - below) / 2e-6 == pytest.approx(float(gradient[i]), rel=1e-5, abs=1e-9)
    assert torch.autograd.grad(objective(), bias)[0].abs().min() > 0


def test_the_gradient_passes_through_several_steps_of_the_dynamics(
    model: WorldModel, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the actor reads is the same in all T decisions, so that the gradient is whole there too;
    how much each decision counts is held fixed, as the method says."""
    value = seeded(2, lambda: nn.Linear(10, 1)).double()
    read = start().features.detach()

    def objective() -> torch.Tensor:
        dice = torch.Generator().manual_seed(4)
        noise = torch.Generator().manual_seed(5)

        def act(features: torch.Tensor) -> torch.Tensor:
            return actor.draw(read, torch.randn(S, 2, generator=noise, dtype=torch.float64))

        return losses(imagine(model, act, start(), T, dice), torch.ones(S), value, BEHAVIOUR)[0]

    held = weights_of(torch.ones(S), dream_of(model, actor).continues, BEHAVIOUR.discount)
    monkeypatch.setattr("wmlib.agents.dreamer.behaviour.weights_of", lambda *_: held)
    for weights in actor.network[-1].parameters():
        (gradient,) = torch.autograd.grad(objective(), weights)
        found = torch.zeros_like(gradient)
        for place in np.ndindex(*weights.shape):
            ends = []
            for step in (1e-5, -2e-5):
                with torch.no_grad():
                    weights[place] += step
                    ends.append(float(objective()))
            with torch.no_grad():
                weights[place] += 1e-5
            found[place] = (ends[0] - ends[1]) / 2e-5
        torch.testing.assert_close(gradient, found, rtol=1e-5, atol=1e-9)
        assert gradient.abs().max() > 1e-3


def test_losses_are_those_of_brute_force() -> None:
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(T + 1, S, 2, generator=generator)
    rewards = torch.randn(T, S, generator=generator)
    goes_on = torch.rand(T, S, generator=generator)
    value = seeded(2, lambda: nn.Linear(2, 1))
    nothing = torch.zeros(T, S, 0)
    begins = (torch.arange(S) % 3 > 0).float()  # some dreams begin where an episode had ended
    dream = Trajectory(features, nothing, rewards, goes_on, start())
    actor_loss, value_loss, mean = losses(dream, begins, value, BEHAVIOUR)
    v = value(features).squeeze(-1).tolist()
    r, c = rewards.tolist(), goes_on.tolist()
    gamma, lam = BEHAVIOUR.discount, BEHAVIOUR.trace
    of_actor, of_value, of_mean = 0.0, 0.0, 0.0
    for s in range(S):
        weight = float(begins[s])
        for t in range(T):
            # The mixture of n-step returns, written out: lambda^(n-1) (1 - lambda), the last whole.
            total, steps = 0.0, T - t
            for n in range(1, steps + 1):
                reached, earned = 1.0, 0.0
                for k in range(n):
                    earned += reached * r[t + k][s]
                    reached *= gamma * c[t + k][s]
                share = lam ** (n - 1) * (1 if n == steps else 1 - lam)
                total += share * (earned + reached * v[t + n][s])
            of_actor -= weight * total / (T * S)
            of_value += weight * 0.5 * (v[t][s] - total) ** 2 / (T * S)
            of_mean += total / (T * S)
            weight *= gamma * c[t][s]
    assert float(actor_loss.detach()) == pytest.approx(of_actor, rel=1e-5)
    assert float(value_loss.detach()) == pytest.approx(of_value, rel=1e-5)
    assert float(mean) == pytest.approx(of_mean, rel=1e-5)


def test_weights_are_the_chance_to_get_there() -> None:
    goes_on = torch.tensor([[0.5, 1.0], [0.0, 1.0], [1.0, 1.0]])
    for begins in (1.0, 0.0):
        expected = torch.tensor([[1.0, begins], [0.45, 0.9 * begins], [0.0, 0.81 * begins]])
        got = weights_of(torch.tensor([1.0, begins]), goes_on, 0.9)
        torch.testing.assert_close(got, expected)


def test_the_actor_begins_nearly_even_and_stays_within_bounds(actor: Actor) -> None:
    features = torch.randn(10_000, 10, dtype=torch.float64)
    mean, deviation = actor(features)
    assert (mean.abs() <= 5).all()
    assert abs(float(deviation.mean().detach()) - BEHAVIOUR.first_deviation) < 0.3
    noise = torch.randn(10_000, 2, dtype=torch.float64)
    actions = actor.draw(features, noise).detach()
    assert (actions.abs() <= 1).all()
    torch.testing.assert_close(actor.mode(features), torch.tanh(mean))


def test_a_dream_without_a_continue_head_never_ends(actor: Actor) -> None:
    model = seeded(0, lambda: WorldModel(WorldModelConfig(
        frame=(4, 4, 1), channels=(), actions=2, rssm=RSSMConfig(6, 4, 8), units=8, embedding=8
    ))).double()  # fmt: skip
    assert (dream_of(model, actor).continues == 1).all()
    assert math.isfinite(float(dream_of(model, actor).rewards.sum().detach()))


def test_the_entropy_is_that_of_the_squashed_distribution(actor: Actor) -> None:
    features = start().features
    mean, deviation = actor(features)
    played = TransformedDistribution(Normal(mean, deviation), TanhTransform(cache_size=1))
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(20_000, S, 2, generator=generator, dtype=torch.float64)
    ours = actor.entropy(features.expand(20_000, S, 10), noise).mean(0)  # (S,)
    theirs = -played.log_prob(torch.tanh(mean + deviation * noise)).sum(-1).mean(0)
    torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0)
    assert (ours < 2 * math.log(2)).all()  # of two actions that are anywhere in [-1, 1]


@pytest.mark.parametrize(("mean", "raw"), [(4.0, -2.0), (0.0, 10.0)])
def test_who_always_plays_an_end_is_led_back_by_the_entropy(
    mean: float, raw: float, actor: Actor
) -> None:
    """No dream's slope does so: the tanh is flat there, be it for its mean or its deviation."""
    features = start().features
    bias = actor.network[-1].bias
    with torch.no_grad():
        actor.network[-1].weight.zero_()
        bias.copy_(torch.tensor([mean, mean, raw, raw]))
    generator = torch.Generator().manual_seed(6)
    noise = torch.randn(2000, S, 2, generator=generator, dtype=torch.float64)
    many = features.expand(2000, S, 10)
    (by_play,) = torch.autograd.grad(actor.draw(many, noise).mean(), bias)
    (by_entropy,) = torch.autograd.grad(actor.entropy(many, noise).mean(), bias)
    wrong = slice(0, 2) if mean else slice(2, 4)
    assert (by_entropy[wrong] < -1).all()  # the entropy falls if it goes on that way
    assert (by_play[wrong].abs() < 0.01).all()
