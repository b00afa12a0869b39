"""Who can enter the arena, by name. The one place that knows the agents and their rivals alike."""

from __future__ import annotations

from wmlib.arena import Entrant, RandomEntrant

AGENTS = ("random", "dqn", "ppo")
RIVALS = ("dqn", "ppo")
"""these take a number of updates too, as in dqn@12000"""


def entrants(names: str) -> dict[str, Entrant]:
    """The entrants of a list such as "random,dqn,dqn@12000".

    Raises:
        ValueError: a name is unknown, or stands there twice, or needs what is not installed.
    """
    listed = names.split(",")
    for name in listed:
        if listed.count(name) > 1:
            raise ValueError(f"an agent enters once, got {name!r} twice in {names!r}")
    return {name: _entrant(name) for name in listed}


def _entrant(name: str) -> Entrant:
    kind, at, number = name.partition("@")
    whole = number.isascii() and number.isdigit() and number == str(int(number))
    if kind not in AGENTS or (at and not (kind in RIVALS and whole)):
        raise ValueError(
            f"unknown agent {name!r}; there are {', '.join(AGENTS)}, and with a number of updates "
            f"{', '.join(f'{rival}@N' for rival in RIVALS)}"
        )
    if kind == "random":
        return RandomEntrant()
    try:
        from wmlib.rivals import DQNEntrant, PPOEntrant
    except ImportError as error:
        raise ValueError(
            f"{name} needs stable-baselines3, which is not installed ({error}): "
            "pip install --no-deps -r requirements-arena.txt"
        ) from error
    updates = int(number) if at else None
    return DQNEntrant(updates) if kind == "dqn" else PPOEntrant(updates)
