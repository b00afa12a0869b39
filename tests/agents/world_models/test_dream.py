"""Dreaming: many rollouts at once, held to a plain loop through M."""

import math
import re
import warnings
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.controller import ControllerConfig, LinearController
from wmlib.agents.world_models.dream import Dream, most_paid
from wmlib.agents.world_models.dream_env import DreamEnv
from wmlib.agents.world_models.measure_speed import measure_dream
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig, State
from wmlib.agents.world_models.mixture import Prediction
from wmlib.agents.world_models.starts import Starts, dreams_digest, followed, warm_up
from wmlib.agents.world_models.value import ValueConfig, ValueFunction
from wmlib.agents.world_models.vision import VAE, VisionConfig
from wmlib.episodes import Episode
from wmlib.storage import digest
from wmlib.training import seeded

CONFIG = MemoryConfig(
    latent=3, actions=3, hidden=6, mixtures=4, reward="normal", reward_scale=2.0, reward_offset=-0.3
)
SHAPE = ControllerConfig(latent=3, hidden=6)
SPACE = gym.spaces.Box(np.float32([-1, 0, 0]), np.float32([1, 1, 1]))


def model(config: MemoryConfig = CONFIG, scale: float = 3.0) -> MDNRNN:
    memory = seeded(1, lambda: MDNRNN(config))
    with torch.no_grad():
        for name, parameter in memory.named_parameters():
            if "bias_hh" not in name:
                parameter.mul_(scale)
    return memory


def population(p: int, config: ControllerConfig = SHAPE) -> LinearController:
    return LinearController(np.random.default_rng(0).normal(size=(p, config.parameters)), config)


def starting(s: int, config: MemoryConfig = CONFIG) -> Starts:
    g = torch.Generator().manual_seed(3)
    hidden, cell = torch.tanh(torch.randn(2, s, config.hidden, generator=g))
    return Starts(torch.randn(s, config.latent, generator=g), hidden, cell)


