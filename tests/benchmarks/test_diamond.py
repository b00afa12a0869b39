"""What the benchmark of DIAMOND measures with: balls counted, a Catch without end, DDPM."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from programs import load_program

from wmlib.agents.diamond import (
    DenoiserConfig,
    Diamond,
    DiamondConfig,
    Scales,
    Spaces,
    UNetConfig,
    WorldModelConfig,
    pixels,
    sample,
)
from wmlib.envs.catch import PICTURES, read
from wmlib.nets.actor_critic import ActorCriticConfig
from wmlib.training import seeded

benchmark = load_program("diamond")

SMALL = DiamondConfig(
    world_model=WorldModelConfig(
        denoiser=DenoiserConfig(network=UNetConfig(channels=(4, 8), waves=4))
    ),
    behaviour=ActorCriticConfig(channels=(4,), hidden=8, burn_in=3), batch=4, dreams=4, ratio=0.01,
)  # fmt: skip


def test_exactly_one_ball_is_one_ball_in_one_of_its_cells() -> None:
    frames = (pixels(torch.from_numpy(PICTURES.copy())) + 1) / 2  # (10, 5, 5, 1, 16, 16)
    assert benchmark.one_ball(frames).all()
    assert benchmark.one_ball(0.6 * frames).all() and not benchmark.one_ball(0.4 * frames).any()
    two = torch.maximum(frames[2, 0, 0], frames[5, 3, 0])
    none, moved = frames[2, 0, 0].clone(), frames[2, 0, 0].roll(1, -1)
    none[:, :-1] = 0
    for wrong in (two, none, moved):
        assert not benchmark.one_ball(wrong)
    torn = frames[4, 2, 1].clone()
    torn[0, 6, 6] = 0  # one pixel of the ball
    assert frames[4, 2, 1, 0, 6, 6] == 1 and not benchmark.one_ball(torn)


def test_the_catch_without_end_drops_a_new_ball_after_each() -> None:
    env = benchmark.EndlessCatch(gym.make("wmlib/PixelCatch-v0"))
    boards = [read(env.reset(seed=0)[0])]
    for _ in range(59):
        observation, _, terminated, truncated, _ = env.step(2)
        assert not terminated and not truncated
        boards.append(read(observation))
    assert [board.row for board in boards] == [*range(10)] * 6
    assert all(boards[t].paddle == 2 for t in range(0, 60, 10))
    assert len({int(boards[t].column) for t in range(0, 60, 10)}) > 1


def test_ddpm_says_the_noise_that_was_mixed_in_at_its_own_levels() -> None:
    """Against the mixture of Ho et al. 2020, eq. 4, at a step of its schedule."""
    config = DenoiserConfig(network=SMALL.world_model.denoiser.network, offset=0.0)
    ddpm = seeded(0, lambda: benchmark.DDPM(config, (1, 16, 16), 3))
    betas = np.linspace(1e-4, 0.02, 1000)
    kept = np.cumprod(1 - betas)
    for step in (0, 400, 999):
        sigma = ddpm.noises()[step]
        rng = np.random.default_rng(step)
        clean, noise = rng.uniform(-1, 1, 100), rng.normal(size=100)
        mixed = np.sqrt(kept[step]) * clean + np.sqrt(1 - kept[step]) * noise
        around = ddpm.scales(sigma)
        noisy = torch.from_numpy(clean + float(sigma) * noise)
        np.testing.assert_allclose(around.input * noisy, mixed, rtol=1e-4, atol=1e-5)
        target = (torch.from_numpy(clean) - around.skip * noisy) / around.output
        np.testing.assert_allclose(target, noise, rtol=1e-4, atol=1e-5)
    levels = ddpm.levels(5000, torch.Generator().manual_seed(0))
    assert set(levels.tolist()) <= set(ddpm.noises().tolist())
    assert float(levels.median()) == pytest.approx(float(ddpm.noises()[500]), rel=0.1)


class Knowing(benchmark.DDPM):
    """It knows the frames, so that it says their noise."""

    def say(
        self, noisy: torch.Tensor, around: Scales, past: torch.Tensor, actions: torch.Tensor
    ) -> torch.Tensor:
        return (self.clean - around.skip * noisy) / around.output


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", benchmark.KINDS)
def test_each_kind_has_a_way_from_noise_to_frames(kind: str, count: int) -> None:
    sigmas, width = benchmark.noise_levels(kind, count)
    assert len(sigmas) == count + 1 and sigmas[-1] == 0 and (sigmas.diff() < 0).all()
    if kind == "EDM":
        assert (float(sigmas[0]), width) == pytest.approx((5, 1))
        return
    assert float(sigmas[0]) == width == pytest.approx(157.4, abs=0.5)
    config = DenoiserConfig(network=SMALL.world_model.denoiser.network, offset=0.0)
    knowing = seeded(0, lambda: Knowing(config, (1, 16, 16), 3))
    knowing.clean = pixels(torch.from_numpy(PICTURES[3, :, 1]))
    noise = width * torch.randn(5, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(5, 4, 1, 16, 16), torch.zeros(5, 4, 3)
    found = sample(lambda x, sigma: knowing.denoise(x, sigma, *nothing), noise, sigmas)
    torch.testing.assert_close(found, knowing.clean, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", benchmark.KINDS)
def test_a_row_of_the_drift_has_shares_and_errors_of_every_bin(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "CONFIG", SMALL)
    monkeypatch.setattr(benchmark, "DREAMS", 2)
    row = benchmark.drift({"kind": kind, "seed": 0}, updates=2, length=50)
    for count in (1, 3):
        for what in ("valid", "blur"):
            numbers = row[f"{what}_{count}"]
            assert len(numbers) == 2 and all(0 <= number <= 1 for number in numbers)
        assert max(row[f"valid_{count}"]) == 0 < min(row[f"blur_{count}"])  # it has learned nothing
    again = benchmark.drift({"kind": kind, "seed": 0}, updates=2, length=50)
    assert {**again, "cpu_seconds": 0} == {**row, "cpu_seconds": 0}


def test_dreams_of_a_run_are_examined_from_their_first_frames() -> None:
    env = gym.make("wmlib/PixelCatch-v0")
    agent = Diamond(Spaces.of(env.observation_space, env.action_space), SMALL)
    frames = np.stack([env.reset(seed=seed)[0] for seed in range(3)])
    state = benchmark.first_state(agent, frames)
    assert torch.equal(state.frames[:, -1], pixels(torch.from_numpy(frames)))
    assert not state.frames[:, :-1].any() and not state.actions.any() and not state.hidden.any()
    assert benchmark.dreamed_balls(agent, "wmlib/PixelCatch-v0", range(3)) == 0  # untrained
    agent.model.draw = lambda frames, actions, generator: frames[:, -1]  # it stands still
    assert benchmark.dreamed_balls(agent, "wmlib/PixelCatch-v0", range(3)) == 1
    assert benchmark.dreaming(agent, 2, times=3) > 0


def test_the_committed_rows_are_of_the_settings_that_are_the_default() -> None:
    told = json.loads(benchmark.OUT.read_text(encoding="utf-8"))
    made = json.dumps(told["made"]["configuration"], sort_keys=True)
    now = json.dumps(benchmark.dataclasses.asdict(benchmark.CONFIG), sort_keys=True)
    assert made == now
    names = [(row["part"], row.get("world"), row.get("kind"), row["seed"]) for row in told["rows"]]
    assert len(set(names)) == len(names)
    for row in (row for row in told["rows"] if row["part"] == "catch"):
        assert row["return"] == pytest.approx(np.mean(row["returns"]))
