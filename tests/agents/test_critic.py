"""Real driving judged by M's heads, and the value function that learns from it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from wmlib.agents.behaviour import BehaviourConfig, train_behaviour
from wmlib.agents.critic import RecallConfig, Recollection, learn_value, recall
from wmlib.controller import ControllerConfig
from wmlib.dream import Starts
from wmlib.memory import MDNRNN, Codes, MemoryConfig
from wmlib.training import seeded
from wmlib.value import ValueConfig, ValueFunction, lambda_returns

MEMORY = MemoryConfig(latent=3, actions=2, hidden=5, mixtures=2, reward="normal")
SHAPE = ControllerConfig(3, 5, ("tanh", "sigmoid"))


def model() -> MDNRNN:
    return seeded(3, lambda: MDNRNN(MEMORY))


def driven(lengths: tuple[int, ...]) -> Codes:
    rng = np.random.default_rng(4)
    n = sum(lengths) + len(lengths)
    arrays = (rng.normal(size=(n, size)).astype(np.float32) for size in (3, 3, 2))
    zeros = np.zeros(n, np.float32)
    return Codes(*arrays, zeros, zeros, np.array(lengths))


def test_recalling_is_reading_the_episodes_step_by_step() -> None:
    memory, codes, warm, steps = model(), driven((9, 4, 6)), 2, 3
    recalled = recall(memory, codes, steps, warm)
    rows = [r + t for r, n in ((0, 9), (10, 4), (15, 6)) for t in range(warm, n - steps + 1)]
    assert recalled.first.tolist() == rows
    with torch.no_grad():
        for row, length in zip(codes.first, codes.lengths, strict=True):
            state = memory.initial(1)
            for t in range(length + 1):
                z = torch.from_numpy(codes.mean[None, row + t])
                features = torch.cat([z, state.hidden], 1)[0]
                torch.testing.assert_close(recalled.features[row + t], features)
                if t == length:
                    break
                state = memory.step(z, torch.from_numpy(codes.actions[None, row + t]), state)
                said = memory.predict(state.hidden)
                reward = memory.expected_reward(said)[0]
                torch.testing.assert_close(recalled.rewards[row + t], reward)
                ends = torch.sigmoid(said.end[0])
                torch.testing.assert_close(recalled.continues[row + t], 1 - ends)
    with pytest.raises(ValueError, match="no episode has 2 decisions of warm-up and 8 after"):
        recall(memory, codes, 8, warm)


def test_the_value_learns_from_real_stretches_what_dreams_do_not_say() -> None:
    memory, codes = model(), driven((40, 40, 40))
    recalled = recall(memory, codes, 20, warm=0)
    worse = recalled._replace(rewards=recalled.rewards - 5.0)
    value = ValueConfig(features=8, units=6, discount=0.9, learning_rate=3e-2, target_rate=0.5)
    config = BehaviourConfig(
        updates=100, starts=16, horizon=4, value=value, recall=RecallConfig(16, 20, 3.0)
    )

    def learned(config: BehaviourConfig, real: Recollection | None) -> ValueFunction:
        zeros = torch.zeros(32, 5)
        starts = Starts(zeros[:, :3], zeros, zeros)
        return train_behaviour(
            memory, starts, SHAPE, config, recalled=real, seed=1, progress=False
        ).value

    values = [learned(config, real) for real in (None, recalled, worse)]
    plain, same, lower = (float(value(recalled.features).mean().detach()) for value in values)
    assert lower < min(plain, same) - 5
    without = learned(replace(config, recall=RecallConfig(16, 20, weight=0.0)), worse)
    assert float(without(recalled.features).mean().detach()) == plain


def test_one_update_is_a_step_down_the_loss_of_both() -> None:
    memory = model()
    recalled = recall(memory, driven((30, 30)), 5, warm=0)
    config, rate = RecallConfig(stretches=7, steps=5, weight=2.0), 0.1
    most = float(recalled.rewards.median())  # half of the decisions would be paid more
    value = seeded(1, lambda: ValueFunction(ValueConfig(features=8, units=6)))
    expected = seeded(1, lambda: ValueFunction(ValueConfig(features=8, units=6)))
    dreamed, worth = torch.randn(9, 8), torch.randn(9)
    learn_value(
        value, torch.optim.SGD(value.network.parameters(), lr=rate), dreamed, worth,
        recalled=recalled, config=config, most=most, rng=np.random.default_rng(0),
    )  # fmt: skip
    begin = recalled.first[np.random.default_rng(0).integers(len(recalled.first), size=7)]
    errors = []
    for row in begin:
        rows = slice(row, row + 5)
        values = expected.slow(recalled.features[row : row + 6])
        judged = recalled.rewards[rows]
        paid = torch.where(judged > most, 2 * most - judged, judged)
        returns = lambda_returns(
            paid, recalled.continues[rows], values, value.config.discount, value.config.trace
        )
        errors.append(expected(recalled.features[rows]) - returns)
    loss = 0.5 * (expected(dreamed) - worth).square().mean()
    loss = loss + 2.0 * 0.5 * torch.cat(errors).square().mean()
    loss.backward()
    for ours, theirs in zip(value.network.parameters(), expected.network.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), theirs.detach() - rate * theirs.grad)


@pytest.mark.parametrize(("name", "number"), [("stretches", 0), ("steps", 0), ("weight", -1.0)])
def test_numbers_out_of_range_are_refused(name: str, number: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*, got {number}"):
        RecallConfig(**{name: number})
