"""Model-free rivals for the arena: DQN and PPO of stable-baselines3, an extra.

Each is run as its authors tune it for worlds of the kind, or (`updates`) with the same settings
and a given number of updates, spread evenly over the real steps: what a world model's agent makes.
bsuite's settings are for Catch, and taken for every small world; MinAtar's games have their own.
All see single frames through MinAtar's network, and are examined without noise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from wmlib.arena import SEEDS, Examine, Trained, examinations
from wmlib.envs.minatar import is_minatar
from wmlib.spaces import choices, frame


@dataclass(frozen=True)
class DQNConfig:
    """DQN as bsuite's authors run it (baselines/tf/dqn/agent.py at 0fdf026, `default_agent`)."""

    replay: int = 10_000
    """transitions that are kept"""
    first: int = 100
    """real steps, of random actions, before the first update"""
    batch: int = 32
    """transitions in an update"""
    discount: float = 0.99
    target: int = 4
    """updates from one copy of the target network to the next"""
    learning_rate: float = 1e-3
    optimiser: Literal["adam", "rmsprop"] = "adam"
    exploration: tuple[float, float] = (0.05, 0.05)
    """probability of a random action, first and last"""
    anneal: int = 1
    """real steps, after `first`, in which it falls from the one to the other"""


MINATAR_DQN = DQNConfig(
    replay=100_000, first=5_000, target=1_000, learning_rate=0.00025, optimiser="rmsprop",
    exploration=(1.0, 0.1), anneal=100_000,
)  # fmt: skip
"""Young & Tian 2019, examples/dqn.py at 3f078e5 (there for 5 million steps)"""

RMSPROP = {"alpha": 0.95, "momentum": 0.95, "eps": 0.01, "centered": True}
"""the rest of what MinAtar's authors say of their optimiser"""


@dataclass(frozen=True)
class PPOConfig:
    """PPO as bsuite's authors run it (baselines/third_party/openai_ppo/run.py at 8822147).

    What they leave to OpenAI's `baselines.ppo2` has its value there.
    """

    copies: int = 1
    """of the world, at most, that are driven side by side"""
    rollout: int = 100
    """decisions of each copy, at most, between two times of learning"""
    minibatches: int = 4
    """in a pass over what was driven"""
    epochs: int = 4
    """passes over it"""
    discount: float = 0.99
    trace: float = 0.95
    """lambda of the advantages"""
    learning_rate: float = 1e-3
    clip: float = 0.2
    """range of the probability ratio"""
    falling: bool = False
    """whether learning rate and clip fall to zero in the course of the run"""
    entropy: float = 0.0
    """weight of the entropy"""
    value: float = 0.5
    """weight of the value's error"""


ATARI_PPO = PPOConfig(
    copies=8, rollout=128, learning_rate=2.5e-4, clip=0.1, falling=True, entropy=0.01
)
"""rl-baselines3-zoo, hyperparams/ppo.yml at 208b6fd, `atari` (there for 10 million steps): nobody
has published settings of its own for MinAtar there"""


@dataclass(frozen=True)
class DQNEntrant:
    """DQN, with `updates` gradient steps, or with one a real step, as tuned."""

    updates: int | None = None

    @staticmethod
    def config(env_id: str) -> DQNConfig:
        return MINATAR_DQN if is_minatar(env_id) else DQNConfig()

    def check(self, env: gym.Env, steps: int) -> None:
        fitted(env)
        first = self.config(env.spec.id if env.spec else "").first
        if steps <= first:
            raise ValueError(f"it learns nothing in its first {first} steps, got {steps} in all")

    def run(self, env_id: str, steps: int, seed: int, examine: Examine) -> Trained:
        config = self.config(env_id)
        learning = steps - config.first
        updates = learning if self.updates is None else self.updates
        first, last = config.exploration
        rmsprop = {"optimizer_class": torch.optim.RMSprop, "optimizer_kwargs": RMSPROP}
        model = _ExactDQN(
            "CnnPolicy", _copies(env_id, 1), learning_rate=config.learning_rate,
            buffer_size=min(config.replay, steps), learning_starts=config.first,
            batch_size=config.batch, gamma=config.discount, train_freq=1,
            target_update_interval=max(1, round(config.target * learning / max(updates, 1))),
            exploration_initial_eps=first, exploration_final_eps=last,
            exploration_fraction=(config.first + config.anneal) / steps,
            policy_kwargs=NETWORK | (rmsprop if config.optimiser == "rmsprop" else {}),
            seed=seed * SEEDS, device="cpu",
        )  # fmt: skip
        model.planned = lambda used: updates * max(used - config.first, 0) // learning
        acting = nn.Sequential(model.q_net.features_extractor, model.q_net.q_net)
        return _trained(model, acting, model.q_net, config, steps, examine)


class _ExactDQN(DQN):
    """Makes as many updates as are planned, and is examined between two real steps."""

    between: Callable[[int], None]
    planned: Callable[[int], int]
    """updates in the first so many real steps"""

    def collect_rollouts(self, *args: Any, **kwargs: Any) -> Any:
        self.between(self.num_timesteps)
        return super().collect_rollouts(*args, **kwargs)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        due = self.planned(self.num_timesteps) - self.planned(self.num_timesteps - 1)
        if due:
            super().train(due, batch_size)


