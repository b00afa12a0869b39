"""The model-free rival of pages 6b and 7a: stable-baselines3's SAC, on another agent's trials.

    pip install stable-baselines3==2.9.2

The settings are those of rl-baselines3-zoo for Pendulum-v1 (hyperparams/sac.yml): a learning rate
of 1e-3, and stable-baselines3's own for the rest, among them an update of 256 transitions after
each decision but the first 100, two critics, two hidden layers of 256 and a temperature that is
learned.

SAC has no memory. Where one picture hides the speed it is given the last three, as SAC from pixels
is in the literature (Yarats et al. 2019, "Improving Sample Efficiency in Model-Free Reinforcement
Learning from Images"). It sees them through convolutions of the sizes of Dreamer's encoder, once
for the actor and once for the critics: stable-baselines3's own need sides of 36 pixels. An update
from pixels is of 128 transitions (as RAD's is, Laskin et al. 2020): with 256 a run takes a quarter
of an hour of one core.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from wmlib.agents.dreamer import WorldModelConfig
from wmlib.nets.conv import encoder, features_of

RATE, FRAMES, BATCH = 1e-3, 3, {"MlpPolicy": 256, "CnnPolicy": 128}
SIZES = WorldModelConfig()


class SameTrials(gym.Wrapper):
    """Resets with the seeds `first`, `first` + 1, ... whatever is asked, and keeps the returns."""

    def __init__(self, env: gym.Env, first: int) -> None:
        super().__init__(env)
        self.first, self.returns = first, []

    def reset(self, **options: Any) -> tuple[Any, dict]:
        seed = self.first + len(self.returns)
        self.returns.append(0.0)
        return self.env.reset(seed=seed)

    def step(self, action: Any) -> tuple:
        result = self.env.step(action)
        self.returns[-1] += float(result[1])
        return result


class Recent:
    """The last pictures (H, W, C) of an episode, as channels (FRAMES * C, H, W).

    At an episode's start the first picture stands for those before it.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.pictures: list[np.ndarray] = []

    def see(self, picture: np.ndarray) -> np.ndarray:
        self.pictures = [*(self.pictures or [picture] * FRAMES), picture][-FRAMES:]
        return np.concatenate(self.pictures, -1).transpose(2, 0, 1)


class Stacked(gym.Wrapper):
    """An environment of pictures that shows the last ones."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        height, width, colours = env.observation_space.shape
        shape = (FRAMES * colours, height, width)
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.recent = Recent()

    def reset(self, **options: Any) -> tuple[np.ndarray, dict]:
        self.recent.begin()
        picture, said = self.env.reset(**options)
        return self.recent.see(picture), said

    def step(self, action: Any) -> tuple:
        picture, *others = self.env.step(action)
        return self.recent.see(picture), *others


class Pictures(BaseFeaturesExtractor):
    """Pictures (B, C, H, W) in [0, 1] to (B, E): convolutions and a layer as Dreamer's encoder."""

    def __init__(self, space: spaces.Box) -> None:
        super().__init__(space, SIZES.embedding)
        colours, height, width = space.shape
        shape = (height, width, colours), SIZES.channels
        self.layers = nn.Sequential(
            encoder(*shape, nn.ReLU), nn.Linear(features_of(*shape), SIZES.embedding), nn.ReLU()
        )

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(pictures)


class Quiet:
    """SAC's policy without its noise."""

    def __init__(self, model: SAC) -> None:
        self.model = model
        self.recent = Recent() if seen_by(model) is Pictures else None

    def reset(self, rng: np.random.Generator) -> None:
        if self.recent is not None:
            self.recent.begin()

    def act(self, observation: np.ndarray) -> np.ndarray:
        seen = observation if self.recent is None else self.recent.see(observation)
        return self.model.predict(seen, deterministic=True)[0]


def seen_by(model: SAC) -> type[BaseFeaturesExtractor]:
    """What its networks see through."""
    return model.policy.features_extractor_class


def learned(env: gym.Env, decisions: int, seed: int, updates: int = 1) -> SAC:
    """SAC after so many decisions, with so many updates after each; `env` may be `Stacked`."""
    pictures = len(env.observation_space.shape) == 3
    policy = "CnnPolicy" if pictures else "MlpPolicy"
    model = SAC(
        policy, env, learning_rate=RATE, buffer_size=decisions, batch_size=BATCH[policy],
        gradient_steps=updates, seed=seed, device="cpu",
        policy_kwargs={"features_extractor_class": Pictures} if pictures else None,
    )  # fmt: skip
    return model.learn(decisions)
