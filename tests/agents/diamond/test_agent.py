"""DIAMOND as a whole: what it learns from, what it leaves out, stopped, saved, and refused."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from experience import Chain, Planes, assert_equal_weights

import wmlib  # noqa: F401 - registers the environments
from wmlib.agents import load
from wmlib.agents.diamond import (
    DenoiserConfig,
    Diamond,
    DiamondConfig,
    RewardEndConfig,
    SamplerConfig,
    Spaces,
    UNetConfig,
    WorldModelConfig,
    train_diamond,
)
from wmlib.agents.diamond.agent import MINATAR, fitted, usual
from wmlib.episodes import run_episode
from wmlib.exploration import random_policy
from wmlib.learning import learn_online
from wmlib.nets.actor_critic import ActorCriticConfig
from wmlib.sequences import Stream

SMALL = DiamondConfig(
    world_model=WorldModelConfig(
        denoiser=DenoiserConfig(network=UNetConfig(channels=(4, 8), waves=4)),
        reward_end=RewardEndConfig(channels=(4,), units=8),
    ),
    behaviour=ActorCriticConfig(channels=(4,), hidden=8, horizon=3, burn_in=3), first=40,
    ratio=0.2, behaviour_first=4, behaviour_every=2, batch=4, dreams=4,
)  # fmt: skip
CATCH = "wmlib/PixelCatch-v0"


def begun(config: DiamondConfig = SMALL, seed: int = 0) -> Diamond:
    env = gym.make(CATCH)
    return Diamond(Spaces.of(env.observation_space, env.action_space), config, seed=seed)


def played(episodes: int = 4) -> Stream:
    env, stream = gym.make(CATCH), Stream()
    for seed in range(episodes):
        stream.extend(run_episode(env, random_policy(env.action_space), seed))
    return stream


def weights(agent: Diamond) -> dict[str, list[torch.Tensor]]:
    parts = {
        "denoiser": agent.model.denoiser, "reward_end": agent.model.reward_end,
        "behaviour": agent.behaviour,
    }  # fmt: skip
    return {name: [p.detach().clone() for p in part.parameters()] for name, part in parts.items()}


def moved(before: dict[str, list[torch.Tensor]], agent: Diamond) -> dict[str, float]:
    """By how much the weight of each part that moved most did."""
    pairs = {name: zip(before[name], now, strict=True) for name, now in weights(agent).items()}
    return {name: max(float((a - b).abs().max()) for a, b in part) for name, part in pairs.items()}


def chain_of_frames(action_space: gym.Space) -> gym.Env:
    """`Chain` in 8 x 8 pixels, which a network can halve; its rewards are signs."""

    class Large(gym.ObservationWrapper):
        observation_space = gym.spaces.Box(0, 255, (8, 8, 1), np.uint8)

        def observation(self, observation: np.ndarray) -> np.ndarray:
            return observation.repeat(4, 0).repeat(4, 1)

    return gym.wrappers.TransformReward(Large(Chain(action_space)), lambda r: float(r > 0.5))


def test_it_learns_a_two_state_chain_to_its_exact_value() -> None:
    gamma = 0.8
    config = DiamondConfig(
        world_model=WorldModelConfig(
            denoiser=DenoiserConfig(network=UNetConfig(channels=(8, 8), waves=8)),
            sampler=SamplerConfig(steps=1), reward_end=RewardEndConfig(channels=(8,), units=16),
        ),
        behaviour=ActorCriticConfig(
            channels=(8,), hidden=16, horizon=5, burn_in=3, discount=gamma, entropy=1e-2
        ),
        behaviour_first=100, behaviour_every=1, batch=8, dreams=8, denoiser_rate=3e-3,
        reward_end_rate=3e-3, behaviour_rate=5e-3,
    )  # fmt: skip
    env = chain_of_frames(gym.spaces.Discrete(2))
    agent = Diamond(Spaces.of(env.observation_space, env.action_space), config)
    learn_online(agent, env, steps=240, seed=0, first=100, ratio=1.0, progress=False)
    episode = run_episode(env, agent.policy(), 1)
    assert episode.total_reward == 10.0  # to B and back, ten times
    policy = agent.policy()
    policy.reset(np.random.default_rng(0))
    values = {}
    for t in range(10):
        policy.act(episode.observations[t])
        with torch.no_grad():
            values[t % 2] = float(agent.behaviour.judge(policy.acting.carry)[1])
    at_a, at_b = Chain.values(gamma)
    assert values[0] == pytest.approx(at_a, abs=0.25)
    assert values[1] == pytest.approx(at_b, abs=0.25)


def test_nothing_is_learned_of_what_follows_an_end() -> None:
    """Where every stretch ends with its episode, no dream counts: the behaviour stays as it was."""
    agent, stream = begun(), played()
    parts = list(agent.given(stream.draw(np.random.default_rng(0), 4, 4)))
    generator = torch.Generator().manual_seed(0)
    before = weights(agent)
    parts[4] = torch.ones(4, 4)
    agent.behave(tuple(parts), generator)
    assert moved(before, agent) == {"denoiser": 0, "reward_end": 0, "behaviour": 0}
    parts[4] = torch.zeros(4, 4)
    parts[4][:-1] = 1  # ended before, and begun again
    row = agent.behave(tuple(parts), generator)
    assert moved(before, agent)["behaviour"] > 0 and float(row["entropy"]) > 1


def test_a_dream_counts_nothing_after_an_imagined_end() -> None:
    """Where the model ends every episode with the first step, later steps teach nothing."""
    agent, stream = begun(), played()
    reward_end = agent.model.reward_end
    with torch.no_grad():
        reward_end.head[-1].weight.zero_()
        reward_end.head[-1].bias.copy_(torch.tensor([0.0, 0, 60, -60, 60]))
    parts = agent.given(stream.draw(np.random.default_rng(0), 4, 4))
    parts = (*parts[:4], torch.zeros(4, 4))
    row = agent.behave(parts, torch.Generator().manual_seed(0))
    assert float(row["dreamed"]) == 1  # and not 1 + gamma + gamma^2
    assert float(row["critic"].detach()) == pytest.approx(1 / 3)  # (1 - 0)^2, in one step of three


def test_parts_learn_when_they_are_due_and_at_their_own_rates() -> None:
    """Adam's first step moves a weight by the rate, or less where the gradient is tiny."""
    config = dataclasses.replace(
        SMALL, warmup=1, behaviour_first=2, denoiser_rate=4e-3, reward_end_rate=2e-3,
        behaviour_rate=1e-4, decay=0.0,
    )  # fmt: skip
    agent, stream = begun(config), played()
    moves, rows = [], []
    for _ in range(5):
        before = weights(agent)
        rows.append(set(agent.learn(stream, 1)))
        moves.append(moved(before, agent))
    assert moves[0]["denoiser"] == pytest.approx(4e-3, rel=0.1)
    assert moves[0]["reward_end"] == pytest.approx(2e-3, rel=0.1)
    assert [move["behaviour"] > 0 for move in moves] == [False, False, True, False, True]
    assert moves[2]["behaviour"] == pytest.approx(1e-4, rel=0.1)
    model = {"denoising", "reward", "end"}
    behaviour = {"dreamed", "entropy", "critic"}
    assert rows == [model, model, model | behaviour, model, model | behaviour]
    assert agent.updates == 5 and set(agent.learn(stream, 2)) == model | behaviour


