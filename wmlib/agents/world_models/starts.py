"""The moments that dreams begin in: real ones, remembered by M."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.memory import MDNRNN, check_codes
from wmlib.storage import digest
from wmlib.typed import check_type, typed


class Starts(NamedTuple):
    """S moments to dream from: what V saw there and what M remembered."""

    z: Tensor
    """(S, Z) codes"""
    hidden: Tensor
    """(S, H)"""
    cell: Tensor
    """(S, H)"""

    def take(self, rows: np.ndarray | Tensor | slice) -> Starts:
        """Some of them."""
        return Starts(*(part[rows] for part in self))


def dreams_digest(memory: MDNRNN, starts: Starts) -> str:
    """SHA-256 of all that dreams come from: M's weights, and the moments they begin in."""
    parts = {**memory.state_dict(), **{f"starts/{k}": v for k, v in starts._asdict().items()}}
    return digest({name: tensor.cpu().numpy() for name, tensor in parts.items()}, {})


@typed
@torch.no_grad()
def warm_up(memory: MDNRNN, codes: Codes, warm: int = 16, batch: int = 64) -> Starts:
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
    for name, number, least in (("warm", warm, 0), ("batch", batch, 1)):
        if number < least:
            raise ValueError(f"{name} must be at least {least}, got {number}")
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
            kept.append(Starts(z[:, t], *state).take(alive))
            state = memory.step(z[:, t], action[:, t], state)
    starts = Starts(*(torch.cat(part) for part in zip(*kept, strict=True)))
    if not len(starts.z):
        raise ValueError(f"no episode is longer than the {warm} decisions of warm-up")
    return starts


@typed
def followed(codes: Codes, warm: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of `warm_up`'s moments are followed by enough real decisions to compare a dream with.

    Args:
        codes: the episodes given to `warm_up`, all of them in one pass (`batch` >= E).
        warm: as given to it.
        horizon: T, decisions that must follow, >= 1.

    Returns:
        (M,) places of these moments among its starts, and (M,) rows of their observations in
        `codes`; those of what followed are the next T.

    Raises:
        ValueError: a number is out of range, or no episode is long enough.
    """
    for name, number, least in (("warm", warm, 0), ("horizon", horizon, 1)):
        if number < least:
            raise ValueError(f"{name} must be at least {least}, got {number}")
    rows, left = [], []
    for t in range(warm, max(codes.lengths)):
        alive = codes.lengths > t
        rows.append(codes.first[alive] + t)
        left.append(codes.lengths[alive] - t)
    if not left or max(map(np.max, left)) < horizon:
        raise ValueError(f"no episode has {warm} decisions and then {horizon} more")
    enough = np.flatnonzero(np.concatenate(left) >= horizon)  # (M,)
    return enough, np.concatenate(rows)[enough]


@typed
def check_starts(memory: MDNRNN, starts: Starts) -> None:
    """Refuse starts that are none, of other sizes than M's, or not finite."""
    for name, part in zip(Starts._fields, starts, strict=True):
        check_type(name, part, Tensor)
    if not len(starts.z):
        raise ValueError("a dream needs at least one start, got none")
    s, cfg = len(starts.z), memory.config
    for name, part, size in zip(
        Starts._fields, starts, (cfg.latent, *[cfg.hidden] * 2), strict=True
    ):
        if part.shape != (s, size) or part.dtype != torch.float32:
            raise ValueError(
                f"starts need {name} ({s}, {size}) of float32, got {tuple(part.shape)} of "
                f"{part.dtype}"
            )
        if not math.isfinite(part.sum()):  # a tenth of the time of asking each number
            raise ValueError(f"starts.{name} holds NaN or infinity")
