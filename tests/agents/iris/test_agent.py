"""IRIS as a whole: against a chain whose values are known, stopped, saved, and refused."""

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
from wmlib.agents.iris import (
    IRIS,
    IRISConfig,
    Spaces,
    TokenizerConfig,
    WorldModelConfig,
    train_iris,
)
from wmlib.agents.iris.agent import MINATAR, fitted, usual
from wmlib.agents.iris.forecast import foretell
from wmlib.cli import main
from wmlib.entrants import entrants
from wmlib.episodes import run_episode
from wmlib.exploration import random_policy
from wmlib.learning import learn_online
from wmlib.nets.actor_critic import ActorCriticConfig
from wmlib.nets.transformer import TransformerConfig
from wmlib.sequences import Sequences, Stream

SMALL = IRISConfig(
    tokenizer=TokenizerConfig(channels=(4, 4, 4), codes=8, width=4, renew=2),
    world_model=WorldModelConfig(TransformerConfig(1, 2, 8), blocks=5),
    actor_critic=ActorCriticConfig(channels=(2,), hidden=8, horizon=3, burn_in=2),
    first=40, ratio=0.2, model_after=10, actor_after=12, frames=8, stretches=2, dreams=4,
)  # fmt: skip
CATCH = "wmlib/PixelCatch-v0"
SPACES = Spaces((16, 16, 1), 3)
pytestmark = pytest.mark.filterwarnings("ignore:.*the codebook collapsed:UserWarning")


def random_play(env: gym.Env, episodes: int = 4) -> Stream:
    stream = Stream()
    for seed in range(episodes):
        stream.extend(run_episode(env, random_policy(env.action_space), seed))
    return stream


def moved(agent: IRIS, before: dict[str, list[torch.Tensor]]) -> set[str]:
    return {
        name
        for name, module in agent.modules.items()
        if not all(map(torch.equal, before[name], module.parameters()))
    }


def weights(agent: IRIS) -> dict[str, list[torch.Tensor]]:
    return {n: [p.detach().clone() for p in m.parameters()] for n, m in agent.modules.items()}


def test_it_learns_a_two_state_chain_to_its_exact_value() -> None:
    gamma = 0.8
    config = IRISConfig(
        tokenizer=TokenizerConfig(channels=(8,), codes=4, width=4),
        world_model=WorldModelConfig(TransformerConfig(1, 2, 32), blocks=6),
        actor_critic=ActorCriticConfig(
            channels=(4,), hidden=16, horizon=8, burn_in=1, discount=gamma
        ),
        model_after=50, actor_after=150, play_every=1, frames=16, dreams=16, actor_rate=5e-3,
        model_rate=3e-3, tokenizer_rate=3e-3,
    )  # fmt: skip
    env = PaidChain(gym.spaces.Discrete(2))
    agent = IRIS(Spaces.of(env.observation_space, env.action_space), config)
    learn_online(agent, env, steps=450, seed=0, first=200, ratio=1.0, progress=False)
    episode = run_episode(env, agent.policy(), 1)
    assert episode.total_reward == 10.0  # to B and back, ten times
    assert foretell(agent, [episode])[:3] == (1.0, 1.0, 1.0)
    carry, values = agent.actor_critic.initial(1), {}
    with torch.no_grad():
        for t in range(6):
            painted = agent.tokenizer.decode(agent.words(episode.observations[t : t + 1]))
            _, value, carry = agent.actor_critic(painted, carry)
            values[t % 2] = float(value)
    at_a, at_b = Chain.values(gamma)
    assert values[0] == pytest.approx(at_a, abs=0.25)
    assert values[1] == pytest.approx(at_b, abs=0.25)


class PaidChain(Chain):
    """`Chain`, but to stay costs 1 where it earned 0.2: IRIS knows the signs of rewards alone."""

    def step(self, action):
        seen, reward, *rest = super().step(action)
        return seen, {0.2: -1.0}.get(reward, reward), *rest