def noise(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain_sample(
    prediction: Prediction, uniform: Tensor, normal: Tensor, tau: float
) -> list[float]:
    """One code (Z,) by the words of the paper, number by number."""
    drawn = []
    for z in range(len(uniform)):
        weights = [math.exp(float(v) / tau) for v in prediction.log_pi[:, z]]
        share, k = 0.0, -1
        while k + 1 < len(weights) and (k < 0 or share < float(uniform[z])):
            k += 1
            share += weights[k] / sum(weights)
        sigma = math.exp(float(prediction.log_sigma[k, z])) * math.sqrt(tau)
        drawn.append(float(prediction.mean[k, z]) + sigma * float(normal[z]))
    return drawn


@torch.no_grad()
def plain_dream(
    memory: MDNRNN, c: LinearController, starts: Starts, horizon: int, tau: float, seed: int = 7
) -> tuple[Tensor, Tensor, Tensor]:
    """Features (T + 1, P, S, Z + H), rewards and ends (T, P, S), one dream after the other."""
    generator, latent = noise(seed), memory.config.latent
    shape = (len(starts.z), latent)
    draws = [(torch.rand(shape, generator=generator), torch.randn(shape, generator=generator))
             for _ in range(horizon)]  # fmt: skip
    size = latent + memory.config.hidden
    features = torch.empty(horizon + 1, len(c.parameters), len(starts.z), size)
    rewards, ends = torch.empty(2, horizon, len(c.parameters), len(starts.z))
    for p in range(len(c.parameters)):
        alone = LinearController(c.parameters[p], c.config)
        for s in range(len(starts.z)):
            z, *state = (part[s : s + 1] for part in starts.dreamed().values())
            state = State(*state)
            for t in range(horizon):
                features[t, p, s] = torch.cat([z, state.hidden], 1)[0]
                action = alone.act(features[t, p, s, : c.config.features][None, None])[0]  # (1, A)
                state = memory.step(z, action, state)
                prediction = memory.predict(state.hidden)
                rewards[t, p, s] = memory.expected_reward(prediction)[0]
                ends[t, p, s] = torch.sigmoid(prediction.end[0])
                one = Prediction(*(part[0] for part in prediction))
                uniform, normal = draws[t]
                z = torch.tensor([plain_sample(one, uniform[s], normal[s], tau)])
            features[horizon, p, s] = torch.cat([z, state.hidden], 1)[0]
    return features, rewards, ends


@pytest.mark.parametrize("temperature", [0.1, 1.0, 1.5])
@pytest.mark.parametrize("reward", ["normal", "poisson"])
def test_dreams_equal_a_plain_loop_through_m(temperature: float, reward: str) -> None:
    memory = model(replace(CONFIG, reward=reward))
    c, starts = population(3), starting(4)
    imagined = Dream(memory, temperature).imagine(c, starts, 5, noise())
    features, rewards, ends = plain_dream(memory, c, starts, 5, temperature)
    assert imagined.features.shape == (6, 3, 4, 9)
    assert torch.allclose(imagined.features, features, atol=1e-4)
    assert torch.allclose(imagined.rewards, rewards, rtol=1e-4, atol=1e-4)
    assert torch.allclose(imagined.continues, 1 - ends, atol=1e-4)


@pytest.mark.parametrize("hidden", [0, 6])
def test_dreams_of_a_c_that_chooses_equal_a_plain_loop_through_m(hidden: int) -> None:
    shape = ControllerConfig.for_space(gym.spaces.Discrete(3), 3, hidden)
    memory, c, starts = model(), population(5, shape), starting(4)
    imagined = Dream(memory, 1.2).imagine(c, starts, 5, noise())
    features, rewards, ends = plain_dream(memory, c, starts, 5, 1.2)
    actions = c.act(imagined.features[0, ..., : shape.features])
    assert len(actions.flatten(0, 1).unique(dim=0)) > 1
    assert torch.allclose(imagined.features, features, atol=1e-4)
    assert torch.allclose(imagined.rewards, rewards, rtol=1e-4, atol=1e-4)
    assert torch.allclose(imagined.continues, 1 - ends, atol=1e-4)
    weight = torch.cat([torch.ones_like(ends[:1]), (1 - ends[:-1]).cumprod(0)])
    returns = Dream(memory, 1.2).returns(c, starts, horizon=5, generator=noise(), rows=8)
    assert torch.allclose(returns, (weight * rewards).sum(0), rtol=1e-3, atol=1e-4)


def test_after_an_imagined_end_nothing_is_earned() -> None:
    memory, c, starts = model(), population(2), starting(4)
    with torch.no_grad():
        memory.end.weight.zero_()
        memory.end.bias.fill_(100.0)  # every step is the last
    first = Dream(memory).imagine(c, starts, 5, noise()).rewards[0]
    returns = Dream(memory).returns(c, starts, horizon=5, generator=noise())
    assert torch.allclose(returns, first, atol=1e-5)


def test_a_dream_of_choices_is_an_environment_too() -> None:
    memory, space = model(), gym.spaces.Discrete(3)
    env, numbers = (DreamEnv(memory, starting(4), s, horizon=6) for s in (space, SPACE))
    for one in (env, numbers):
        one.reset(seed=1)
    for action in (0, np.int64(2), 1):
        seen = env.step(action)[0], numbers.step(np.eye(3, dtype=np.float32)[action])[0]
        assert np.array_equal(*seen)
    for wrong in (3, -1, 1.0, "left"):
        with pytest.raises(ValueError, match="whole numbers from 0 to 2, got"):
            env.step(wrong)
    with pytest.raises(ValueError, match=r"M knows 3 actions, the space is Discrete\(4\)"):
        DreamEnv(memory, starting(4), gym.spaces.Discrete(4))


def test_a_price_is_paid_for_the_cost() -> None:
    memory = model(replace(CONFIG, cost_weight=1.0))
    c, starts = population(2), starting(4)
    plain, dear = (Dream(memory, price=p).imagine(c, starts, 5, noise()) for p in (0.0, 4.0))
    hidden = plain.features[1:, ..., CONFIG.latent :]  # (T, P, S, H)
    cost = torch.sigmoid(memory.predict(hidden).cost)
    assert torch.allclose(plain.costs, cost, atol=1e-5) and cost.std() > 0.01
    assert torch.equal(plain.features, dear.features) and torch.equal(plain.costs, dear.costs)
    assert torch.allclose(dear.rewards, plain.rewards - 4 * cost, atol=1e-4)
    _, rewards, ends = plain_dream(memory, c, starts, 5, 1.0)
    assert torch.allclose(plain.rewards, rewards, rtol=1e-4, atol=1e-4)
    assert torch.allclose(plain.continues, 1 - ends, atol=1e-4)
    assert not Dream(model()).imagine(c, starts, 5, noise()).costs.any()
    for given, price, message in (
        (model(), 1.0, "a price of 1.0 needs an M that foresees a cost"),
        (memory, -1.0, "price must be .*, got -1.0"),
        (memory, math.nan, "price must be .*, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            Dream(given, price=price)


def test_large_logits_at_a_low_temperature_still_choose_the_largest() -> None:
    memory = model()
    with torch.no_grad():
        memory.mixture.weight[: 4 * 3] = 0
        memory.mixture.bias[: 4 * 3] = torch.tensor([9.0, 8.0, 30.0, 31.0]).repeat_interleave(3)
    imagined = Dream(memory, 0.1).imagine(population(1), starting(50), 3, noise())
    features, _, _ = plain_dream(memory, population(1), starting(50), 3, 0.1)
    assert torch.allclose(imagined.features, features, atol=1e-4)


def test_returns_are_discounted_survive_and_end_in_a_value() -> None:
    memory, c, starts = model(), population(3), starting(4)
    value = seeded(0, lambda: ValueFunction(ValueConfig(features=9, units=5)))
    with torch.no_grad():
        for parameter in value.target.parameters():
            parameter.normal_(generator=noise(1))
    dream = Dream(memory, 1.2)
    features, rewards, ends = plain_dream(memory, c, starts, 6, 1.2)
    for discount in (1.0, 0.8):
        expected, weight = torch.zeros(3, 4), torch.ones(3, 4)
        for t in range(6):
            expected += weight * rewards[t]
            weight = weight * discount * (1 - ends[t])
        options = {"horizon": 6, "discount": discount}
        returns = dream.returns(c, starts, generator=noise(), **options)
        assert returns.shape == (3, 4)
        assert torch.allclose(returns, expected, rtol=1e-3, atol=1e-4)
        beyond = dream.returns(c, starts, value=value, generator=noise(), **options)
        assert torch.allclose(beyond, expected + weight * value.slow(features[-1]), atol=1e-3)


def test_the_number_of_rows_at_once_changes_nothing() -> None:
    memory, c, starts = model(), population(7), starting(5)
    whole = Dream(memory).returns(c, starts, horizon=4, generator=noise(), rows=10_000)
    for rows in (1, 11, 25):
        parts = Dream(memory).returns(c, starts, horizon=4, generator=noise(), rows=rows)
        assert torch.allclose(parts, whole, rtol=1e-4, atol=1e-4)


def test_all_controllers_meet_the_same_noise() -> None:
    same = LinearController(population(1).parameters.expand(4, -1), SHAPE)
    returns = Dream(model()).returns(same, starting(5), horizon=4, generator=noise(), rows=10)
    assert torch.allclose(returns, returns[:1].expand(4, -1))
    again = Dream(model()).returns(same, starting(5), horizon=4, generator=noise(8))
    assert not torch.allclose(returns, again)


def test_a_c_that_sees_z_alone_can_dream() -> None:
    c = population(2, ControllerConfig(latent=3, hidden=0))
    imagined = Dream(model()).imagine(c, starting(3), 4, noise())
    assert torch.allclose(
        imagined.features, plain_dream(model(), c, starting(3), 4, 1.0)[0], atol=1e-4
    )


def test_a_dream_leaves_m_and_the_starts_alone() -> None:
    memory, starts = model(), starting(3)
    before = [p.clone() for p in (*memory.parameters(), *starts.dreamed().values())]
    Dream(memory, 0.5).imagine(population(2), starts, 3, noise())
    assert all(map(torch.equal, before, (*memory.parameters(), *starts.dreamed().values())))


def test_flops_are_those_that_torch_counts() -> None:
    memory, c, starts = model(), population(5), starting(7)
    dream = Dream(memory)
    with FlopCounterMode(display=False) as counter:
        dream.returns(c, starts, horizon=3, generator=noise())
    assert counter.get_total_flops() == 5 * 7 * 3 * dream.flops_per_step()
    # by hand, at the paper's sizes: gates, mixture and two heads, controller
    paper = 2 * ((32 + 256 + 3) * 1024 + 256 * (3 * 5 * 32 + 2) + 288 * 3)
    assert Dream(MDNRNN()).flops_per_step() == paper


def test_parts_that_do_not_fit_are_refused() -> None:
    dream, c, starts = Dream(model()), population(2), starting(3)
    with pytest.raises(ValueError, match="horizon must be at least 1, got 0"):
        dream.returns(c, starts, horizon=0, generator=noise())
    with pytest.raises(
        ValueError, match=r"starts.z must be .* \(S, 3\) of float32, got .* \(0, 3\)"
    ):
        dream.imagine(c, starts.take(slice(0, 0)), 3, noise())
    other = population(2, ControllerConfig(latent=4, hidden=6))
    with pytest.raises(
        ValueError, match=r"latents and actions of C must be \(3, 3\), got \(4, 3\)"
    ):
        dream.imagine(other, starts, 3, noise())
    for wrong in (
        starts._replace(z=torch.zeros(3, 2)),
        starts._replace(cell=torch.zeros(2, 6)),
        starts._replace(hidden=starts.hidden.double()),
    ):
        with pytest.raises(
            ValueError, match=r"starts\.(z|hidden|cell) must be .* \(., .\) of float32"
        ):
            dream.imagine(c, wrong, 3, noise())
    for discount in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match=rf"discount must be in \(0, 1\], got {discount}"):
            dream.returns(c, starts, horizon=1, discount=discount, generator=noise())
    with pytest.raises(ValueError, match="features of the value must be 9, got 288"):
        dream.returns(c, starts, horizon=1, value=ValueFunction(), generator=noise())
    for temperature in (0.0, -1.0, math.nan, math.inf, 1e300, 1e-300, 2**70, "1", None):
        for call in (
            lambda t=temperature: Dream(model(), t),
            lambda t=temperature: DreamEnv(model(), starts, SPACE, temperature=t),
        ):
            with pytest.raises(
                ValueError, match="temperature must be .*, got " + re.escape(repr(temperature))
            ):
                call()
    with pytest.raises(ValueError, match=r"starts\.cell holds NaN or infinity"):
        dream.imagine(c, starts._replace(cell=starts.cell * math.nan), 3, noise())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 2.5}, "horizon must be a whole number, got 2.5"),
        ({"horizon": math.nan}, "horizon must be a whole number, got nan"),
        ({"horizon": "3"}, "horizon must be a whole number, got '3'"),
        (
            {"horizon": 2**70},
            "horizon must be at most 9223372036854775807, got 1180591620717411303424",
        ),
        ({"horizon": -1}, "horizon must be at least 1, got -1"),
        ({"discount": "1"}, "discount must be a number, got '1'"),
        ({"rows": 0}, "rows must be at least 1, got 0"),
        ({"generator": 7}, "generator must be a Generator, got 7"),
        ({"controller": None}, "controller must be a LinearController, got None"),
        ({"starts": torch.zeros(3)}, r"starts must be a Starts, got Tensor of shape \(3,\)"),
        ({"starts": Starts(1, 2, 3)}, "starts.z must be a Tensor .*, got 1"),
        ({"value": 0}, "value must be a ValueFunction or None, got 0"),
    ],
)
def test_a_dream_refuses_arguments_that_are_none(options: dict, message: str) -> None:
    given = {"controller": population(2), "starts": starting(3), "horizon": 2, "generator": noise()}
    with pytest.raises(ValueError, match=message):
        Dream(model()).returns(**{**given, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0}, r"seconds must be .*, got 0"),
        ({"seconds": math.inf}, "seconds must be .*, got inf"),
        ({"seconds": 1e300}, "seconds must be .*, got 1e[+]300"),
        ({"seconds": "1"}, "seconds must be a number, got '1'"),
        ({"population": 0}, "population must be at least 1, got 0"),
        ({"starts": 1.5}, "starts must be a whole number, got 1.5"),
        ({"horizon": 0}, "horizon must be at least 1, got 0"),
    ],
)
def test_a_measurement_refuses_numbers_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure_dream(**options)


