"""The article's own lines run against `wmlib.scratch`, and leave the world as it was."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import wmlib.scratch
from wmlib.scratch import (
    Controller,
    MemoryModel,
    VisionModel,
    cma_es,
    dream_episode,
    train_in_dream,
    train_memory,
    train_vision,
    vae_loss,
)

EXAMPLE = """
# Example: compress 64-dim observations to 8-dim latents
V = VisionModel(obs_dim=64, latent_dim=8)
obs = np.random.rand(64)
recon, mu, logvar = V.forward(obs)
print(f"Original dim: 64 -> Latent dim: {mu.shape[0]}")
print(f"Latent mean: {mu[:4].round(3)}...")
print(f"ELBO loss: {vae_loss(obs, recon, mu, logvar):.4f}")
"""

STEPS = """
h = np.zeros(M.h_dim)
c = np.zeros(M.h_dim)
z, _ = V.encode(start_obs)
action = C.act(z, h)
h, c = M.lstm_step(np.concatenate([z, action]), h, c)
pi, mu, sigma, h, c = M.predict(z, action, h, c)
z = M.sample_next(pi, mu, sigma, temperature)
total_reward += dream_reward(z)
controller.set_params(params)
idx = np.random.randint(len(real_obs_buffer))
reward = dream_episode(V, M, controller, real_obs_buffer[idx],
                       horizon=50, temperature=1.2)
best = cma_es(evaluate, controller.get_params().size, generations=n_gens)
controller.set_params(best)
controller = train_in_dream(V, M, controller, real_obs_buffer, n_gens=1)
"""


def test_the_articles_example_runs(capsys):
    exec(EXAMPLE, {"np": np, **vars(wmlib.scratch)})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Original dim: 64 -> Latent dim: 8"
    assert lines[1].startswith("Latent mean: [")
    assert 0 < float(lines[2].removeprefix("ELBO loss: ")) < 1


def test_the_articles_lines_of_the_dream_run():
    names = {
        "np": np,
        **vars(wmlib.scratch),
        "V": VisionModel(64, 8),
        "M": MemoryModel(),
        "C": Controller(),
        "controller": Controller(),
        "params": np.ones(Controller().get_params().size),
        "real_obs_buffer": list(np.random.default_rng(0).random((5, 64))),
        "start_obs": np.full(64, 0.5),
        "temperature": 1.2,
        "total_reward": 0,
        "n_gens": 1,
        "evaluate": lambda p: -np.sum(p**2),
    }
    exec(STEPS, names)
    assert names["z"].shape == (8,)
    assert names["pi"].shape == (3,)
    assert names["mu"].shape == names["sigma"].shape == (3, 8)
    assert names["total_reward"] < 0
    assert f"{names['reward']:.1f}".startswith("-")


@pytest.mark.parametrize(
    ("thing", "parameters"),
    [
        (VisionModel, "obs_dim, latent_dim=32, hidden_dim=64"),
        (VisionModel.encode, "self, x"),
        (VisionModel.decode, "self, z"),
        (VisionModel.forward, "self, x"),
        (vae_loss, "x, x_hat, mu, logvar"),
        (MemoryModel, "z_dim=8, a_dim=2, h_dim=64, n_mix=3"),
        (MemoryModel.lstm_step, "self, x, h, c"),
        (MemoryModel.predict, "self, z_t, a_t, h, c"),
        (MemoryModel.sample_next, "self, pi, mu, sigma, temperature=1.0"),
        (Controller, "z_dim=8, h_dim=64, a_dim=2"),
        (Controller.act, "self, z, h"),
        (Controller.get_params, "self"),
        (Controller.set_params, "self, p"),
        (cma_es, "evaluate_fn, n_params, generations=50, pop=32, sigma=0.5"),
        (wmlib.scratch.dream_reward, "z"),
        (dream_episode, "V, M, C, start_obs, horizon=50, temperature=1.0"),
        (train_in_dream, "V, M, controller, real_obs_buffer, n_gens=50"),
    ],
)
def test_signatures_are_the_articles(thing, parameters):
    mine = [
        p.name if p.default is p.empty else f"{p.name}={p.default}"
        for p in inspect.signature(thing).parameters.values()
        if p.kind is not p.KEYWORD_ONLY
    ]
    assert ", ".join(mine) == parameters


def test_weights_have_the_articles_names_shapes_and_scales():
    V, M, C = VisionModel(64, 8, seed=0), MemoryModel(seed=0), Controller()
    for model, name, shape, scale in [
        (V, "W1", (64, 64), 0.1),
        (V, "W_mu", (64, 8), 0.1),
        (V, "W_logvar", (64, 8), 0.1),
        (V, "W3", (8, 64), 0.1),
        (V, "W4", (64, 64), 0.1),
        (M, "Wf", (74, 64), 0.05),
        (M, "Wi", (74, 64), 0.05),
        (M, "Wo", (74, 64), 0.05),
        (M, "Wc", (74, 64), 0.05),
        (M, "W_mdn", (64, 51), 0.05),
    ]:
        weights = getattr(model, name)
        assert weights.shape == shape
        assert weights.std() == pytest.approx(scale, rel=0.1)
    assert C.W.shape == (2, 72) and not C.W.any()
    assert C.b.shape == (2,) and not C.b.any()


def test_the_global_random_state_is_left_alone():
    np.random.seed(123)  # noqa: NPY002 - the state to be left alone
    before = np.random.get_state()  # noqa: NPY002
    V, M, C = VisionModel(9, 3, 5), MemoryModel(3, 2, 6), Controller(3, 6, 2)
    obs = np.full((4, 9), 0.5)
    V.forward(obs)
    dream_episode(V, M, C, obs, horizon=2)
    train_vision(V, obs, steps=2)
    train_memory(M, np.zeros((2, 4, 3)), np.zeros((2, 3, 2)), steps=2, length=1)
    cma_es(lambda x: x[0], 2, generations=1, verbose=False)
    train_in_dream(V, M, C, obs, 1, horizon=2, verbose=False)
    after = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(b, a) for b, a in zip(before, after, strict=True))


def test_import_needs_no_torch():
    code = "import sys, wmlib.scratch; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or "torch was imported"


def test_lines_fit_a_notebook_cell():
    for file in Path(wmlib.scratch.__file__).parent.glob("*.py"):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            assert len(line) <= 79, f"{file.name}:{number}"
