"""The one loop of dreams: held to Markov chains that are known, and to finite differences."""

import warnings
from typing import NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils import seeding
from gymnasium.utils.env_checker import check_env
from torch import Tensor

from wmlib.imagination import ImaginedEnv, imagine

# To stay or to go: from each of two places, by the action, the probabilities of the next.
MOVES = torch.tensor(
    [[[0.9, 0.1], [0.2, 0.8]], [[0.3, 0.7], [0.6, 0.4]]], dtype=torch.float64
)  # (A, from, to)
PAID = torch.tensor([-1.0, 2.0], dtype=torch.float64)  # for being in a place
GOING = torch.tensor([0.75, 1.0], dtype=torch.float64)  # probability that it is not the end


class Place(NamedTuple):
    """Where B walkers are, as a distribution (B, 2) over the two places."""

    features: Tensor


class Chain:
    """What follows is a distribution, of which all is known; or, if drawn, one of the places."""

    def __init__(self, drawn: bool = False) -> None:
        self.drawn = drawn

    def step(
        self, state: Place, action: Tensor, generator: torch.Generator | None
    ) -> tuple[Place, Tensor, Tensor]:
        moves = torch.einsum("ba,aij->bij", action.double(), MOVES)
        after = torch.einsum("bi,bij->bj", state.features.double(), moves)  # (B, 2)
        if self.drawn:
            there = torch.rand(len(after), generator=generator) < after[:, 1]
            after = torch.stack([~there, there], 1).double()
        return Place(after), after @ PAID, after @ GOING


def at(*places: int) -> Place:
    return Place(torch.eye(2, dtype=torch.float64)[list(places)])


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def go(features: Tensor) -> Tensor:
    """The action 1, whatever there is to see."""
    return torch.tensor([0.0, 1.0]).expand(len(features), 2)


def follow(features: Tensor) -> Tensor:
    """In place 0 the action 1, in place 1 the action 0."""
    return features.flip(1)


def test_a_dream_of_a_chain_is_its_powers() -> None:
    dreamed = imagine(Chain(), go, at(0, 1), 5)
    for t in range(6):
        powers = torch.linalg.matrix_power(MOVES[1], t)  # (from, to)
        torch.testing.assert_close(dreamed.features[t], powers)
        if t:
            torch.testing.assert_close(dreamed.rewards[t - 1], powers @ PAID)
            torch.testing.assert_close(dreamed.continues[t - 1], powers @ GOING)
    assert torch.equal(dreamed.last.features, dreamed.features[-1])
    assert dreamed.actions.shape == (5, 2, 2) and dreamed.actions[..., 1].all()


def test_dreamed_returns_are_those_of_bellmans_equation() -> None:
    """V = P (r + 0.9 V), where P is what the policy makes of the moves."""
    moves = torch.stack([MOVES[1, 0], MOVES[0, 1]])  # of `follow`
    values = torch.linalg.solve(torch.eye(2).double() - 0.9 * moves, moves @ PAID)
    dreamed = imagine(Chain(drawn=True), follow, at(*[0] * 4000, *[1] * 4000), 80, noise())
    discounts = 0.9 ** torch.arange(80)
    returns = (discounts[:, None] * dreamed.rewards).sum(0).view(2, -1)  # (from, dreams)
    error = returns.std(1) / 4000**0.5
    assert ((returns.mean(1) - values).abs() < 4 * error + 20 * 0.9**80).all()
    assert (error < 0.06).all()
    # where they go on: 0.75 in one place, always in the other
    assert torch.equal(dreamed.continues, dreamed.features[1:] @ GOING)


def test_the_actions_of_a_dream_lead_to_it_again() -> None:
    chain, begin = Chain(drawn=True), at(*[0, 1] * 20)
    dreamed = imagine(chain, follow, begin, 7, noise())
    given = dreamed.actions.transpose(0, 1)  # (B, T, A)
    again = imagine(chain, given, begin, 7, noise())
    assert all(map(torch.equal, dreamed[:4], again[:4]))
    other = imagine(chain, given, begin, 7, noise(1))
    assert not torch.equal(dreamed.features, other.features)
    fewer = imagine(chain, given, begin, 3, noise())
    assert torch.equal(fewer.rewards, dreamed.rewards[:3])


def test_a_dream_goes_on_where_it_stopped() -> None:
    chain, begin, generator = Chain(drawn=True), at(*[0, 1] * 20), noise()
    whole = imagine(chain, follow, begin, 9, noise())
    first = imagine(chain, follow, begin, 4, generator)
    second = imagine(chain, follow, first.last, 5, generator)
    assert torch.equal(torch.cat([first.features, second.features[1:]]), whole.features)
    for name in ("actions", "rewards", "continues"):
        parts = [getattr(one, name) for one in (first, second)]
        assert torch.equal(torch.cat(parts), getattr(whole, name))


def test_what_a_dream_pays_is_an_argument() -> None:
    plain = imagine(Chain(), follow, at(0, 1), 6)
    paid = imagine(
        Chain(), follow, at(0, 1), 6, pay=lambda reward, state: reward - 3 * state.features[:, 1]
    )
    torch.testing.assert_close(paid.rewards, plain.rewards - 3 * plain.features[1:, :, 1])
    assert torch.equal(paid.features, plain.features)


