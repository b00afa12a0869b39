"""Dreaming: rollouts of C inside M, from moments that really happened.

A whole population of controllers dreams at once: (P, S) returns for P controllers and S starts. The
arithmetic is that of `MDNRNN`, arranged so that nearly all the time goes into matrix products; a
test holds the two together. The dream is also a Gymnasium environment (`DreamEnv`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from wmlib.agents.world_models.controller import LinearController, check_controller
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig
from wmlib.agents.world_models.mixture import Temperature
from wmlib.agents.world_models.starts import Starts, check_starts
from wmlib.agents.world_models.value import ValueFunction
from wmlib.typed import PositiveFloat, PositiveInt, PositiveShare, check_same, typed

Price = Annotated[float, Field(ge=0, le=1e6)]
"""of a cost of 1, in rewards; far above it what a dream pays no longer fits into float32"""


class Moment(NamedTuple):
    """One step of a dream, for N = P * S rows."""

    features: Tensor
    """(N, Z + H) before the action; a view that the next step overwrites"""
    reward: Tensor
    """(N,) in the environment's units, with the dream's limit to the pace and price of the cost"""
    ends: Tensor
    """(N,) probability that this step ended the episode"""
    cost: Tensor
    """(N,) the cost of this step, which the reward has already paid for at the dream's price"""


class Imagined(NamedTuple):
    """Dreams kept whole: T steps of P controllers from S starts."""

    features: Tensor
    """(T + 1, P, S, Z + H)"""
    rewards: Tensor
    """(T, P, S), with the dream's limit to the pace and price of the cost"""
    continues: Tensor
    """(T, P, S) probability that the episode goes on after the step"""
    costs: Tensor
    """(T, P, S)"""


