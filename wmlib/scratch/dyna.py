"""Dyna, the article's section 6: each real step brings k imagined ones."""

from collections.abc import Callable
from typing import Any, Protocol

from wmlib.scratch.checks import check_step
from wmlib.typed import NonNegativeInt, PositiveInt, typed


class Model(Protocol):
    """What `dyna_train` asks of a model: `imagine` gives (s_next, r)."""

    @property
    def loss(self) -> float: ...

    def update(
        self, obs: Any, action: Any, reward: float, next_obs: Any
    ) -> object: ...

    def imagine(self, s: Any, a: Any) -> tuple[Any, Any]: ...


class Policy(Protocol):
    """What it asks of a policy."""

    def act(self, obs: Any) -> Any: ...

    def learn(self, s: Any, a: Any, r: Any, s_next: Any) -> object: ...


class Buffer(Protocol):
    """What it asks of a buffer."""

    def add(
        self, obs: Any, action: Any, reward: float, next_obs: Any
    ) -> object: ...

    def random_state(self) -> Any: ...

    def __len__(self) -> int: ...


class ReplayBuffer(Buffer, Protocol):
    """And what `replay_train` asks of one: whole (s, a, r, s_next)."""

    def random_transition(self) -> tuple[Any, Any, Any, Any]: ...


@typed
def dyna_train(
    env: Any,
    model: Model,
    policy: Policy,
    buffer: Buffer,
    episodes: PositiveInt = 200,
    k: NonNegativeInt = 5,
    *,
    seed: int | None = None,
    until: Callable[[list[float]], bool] | None = None,
    verbose: bool = True,
) -> list[float]:
    """Dyna: one real step generates k imagined steps.

    The article's loop, line for line, but for Gymnasium's API (`reset`
    also returns info; `step` tells an end from a time limit) and one thing
    that the article leaves out: where an episode ends for good, nothing
    comes after, so no value may be bootstrapped from there. It has no
    argument that could say so. So `next_obs` says it: it is None where the
    environment terminated. (Where a time limit cut the episode, life would
    have gone on, and `next_obs` is the observation as always.) A model may
    in turn imagine None, or, in a batch of observations, rows of NaN.

    What comes from `random_state` goes to `act` and `imagine` as it is:
    one state, or a batch of them, whose imagined transitions then make one
    update. The parts may be the tables of `wmlib.agents.dyna.tables` or
    the networks of `wmlib.agents.dyna.neural`.

    `env` is a Gymnasium environment, `seed` that of its first reset. `until`
    is asked after each episode, with the returns so far, whether to stop.
    With `verbose`, prints a line every 20 episodes. Returns the return of
    each episode. Raises ValueError for `episodes` < 1 or `k` < 0, and for an
    observation or a reward that is not finite (it names the real step).
    """
    returns: list[float] = []
    for ep in range(episodes):
        obs, _ = env.reset(seed=seed if ep == 0 else None)
        done, ep_reward = False, 0.0
        while not done:
            action = policy.act(obs)
            seen, reward, terminated, truncated, _ = env.step(action)
            check_step(f"step {len(buffer) + 1}", seen, reward)
            done = terminated or truncated
            next_obs = None if terminated else seen
            buffer.add(obs, action, reward, next_obs)
            # 1. Update world model on real transition
            model.update(obs, action, reward, next_obs)
            # 2. Generate k dream transitions per real one
            for _ in range(k):
                s = buffer.random_state()
                a = policy.act(s)
                s_next, r = model.imagine(s, a)
                policy.learn(s, a, r, s_next)
            # 3. Also learn from real experience
            policy.learn(obs, action, reward, next_obs)
            obs = seen
            ep_reward += reward
        returns.append(ep_reward)
        if verbose and ep % 20 == 0:
            print(
                f"Episode {ep}: reward={ep_reward:.1f}, "
                f"model_loss={model.loss:.4f}, buffer={len(buffer)}"
            )
        if until is not None and until(returns):
            break
    return returns


@typed
def replay_train(
    env: Any,
    policy: Policy,
    buffer: ReplayBuffer,
    episodes: PositiveInt = 200,
    k: NonNegativeInt = 5,
    *,
    seed: int | None = None,
    until: Callable[[list[float]], bool] | None = None,
) -> list[float]:
    """The control for `dyna_train`: k replayed steps where it imagines k.

    There is no model. The policy makes as many updates, from as much real
    experience, but all of them from transitions that did happen. What is
    left of Dyna's gain beside this is what the model is worth. Arguments,
    return value and errors are those of `dyna_train`; it prints nothing.
    """
    returns: list[float] = []
    for ep in range(episodes):
        obs, _ = env.reset(seed=seed if ep == 0 else None)
        done, ep_reward = False, 0.0
        while not done:
            action = policy.act(obs)
            seen, reward, terminated, truncated, _ = env.step(action)
            check_step(f"step {len(buffer) + 1}", seen, reward)
            done = terminated or truncated
            next_obs = None if terminated else seen
            buffer.add(obs, action, reward, next_obs)
            for _ in range(k):
                policy.learn(*buffer.random_transition())
            policy.learn(obs, action, reward, next_obs)
            obs = seen
            ep_reward += reward
        returns.append(ep_reward)
        if until is not None and until(returns):
            break
    return returns
