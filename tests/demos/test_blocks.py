"""Small integers with a scale each: what is kept, and what is refused."""

import numpy as np
import pytest

from wmlib.demos.page.blocks import MAGIC, dequantise, pack, quantise, unpack
from wmlib.storage import DamagedFileError


def normals(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("bits, largest", [(8, 127), (16, 32767)])
@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_each_number_becomes_the_nearest_multiple(bits: int, largest: int, block: int) -> None:
    numbers = normals(300)
    integers, scales = quantise(numbers, bits, block)
    assert len(scales) == -(-300 // block)
    for i, number in enumerate(numbers.astype(float)):
        scale = float(np.abs(numbers[i // block * block :][:block]).max()) / largest
        assert abs(integers[i]) <= largest
        assert abs(integers[i] * scale - number) <= 0.501 * scale  # no other multiple is nearer
    again = dequantise(integers, scales, block)
    assert again.dtype == np.float32
    np.testing.assert_allclose(again, integers * np.repeat(scales, block)[:300], rtol=1e-6)


def test_the_ends_of_the_range_and_zeros() -> None:
    integers, scales = quantise(np.float32([3, -3, 0, 0, 0, 1e-45]), 8, 2)
    assert integers.tolist()[:4] == [127, -127, 0, 0]
    assert scales[1] == 0
    assert dequantise(integers, scales, 2)[2:].tolist() == [0, 0, 0, 0]


def test_what_is_packed_comes_back() -> None:
    arrays = {
        "a": normals(5, 3),
        "b": normals(4),
        "c": normals(2, 3, 5, seed=1),
        "d": normals(0, 3),
    }
    packed = pack(arrays, {"a": 8, "c": 16}, {"note": "hello"}, block=4)
    back, header = unpack(packed)
    assert header["note"] == "hello"
    assert {name: array.shape for name, array in back.items()} == {
        name: array.shape for name, array in arrays.items()
    }
    for name, tolerance in {"a": 0.02, "b": 0, "c": 1e-4, "d": 0}.items():
        np.testing.assert_allclose(back[name], arrays[name], atol=tolerance, rtol=0)
    assert not np.array_equal(back["a"], arrays["a"])


def test_eight_bits_are_a_quarter() -> None:
    x = {"x": normals(64, 1000)}
    assert len(pack(x, {"x": 8}, {})) == pytest.approx(64_000 * (1 + 4 / 64), rel=0.01)
    assert len(pack(x, {"x": 16}, {})) == pytest.approx(64_000 * (2 + 4 / 64), rel=0.01)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("bits", [{}, {"w": 8}, {"w": 16}])
def test_what_is_not_finite_is_refused_by_name(value: float, bits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="w holds NaN or infinity"):
        pack({"w": np.array([[1.0, value]])}, bits, {})


def test_damaged_bytes_are_refused() -> None:
    packed = pack({"x": normals(3, 3)}, {}, {})
    for wrong in (b"", b"something else", packed[1:], MAGIC):
        with pytest.raises(DamagedFileError, match="not weights"):
            unpack(wrong)
    for wrong in (packed[:-1], packed + b"x"):
        with pytest.raises(DamagedFileError, match="cut short"):
            unpack(wrong)
    with pytest.raises(DamagedFileError, match="no header"):
        unpack(packed[:30])
