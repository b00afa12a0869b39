"""IRIS (Micheli et al. 2023): a world told in words, and an actor that plays in what is told."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from wmlib.agents.iris.dream import Dream
from wmlib.agents.iris.tokenizer import Tokenizer, TokenizerConfig
from wmlib.agents.iris.world_model import WorldModel, WorldModelConfig
from wmlib.checkpoint import load_agent, save_agent
from wmlib.envs.minatar import is_minatar
from wmlib.frames import FramePolicy, frames_and_choices
from wmlib.imagination import imagine
from wmlib.learning import MOST_UPDATES
from wmlib.nets.actor_critic import Acting, ActorCritic, ActorCriticConfig
from wmlib.reinforce import losses
from wmlib.runs import Row
from wmlib.sequences import Stream
from wmlib.training import seeded
from wmlib.typed import NonNegativeInt, PositiveFloat, PositiveInt, PositiveShare, typed


@typed
@dataclass(frozen=True)
class IRISConfig:
    """Everything that decides a run. "Paper" is Micheli et al. 2023, in the authors' code.

    Of the three networks, each has its own batches, and begins to learn when there is something to
    learn from: the words once frames can be told, the play once words can be foretold.
    """

    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    world_model: WorldModelConfig = field(default_factory=WorldModelConfig)
    actor_critic: ActorCriticConfig = field(default_factory=lambda: ActorCriticConfig(entropy=0.03))
    """(entropy in the paper: 0.001; ours: with it every choice was made, and wrongly, after 150
    updates of the actor-critic)"""
    first: PositiveInt = 500
    """real steps of random play before anything is learned (paper: 1,000, played by the actor)"""
    ratio: PositiveFloat = 1.0
    """updates of each network for each real step (paper: 1)"""
    model_after: NonNegativeInt = 600
    """updates of the tokenizer before the transformer learns (paper: 4,000)"""
    actor_after: NonNegativeInt = 1400
    """updates before the actor-critic learns (paper: 9,000; ours: from 1,000 on, in dreams of which
    one word in twenty was wrong, it settled on poor play and was slow to leave it)"""
    play_every: PositiveInt = 2
    """updates of the others for each of the actor-critic (paper: 1; ours: a dream costs six times
    as much as both of the others)"""
    frames: PositiveInt = 64
    """a batch of the tokenizer's (paper: 256)"""
    stretches: PositiveInt = 16
    """a batch of the transformer's, each of `blocks` frames (paper: 64 of 20)"""
    dreams: PositiveInt = 64
    """a batch of the actor-critic's (paper: 64)"""
    tokenizer_rate: PositiveFloat = 1e-3
    """Adam's (paper: 1e-4; ours: for a fortieth of its updates; the others likewise)"""
    settled: PositiveShare = 0.1
    """of that rate, once the transformer learns (paper: 1; ours: a word that changes its meaning
    must be learned anew)"""
    rehearsals: PositiveInt = 3
    """batches of the tokenizer's in each update until then (paper: 1; ours: of 600 batches, after
    which a quarter of the words still changed in 300, a transformer foretold 97 % of words)"""
    model_rate: PositiveFloat = 1e-3
    """(paper: 1e-4, with a weight decay of 0.01)"""
    actor_rate: PositiveFloat = 1e-3
    """(paper: 1e-4)"""
    clip: PositiveFloat = 10.0
    """largest norm of a network's gradient (paper: 10)"""


MINATAR = IRISConfig(
    tokenizer=TokenizerConfig(channels=(32,), codes=256),
    world_model=WorldModelConfig(blocks=4, kept=1),
    actor_critic=ActorCriticConfig(channels=(32,), burn_in=3, entropy=0.03),
    first=5_000, ratio=0.125, model_after=1_000, actor_after=3_000, play_every=4,
)  # fmt: skip
"""What decides a run in MinAtar's games (100,000 real steps), unless it is told; all of it ours.

Their frames of 10 x 10 can be halved once, into 5 x 5 words of 2 x 2 pixels (paper: 4 x 4 of 16 x
16). Of such squares 5,000 steps of random play show 57 kinds in Breakout and 190 in Space Invaders:
hence the codes. Frames padded to 12 x 12 can be halved twice, into 3 x 3 words: dreams are cheaper,
but with 512 codes 86 % of Breakout's balls stood where they should after 1,000 batches, and 92 %
with 5 x 5 words and 128 codes.

A block is then five times as long as in Catch. So there are fewer of them (the ball has a trail:
one frame tells almost all of the next) and fewer updates of the actor-critic. It begins late, for a
frame has many words to get wrong: after 650 updates of the transformer 95 % of words were right
and 36 % of frames."""


