"""V, M and C at the wheel."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from wmlib import evaluation
from wmlib.agents.world_models.agent import WorldModelPolicy
from wmlib.agents.world_models.controller import ControllerConfig, LinearController
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig
from wmlib.agents.world_models.recipes import OFFICIAL_ID
from wmlib.agents.world_models.vision import VAE, VisionConfig
from wmlib.collecting import collect
from wmlib.episodes import Episode
from wmlib.evaluation import Score, evaluate, interquartile_mean
from wmlib.exploration import SmoothRandomPolicy
from wmlib.training import seeded

SPACE = Box(np.float32([-1, 0, 0]), np.float32([1, 1, 1]))


def parts(hidden: int = 5) -> tuple[VAE, MDNRNN, LinearController]:
    vision = seeded(0, lambda: VAE(VisionConfig(latent=4, channels=(2, 2, 4, 4))))
    memory = seeded(1, lambda: MDNRNN(MemoryConfig(latent=4, hidden=5, mixtures=2)))
    shape = ControllerConfig(4, hidden)
    numbers = np.random.default_rng(2).normal(size=shape.parameters)
    return vision.eval(), memory, LinearController(numbers, shape)


def frames(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(n, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("hidden", [0, 5])
def test_the_policy_is_the_loop_of_the_paper(hidden: int) -> None:
    vision, memory, c = parts(hidden)
    policy = WorldModelPolicy(vision, memory, c)
    for _ in range(2):  # reset forgets what was before
        policy.reset(np.random.default_rng(0))
        state = memory.initial(1)
        with torch.no_grad():
            for frame in frames(6):
                z = torch.from_numpy(vision.encode(frame)[0])[None]  # (1, Z)
                seen = torch.cat([z, state.hidden], 1) if hidden else z
                action = c.act(seen[None])[0]
                state = memory.step(z, action, state)
                assert np.allclose(policy.act(frame), action[0], atol=1e-5)


def test_noise_is_smooth_stays_in_range_and_follows_the_generator() -> None:
    vision, memory, _ = parts()
    still = LinearController(np.zeros(ControllerConfig(4, 5).parameters), ControllerConfig(4, 5))
    policy = WorldModelPolicy(vision, memory, still, noise=0.2)
    runs, levels = [], []
    for seed in (0, 0, 1, *range(2, 200)):
        policy.reset(np.random.default_rng(seed))
        levels.append(policy._level)
    assert np.quantile(levels, [0.01, 0.5, 0.99]) == pytest.approx([0, 0.1, 0.2], abs=0.02)
    for seed in (0, 0, 1):
        policy.reset(np.random.default_rng(seed))
        runs.append(np.array([policy.act(frame) for frame in frames(1).repeat(300, 0)]))
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])
    assert all(SPACE.contains(action) for action in runs[0])
    steering = runs[0][:, 0]
    assert steering.std() == pytest.approx(levels[0], rel=0.4)
    assert np.corrcoef(steering[1:], steering[:-1])[0, 1] == pytest.approx(0.9, abs=0.1)


def test_the_number_of_threads_is_left_as_it_was() -> None:
    policy, before = WorldModelPolicy(*parts()), torch.get_num_threads()
    policy.reset(np.random.default_rng(0))
    try:
        torch.set_num_threads(3)
        policy.act(frames(1)[0])
        with pytest.raises(ValueError, match="frames must be an array of shape"):
            policy.act(frames(1)[0, :60])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_parts_that_do_not_fit_are_refused() -> None:
    vision, memory, c = parts()
    with pytest.raises(
        ValueError, match=r"latents and actions of C must be \(4, 3\), got \(3, 3\)"
    ):
        WorldModelPolicy(vision, memory, LinearController(np.zeros(27), ControllerConfig(3, 5)))
    two = LinearController(c.parameters.expand(2, -1), c.config)
    with pytest.raises(ValueError, match="controllers that drive must be 1, got 2"):
        WorldModelPolicy(vision, memory, two)
    pair = ControllerConfig(4, 5, ("tanh", "tanh"))
    with pytest.raises(ValueError, match=r"actions of C must be \(4, 3\), got \(4, 2\)"):
        WorldModelPolicy(vision, memory, LinearController(np.zeros(20), pair))
    for noise in (-0.1, float("nan"), "0.1", None):
        with pytest.raises(
            ValueError, match=f"noise must be a number(, at least 0)?, got {noise!r}"
        ):
            WorldModelPolicy(vision, memory, c, noise)
    whole = {"vision": vision, "memory": memory, "controller": c}
    for name in whole:
        with pytest.raises(TypeError, match=f"{name} must be an? .*, got None"):
            WorldModelPolicy(**{**whole, name: None})


def test_driving_is_the_same_for_any_number_of_workers() -> None:
    policy = WorldModelPolicy(*parts(), noise=0.1)
    one, two = (
        collect(
            policy, "wmlib/CarRacing-v3", episodes=2, seed=3, max_steps=8, n_jobs=n, progress=False,
            env_kwargs={"action_repeat": 4},
        )
        for n in (1, 2)
    )  # fmt: skip
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.actions, b.actions)
        assert np.array_equal(a.observations, b.observations)


def test_a_score_and_its_interval() -> None:
    rng = np.random.default_rng(0)
    returns = tuple(rng.normal(100, 20, 50).tolist())
    score = Score("CarRacing-v3", returns, tuple(range(50)))
    assert score.mean == pytest.approx(np.mean(returns))
    assert score.sd == pytest.approx(np.std(returns, ddof=1))
    low, high = score.interval()
    half = 1.96 * score.sd / np.sqrt(50)
    assert low == pytest.approx(score.mean - half, abs=0.15 * half)
    assert high == pytest.approx(score.mean + half, abs=0.15 * half)
    wide = score.interval(0.99)
    assert wide[0] < low < high < wide[1]
    assert score.as_dict()["interval95"] == (low, high)
    middle = sorted(returns)[12:38]
    assert score.iqm == pytest.approx(np.mean(middle))
    assert Score("CarRacing-v3", (-90.0, 1.0, 3.0, 900.0), (0, 1, 2, 3)).iqm == 2.0
    for level, draws in ((95, 10), (0.95, 0), (float("nan"), 10), ("x", 10)):
        with pytest.raises(ValueError, match=r"(level|draws) must be"):
            score.interval(level, draws)
    with pytest.raises(ValueError, match=r"numbers must be .* \(N,\), got .* \(0,\)"):
        interquartile_mean(np.array([]))
    alone = Score("CarRacing-v3", (3.0,), (0,))
    assert (alone.sd, alone.interval()) == (0.0, (3.0, 3.0))


def test_evaluate_scores_whole_episodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = {}

    def fake(policy: object, env_id: str, **options: object) -> list[Episode]:
        asked.update(options, env_id=env_id)
        arrays = frames(3), np.zeros((2, 3), np.float32), np.float32([1, 2])
        return [Episode(*arrays, False, True, 7), Episode(*arrays, True, False, 8)]

    monkeypatch.setattr(evaluation, "collect", fake)
    policy, kwargs = WorldModelPolicy(*parts()), {"action_repeat": 2}
    score = evaluate(policy, OFFICIAL_ID, episodes=2, seed=7, env_kwargs=kwargs)
    assert score == Score(OFFICIAL_ID, (3.0, 3.0), (7, 8))
    assert asked["env_id"] == "wmlib/OfficialCarRacing-v3"
    assert asked["env_kwargs"] == {"action_repeat": 2}
    assert asked.get("max_steps") is None
    assert asked.get("patience") is None
    assert asked["time_limit"] is None
    evaluate(policy, OFFICIAL_ID, episodes=2, seed=7, time_limit=60.0)
    assert asked["time_limit"] == 60.0
    monkeypatch.undo()
    with pytest.raises(TypeError, match="policy must be a Policy with reset and act, got"):
        evaluate(None, OFFICIAL_ID, episodes=1, seed=0)
    with pytest.raises(ValueError, match="episodes must be at least 1, got 0"):
        evaluate(policy, OFFICIAL_ID, episodes=0, seed=0)
    with pytest.raises(ValueError, match="unknown environment 'wmlib/Nowhere-v0'"):
        evaluate(policy, "wmlib/Nowhere-v0", episodes=1, seed=0)


@pytest.mark.slow
def test_random_driving_scores_below_zero() -> None:
    kwargs = {"action_repeat": 3}
    score = evaluate(
        SmoothRandomPolicy(SPACE), OFFICIAL_ID, episodes=1, seed=0, env_kwargs=kwargs,
        progress=False,
    )  # fmt: skip
    assert -110 < score.mean < 100
