"""How well IRIS foretells what really happened.

Letters: S stretches, T frames, K words of a frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from wmlib.agents.iris.agent import IRIS
from wmlib.episodes import Episode
from wmlib.sequences import Stream


class Foretold(NamedTuple):
    """Shares of what came next, in [0, 1]."""

    words: float
    """of the words of next frames, where the likeliest was right; those before it in its frame and
    all earlier frames were known"""
    frames: float
    """of next frames, where all words were right"""
    rewards: float
    """of rewards, where the likeliest sign was right"""
    ends: float


@torch.no_grad()
def foretell(agent: IRIS, episodes: Iterable[Episode]) -> Foretold:
    """Let an agent foretell each step of episodes from those before it.

    Args:
        agent: that has learned.
        episodes: with at least `blocks` observations in all, and a decision among them. They are
            read end to end, `blocks` observations at a time; what is over is left out.
    """
    stream, model = Stream(), agent.model
    for episode in episodes:
        stream.extend(episode)
    length = model.config.blocks
    stretches = len(stream) // length
    arrays = {name: part[: stretches * length] for name, part in stream.arrays().items()}
    actions, rewards, first, ended = (
        torch.from_numpy(arrays[name]).to(agent.device).unflatten(0, (stretches, length))
        for name in ("actions", "rewards", "first", "ended")
    )  # (S, T)
    words = agent.words(arrays["observations"]).unflatten(0, (stretches, length))  # (S, T, K)
    logits = model.read_stretch(words, actions, first)
    goes_on = ~first[:, 1:]  # (S, T - 1), where something was to be foretold
    # At an action its step is told; there, and at all words of the next frame but the last, a word.
    tokens = logits.words[:, model.words :].argmax(-1)  # (S, (T - 1) (K + 1))
    right = tokens.unflatten(1, (length - 1, -1))[..., : model.words] == words[:, 1:]

    def share(good: Tensor) -> float:
        return float(good[goes_on].double().mean())

    at_action = slice(model.words, None, model.words + 1)
    signs = torch.sign(rewards[:, 1:]).long() + 1
    return Foretold(
        share(right.double().mean(-1)), share(right.all(-1)),
        share(logits.reward[:, at_action].argmax(-1) == signs),
        share(logits.end[:, at_action].argmax(-1) == ended[:, 1:].long()),
    )  # fmt: skip
