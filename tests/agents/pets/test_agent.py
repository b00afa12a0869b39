"""PETS, against slow loops, closed forms and Gymnasium's own rewards."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from wmlib.agents.pets.agent import (
    Interrupted,
    PETSConfig,
    Trained,
    pendulum_reward,
    train_pets,
    transitions,
)
from wmlib.agents.pets.ensemble import Ensemble, EnsembleConfig, Prediction
from wmlib.agents.pets.particles import expected_returns, propagate
from wmlib.episodes import run_episode
from wmlib.planning import CEMConfig, UniformPolicy
from wmlib.replay import Replay
from wmlib.runs import sole_owner
from wmlib.training import seeded


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# The particles


class Switching:
    """Stands in for an ensemble: member e says s' = gain_e s + a + N(0, sd_e^2)."""

    def __init__(self, gains: list[float], sds: list[float] | None) -> None:
        self.config = SimpleNamespace(members=len(gains), probabilistic=sds is not None)
        self.gains, self.sds = torch.tensor(gains)[:, None, None], sds

    def __call__(self, observations: Tensor, actions: Tensor) -> Prediction:
        mean = self.gains * observations + actions  # (E, B, 1)
        if self.sds is None:
            return Prediction(mean, None)
        return Prediction(mean, 2 * torch.tensor(self.sds)[:, None, None].log().expand_as(mean))


PLANS = torch.tensor([[0.5, -1.0, 0.3, 0.0, 0.2], [0.0, 0.0, 1.0, -0.5, 0.1]])[..., None]


def run(model: object, propagation: str, particles: int, plans: Tensor = PLANS) -> Tensor:
    """(T, N, P, O) what comes next at each step, from the observation 1."""
    steps = propagate(model, torch.ones(1), plans, propagation, particles, noise())
    return torch.stack([step.following for step in steps])


