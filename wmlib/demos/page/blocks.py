"""Arrays as blocks of small integers with a scale each: the bytes that a page carries.

A matrix is cut into blocks of 64 numbers. A block keeps one float32 scale and its numbers as
integers of 8 or 16 bits: `w = scale * q`. That is a quarter or half of the size of float32, and a
float32 scale for 64 numbers adds half a bit to each. `engine.js` reads the same bytes; a test holds
the two readers together, bit by bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from wmlib.storage import DamagedFileError

MAGIC = b"WMLIB-1\n"
BLOCK = 64
INTEGERS: dict[int, np.dtype[Any]] = {8: np.dtype("<i1"), 16: np.dtype("<i2")}


def quantise(array: np.ndarray, bits: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Round N finite numbers, block by block, to the nearest multiple of the block's scale.

    Returns:
        integers (N,) and scales (ceil(N / block),) float32; the largest number of a block becomes
        127 or 32767, and a block of zeros has the scale 0.
    """
    flat = np.asarray(array, np.float32).reshape(-1)  # (N,)
    largest = np.iinfo(INTEGERS[bits]).max
    padded = np.pad(flat, (0, -len(flat) % block)).reshape(-1, block)  # (blocks, block)
    scales = (np.abs(padded).max(1) / largest).astype(np.float32)  # (blocks,)
    divisor = np.where(scales > 0, scales, 1)[:, None].astype(np.float64)
    rounded = np.clip(np.rint(padded / divisor), -largest, largest)
    return rounded.reshape(-1)[: len(flat)].astype(INTEGERS[bits]), scales


def dequantise(integers: np.ndarray, scales: np.ndarray, block: int) -> np.ndarray:
    """The numbers (N,) float32 that a page reads from `quantise`'s integers and scales."""
    return np.repeat(scales, block)[: len(integers)] * integers.astype(np.float32)


def pack(
    arrays: Mapping[str, np.ndarray],
    bits: Mapping[str, int],
    about: Mapping[str, Any],
    block: int = BLOCK,
) -> bytes:
    """Write arrays as one block of bytes.

    It holds a magic word, the length of a JSON header (uint32), the header, and the data; all of
    it little-endian, all parts at multiples of 4 bytes.

    Args:
        arrays: of float32, by name.
        bits: 8 or 16 for the names that are rounded; the others stay float32.
        about: put into the header.
        block: numbers that share a scale.

    Raises:
        ValueError: an array holds NaN or infinity, also after rounding to float32.
    """
    data, entries = bytearray(), {}

    def put(array: np.ndarray) -> int:
        at = len(data)
        data.extend(array.tobytes())
        data.extend(bytes(-len(data) % 4))
        return at

    for name, array in arrays.items():
        entry: dict[str, Any] = {"shape": list(array.shape), "bits": bits.get(name, 32)}
        with np.errstate(over="ignore"):
            plain = np.asarray(array, "<f4")
        if not np.isfinite(plain).all():
            raise ValueError(f"{name} holds NaN or infinity; a page needs finite numbers")
        if name in bits:
            integers, scales = quantise(plain, bits[name], block)
            entry |= {"scales": put(scales.astype("<f4")), "at": put(integers)}
        else:
            entry["at"] = put(plain)
        entries[name] = entry
    header = json.dumps(
        {**about, "block": block, "bytes": len(data), "arrays": entries}, allow_nan=False
    ).encode()
    header += b" " * (-len(header) % 4)
    return MAGIC + len(header).to_bytes(4, "little") + header + bytes(data)


def unpack(packed: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read `pack`'s bytes as a page does: the arrays, dequantised (float32), and the header.

    Raises:
        DamagedFileError: the bytes were cut short, or are something else.
    """
    start = len(MAGIC) + 4
    if packed[: len(MAGIC)] != MAGIC or len(packed) < start:
        raise DamagedFileError("these bytes are not weights that wmlib packed")
    data = start + int.from_bytes(packed[len(MAGIC) : start], "little")
    try:
        header: dict[str, Any] = json.loads(packed[start:data])
    except ValueError as error:
        raise DamagedFileError(f"the weights have no header ({error})") from error
    if data + header["bytes"] != len(packed):
        raise DamagedFileError("the weights were cut short")

    def get(at: int, count: int, kind: str | np.dtype[Any]) -> np.ndarray:
        return np.frombuffer(packed, kind, count, data + at)

    arrays, block = {}, header["block"]
    for name, entry in header["arrays"].items():
        count = math.prod(entry["shape"])
        if entry["bits"] == 32:
            flat = get(entry["at"], count, "<f4")
        else:
            scales = get(entry["scales"], -(-count // block), "<f4")
            flat = dequantise(get(entry["at"], count, INTEGERS[entry["bits"]]), scales, block)
        arrays[name] = flat.reshape(entry["shape"])
    return arrays, header