@pytest.mark.parametrize("price", [-1.0, math.nan, math.inf, 1e300, "1"])
def test_a_price_is_a_number_that_a_dream_can_pay(price: object) -> None:
    costly = model(replace(CONFIG, cost_weight=1.0))
    with pytest.raises(ValueError, match="price must be .*, got " + re.escape(repr(price))):
        Dream(costly, price=price)
    assert Dream(costly, price=1e6).returns(
        population(1), starting(2), horizon=3, generator=noise()
    ).isfinite().all()  # fmt: skip


# Starts


def codes_of(*lengths: int) -> Codes:
    rng = np.random.default_rng(0)
    episodes = [
        Episode(
            rng.normal(size=(n + 1, 3)).astype(np.float32),
            rng.normal(size=(n, 3)).astype(np.float32),
            np.zeros(n, np.float32), False, True, 0,
        )
        for n in lengths
    ]  # fmt: skip
    return Codes.of(episodes, lambda o: (o, np.zeros_like(o)))


def test_warm_up_is_reading_the_episodes_step_by_step() -> None:
    memory, codes = model(), codes_of(5, 2, 7, 4)
    expected = []
    with torch.no_grad():
        for first, length in zip(codes.first, codes.lengths, strict=True):
            state = memory.initial(1)
            for t in range(length):
                row = slice(first + t, first + t + 1)
                z = torch.from_numpy(codes.mean[row])
                if t >= 3:
                    expected.append(torch.cat([z, *state], 1)[0])
                state = memory.step(z, torch.from_numpy(codes.actions[row]), state)
    where = [first + t for first, n in zip(codes.first, codes.lengths, strict=True)
             for t in range(3, n)]  # fmt: skip
    for batch in (1, 3, 64):
        starts = warm_up(memory, codes, warm=3, batch=batch)
        assert len(starts.z) == len(expected) == 2 + 0 + 4 + 1
        order = starts.rows.argsort()
        assert starts.rows[order].tolist() == where
        found = torch.cat(list(starts.take(order).dreamed().values()), 1)
        torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-5)
    assert len(warm_up(memory, codes, warm=0).z) == 18


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_a_start_knows_what_followed_it(batch: int) -> None:
    memory, codes = model(), codes_of(5, 2, 7, 4)
    starts = warm_up(memory, codes, warm=1, batch=batch)
    some = starts.take(torch.randperm(len(starts.z), generator=noise())[:12])
    places, rows = followed(codes, some, 3)
    assert np.array_equal(some.z[places], codes.mean[rows])
    ends = np.cumsum(codes.lengths + 1) - 1  # rows of the last observations
    for place, row in enumerate(some.rows.tolist()):
        assert (place in places) == (row + 3 <= min(end for end in ends if end >= row))


