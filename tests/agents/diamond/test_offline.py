"""A denoiser trained on kept episodes: what it learns, stopped, gone on with, kept, and refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from wmlib.agents.diamond import (
    Denoiser,
    DenoiserConfig,
    OfflineConfig,
    SamplerConfig,
    UNetConfig,
    dream_frames,
    load_denoiser,
    next_frames,
    save_denoiser,
    schedule,
    train_denoiser,
)
from wmlib.checkpoint import made_by
from wmlib.episodes import Episode
from wmlib.replay import Replay
from wmlib.storage import DamagedFileError
from wmlib.training import seeded

A, L, H, W, C = 2, 3, 8, 8, 3
DENOISER = DenoiserConfig(network=UNetConfig(channels=(8, 16), waves=4), past=L)
CONFIG = OfflineConfig(denoiser=DENOISER, batch=8, warmup=5)


def assert_equal_weights(one: Denoiser, other: Denoiser) -> None:
    there = other.state_dict()
    assert one.state_dict().keys() == there.keys()
    for name, part in one.state_dict().items():
        assert torch.equal(part, there[name]), name


def film(length: int, seed: int) -> Episode:
    """A bright bar that the first action moves to the left or to the right, round and round."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1, 1, (length, A)).astype(np.float32)
    places = (rng.integers(W) + np.cumsum(np.concatenate([[0], np.sign(actions[:, 0])]))) % W
    frames = np.zeros((length + 1, H, W, C), np.uint8)
    frames[np.arange(length + 1), :, places.astype(int)] = 255
    return Episode(frames, actions, np.zeros(length, np.float32), False, True, seed)


REPLAY = Replay(film(length, seed) for seed, length in enumerate((9, 30, 17)))


def test_learns_which_way_an_action_moves_the_picture() -> None:
    network = UNetConfig(channels=(16, 32), waves=4)
    config = OfflineConfig(
        denoiser=DenoiserConfig(network=network, past=L), batch=32, learning_rate=3e-3, average=0.98
    )
    known = Replay(film(40, seed) for seed in range(8))
    denoiser = train_denoiser(known, config, steps=300, progress=False)
    unseen = film(60, 99)
    frames = torch.from_numpy(unseen.observations).movedim(-1, 1).float() / 127.5 - 1
    before = torch.stack([frames[t : t + L] for t in range(60 - L + 1)])  # (B, L, C, H, W)
    chosen = torch.from_numpy(unseen.actions).unfold(0, L, 1).movedim(-1, 1)  # (B, L, A)
    noise = torch.randn(before[:, 0].shape, generator=torch.Generator().manual_seed(0))
    drawn = next_frames(denoiser, before, chosen, noise, schedule(SamplerConfig()))
    column, expected = (part.mean((1, 2)).argmax(-1) for part in (drawn, frames[L:]))
    assert (column == expected).float().mean() > 0.8  # by chance 1 / 8; nothing moves: 0


@pytest.mark.parametrize(("mark", "again"), [(4, [4, 6, 12]), (6, [6, 12])])
def test_stopped_and_gone_on_with_ends_as_an_undisturbed_run(
    mark: int, again: list[int], tmp_path: Path
) -> None:
    """At a mark: that one comes once more. What was saved before it does not."""

    class Stopped(Exception):
        pass

    def stop(updates: int, denoiser: Denoiser) -> None:
        raise Stopped

    given = {"steps": 12, "seed": 3, "every": 4, "progress": False}
    with pytest.raises(Stopped):
        train_denoiser(REPLAY, CONFIG, folder=tmp_path / "run", marks=[mark], after=stop, **given)
    assert not (tmp_path / "run" / "denoiser.safetensors").exists()
    with pytest.raises(ValueError, match="--resume"):
        train_denoiser(REPLAY, CONFIG, folder=tmp_path / "run", **given)
    seen: list[int] = []
    resumed = train_denoiser(
        REPLAY, CONFIG, folder=tmp_path / "run", resume=True, marks=[4, 6, 12],
        after=lambda updates, _: seen.append(updates), **given,
    )  # fmt: skip
    undisturbed = train_denoiser(REPLAY, CONFIG, **given)
    assert_equal_weights(resumed, undisturbed)
    assert_equal_weights(load_denoiser(tmp_path / "run"), undisturbed)
    assert seen == again
    log = (tmp_path / "run" / "log.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in log] == ["updates", "4", "8", "12"]
    with pytest.raises(ValueError, match="another run"):
        train_denoiser(Replay([film(9, 5)]), CONFIG, folder=tmp_path / "run", resume=True, **given)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"marks": [3]}, r"a mark must be in \[1, 2\], got 3"),
     ({"config": OfflineConfig(denoiser=DenoiserConfig(past=99))}, "must have at least 100 fr")],
)  # fmt: skip
def test_what_cannot_be_trained_claims_no_folder(wrong: dict, message: str, tmp_path: Path) -> None:
    given = {"config": CONFIG, "steps": 2, "folder": tmp_path / "run", "progress": False} | wrong
    with pytest.raises(ValueError, match=message):
        train_denoiser(REPLAY, **given)
    assert not any(tmp_path.iterdir())


