"""Dreams: batched, seeded, equal to the article's loop, and of use to a controller."""

import numpy as np
import pytest

from wmlib.scratch import (
    Controller,
    MemoryModel,
    VisionModel,
    dream_episode,
    dream_reward,
    train_in_dream,
    train_memory,
)


def world(n_mix=1, seed=0):
    V = VisionModel(9, 3, 5, seed=seed)
    M = MemoryModel(3, 2, 6, n_mix, mdn_scale=0.5, seed=seed)
    C = Controller(3, 6, 2)
    C.set_params(np.random.default_rng(seed).standard_normal(20))
    return V, M, C


def test_reward_is_minus_the_squared_norm_of_each_z():
    z = np.random.default_rng(0).standard_normal((2, 4, 3))
    np.testing.assert_allclose(dream_reward(z), -(np.linalg.norm(z, axis=-1) ** 2))
    assert f"{dream_reward(z[0, 0]):.3f}"  # one z gives a plain number


def test_batch_equals_loop():
    """With one component and hardly any noise, the dream is the same however it is drawn."""
    V, M, C = world()
    obs = np.random.default_rng(1).random((2, 4, 9))
    returns = dream_episode(V, M, C, obs, horizon=10, temperature=1e-24)
    assert returns.shape == (2, 4)
    for i in range(2):
        for j in range(4):
            one = dream_episode(V, M, C, obs[i, j], horizon=10, temperature=1e-24)
            assert np.shape(one) == ()
            assert one == pytest.approx(returns[i, j], rel=1e-9)


def test_batch_and_loop_have_the_same_distribution():
    V, M, C = world(n_mix=3)
    obs, n = np.full(9, 0.5), 3000
    batch = dream_episode(V, M, C, np.tile(obs, (n, 1)), horizon=3)
    loop = np.array([dream_episode(V, M, C, obs, horizon=3) for _ in range(n)])
    error = np.hypot(batch.std(), loop.std()) / np.sqrt(n)
    assert abs(batch.mean() - loop.mean()) < 4 * error
    assert batch.std() == pytest.approx(loop.std(), rel=0.25)


def test_return_is_the_sum_of_rewards_along_the_dream():
    V, M, C = world(n_mix=3)
    obs, seen = np.full((5, 9), 0.5), []

    def reward(z):
        seen.append(z)
        return z[:, 0]

    returns = dream_episode(V, M, C, obs, horizon=7, reward_fn=reward)
    assert np.shape(seen) == (7, 5, 3)
    np.testing.assert_allclose(returns, np.sum(seen, axis=0)[:, 0])


def test_same_generator_same_dream():
    V, M, C = world(n_mix=3)
    obs = np.full((4, 9), 0.5)
    a, b, other = (dream_episode(V, M, C, obs, rng=np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, other)


def test_same_seed_same_controller():
    V, M, _ = world(n_mix=3)
    buffer = np.random.default_rng(0).random((6, 9))
    a, b, other = (
        train_in_dream(
            V, M, Controller(3, 6, 2), buffer, 2, horizon=3, seed=s, verbose=False
        ).get_params()
        for s in (1, 1, 2)
    )
    assert np.array_equal(a, b)
    assert not np.array_equal(a, other)


def test_takes_a_plain_list_as_the_article_does_and_prints(capsys):
    V, M, C = world()
    assert train_in_dream(V, M, C, [np.full(9, 0.5)], n_gens=1, horizon=2) is C
    assert capsys.readouterr().out.startswith("Gen 0: best=")


def test_a_controller_trained_in_the_dream_does_better_in_the_world():
    """A point pushed about by its action, z' = 0.9 z + 0.5 a + noise. M learns it from random
    actions; C, trained only in M's dream to reach z = 1, then reaches it in the world."""
    rng = np.random.default_rng(0)

    def move(z, a):
        return 0.9 * z + 0.5 * a + 0.05 * rng.standard_normal(z.shape)

    z, a = [rng.uniform(-2, 2, size=(200, 1))], rng.uniform(-1, 1, size=(200, 20, 1))
    for t in range(20):
        z.append(move(z[-1], a[:, t]))
    M = MemoryModel(1, 1, 16, 1, mdn_scale=0.5, seed=0)
    train_memory(M, np.stack(z, axis=1), a, steps=800, seed=0)

    class Seen:
        """V for a world that shows its state as it is."""

        obs_dim = 1

        def encode(self, x):
            return np.asarray(x), np.zeros_like(x)

    C = train_in_dream(
        Seen(),
        M,
        Controller(1, 16, 1),
        z[0],
        15,
        horizon=15,
        temperature=1.0,
        starts=4,
        reward_fn=lambda z: -((z[..., 0] - 1) ** 2),
        seed=0,
        verbose=False,
    )

    def distance(controller):
        state, h, c = np.zeros((100, 1)), np.zeros((100, 16)), np.zeros((100, 16))
        for _ in range(15):
            action = controller.act(state, h)
            *_, h, c = M.predict(state, action, h, c)
            state = move(state, action)
        return np.abs(state - 1).mean()

    assert distance(C) < 0.35 * distance(Controller(1, 16, 1))


def test_bad_input_is_named():
    V, M, C = world()
    obs = np.full((2, 9), 0.5)
    nan = np.full(9, np.nan)
    for call, words in [
        (lambda: dream_episode(V, M, C, obs, horizon=0), "horizon must be at least 1, got 0"),
        (lambda: dream_episode(V, M, C, obs, horizon=2.5), "horizon"),
        (lambda: dream_episode(V, M, C, obs, temperature=0), "temperature"),
        (lambda: dream_episode(V, M, C, obs[:, 1:]), "start_obs must have shape"),
        (lambda: dream_episode(V, M, C, nan), "start_obs must be finite"),
        (lambda: dream_episode(V, M, C, obs, temperature=1e300), r"temperature .*, got 1e\+300"),
        (lambda: dream_episode(V, M, C, obs, temperature="1"), "temperature .* got '1'"),
        (lambda: dream_episode(V, M, C, obs, reward_fn=3), "reward_fn must be a function, got 3"),
        (lambda: dream_episode(V, M, 3, obs), "C must be a Controller with act, got 3"),
        (
            lambda: dream_episode("V", M, C, obs),
            "V must be a VisionModel with encode and obs_dim, got 'V'",
        ),
        (lambda: train_in_dream(V, M, C, obs, seed="x"), "seed .* got 'x'"),
        (lambda: dream_episode(V, MemoryModel(4, 2, 6), C, obs), "z_t must have shape"),
        (lambda: dream_episode(V, M, Controller(), obs), "z must have shape"),
        (
            lambda: dream_episode(V, M, C, obs, reward_fn=lambda z: -np.sum(z**2)),
            r"reward_fn\(z\) must have shape \(2,\), got \(\)",
        ),
        (lambda: train_in_dream(V, M, C, []), "real_obs_buffer must hold an observation"),
        (lambda: train_in_dream(V, M, C, obs[:0]), "real_obs_buffer must hold an observation"),
        (lambda: train_in_dream(V, M, C, [nan]), "real_obs_buffer must be finite"),
        (lambda: train_in_dream(V, M, C, obs, 0), "n_gens must be at least 1, got 0"),
        (lambda: train_in_dream(V, M, C, obs, pop=1), "pop"),
        (lambda: train_in_dream(V, M, C, obs, starts=0), "starts"),
        (lambda: train_in_dream(V, M, C, obs, horizon=0), "horizon"),
        (lambda: train_in_dream(V, M, C, obs, temperature=-1), "temperature"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
