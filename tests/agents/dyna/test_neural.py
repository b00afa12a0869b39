"""Networks for Dyna, against exact values, the true physics and gradients written out by hand."""

import copy
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch

from wmlib.agents.dyna.buffer import CARTPOLE_SCALE, Batch, TransitionBuffer
from wmlib.agents.dyna.model import NeuralModel, NeuralModelConfig
from wmlib.agents.dyna.neural import NeuralPolicy, NeuralPolicyConfig
from wmlib.agents.dyna.value_iteration import value_iteration
from wmlib.scratch import dyna_train, replay_train
from wmlib.training import NotFiniteError

SMALL = NeuralPolicyConfig(units=8, batch=4)


def some_buffer(count: int = 5, batch: int = 64) -> TransitionBuffer:
    """States (i, -i); every third transition ends."""
    buffer = TransitionBuffer((1.0, 2.0), batch=batch, seed=0)
    for i in range(count):
        buffer.add([i, -i], i % 3, 0.5 * i, None if i % 3 == 2 else [i + 1, -i - 1])
    return buffer


def test_the_buffer_keeps_every_transition_together() -> None:
    buffer = some_buffer(3000, batch=20_000)
    assert len(buffer) == 3000 and buffer.size == 2
    states, actions, rewards, next_states = buffer.random_transition()
    i = states[:, 0].astype(int)
    assert len(i) == 20_000 and len(set(i)) > 2900
    assert np.array_equal(states[:, 1], -i)
    assert np.array_equal(actions, i % 3) and actions.dtype == np.int64
    assert np.array_equal(rewards, 0.5 * i)
    assert np.isnan(next_states[i % 3 == 2]).all()
    assert np.array_equal(next_states[i % 3 != 2, 0], i[i % 3 != 2] + 1)
    assert abs(i.mean() - 1499.5) < 30
    assert buffer.random_state().shape == (20_000, 2)


def test_a_single_transition_is_joined_by_replayed_ones() -> None:
    some = some_buffer().with_replayed(50, [9, 9], 1, 7.0, None)
    assert [len(part) for part in some] == [50] * 4
    assert some.states[0].tolist() == [9, 9] and (some.actions[0], some.rewards[0]) == (1, 7)
    assert np.isnan(some.next_states[0]).all()
    assert set(some.states[1:, 0]) == {0, 1, 2, 3, 4}


def test_the_loss_of_the_policy_by_hand() -> None:
    """One step of plain gradient descent, against a loop over the batch."""
    buffer = some_buffer()
    policy = NeuralPolicy(3, buffer, replace(SMALL, discount=0.9), seed=1)
    with torch.no_grad():  # a target network of its own
        for p in policy.target.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    policy._optimiser = torch.optim.SGD(policy.network.parameters(), lr=0.1)
    q, slow = copy.deepcopy(policy.network), copy.deepcopy(policy.target)
    some = buffer.random_transition()
    total = torch.zeros(())
    for s, a, r, n in zip(*some, strict=True):
        goal = torch.tensor(float(r))
        if not np.isnan(n).any():
            scaled = torch.tensor(n / np.float32([1, 2]))
            goal = goal + 0.9 * slow(scaled)[q(scaled).argmax()].detach()
        total = total + (q(torch.tensor(s / np.float32([1, 2])))[a] - goal) ** 2
    gradients = torch.autograd.grad(total / len(some.actions), list(q.parameters()))
    policy.learn(*some)
    for new, old, g in zip(policy.network.parameters(), q.parameters(), gradients, strict=True):
        torch.testing.assert_close(new, old - 0.1 * g, rtol=1e-4, atol=1e-5)
    for new, old, fast in zip(
        policy.target.parameters(), slow.parameters(), policy.network.parameters(), strict=True
    ):
        torch.testing.assert_close(new, 0.98 * old + 0.02 * fast)
    assert policy.updates == 1


def test_none_nan_and_one_of_many_are_the_same_update() -> None:
    one = TransitionBuffer((1.0, 1.0), seed=0)
    one.add([1, 2], 1, 3.0, None)
    weights = []
    for transition in (
        ([1, 2], 1, 3.0, None),
        (np.float32([[1, 2]]), [1], [3.0], np.float32([[np.nan, np.nan]])),
    ):
        policy = NeuralPolicy(2, one, SMALL, seed=0)
        policy.learn(*transition)  # type: ignore[arg-type]
        weights.append([p.detach().clone() for p in policy.network.parameters()])
    for a, b in zip(*weights, strict=True):
        torch.testing.assert_close(a, b)


