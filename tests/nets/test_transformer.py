"""The transformer: a cache is as good as reading again, and nobody sees what comes later."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from wmlib.nets.transformer import EMPTY, Attention, Transformer, TransformerConfig, causal
from wmlib.training import seeded

B, T, W = 3, 9, 8
CONFIG = TransformerConfig(layers=2, heads=2, width=W)


@pytest.fixture
def model() -> Transformer:
    """With larger weights than a new one, so that what it reads matters."""
    made = seeded(0, lambda: Transformer(CONFIG))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(
                0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            )
    return made


def tokens(seed: int = 0, length: int = T) -> Tensor:
    return torch.randn(B, length, W, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("parts", [[1] * T, [4, 1, 1, 3], [0, 8, 1], [T]])
def test_reading_with_a_cache_is_reading_all_at_once(model: Transformer, parts: list[int]) -> None:
    x = tokens()
    whole, last = model(x)
    cache, read = EMPTY, []
    for part in x.split(parts, 1):
        y, cache = model(part, cache)
        read.append(y)
    torch.testing.assert_close(torch.cat(read, 1), whole, atol=1e-5, rtol=0)
    assert cache.length == last.length == T
    torch.testing.assert_close(cache, last, atol=1e-5, rtol=0)


def test_an_old_cache_serves_two_futures(model: Transformer) -> None:
    x = tokens()
    _, cache = model(x[:, :5])
    before = [keys.clone() for keys in cache.keys]
    one, _ = model(x[:, 5:], cache)
    other, _ = model(tokens(7, 2), cache)
    again, _ = model(x[:, 5:], cache)
    assert all(map(torch.equal, before, cache.keys)) and torch.equal(one, again)
    assert (one[:, :2] - other).abs().max() > 0.01


def test_a_later_token_changes_nothing_before_it(model: Transformer) -> None:
    x = tokens()
    for t in range(T):
        changed = x.clone()
        changed[:, t] = tokens(9)[:, t]
        moved = (model(changed)[0] - model(x)[0]).abs().amax((0, 2)) > 1e-5
        assert moved.tolist() == [False] * t + [True] * (T - t)


def test_what_may_not_be_seen_changes_nothing(model: Transformer) -> None:
    """Two texts in one row: the second reads as if it stood alone."""
    x, text = tokens(), torch.tensor([0] * 4 + [1] * 5)
    seen = (text[:, None] == text) & causal(T)
    both, _ = model(x, seen=seen.expand(B, -1, -1))
    for part in (slice(0, 4), slice(4, T)):
        torch.testing.assert_close(both[:, part], model(x[:, part])[0], atol=1e-5, rtol=0)


def test_attention_is_that_of_torch(model: Transformer) -> None:
    attention, x = model.blocks[0].attention, tokens()
    assert isinstance(attention, Attention)
    keys, values = attention.offer(x)
    queries = attention.query(x).view(B, T, 2, W // 2).transpose(1, 2)
    taken = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    expected = attention.out(taken.transpose(1, 2).reshape(B, T, W))
    torch.testing.assert_close(attention(x, keys, values, causal(T)), expected)


def test_one_layer_is_that_of_torch() -> None:
    """`TransformerEncoderLayer`, normed first, with our weights."""
    ours = seeded(3, lambda: Transformer(TransformerConfig(layers=1, heads=2, width=W)))
    block = ours.blocks[0]
    theirs = torch.nn.TransformerEncoderLayer(
        W, 2, 4 * W, dropout=0, activation="gelu", norm_first=True, batch_first=True
    )
    a = block.attention
    parts = a.query, a.key, a.value
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.self_attn.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    theirs.self_attn.out_proj.load_state_dict(a.out.state_dict())
    theirs.linear1.load_state_dict(block.perceptron[0].state_dict())
    theirs.linear2.load_state_dict(block.perceptron[2].state_dict())
    x = tokens()
    expected = ours.norm(theirs(x, src_mask=~causal(T)))
    torch.testing.assert_close(ours(x)[0], expected, atol=1e-5, rtol=1e-5)


def test_where_it_looks_are_shares_of_what_came_before(model: Transformer) -> None:
    looks = model.looks(tokens())
    assert looks.shape == (2, B, 2, T, T)
    torch.testing.assert_close(looks.sum(-1), torch.ones(2, B, 2, T))
    assert not looks.triu(1).any() and looks[:, :, :, 0, 0].eq(1).all()
    x = tokens()
    y = model.blocks[0].before(x)
    keys, _ = model.blocks[0].attention.offer(y)
    torch.testing.assert_close(looks[0], model.blocks[0].attention.weights(y, keys, causal(T)))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="heads must divide width, got 3 and 8"):
        Transformer(TransformerConfig(heads=3, width=8))
