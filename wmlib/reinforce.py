"""How an actor-critic of pictures learns in dreams: REINFORCE, with the value as its baseline.

IRIS (Micheli et al. 2023) does so, and DIAMOND (Alonso et al. 2024): lambda-returns say how a dream
went; what was chosen becomes likelier by as much as that is better than the value foresaw; the
value learns the return by squared error; a little entropy keeps the choice from settling too soon.

Letters: B dreams, T time, A actions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from wmlib.imagination import Trajectory
from wmlib.nets.actor_critic import ActorCritic, Carry
from wmlib.returns import lambda_returns


class ActorCriticLoss(NamedTuple):
    """Scalars; the network minimises `actor` + `critic`."""

    actor: Tensor
    critic: Tensor
    returns: Tensor
    """mean dreamed return of the dreams that count"""
    entropy: Tensor
    """nats, mean of all decisions"""


def losses(
    network: ActorCritic, dream: Trajectory[Any], begins: Tensor, carry: Carry
) -> ActorCriticLoss:
    """The loss on dreams, whose features are the frames.

    A decision counts as much as it is likely that the dream comes so far. (Of the authors, IRIS's
    let what follows an imagined end count in full; DIAMOND's go on from other real frames there.)

    Args:
        network: whose loss it is.
        dream: of T decisions, dreamed without gradients.
        begins: (B,) what a dream counts: 0 where the episode had ended, for nothing follows there.
        carry: what was remembered when the dreams began, see `ActorCritic.burn_in`.
    """
    config = network.config
    logits, values = network.follow(dream.features, carry)  # (T + 1, B, A), (T + 1, B)
    baseline = values.detach()
    returns = lambda_returns(
        dream.rewards, dream.continues, baseline, config.discount, config.trace
    )  # (T, B)
    weights = torch.cat([begins[None], dream.continues[:-1]]).cumprod(0)  # (T, B)
    logs = logits[:-1].log_softmax(-1)  # (T, B, A)
    chosen = (logs * dream.actions).sum(-1)  # (T, B)
    entropy = -(logs.exp() * logs).sum(-1)  # (T, B)
    advantages = returns - baseline[:-1]
    actor = -(weights * (chosen * advantages + config.entropy * entropy)).mean()
    critic = (weights * (values[:-1] - returns).square()).mean()
    counted = (begins * returns[0]).sum() / begins.sum().clamp(min=1)
    return ActorCriticLoss(actor, critic, counted, entropy.mean().detach())
