"""V, the variational autoencoder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from wmlib import training
from wmlib.agents.world_models.vision import VAE, VisionConfig, train_vision
from wmlib.artifacts import artifact
from wmlib.checkpoint import made_by, save_module
from wmlib.episodes import Episode
from wmlib.replay import Replay
from wmlib.storage import DamagedFileError, open_arrays, save_arrays
from wmlib.training import seeded

SMALL = VisionConfig(latent=4, channels=(4, 8, 8, 8), batch=24, learning_rate=3e-3)


def skies(n: int, seed: int = 0) -> np.ndarray:
    """(n, 64, 64, 3) uint8: a sky of one grey over a ground of another."""
    frames = np.empty((n, 64, 64, 3), np.uint8)
    sky, ground = np.random.default_rng(seed).integers(256, size=(2, n, 1, 1, 1))
    frames[:, :32], frames[:, 32:] = sky, ground
    return frames


def replay_of(frames: np.ndarray) -> Replay:
    steps = len(frames) - 1
    actions, rewards = np.zeros((steps, 3), np.float32), np.zeros(steps, np.float32)
    return Replay([Episode(frames, actions, rewards, False, True, 0)])


@pytest.fixture(scope="module")
def small() -> VAE:
    vision = seeded(0, lambda: VAE(SMALL)).eval()
    with torch.no_grad():  # codes that differ clearly from one image to the next
        for parameter in vision.parameters():
            parameter.mul_(2.5 if parameter.ndim > 1 else 1.0)
    return vision


def test_the_papers_network_has_the_papers_size() -> None:
    vision = VAE(VisionConfig.paper())
    assert sum(p.numel() for p in vision.parameters()) == 4_348_547
    z = torch.zeros(2, 32)
    assert vision.reconstruct(z).shape == (2, 3, 64, 64)
    assert vision.config.reconstruction_weight == 1.0
    assert vision.config.kl_floor == 0.5


def test_the_loss_by_brute_force(small: VAE) -> None:
    x = small.images(skies(5))
    noise = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    mean, log_variance = small.posterior(x)
    mean, log_variance = mean.detach(), log_variance.detach()
    std = torch.exp(log_variance / 2)
    kl = kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).sum(1)  # (B,)
    pixels = small.reconstruct(mean + std * noise).detach()
    error = sum(float(((a - b) ** 2).sum()) for a, b in zip(pixels, x, strict=True)) / 5
    middle = float(
        kl.median()
    )  # a floor that binds for some images of the batch and not for others
    for floor in (0.0, middle / 4, 10.0):
        vision = VAE(replace(SMALL, kl_floor=floor, reconstruction_weight=0.01))
        vision.load_state_dict(small.state_dict())
        loss = vision.loss(x, noise)
        floored = sum(max(float(one), 4 * floor) for one in kl) / 5
        assert loss.squared_error.item() == pytest.approx(error, rel=1e-5)
        assert loss.kl.item() == pytest.approx(float(kl.mean()), rel=1e-4)
        assert loss.total.item() == pytest.approx(0.01 * error + floored, rel=1e-5)


def test_below_the_floor_the_kl_teaches_nothing(small: VAE) -> None:
    vision = VAE(replace(SMALL, kl_floor=100.0, reconstruction_weight=1e-9))
    vision.load_state_dict(small.state_dict())
    vision.loss(vision.images(skies(3)), torch.zeros(3, 4)).total.backward()
    assert vision.to_log_variance.weight.grad.abs().max() < 1e-6


def test_encode_and_decode_keep_leading_axes(small: VAE) -> None:
    frames = skies(6)
    mean, log_variance = small.encode(frames)
    assert mean.shape == log_variance.shape == (6, 4)
    assert mean.dtype == np.float32
    for lead in ((), (1,), (2, 3), (3, 1, 2)):
        n = int(np.prod(lead))
        some = frames[:n].reshape(*lead, 64, 64, 3)
        codes = small.encode(some, batch=4)[0]
        assert codes.shape == (*lead, 4)
        assert np.allclose(codes.reshape(-1, 4), mean[:n], atol=1e-5)
        pictures = small.decode(codes)
        assert pictures.shape == (*lead, 64, 64, 3)
        assert pictures.dtype == np.uint8
    reference = small.reconstruct(torch.from_numpy(mean)).detach().permute(0, 2, 3, 1).numpy()
    assert np.abs(small.decode(mean) - 255 * reference).max() <= 0.51


def test_frames_from_disk_are_encoded_without_a_warning(
    small: VAE, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    save_arrays(tmp_path / "f.safetensors", {"frames": skies(3)})
    mapped = open_arrays(tmp_path / "f.safetensors")[0]["frames"]
    assert np.array_equal(small.encode(mapped)[0], small.encode(skies(3))[0])
    assert not recwarn.list


def test_an_interpolation_ends_at_the_reconstructions(small: VAE) -> None:
    first, last = skies(2)
    film = small.interpolate(first, last, 5)
    assert film.shape == (5, 64, 64, 3)
    codes = small.encode(np.stack([first, last]))[0]
    ends = small.decode(codes)
    assert np.abs(film[[0, -1]].astype(int) - ends).max() <= 1
    middle = small.decode(codes.mean(0))
    assert np.abs(film[2].astype(int) - middle).max() <= 1


def test_it_learns_and_beats_the_mean_image() -> None:
    frames = skies(300)
    config = VisionConfig(4, (16, 16, 32, 32), 5.0, kl_floor=1.0, learning_rate=4e-3, batch=16)
    vision, history = train_vision(replay_of(frames), config, steps=130, seed=0, progress=False)
    assert set(history) == {"total", "squared_error", "kl"}
    assert len(history["total"]) == 130
    assert np.mean(history["total"][-10:]) < 0.3 * np.mean(history["total"][:10])
    test = skies(50, seed=1)
    error = np.square(vision.decode(vision.encode(test)[0]) / 255 - test / 255).mean()
    assert error < 0.3 * np.square(frames.mean(0) / 255 - test / 255).mean()


def test_training_is_decided_by_its_seed() -> None:
    replay = replay_of(skies(30))
    torch.manual_seed(1)
    runs = [train_vision(replay, SMALL, steps=3, seed=s, progress=False)[1] for s in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_an_interrupted_run_does_not_go_on_with_other_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    save = training.save_state
    first, second = replay_of(skies(30)), replay_of(skies(30, seed=1))
    options = {"steps": 2, "state": tmp_path / "state.safetensors", "progress": False}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "save_state", killed)
        train_vision(first, SMALL, **options)
    with pytest.raises(ValueError, match="state of another run, with another data"):
        train_vision(second, SMALL, **options)
    assert (
        train_vision(first, SMALL, **options)[1]
        == (train_vision(first, SMALL, steps=2, progress=False)[1])
    )


def test_save_and_load(small: VAE, tmp_path: Path) -> None:
    path = tmp_path / "vision.safetensors"
    save_module(path, small, "vision", made_by(seed=0, steps=0, seconds=0))
    loaded = VAE.load(path)
    assert loaded.config == SMALL
    assert np.array_equal(loaded.encode(skies(2))[0], small.encode(skies(2))[0])
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DamagedFileError, match=r"vision.safetensors"):
        VAE.load(path)


def test_wrong_frames_are_refused(small: VAE) -> None:
    good = skies(2)
    with pytest.raises(TypeError, match=r"frames must be an array .* or bool, got .* float64"):
        small.encode(good / 255)
    with pytest.raises(TypeError, match=r"frames must be an array, got \[1, 2\]"):
        small.encode([1, 2])
    for wrong in (good[:, :60], good[..., 0], good[:0]):
        with pytest.raises(ValueError, match=r"shape \(\.\.\., 64, 64, 3\) of uint8 or bool, got"):
            small.encode(wrong)
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        small.encode(good, batch=0)
    for batch in (2.5, "8", None):
        with pytest.raises(TypeError, match=f"batch must be a whole number, got '?{batch}"):
            small.encode(good, batch=batch)
    for codes in (["a"], [[1.0], [1.0, 2.0]], object()):
        with pytest.raises(TypeError, match="codes z must be numbers, got"):
            small.decode(codes)
    with pytest.raises(TypeError, match="steps must be a whole number, got nan"):
        small.interpolate(*good, float("nan"))
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 4\) .*, got .* \(3,\)"):
        small.decode(np.zeros(3))
    with pytest.raises(ValueError, match="codes must be finite, got nan"):
        small.decode(np.full(4, np.nan))
    with pytest.raises(ValueError, match="steps must be at least 2, got 1"):
        small.interpolate(*good, 1)
    with pytest.raises(ValueError, match=r"\(64, 64, 3\) .*, got .* \(2, 64, 64, 3\)"):
        small.interpolate(good, good, 3)
    narrow = Replay([Episode(good[:, :60], np.zeros((1, 3)), np.zeros(1), False, True, 0)])
    with pytest.raises(ValueError, match=r"got .* \(24, 60, 64, 3\)"):
        train_vision(narrow, SMALL, steps=1, progress=False)
    with pytest.raises(ValueError, match="the replay is empty"):
        train_vision(Replay(), SMALL, steps=1, progress=False)


def test_the_shipped_v_is_the_papers_network_to_the_last_bit() -> None:
    vision = VAE.load(artifact("world-models-car-racing") / "vision.safetensors")
    weights, frames = vision.state_dict(), skies(3)
    x = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    for i in range(4):
        w, b = (weights[f"convolutions.{2 * i}.{name}"] for name in ("weight", "bias"))
        x = torch.relu(torch.nn.functional.conv2d(x, w, b, stride=2))
    mean = torch.nn.functional.linear(
        x.flatten(1), weights["to_mean.weight"], weights["to_mean.bias"]
    )
    assert np.array_equal(vision.encode(frames)[0], mean.numpy())
    assert vision.config.frame == (64, 64, 3)  # which its file does not say


@pytest.mark.parametrize("frame", [(16, 16, 1), (8, 20, 4)])
def test_frames_of_other_sizes(frame: tuple[int, int, int], tmp_path: Path) -> None:
    config = VisionConfig(latent=4, channels=(4, 8), batch=16, frame=frame)
    frames = np.random.default_rng(0).integers(256, size=(6, *frame), dtype=np.uint8)
    vision, history = train_vision(replay_of(frames), config, steps=60, progress=False)
    assert np.mean(history["squared_error"][-10:]) < np.mean(history["squared_error"][:5])
    assert vision.encode(frames)[0].shape == (6, 4)
    assert vision.decode(np.zeros((2, 4))).shape == (2, *frame)
    assert vision.interpolate(frames[0], frames[1], 3).shape == (3, *frame)
    save_module(tmp_path / "v.safetensors", vision, "vision", made_by(seed=0, steps=1, seconds=0))
    assert VAE.load(tmp_path / "v.safetensors").config == config
    with pytest.raises(ValueError, match=rf"shape \(\.\.\., {frame[0]}, {frame[1]}, {frame[2]}\)"):
        vision.encode(skies(1))


def test_what_is_true_is_as_bright_as_can_be() -> None:
    vision = VAE(VisionConfig(latent=2, channels=(4,), frame=(10, 10, 4)))
    planes = np.random.default_rng(0).random((3, 10, 10, 4)) < 0.5
    assert torch.equal(vision.images(planes), vision.images(255 * planes.astype(np.uint8)))
    assert set(vision.images(planes).unique().tolist()) == {0.0, 1.0}
    assert vision.decode(vision.encode(planes)[0]).dtype == np.uint8


def test_a_size_that_cannot_be_halved_is_named() -> None:
    with pytest.raises(ValueError, match="multiples of 8, got frame 16 x 12 and channels"):
        VisionConfig(channels=(2, 2, 2), frame=(16, 12, 1))


@pytest.mark.parametrize(
    "wrong",
    [{"latent": 0}, {"channels": (1, 2, 3)}, {"channels": (1, 2, 3, 0)}, {"batch": 0},
     {"reconstruction_weight": 0.0}, {"reconstruction_weight": float("nan")}, {"kl_floor": -1.0},
     {"learning_rate": float("inf")}, {"latent": 2.5}, {"batch": "8"}, {"kl_floor": None},
     {"channels": (1, 2, 3, 4.5)}, {"channels": 16}, {"channels": ()}, {"frame": (64, 64)},
     {"frame": (0, 16, 1)}, {"frame": (16, 16, 1), "channels": ()}],
)  # fmt: skip
def test_configurations_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        VisionConfig(**wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replay": [1, 2]}, r"replay must be a Replay, got \[1, 2\]"),
        ({"config": 8}, "config must be a VisionConfig or None, got 8"),
        ({"steps": 1.5}, "steps must be a whole number, got 1.5"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": 2**63}, "seed must be at most 9223372036854775807, got 9223372036854775808"),
        ({"state": "run"}, "state must be a Path or None, got 'run'"),
    ],
)
def test_training_refuses_what_it_cannot_use(options: dict, message: str) -> None:
    given = {"replay": replay_of(skies(3)), "config": SMALL, "steps": 1, **options}
    with pytest.raises(ValueError, match=message):
        train_vision(**given, progress=False)
