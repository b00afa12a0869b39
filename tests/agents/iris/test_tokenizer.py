"""Frames to words: the nearest code, a gradient that passes straight through, a collapsed book."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from wmlib.agents.iris import Tokenizer, TokenizerConfig, Usage, passed
from wmlib.training import seeded

CONFIG = TokenizerConfig(channels=(4, 6), codes=7, width=5, commitment=0.25, renew=3)
FRAME = (8, 12, 2)  # 2 x 3 words


def made(config: TokenizerConfig = CONFIG) -> Tokenizer:
    """Codes as far apart as vectors are, where a new book lies close together."""
    tokenizer = seeded(0, lambda: Tokenizer(config, FRAME))
    with torch.no_grad():
        tokenizer.codes.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    return tokenizer


def frames(count: int = 4) -> Tensor:
    return torch.rand(count, 2, 8, 12, generator=torch.Generator().manual_seed(2))


def test_a_word_is_the_nearest_code() -> None:
    tokenizer = made()
    vectors = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(3)) / 10
    codes = tokenizer.codes.detach()
    nearest = torch.tensor(
        [
            [min(range(7), key=lambda n: (v - codes[n]).square().sum()) for v in row]
            for row in vectors.detach()
        ]
    )
    assert torch.equal(tokenizer.nearest(vectors), nearest) and len(nearest.unique()) > 3


def test_words_lie_row_by_row_and_are_painted_in_their_place() -> None:
    tokenizer, seen = made(TokenizerConfig(channels=(8,), codes=7, width=5)), frames(1)
    assert tokenizer.grid == (4, 6) and tokenizer.words == 24
    vectors = tokenizer.vectors(seen)
    torch.testing.assert_close(vectors[0, 6 + 2], tokenizer.encoder(seen)[0, :, 1, 2])
    words = tokenizer.encode(seen)
    other = words.clone()
    other[0, 8] = (words[0, 8] + 1) % 7
    painted = [tokenizer.paint(tokenizer.codes[one]) for one in (words, other)]
    moved = (painted[0] - painted[1]).abs().sum((0, 1))
    rows, columns = moved.nonzero().T
    assert 1 <= rows.min() <= rows.max() <= 4 and 3 <= columns.min() <= columns.max() <= 6


def test_the_gradient_passes_straight_through() -> None:
    """What reaches a vector is what reaches the code that stands for it, and no code gets any."""
    vectors, codes = torch.randn(3, 5, requires_grad=True), torch.randn(3, 5, requires_grad=True)
    weights = torch.randn(5, 2)

    def painted(x: Tensor) -> Tensor:
        return torch.tanh(x @ weights).square().sum()

    out = passed(vectors, codes)
    assert torch.allclose(out, codes)
    by_vectors, by_codes = torch.autograd.grad(painted(out), (vectors, codes), allow_unused=True)
    assert by_codes is None
    small = 1e-3
    for row in range(3):
        for column in range(5):
            step = torch.zeros(3, 5)
            step[row, column] = small
            slope = (painted(codes + step) - painted(codes - step)) / (2 * small)
            torch.testing.assert_close(
                by_vectors[row, column], slope.detach(), atol=2e-3, rtol=1e-2
            )


def test_the_loss_and_who_learns_from_which_term() -> None:
    tokenizer, seen = made(), frames()
    loss, vectors = tokenizer.loss(seen)
    codes = tokenizer.codes[tokenizer.nearest(vectors)]
    painted = functional.mse_loss(tokenizer.paint(codes), seen) * seen[0].numel()
    torch.testing.assert_close(loss.painted, painted)
    apart = functional.mse_loss(vectors, codes)
    torch.testing.assert_close(loss.codebook, 1.25 * apart.detach())
    torch.testing.assert_close(loss.total, painted + 1.25 * apart)
    (by_codes,) = torch.autograd.grad(loss.total, tokenizer.codes, retain_graph=True)
    used = tokenizer.nearest(vectors).flatten()
    # Of the mean of |v - e|^2 by e, summed over the vectors that e stands for.
    expected = torch.zeros(7, 5).index_add_(
        0, used, (2 * (codes - vectors) / vectors.numel()).detach().flatten(0, 1)
    )
    torch.testing.assert_close(by_codes, expected)
    assert torch.autograd.grad(loss.total, tokenizer.encoder[0].weight)[0].any()


def test_what_is_read_back_is_what_was_painted() -> None:
    tokenizer, seen = made(), frames()
    words = tokenizer.encode(seen.unflatten(0, (2, 2)))
    assert words.shape == (2, 2, 6)
    painted = tokenizer.decode(words)
    assert painted.shape == (2, 2, 2, 8, 12) and 0 <= painted.min() <= painted.max() <= 1
    expected = tokenizer.paint(tokenizer.codes[words[1, 0]][None])[0].clamp(0, 1)
    torch.testing.assert_close(painted[1, 0], expected)


def test_idle_codes_are_moved_to_where_a_vector_lies() -> None:
    tokenizer, generator = made(), torch.Generator().manual_seed(0)
    vectors = tokenizer.codes.detach()[[1, 4, 4, 1]].view(2, 2, 5) + 0.001
    before = tokenizer.codes.detach().clone()
    for _ in range(2):
        tokenizer.renew(vectors, generator)
    assert torch.equal(tokenizer.codes, before)
    assert tokenizer.idle.tolist() == [2, 0, 2, 2, 0, 2, 2]
    tokenizer.renew(vectors, generator)
    kept = torch.tensor([1, 4])
    assert torch.equal(tokenizer.codes[kept], before[kept]) and not tokenizer.idle.any()
    for n in (0, 2, 3, 5, 6):
        assert (tokenizer.codes[n] == vectors.flatten(0, 1)).all(1).any()
    never = made(TokenizerConfig(channels=(4, 6), codes=7, width=5, renew=0))
    for _ in range(5):
        never.renew(vectors, generator)
    assert torch.equal(never.codes, before)


def test_a_collapsed_codebook_is_reported_with_what_to_do() -> None:
    tokenizer = made()
    even = tokenizer.usage(torch.arange(7).repeat(3))
    assert even == Usage(7, 7, pytest.approx(7.0)) and not even.collapsed
    assert even.report() == "7 of 7 codes in use, perplexity 7.0"
    one = tokenizer.usage(torch.full((4, 6), 3))
    assert (one.used, one.perplexity, one.collapsed) == (1, 1.0, True)
    assert "the codebook collapsed; let idle codes be renewed (renew, e.g. 20)" in one.report()
    skewed = tokenizer.usage(torch.tensor([0] * 3 + [1]))
    assert skewed == Usage(2, 7, pytest.approx(4 / 3**0.75))
    assert Usage(30, 512, 30.0).collapsed and not Usage(60, 512, 60.0).collapsed


@pytest.mark.parametrize(
    ("config", "frame", "message"),
    [({"channels": (4, 6, 6)}, FRAME, "multiples of 8, got frame 8 x 12"),
     ({"codes": 1}, FRAME, "codes must be at least 2, got 1"),
     ({"commitment": -1.0}, FRAME, "commitment must be a number, at least 0"),
     ({}, (10, 10, 4), "multiples of 8, got frame 10 x 10")],
)  # fmt: skip
def test_what_cannot_be_told_in_words_is_refused(
    config: dict, frame: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Tokenizer(TokenizerConfig(**config), frame)
