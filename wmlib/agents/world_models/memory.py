"""M, the memory model: what happens next, as a distribution.

An LSTM reads the code and the action of each decision; from its hidden state a mixture density
network (Bishop 1994) gives a mixture of K normals for every number of the next code (Ha &
Schmidhuber 2018, A.2). Beside it stand heads that the paper's CarRacing model lacks: one for the
reward and one for the end of an episode, so that a dream can be scored; and, if asked for, one for
a cost: something in [0, 1] that a driver had better avoid, whatever the reward says of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.mixture import Prediction, Temperature, log_likelihood
from wmlib.checkpoint import load_module
from wmlib.imagination import steps
from wmlib.shapes import check_shape
from wmlib.training import History, fit, seeded
from wmlib.typed import (
    Finite,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Seed,
    check_same,
    typed,
)


@typed
@dataclass(frozen=True)
class MemoryConfig:
    """Hyper-parameters of M and of its training."""

    latent: PositiveInt = 32
    """Z, numbers in a code (paper: 32)"""
    actions: PositiveInt = 3
    """A, numbers in an action (CarRacing: steering, gas, brake)"""
    hidden: PositiveInt = 256
    """H, units of the LSTM (paper: 256)"""
    mixtures: PositiveInt = 5
    """K, components for each latent number (paper: 5)"""
    log_sigma_range: tuple[Finite, Finite] = (-4.0, 3.0)
    """bounds of each component's log standard deviation (ours: no NaN, no needle-thin component)"""
    reward: Literal["poisson", "normal"] = "poisson"
    """what the reward head predicts: the rate of rewarded events, which cannot say a reward below
    `reward_offset`, or the reward itself"""
    reward_scale: PositiveFloat = 1.0
    """reward of one event: `reward = reward_offset + reward_scale * prediction`"""
    reward_offset: Finite = 0.0
    """reward of a decision in which nothing happens (CarRacing: -0.1 a frame)"""
    reward_weight: PositiveFloat = 3.0
    """weight of the reward's loss against the code's loss, both in nats (ours)"""
    end_weight: PositiveFloat = 1.0
    """weight of the termination's loss (ours)"""
    cost_weight: NonNegativeFloat = 0.0
    """weight of the cost's loss; 0: M has no head for a cost (ours)"""
    learning_rate: PositiveFloat = 1e-3
    """Adam's (paper's code: 1e-3)"""
    clip: PositiveFloat = 1.0
    """largest norm of the gradient (paper's code clips each entry at 1)"""
    batch: PositiveInt = 48
    """windows an update (paper's code: 100; ours: 48)"""
    window: PositiveInt = 32
    """decisions a window (paper's code: 999; ours: 32)"""

    def __post_init__(self) -> None:
        low, high = self.log_sigma_range
        if not low < high:
            raise ValueError(f"log_sigma_range must be two rising numbers, got {low} and {high}")


class State(NamedTuple):
    """The LSTM's memory: hidden (..., H) and cell (..., H)."""

    hidden: Tensor
    cell: Tensor


