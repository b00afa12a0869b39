"""What a public function accepts of a number."""

import numpy as np
import pytest

from wmlib.checks import (
    check_generator,
    check_kind,
    check_number,
    check_positive,
    check_seed,
    check_share,
    check_whole,
)

NAN, INF = float("nan"), float("inf")
HUGE = [10**400, -(10**400), pytest.param(10**5000, id="too large to be written out")]
NO_NUMBERS = [
    np.float32(np.inf),
    None,
    "3",
    NAN,
    INF,
    -INF,
    True,
    False,
    [1],
    np.array([1.0, 2.0]),
    1j,
    np.nan,
    *HUGE,
]


@pytest.mark.parametrize("value", [*NO_NUMBERS, 2.5, 3.0, np.float64(3), 0, -1, 10])
def test_whole_numbers(value: object) -> None:
    with pytest.raises(
        ValueError, match=r"steps must be (a whole number|at least 1|at most 9), got"
    ):
        check_whole("steps", value, 1, 9)


@pytest.mark.parametrize("value", [*NO_NUMBERS, -1, -1e-300])
def test_numbers(value: object) -> None:
    with pytest.raises(ValueError, match="noise must be a number, at least 0, got"):
        check_number("noise", value, 0)


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, 0.0, -0.0, -1])
def test_positive_numbers(value: object) -> None:
    with pytest.raises(ValueError, match="rate must be a positive number, got"):
        check_positive("rate", value)


@pytest.mark.parametrize("value", [*NO_NUMBERS, -0.1, 1.1, 2])
def test_shares(value: object) -> None:
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\], got"):
        check_share("share", value)


def test_what_is_a_number_passes() -> None:
    for value in (1, 9, np.int64(4), np.uint8(2)):
        check_whole("steps", value, 1, 9)
    check_whole("steps", 2**63 - 1, 1)
    for value in (0, 1.5, np.float32(2), 10**300, np.uint64(3), np.uint8(255)):
        check_number("noise", value, 0)
    for value in (1e-300, np.float32(2), 3):
        check_positive("rate", value)
    for value in (0, 1, 0.5, np.float32(0.25)):
        check_share("share", value)
    check_generator(np.random.default_rng(0))


def test_a_count_that_nothing_can_count_to_is_refused() -> None:
    for value, got in ((2**63, "9223372036854775808"), (10**5000, "a whole number of 16610 bits")):
        with pytest.raises(ValueError, match=f"steps must be at most {2**63 - 1}, got {got}"):
            check_whole("steps", value, 1)


def test_a_seed_is_one_for_numpy_gymnasium_and_torch() -> None:
    torch = pytest.importorskip("torch")
    check_seed(largest := 2**63 - 1)
    torch.manual_seed(largest)
    np.random.default_rng(largest)
    for value in (-1, 2**63, 1.0):
        with pytest.raises(ValueError, match="seed must be"):
            check_seed(value)
    for value in (0, None, np.random):
        with pytest.raises(TypeError, match=r"rng must be a numpy.random.Generator, got"):
            check_generator(value)


def test_kinds() -> None:
    check_kind("folder", "x", str)
    check_kind("flag", True, int)
    with pytest.raises(TypeError, match="folder must be of str, got NoneType"):
        check_kind("folder", None, str)
