"""The moments that dreams begin in: real ones, remembered by M."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.memory import MDNRNN, check_codes
from wmlib.shapes import check_shape
from wmlib.storage import digest
from wmlib.typed import NonNegativeInt, PositiveInt, typed


class Starts(NamedTuple):
    """S moments to dream from: what V saw there and what M remembered."""

    z: Tensor
    """(S, Z) codes"""
    hidden: Tensor
    """(S, H)"""
    cell: Tensor
    """(S, H)"""
    rows: Tensor | None = None
    """(S,) int64: where they are in the `Codes` that they were read from; None: in none"""

    def take(self, rows: np.ndarray | Tensor | slice) -> Starts:
        """Some of them."""
        where = None if self.rows is None else self.rows[rows]
        return Starts(self.z[rows], self.hidden[rows], self.cell[rows], where)

    def dreamed(self) -> dict[str, Tensor]:
        """What a dream begins with, by name: all but where it was read."""
        return {"z": self.z, "hidden": self.hidden, "cell": self.cell}


def dreams_digest(memory: MDNRNN, starts: Starts) -> str:
    """SHA-256 of all that dreams come from: M's weights, and the moments they begin in."""
    parts = {**memory.state_dict(), **{f"starts/{k}": v for k, v in starts.dreamed().items()}}
    return digest({name: tensor.cpu().numpy() for name, tensor in parts.items()}, {})


@typed
@torch.no_grad()
def warm_up(
    memory: MDNRNN, codes: Codes, warm: NonNegativeInt = 16, batch: PositiveInt = 64
) -> Starts:
    """Every moment of real episodes as a start: M has read all the real decisions before it.

    Args:
        memory: M.
        codes: of real episodes.
        warm: decisions that M must have read, >= 0; earlier moments are left out.
        batch: episodes a pass.

    Raises:
        ValueError: no episode is longer than `warm` decisions, the codes have other sizes than
            M's, or a number is out of range.
    """
    check_codes(memory.config, codes)
    kept = []
    for begin in range(0, len(codes.lengths), batch):
        first, lengths = codes.first[begin : begin + batch], codes.lengths[begin : begin + batch]
        rows = np.minimum(first[:, None] + np.arange(max(lengths)), len(codes.mean) - 1)  # (B, T)
        z = torch.from_numpy(codes.mean[rows]).to(memory.device)  # (B, T, Z)
        action = torch.from_numpy(codes.actions[rows]).to(memory.device)  # (B, T, A)
        state = memory.initial(len(first))
        for t in range(max(lengths)):
            alive = torch.from_numpy(np.flatnonzero((lengths > t) & (t >= warm)))
            where = torch.from_numpy(rows[:, t]).to(memory.device)  # (B,)
            kept.append(Starts(z[:, t], *state, where).take(alive))
            state = memory.step(z[:, t], action[:, t], state)
    starts = Starts(*(torch.cat(part) for part in zip(*kept, strict=True)))
    if not len(starts.z):
        raise ValueError(f"no episode is longer than the {warm} decisions of warm-up")
    return starts


@typed
def followed(
    codes: Codes, starts: Starts, horizon: PositiveInt
) -> tuple[np.ndarray, np.ndarray]:
    """Which moments are followed by enough real decisions to compare a dream with.

    Args:
        codes: the episodes that the moments were read from.
        starts: the moments.
        horizon: T, decisions that must follow, >= 1.

    Returns:
        (M,) places of these moments among the starts, and (M,) rows of their observations in
        `codes`; those of what followed are the next T.

    Raises:
        ValueError: a number is out of range, the starts were not read from these codes, or none is
            followed by so many decisions.
    """
    rows = _read_from(codes, starts)  # (S,)
    final = codes.first + codes.lengths  # (E,) rows of the last observations
    episode = np.searchsorted(codes.first, rows, side="right") - 1  # (S,)
    enough = np.flatnonzero(rows + horizon <= final[episode])  # (M,)
    if not len(enough):
        raise ValueError(f"no moment is followed by {horizon} decisions")
    return enough, rows[enough]


def _read_from(codes: Codes, starts: Starts) -> np.ndarray:
    """Rows (S,) of the moments, which must be those of these codes."""
    if starts.rows is None:
        raise ValueError("the starts do not say where they are: take those of warm_up")
    rows: np.ndarray = starts.rows.cpu().numpy()
    there = rows < len(codes.mean)
    if not there.all() or not np.array_equal(codes.mean[rows], starts.z.cpu().numpy()):
        raise ValueError("the starts were not read from these codes")
    return rows


@typed
def check_starts(memory: MDNRNN, starts: Starts) -> None:
    """Refuse starts that are none, of other sizes than M's, or not finite."""
    check_shape("starts.z", starts.z, Tensor, "S", memory.config.latent, dtype="float32")
    shape = len(starts.z), memory.config.hidden
    for name, part in starts.dreamed().items():
        if name != "z":
            check_shape(f"starts.{name}", part, Tensor, *shape, dtype="float32")
        if not math.isfinite(part.sum()):  # a tenth of the time of asking each number
            raise ValueError(f"starts.{name} holds NaN or infinity")
