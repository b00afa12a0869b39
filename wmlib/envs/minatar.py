"""MinAtar's games (Young & Tian 2019), which a package of its own holds: an extra.

They are registered with Gymnasium by the names that the package itself uses, `MinAtar/Breakout-v1`
and so on, and imported when one is made. An observation is (10, 10, C) bool, a plane for each kind
of thing; v1 has the actions that do something in that game, v0 all six. Both are sticky (one time
in ten the last action is repeated), become harder as an episode goes on, and never truncate.
"""

from __future__ import annotations

import logging
from typing import Any

import gymnasium as gym


def is_minatar(env_id: str) -> bool:
    """Whether an id, or "module:id", is that of one of its games."""
    return env_id.rpartition(":")[2].startswith("MinAtar/")


def make(game: str, **options: Any) -> gym.Env:
    """One of MinAtar's games: "asterix", "breakout", "freeway", "seaquest" or "space_invaders".

    Raises:
        gymnasium.error.DependencyNotInstalled: the package is not there.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it warns without seaborn, which only its own window needs
    try:
        from minatar.gym import BaseEnv
    except ImportError as error:
        raise gym.error.DependencyNotInstalled(
            "MinAtar is not installed: pip install --no-deps -r requirements-arena.txt"
        ) from error
    finally:
        logging.disable(before)
    env: gym.Env = BaseEnv(game, **options)
    return env
