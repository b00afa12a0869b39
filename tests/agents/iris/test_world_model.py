"""The transformer's sentences: what is told, what counts, and a known world learned to the end."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from wmlib.agents.iris import WorldModel, WorldModelConfig
from wmlib.agents.iris.world_model import IGNORED
from wmlib.nets.transformer import TransformerConfig
from wmlib.training import seeded

N, K, A, B, T = 5, 3, 2, 4, 6
CONFIG = WorldModelConfig(TransformerConfig(layers=2, heads=2, width=16), blocks=T, kept=2)


def made(config: WorldModelConfig = CONFIG) -> WorldModel:
    """With larger weights than a new one, so that what it reads matters."""
    model = seeded(0, lambda: WorldModel(config, N, K, A))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(
                0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            )
    return model


def stretch() -> tuple[Tensor, ...]:
    """Words, actions, rewards, and where episodes begin and ended: one in the middle of row 1."""
    generator = torch.Generator().manual_seed(2)
    first, ended = torch.zeros(B, T, dtype=torch.bool), torch.zeros(B, T, dtype=torch.bool)
    first[1, 4], ended[1, 3], first[2, 0] = True, True, True
    return (
        torch.randint(N, (B, T, K), generator=generator),
        torch.randint(A, (B, T), generator=generator),
        torch.randint(-2, 3, (B, T), generator=generator).float() / 2, first, ended,
    )  # fmt: skip


def test_a_sentence_is_frames_and_the_actions_between() -> None:
    words, actions, *_ = stretch()
    tokens = made().sentence(words, actions[:, 1:])
    assert tokens.shape == (B, T * K + T - 1)
    row = []
    for t in range(T):
        row += words[0, t].tolist() + ([N + int(actions[0, t + 1])] if t + 1 < T else [])
    assert tokens[0].tolist() == row


def test_what_is_a_target_and_what_is_not() -> None:
    words, _, _, first, _ = stretch()
    targets = made().targets(words, first)
    assert targets.shape == (B, T * K + T - 2)
    for row, start in ((0, None), (1, 4)):
        expected = []
        for t in range(T):
            begins = IGNORED if t == start else int(words[row, t, 0])
            expected += [begins, *words[row, t, 1:].tolist(), IGNORED]
        assert targets[row].tolist() == expected[1:-1]


def test_the_loss_is_the_sum_of_three_cross_entropies() -> None:
    model, (words, actions, rewards, first, ended) = made(), stretch()
    loss = model.loss(words, actions, rewards, first, ended)
    logits = model.read_stretch(words, actions, first)
    of_words, of_rewards, of_ends = [], [], []
    for b in range(B):
        for t in range(T):
            for k in range(K):
                at = t * (K + 1) + k - 1
                if at >= 0 and not (k == 0 and first[b, t]):
                    of_words.append(functional.cross_entropy(logits.words[b, at], words[b, t, k]))
            if t and not first[b, t]:
                sign = (rewards[b, t] > 0).long() - (rewards[b, t] < 0).long() + 1
                at = t * (K + 1) - 1
                of_rewards.append(functional.cross_entropy(logits.reward[b, at], sign))
                of_ends.append(functional.cross_entropy(logits.end[b, at], ended[b, t].long()))
    assert len(of_words) == B * (T * K - 1) - 1 and len(of_ends) == B * (T - 1) - 1
    for term, parts in zip(loss[1:], (of_words, of_rewards, of_ends), strict=True):
        torch.testing.assert_close(term, torch.stack(parts).mean())
    torch.testing.assert_close(loss.total, loss.words + loss.reward + loss.end)


def test_an_episode_does_not_see_the_one_before() -> None:
    model, (words, actions, _, first, _) = made(), stretch()
    logits = model.read_stretch(words, actions, first)
    other_words, other_actions = words.clone(), actions.clone()
    other_words[:, :4], other_actions[:, :5] = (words[:, :4] + 1) % N, 1 - actions[:, :5]
    other = model.read_stretch(other_words, other_actions, first)
    begins = 4 * (K + 1)
    for one, two in zip(logits, other, strict=True):
        moved = (one - two)[:, begins:].abs().amax((1, 2)) > 1e-4
        assert moved.tolist() == [True, False, True, True]


def test_reading_on_is_reading_all() -> None:
    model, (words, actions, *_) = made(), stretch()
    tokens = model.sentence(words, actions[:, 1:])
    whole, _ = model.read(tokens)
    logits, cache = model.read(tokens[:, :7])
    torch.testing.assert_close(logits.words, whole.words[:, :7], atol=1e-5, rtol=0)
    for t in range(7, tokens.shape[1]):
        logits, cache = model.read(tokens[:, t : t + 1], cache)
        for one, other in zip(logits, whole, strict=True):
            torch.testing.assert_close(one[:, 0], other[:, t], atol=1e-5, rtol=0)


def test_it_learns_a_small_world_to_the_end() -> None:
    """A counter of two words: action 1 counts on, action 0 stays; at 3 it pays and ends. All that
    follows is certain, and after learning the model is."""
    config = WorldModelConfig(TransformerConfig(layers=1, heads=2, width=32), blocks=4)
    model = seeded(0, lambda: WorldModel(config, 4, 2, 2))
    generator = torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)

    def played(rows: int) -> tuple[Tensor, ...]:
        count, ended = (
            torch.randint(3, (rows,), generator=generator),
            torch.zeros(rows, dtype=torch.bool),
        )
        parts = []
        for _ in range(4):
            action = torch.randint(2, (rows,), generator=generator)
            first = ended
            count = torch.where(first, 0, count + action * (len(parts) > 0))
            ended = count == 3
            words = torch.stack([count, 3 - count], 1)
            parts.append((words, action, torch.where(first, 0, ended.float()), first, ended))
        return tuple(torch.stack(part, 1) for part in zip(*parts, strict=True))

    for _ in range(300):
        loss = model.loss(*played(32))
        adam.zero_grad()
        loss.total.backward()
        adam.step()
    words, actions, rewards, first, ended = played(200)
    with torch.no_grad():
        logits = model.read_stretch(words, actions, first)
    follows = ~first[:, 1:]
    best = logits.words[:, 2:].unflatten(1, (3, 3))[:, :, :2].argmax(-1)  # (B, 3, K)
    assert (best == words[:, 1:])[follows].all()
    assert (logits.reward[:, 2::3].argmax(-1) - 1 == rewards[:, 1:])[follows].all()
    assert (logits.end[:, 2::3].argmax(-1) == ended[:, 1:].long())[follows].all()
    assert float(loss.reward.detach()) < 0.05 > float(loss.end.detach())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"blocks": 1}, "blocks must be at least 2, got 1"),
     ({"kept": 0}, "kept must be at least 1, got 0")],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WorldModelConfig(**wrong)
