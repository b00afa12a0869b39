"""The denoiser: its scales held to what they are for, its parts to torch, its context to a loop."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from wmlib.agents.diamond import (
    AdaptiveGroupNorm,
    Denoiser,
    DenoiserConfig,
    FourierFeatures,
    UNet,
    UNetConfig,
    pixels,
    quantised,
    sample,
    scales,
    schedule,
)
from wmlib.agents.diamond.denoiser import Scales, context, present
from wmlib.agents.diamond.sampler import SamplerConfig
from wmlib.training import seeded

B, L, A = 6, 4, 3
FRAME = (1, 8, 8)
CONFIG = DenoiserConfig(network=UNetConfig(channels=(4, 8), waves=4))


def made(config: DenoiserConfig = CONFIG) -> Denoiser:
    """A denoiser that says something from the first."""
    denoiser = seeded(0, lambda: Denoiser(config, FRAME, A))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in denoiser.network.modules():  # a new one says nothing and skips its blocks
            if isinstance(layer, torch.nn.Conv2d) and not layer.weight.any():
                layer.weight.normal_(generator=generator)
    return denoiser


def stretch(length: int = L + 1) -> tuple[torch.Tensor, ...]:
    """Frames, actions one-hot, and where episodes begin: within the past of one, at the end of
    another."""
    generator = torch.Generator().manual_seed(2)
    frames = torch.rand(length, B, *FRAME, generator=generator) * 2 - 1
    actions = torch.eye(A)[torch.randint(A, (length, B), generator=generator)]
    first = torch.zeros(length, B)
    first[2, 1], first[-1, 3] = 1, 1
    return frames, actions, first


@pytest.mark.parametrize("sigma", [2e-3, 0.05, 0.7, 5.0, 20.0])
def test_input_and_target_have_unit_variance_at_every_noise_level(sigma: float) -> None:
    """Data of deviation 0.5; noise of each pixel, and noise that a channel shares."""
    generator = torch.Generator().manual_seed(0)
    n = 200_000
    clean = CONFIG.data * torch.randn(n, generator=generator)
    noisy = clean + sigma * torch.randn(n, generator=generator)
    noisy = noisy + CONFIG.offset * torch.randn(n, generator=generator)
    around = scales(torch.tensor(sigma), CONFIG)
    assert float((around.input * noisy).std()) == pytest.approx(1, abs=0.01)
    target = (clean - around.skip * noisy) / around.output
    assert float(target.std()) == pytest.approx(1, abs=0.01)
    # And no other share of the noisy frame would leave less to say (Karras et al. 2022, B.6).
    shares = [around.skip + shift for shift in (-0.02, 0, 0.02)]
    left = [float((clean - share * noisy).square().mean()) for share in shares]
    assert left[1] == min(left)
    assert float(around.noise) == pytest.approx(np.log(np.hypot(sigma, 0.3)) / 4, rel=1e-5)


class Oracle(Denoiser):
    """Says what it should, for it knows the frames."""

    clean: torch.Tensor

    def say(
        self, noisy: torch.Tensor, around: Scales, past: torch.Tensor, actions: torch.Tensor
    ) -> torch.Tensor:
        return (self.clean - around.skip * noisy) / around.output


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_a_perfect_denoiser_returns_the_frames_in_any_number_of_steps(steps: int) -> None:
    oracle = seeded(0, lambda: Oracle(CONFIG, FRAME, A))
    generator = torch.Generator().manual_seed(0)
    oracle.clean = pixels(torch.randint(256, (B, 8, 8, 1), generator=generator).byte())
    past, actions = torch.zeros(B, L, *FRAME), torch.zeros(B, L, A)
    noise = torch.randn(B, *FRAME, generator=generator)
    for sigma in (2e-3, 0.3, 5.0, 20.0):
        found = oracle.denoise(sigma * noise, torch.tensor(sigma), past, actions)
        torch.testing.assert_close(found, oracle.clean)
    found = sample(
        lambda x, sigma: oracle.denoise(x, sigma, past, actions), noise,
        schedule(SamplerConfig(steps=steps)),
    )  # fmt: skip
    torch.testing.assert_close(found, oracle.clean)
    frames = torch.cat([torch.zeros(L, B, *FRAME), oracle.clean[None]])
    nothing = torch.zeros(L + 1, B)
    assert float(oracle.loss(frames, torch.zeros(L + 1, B, A), nothing, generator)) < 1e-10


def test_frames_are_those_that_bytes_can_say() -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1)
    frames = pixels(every)
    assert frames.shape == (1, 1, 16, 16)
    assert (float(frames.min()), float(frames.max())) == (-1, 1)
    torch.testing.assert_close(quantised(frames + 0.003), frames)  # less than half a level
    torch.testing.assert_close(quantised(frames - 0.003), frames)
    assert quantised(torch.tensor([-3.0, 7.0])).tolist() == [-1, 1]


def test_the_loss_is_torchs_over_targets_that_follow_something() -> None:
    denoiser = made()
    frames, actions, first = stretch()
    generator = torch.Generator().manual_seed(5)
    got = denoiser.loss(frames, actions, first, generator)

    generator = torch.Generator().manual_seed(5)
    logs = -0.4 + 1.2 * torch.randn(B, generator=generator)
    sigma = logs.exp().clamp(2e-3, 20)
    own = torch.randn(B, *FRAME, generator=generator)
    shared = torch.randn(B, 1, 1, 1, generator=generator)
    outputs, targets = [], []
    for b in range(B):
        if first[-1, b]:
            continue
        noisy = frames[-1, b] + sigma[b] * own[b] + 0.3 * shared[b]
        around = scales(sigma[b], CONFIG)
        past, chosen = frames[:-1, b].clone(), actions[1:, b].clone()
        begun = int(first[:-1, b].argmax()) if first[:-1, b].any() else 0
        past[:begun], chosen[:begun] = 0, 0
        outputs.append(
            denoiser.network(
                (around.input * noisy)[None], around.noise[None], past[None] / 0.5, chosen[None]
            )[0]
        )
        targets.append((frames[-1, b] - around.skip * noisy) / around.output)
    assert len(outputs) == B - 1
    expected = functional.mse_loss(torch.stack(outputs), torch.stack(targets))
    torch.testing.assert_close(got, expected)


def test_noise_levels_are_log_normal_and_cut() -> None:
    levels = made().levels(200_000, torch.Generator().manual_seed(0))
    assert float(levels.log().mean()) == pytest.approx(-0.4, abs=0.01)
    assert float(levels.log().std()) == pytest.approx(1.2, abs=0.01)
    narrow = made(DenoiserConfig(network=CONFIG.network, least=0.5, most=0.6))
    cut = narrow.levels(1000, torch.Generator().manual_seed(0))
    assert (float(cut.min()), float(cut.max())) == pytest.approx((0.5, 0.6))


def test_what_was_before_an_episode_is_blotted_out() -> None:
    """Against a loop, for every place in which episodes can begin."""
    first = torch.tensor([[b >> t & 1 for b in range(16)] for t in range(4)]).float()  # (L, B)
    expected = torch.ones(4, 16, dtype=torch.bool)
    for b in range(16):
        for t in reversed(range(3)):
            expected[t, b] = expected[t + 1, b] and not first[t + 1, b]
    assert torch.equal(present(first), expected)
    frames, chosen = torch.full((4, 16, 1, 2, 2), -1.0), torch.ones(4, 16, 3)
    seen, acted = context(frames, chosen, first)
    assert torch.equal(seen[:, :, 0, 0, 0].T == -1, expected)
    assert torch.equal(acted[:, :, 0].T == 1, expected)
    assert not (pixels(torch.arange(256).view(-1, 1, 1, 1)) == 0).any()  # grey is no byte


def test_adaptive_group_norm_is_torchs_with_its_scale_and_shift() -> None:
    norm = seeded(0, lambda: AdaptiveGroupNorm(8, 5, group=4))
    x, conditions = torch.randn(B, 8, 3, 3), torch.randn(B, 5)
    plain = torch.nn.GroupNorm(2, 8, affine=False)(x)
    for b in range(B):
        numbers = norm.linear.weight @ conditions[b] + norm.linear.bias  # (16,)
        for c in range(8):
            expected = plain[b, c] * (1 + numbers[c]) + numbers[8 + c]
            torch.testing.assert_close(norm(x, conditions)[b, c], expected)


def test_fourier_features_are_cosines_and_sines_of_fixed_frequencies() -> None:
    features = seeded(0, lambda: FourierFeatures(3))
    number = torch.tensor([0.1, -2.0])
    angles = 2 * np.pi * np.outer(number, features.frequencies)
    expected = np.concatenate([np.cos(angles), np.sin(angles)], 1)
    np.testing.assert_allclose(features(number), expected, atol=1e-5)
    assert not list(features.parameters()) and "frequencies" in features.state_dict()


def test_a_new_network_says_nothing_so_that_its_loss_is_the_variance_of_the_target() -> None:
    network = seeded(0, lambda: UNet(CONFIG.network, FRAME, L, A))
    frames, actions, _ = stretch(L)
    past, chosen = context(frames, actions, torch.zeros(L, B))
    assert not network(frames[0], torch.zeros(B), past, chosen).any()


@pytest.mark.parametrize("part", ["noisy", "noise", "past", "actions"])
def test_the_network_reads_everything(part: str) -> None:
    denoiser = made()
    frames, actions, _ = stretch(L)
    past, chosen = context(frames, actions, torch.zeros(L, B))
    given = {"noisy": frames[0], "noise": torch.full((B,), 0.3), "past": past, "actions": chosen}
    before = denoiser.network(**given)
    changed = denoiser.network(**given | {part: given[part] + 0.5})
    assert (before - changed).abs().amax((1, 2, 3)).min() > 1e-4


def test_frames_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sides that 4 divides, got \[8, 6\]"):
        Denoiser(CONFIG, (1, 8, 6), A)