@dataclass(frozen=True)
class PPOEntrant:
    """PPO, with `updates` gradient steps (to within half a pass), or with as many as tuned."""

    updates: int | None = None

    @staticmethod
    def config(env_id: str) -> PPOConfig:
        return ATARI_PPO if is_minatar(env_id) else PPOConfig()

    def check(self, env: gym.Env, steps: int) -> None:
        fitted(env)

    def run(self, env_id: str, steps: int, seed: int, examine: Examine) -> Trained:
        config, due = self.config(env_id), examinations(steps)
        copies = max(n for n in range(1, config.copies + 1) if not any(d % n for d in due))
        rollouts = []
        for begin, end in itertools.pairwise((0, *due)):
            decisions = (end - begin) // copies
            parts = math.ceil(decisions / config.rollout)
            rollouts += [decisions * (i + 1) // parts - decisions * i // parts
                         for i in range(parts)]  # fmt: skip
        fall: Callable[[float], float] = (lambda left: left) if config.falling else (lambda _: 1.0)
        model = _ExactPPO(
            "CnnPolicy", _copies(env_id, copies),
            learning_rate=lambda left: config.learning_rate * fall(left),
            clip_range=lambda left: config.clip * fall(left), n_epochs=config.epochs,
            gamma=config.discount, gae_lambda=config.trace, ent_coef=config.entropy,
            vf_coef=config.value, policy_kwargs=NETWORK, seed=seed * SEEDS, device="cpu",
        )  # fmt: skip
        model.rollouts, model.updates, model.config = rollouts, self.updates, config
        acting = nn.Sequential(model.policy.features_extractor, model.policy.action_net)
        return _trained(model, acting, model.policy, config, steps, examine)


class _ExactPPO(PPO):
    """Rolls out so that no rollout goes over an examination, or over the end."""

    between: Callable[[int], None]
    config: PPOConfig
    rollouts: list[int]
    """decisions of each copy in each rollout"""
    updates: int | None
    done, made = 0, 0
    """rollouts, and updates, so far"""

    def collect_rollouts(self, env: Any, callback: Any, buffer: Any, n_rollout_steps: int) -> Any:
        self.between(self.num_timesteps)
        buffer.buffer_size = self.rollouts[self.done]
        self.done += 1
        return super().collect_rollouts(env, callback, buffer, buffer.buffer_size)

    def train(self) -> None:
        size = self.rollouts[self.done - 1] * self.n_envs
        self.batch_size = math.ceil(size / self.config.minibatches)
        passes = math.ceil(size / self.batch_size)  # updates in a pass
        if self.updates is not None:
            planned = self.updates * self.done / len(self.rollouts)
            self.n_epochs = max(round((planned - self.made) / passes), 0)
        if self.n_epochs:
            super().train()
        self.made += self.n_epochs * passes


class MinAtarNetwork(BaseFeaturesExtractor):
    """A convolution of 16 channels, 3 x 3, and 128 units (Young & Tian 2019).

    stable-baselines3's own network needs frames of 36 pixels.
    """

    def __init__(self, space: spaces.Box) -> None:
        super().__init__(space, 128)
        channels, height, width = space.shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, 3), nn.ReLU(), nn.Flatten(),
            nn.Linear(16 * (height - 2) * (width - 2), 128), nn.ReLU(),
        )  # fmt: skip

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.layers(pictures)  # (B, C, H, W) -> (B, 128)
        return features


NETWORK: dict[str, Any] = {"features_extractor_class": MinAtarNetwork, "net_arch": []}


class GreedyPolicy:
    """The action that a network from pictures (B, C, H, W) to numbers (B, A) rates highest."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing is kept, and nothing random."""

    @torch.no_grad()
    def act(self, observation: np.ndarray) -> int:
        pictures = torch.from_numpy(_channels_first(observation))[None].float() / 255
        return int(self.network(pictures).argmax())


def _trained(
    model: Any, acting: nn.Module, learned: nn.Module, config: Any, steps: int, examine: Examine
) -> Trained:
    """Let a model learn for so many real steps, examine it, and count what it did."""
    updates = 0

    def count(*_: Any) -> None:
        nonlocal updates
        updates += 1

    def between(used: int) -> None:
        if used in examinations(steps):
            examine(used, GreedyPolicy(acting))

    model.policy.optimizer.register_step_post_hook(count)
    model.between = between
    model.learn(steps)
    between(steps)
    model.env.close()
    settings = asdict(config) | {
        "copies": model.n_envs,
        "stable-baselines3": version("stable-baselines3"),
    }
    return Trained(updates, sum(p.numel() for p in learned.parameters()), settings)


def _copies(env_id: str, copies: int) -> DummyVecEnv:
    def make() -> gym.Env:
        env = gym.make(env_id)
        height, width, channels = env.observation_space.shape or ()
        space = spaces.Box(0, 255, (channels, height, width), np.uint8)
        return gym.wrappers.TransformObservation(env, _channels_first, space)

    return DummyVecEnv([make] * copies)


def _channels_first(observation: np.ndarray) -> np.ndarray:
    """(H, W, C) uint8 or bool to (C, H, W) uint8, 0 to 255."""
    scale = 255 if observation.dtype == bool else 1
    return np.moveaxis(observation.astype(np.uint8) * scale, -1, 0)


def fitted(env: gym.Env) -> tuple[tuple[int, int, int], int]:
    """The shape of an environment's pictures, and how many actions there are to choose among.

    Raises:
        ValueError: a rival cannot see it, whose first convolution is 3 x 3, or act in it.
    """
    return frame(env.observation_space, least=3), choices(env.action_space)