def test_the_result_is_the_average_of_the_weights() -> None:
    """With an average that forgets at once it is the newest weights, and not otherwise."""
    seen: dict[float, list[torch.Tensor]] = {}
    for average in (0.0, 0.999):
        config = OfflineConfig(denoiser=DENOISER, batch=4, average=average)
        seen[average] = []
        train_denoiser(
            REPLAY, config, steps=3, progress=False, marks=[1, 2, 3],
            after=lambda _, now, kept=seen[average]: kept.append(
                now.network.first.weight.clone()
            ),
        )  # fmt: skip
    plain = seen[0.0]
    mean = seeded(0, lambda: Denoiser(DENOISER, (C, H, W), A)).network.first.weight.detach()
    for step, (new, averaged) in enumerate(zip(plain, seen[0.999], strict=True)):
        stays = (1 + step) / (10 + step)
        mean = stays * mean + (1 - stays) * new
        torch.testing.assert_close(averaged, mean)


def test_a_dream_is_one_frame_after_the_other() -> None:
    denoiser = seeded(1, lambda: Denoiser(DENOISER, (C, H, W), A))
    frames, actions = torch.rand(2, L, C, H, W) * 2 - 1, torch.rand(2, L + 1, A)
    sampler = SamplerConfig(steps=2)
    whole = dream_frames(denoiser, frames, actions, sampler, torch.Generator().manual_seed(0))
    generator, sigmas = torch.Generator().manual_seed(0), schedule(sampler)
    noise = [torch.randn(2, C, H, W, generator=generator) for _ in range(2)]
    first = next_frames(denoiser, frames, actions[:, :L], noise[0], sigmas)
    shifted = torch.cat([frames[:, 1:], first[:, None]], 1)
    second = next_frames(denoiser, shifted, actions[:, 1:], noise[1], sigmas)
    assert torch.equal(whole, torch.stack([first, second], 1))


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty"):
        train_denoiser(Replay(), CONFIG, steps=1)
    chosen = film(9, 0)
    discrete = Episode(
        chosen.observations, np.zeros(9, np.int64), chosen.rewards, False, True, seed=0
    )
    with pytest.raises(ValueError, match="actions must be"):
        train_denoiser(Replay([discrete]), CONFIG, steps=1)
    flat = Episode(np.zeros((10, 4), np.float32), chosen.actions, chosen.rewards, False, True, 0)
    with pytest.raises(ValueError, match="observations must be frames"):
        train_denoiser(Replay([flat]), CONFIG, steps=1)
    with pytest.raises(ValueError, match="divides"):
        odd = OfflineConfig(denoiser=DenoiserConfig(network=UNetConfig(channels=(4, 4, 4, 4))))
        train_denoiser(REPLAY, odd, steps=1)
    with pytest.raises(ValueError, match="actions must be 3 or more"):
        dream_frames(
            Denoiser(DENOISER, (C, H, W), A), torch.zeros(1, L, C, H, W), torch.zeros(1, 2, A)
        )


def test_a_file_of_other_sizes_is_refused(tmp_path: Path) -> None:
    denoiser, made = Denoiser(DENOISER, (C, H, W), A), made_by(seed=0, steps=0, seconds=0)
    save_denoiser(tmp_path, denoiser, (C, H, W), A, made)
    assert_equal_weights(load_denoiser(tmp_path), denoiser)
    manifest = json.loads((tmp_path / "denoiser.json").read_text(encoding="utf-8"))
    assert manifest["config"]["actions"] == A
    save_denoiser(tmp_path, denoiser, (C, H, W), A + 1, made)
    with pytest.raises(DamagedFileError, match="shapes"):
        load_denoiser(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_denoiser(tmp_path / "nowhere")
