"""The value beyond the horizon."""

import pytest
import torch
from torch import Tensor

from wmlib.agents.world_models.value import ValueConfig, ValueFunction, squared_error
from wmlib.returns import lambda_returns
from wmlib.training import seeded


def rollout(t: int = 6, n: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    shape = (t, n)
    return (
        torch.randn(shape, generator=g, dtype=torch.float64),
        torch.rand(shape, generator=g, dtype=torch.float64),
        torch.randn(t + 1, n, generator=g, dtype=torch.float64),
    )


@pytest.mark.parametrize("trace", [0.0, 0.3, 0.95, 1.0])
def test_lambda_returns_are_the_mean_of_n_step_returns(trace: float) -> None:
    """Sutton & Barto (12.3), with the probability of going on in each factor of discount."""
    rewards, continues, values = rollout()
    gamma, horizon = 0.9, len(rewards)
    ours = lambda_returns(rewards, continues, values, gamma, trace)
    for t in range(horizon):

        def n_step(n: int, t: int = t) -> Tensor:
            total, weight = torch.zeros(3).double(), torch.ones(3).double()
            for k in range(t, t + n):
                total = total + weight * rewards[k]
                weight = weight * gamma * continues[k]
            return total + weight * values[t + n]

        left = horizon - t
        expected = trace ** (left - 1) * n_step(left)
        for n in range(1, left):
            expected = expected + (1 - trace) * trace ** (n - 1) * n_step(n)
        assert torch.allclose(ours[t], expected)


def test_lambda_returns_refuse_other_shapes() -> None:
    rewards, continues, values = rollout()
    for wrong in (
        (rewards, continues[:-1], values), (rewards, continues, values[:-1]),
        (rewards, continues, values[:, :1]), (rewards[:0], continues[:0], values[:1]),
    ):  # fmt: skip
        with pytest.raises(
            ValueError,
            match=r"s must be a Tensor of shape .*, got Tensor",
        ):
            lambda_returns(*wrong, 0.9, 0.9)
    for name, place in (("discount", 3), ("trace", 4)):
        for rate in (-0.1, 1.1, float("nan"), "1"):
            given = [rewards, continues, values, 0.9, 0.9]
            given[place] = rate
            with pytest.raises(ValueError, match=f"{name} must be .*, got '?{rate}"):
                lambda_returns(*given)
    with pytest.raises(ValueError, match="rewards must be a Tensor of shape"):
        lambda_returns(rewards[0, 0], continues, values, 0.9, 0.9)
    with pytest.raises(TypeError, match="values must be a Tensor, got 3"):
        lambda_returns(rewards, continues, 3, 0.9, 0.9)


def test_at_first_every_state_is_worth_nothing() -> None:
    value = ValueFunction(ValueConfig(features=5))
    features = torch.randn(2, 4, 5)
    assert value(features).shape == value.slow(features).shape == (2, 4)
    assert not value(features).any()
    assert not value.slow(features).any()


def test_it_learns_what_a_constant_reward_is_worth() -> None:
    config = ValueConfig(features=2, units=16, discount=0.8, learning_rate=1e-2, target_rate=0.2)
    value = seeded(0, lambda: ValueFunction(config))
    optimiser = torch.optim.Adam(value.network.parameters(), lr=config.learning_rate)
    g = torch.Generator().manual_seed(0)
    ones = torch.ones(5, 32)
    for _ in range(250):
        features = torch.rand(1, 32, 2, generator=g).round().expand(6, -1, -1)  # a state stays
        rewards = 0.5 * features[:-1, :, 0]  # 0.5 or 0
        targets = lambda_returns(rewards, ones, value.slow(features), 0.8, config.trace)
        value.descend(optimiser, squared_error(value, features[:-1], targets))
    worth = value(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    assert torch.allclose(worth, torch.tensor([2.5, 2.5, 0.0]), atol=0.15)  # r / (1 - gamma)


def test_the_averaged_network_follows_slowly() -> None:
    value = seeded(0, lambda: ValueFunction(ValueConfig(features=2, units=4, target_rate=0.25)))
    old = [p.clone() for p in value.target.parameters()]
    optimiser = torch.optim.SGD(value.network.parameters(), lr=0.1)
    features, returns = torch.ones(3, 2), torch.full((3,), 4.0)
    loss = squared_error(value, features, returns)
    assert value.descend(optimiser, loss) == pytest.approx(8.0)  # half of 4^2
    pairs = zip(old, value.target.parameters(), value.network.parameters(), strict=True)
    for before, slow, fast in pairs:
        assert torch.allclose(slow, 0.75 * before + 0.25 * fast)
    assert not any(p.requires_grad for p in value.target.parameters())


@pytest.mark.parametrize(
    "wrong",
    [{"features": 0}, {"units": 0}, {"discount": 0.0}, {"discount": 1.1}, {"trace": -0.1},
     {"target_rate": 0.0}, {"learning_rate": float("nan")}],
)  # fmt: skip
def test_configurations_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be "):
        ValueConfig(**wrong)


@pytest.mark.parametrize("name", ["features", "units", "discount", "learning_rate"])
@pytest.mark.parametrize("wrong", [None, "1", [1]])
def test_configurations_of_other_types_are_refused(name: str, wrong: object) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a (whole )?number, got"):
        ValueConfig(**{name: wrong})
