"""The actor-critic of pictures: what it sees, and what it remembers."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from wmlib.nets.actor_critic import Acting, ActorCritic, ActorCriticConfig, Carry
from wmlib.training import seeded

CONFIG = ActorCriticConfig(channels=(3, 4), hidden=6, discount=0.9, trace=0.8, entropy=0.01)
FRAME, A = (8, 12, 2), 3
PICTURE = (2, 8, 12)


def made(config: ActorCriticConfig = CONFIG, judging: bool = True) -> ActorCritic:
    """A network; its heads are zeros at first, and would hide what the rest does."""
    network = seeded(0, lambda: ActorCritic(config, FRAME, A))
    if judging:
        with torch.no_grad():
            for head in (network.actor, network.critic):
                head.weight.normal_(generator=torch.Generator().manual_seed(1))
    return network


def frames(*shape: int, seed: int = 2) -> Tensor:
    return torch.rand(*shape, *PICTURE, generator=torch.Generator().manual_seed(seed))


def test_a_new_one_favours_nothing_and_expects_nothing() -> None:
    network = made(judging=False)
    logits, value, _ = network(frames(5), network.initial(5))
    assert not logits.any() and not value.any()


def test_one_step_is_convolutions_and_an_lstm() -> None:
    network, seen = made(), frames(5)
    carry = Carry(torch.randn(5, 6), torch.randn(5, 6))
    x = seen
    for layer in (network.eye[0], network.eye[3]):
        x = functional.conv2d(x, layer.weight, layer.bias, padding=1)
        x = functional.max_pool2d(x, 2).relu()
    cell = network.lstm
    gates = x.flatten(1) @ cell.weight_ih.T + cell.bias_ih
    gates = gates + carry.hidden @ cell.weight_hh.T + cell.bias_hh
    i, f, g, o = gates.chunk(4, 1)
    memory = torch.sigmoid(f) * carry.cell + torch.sigmoid(i) * torch.tanh(g)
    hidden = torch.sigmoid(o) * torch.tanh(memory)
    logits, value, after = network(seen, carry)
    torch.testing.assert_close(after, Carry(hidden, memory))
    torch.testing.assert_close(logits, hidden @ network.actor.weight.T)
    torch.testing.assert_close(value, (hidden @ network.critic.weight.T)[:, 0])


def test_burning_in_and_following_are_playing() -> None:
    """Frame by frame, as in the world; where an episode begins it has seen nothing."""
    network, seen = made(), frames(7, 3)
    first = torch.zeros(6, 3)
    first[0], first[2, 1], first[5, 2] = 1, 1, 1  # the last: the dream's own frame
    carry = network.burn_in(seen[:5], first)
    assert not carry.hidden.requires_grad
    played = network.initial(3)
    for t in range(5):
        played = Carry(*(part * (1 - first[t])[:, None] for part in played))
        _, _, played = network(seen[t], played)
    assert played.hidden[2].any() and not carry.hidden[2].any() and not carry.cell[2].any()
    torch.testing.assert_close(carry.hidden[:2], played.hidden[:2])
    torch.testing.assert_close(carry.cell[:2], played.cell[:2])
    begun_late = network.burn_in(seen[2:5, 1:2], first[2:, 1:2])
    torch.testing.assert_close(begun_late.hidden, carry.hidden[1:2])
    assert not network.burn_in(seen[:0], torch.zeros(1, 3)).hidden.any()

    logits, values = network.follow(seen[5:], carry)
    for t in range(2):
        one, worth, carry = network(seen[5 + t], carry)
        torch.testing.assert_close(logits[t], one)
        torch.testing.assert_close(values[t], worth)


def test_it_chooses_as_likely_as_it_says_and_remembers() -> None:
    network, seen = made(), frames(1)
    many, carry = seen.expand(20_000, *PICTURE), network.initial(20_000)
    acting = Acting(network, carry, torch.Generator().manual_seed(5))
    logits, _, after = network(seen, network.initial(1))
    drawn = acting(many)
    assert drawn.unique().tolist() == [0, 1] and (drawn.sum(1) == 1).all()
    torch.testing.assert_close(drawn.mean(0), logits.softmax(-1)[0].detach(), atol=0.015, rtol=0)
    torch.testing.assert_close(acting.carry.hidden[:1], after.hidden.detach())
    likeliest = Acting(network, network.initial(1), None)(seen)
    assert likeliest.argmax() == logits.argmax() and likeliest.sum() == 1


def test_frames_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 8, got frame 8 x 12 and channels"):
        ActorCritic(ActorCriticConfig(channels=(3, 4, 5)), FRAME, A)
