"""Random finite worlds: their values by hand, and by walking."""

import numpy as np
import pytest

from wmlib.envs.finite import FiniteMDPs


def test_values_hold_bellmans_equation() -> None:
    mdps = FiniteMDPs(3, states=5, actions=2, discount=0.7, seed=4)
    values = mdps.values()  # (W, S, A)
    for world in range(3):
        for state in range(5):
            for action in range(2):
                rewards, goes_on, after = mdps.step(np.array([[world, state]]), np.array([action]))
                ahead = values[world, after[0, 1]].max() * goes_on[0]
                assert values[world, state, action] == pytest.approx(rewards[0] + 0.7 * ahead)


def test_where_every_step_but_one_in_ten_goes_on() -> None:
    mdps = FiniteMDPs(400, seed=1)
    assert mdps.start().shape == (400, 2) and (mdps.start()[:, 1] == 0).all()
    assert mdps.goes_on.mean() == pytest.approx(0.9, abs=0.02)
    assert 0 <= mdps.rewards.min() and mdps.rewards.max() <= 1
    assert FiniteMDPs(2, ends=0.0).values().min() > 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"discount": 1.0}, r"discount must be in \[0, 1\), got 1.0"),
     ({"states": 0}, "states must be at least 1, got 0")],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FiniteMDPs(2, **wrong)