def test_each_network_begins_when_there_is_something_to_learn_from() -> None:
    stream = random_play(gym.make(CATCH))
    config = dataclasses.replace(SMALL, model_after=1, actor_after=2, play_every=2)
    agent, learned = IRIS(SPACES, config), []
    for _ in range(5):
        before = weights(agent)
        agent.update(stream)
        learned.append(moved(agent, before))
    both = {"tokenizer", "model"}
    assert learned == [{"tokenizer"}, both, both | {"actor_critic"}, both, both | {"actor_critic"}]


def test_nothing_is_learned_of_what_follows_an_end() -> None:
    """Where every dream begins at an episode's last frame, the actor stays as it was."""
    agent, lived = IRIS(SPACES, SMALL), random_play(gym.make(CATCH)).arrays()
    for ended, expected in ((True, set()), (False, {"actor_critic"})):
        arrays = lived | {"ended": np.full(len(lived["ended"]), ended)}
        before = weights(agent)
        agent.learn_play(Stream(arrays), np.random.default_rng(0), torch.Generator())
        assert moved(agent, before) == expected


@pytest.mark.parametrize("burn_in", [2, 5, 12])
def test_dreams_begin_in_the_newest_frame_with_what_was_seen_before(
    burn_in: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The actor-critic is burnt in on exactly the frames before it, as the tokenizer paints them,
    and told where an episode began."""
    play = dataclasses.replace(SMALL.actor_critic, burn_in=burn_in)
    agent = IRIS(SPACES, dataclasses.replace(SMALL, actor_critic=play))
    stream = Recorded(random_play(gym.make(CATCH)).arrays())
    with torch.no_grad():  # words that tell frames apart, and paints that tell words apart
        vectors = agent.tokenizer.vectors(agent.frames(stream.arrays()["observations"]))
        apart = vectors.flatten(0, 1).unique(dim=0)
        agent.tokenizer.codes.copy_(apart[torch.linspace(0, len(apart) - 1, 8).long()])
        agent.tokenizer.decoder[-1].bias.fill_(0.5)
    seen: dict[str, tuple[torch.Tensor, ...]] = {}
    for name, owner in (("burn_in", agent.actor_critic), ("begin", agent.dream)):
        function = getattr(owner, name)

        def spied(*args: torch.Tensor, name: str = name, function: Callable = function) -> object:
            seen[name] = args
            return function(*args)

        monkeypatch.setattr(owner, name, spied)
    agent.learn_play(stream, np.random.default_rng(0), torch.Generator())
    drawn = stream.drawn
    assert drawn.observations.shape[:2] == (SMALL.dreams, burn_in + 1)
    words = agent.words(drawn.observations)  # (B, burn_in + 1, K)
    (begun,) = seen["begin"]
    assert torch.equal(begun, words[:, -1:]) and not torch.equal(begun, words[:, :1])
    lived, first = seen["burn_in"]
    painted = agent.tokenizer.decode(words[:, :-1]).movedim(1, 0)
    torch.testing.assert_close(lived, painted)
    assert len(painted.flatten(0, 1).unique(dim=0)) > 3
    assert torch.equal(first.T, torch.from_numpy(drawn.first).float()) and first.any()


class Recorded(Stream):
    """It remembers what was drawn last."""

    drawn: Sequences

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> Sequences:
        self.drawn = super().draw(rng, batch, length)
        return self.drawn


def test_words_hold_still_once_the_transformer_learns_them() -> None:
    """Adam's first step moves a weight by the rate; and no code is renewed any more."""
    stream = random_play(gym.make(CATCH))
    config = dataclasses.replace(
        SMALL, model_after=5, rehearsals=1, settled=0.1, tokenizer_rate=2e-3
    )
    for updates, rate in ((0, 2e-3), (5, 2e-4)):
        agent = IRIS(SPACES, config)
        agent.updates = updates
        before = weights(agent)["tokenizer"]
        agent.update(stream)
        pairs = zip(before, agent.tokenizer.parameters(), strict=True)
        steps = max(float((a - b).detach().abs().max()) for a, b in pairs)
        assert rate / 2 < steps < 1.01 * rate
        assert bool(agent.tokenizer.idle.any()) == (updates == 0)


def test_the_tokenizer_rehearses_until_the_transformer_begins() -> None:
    stream = random_play(gym.make(CATCH))
    never = TokenizerConfig(channels=(4, 4, 4), codes=64, width=4, renew=100)
    agent = IRIS(SPACES, dataclasses.replace(SMALL, tokenizer=never, model_after=2, rehearsals=3))
    adam = agent.optimisers["tokenizer_adam"]
    batches = []
    for _ in range(4):
        agent.update(stream)
        batches.append(int(adam.state[agent.tokenizer.codes]["step"]))
    assert batches == [3, 6, 7, 8]
    assert int(agent.tokenizer.idle.max()) == 6  # batches since a code was used


def test_a_collapsed_codebook_is_said_when_the_transformer_begins() -> None:
    stream = random_play(gym.make(CATCH))
    config = dataclasses.replace(
        SMALL, tokenizer=TokenizerConfig(channels=(4, 4, 4), renew=0), model_after=0
    )
    with pytest.warns(UserWarning, match="1 of 64 codes in use.*let idle codes be renewed"):
        IRIS(SPACES, config).update(stream)


def small_run(folder: Path, steps: int = 120) -> IRIS:
    agent = IRIS(SPACES, SMALL, seed=3)
    learn_online(
        agent, gym.make(CATCH), steps=steps, seed=3, first=40, ratio=0.2, marks=(60,),
        folder=folder, every=1, progress=False,
    )  # fmt: skip
    return agent


@pytest.mark.parametrize("steps", [45, 60, 80])  # before the transformer, the actor, and after
def test_a_run_that_was_stopped_ends_with_equal_weights(tmp_path: Path, steps: int) -> None:
    whole = small_run(tmp_path / "whole")
    small_run(tmp_path / "killed", steps=60) if steps == 60 else cut(tmp_path / "killed", steps)
    again = small_run(tmp_path / "killed")
    assert whole.updates == again.updates == 24
    assert_equal_weights(whole, again)


def cut(folder: Path, steps: int) -> None:
    """A run that is killed after so many real steps."""

    class Killed(Exception):
        pass

    class Mortal(IRIS):
        def update(self, stream: Stream) -> dict[str, float]:
            if self.updates == steps // 5:
                raise Killed
            return super().update(stream)

    with pytest.raises(Killed):
        learn_online(
            Mortal(SPACES, SMALL, seed=3), gym.make(CATCH), steps=120, seed=3, first=40, ratio=0.2,
            marks=(60,), folder=folder, every=1, progress=False,
        )  # fmt: skip


def test_what_is_saved_plays_the_same(tmp_path: Path) -> None:
    agent = train_iris(CATCH, steps=80, seed=1, config=SMALL, folder=tmp_path, progress=False)
    assert json.loads((tmp_path / "agent.json").read_text(encoding="utf-8"))["made"]["steps"] == 16
    again = load(tmp_path)
    assert isinstance(again, IRIS)
    assert (again.config, again.spaces, again.environment) == (SMALL, SPACES, CATCH)
    assert_equal_weights(agent, again)
    env = gym.make(CATCH)
    one, other = (run_episode(env, each.policy(explore=True), 5) for each in (agent, again))
    assert np.array_equal(one.actions, other.actions)


def test_it_is_trained_scored_and_entered_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wmlib.agents.iris.train.usual", lambda env_id: SMALL)
    out = str(tmp_path / "run")
    train = ["train", "iris", "--env", CATCH, "--steps", "80", "--out", out, "--json"]
    assert main(train) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["environment"], result["real_steps"]) == (CATCH, 80)
    assert main([*train, "--resume"]) == 0  # it is finished
    capsys.readouterr()
    assert main(["evaluate", out, "--episodes", "2", "--jobs", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean"] in (-1.0, 0.0, 1.0)
    entrant = entrants("iris")["iris"]
    entrant.check(gym.make(CATCH), 2000)
    with pytest.raises(ValueError, match="observations must be frames"):
        entrant.check(gym.make("CartPole-v1"), 2000)


def test_bools_are_frames_of_ones() -> None:
    agent, seen = IRIS(SPACES, SMALL), np.random.default_rng(0).random((2, 16, 16, 1)) < 0.5
    frames = agent.frames(seen)
    assert frames.shape == (2, 1, 16, 16) and np.array_equal(frames[:, 0].numpy(), seen[..., 0])
    assert torch.equal(agent.frames(255 * seen.astype(np.uint8)), frames)


@pytest.mark.parametrize("kinds", [4, 6])
def test_minatars_frames_become_25_words_and_are_played(kinds: int) -> None:
    env = Planes(kinds)
    config = dataclasses.replace(
        MINATAR, rehearsals=1, model_after=0, actor_after=0, frames=4, stretches=2, dreams=2
    )
    agent, stream = fitted(config, env.observation_space, env.action_space), random_play(env, 2)
    observations = stream.arrays()["observations"]
    assert observations.dtype == bool and agent.words(observations).shape == (22, 25)
    assert agent.painted(observations[0]).shape == (1, kinds, 10, 10)
    before = weights(agent)
    assert np.isfinite(list(agent.update(stream).values())).all()
    assert moved(agent, before) == {"tokenizer", "model", "actor_critic"}
    assert len(run_episode(env, agent.policy(explore=True), 0)) == 10
    with pytest.raises(ValueError, match="multiples of 2, got frame 9 x 10"):
        fitted(MINATAR, Planes(kinds, (9, 10)).observation_space, env.action_space)


def test_minatars_games_have_settings_of_their_own() -> None:
    assert usual("MinAtar/Breakout-v1") == usual("wmlib:MinAtar/Seaquest-v0") == MINATAR
    assert usual(CATCH) == usual("Breakout-v1") == IRISConfig()


def test_forecasts_are_those_of_one_frame_after_the_other() -> None:
    """Each word is foretold from those that were, as a plain loop finds it."""
    agent, env = IRIS(SPACES, SMALL), gym.make(CATCH)
    with torch.no_grad():
        agent.model.next_word[-1].weight.mul_(50)
    episodes = [run_episode(env, random_policy(env.action_space), seed) for seed in range(3)]
    model, words, frames = agent.model, [], []
    for episode in episodes:  # of ten observations, two stretches of five each
        for begin in (0, 5):
            known = agent.words(episode.observations[begin : begin + 5])  # (5, K)
            actions = torch.from_numpy(episode.actions[begin : begin + 4])
            logits, _ = model.read(model.sentence(known[None], actions[None]))
            for t in range(1, 5):
                at = t * (model.words + 1) - 1
                best = logits.words[0, at : at + model.words].argmax(-1)
                words += (best == known[t]).tolist()
                frames.append(bool((best == known[t]).all()))
    found = foretell(agent, episodes)
    assert found.words == pytest.approx(np.mean(words)) and found.frames == np.mean(frames)
    assert 0 < found.words < 1


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [(gym.spaces.Box(0, 1, (4,)), gym.spaces.Discrete(3), "observations must be frames"),
     (gym.spaces.Box(0, 1, (16, 16, 1)), gym.spaces.Discrete(3), "observations must be frames"),
     (gym.spaces.Box(0, 255, (16, 16, 1), np.uint8), gym.spaces.Box(-1, 1, (1,)),
      r"actions must be Discrete\(n\)"),
     (gym.spaces.Box(0, 255, (20, 16, 1), np.uint8), gym.spaces.Discrete(3),
      "multiples of 8, got frame 20 x 16")],
)  # fmt: skip
def test_other_spaces_are_refused(
    observations: gym.Space, actions: gym.Space, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(IRISConfig(), observations, actions)


def test_an_empty_set_of_actions_is_refused() -> None:
    with pytest.raises(ValueError, match="choices must be at least 1, got 0"):
        Spaces((16, 16, 1), 0)
