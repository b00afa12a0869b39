"""Every agent learns and acts on a GPU, and goes on there after an interruption."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from wmlib.agents.diamond import Diamond, DiamondConfig
from wmlib.agents.diamond import Spaces as DiamondSpaces
from wmlib.agents.dreamer import Dreamer, DreamerConfig
from wmlib.agents.dreamer.agent import fitted
from wmlib.agents.dreamerv3 import DreamerV3, DreamerV3Config, Spaces
from wmlib.agents.dyna import NeuralModel, NeuralPolicy, TransitionBuffer
from wmlib.agents.dyna.buffer import CARTPOLE_SCALE
from wmlib.agents.iris import IRIS, IRISConfig
from wmlib.agents.iris import Spaces as FrameSpaces
from wmlib.agents.muzero import MuZero, MuZeroConfig
from wmlib.agents.muzero.config import Spaces as WorldSpaces
from wmlib.agents.muzero.train import Run
from wmlib.agents.pets import EnsembleConfig, PETSConfig, pendulum_reward, train_pets
from wmlib.agents.world_models import gradients
from wmlib.agents.world_models.car_racing import train_car_racing
from wmlib.agents.world_models.codes import Codes
from wmlib.agents.world_models.config import WorldModelsConfig
from wmlib.agents.world_models.controller import ControllerConfig
from wmlib.agents.world_models.dream_env import DreamEnv
from wmlib.agents.world_models.evolve import DreamTrainingConfig
from wmlib.agents.world_models.gradients import BehaviourConfig, train_behaviour
from wmlib.agents.world_models.memory import MemoryConfig, train_memory
from wmlib.agents.world_models.recipes import Recipe
from wmlib.agents.world_models.starts import warm_up
from wmlib.agents.world_models.train import train_world_models
from wmlib.agents.world_models.value import ValueConfig
from wmlib.agents.world_models.vision import VisionConfig, train_vision
from wmlib.collecting import collect
from wmlib.envs.boards import TicTacToe
from wmlib.episodes import run_episode
from wmlib.exploration import UniformRandomPolicy
from wmlib.learning import learn_online
from wmlib.planning import CEMConfig
from wmlib.replay import Replay
from wmlib.scratch.dyna import dyna_train
from wmlib.training import History, fit, restore, state_arrays

CUDA = torch.device("cuda")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
CATCH = "wmlib/PixelCatch-v0"
V = VisionConfig(latent=2, channels=(4,), batch=16, frame=(16, 16, 1))
M = MemoryConfig(latent=2, hidden=4, mixtures=2, window=2, batch=8, reward="normal")
DREAM = DreamTrainingConfig(
    generations=3, population=4, starts=4, horizon=3, value=True, value_starts=4, value_updates=1
)  # fmt: skip


def on(device: torch.device, module: nn.Module) -> bool:
    tensors = [*module.parameters(), *module.buffers()]
    return all(tensor.device.type == device.type for tensor in tensors)


@pytest.mark.parametrize("where", ["meta", pytest.param("cuda", marks=needs_cuda)])
def test_adams_moments_come_back_where_their_parameters_are(where: str) -> None:
    """On "meta", the device without numbers, no tensor of the CPU would do."""
    begun = nn.Linear(3, 2)
    adam = torch.optim.Adam(begun.parameters())
    begun(torch.ones(1, 3)).sum().backward()
    adam.step()
    arrays = state_arrays({"model": begun}, {"adam": adam}, {})
    with torch.device(where):
        resumed = nn.Linear(3, 2)
    there, history = torch.optim.Adam(resumed.parameters()), History()
    restore(Path("x"), arrays, {"model": resumed}, {"adam": there}, history)
    assert on(torch.device(where), resumed) and len(there.state) == 2
    for parameter, moments in there.state.items():
        for moment in (moments["exp_avg"], moments["exp_avg_sq"]):
            assert moment.device == parameter.device and moment.shape == parameter.shape


@pytest.fixture
def replay() -> Replay:
    policy = UniformRandomPolicy(gym.spaces.Discrete(3))
    return Replay(collect(policy, CATCH, episodes=4, seed=0, progress=False))


@needs_cuda
def test_v_and_m_learn_there_and_c_by_gradients(
    replay: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"device": CUDA, "progress": False}
    vision, _ = train_vision(replay, V, steps=3, state=tmp_path / "v.safetensors", **options)
    assert on(CUDA, vision)
    frames = replay.episodes[0].observations
    codes = Codes.of(replay, vision.encode, choices=3)
    assert vision.decode(codes.mean[:10]).shape == frames.shape
    memory, _ = train_memory(codes, M, steps=3, state=tmp_path / "m.safetensors", **options)
    assert on(CUDA, memory)
    starts = warm_up(memory, codes, warm=1)
    assert starts.z.device.type == "cuda"
    config = BehaviourConfig(
        updates=4, starts=4, horizon=3, value=ValueConfig(features=6, units=8), pace=None
    )
    shape = ControllerConfig(latent=2, hidden=4)  # three numbers: a choice has no gradient
    save = gradients.save_state

    def interrupted(path: Path, identity: Any, step: int, *parts: Any) -> None:
        save(path, identity, step, *parts)
        if step == 2:
            raise KeyboardInterrupt

    state = tmp_path / "c.safetensors"
    learn = {"seed": 1, "state": state, "every": 1, "progress": False}
    with monkeypatch.context() as patch:
        patch.setattr(gradients, "save_state", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_behaviour(memory, starts, shape, config, **learn)
    learned = train_behaviour(memory, starts, shape, config, **learn)
    assert learned.controller.parameters.device.type == "cuda" and on(CUDA, learned.value)
    assert len(learned.history["gradient"]) == 4
    space = gym.spaces.Box(-1, 1, (3,))
    env = DreamEnv(memory, starts, space, vision=vision, render_mode="rgb_array")
    env.reset(seed=0)
    assert np.isfinite(env.step(np.zeros(3, np.float32))[0]).all()
    assert env.render().shape == (16, 16, 1)


@needs_cuda
def test_fit_goes_on_there(tmp_path: Path) -> None:
    """A fit that has its state from a run that was cut short, with Adam's moments in it."""
    state, model = tmp_path / "x.safetensors", nn.Linear(3, 1).to(CUDA)

    def losses(rng: np.random.Generator, stop: int | None = None) -> dict[str, torch.Tensor]:
        if stop is not None and state.exists():
            raise KeyboardInterrupt
        x = torch.from_numpy(rng.random((4, 3), np.float32)).to(CUDA)  # (B, 3)
        return {"total": model(x).square().mean()}

    options = {"steps": 4, "every": 2, "learning_rate": 0.1, "seed": 0, "state": state,
               "progress": False}  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        fit(model, lambda rng: losses(rng, 2), **options)
    assert len(fit(model, losses, **options)["total"]) == 4 and on(CUDA, model)