def test_only_what_learns_from_the_first_update_on_is_warmed_up() -> None:
    """By default the behaviour begins when the rates have risen."""
    usual = DiamondConfig()
    config = dataclasses.replace(SMALL, warmup=usual.warmup, behaviour_first=usual.behaviour_first)
    agent, stream = begun(config), played()
    shares = {}
    for updates in (0, 49, 99, 300, usual.behaviour_first):
        agent.updates = updates
        agent.learn(stream, 1)
        groups = {name: adam.param_groups[0] for name, adam in agent.optimisers.items()}
        shares[updates] = tuple(
            groups[f"adam of {name}"]["lr"] / agent.rates[name]
            for name in ("denoiser", "reward_end")
        )
        untouched = not agent.optimisers["adam of behaviour"].state
        assert untouched == (updates < usual.behaviour_first)
    both = {0: 0.01, 49: 0.5, 99: 1.0, 300: 1.0, 700: 1.0}
    assert shares == {updates: (share, share) for updates, share in both.items()}
    assert groups["adam of behaviour"]["lr"] == agent.rates["behaviour"]


def test_burning_in_is_playing() -> None:
    """What it remembers when a dream begins is what it remembers when it has played so far."""
    agent = begun(dataclasses.replace(SMALL, behaviour=ActorCriticConfig(burn_in=6)))
    env, stream = gym.make(CATCH), Stream()
    episode = run_episode(env, random_policy(env.action_space), 0)
    stream.extend(episode)
    frames, _, _, first, _ = agent.given(stream.draw(np.random.default_rng(0), 1, 10))
    for burnt in range(7):
        policy = agent.policy()
        policy.reset(np.random.default_rng(0))
        for observation in episode.observations[:burnt]:
            policy.act(observation)
        before = frames[:burnt] / 2 + 0.5
        carry = agent.behaviour.burn_in(before, first[: burnt + 1])
        for one, other in zip(carry, policy.acting.carry, strict=True):
            torch.testing.assert_close(one, other)
    assert carry.hidden.any()


