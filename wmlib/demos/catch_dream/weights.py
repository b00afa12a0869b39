"""DreamerV3 for the page: what dreams and acts, and the states in which games begin.

The encoder and the critic stay behind: a dream sees nothing, and asks nobody what it is worth.
Matrices are rounded to 8 or 16 bits (`wmlib.demos.page.blocks`), all else stays float32.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from wmlib.agents.dreamerv3 import DreamerV3, State
from wmlib.demos.page.blocks import pack, unpack
from wmlib.envs.catch import ACTIONS, COLUMNS, ROWS, SIDE, Board, draw

MODEL = ("rssm.from_", "rssm.cell.", "rssm.to_prior.", "decoder.", "reward.", "goes_on.")
TURNED = ("rssm.cell.mix.weight", "rssm.cell.gates.weight")
"""(G, I, O) in PyTorch, and (G, O, I) in the page, whose inner loop runs over what goes in"""


def pack_catcher(agent: DreamerV3, seed: int = 0, bits: Literal[8, 16] = 8) -> bytes:
    """What a page needs of an agent that plays Catch.

    Args:
        agent: of pictures (16, 16, 1) and three actions.
        seed: of the dice of the starts.
        bits: of a number in a matrix.

    Raises:
        ValueError: it plays something else, or a number is NaN or infinite, which the message
            names.
    """
    spaces = agent.spaces
    if (spaces.shape, spaces.pictures, spaces.choices) != ((SIDE, SIDE, 1), True, len(ACTIONS)):
        raise ValueError(
            f"the agent must see pictures ({SIDE}, {SIDE}, 1) and choose among {len(ACTIONS)} "
            f"actions, got {spaces}"
        )
    arrays = dict(_arrays(agent))
    rounded = {name: bits for name, array in arrays.items() if array.ndim > 1}
    begun = starts(agent, seed)
    arrays |= {f"starts.{name}": _numpy(part) for name, part in begun._asdict().items()}
    arrays["bins"] = _numpy(agent.model.bins)
    config = agent.config
    about = {
        "rssm": dataclasses.asdict(config.world_model.rssm),
        "world": dataclasses.asdict(config.world_model),
        "behaviour": dataclasses.asdict(config.behaviour),
        "pixels": SIDE * SIDE,
        "actions": len(ACTIONS),
        "board": {
            "side": SIDE, "rows": ROWS, "columns": COLUMNS, "cellHeight": 1.5, "cellWidth": 3,
        },
    }  # fmt: skip
    return pack(arrays, rounded, about)


@torch.no_grad()
def starts(agent: DreamerV3, seed: int) -> State:
    """What it takes to be so after the first picture of a game: a row for each column of a ball."""
    model, column = agent.model, np.arange(COLUMNS)
    first = draw(Board(np.zeros_like(column), column, np.full_like(column, COLUMNS // 2)))
    embedding = model.encoder(model.numbers(torch.from_numpy(first).to(agent.device)))  # (5, E)
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(COLUMNS, model.config.rssm.variables, generator=generator)
    nothing = embedding.new_zeros(COLUMNS, len(ACTIONS))
    known = model.rssm.initial(COLUMNS)
    state, _ = model.rssm.observe(known, nothing, embedding, uniform.to(agent.device))
    return state


@torch.no_grad()
def as_packed(agent: DreamerV3, bits: Literal[8, 16] = 8) -> DreamerV3:
    """The agent that a page runs: a copy whose weights went through `pack_catcher`."""
    arrays, _ = unpack(pack_catcher(agent, bits=bits))
    agent = copy.deepcopy(agent)
    for name, parameter in _parameters(agent):
        array = arrays[name].swapaxes(-1, -2) if name in TURNED else arrays[name]
        parameter.copy_(torch.from_numpy(array.copy()))
    return agent


def _parameters(agent: DreamerV3) -> Iterator[tuple[str, Tensor]]:
    """What dreams and acts, by the names of the page."""
    for name, parameter in agent.model.named_parameters():
        if name.startswith(MODEL):
            yield name, parameter
    for name, parameter in agent.actor.network.named_parameters():
        yield f"actor.{name}", parameter


def _arrays(agent: DreamerV3) -> Iterator[tuple[str, np.ndarray]]:
    for name, parameter in _parameters(agent):
        array = _numpy(parameter)
        yield name, array.swapaxes(-1, -2) if name in TURNED else array


def _numpy(tensor: Any) -> np.ndarray:
    array: np.ndarray = tensor.detach().cpu().numpy()
    return array