class MDNRNN(nn.Module):
    """M: (code, action, state) to the distribution of the next code, the reward and the end."""

    @typed
    def __init__(self, config: MemoryConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MemoryConfig()
        self.lstm = nn.LSTM(config.latent + config.actions, config.hidden, batch_first=True)
        # PyTorch gives an LSTM two bias vectors that are always added; the paper counts one.
        self.lstm.all_weights[0][3].requires_grad_(False).zero_()
        self.mixture = nn.Linear(config.hidden, 3 * config.mixtures * config.latent)
        self.reward = nn.Linear(config.hidden, 1)
        self.end = nn.Linear(config.hidden, 1)
        self.cost = nn.Linear(config.hidden, 1) if config.cost_weight else None

    @classmethod
    @typed
    def load(cls, path: str | Path) -> MDNRNN:
        """M from a checkpoint; errors as `wmlib.checkpoint.load_module`."""
        return load_module(path, "memory", lambda fields: cls(MemoryConfig(**fields)))

    @property
    def device(self) -> torch.device:
        return self.mixture.weight.device

    def paper_parameters(self) -> int:
        """Trainable numbers of the LSTM and the mixture: 422,368 at the paper's sizes."""
        parts = (*self.lstm.parameters(), *self.mixture.parameters())
        return sum(p.numel() for p in parts if p.requires_grad)

    @typed
    def initial(self, batch: NonNegativeInt) -> State:
        """The state before anything was seen: zeros (B, H)."""
        zeros = torch.zeros(batch, self.config.hidden, device=self.device)
        return State(zeros, zeros)

    def forward(
        self, z: Tensor, action: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read a window of decisions.

        Args:
            z: (B, T, Z) codes.
            action: (B, T, A).
            state: before the window; zeros if not given.

        Returns:
            hidden states (B, T, H), each after its decision, and the last state.
        """
        state = state or self.initial(len(z))
        carried = (state.hidden[None].contiguous(), state.cell[None].contiguous())  # (1, B, H)
        hidden, (h, c) = self.lstm(torch.cat([z, action], dim=-1), carried)
        return hidden, State(h[0], c[0])

    def step(self, z: Tensor, action: Tensor, state: State) -> State:
        """Read one decision: codes (B, Z) and actions (B, A) to the state after it."""
        weights = self.lstm.all_weights[0]  # of the input, of the hidden state, two biases
        return State(*torch.lstm_cell(torch.cat([z, action], -1), tuple(state), *weights))

    def predict(self, hidden: Tensor) -> Prediction:
        """What hidden states (..., H) say of the next code, the reward and the end."""
        cfg = self.config
        raw = self.mixture(hidden).unflatten(-1, (3, cfg.mixtures, cfg.latent))  # (..., 3, K, Z)
        logits, mean, log_sigma = raw.unbind(-3)  # each (..., K, Z)
        reward = self.reward(hidden).squeeze(-1)  # (...)
        return Prediction(
            log_pi=F.log_softmax(logits, dim=-2),
            mean=mean,
            log_sigma=log_sigma.clamp(*cfg.log_sigma_range),
            reward=reward,
            end=self.end(hidden).squeeze(-1),
            cost=(
                torch.full_like(reward, -math.inf)
                if self.cost is None
                else self.cost(hidden).squeeze(-1)
            ),
        )

    def expected_reward(self, prediction: Prediction) -> Tensor:
        """The reward (...) in the environment's units that M expects."""
        cfg, raw = self.config, prediction.reward
        value = raw.clamp(max=5.0).exp() if cfg.reward == "poisson" else raw
        return cfg.reward_offset + cfg.reward_scale * value

    def loss(
        self,
        z: Tensor,
        action: Tensor,
        target: Tensor,
        reward: Tensor,
        end: Tensor,
        cost: Tensor | None = None,
    ) -> MemoryLoss:
        """Mean losses over a window of decisions.

        Args:
            z: (B, T, Z) codes that M reads.
            action: (B, T, A).
            target: (B, T, Z) the codes one decision later.
            reward: (B, T) in the environment's units.
            end: (B, T) 1 where the decision ended the episode, NaN where nobody knows.
            cost: (B, T) in [0, 1], NaN where nobody knows; for an M with a head for it.

        Raises:
            ValueError: M has a head for the cost, and no cost is given.
        """
        cfg = self.config
        prediction = self.predict(self(z, action)[0])
        code = -log_likelihood(prediction, target).mean() / cfg.latent
        events = (reward - cfg.reward_offset) / cfg.reward_scale
        if cfg.reward == "poisson":
            log_rate = prediction.reward.clamp(max=5.0)
            scored = (log_rate.exp() - events.clamp(min=0) * log_rate).mean()
        else:
            scored = 0.5 * (prediction.reward - events).square().mean()
        ended = _cross_entropy(prediction.end, end)
        total = code + cfg.reward_weight * scored + cfg.end_weight * ended
        charged = torch.zeros_like(code)
        if self.cost is not None:
            if cost is None:
                raise ValueError("this M learns to foresee a cost, and none is given")
            charged = _cross_entropy(prediction.cost, cost)
            total = total + cfg.cost_weight * charged
        return MemoryLoss(total, code, scored, ended, charged)

    @typed
    def rollout(
        self,
        z: Tensor,
        state: State,
        actions: Tensor,
        temperature: Temperature = 1.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Dream open-loop: the actions are given, every next code is M's own sample.

        Args:
            z: (B, Z) first codes.
            state: before the first decision, (B, H) each.
            actions: (B, T, A).
            temperature: > 0, see `sample`.
            generator: of the samples.

        Returns:
            codes (B, T, Z), the first of them one decision after `z`, and rewards (B, T).
        """
        from wmlib.agents.world_models.world import World  # it imports M

        world, codes, rewards = World(self, temperature), [], []
        for step in steps(world, actions, world.begin(z, *state), actions.shape[1], generator):
            codes.append(step.state.z)  # (B, Z)
            rewards.append(step.reward)  # (B,)
        return torch.stack(codes, 1), torch.stack(rewards, 1)


class MemoryLoss(NamedTuple):
    """Losses in nats a decision (scalars)."""

    total: Tensor
    code: Tensor
    """negative log-likelihood of the next code, for each latent number"""
    reward: Tensor
    end: Tensor
    cost: Tensor
    """0 if M has no head for it"""


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy over the targets that are known, not NaN; 0 if none is."""
    known = ~target.isnan()
    total = F.binary_cross_entropy_with_logits(
        logits, target.nan_to_num(), weight=known.float(), reduction="sum"
    )
    return total / known.sum().clamp(min=1)


def check_codes(config: MemoryConfig, codes: Codes) -> None:
    """Refuse codes of other sizes than M's."""
    sizes = codes.mean.shape[1], codes.actions.shape[1]
    check_same("latents and actions of the codes", sizes, (config.latent, config.actions))


def check_rewards(config: MemoryConfig, codes: Codes) -> None:
    """Refuse rewards that M's reward head cannot say.

    A rate of events is not negative, so a Poisson head cannot say a reward below `reward_offset`.
    What the last decision of an episode takes away (CarRacing: -100 for leaving the playfield) it
    need not say: the end is foreseen by a head of its own.

    Raises:
        ValueError: a reward is not finite, or lies below what the head can say.
    """
    last = np.cumsum(codes.lengths + 1) - 1  # rows that follow no action
    known = np.ones(len(codes.rewards), bool)
    known[last] = False
    check_shape("rewards", np.where(known, codes.rewards, 0), np.ndarray, "N", finite=True)
    if config.reward == "poisson":
        events = (codes.rewards - config.reward_offset) / config.reward_scale
        bad = known & (events < -1e-3) & (codes.ends != 1)  # no rounding is larger
        if bad.any():
            raise ValueError(
                f"reward='poisson' counts events and cannot say a reward below reward_offset "
                f"{config.reward_offset:g}, got {codes.rewards[bad].min():g} in row "
                f"{np.argmax(bad)}: take MemoryConfig(reward='normal'), or the reward of a "
                "decision without events as reward_offset"
            )


def batch_loss(memory: MDNRNN, codes: Codes, rng: np.random.Generator) -> MemoryLoss:
    """M's loss on a random batch of windows: posterior samples in, posterior means as targets."""
    cfg = memory.config
    rows = codes.windows(rng, cfg.batch, cfg.window)  # (B, T + 1)
    mean, now = codes.mean[rows], rows[:, :-1]  # (B, T + 1, Z), (B, T)
    sigma = np.exp(0.5 * codes.log_variance[now])  # (B, T, Z)
    z = mean[:, :-1] + sigma * rng.standard_normal(sigma.shape, dtype=np.float32)
    arrays = [z, codes.actions[now], mean[:, 1:], codes.rewards[now], codes.ends[now]]
    if not np.isnan(codes.costs).all():
        arrays.append(codes.costs[now])
    return memory.loss(*(torch.from_numpy(array).to(memory.device) for array in arrays))


@typed
def train_memory(
    codes: Codes,
    config: MemoryConfig | None = None,
    *,
    steps: PositiveInt = 2500,
    seed: Seed = 0,
    state: Path | None = None,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> tuple[MDNRNN, History]:
    """Train M from nothing on encoded episodes; arguments as in `train_vision`.

    Raises:
        ValueError: the codes have other sizes than M, no episode is as long as a window, a reward
            is one that M's head cannot say, see `check_rewards`, a number is out of range, or the
            state belongs to another run.
    """
    memory = seeded(seed, lambda: MDNRNN(config)).to(device)
    check_codes(memory.config, codes)
    check_rewards(memory.config, codes)
    history = fit(
        memory, lambda rng: batch_loss(memory, codes, rng)._asdict(), steps=steps,
        learning_rate=memory.config.learning_rate, clip=memory.config.clip, seed=seed,
        state=state, data="" if state is None else codes.digest(), description="training M",
        progress=progress,
    )  # fmt: skip
    return memory, history