def usual(env_id: str) -> IRISConfig:
    """The configuration of a run that is told none."""
    return MINATAR if is_minatar(env_id) else IRISConfig()


@typed
@dataclass(frozen=True)
class Spaces:
    """What the networks must know of an environment."""

    frame: tuple[PositiveInt, PositiveInt, PositiveInt]
    """(rows, columns, C) of an observation"""
    choices: PositiveInt
    """A, actions to choose among"""

    @classmethod
    def of(cls, observations: gym.Space, actions: gym.Space) -> Spaces:
        """Those of an environment.

        Raises:
            ValueError: IRIS cannot see it, or cannot act in it.
        """
        return cls(*frames_and_choices(observations, actions))


@dataclass(frozen=True)
class _Saved:
    """What is in the manifest of a trained agent."""

    spaces: Spaces
    config: IRISConfig


class IRIS:
    """An agent for frames, and for actions to choose among.

    Args:
        spaces: of the environment.
        config: of the run.
        seed: of the first weights, the batches and the dreams.
        device: that it computes on.

    Raises:
        ValueError: the frames cannot be cut into words, or be halved for the actor-critic.
    """

    FILE, KIND = "agent.safetensors", "iris"

    environment = ""
    """the id of what it was trained on, once it is saved"""

    @typed
    def __init__(
        self,
        spaces: Spaces,
        config: IRISConfig | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spaces, self.config = spaces, (config := config or IRISConfig())
        self.seed, self.device, self.updates = seed, torch.device(device), 0
        self.stretch = max(config.world_model.blocks, config.actor_critic.burn_in + 1)
        frame, choices, codes = spaces.frame, spaces.choices, config.tokenizer.codes
        self.tokenizer = seeded(seed, lambda: Tokenizer(config.tokenizer, frame))
        words = self.tokenizer.words
        self.model = seeded(seed + 1, lambda: WorldModel(config.world_model, codes, words, choices))
        self.actor_critic = seeded(
            seed + 2, lambda: ActorCritic(config.actor_critic, frame, choices)
        )
        self.modules: dict[str, nn.Module] = {
            "tokenizer": self.tokenizer, "model": self.model, "actor_critic": self.actor_critic
        }  # fmt: skip
        rates = config.tokenizer_rate, config.model_rate, config.actor_rate
        self.optimisers = {
            f"{name}_adam": torch.optim.Adam(module.to(self.device).parameters(), lr=rate)
            for (name, module), rate in zip(self.modules.items(), rates, strict=True)
        }
        self.dream = Dream(self.tokenizer, self.model)

    def frames(self, observations: np.ndarray) -> Tensor:
        """Frames (..., C, rows, columns) in [0, 1] of observations (..., rows, columns, C)."""
        seen = torch.from_numpy(observations).to(self.device).movedim(-1, -3)
        return seen.float() / (255 if observations.dtype == np.uint8 else 1)

    @torch.no_grad()
    def words(self, observations: np.ndarray) -> Tensor:
        """Words (..., K) of observations (..., rows, columns, C)."""
        return self.tokenizer.encode(self.frames(observations))

    def learn(self, stream: Stream, updates: int) -> Row:
        """So many updates of each network that has begun; the mean of what they say."""
        rows: list[Row] = [self.update(stream) for _ in range(updates)]
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}

    def update(self, stream: Stream) -> Row:
        """One update of each network that has begun, on a batch of its own."""
        config, rng = self.config, np.random.default_rng([self.seed, self.updates])
        generator = torch.Generator().manual_seed(self.seed * MOST_UPDATES + self.updates)
        early = self.updates < config.model_after
        for _ in range(config.rehearsals if early else 1):
            row = self.learn_words(stream, rng, generator)
        if self.updates == config.model_after:
            self._warn(stream)
        if self.updates >= config.model_after:
            row |= self.learn_model(stream, rng)
        if self.updates >= config.actor_after and self.updates % config.play_every == 0:
            row |= self.learn_play(stream, rng, generator)
        self.updates += 1
        return row

    def learn_words(
        self, stream: Stream, rng: np.random.Generator, generator: torch.Generator
    ) -> Row:
        """One update of the tokenizer."""
        frames = self.frames(stream.draw(rng, self.config.frames, 1).observations[:, 0])
        loss, vectors = self.tokenizer.loss(frames)
        early = self.updates < self.config.model_after
        (group,) = self.optimisers["tokenizer_adam"].param_groups
        group["lr"] = self.config.tokenizer_rate * (1 if early else self.config.settled)
        self._descend("tokenizer", loss.total)
        if early:
            self.tokenizer.renew(vectors, generator)
        usage = self.tokenizer.usage(self.tokenizer.nearest(vectors))
        return {
            "painted": float(loss.painted.detach()), "codebook": float(loss.codebook),
            "perplexity": usage.perplexity,
        }  # fmt: skip

    def learn_model(self, stream: Stream, rng: np.random.Generator) -> Row:
        """One update of the transformer."""
        config = self.config
        batch = stream.draw(rng, config.stretches, config.world_model.blocks)
        actions, *others = (torch.from_numpy(part).to(self.device) for part in batch[1:])
        loss = self.model.loss(self.words(batch.observations), actions, *others)
        self._descend("model", loss.total)
        terms = zip(("words", "reward", "end"), loss[1:], strict=True)
        return {name: float(term.detach()) for name, term in terms}

    def learn_play(
        self, stream: Stream, rng: np.random.Generator, generator: torch.Generator
    ) -> Row:
        """One update of the actor-critic, in dreams that go on from what was lived."""
        config = self.config.actor_critic
        batch = stream.draw(rng, self.config.dreams, config.burn_in + 1)
        first = torch.from_numpy(batch.first).to(self.device).float().T  # (burn_in + 1, B)
        begins = 1 - torch.from_numpy(batch.ended[:, -1]).to(self.device).float()  # (B,)
        words = self.words(batch.observations)  # (B, burn_in + 1, K)
        with torch.no_grad():
            lived = self.tokenizer.decode(words[:, :-1]).movedim(1, 0)  # (burn_in, B, C, ...)
            carry = self.actor_critic.burn_in(lived, first)
            dream = imagine(
                self.dream, Acting(self.actor_critic, carry, generator),
                self.dream.begin(words[:, -1:]), config.horizon, generator,
            )  # fmt: skip
        loss = losses(self.actor_critic, dream, begins, carry)
        self._descend("actor_critic", loss.actor + loss.critic)
        return {
            "dreamed": float(loss.returns), "entropy": float(loss.entropy),
            "critic": float(loss.critic.detach()),
        }  # fmt: skip

    def _descend(self, name: str, loss: Tensor) -> None:
        adam = self.optimisers[f"{name}_adam"]
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.modules[name].parameters(), self.config.clip)
        adam.step()

    def _warn(self, stream: Stream) -> None:
        """Say so where the transformer begins to learn a language of hardly any words."""
        latest = stream.arrays()["observations"][-1000:]
        usage = self.tokenizer.usage(self.words(latest))
        if usage.collapsed:
            warnings.warn(usage.report(), stacklevel=2)

    @torch.no_grad()
    def painted(self, observation: np.ndarray) -> Tensor:
        """The frame (1, C, rows, columns) of an observation as the tokenizer paints it."""
        return self.tokenizer.decode(self.words(observation[None]))

    def policy(self, explore: bool = False) -> FramePolicy:
        """What plays, by painted frames; when it explores it draws its actions."""
        return FramePolicy(self.actor_critic, self.painted, explore)

    def save(self, folder: str | Path, made: Mapping[str, Any]) -> None:
        """As `agent.safetensors` in a folder; see `wmlib.checkpoint.save_agent`."""
        save_agent(self, _Saved(self.spaces, self.config), folder, made)

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> IRIS:
        """The agent that `save` saved; errors as `wmlib.checkpoint.load_agent`."""
        agent, environment = load_agent(
            cls, _Saved, lambda saved: cls(saved.spaces, saved.config, device=device), folder
        )
        agent.environment = environment
        return agent


def fitted(config: IRISConfig, observations: gym.Space, actions: gym.Space) -> IRIS:
    """A new agent for an environment.

    Raises:
        ValueError: as `Spaces.of`, or its frames have sides that do not divide.
    """
    return IRIS(Spaces.of(observations, actions), config)