@needs_cuda
def test_world_models_learn_and_act_there(tmp_path: Path) -> None:
    config = WorldModelsConfig(
        cycles=1, vision=V, vision_steps=2, cycle_vision_steps=1, memory=M, memory_steps=2,
        cycle_memory_steps=1, dream=DREAM,
    )  # fmt: skip
    options = {"steps": 60, "seed": 3, "config": config, "progress": False, "device": CUDA}
    agent = train_world_models(CATCH, folder=tmp_path / "run", **options)
    opened = train_world_models(CATCH, folder=tmp_path / "run", resume=True, **options)
    for one in (agent, opened):
        assert on(CUDA, one.vision) and on(CUDA, one.memory)
        assert one.controller.parameters.device.type == "cuda"
    for noise in (0.0, 0.5):
        (episode,) = collect(agent.policy(noise), CATCH, episodes=1, seed=0, progress=False)
        assert len(episode) == 9


@needs_cuda
@pytest.mark.parametrize("optimiser", ["gradient", "evolution"])
def test_a_driver_learns_there(optimiser: str, tmp_path: Path) -> None:
    recipe = Recipe(
        episodes=2, max_steps=40, patience=40, vision_steps=2, memory_steps=2,
        vision=VisionConfig(channels=(2, 4, 4, 4), batch=4), dream=DREAM,
        behaviour=BehaviourConfig(updates=2, starts=4, horizon=3, price=8.0), cycles=1,
        cycle_episodes=1, cycle_patience=40, cycle_memory_steps=1, optimiser=optimiser,
    )  # fmt: skip
    agent = train_car_racing(
        tmp_path / "run", seed=2, recipe=recipe, n_jobs=1, device=CUDA, progress=False
    )
    assert on(CUDA, agent.vision) and on(CUDA, agent.memory)


