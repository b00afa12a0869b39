"""Episodes, a policy and an environment that several tests need."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from wmlib.episodes import Episode


def episode(steps: int = 5, value: int = 0, seed: int = 0) -> Episode:
    return Episode(
        observations=np.full((steps + 1, 2, 2, 3), value, np.uint8),
        actions=np.zeros((steps, 2), np.float32),
        rewards=np.arange(steps, dtype=np.float32),
        terminated=True,
        truncated=False,
        seed=seed,
        extras={"frames": np.full(steps, 3), "car": np.ones((steps + 1, 7), np.float32)},
    )


def assert_equal_weights(one: Any, other: Any) -> None:
    """All networks of two agents are the same bit for bit."""
    assert one.modules.keys() == other.modules.keys()
    for name, module in one.modules.items():
        there = other.modules[name].state_dict()
        for key, tensor in module.state_dict().items():
            assert torch.equal(tensor, there[key]), (name, key)


class Chain(gym.Env):
    """Two states. From A one action leads to B and earns nothing, the other stays and earns 0.2;
    from B every action leads to A and earns 1. To go is the choice 1, or a positive number."""

    observation_space = gym.spaces.Box(0, 255, (2, 2, 1), np.uint8)

    def __init__(self, action_space: gym.Space) -> None:
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.t = 0, 0
        return self.seen(), {}

    def seen(self) -> np.ndarray:
        return np.full((2, 2, 1), 255 * self.at, np.uint8)

    def step(self, action):
        go = np.asarray(action).item() > 0
        reward = 1.0 if self.at else 0.0 if go else 0.2
        self.at, self.t = int(not self.at and go), self.t + 1
        return self.seen(), reward, False, self.t == 20, {}

    @staticmethod
    def values(discount: float) -> tuple[float, float]:
        """What A and B are worth to whoever always goes."""
        return discount / (1 - discount**2), 1 / (1 - discount**2)


class Planes(gym.Env):
    """Frames like MinAtar's: a plane of ones and zeros for each kind of thing, one of each there,
    wherever chance puts it. Each third step pays; the tenth is the last."""

    action_space = gym.spaces.Discrete(3)

    def __init__(self, kinds: int, sides: tuple[int, int] = (10, 10)) -> None:
        self.observation_space = gym.spaces.Box(0, 1, (*sides, kinds), np.bool_)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.seen(), {}

    def seen(self) -> np.ndarray:
        *sides, kinds = self.observation_space.shape
        frame = np.zeros((np.prod(sides), kinds), bool)
        frame[self.np_random.integers(len(frame), size=kinds), np.arange(kinds)] = True
        return frame.reshape(*sides, kinds)

    def step(self, action):
        self.t += 1
        return self.seen(), float(self.t % 3 == 0), self.t == 10, False, {}


def own_environment(**changed: object) -> type[gym.Env]:
    """Five steps of four pixels; its class is local, so that it is pickled whole."""

    class Own(gym.Env):
        observation_space = gym.spaces.Box(0, 255, (2, 2, 1), np.uint8)
        action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.t = 0
            return changed.get("first", np.zeros((2, 2, 1), np.uint8)), {}

        def step(self, action):
            self.t += 1
            frame = changed.get("frame", np.full((2, 2, 1), self.t, np.uint8))
            return frame, changed.get("reward", 1.0), self.t == 5, False, {}

    return Own


class Counting:
    """A policy for CartPole-v1 that has counts and a value to say of each decision, as MuZero's."""

    def __init__(self, act: Callable | None = None) -> None:
        self.other = act

    def reset(self, rng: np.random.Generator) -> None:
        self.rng, self.counts = rng, np.zeros(2, np.int64)

    def act(self, observation: np.ndarray) -> int:
        if self.other is not None:
            self.other(self, observation)
        self.counts[:] = self.rng.multinomial(16, [0.5, 0.5])  # a buffer that is used again
        self.value = float(observation[2])
        return int(self.counts.argmax())

    def extras(self) -> dict[str, object]:
        return {"visits": self.counts, "value": self.value}


def balance(act: Callable | None = None) -> object:
    """A policy for CartPole-v1; its class is local, so that it is pickled whole."""

    class Balance:
        def reset(self, rng: np.random.Generator) -> None:
            self.rng, self.seen = rng, 0

        def act(self, observation: np.ndarray) -> int:
            self.seen += 1
            if act is not None:
                act(self, observation)
            return int(observation[2] + 0.1 * self.rng.standard_normal() > 0)

    return Balance()
