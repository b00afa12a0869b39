"""The checks at the borders: what they let through, and what their errors say."""

import math
from fractions import Fraction

import numpy as np
import pytest

from wmlib.scratch.checks import Positive, Weight, at_least, check_step, vectors
from wmlib.typed import check_type

HUGE = (
    10**400,
    -(10**400),
    Fraction(10**400),
    pytest.param(10**5000, id="too large to be written out"),
)


@pytest.mark.parametrize("huge", HUGE)
def test_what_no_float_holds_is_no_number(huge: int | Fraction) -> None:
    for call in (
        lambda: check_type("x", huge, Positive),
        lambda: check_type("x", huge, Weight),
        lambda: at_least("x", huge, 0),
        lambda: vectors("x", [huge], 1),
        lambda: check_step("x", huge, 0.0),
        lambda: check_step("x", 0, [huge]),
    ):
        with pytest.raises(ValueError, match=r"^x(:| must) .*(got|numbers in shape)"):
            call()


def test_a_step_of_finite_numbers_passes() -> None:
    for observation in (3, np.int64(3), 0.5, np.zeros(4, np.float32), np.zeros((2, 2), np.uint8)):
        for reward in (0, 1.0, np.float32(-1), np.array([2.0])):
            check_step("step 1", observation, reward)


@pytest.mark.parametrize("wrong", [math.nan, -math.inf, None, "x", np.array([0.0, np.nan]), {}])
def test_a_step_that_is_not_finite_is_named(wrong: object) -> None:
    for name, said in (("observation", (wrong, 0.0)), ("reward", (0, wrong))):
        with pytest.raises(ValueError) as caught:
            check_step("step 7", *said)
        words = f"step 7: the environment's {name} must be finite, got {wrong!r}"
        assert str(caught.value) == words
    with pytest.raises(ValueError, match="the environment's reward must be finite, got array"):
        check_step("step 7", 0, np.zeros(2))
