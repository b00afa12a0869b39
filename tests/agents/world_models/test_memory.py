"""M, the MDN-RNN."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal, Poisson

from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.memory import (
    MDNRNN,
    MemoryConfig,
    State,
    batch_loss,
    check_rewards,
    train_memory,
)
from wmlib.agents.world_models.mixture import Prediction, log_likelihood, sample
from wmlib.episodes import Episode
from wmlib.training import seeded

SMALL = MemoryConfig(latent=3, actions=2, hidden=8, mixtures=4, reward="normal", batch=16, window=5)


def model(config: MemoryConfig = SMALL, scale: float = 1.0) -> MDNRNN:
    memory = seeded(0, lambda: MDNRNN(config))
    with torch.no_grad():
        for name, parameter in memory.named_parameters():
            if "bias_hh" not in name:
                parameter.mul_(scale)
    return memory


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def predictions(*lead: int) -> Prediction:
    """With weights, means and deviations that differ clearly, for `lead` moments and Z = 3."""
    return Prediction(
        log_pi=torch.log_softmax(2 * normal(*lead, 4, 3, seed=1), -2),
        mean=3 * normal(*lead, 4, 3, seed=2),
        log_sigma=0.5 * normal(*lead, 4, 3, seed=3) - 1,
        reward=torch.zeros(lead),
        end=torch.zeros(lead),
        cost=torch.zeros(lead),
    )


def mixtures(prediction: Prediction) -> MixtureSameFamily:
    last = [part.movedim(-2, -1) for part in prediction[:3]]  # (..., Z, K)
    return MixtureSameFamily(Categorical(logits=last[0]), Normal(last[1], last[2].exp()))


def episode(steps: int, seed: int = 0) -> Episode:
    rng = np.random.default_rng(seed)
    return Episode(
        rng.normal(size=(steps + 1, 3)).astype(np.float32),
        rng.normal(size=(steps, 2)).astype(np.float32),
        rng.normal(size=steps).astype(np.float32),
        terminated=seed % 2 == 0,
        truncated=seed % 2 == 1,
        seed=seed,
    )


def identity(observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return observations, np.full_like(observations, -2.0)


# The network


def test_the_papers_model_has_the_papers_size() -> None:
    memory = MDNRNN(MemoryConfig())
    assert memory.paper_parameters() == 422_368
    assert 4 * 256 * (32 + 3 + 256 + 1) + (256 + 1) * 5 * 32 * 3 == 422_368


def test_step_is_forward_is_the_lstm_of_the_textbook() -> None:
    memory, z, action = model(scale=3), normal(4, 6, 3), normal(4, 6, 2, seed=1)
    state = State(normal(4, 8, seed=2), normal(4, 8, seed=3))
    hidden, last = memory(z, action, state)
    h, c = state
    for t in range(6):
        state = memory.step(z[:, t], action[:, t], state)
        x = torch.cat([z[:, t], action[:, t]], 1)
        w, u = memory.lstm.weight_ih_l0, memory.lstm.weight_hh_l0
        i, f, g, o = (x @ w.T + h @ u.T + memory.lstm.bias_ih_l0).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        for ours in (state.hidden, hidden[:, t]):
            assert torch.allclose(ours, h, atol=1e-5)
        assert torch.allclose(state.cell, c, atol=1e-5)
    assert torch.allclose(last.hidden, state.hidden, atol=1e-6)
    assert torch.allclose(last.cell, state.cell, atol=1e-6)
    assert torch.equal(memory(z, action)[0], memory(z, action, memory.initial(4))[0])


def test_the_second_bias_is_no_parameter() -> None:
    memory = model()
    assert not memory.lstm.bias_hh_l0.any()
    codes = Codes.of([episode(20)], identity)
    train_memory(codes, SMALL, steps=2, progress=False)
    assert not memory.lstm.bias_hh_l0.any()


def test_predictions_keep_leading_axes_and_are_distributions() -> None:
    memory = model(scale=4)
    for lead in ((), (5,), (2, 5)):
        prediction = memory.predict(normal(*lead, 8))
        assert prediction.mean.shape == prediction.log_sigma.shape == (*lead, 4, 3)
        assert prediction.reward.shape == prediction.end.shape == lead
        assert torch.allclose(prediction.log_pi.exp().sum(-2), torch.ones(*lead, 3))


# Likelihood and sampling


def test_the_likelihood_is_that_of_torch_distributions() -> None:
    prediction, target = predictions(7, 5), normal(7, 5, 3, seed=9)
    expected = mixtures(prediction).log_prob(target).sum(-1)
    assert torch.allclose(log_likelihood(prediction, target), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 1.5])
def test_samples_have_the_moments_of_the_tempered_mixture(temperature: float) -> None:
    prediction = predictions()
    many = Prediction(*(part.expand(40_000, *part.shape) for part in prediction))
    drawn = sample(many, temperature, torch.Generator().manual_seed(4)).double()  # (N, Z)
    pi = torch.softmax(prediction.log_pi.double() / temperature, 0)  # (K, Z)
    sigma = prediction.log_sigma.double().exp() * math.sqrt(temperature)
    mean = (pi * prediction.mean).sum(0)
    variance = (pi * (sigma**2 + prediction.mean**2)).sum(0) - mean**2
    error = torch.sqrt(variance / len(drawn))
    assert ((drawn.mean(0) - mean).abs() < 4 * error).all()
    assert torch.allclose(drawn.var(0), variance, rtol=0.05)
    if temperature == 1.0:
        theirs = mixtures(prediction)
        assert torch.allclose(theirs.mean.double(), mean)
        assert torch.allclose(theirs.variance.double(), variance)


def test_components_are_drawn_for_each_latent_on_its_own() -> None:
    far = torch.tensor([-100.0, 100.0])[:, None].expand(2, 3)
    half = torch.full((2, 3), 0.5).log()
    one = Prediction(half, far, torch.full((2, 3), -2.0), *torch.zeros(3))
    many = Prediction(*(part.expand(4000, *part.shape) for part in one))
    signs = sample(many, generator=torch.Generator().manual_seed(0)).sign()
    assert signs.T.corrcoef().fill_diagonal_(0).abs().max() < 0.1


@pytest.mark.parametrize(
    "temperature", [0.0, -1.0, float("nan"), float("inf"), 1e300, 1e-300, 2**70, "1", None, [1.0]]
)
def test_a_temperature_that_is_none_is_refused(temperature: float) -> None:
    got = re.escape(repr(temperature))
    message = rf"temperature must be (a number|in \[1e-06, 1e\+06\]), got {got}"
    for call in (
        lambda: sample(predictions(), temperature),
        lambda: model().rollout(normal(1, 3), model().initial(1), normal(1, 2, 2), temperature),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_at_the_ends_of_the_temperatures_numbers_are_finite() -> None:
    memory = model(scale=30)
    for temperature in (1e-6, 1e6):
        z, rewards = memory.rollout(
            normal(50, 3), memory.initial(50), normal(50, 9, 2), temperature,
            torch.Generator().manual_seed(0),
        )  # fmt: skip
        assert torch.isfinite(z).all() and torch.isfinite(rewards).all()


# Losses


def test_the_loss_by_hand() -> None:
    for reward in ("normal", "poisson"):
        config = replace(SMALL, reward=reward, reward_scale=2.0, reward_offset=-0.5, end_weight=0.5)
        memory = model(config)
        z, action, target = normal(4, 5, 3), normal(4, 5, 2, seed=1), normal(4, 5, 3, seed=2)
        rewards = 2.0 * torch.poisson(torch.full((4, 5), 0.7)) - 0.5
        end = (normal(4, 5, seed=4) > 1).float()
        loss = memory.loss(z, action, target, rewards, end)
        prediction = memory.predict(memory(z, action)[0])
        code = -mixtures(prediction).log_prob(target).mean()
        events = (rewards + 0.5) / 2
        if reward == "poisson":
            scored = torch.nn.functional.poisson_nll_loss(prediction.reward, events)
            log_factorial = torch.lgamma(events + 1).mean()
            full = -Poisson(prediction.reward.exp()).log_prob(events).mean()
            assert torch.allclose(full - log_factorial, loss.reward, atol=1e-5)
        else:
            scored = 0.5 * torch.nn.functional.mse_loss(prediction.reward, events)
        ended = -torch.distributions.Bernoulli(logits=prediction.end).log_prob(end).mean()
        expected = (code, scored, ended)
        for ours, theirs in zip((loss.code, loss.reward, loss.end), expected, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)
        total = code + config.reward_weight * scored + 0.5 * ended
        assert torch.allclose(loss.total, total, atol=1e-5)


def test_a_cost_is_foreseen_by_an_m_that_has_a_head_for_it() -> None:
    memory, without = model(replace(SMALL, cost_weight=0.25)), model()
    window = normal(4, 5, 3), normal(4, 5, 2, seed=1), normal(4, 5, 3, seed=2), torch.ones(4, 5)
    end, cost = torch.zeros(4, 5), torch.sigmoid(normal(4, 5, seed=5))
    cost[0, :3] = torch.nan
    loss = memory.loss(*window, end, cost)
    chance = torch.sigmoid(memory.predict(memory(*window[:2])[0]).cost)  # (4, 5)
    known = ~cost.isnan()
    expected = -(cost * chance.log() + (1 - cost) * (1 - chance).log())[known].mean()
    assert torch.allclose(loss.cost, expected, atol=1e-5)
    parts = loss.code + SMALL.reward_weight * loss.reward + SMALL.end_weight * loss.end
    assert torch.allclose(loss.total, parts + 0.25 * loss.cost, atol=1e-5)
    loss.total.backward()
    assert memory.cost is not None and memory.cost.weight.grad.any()
    # one without a head says that nothing costs anything
    assert not torch.sigmoid(without.predict(normal(7, 8)).cost).any()
    assert without.loss(*window, end).cost == 0
    assert without.state_dict().keys() == {
        name for name in memory.state_dict() if not name.startswith("cost.")
    }
    with pytest.raises(ValueError, match="learns to foresee a cost, and none is given"):
        memory.loss(*window, end)
    with pytest.raises(ValueError, match="learns to foresee a cost, and none is given"):
        batch_loss(memory, Codes.of([episode(12)], identity), np.random.default_rng(0))
    with pytest.raises(ValueError, match="cost_weight must be a number, at least 0, got -1"):
        replace(SMALL, cost_weight=-1.0)


def test_expected_rewards_are_in_the_environments_units() -> None:
    config = replace(SMALL, reward="poisson", reward_scale=3.0, reward_offset=-0.3)
    prediction = predictions(2)._replace(reward=torch.tensor([math.log(2.0), -50.0]))
    rewards = model(config).expected_reward(prediction)
    assert torch.allclose(rewards, torch.tensor([-0.3 + 3 * 2.0, -0.3]))


def test_an_unknown_end_teaches_nothing() -> None:
    memory = model()
    z, action, target = normal(2, 5, 3), normal(2, 5, 2, seed=1), normal(2, 5, 3, seed=2)
    end = torch.tensor([[0.0, 1.0, torch.nan, 0.0, torch.nan], [torch.nan] * 5])
    loss = memory.loss(z, action, target, torch.zeros(2, 5), end)
    logits = memory.predict(memory(z, action)[0]).end
    known = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[0, [0, 1, 3]], torch.tensor([0.0, 1.0, 0.0])
    )
    assert torch.allclose(loss.end, known, atol=1e-6)
    loss = memory.loss(z, action, target, torch.zeros(2, 5), torch.full((2, 5), torch.nan))
    loss.total.backward()
    assert loss.end == 0 and not memory.end.weight.grad.any()
    assert all(torch.isfinite(p.grad).all() for p in memory.parameters() if p.grad is not None)


def test_huge_weights_give_finite_losses_and_gradients() -> None:
    for reward in ("normal", "poisson"):
        memory = model(replace(SMALL, reward=reward), scale=1e4)
        window = [1e3 * normal(2, 5, 3), normal(2, 5, 2), normal(2, 5, 3), normal(2, 5)]
        loss = memory.loss(*window, torch.zeros(2, 5))
        loss.total.backward()
        assert all(torch.isfinite(part) for part in loss)
        grads = [p.grad for p in memory.parameters() if p.grad is not None]
        assert all(torch.isfinite(grad).all() for grad in grads)
        low, high = SMALL.log_sigma_range
        log_sigma = memory.predict(normal(50, 8)).log_sigma
        assert (log_sigma.min(), log_sigma.max()) == (low, high)


# Rollouts


def test_a_rollout_equals_step_predict_and_sample() -> None:
    memory, z, actions = model(scale=3), normal(4, 3), normal(4, 6, 2, seed=1)
    with torch.no_grad():
        runs = [
            memory.rollout(z, memory.initial(4), actions, 1.3, torch.Generator().manual_seed(s))
            for s in (5, 5, 6)
        ]
        generator, state, codes = torch.Generator().manual_seed(5), memory.initial(4), []
        for t in range(6):
            state = memory.step(z, actions[:, t], state)
            z = sample(memory.predict(state.hidden), 1.3, generator)
            codes.append(z)
    assert torch.equal(runs[0][0], torch.stack(codes, 1))
    assert runs[0][1].shape == (4, 6)
    assert torch.equal(runs[0][0], runs[1][0])
    assert not torch.equal(runs[0][0], runs[2][0])


# Codes


def test_codes_keep_what_belongs_together() -> None:
    episodes = [episode(4, 0), episode(1, 1), episode(7, 2)]
    codes = Codes.of(episodes, identity)
    assert codes.lengths.tolist() == [4, 1, 7]
    assert codes.first.tolist() == [0, 5, 7]
    assert len(codes.mean) == len(codes.actions) == len(codes.rewards) == len(codes.ends) == 15
    for first, one in zip(codes.first, episodes, strict=True):
        rows = slice(first, first + len(one))
        assert np.array_equal(codes.mean[first : first + len(one) + 1], one.observations)
        assert np.array_equal(codes.actions[rows], one.actions)
        assert np.array_equal(codes.rewards[rows], one.rewards)
        ends = codes.ends[first : first + len(one) + 1]
        assert ends.tolist() == [0] * (len(one) - 1) + [float(one.terminated), 0]
    assert np.isnan(codes.costs).all()
    told = Codes.of(episodes, identity, lambda seen: np.tanh(seen[:, 0]) ** 2)
    for first, one in zip(told.first, episodes, strict=True):  # of what came after each action
        costs = told.costs[first : first + len(one) + 1]
        assert np.array_equal(costs[:-1], np.tanh(one.observations[1:, 0]) ** 2)
        assert np.isnan(costs[-1])


def test_windows_never_cross_an_episode() -> None:
    lengths = (4, 9, 6)
    codes = Codes.of([episode(n, n) for n in lengths], identity)
    rows = codes.windows(np.random.default_rng(0), 500, 4)
    assert rows.shape == (500, 5)
    assert (np.diff(rows, axis=1) == 1).all()
    owner = np.repeat(np.arange(3), np.array(lengths) + 1)
    assert (owner[rows] == owner[rows[:, :1]]).all()
    assert set(rows[:, 0]) == {0, *range(5, 11), *range(15, 18)}  # all that there are


def test_codes_merge() -> None:
    a, b = Codes.of([episode(4, 0)], identity), Codes.of([episode(6, 1), episode(2, 2)], identity)
    both = Codes.of([episode(4, 0), episode(6, 1), episode(2, 2)], identity)
    for name in Codes.__dataclass_fields__:
        merged = getattr(a.merged(b), name)
        assert np.array_equal(merged, getattr(both, name), equal_nan=True)


def test_codes_refuse_what_m_cannot_read() -> None:
    with pytest.raises(ValueError, match="no episodes"):
        Codes.of([], identity)
    discrete = replace(episode(3), actions=np.zeros(3, np.int64))
    with pytest.raises(ValueError, match=r"float32, got .* \(3,\) of int64"):
        Codes.of([discrete], identity)
    with pytest.raises(ValueError, match=r"what cost gives must .* \(3,\), got .* \(4,\)"):
        Codes.of([episode(3)], identity, lambda seen: np.zeros(4))
    with pytest.raises(TypeError, match="each of episodes must be an Episode, got 3"):
        Codes.of([3], identity)
    for wrong, message in (
        (lambda seen: seen, r"what encode gives must be a tuple .*, got ndarray of shape \(4, 3\)"),
        (
            lambda seen: (seen, seen[1:]),
            r"encode gives must .* \(4, 3\), got .* \(3, 3\)",
        ),
        (lambda seen: (seen[1:], seen[1:]), "what encode gives must be"),
        (
            lambda seen: (seen.astype(float), seen),
            r"mean must be .* float32, got .* of float64",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            Codes.of([episode(3)], wrong)
    with pytest.raises(ValueError, match=r"costs must be in \[0, 1\]"):
        Codes.of([episode(3)], identity, lambda seen: np.full(3, 1.5))
    good = Codes.of([episode(3), episode(2)], identity)
    for name, wrong in (
        ("rewards", good.rewards[1:]), ("actions", good.actions[:, 0]),
        ("lengths", good.lengths[1:]),
        ("lengths", good.lengths.astype(float)), ("lengths", np.array([-1, 6])), ("mean", [1.0]),
        ("ends", good.ends.astype(np.float64)), ("log_variance", good.log_variance[:, :2]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{name} must"):
            replace(good, **{name: wrong})
    with pytest.raises(ValueError, match=r"latents and actions of other must be \(3, 2\)"):
        good.merged(replace(good, actions=good.actions[:, :1]))
    codes = Codes.of([episode(9)], identity)
    with pytest.raises(ValueError, match=r"of the codes must be \(4, 2\), got \(3, 2\)"):
        train_memory(codes, replace(SMALL, latent=4), steps=1, progress=False)
    with pytest.raises(ValueError, match="no episode has 10 decisions; the longest has 9"):
        train_memory(codes, replace(SMALL, window=10), steps=1, progress=False)


def test_a_batch_pairs_each_code_with_the_one_that_follows() -> None:
    codes = Codes.of(
        [episode(12)], lambda o: (o, np.full_like(o, -100.0)), lambda o: np.tanh(o[:, 0]) ** 2
    )  # no noise in z
    seen = {}

    class Spy(MDNRNN):
        def loss(self, *window: Tensor):
            seen["window"] = window
            return super().loss(*window)

    batch_loss(Spy(SMALL), codes, np.random.default_rng(0))
    z, action, target, reward, end, cost = seen["window"]
    assert z.shape == target.shape == (16, 5, 3)
    assert torch.equal(z[:, 1:], target[:, :-1])
    for b in range(16):
        row = int(np.flatnonzero((codes.mean == z[b, 0].numpy()).all(1))[0])
        assert np.array_equal(action[b], codes.actions[row : row + 5])
        assert np.array_equal(reward[b], codes.rewards[row : row + 5])
        assert np.array_equal(end[b], codes.ends[row : row + 5])
        assert np.array_equal(cost[b], codes.costs[row : row + 5])


def test_a_state_knows_every_part_of_the_codes(tmp_path: Path) -> None:
    codes = Codes.of([episode(9)], identity, lambda seen: np.full(len(seen), 0.25))
    options = {"steps": 1, "state": tmp_path / "state.safetensors", "progress": False}
    train_memory(codes, SMALL, **options)
    for name in ("mean", "log_variance", "actions", "rewards", "ends", "costs"):
        other = replace(codes, **{name: getattr(codes, name) / 2 + 0.25})
        with pytest.raises(ValueError, match="state of another run, with another data"):
            train_memory(other, SMALL, **options)
    assert len(train_memory(codes, SMALL, **options)[1]["total"]) == 1  # the same goes on


# Rewards that a head cannot say


def rewarded(*rewards: float, terminated: bool = False) -> Codes:
    """Two episodes, the second of which has these rewards."""
    first, given = episode(6), np.array(rewards, np.float32)
    first = replace(first, rewards=np.zeros(6, np.float32))
    second = replace(episode(len(given), 1), rewards=given, terminated=terminated)
    return Codes.of([first, second], identity)


def test_a_rate_of_events_cannot_be_a_punishment() -> None:
    config = MemoryConfig(3, 2, hidden=4, mixtures=2, window=4, batch=2)
    punished = rewarded(*[-1.0] * 6)
    message = (
        r"cannot say a reward below reward_offset 0, got -1 in row 7: "
        r"take MemoryConfig\(reward='normal'\)"
    )
    with pytest.raises(ValueError, match=message):
        train_memory(punished, config, steps=1, progress=False)
    with pytest.raises(ValueError, match="below reward_offset 0, got -2 in row 8"):
        check_rewards(config, rewarded(1, -2, 1, 1, 1))
    with pytest.raises(ValueError, match="below reward_offset 0, got -2 in row 9"):
        check_rewards(config, rewarded(1, 1, -2))  # cut off, not ended
    train_memory(punished, replace(config, reward="normal"), steps=1, progress=False)
    train_memory(punished, replace(config, reward_offset=-1.0), steps=1, progress=False)


def test_what_car_racing_pays_is_sayable() -> None:
    """-0.1 a frame in float32, so much of it as was driven; tiles; -100 for leaving, at the end."""
    config = MemoryConfig(3, 2, reward_scale=3.6, reward_offset=-0.1 * 3)
    frame = np.float32(-0.1)
    check_rewards(config, rewarded(frame * 3, frame + frame + frame, 3.3, 7.2 - 0.3, -0.1))
    check_rewards(config, rewarded(-0.3, 3.3, -100.2, terminated=True))
    unused = rewarded(1, 1)
    unused.rewards[[6, 9]] = -50.0, np.nan  # rows that follow no action
    check_rewards(config, unused)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("reward", ["normal", "poisson"])
def test_rewards_that_are_no_numbers_are_refused(value: float, reward: str) -> None:
    with pytest.raises(ValueError, match=f"rewards must be finite, got {value} at .8."):
        train_memory(rewarded(1, value, 1), replace(SMALL, reward=reward), progress=False)


# Learning


def forks(episodes: int = 60, steps: int = 12) -> Codes:
    """A code that is +1 or -1 with equal chance, whatever came before, and a little noise; the
    reward is the first action."""
    rng = np.random.default_rng(0)
    made = []
    for seed in range(episodes):
        side = rng.choice([-1.0, 1.0], (steps + 1, 1)) + 0.05 * rng.standard_normal((steps + 1, 1))
        actions = rng.uniform(-1, 1, (steps, 1)).astype(np.float32)
        made.append(
            Episode(side.astype(np.float32), actions, actions[:, 0].copy(), False, True, seed)
        )
    return Codes.of(made, lambda o: (o, np.full_like(o, -20.0)))


def test_it_learns_a_fork_that_no_single_normal_can() -> None:
    config = MemoryConfig(
        latent=1, actions=1, hidden=8, mixtures=2, reward="normal", batch=32, window=8,
        learning_rate=2e-2,
    )  # fmt: skip
    codes = forks()
    memory, history = train_memory(codes, config, steps=150, seed=0, progress=False)
    last = np.mean(history["code"][-20:])
    best_normal = 0.5 * math.log(2 * math.pi * math.e * codes.mean.var())  # its entropy, in nats
    fork = math.log(2) + 0.5 * math.log(2 * math.pi * math.e * 0.05**2)
    assert best_normal == pytest.approx(1.42, abs=0.03)
    assert last < best_normal - 0.8
    assert last > fork - 0.2  # what it says is a likelihood: it cannot beat the process itself
    assert np.mean(history["reward"][-20:]) < 0.1 * np.mean(history["reward"][:5])
    with torch.no_grad():
        prediction = memory.predict(memory(torch.ones(1, 1, 1), torch.zeros(1, 1, 1))[0])
        drawn = sample(
            Prediction(*(part[0].expand(500, *part.shape[2:]) for part in prediction)),
            generator=torch.Generator().manual_seed(0),
        )
    assert 0.3 < (drawn > 0).float().mean() < 0.7
    assert (drawn.abs() - 1).abs().median() < 0.3


@pytest.mark.parametrize(
    "wrong",
    [{"latent": 0}, {"mixtures": 0}, {"window": 0}, {"reward": "cauchy"}, {"clip": 0.0},
     {"log_sigma_range": (1.0, 1.0)}, {"log_sigma_range": (float("nan"), 1.0)},
     {"reward_scale": -1.0}, {"reward_weight": float("nan")}, {"reward_offset": float("inf")},
     {"learning_rate": 0.0}, {"latent": 2.5}, {"hidden": "8"}, {"clip": None},
     {"reward": np.array(["normal"])}, {"log_sigma_range": 3}, {"log_sigma_range": ("a", "b")}],
)  # fmt: skip
def test_configurations_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        MemoryConfig(**wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 1.5}, "steps must be a whole number, got 1.5"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": 2**63}, "seed must be at most 9223372036854775807, got 9223372036854775808"),
        ({"seed": "1"}, "seed must be a whole number, got '1'"),
        ({"state": "run.safetensors"}, "state must be a Path or None, got 'run.safetensors'"),
        ({"config": 3}, "config must be a MemoryConfig or None, got 3"),
        ({"codes": [1]}, r"codes must be a Codes, got \[1\]"),
    ],
)
def test_training_refuses_what_it_cannot_use(options: dict, message: str) -> None:
    given = {"codes": Codes.of([episode(9)], identity), "config": SMALL, "steps": 1, **options}
    with pytest.raises(ValueError, match=message):
        train_memory(**given, progress=False)
