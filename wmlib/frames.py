"""Who plays by frames, with the actor-critic that IRIS and DIAMOND share, and in which worlds."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from wmlib.nets.actor_critic import Acting, ActorCritic
from wmlib.spaces import choices, frame


def frames_and_choices(
    observations: gym.Space, actions: gym.Space
) -> tuple[tuple[int, int, int], int]:
    """The shape (rows, columns, C) of an environment's frames, and how many actions there are.

    Raises:
        ValueError: observations are no frames of bytes or bools, or actions no choice among n.
    """
    return frame(observations), choices(actions)


class FramePolicy:
    """An actor-critic as a policy of an environment; it remembers the episode.

    Args:
        network: who plays, as it is now and as it learns on.
        look: from an observation to what the network sees of it, (1, C, rows, columns) in [0, 1].
        explore: whether it draws its actions; else it takes the likeliest.
    """

    def __init__(
        self, network: ActorCritic, look: Callable[[np.ndarray], Tensor], explore: bool
    ) -> None:
        self.network, self.look, self.explore = network, look, explore

    def reset(self, rng: np.random.Generator) -> None:
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        network = self.network
        self.acting = Acting(network, network.initial(1), generator if self.explore else None)
        """it keeps what is remembered"""

    def act(self, observation: np.ndarray) -> np.integer:
        """An action for a frame (rows, columns, C)."""
        return np.int64(self.acting(self.look(np.array(observation)))[0].argmax())
