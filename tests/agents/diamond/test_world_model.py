"""Rewards and ends held to torch; dreams that begin, go on, and end."""

import pytest
import torch
from torch.nn import functional

from wmlib.agents.diamond import (
    DenoiserConfig,
    RewardEnd,
    RewardEndConfig,
    SamplerConfig,
    UNetConfig,
    WorldModel,
    WorldModelConfig,
)
from wmlib.imagination import imagine
from wmlib.training import seeded

T, B, A, L = 7, 5, 3, 4
FRAME = (1, 8, 8)
CONFIG = WorldModelConfig(
    denoiser=DenoiserConfig(network=UNetConfig(channels=(4, 8), waves=4)),
    reward_end=RewardEndConfig(channels=(4,), units=6),
)


def model() -> WorldModel:
    return seeded(0, lambda: WorldModel(CONFIG, FRAME, A))


def stretch() -> tuple[torch.Tensor, ...]:
    """Frames, actions, rewards, where episodes begin (one in the middle) and end."""
    generator = torch.Generator().manual_seed(2)
    first, ended = torch.zeros(T, B), torch.zeros(T, B)
    first[4, 1], ended[3, 1], ended[-1, 2] = 1, 1, 1
    return (
        torch.rand(T, B, *FRAME, generator=generator) * 2 - 1,
        torch.eye(A)[torch.randint(A, (T, B), generator=generator)],
        3 * torch.randint(-1, 2, (T, B), generator=generator).float(),
        first, ended,
    )  # fmt: skip


def test_following_is_stepping_and_forgets_where_an_episode_begins() -> None:
    network = seeded(0, lambda: RewardEnd(CONFIG.reward_end, FRAME, A))
    frames, actions, _, first, _ = stretch()
    reward, end, (hidden, cell) = network.follow(frames, actions, first)
    for b in range(B):
        memory = network.initial(1)
        for t in range(1, T):
            if first[t, b]:
                memory = network.initial(1)
                continue
            one = slice(b, b + 1)
            paid, over, memory = network.step(
                frames[t - 1, one], actions[t, one], frames[t, one], memory
            )
            torch.testing.assert_close(reward[t - 1, one], paid)
            torch.testing.assert_close(end[t - 1, one], over)
        torch.testing.assert_close(hidden[b : b + 1], memory[0])
        torch.testing.assert_close(cell[b : b + 1], memory[1])


def test_the_losses_are_torchs_over_steps_that_are_steps() -> None:
    network = seeded(0, lambda: RewardEnd(CONFIG.reward_end, FRAME, A))
    frames, actions, rewards, first, ended = stretch()
    paid, over = network.loss(frames, actions, rewards, first, ended)
    reward, end, _ = network.follow(frames, actions, first)
    steps = [(t, b) for t in range(1, T) for b in range(B) if not first[t, b]]
    assert len(steps) == (T - 1) * B - 1
    logits = torch.stack([reward[t - 1, b] for t, b in steps])
    signs = torch.tensor([{-3.0: 0, 0.0: 1, 3.0: 2}[float(rewards[t, b])] for t, b in steps])
    torch.testing.assert_close(paid, functional.cross_entropy(logits, signs))
    logits = torch.stack([end[t - 1, b] for t, b in steps])
    ends = torch.tensor([int(ended[t, b]) for t, b in steps])
    assert ends.sum() == 2
    torch.testing.assert_close(over, functional.cross_entropy(logits, ends))


def test_a_dream_begins_as_what_was_lived() -> None:
    """The state after a stretch is the state that following the episode step by step leads to."""
    world = model()
    frames, actions, _, first, _ = stretch()
    state = world.begin(frames, actions, first)
    for b in range(B):
        lived = frames[4:, b] if first[4, b] else frames[:, b]
        acted = actions[5:, b] if first[4, b] else actions[1:, b]
        memory = world.reward_end.initial(1)
        for t in range(len(lived) - 1):
            one = slice(t, t + 1)
            *_, memory = world.reward_end.step(lived[one], acted[one], lived[t + 1 : t + 2], memory)
        torch.testing.assert_close(state.hidden[b : b + 1], memory[0])
        shown = torch.cat([torch.zeros(L, *FRAME), lived])[-L:]
        chosen = torch.cat([torch.zeros(L, A), acted])[-(L - 1) :]
        assert torch.equal(state.frames[b], shown) and torch.equal(state.actions[b], chosen)
    assert torch.equal(state.features, (frames[-1] + 1) / 2)


def test_a_dreamed_step_moves_frames_and_actions_on_and_draws_reward_and_end() -> None:
    world = model()
    with torch.no_grad():
        world.denoiser.network.last.weight.normal_(generator=torch.Generator().manual_seed(1))
        world.reward_end.head[-1].weight.mul_(0)
        world.reward_end.head[-1].bias.copy_(torch.tensor([0.5, 0.2, 0.3, 0.75, 0.25]).log())
    frames, actions, _, first, _ = (part[:, [0] * 4000] for part in stretch())
    state = world.begin(frames, actions, first)
    action = torch.eye(A)[torch.arange(4000) % A]
    following, reward, goes_on = world.step(state, action, torch.Generator().manual_seed(3))
    assert torch.equal(following.frames[:, :-1], state.frames[:, 1:])
    assert torch.equal(following.actions[:, :-1], state.actions[:, 1:])
    assert torch.equal(following.actions[:, -1], action)
    newest = following.frames[:, -1]
    assert newest.min() >= -1 and newest.max() <= 1
    levels = (newest + 1) / 2 * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    for value, share in ((-1, 0.5), (0, 0.2), (1, 0.3)):
        assert float((reward == value).float().mean()) == pytest.approx(share, abs=0.03)
    assert set(goes_on.tolist()) == {0, 1}
    assert float(goes_on.mean()) == pytest.approx(0.75, abs=0.03)


def test_the_same_dice_dream_the_same_dream_and_others_another() -> None:
    world = model()
    frames, actions, _, first, _ = stretch()
    state = world.begin(frames, actions, first)
    given = actions.movedim(1, 0)
    one, same, other = (
        imagine(world, given, state, 3, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(one.features, same.features) and one.features.shape == (4, B, *FRAME)
    assert not torch.equal(one.features, other.features)


@pytest.mark.parametrize(
    ("sampler", "message"),
    [(SamplerConfig(most=30.0), r"sigma must be in \[0.002, 20\], .* got 30 to 0.002"),
     (SamplerConfig(least=1e-3), r"sigma must be in \[0.002, 20\], .* got 5 to 0.001")],
)  # fmt: skip
def test_noise_that_the_denoiser_never_learns_is_refused(
    sampler: SamplerConfig, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        WorldModel(WorldModelConfig(sampler=sampler), FRAME, A)