class Dream:
    """M, laid out for dreaming, on M's device; make a new one when M has changed.

    Controllers, starts and generators must be on that device as well.

    Args:
        memory: M.
        temperature: > 0; weights of the components softmax(log pi / temperature), their sigmas
            times sqrt(temperature) (Ha & Schmidhuber 2018).
        pace: see `most_paid`.
        price: what a cost of 1 takes away, in the environment's rewards; see `check_price`.
    """

    @typed
    def __init__(
        self,
        memory: MDNRNN,
        temperature: Temperature = 1.0,
        pace: PositiveFloat | None = None,
        price: Price = 0.0,
    ) -> None:
        check_price(memory, price)
        self.most = most_paid(memory.config, pace)
        self.memory, self.temperature, self.price = memory, temperature, price
        cfg = memory.config
        self.sizes = cfg.latent, cfg.hidden, cfg.actions, cfg.mixtures
        with torch.no_grad():
            of_input, of_hidden, *biases = memory.lstm.all_weights[0]
            z_weight, a_weight = of_input.tensor_split([cfg.latent], dim=1)
            gates = torch.cat([z_weight, of_hidden, a_weight], 1)  # (4 H, Z + H + A)
            bias = biases[0] + biases[1]
            i, f, g, o = (slice(k * cfg.hidden, (k + 1) * cfg.hidden) for k in range(4))
            # tanh(x) = 2 sigmoid(2 x) - 1: with g doubled here, one sigmoid serves all four gates.
            self.gates = torch.cat([gates[i], gates[f], gates[o], 2 * gates[g]]).T.contiguous()
            self.gates_bias = torch.cat([bias[i], bias[f], bias[o], 2 * bias[g]])
            heads = [memory.mixture, memory.reward, memory.end]
            if memory.cost is not None:
                heads.append(memory.cost)
            weight = torch.cat([head.weight for head in heads])  # (3 K Z + 2 or 3, H)
            head_bias = torch.cat([head.bias for head in heads])
            logits = cfg.mixtures * cfg.latent
            scale = torch.ones_like(head_bias)
            scale[:logits] /= temperature
            self.heads = (weight * scale[:, None]).T.contiguous()  # (H, 3 K Z + 2 or 3)
            self.heads_bias = head_bias * scale

    def flops_per_step(self) -> int:
        """Floating-point operations of the matrix products in one dreamed step of one row."""
        latent, hidden, actions, _ = self.sizes
        inputs = latent + hidden + actions
        return 2 * (
            inputs * 4 * hidden + hidden * self.heads.shape[1] + (latent + hidden) * actions
        )

    @torch.no_grad()
    def moments(
        self, controller: LinearController, starts: Starts, horizon: int, generator: torch.Generator
    ) -> Iterator[Moment]:
        """Dream step by step; after the last step comes one `Moment` with features alone in use.

        All controllers meet the same starts and the same noise, so that their returns compare.
        """
        latent, hidden, actions, mixtures = self.sizes
        cfg = self.memory.config
        p, s = len(controller.parameters), len(starts.z)
        n, kz = p * s, mixtures * latent
        device = starts.z.device
        # [z, h, action], twice
        now, then = torch.empty(2, p, s, latent + hidden + actions, device=device)
        now[..., :latent] = starts.z
        now[..., latent : latent + hidden] = starts.hidden
        cell = starts.cell.repeat(p, 1)  # (N, H)
        gates = torch.empty(n, 4 * hidden, device=device)
        out = torch.empty(n, self.heads.shape[1], device=device)
        nothing = torch.zeros(n, device=device)
        squeezed = torch.empty(n, hidden, device=device)
        root = math.sqrt(self.temperature)
        for _ in range(horizon):
            now[..., latent + hidden :] = controller.act(now[..., : controller.config.features])
            torch.addmm(self.gates_bias, now.view(n, -1), self.gates, out=gates).sigmoid_()
            i, f, o, g = gates.split(hidden, 1)
            cell.mul_(f).addcmul_(i, g.mul_(2).sub_(1))
            h = then.view(n, -1)[:, latent : latent + hidden]  # (N, H)
            torch.mul(o, torch.tanh(cell, out=squeezed), out=h)
            torch.addmm(self.heads_bias, h, self.heads, out=out)  # (N, 3 K Z + 2 or 3)
            reward, end, *more = out[:, 3 * kz :].unbind(1)
            cost = torch.sigmoid(more[0]) if more else nothing
            if cfg.reward == "poisson":
                reward = reward.clamp(max=5.0).exp()
            reward = paid(cfg.reward_offset + cfg.reward_scale * reward, self.most)
            if self.price:
                reward = reward - self.price * cost
            yield Moment(now.view(n, -1)[:, : latent + hidden], reward, torch.sigmoid(end), cost)
            logits = out[:, :kz].unflatten(1, (mixtures, latent))  # (N, K, Z)
            weight = logits.sub_(logits.amax(1, keepdim=True)).exp_()
            for k in range(1, mixtures):
                weight[:, k] += weight[:, k - 1]
            uniform = torch.rand(s, latent, generator=generator, device=device)
            level = (weight[:, -1].view(p, s, latent) * uniform).view(n, 1, latent)
            chosen = (weight[:, :-1] < level).sum(1, keepdim=True)  # (N, 1, Z)
            normals = out[:, kz : 3 * kz].unflatten(1, (2, mixtures, latent))  # (N, 2, K, Z)
            mean, log_sigma = normals.unbind(1)
            sigma = log_sigma.gather(1, chosen).clamp_(*cfg.log_sigma_range).exp_().mul_(root)
            noise = torch.randn(s, latent, generator=generator, device=device)
            shape = (p, s, latent)
            then[..., :latent] = mean.gather(1, chosen).view(shape) + sigma.view(shape) * noise
            now, then = then, now
        yield Moment(now.view(n, -1)[:, : latent + hidden], nothing, nothing, nothing)

    @typed
    def returns(
        self,
        controller: LinearController,
        starts: Starts,
        *,
        horizon: PositiveInt,
        discount: PositiveShare = 1.0,
        value: ValueFunction | None = None,
        generator: torch.Generator,
        rows: PositiveInt = 2048,
    ) -> Tensor:
        """Dreamed returns of each controller from each start: (P, S).

        `sum over t of discount^t * P(still going) * r_t`, plus the value of the last state, if
        that is given, weighted likewise.

        Args:
            controller: P of them.
            starts: S of them.
            horizon: dreamed decisions, >= 1.
            discount: gamma in (0, 1], for each decision.
            value: what lies beyond the horizon; None for nothing.
            generator: of the noise; all controllers share it.
            rows: dreams that run side by side; a size that fits the processor's cache.

        Raises:
            ValueError: the parts do not fit together, or a number is out of range.
        """
        check_dream(self.memory, controller, starts)
        if value is not None:
            check_same("features of the value", value.config.features, sum(self.sizes[:2]))
        at_once = max(1, rows // len(starts.z))
        state = generator.get_state()
        parts = []
        for begin in range(0, len(controller.parameters), at_once):
            some = LinearController(
                controller.parameters[begin : begin + at_once], controller.config
            )
            generator.set_state(state)
            total = starts.z.new_zeros(len(some.parameters) * len(starts.z))
            weight = torch.ones_like(total)
            for t, moment in enumerate(self.moments(some, starts, horizon, generator)):
                if t == horizon:
                    if value is not None:
                        total += weight * value.slow(moment.features)
                    break
                total += weight * moment.reward
                weight = weight * discount * (1 - moment.ends)
            parts.append(total.view(len(some.parameters), -1))
        return torch.cat(parts)

    @typed
    def imagine(
        self,
        controller: LinearController,
        starts: Starts,
        horizon: PositiveInt,
        generator: torch.Generator,
    ) -> Imagined:
        """Dreams kept whole, for looking at them and for learning a value from them."""
        check_dream(self.memory, controller, starts)
        dreamed = self.moments(controller, starts, horizon, generator)
        moments = [moment._replace(features=moment.features.clone()) for moment in dreamed]
        shape = (len(controller.parameters), len(starts.z))
        return Imagined(
            torch.stack([m.features.unflatten(0, shape) for m in moments]),
            torch.stack([m.reward.unflatten(0, shape) for m in moments[:-1]]),
            torch.stack([1 - m.ends.unflatten(0, shape) for m in moments[:-1]]),
            torch.stack([m.cost.unflatten(0, shape) for m in moments[:-1]]),
        )


def paid(reward: Tensor, most: float) -> Tensor:
    """What a dream pays for rewards: from `most` on less again, by as much as they are above it."""
    return torch.minimum(reward, 2 * most - reward)


@typed
def most_paid(config: MemoryConfig, pace: PositiveFloat | None) -> float:
    """The reward of a decision in which `pace` events happen; none is paid better, see `paid`.

    A lap has a fixed number of tiles; a dream has no laps, and without a limit speed is worth more
    there than on the road. If haste were only worth nothing, a driver would still arrive at the
    next bend too fast: that bend is beyond the dream.

    Raises:
        ValueError: `pace` is not positive; None is no limit.
    """
    if pace is None:
        return math.inf
    return config.reward_offset + config.reward_scale * pace


@typed
def check_price(memory: MDNRNN, price: Price) -> None:
    """Refuse a price that M cannot charge because it foresees no cost."""
    if price and memory.cost is None:
        raise ValueError(
            f"a price of {price} needs an M that foresees a cost: MemoryConfig(cost_weight=1.0)"
        )


def check_dream(memory: MDNRNN, controller: LinearController, starts: Starts) -> None:
    """Refuse parts that do not fit together, by name."""
    check_starts(memory, starts)
    check_controller(memory.config, controller.config)