def test_starts_of_other_codes_have_nothing_to_follow() -> None:
    memory, codes, other = model(), codes_of(5, 2), codes_of(7, 4)
    starts = warm_up(memory, codes, warm=0)
    changed = replace(codes, mean=codes.mean + 1)
    both = Starts(*map(torch.cat, zip(starts, warm_up(memory, other, warm=0), strict=True)))
    for theirs, told in ((changed, starts), (codes, both), (codes_of(1), starts)):
        with pytest.raises(ValueError, match="the starts were not read from these codes"):
            followed(theirs, told, 1)
    with pytest.raises(ValueError, match="the starts do not say where they are"):
        followed(codes, starts._replace(rows=None), 1)
    with pytest.raises(ValueError, match="no moment is followed by 6 decisions"):
        followed(codes, starts, 6)


def test_where_starts_were_read_is_nothing_to_a_dream() -> None:
    """The digest that a state on the disk knows them by is of the numbers a dream begins with."""
    memory, starts = model(), warm_up(model(), codes_of(5, 2), warm=0)
    weights = {name: tensor.numpy() for name, tensor in memory.state_dict().items()}
    parts = {f"starts/{name}": getattr(starts, name).numpy() for name in ("z", "hidden", "cell")}
    expected = digest(weights | parts, {})
    for some in (starts, starts._replace(rows=None), starts._replace(rows=starts.rows + 1)):
        assert dreams_digest(memory, some) == expected
    assert dreams_digest(memory, starts.take(slice(1, None))) != expected