def linear(gain: float, sd: float, plan: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Closed form: mean and variance (T,) of s' = gain s + a + N(0, sd^2) from s = 1."""
    mean, var, means, variances = 1.0, 0.0, [], []
    for action in plan[:, 0].tolist():
        mean, var = gain * mean + action, gain**2 * var + sd**2
        means.append(mean)
        variances.append(var)
    return np.array(means), np.array(variances)


@pytest.mark.parametrize("propagation", ["TS1", "TSinf"])
def test_one_linear_gaussian_model_has_a_closed_form(propagation: str) -> None:
    ran = run(Switching([0.9], [0.3]), propagation, 40_000)[..., 0].numpy()  # (T, N, P)
    for p in range(2):
        mean, var = linear(0.9, 0.3, PLANS[p])
        np.testing.assert_allclose(ran[:, :, p].mean(1), mean, atol=5 * (var.max() / 4e4) ** 0.5)
        np.testing.assert_allclose(ran[:, :, p].var(1), var, rtol=0.04)


def test_particles_of_tsinf_stay_with_their_member_and_are_a_mixture() -> None:
    gains, sds = [0.5, 1.2], [0.1, 0.3]
    ran = run(Switching(gains, sds), "TSinf", 40_000)[..., 0].numpy()
    for p in range(2):
        for e in range(2):
            own = ran[:, 20_000 * e : 20_000 * (e + 1), p]
            mean, var = linear(gains[e], sds[e], PLANS[p])
            np.testing.assert_allclose(own.mean(1), mean, atol=0.02)
            np.testing.assert_allclose(own.var(1), var, rtol=0.05)


def test_particles_of_ts1_change_members_and_have_another_closed_form() -> None:
    gains, sds = np.array([0.5, 1.2]), np.array([0.1, 0.3])
    ran = run(Switching(gains.tolist(), sds.tolist()), "TS1", 40_000)[..., 0].numpy()
    for p in range(2):
        mean, second = 1.0, 1.0  # E[s], E[s^2]
        for t, action in enumerate(PLANS[p, :, 0].tolist()):
            second = (
                (gains**2).mean() * second
                + 2 * gains.mean() * mean * action
                + action**2
                + (sds**2).mean()
            )
            mean = gains.mean() * mean + action
            assert ran[t, :, p].mean() == pytest.approx(mean, abs=0.03)
            assert ran[t, :, p].var() == pytest.approx(second - mean**2, rel=0.06)


def test_ts1_deals_as_many_particles_to_each_member_at_every_step() -> None:
    class Named:  # member e adds e
        config = SimpleNamespace(members=3, probabilistic=False)

        def __call__(self, observations: Tensor, actions: Tensor) -> Prediction:
            return Prediction(observations + torch.arange(3.0)[:, None, None], None)

    ran = run(Named(), "TS1", 12, torch.zeros(4, 60, 1))[..., 0]  # (T, N, P)
    taken = torch.diff(ran, dim=0, prepend=torch.ones(1, 12, 4)).long()
    assert (torch.stack([(taken == e).sum(1) for e in range(3)]) == 4).all()
    assert stats.chisquare(np.bincount(taken[:, 0, 0], minlength=3)).pvalue > 1e-3
    together = (taken[:, 0] == taken[:, 1]).float().mean()  # 3 of the other 11 fit
    assert together.item() == pytest.approx(3 / 11, abs=0.15)
    stays = run(Named(), "TSinf", 12, torch.zeros(4, 60, 1))[..., 0]
    assert stays.shape == (60, 3, 4)  # without noise a particle a member says it all
    assert torch.equal(stays[-1, :, 0], 1 + 60 * torch.arange(3.0))


def test_expectation_follows_the_mean_of_the_means_without_noise() -> None:
    ran = run(Switching([0.5, 1.2], [0.1, 0.3]), "E", 20)[..., 0]
    assert ran.shape == (5, 1, 2)
    for p in range(2):
        np.testing.assert_allclose(ran[:, 0, p], linear(0.85, 0, PLANS[p])[0], rtol=1e-5)


@pytest.mark.parametrize("propagation", ["TS1", "TSinf"])
def test_particles_against_a_slow_loop(propagation: str) -> None:
    """One particle of one plan at a time, in a real ensemble."""
    rng = np.random.default_rng(0)
    config = EnsembleConfig(members=2, layers=2, units=7, epochs=2)
    ensemble = seeded(0, lambda: Ensemble(3, 2, config))
    ensemble.learn(*(rng.normal(size=(30, n)).astype(np.float32) for n in (3, 2, 3)), seed=0)
    plans = torch.from_numpy(rng.normal(size=(5, 3, 2))).float()  # (P, T, A)
    start, n = torch.tensor([0.1, -0.2, 0.3]), 6
    with torch.no_grad():
        steps = list(propagate(ensemble, start, plans, propagation, n, noise(3)))
    again = noise(3)
    now = start.expand(n, 5, 3).clone()  # (N, P, O)
    for t, step in enumerate(steps):
        torch.testing.assert_close(step.observations, now)
        deal = torch.randperm(n, generator=again) if propagation == "TS1" else torch.arange(n)
        drawn = torch.randn(2, n // 2 * 5, 3, generator=again).view(n, 5, 3)
        following = torch.empty_like(now)
        for place in range(n):
            member, particle = place // 3, deal[place]
            for p in range(5):
                with torch.no_grad():
                    mean, logvar = ensemble(now[particle, p][None], plans[p, t][None])
                sd = (logvar[member, 0] / 2).exp()
                following[particle, p] = mean[member, 0] + sd * drawn[place, p]
        torch.testing.assert_close(step.following, following, rtol=1e-4, atol=1e-5)
        assert torch.equal(step.actions, plans[:, t].expand(n, 5, 2))
        now = following
    assert len(steps) == 3


def test_a_learnt_model_predicts_the_mean_and_variance_of_a_linear_gaussian_world() -> None:
    """s' = 0.8 s + a + N(0, 0.2^2), learnt, and then five steps on its own."""
    rng = np.random.default_rng(0)
    s, a = (rng.uniform(-2, 2, (1000, 1)).astype(np.float32) for _ in range(2))
    after = (0.8 * s + a + 0.2 * rng.normal(size=s.shape)).astype(np.float32)
    config = EnsembleConfig(members=3, layers=1, units=32, epochs=20, learning_rate=4e-3)
    ensemble = seeded(0, lambda: Ensemble(1, 1, config))
    ensemble.learn(s, a, after, seed=0)
    with torch.no_grad():
        ran = run(ensemble, "TSinf", 6000)[..., 0].numpy()  # (T, N, P)
    for p in range(2):
        mean, var = linear(0.8, 0.2, PLANS[p])
        np.testing.assert_allclose(ran[:, :, p].mean(1), mean, atol=0.1)
        np.testing.assert_allclose(ran[:, :, p].var(1), var, rtol=0.35)


def test_a_plan_is_worth_the_mean_over_particles_of_its_summed_rewards() -> None:
    model = Switching([0.5, 1.2], None)

    def reward(observations: Tensor, actions: Tensor, following: Tensor) -> Tensor:
        return (observations + 10 * actions + 100 * following)[..., 0]

    worth = expected_returns(model, reward, torch.ones(1), PLANS, "TSinf", 4, noise())
    for p in range(2):
        total = 0.0
        for gain in (0.5, 1.2):
            now = 1.0
            for action in PLANS[p, :, 0].tolist():
                following = gain * now + action
                total, now = total + now + 10 * action + 100 * following, following
        assert worth[p].item() == pytest.approx(total / 2, rel=1e-5)


# The agent


def test_the_rewards_of_pendulum_are_gymnasiums() -> None:
    env = gym.make("Pendulum-v1")
    episode = run_episode(env, UniformPolicy(env.action_space), seed=3)
    before, actions, after = (torch.from_numpy(array) for array in transitions([episode]))
    rewards = pendulum_reward(before, actions, after)
    np.testing.assert_allclose(rewards, episode.rewards, rtol=1e-3, atol=1e-3)
    shrunk = before * torch.tensor([0.7, 0.7, 1.0])  # as a model may predict them
    torch.testing.assert_close(pendulum_reward(shrunk, actions, after), rewards)
    assert episode.actions.min() < -1.9
    assert episode.actions.max() > 1.9


class Cart(gym.Env):
    """s' = s + 0.5 a + noise from s near 2; the reward is -s'^2; it never ends by itself."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gym.spaces.Box(-1.0, 1.0, (1,))
    broken = False

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple:
        super().reset(seed=seed)
        self.s = self.np_random.uniform(1.5, 2.5, 1).astype(np.float32)
        return self.s, {}

    def step(self, action: np.ndarray) -> tuple:
        noise = 0.02 * self.np_random.normal(size=1)
        self.s = (self.s + 0.5 * action + noise).astype(np.float32)
        if self.broken:
            self.s = self.s * np.nan
        return self.s, float(-(self.s[0] ** 2)), False, False, {}


def minus_square(observations: Tensor, actions: Tensor, following: Tensor) -> Tensor:
    return -following[..., 0].square()


TINY = PETSConfig(
    particles=4,
    ensemble=EnsembleConfig(members=2, layers=1, units=16, epochs=60, learning_rate=3e-3),
    cem=CEMConfig(horizon=6, population=60, iterations=3),
)


@pytest.mark.parametrize("variant", ["D", "P", "DE", "PE"])
def test_it_learns_to_act_in_a_few_trials(variant: str) -> None:
    config = TINY.variant(variant)
    trained = train_pets(Cart(), minus_square, config, trials=3, seed=4, max_steps=25,
                         progress=False)  # fmt: skip
    assert [episode.seed for episode in trained.episodes] == [4000, 4001, 4002]
    assert [len(history["total"]) for history in trained.losses] == [60, 120]
    assert trained.returns == [episode.total_reward for episode in trained.episodes]
    start = float(trained.episodes[-1].observations[0, 0])
    best = -sum(max(start - 0.5 * t, 0) ** 2 for t in range(1, 26))
    assert abs(trained.returns[-1] - best) < 3
    assert trained.returns[0] < best - 10
    assert trained.ensemble.config.members == (2 if variant.endswith("E") else 1)


def test_the_seed_decides() -> None:
    config = replace(TINY, ensemble=replace(TINY.ensemble, epochs=3), propagation="TS1")
    first, again, other = (
        train_pets(Cart(), minus_square, config, trials=2, seed=s, max_steps=5, progress=False)
        for s in (0, 0, 1)
    )
    assert first.returns == again.returns
    assert first.returns != other.returns
    assert first.losses == again.losses


def test_any_environment_of_boxes_will_do() -> None:
    config = replace(TINY, ensemble=replace(TINY.ensemble, epochs=2), propagation="E")
    trained = train_pets(
        gym.make("MountainCarContinuous-v0"), lambda s, a, n: n[..., 0] - 0.1 * a[..., 0] ** 2,
        config, trials=2, max_steps=8, progress=False,
    )  # fmt: skip
    assert [len(episode) for episode in trained.episodes] == [8, 8]


def test_the_variants_are_those_of_the_paper() -> None:
    config = PETSConfig()
    kinds = {name: config.variant(name).ensemble for name in ("D", "P", "DE", "PE")}
    assert {name: (c.members, c.probabilistic) for name, c in kinds.items()} == {
        "D": (1, False), "P": (1, True), "DE": (5, False), "PE": (5, True),
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"name must be 'D' or .*, got 'EP'"):
        config.variant("EP")


# What is refused


def test_unknown_propagations_and_odd_particles_are_refused() -> None:
    with pytest.raises(ValueError, match="propagation must be 'TS1' or 'TSinf' or 'E', got 'DS'"):
        PETSConfig(propagation="DS")
    with pytest.raises(ValueError, match="particles must be a multiple of 5 members, got 12"):
        PETSConfig(particles=12)
    with pytest.raises(ValueError, match="particles must be a multiple of 2 members, got 3"):
        run(Switching([1.0, 1.0], None), "TS1", 3)


@pytest.mark.parametrize(
    ("name", "space", "message"),
    [
        (
            "action_space",
            gym.spaces.Discrete(2),
            r"actions must be in a bounded Box .*, got Discrete\(2\)",
        ),
        (
            "observation_space",
            gym.spaces.Discrete(2),
            r"observations must be a Box of numbers, of 1 axis, got Discrete\(2\)",
        ),
        ("observation_space", gym.spaces.Box(0, 1, (2, 2)), r"of 1 axis, got Box\(0.0, 1.0, "),
    ],
)
def test_spaces_that_cannot_be_planned_in_are_refused(
    name: str, space: gym.Space, message: str
) -> None:
    env = Cart()
    setattr(env, name, space)
    with pytest.raises(ValueError, match=message):
        train_pets(env, minus_square, TINY, progress=False)


@pytest.mark.parametrize(
    ("reward", "found"),
    [(lambda s, a, n: n, r".* \(2, 3, 1\)"), (lambda s, a, n: n.sum(), r".* \(\)"),
     (lambda s, a, n: 1.0, "1.0")],
)  # fmt: skip
def test_a_reward_of_the_wrong_shape_is_refused_before_anything_is_driven(
    reward: object, found: str
) -> None:
    with pytest.raises(
        ValueError,
        match=rf"reward function returns must be a Tensor of shape \(2, 3\), got {found}",
    ):
        train_pets(Cart(), reward, TINY, progress=False)


class Breaking(Cart):
    """Says `value` for its reward or its observation at the fourth step of its second trial."""

    def __init__(self, what: str, value: object) -> None:
        self.what, self.value, self.trials = what, value, 0

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple:
        self.trials, self.taken = self.trials + 1, 0
        return super().reset(seed=seed)

    def step(self, action: np.ndarray) -> tuple:
        observation, reward, *rest = super().step(action)
        self.taken += 1
        if (self.trials, self.taken) == (2, 4):
            if self.what == "reward":
                reward = self.value
            else:
                observation = np.float32([self.value])
        return observation, reward, *rest


QUICK = replace(TINY, ensemble=replace(TINY.ensemble, epochs=2))


@pytest.mark.parametrize("what", ["observation", "reward"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_by_its_step(what: str, value: float) -> None:
    words = rf"^trial 1, step 4: the environment's {what} must be finite, got .*{value}"
    with pytest.raises(ValueError, match=words):
        train_pets(Breaking(what, value), minus_square, QUICK, trials=3, max_steps=6,
                   progress=False)  # fmt: skip


@pytest.mark.parametrize("value", [None, "much", np.ones(2)])
def test_a_reward_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^trial 1, step 4: the environment's reward must be"):
        train_pets(Breaking("reward", value), minus_square, QUICK, trials=3, max_steps=6,
                   progress=False)  # fmt: skip


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_reward_function_that_is_never_finite_is_refused_at_the_first_trial(value: float) -> None:
    words = rf"^trial 0, step 0: the reward function must return finite numbers, got {value} for"
    with pytest.raises(ValueError, match=words):
        train_pets(Cart(), lambda s, a, n: 0 * n[..., 0] + value, QUICK, trials=2, max_steps=4,
                   progress=False)  # fmt: skip


def test_plans_of_which_none_is_worth_a_number_are_refused_by_their_step() -> None:
    """The function is finite on what was met, and not where plans lead."""
    seen = iter([True] * 2)  # its shape, and the first trial

    def reward(s: Tensor, a: Tensor, n: Tensor) -> Tensor:
        return n[..., 0] * (0.0 if next(seen, False) else torch.nan)

    words = r"^planning step 0: none of 60 plans is worth a finite number, got nan"
    with pytest.raises(ValueError, match=words):
        train_pets(Cart(), reward, QUICK, trials=2, max_steps=4, progress=False)


@pytest.mark.parametrize("during", ["acting", "learning"])
def test_an_interruption_keeps_the_whole_trials(
    during: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it holds is what an undisturbed run of so many trials returns."""
    options = {"seed": 2, "max_steps": 5, "progress": False}
    undisturbed = train_pets(Cart(), minus_square, QUICK, trials=2, **options)
    if during == "acting":
        env: gym.Env = Interrupting()
    else:
        env, calls = Cart(), iter(range(100))

        def stopped(ensemble: Ensemble, *data: Tensor) -> dict[str, Tensor]:
            if next(calls) == 2 + 1:  # two updates make a learning: this is within the second
                raise KeyboardInterrupt
            return loss(ensemble, *data)

        loss = Ensemble.loss
        monkeypatch.setattr(Ensemble, "loss", stopped)
    with pytest.raises(Interrupted, match="after 2 of 4 trials, which are kept") as caught:
        train_pets(env, minus_square, QUICK, trials=4, **options)
    kept = caught.value.trained
    assert isinstance(caught.value, KeyboardInterrupt)
    assert kept.returns == undisturbed.returns
    assert kept.losses == undisturbed.losses
    for ours, theirs in zip(kept.ensemble.state_dict().values(),
                            undisturbed.ensemble.state_dict().values(), strict=True):  # fmt: skip
        assert torch.equal(ours, theirs)
    kept.planner.reset(np.random.default_rng(0))  # and it can go on acting
    assert np.isfinite(kept.planner.act(np.zeros(1, np.float32))).all()


class Interrupting(Cart):
    """Ctrl-C in the middle of the third trial."""

    trials = 0

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple:
        self.trials, self.taken = self.trials + 1, 0
        return super().reset(seed=seed)

    def step(self, action: np.ndarray) -> tuple:
        self.taken += 1
        if (self.trials, self.taken) == (3, 3):
            raise KeyboardInterrupt
        return super().step(action)


def equal(ours: Trained, theirs: Trained) -> bool:
    """Whether two runs have the same episodes, losses and weights."""
    weights = zip(ours.ensemble.state_dict().values(), theirs.ensemble.state_dict().values(),
                  strict=True)  # fmt: skip
    return (
        Replay(ours.episodes).digest() == Replay(theirs.episodes).digest()
        and ours.losses == theirs.losses
        and all(torch.equal(a, b) for a, b in weights)
    )


@pytest.mark.parametrize("written", range(1, 7))
def test_a_killed_run_goes_on_and_ends_the_same(
    written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are, in turn: run.json, a trial, a model, a trial, a model, a trial."""
    options = {"trials": 3, "seed": 2, "max_steps": 5, "progress": False}
    undisturbed = train_pets(Cart(), minus_square, QUICK, **options)
    rename, calls = os.replace, iter(range(1, 100))

    def dies(*names: object) -> None:
        if next(calls) == written:
            raise SystemExit
        rename(*names)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dies)
        with pytest.raises(SystemExit):
            train_pets(Cart(), minus_square, QUICK, folder=tmp_path / "run", **options)
    resume = {"folder": tmp_path / "run", "resume": True, **options}
    assert equal(train_pets(Cart(), minus_square, QUICK, **resume), undisturbed)


def test_a_finished_run_is_opened_and_another_one_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    options = {"trials": 2, "seed": 2, "max_steps": 5, "progress": False, "folder": folder}
    first = train_pets(Cart(), minus_square, QUICK, **options)
    with pytest.raises(ValueError, match="holds this run already; go on with it by --resume"):
        train_pets(Cart(), minus_square, QUICK, **options)
    options["resume"] = True
    for changed in ({"seed": 3}, {"trials": 3}, {"max_steps": 6}):
        with pytest.raises(ValueError, match="run holds another run"):
            train_pets(Cart(), minus_square, QUICK, **options | changed)
    with sole_owner(folder), pytest.raises(BlockingIOError, match=f"process {os.getpid()} works"):
        train_pets(Cart(), minus_square, QUICK, **options)
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}
    monkeypatch.setattr(os, "access", lambda *_: False)  # as of a file system that is read-only
    assert equal(train_pets(Cart(), minus_square, QUICK, **options), first)
    assert before == {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


def test_an_interruption_of_the_first_trial_is_an_ordinary_one() -> None:
    env = Interrupting()
    env.trials = 2
    with pytest.raises(KeyboardInterrupt) as caught:
        train_pets(env, minus_square, QUICK, trials=2, max_steps=5, progress=False)
    assert not isinstance(caught.value, Interrupted)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"trials": 0}, "trials must be .*, got 0"),
        ({"trials": 2.5}, "trials must be .*, got 2.5"),
        ({"trials": "3"}, "trials must be .*, got '3'"),
        ({"seed": -1}, "seed must be .*, got -1"),
        ({"seed": 0.5}, "seed must be .*, got 0.5"),
        ({"max_steps": 0}, "max_steps must be .*, got 0"),
        (
            {"max_steps": np.nan},
            "max_steps must be .*, got nan",
        ),
        ({"config": {"particles": 5}}, "config must be a PETSConfig or None, got {'particles': 5}"),
        ({"env": "Pendulum-v1"}, "env must be an Env, got 'Pendulum-v1'"),
        ({"reward": None}, "reward must be a function, got None"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict, words: str) -> None:
    given = {"env": Cart(), "reward": minus_square, "config": TINY, "progress": False}
    with pytest.raises(ValueError, match=f"^{words}"):
        train_pets(**{**given, **wrong})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: PETSConfig(particles=7.5), "particles must be .*, got 7.5"),
        (lambda: PETSConfig(particles="10"), "particles must be .*, got '10'"),
        (lambda: PETSConfig(propagation=["TS1"]), "propagation must be 'TS1' or .*, got .'TS1'."),
        (lambda: PETSConfig(ensemble=None), "ensemble must be an EnsembleConfig, got None"),
        (lambda: PETSConfig(cem={}), "cem must be a CEMConfig, got {}"),
        (lambda: transitions([]), "episodes must hold at least one, got none"),
        (lambda: transitions([1]), "each of episodes must be an Episode, got 1"),
        (lambda: run(Switching([1.0], None), "E", 1, np.zeros((2, 3, 1))),
         r"plans must be .* \(P, T, A\), got ndarray of shape \(2, 3, 1\)"),
        (lambda: run(Switching([1.0], None), "E", 1, torch.zeros(3, 1)),
         r"plans must be .* \(P, T, A\), got Tensor of shape \(3, 1\)"),
        (lambda: list(propagate(Switching([1.0], None), [1.0], PLANS, "E", 1, noise())),
         r"start must be a Tensor, got \[1.0\]"),
        (lambda: list(propagate(Switching([1.0], None), torch.ones(3, 1), PLANS, "E", 1, noise())),
         r"start must be .* \(2, O\), got .* \(3, 1\)"),
    ],
)  # fmt: skip
def test_wrong_types_are_named(call: object, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}"):
        call()


@pytest.mark.slow
def test_it_swings_up_the_pendulum_within_two_thousand_steps() -> None:
    trained = train_pets(gym.make("Pendulum-v1"), pendulum_reward, seed=0, progress=False)
    assert sum(len(episode) for episode in trained.episodes) == 2000
    assert np.mean(trained.returns[-3:]) >= -250