@needs_cuda
def test_pets_learns_and_plans_there_and_goes_on(tmp_path: Path) -> None:
    config = PETSConfig(
        particles=4, ensemble=EnsembleConfig(members=2, layers=1, units=8, epochs=2),
        cem=CEMConfig(horizon=4, population=20, iterations=2),
    )  # fmt: skip

    class Interrupting(gym.Wrapper):
        resets = 0

        def reset(self, **options: Any) -> Any:
            self.resets += 1
            if self.resets == 3:
                raise KeyboardInterrupt
            return self.env.reset(**options)

    options = {
        "reward": pendulum_reward, "config": config, "trials": 4, "max_steps": 8,
        "device": CUDA, "folder": tmp_path / "run", "progress": False,
    }  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        train_pets(Interrupting(gym.make("Pendulum-v1")), **options)
    trained = train_pets(gym.make("Pendulum-v1"), resume=True, **options)
    assert len(trained.episodes) == 4 and on(CUDA, trained.ensemble)


@needs_cuda
@pytest.mark.parametrize("kind", ["dreamer", "dreamerv3"])
def test_dreamers_learn_and_act_there(kind: str) -> None:
    env = gym.make("wmlib/PixelPendulum-v0", action_repeat=10)
    spaces = env.observation_space, env.action_space
    agent = (
        Dreamer(fitted(DreamerConfig(batch=2, length=4), *spaces), device=CUDA)
        if kind == "dreamer"
        else DreamerV3(Spaces.of(*spaces), DreamerV3Config(batch=2, length=4), device=CUDA)
    )
    learn_online(agent, env, steps=600, seed=0, first=200, ratio=0.005, progress=False)
    assert agent.updates == 3 and all(on(CUDA, module) for module in agent.modules.values())
    assert len(run_episode(env, agent.policy(), 1)) == 20


@needs_cuda
def test_iris_learns_and_acts_there() -> None:
    env = gym.make(CATCH)
    spaces = FrameSpaces.of(env.observation_space, env.action_space)
    config = IRISConfig(model_after=1, actor_after=2, play_every=1, frames=4, dreams=2)
    agent = IRIS(spaces, config, device=CUDA)
    learn_online(agent, env, steps=90, seed=0, first=45, ratio=0.1, progress=False)
    assert agent.updates == 9 and all(on(CUDA, module) for module in agent.modules.values())
    assert len(run_episode(env, agent.policy(), 1)) == 9


@needs_cuda
def test_diamond_learns_and_acts_there() -> None:
    env = gym.make(CATCH)
    spaces = DiamondSpaces.of(env.observation_space, env.action_space)
    agent = Diamond(spaces, DiamondConfig(batch=2, behaviour_first=1), device=CUDA)
    learn_online(agent, env, steps=90, seed=0, first=45, ratio=0.1, progress=False)
    assert agent.updates == 9 and all(on(CUDA, module) for module in agent.modules.values())
    assert len(run_episode(env, agent.policy(), 1)) == 9


@needs_cuda
def test_muzero_plays_searches_and_learns_there() -> None:
    game, config = TicTacToe(), MuZeroConfig(simulations=4, games=16, ratio=0.05)
    agent = MuZero(WorldSpaces.of(game), config, seed=0, device=CUDA)
    Run(agent, game, 100, None).go((), None, 1, progress=False)
    assert agent.updates >= 5 and all(on(CUDA, module) for module in agent.modules.values())
    cells = game.start(3)
    assert game.legal(cells)[np.arange(3), agent.player(game, 5).move(cells)].all()


@needs_cuda
def test_dynas_networks_learn_there() -> None:
    buffer = TransitionBuffer(CARTPOLE_SCALE, seed=0)
    model = NeuralModel(2, buffer, seed=0, device=CUDA)
    policy = NeuralPolicy(2, buffer, seed=0, device=CUDA)
    dyna_train(gym.make("CartPole-v1"), model, policy, buffer, episodes=2, k=2)
    assert on(CUDA, model.network) and on(CUDA, policy.network) and policy.updates > 0
    assert np.isfinite(model.loss)