def test_warm_up_refuses_what_it_cannot_read() -> None:
    codes = codes_of(5, 2)
    with pytest.raises(ValueError, match="no episode is longer than the 5 decisions"):
        warm_up(model(), codes, warm=5)
    with pytest.raises(ValueError, match="warm must be at least 0, got -1"):
        warm_up(model(), codes, warm=-1)
    with pytest.raises(ValueError, match=r"of the codes must be \(4, 3\), got \(3, 3\)"):
        warm_up(model(replace(CONFIG, latent=4)), codes)
    with pytest.raises(TypeError, match=r"warm must be a whole number, got 1.5"):
        warm_up(model(), codes, warm=1.5)
    with pytest.raises(TypeError, match=r"starts must be .*, got 1"):
        followed(codes, 1, 2)
    with pytest.raises(TypeError, match="horizon must be a whole number, got nan"):
        followed(codes, warm_up(model(), codes, warm=0), math.nan)


# The dream as an environment


def environment(**options: object) -> DreamEnv:
    return DreamEnv(model(), starting(9), SPACE, horizon=20, **options)


def test_gymnasiums_checker_has_nothing_to_say() -> None:
    vision = seeded(0, lambda: VAE(VisionConfig(latent=3, channels=(2, 2, 2, 2))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(environment(), skip_render_check=True)
        check_env(environment(vision=vision, render_mode="rgb_array"), skip_render_check=True)


def test_the_environment_dreams_as_m_does() -> None:
    env, memory = environment(temperature=1.3), model()
    observation, info = env.reset(seed=4, options={"start": 2})
    assert info["start"] == 2
    assert np.array_equal(observation, torch.cat(starting(9).take(2)[:2]))
    state = State(*(part[2:3] for part in starting(9)[1:3]))
    z = starting(9).z[2:3]
    action = np.float32([0.3, 0.8, 0.1])
    after, reward, *_ = env.step(action)
    with torch.no_grad():
        state = memory.step(z, torch.from_numpy(action)[None], state)
        prediction = memory.predict(state.hidden)
    assert np.allclose(after[3:], state.hidden[0], atol=1e-6)
    assert reward == pytest.approx(float(memory.expected_reward(prediction)), rel=1e-5)
    first = [env.reset(seed=4)[0], env.step(action)[0]]
    again = [env.reset(seed=4)[0], env.step(action)[0]]
    assert np.array_equal(first, again)
    assert len({env.reset(seed=seed)[1]["start"] for seed in range(20)}) > 4


def test_episodes_end_by_m_or_by_the_horizon() -> None:
    for bias, ended in ((-50.0, (False, True, 20)), (50.0, (True, False, 1))):
        env = environment()
        with torch.no_grad():
            env.model.memory.end.weight.zero_()
            env.model.memory.end.bias.fill_(bias)
        env.reset(seed=0)
        steps, terminated, truncated = 0, False, False
        while not (terminated or truncated):
            _, _, terminated, truncated, _ = env.step(np.zeros(3, np.float32))
            steps += 1
        assert (terminated, truncated, steps) == ended


def test_render_is_what_v_decodes() -> None:
    vision = seeded(0, lambda: VAE(VisionConfig(latent=3, channels=(2, 2, 2, 2))))
    env = environment(vision=vision, render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    assert np.array_equal(env.render(), vision.decode(observation[:3]))
    silent = environment()
    silent.reset(seed=0)
    assert silent.render() is None


def test_the_environment_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="horizon must be at least 1, got 0"):
        DreamEnv(model(), starting(2), SPACE, horizon=0)
    with pytest.raises(
        ValueError, match=r"starts.z must be .* \(S, 3\) of float32, got .* \(0, 3\)"
    ):
        DreamEnv(model(), starting(0), SPACE)
    for space in (gym.spaces.Discrete(4), gym.spaces.MultiDiscrete([2, 2, 2])):
        with pytest.raises(
            ValueError, match=f"M knows 3 actions, the space is {type(space).__name__}"
        ):
            DreamEnv(model(), starting(2), space)
    with pytest.raises(TypeError, match="action_space must be a Space, got 3"):
        DreamEnv(model(), starting(2), 3)
    with pytest.raises(ValueError, match="latents of vision must be 3, got 32"):
        environment(vision=VAE())
    with pytest.raises(ValueError, match="'rgb_array' or None, got 'human'"):
        environment(render_mode="human")
    with pytest.raises(ValueError, match="needs vision"):
        environment(render_mode="rgb_array")
    env = environment()
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"start must be in \[0, 9\), got 9"):
        env.reset(options={"start": 9})
    for start in (-1, "1", 1.5, object()):
        with pytest.raises(ValueError, match=r"start must be in \[0, 9\), got "):
            env.reset(options={"start": start})
    with pytest.raises(TypeError, match=r"seed must be a whole number or None, got 2.5"):
        env.reset(seed=2.5)
    env.reset(seed=0)
    for wrong in (np.zeros(2), np.full(3, np.nan), None, "left", np.array(["a", "b", "c"])):
        with pytest.raises(
            ValueError, match=r"an action must be (finite|an array of shape \(3,\) .*), got"
        ):
            env.step(wrong)


# Speed


def test_measure_dream_counts_what_it_says() -> None:
    measured = measure_dream(seconds=0.01, population=2, starts=3, horizon=2)
    steps = measured["dream_steps_per_second"]
    assert steps > 0
    assert measured["dream_gflops"] == pytest.approx(steps * Dream(MDNRNN()).flops_per_step() / 1e9)
    share = measured["dream_gflops"] / measured["machine_gflops"]
    assert measured["share_of_machine"] == pytest.approx(share)


@pytest.mark.slow
def test_dreams_reach_two_fifths_of_the_machines_own_rate() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for one another on a busy machine measure that
    try:
        assert measure_dream(seconds=20)["share_of_machine"] >= 0.4
    finally:
        torch.set_num_threads(threads)


def test_a_pace_is_what_a_decision_is_paid_best_for() -> None:
    memory, c, starts = model(), population(3), starting(20)
    free = Dream(memory).imagine(c, starts, 6, noise())
    capped = Dream(memory, pace=0.05).imagine(c, starts, 6, noise())
    most = most_paid(CONFIG, 0.05)
    assert most == pytest.approx(-0.3 + 2.0 * 0.05)
    assert (free.rewards > most).any() and (free.rewards < most).any()
    expected = [r if r <= most else most - (r - most) for r in free.rewards.flatten().tolist()]
    torch.testing.assert_close(capped.rewards.flatten(), torch.tensor(expected))
    assert torch.equal(capped.features, free.features)
    assert most_paid(CONFIG, None) == math.inf
    for pace in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"pace must be a positive number, got {pace}"):
            Dream(memory, pace=pace)