def corridor(length: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """A corridor (S, A): left, right; at its right end 1 and the end, at its left end nothing."""
    after = np.array([[max(s - 1, 0), s + 1] for s in range(length)])
    rewards = (after == length).astype(float)
    return np.where(after == length, -1, after), rewards


def test_the_policy_learns_the_exact_values_of_a_corridor() -> None:
    after, rewards = corridor()
    exact = value_iteration(after, rewards, 0.8)
    buffer = TransitionBuffer(np.ones(5), seed=0)
    hot = np.eye(5, dtype=np.float32)
    for s in range(5):
        for a in range(2):
            buffer.add(hot[s], a, rewards[s, a], None if after[s, a] < 0 else hot[after[s, a]])
    policy = NeuralPolicy(2, buffer, NeuralPolicyConfig(units=32, discount=0.8), seed=0)
    for _ in range(1500):
        policy.learn(*buffer.random_transition())
    with torch.no_grad():
        values = policy.network(torch.from_numpy(hot)).numpy()
    np.testing.assert_allclose(values, exact, atol=0.03)
    assert policy.greedy(hot).tolist() == [1] * 5


def test_epsilon_falls_with_real_steps_alone() -> None:
    config = replace(SMALL, first_exploration=0.8, last_exploration=0.2, exploration_steps=300)
    policy = NeuralPolicy(3, some_buffer(), config, seed=0)
    assert policy.exploration == 0.8
    many = np.zeros((4000, 2), np.float32)
    best = policy.greedy(many)[0]
    actions = policy.act(many)
    assert policy.exploration == 0.8 and policy.steps == 0
    assert np.mean(actions != best) == pytest.approx(0.8 * 2 / 3, abs=0.03)
    assert {type(policy.act([0.0, 0.0])) for _ in range(150)} == {int}
    assert policy.exploration == pytest.approx(0.5)
    for _ in range(500):
        policy.act([0.0, 0.0])
    assert policy.exploration == pytest.approx(0.2)


@pytest.fixture(scope="module")
def cartpole() -> tuple[NeuralModel, Batch]:
    """A model of CartPole from random episodes, and transitions that it has not seen."""
    buffer = TransitionBuffer(CARTPOLE_SCALE, batch=2000, seed=0)
    model = NeuralModel(2, buffer, seed=0)
    env = gym.make("CartPole-v1")
    rng = np.random.default_rng(0)
    for episode in range(75):
        if episode == 45:
            unseen = TransitionBuffer(CARTPOLE_SCALE, batch=2000, seed=1)
        obs, _ = env.reset(seed=episode)
        over = False
        while not over:
            action = int(rng.integers(2))
            after, reward, over, _, _ = env.step(action)
            row = (obs, action, float(reward), None if over else after)
            if episode < 45:
                buffer.add(*row)
                model.update(*row)
            else:
                unseen.add(*row)
            obs = after
    return model, unseen.random_transition()


def test_the_model_learns_cartpole(cartpole: tuple[NeuralModel, Batch]) -> None:
    """About 1,000 updates: the change of state to a few percent, and where an episode ends."""
    model, unseen = cartpole
    following, rewards = model.imagine(unseen.states, unseen.actions)
    ended, said = np.isnan(unseen.next_states[:, 0]), np.isnan(following[:, 0])
    assert 0.02 < ended.mean() < 0.08
    assert said[ended].mean() > 0.6
    assert said[~ended].mean() < 0.03
    assert said.mean() == pytest.approx(ended.mean(), rel=0.3), "no more ends than there are"
    both = ~ended & ~said
    change = (unseen.next_states - unseen.states)[both]
    error = (following - unseen.next_states)[both]
    assert ((error**2).mean(0) < 0.05 * (change**2).mean(0)).all()
    assert np.abs(rewards - 1).mean() < 0.05
    assert 0 < model.loss < 0.3


def test_an_imagined_end_weighs_as_the_model_says(cartpole: tuple[NeuralModel, Batch]) -> None:
    model = copy.deepcopy(cartpole[0])
    with torch.no_grad():
        model.network.weights[-1].zero_()
        model.network.biases[-1].zero_()
        model.network.biases[-1][:, 0, -1] = float(
            np.log(3 / 7 * model.config.end_weight)
        )  # 30 %, says every member, of ends that weigh so much
    following, rewards = model.imagine(np.ones((5000, 4)), np.zeros(5000, int))
    ends = np.isnan(following)
    assert (ends.all(1) == ends.any(1)).all()
    assert ends[:, 0].mean() == pytest.approx(0.3, abs=0.03)
    assert (following[~ends[:, 0]] == 1).all() and not rewards.any()


def test_each_imagined_state_has_its_member(cartpole: tuple[NeuralModel, Batch]) -> None:
    model = copy.deepcopy(cartpole[0])
    with torch.no_grad():
        model.network.weights[-1].zero_()
        model.network.biases[-1].zero_()
        for e in range(5):
            model.network.biases[-1][e, 0, -2] = e  # the reward is the member's number
    _, rewards = model.imagine(np.ones((5000, 4)), np.zeros(5000, int))
    assert np.unique(rewards).tolist() == [0, 1, 2, 3, 4]
    assert np.bincount(rewards.astype(int)).min() > 900


def test_one_state_is_imagined_as_one(cartpole: tuple[NeuralModel, Batch]) -> None:
    following, reward = cartpole[0].imagine([0.0, 0.1, 0.0, 0.1], 1)
    assert following.shape == (4,) and np.shape(reward) == ()
    assert following[1] == pytest.approx(0.1 + 0.195, abs=0.05)  # 0.2 s at 9.76 m/s^2
    assert reward == pytest.approx(1, abs=0.1)


def short_run(seed: int, train: str = "dyna") -> tuple[list[float], np.ndarray]:
    buffer = TransitionBuffer(CARTPOLE_SCALE, batch=16, seed=seed)
    policy = NeuralPolicy(2, buffer, SMALL, seed=seed)
    env = gym.make("CartPole-v1")
    options = {"episodes": 4, "k": 2, "seed": seed}
    if train == "dyna":
        model = NeuralModel(2, buffer, NeuralModelConfig(2, 8, 8), seed=seed)
        returns = dyna_train(env, model, policy, buffer, **options, verbose=False)
    else:
        returns = replay_train(env, policy, buffer, **options)
    assert policy.updates == 3 * len(buffer) == 3 * policy.steps == 3 * sum(returns)
    with torch.no_grad():
        return returns, policy.network(torch.ones(1, 4)).numpy()


@pytest.mark.parametrize("train", ["dyna", "replay"])
def test_the_loops_run_are_seeded_and_leave_the_global_generators_alone(train: str) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, again, other = (short_run(seed, train) for seed in (3, 3, 4))
    assert first[0] == again[0] and np.array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.slow
def test_dyna_balances_the_pole() -> None:
    buffer = TransitionBuffer(CARTPOLE_SCALE, seed=0)
    model, policy = NeuralModel(2, buffer, seed=0), NeuralPolicy(2, buffer, seed=0)
    returns = dyna_train(
        gym.make("CartPole-v1"), model, policy, buffer, episodes=1000, k=5, seed=0, verbose=False,
        until=lambda returns: sum(returns) > 5000 or np.mean(returns[-3:]) > 400,
    )  # fmt: skip
    assert np.mean(returns[-3:]) > 400


def test_what_is_not_finite_stops_it_by_name() -> None:
    buffer = some_buffer()
    with pytest.raises(ValueError, match="a transition must be finite"):
        buffer.add([0, np.nan], 0, 1.0, None)
    with pytest.raises(ValueError, match=r"must be finite, got .*inf.* after 5 others"):
        buffer.add([0, 0], 0, np.inf, [0, 0])
    policy = NeuralPolicy(3, buffer, SMALL)
    model = NeuralModel(3, buffer, NeuralModelConfig(2, 8, 4))
    with torch.no_grad():
        policy.network[0].weight.fill_(np.nan)
        model.network.weights[0].fill_(np.nan)
    with pytest.raises(NotFiniteError, match="learning the policy: the loss is nan"):
        policy.learn([0, 0], 0, 1.0, [1, 1])
    with pytest.raises(NotFiniteError, match="learning the model: the loss is nan"):
        model.update([0, 0], 0, 1.0, [1, 1])


def test_wrong_shapes_and_numbers_are_refused() -> None:
    buffer = some_buffer()
    policy = NeuralPolicy(3, buffer, SMALL)
    model = NeuralModel(3, buffer, NeuralModelConfig(2, 8, 4))
    for call, words in [
        (lambda: TransitionBuffer([]), r"scale must be an array of shape \(D,\) .*, got \[\]"),
        (lambda: TransitionBuffer([1.0, 0.0]), "scale must be D numbers above 0"),
        (
            lambda: TransitionBuffer([1.0], batch=0),
            "batch must be (a whole number|at least 1)( or None)?, got 0",
        ),
        (
            lambda: TransitionBuffer([1.0], batch=2.5),
            r"batch must be (a whole number|at least 1)( or None)?, got 2\.5",
        ),
        (
            lambda: TransitionBuffer([1.0], seed=-1),
            "seed must be (a whole number|at least 0)( or None)?, got -1",
        ),
        (lambda: TransitionBuffer("x"), "scale must be .* real numbers.*, got 'x'"),
        (lambda: TransitionBuffer(None), "scale must be .* real numbers.*, got None"),
        (lambda: TransitionBuffer([1.0, np.inf]), r"scale must be finite, got inf at \[1\]"),
        (lambda: buffer.add("x", 0, 1.0, None), "a state must be .* real numbers, got 'x'"),
        (
            lambda: buffer.add([0, 0], 0.5, 1.0, None),
            r"action must be an integer >= 0, got 0\.5",
        ),
        (lambda: buffer.add([0, 0], 0, None, None), "a reward must be .* real numbers, got None"),
        (lambda: buffer.add([0, 0], 0, [1, 2], None), r"a reward must be .*, got \[1, 2\]"),
        (lambda: policy.act([0.0, 0.0, 0.0]), r"states must be .*, got .*\(1, 3\)"),
        (lambda: policy.act("x"), "states must be .* real numbers"),
        (lambda: policy.learn([0, 0], 3, 1.0, None), r"actions must be integers in 0\.\.2, got 3"),
        (lambda: policy.learn([[0, 0]], [0, 1], [1.0], [[0, 0]]), "1 states need as many actions"),
        (
            lambda: policy.learn([[0, 0]], [0], [1.0, 2.0], [[0, 0]]),
            r"rewards and next states must be \(1, 1\), got \(2, 1\)",
        ),
        (lambda: model.update([0, 0], 3, 1.0, None), r"actions must be integers in 0\.\.2, got 3"),
        (lambda: model.imagine([[0, 0]], [-1]), r"actions must be integers in 0\.\.2, got \[-1\]"),
        (lambda: model.imagine([[0, 0]], [0.5]), "actions must be integers in"),
        (lambda: model.imagine("x", [0]), "states must be .* real numbers, got 'x'"),
        (lambda: NeuralModel(2, None), "buffer must be a TransitionBuffer, got None"),
        (lambda: NeuralPolicy(2, buffer, 5), "config must be a NeuralPolicyConfig or None, got 5"),
        (
            lambda: NeuralPolicy(2, buffer, seed=0.5),
            r"seed must be (a whole number|at least 0)( or None)?, got 0\.5",
        ),
        (lambda: TransitionBuffer([1.0]).random_state(), "the buffer is empty"),
        (lambda: buffer.add([0, 0, 0], 0, 1.0, None), r"a state must .*, got \[0, 0, 0\]"),
        (lambda: buffer.add([0, 0], 0, 1.0, [0]), r"a state must be .* \(2,\) .*, got \[0\]"),
        (
            lambda: NeuralModel(0, buffer),
            "actions must be (a whole number|at least 1)( or None)?, got 0",
        ),
        (
            lambda: NeuralPolicy("2", buffer),
            "actions must be (a whole number|at least 1)( or None)?, got '2'",
        ),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [(NeuralModelConfig, "members", 0), (NeuralModelConfig, "units", 0),
     (NeuralModelConfig, "batch", 0), (NeuralModelConfig, "learning_rate", 0.0),
     (NeuralModelConfig, "end_weight", 0.0), (NeuralPolicyConfig, "units", 0),
     (NeuralPolicyConfig, "batch", 0), (NeuralPolicyConfig, "learning_rate", np.inf),
     (NeuralPolicyConfig, "discount", 1.0), (NeuralPolicyConfig, "target_rate", 0.0),
     (NeuralPolicyConfig, "first_exploration", 1.5), (NeuralPolicyConfig, "last_exploration", -1.0),
     (NeuralPolicyConfig, "exploration_steps", 0), (NeuralModelConfig, "members", 2.5),
     (NeuralModelConfig, "end_weight", None), (NeuralPolicyConfig, "learning_rate", "x"),
     (NeuralPolicyConfig, "discount", "0.9"), (NeuralPolicyConfig, "units", None)],
)  # fmt: skip
def test_configurations_out_of_range_are_refused(config: type, field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{field} must be .*, got {value!r}"):
        config(**{field: value})