class Drift:
    """A smooth world: x' = tanh(W [x, action]) + noise, which pays -|x'|^2."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight  # (3, 5)

    def step(
        self, state: Place, action: Tensor, generator: torch.Generator | None
    ) -> tuple[Place, Tensor, Tensor]:
        x = torch.tanh(torch.cat([state.features, action], 1) @ self.weight.T)  # (B, 3)
        x = x + 0.1 * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        return Place(x), -x.square().sum(1), torch.sigmoid(x[:, 0])


def test_gradients_pass_through_the_loop() -> None:
    """To the start, the model, the policy and given actions: as finite differences say."""
    draw = noise(3)
    start, policy, weight, actions = (
        torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_(True)
        for shape in ((4, 3), (2, 3), (3, 5), (4, 6, 2))
    )

    def closed(start: Tensor, policy: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        dreamed = imagine(Drift(weight), lambda x: x @ policy.T, Place(start), 6, noise())
        return dreamed[:4]

    def opened(start: Tensor, actions: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        dreamed = imagine(Drift(weight), actions, Place(start), 6, noise())
        return dreamed.features, dreamed.rewards, dreamed.continues

    assert torch.autograd.gradcheck(closed, (start, policy, weight))
    assert torch.autograd.gradcheck(opened, (start, actions, weight))
    with torch.no_grad():
        assert not any(part.requires_grad for part in closed(start, policy, weight))


def test_what_cannot_be_dreamed_is_refused() -> None:
    for horizon, message in ((0, "at least 1, got 0"), (2.5, "a whole number, got 2.5")):
        with pytest.raises(ValueError, match=f"horizon must be {message}"):
            imagine(Chain(), go, at(0), horizon)
    with pytest.raises(ValueError, match="4 decisions need as many actions, got 3"):
        imagine(Chain(), torch.zeros(1, 3, 2), at(0), 4)


# The dream as an environment


def one_hot(action: int) -> Tensor:
    return torch.eye(2)[action]


def environment(horizon: int = 30, **options: object) -> ImaginedEnv:
    return ImaginedEnv(
        Chain(drawn=True), lambda row: at(row % 2), 6, gym.spaces.Box(0, 1, (2,), np.float64),
        gym.spaces.Discrete(2), one_hot, horizon, **options,
    )  # fmt: skip


def picture(state: Place) -> np.ndarray:
    return (255 * state.features.repeat(2, 3).view(2, 2, 3)).byte().numpy()


def test_gymnasiums_checker_has_nothing_to_say() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(environment(), skip_render_check=True)
        check_env(environment(picture=picture), skip_render_check=True)


def test_the_environment_is_the_dream_step_by_step() -> None:
    class AndAnEnd(Chain):
        """Draws what the environment draws: after each step, whether it was the last."""

        def step(self, state, action, generator):
            after = super().step(state, action, generator)
            torch.rand((), generator=generator)
            return after

    env, actions = environment(pay=lambda reward, state: 2 * reward), [0, 1, 1, 0, 1, 0, 0, 1]
    rng, _ = seeding.np_random(5)
    row, seed = int(rng.integers(6)), int(rng.integers(2**62))
    given = torch.eye(2)[actions][None]  # (1, T, A)
    dreamed = imagine(AndAnEnd(drawn=True), given, at(row % 2), 8, noise(seed))
    observation, info = env.reset(seed=5)
    assert info == {"start": row} and np.array_equal(observation, dreamed.features[0, 0])
    for t, action in enumerate(actions):
        observation, reward, *_ = env.step(action)
        assert np.array_equal(observation, dreamed.features[t + 1, 0])
        assert reward == 2 * dreamed.rewards[t, 0]
    assert len({env.reset(seed=seed)[1]["start"] for seed in range(40)}) == 6
    assert env.reset(options={"start": 3})[1] == {"start": 3}


def test_ends_are_drawn_from_what_the_model_says() -> None:
    env, ended = environment(), [0, 0]
    env.reset(seed=1)
    visits = [0, 0]
    for _ in range(4000):
        observation, _, terminated, truncated, _ = env.step(0)
        place = int(observation[1])
        visits[place] += 1
        ended[place] += terminated
        if terminated or truncated:
            env.reset()
    assert ended[1] == 0 and visits[1] > 200
    assert ended[0] / visits[0] == pytest.approx(0.25, abs=4 * (0.19 / visits[0]) ** 0.5)


def test_an_episode_is_cut_at_the_horizon() -> None:
    env = environment(horizon=3)
    for seed in range(50):
        env.reset(seed=seed)
        steps, terminated, truncated = 0, False, False
        while not (terminated or truncated):
            steps += 1
            _, _, terminated, truncated, _ = env.step(1)
            assert truncated == (steps == 3)


def test_a_picture_is_what_is_shown() -> None:
    env = environment(picture=picture)
    env.reset(seed=0, options={"start": 1})
    assert env.render_mode == "rgb_array"
    assert np.array_equal(env.render(), picture(at(1)))
    silent = environment()
    silent.reset(seed=0)
    assert silent.render_mode is None and silent.render() is None


def test_what_is_no_dream_is_refused() -> None:
    with pytest.raises(ValueError, match="horizon must be at least 1, got 0"):
        environment(horizon=0)
    with pytest.raises(ValueError, match="starts must be at least 1, got 0"):
        ImaginedEnv(Chain(), at, 0, None, None, one_hot, 3)
    env = environment()
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)
    for start in (-1, 6, "1", 1.5):
        with pytest.raises(ValueError, match=r"start must be in \[0, 6\), got "):
            env.reset(options={"start": start})
