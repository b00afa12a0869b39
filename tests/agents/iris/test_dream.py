"""Dreams of words: as the sentence goes on, past a full memory, and through an imagined end."""

import itertools

import pytest
import torch
from torch import Tensor

from wmlib.agents.iris import Dream, State, Tokenizer, TokenizerConfig, WorldModel, WorldModelConfig
from wmlib.agents.iris.dream import draw
from wmlib.imagination import imagine
from wmlib.nets.actor_critic import ActorCritic, ActorCriticConfig
from wmlib.nets.transformer import TransformerConfig
from wmlib.reinforce import losses
from wmlib.training import seeded

N, A, B, BLOCKS = 5, 2, 6, 5
FRAME = (4, 8, 1)  # 1 x 2 words
K = 2


def made(kept: int = 2) -> Dream:
    tokenizer = seeded(0, lambda: Tokenizer(TokenizerConfig((3, 4), codes=N, width=4), FRAME))
    config = WorldModelConfig(TransformerConfig(layers=2, heads=2, width=8), BLOCKS, kept)
    model = seeded(1, lambda: WorldModel(config, N, K, A))
    with torch.no_grad():
        for parameter in (*model.parameters(), tokenizer.codes):
            parameter.add_(
                0.4 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            )
        tokenizer.decoder[-1].bias.fill_(0.5)  # what it paints is neither black nor white
    return Dream(tokenizer, model)


def lived(frames: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return (
        torch.randint(N, (B, frames, K), generator=generator),
        torch.randint(A, (B, frames - 1), generator=generator),
    )


def act(t: int) -> Tensor:
    return torch.eye(A)[(torch.arange(B) + t) % A]


def same(one: State, other: State) -> None:
    assert torch.equal(one.tokens, other.tokens)
    torch.testing.assert_close(one.cache, other.cache, atol=1e-5, rtol=0)
    torch.testing.assert_close(one.features, other.features, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_step_draws_what_the_sentence_says() -> None:
    """Word by word, from the whole sentence read anew each time."""
    dream, (words, actions) = made(), lived(2)
    state = dream.begin(words, actions)
    assert torch.equal(state.features, dream.tokenizer.decode(words[:, -1]))
    assert state.cache.length == state.tokens.shape[1] - 1 == 4
    after, reward, goes_on = dream.step(state, act(0), torch.Generator().manual_seed(4))
    uniform = torch.rand(K, B, generator=torch.Generator().manual_seed(4))
    tokens = torch.cat([state.tokens, N + act(0).argmax(-1, keepdim=True)], 1)
    logits, _ = dream.model.read(tokens)
    below, _, above = logits.reward[:, -1].softmax(-1).unbind(-1)
    torch.testing.assert_close(reward, above - below)
    torch.testing.assert_close(goes_on, torch.sigmoid(-logits.end[:, -1].diff()[:, 0]))
    for k in range(K):
        logits, _ = dream.model.read(tokens)
        tokens = torch.cat([tokens, draw(logits.words[:, -1], uniform[k])[:, None]], 1)
    assert torch.equal(after.tokens, tokens)
    assert torch.equal(after.features, dream.tokenizer.decode(tokens[:, -K:]))


def test_words_are_drawn_as_likely_as_they_are() -> None:
    logits = torch.tensor([0.1, 0.6, 0.3]).log().expand(30_000, 3)
    drawn = draw(logits, torch.rand(30_000, generator=torch.Generator().manual_seed(0)))
    shares = torch.bincount(drawn, minlength=3) / 30_000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.6, 0.3]), atol=0.01, rtol=0)
    assert draw(logits[:2], torch.tensor([0.0, 1.0])).tolist() == [0, 2]


@torch.no_grad()
@pytest.mark.parametrize("kept", [1, 2, 9])
def test_refreshing_a_full_memory_changes_nothing(kept: int) -> None:
    """A dream goes on from where its memory was refreshed as one that begins with those frames."""
    dream, (words, _) = made(kept), lived(1)
    state, seen = dream.begin(words), [words[:, 0]]
    lengths = []
    for t in range(12):
        before = state
        state, *outputs = dream.step(state, act(t), torch.Generator().manual_seed(t))
        lengths.append(state.tokens.shape[1])
        if lengths[-1] <= before.tokens.shape[1]:  # it was full
            frames = before.tokens[:, -(min(kept, BLOCKS - 1) * (K + 1) - 1) :]
            padded = torch.cat([frames, frames[:, :1]], 1).unflatten(1, (-1, K + 1))
            anew = dream.begin(padded[..., :K], padded[:, :-1, K] - N)
            same(dream.refreshed(before), anew)
            again, *outputs_again = dream.step(anew, act(t), torch.Generator().manual_seed(t))
            same(state, again)
            torch.testing.assert_close(outputs, outputs_again)
        seen.append(state.tokens[:, -K:])
    assert max(lengths) == dream.model.room - 1
    assert sum(b <= a for a, b in itertools.pairwise(lengths)) >= 2
    short = min(b for a, b in itertools.pairwise(lengths) if b <= a)
    assert short == (min(kept, BLOCKS - 1) + 1) * (K + 1) - 1


@torch.no_grad()
def test_more_frames_than_there_is_room_for_are_cut() -> None:
    dream, (words, actions) = made(), lived(9)
    same(dream.begin(words, actions), dream.begin(words[:, -BLOCKS:], actions[:, -BLOCKS + 1 :]))


def test_nothing_counts_after_an_imagined_end() -> None:
    """Where the model is sure of an end, what it pays later teaches the actor-critic nothing."""
    dream = made()
    for head, last in ((dream.model.end, [-50.0, 50.0]), (dream.model.reward, [0.0, 0.0, 50.0])):
        torch.nn.init.zeros_(head[-1].weight)
        head[-1].bias.data.copy_(torch.tensor(last))
    network = seeded(2, lambda: ActorCritic(ActorCriticConfig((2,), 4), FRAME, A))
    generator, begins = torch.Generator().manual_seed(0), torch.ones(B)
    with torch.no_grad():
        policy = torch.eye(A)[torch.randint(A, (B, 4), generator=generator)]
        trajectory = imagine(dream, policy, dream.begin(lived(1)[0]), 4, generator)
    torch.testing.assert_close(trajectory.rewards, torch.ones(4, B))
    assert trajectory.continues.max() < 1e-20
    carry = network.initial(B)
    loss = losses(network, trajectory, begins, carry)
    assert float(loss.returns) == 1.0  # of four
    richer = trajectory._replace(rewards=trajectory.rewards * torch.tensor([[1.0], [9], [9], [9]]))
    torch.testing.assert_close(losses(network, richer, begins, carry), loss)
    gradients = torch.autograd.grad(loss.critic, network.critic.bias)[0]
    torch.testing.assert_close(gradients, torch.tensor([-2.0 / 4]))  # one step of four counts


@torch.no_grad()
def test_one_swapped_word_changes_what_is_dreamed_from_it() -> None:
    dream, (words, _) = made(), lived(1)
    other = words.clone()
    other[:, :, 1] = (words[:, :, 1] + 1) % N
    one, two = (
        imagine(dream, act(0)[:, None].expand(-1, 3, -1), dream.begin(each), 3,
                torch.Generator().manual_seed(1))
        for each in (words, other)
    )  # fmt: skip
    assert (one.features != two.features).flatten(2).any(-1).any(0).all()
    assert (one.rewards - two.rewards).abs().max() > 1e-3