@pytest.mark.parametrize(("burn_in", "length"), [(2, 4), (3, 4), (6, 7)])
def test_dreams_begin_in_the_newest_frame_with_what_was_seen_before(
    burn_in: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The behaviour is burnt in on exactly the frames before it, or on those there are."""
    config = dataclasses.replace(
        SMALL, behaviour=dataclasses.replace(SMALL.behaviour, burn_in=burn_in),
        behaviour_first=0,
    )  # fmt: skip
    agent, stream, seen = begun(config), played(), {}
    burn, begin = agent.behaviour.burn_in, agent.model.begin

    def spy(name: str, function: Callable) -> Callable:
        def spied(*args: torch.Tensor) -> object:
            seen[name] = args
            return function(*args)

        return spied

    monkeypatch.setattr(agent.behaviour, "burn_in", spy("burn", burn))
    monkeypatch.setattr(agent.model, "begin", spy("begin", begin))
    agent.learn(stream, 1)
    frames, _, first = seen["begin"]
    before, begins = seen["burn"]
    assert len(frames) == length and len(before) == burn_in
    torch.testing.assert_close(before, (frames[-1 - burn_in : -1] + 1) / 2)
    assert torch.equal(begins, first[-1 - burn_in :])


@pytest.mark.parametrize("kinds", [4, 6])
def test_minatars_frames_are_drawn_and_played(kinds: int) -> None:
    env, stream = Planes(kinds), Stream()
    config = dataclasses.replace(MINATAR, behaviour_first=0, batch=2, dreams=2)
    agent = fitted(config, env.observation_space, env.action_space)
    for seed in range(2):
        stream.extend(run_episode(env, random_policy(env.action_space), seed))
    before = weights(agent)
    assert np.isfinite(list(agent.learn(stream, 1).values())).all()
    assert min(moved(before, agent).values()) > 0
    frames, actions, _, first, _ = agent.given(stream.draw(np.random.default_rng(0), 2, 4))
    assert frames.unique().tolist() == [-1, 1]
    start = agent.model.begin(frames, actions, first)
    state, *_ = agent.model.step(start, actions[0], torch.Generator().manual_seed(0))
    assert state.features.shape == (2, kinds, 10, 10)
    assert 0 <= state.features.min() < state.features.max() <= 1
    assert len(run_episode(env, agent.policy(explore=True), 0)) == 10
    with pytest.raises(ValueError, match=r"sides that 2 divides, got \[9, 10\]"):
        fitted(MINATAR, Planes(kinds, (9, 10)).observation_space, env.action_space)


def test_minatars_games_have_settings_of_their_own() -> None:
    assert usual("MinAtar/Breakout-v1") == usual("wmlib:MinAtar/Seaquest-v0") == MINATAR
    assert usual(CATCH) == usual("Breakout-v1") == DiamondConfig()


def small_run(folder: Path, steps: int = 120) -> Diamond:
    agent = begun(seed=3)
    learn_online(
        agent, gym.make(CATCH), steps=steps, seed=3, first=40, ratio=0.2, marks=(60,),
        folder=folder, every=1, progress=False,
    )  # fmt: skip
    return agent


def test_a_run_that_was_stopped_ends_with_equal_weights(tmp_path: Path) -> None:
    whole = small_run(tmp_path / "whole")
    small_run(tmp_path / "killed", steps=60)
    again = small_run(tmp_path / "killed")
    assert whole.updates == again.updates == 24
    assert_equal_weights(whole, again)


def test_it_is_trained_saved_and_loaded(tmp_path: Path) -> None:
    agent = train_diamond(CATCH, steps=60, seed=1, config=SMALL, folder=tmp_path, progress=False)
    assert json.loads((tmp_path / "agent.json").read_text(encoding="utf-8"))["made"]["steps"] == 12
    again = load(tmp_path)
    assert isinstance(again, Diamond)
    assert (again.config, again.spaces, again.environment) == (SMALL, agent.spaces, CATCH)
    one, other = (run_episode(gym.make(CATCH), each.policy(), 5) for each in (agent, again))
    assert np.array_equal(one.actions, other.actions)


BYTES = gym.spaces.Box(0, 255, (16, 16, 1), np.uint8)


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [(gym.spaces.Box(0, 1, (16, 16, 1)), gym.spaces.Discrete(3), "observations must be frames"),
     (gym.spaces.Box(0, 255, (16, 16), np.uint8), gym.spaces.Discrete(3), "must be frames"),
     (BYTES, gym.spaces.Box(-1, 1, (1,)), "actions must be Discrete"),
     (BYTES, gym.spaces.Discrete(3, start=1), "actions must be Discrete")],
)  # fmt: skip
def test_other_spaces_are_refused(
    observations: gym.Space, actions: gym.Space, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Spaces.of(observations, actions)


def test_no_actions_and_frames_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="actions must be at least 1, got 0"):
        Spaces((16, 16, 1), 0)
    with pytest.raises(ValueError, match=r"sides that 4 divides, got \[16, 18\]"):
        Diamond(Spaces((16, 18, 1), 3))
