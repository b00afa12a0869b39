"""Work side by side: on a backend without a generator, and on a Dask cluster of two processes."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import joblib
import numpy as np
import pytest
import torch
from experience import balance
from joblib.parallel import get_active_backend

from wmlib.agents.world_models import (
    CMAES,
    Agent,
    CMAESConfig,
    ControllerConfig,
    DreamTrainingConfig,
    LinearController,
    MemoryConfig,
    VisionConfig,
    WorldModelsConfig,
)
from wmlib.arena import race
from wmlib.collecting import CollectError, collect
from wmlib.entrants import WorldModelsEntrant, entrants
from wmlib.episodes import run_episode
from wmlib.exploration import UniformRandomPolicy
from wmlib.replay import Replay
from wmlib.workers import ROUND, results

ARTIFACT = Path(__file__).parents[1] / "artifacts" / "world-models-car-racing"
TINY = WorldModelsConfig(
    random_share=0.25, cycles=3,
    vision=VisionConfig(latent=2, channels=(4,), batch=16, frame=(16, 16, 1)), vision_steps=2,
    cycle_vision_steps=1, memory=MemoryConfig(hidden=4, mixtures=2, window=1, batch=8),
    memory_steps=2, cycle_memory_steps=1,
    dream=DreamTrainingConfig(generations=2, population=4, starts=4, horizon=3),
)  # fmt: skip
CART = {"env_id": "CartPole-v1", "episodes": 20, "seed": 40}


def test_a_backend_without_a_generator_works_in_rounds(capsys: pytest.CaptureFixture) -> None:
    given: list[int] = []

    def tasks() -> Iterator[Any]:
        for number in range(2 * ROUND * 2):
            given.append(number)
            yield joblib.delayed(abs)(-number)

    with joblib.parallel_config("multiprocessing", n_jobs=2):
        assert not get_active_backend()[0].supports_return_generator
        work = results(tasks(), None)
        first = next(work)
        assert len(given) == 2 * ROUND  # the others come when these are done
        assert sorted([first, *work]) == list(range(2 * ROUND * 2))
        policy = UniformRandomPolicy(gym.spaces.Discrete(2))
        rounds = collect(policy, **CART, progress=True)
    assert "100%" in capsys.readouterr().err
    assert Replay(rounds).digest() == Replay(collect(policy, **CART, progress=False)).digest()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

    often = {"distributed.scheduler.allowed-failures": 1}
    with dask.config.set(often), LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as place, Client(place) as client:  # fmt: skip
        yield client


@pytest.mark.slow
class TestDask:
    """On a local cluster of two worker processes, each with one thread."""

    @pytest.fixture(autouse=True)
    def _elsewhere(self, cluster: Any) -> Iterator[None]:
        cluster.wait_for_workers(2, timeout=120)  # with one alone, joblib stays in this process
        with joblib.parallel_config("dask"):
            yield

    def test_collect_gives_the_same_episodes_and_shows_how_far_it_is(
        self, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        def visit(policy: Any, observation: np.ndarray) -> None:
            if policy.seen == 1:
                (tmp_path / "workers" / str(os.getpid())).touch()

        (tmp_path / "workers").mkdir()
        there = collect(balance(visit), **CART)
        workers = {int(path.name) for path in (tmp_path / "workers").iterdir()}
        assert len(workers) == 2 and os.getpid() not in workers
        shown = capsys.readouterr().err
        assert "collecting: 100%" in shown and "20/20" in shown
        kept = collect(balance(), **CART, folder=tmp_path / "episodes", progress=False)
        with joblib.parallel_config("sequential"):
            here = collect(balance(), **CART, progress=False)
        expected = Replay(here).digest()
        assert Replay(there).digest() == Replay(kept).digest() == expected
        assert Replay.load(tmp_path / "episodes").digest() == expected

    def test_the_shipped_driver_drives_the_same(self) -> None:
        options = {
            "env_id": "wmlib/CarRacing-v3", "episodes": 2, "seed": 5, "max_steps": 20,
            "env_kwargs": {"action_repeat": 3}, "progress": False,
        }  # fmt: skip
        policy = Agent.load(ARTIFACT).policy()
        there = collect(policy, **options)
        with joblib.parallel_config("sequential"):
            here = collect(policy, **options)
        assert Replay(there).digest() == Replay(here).digest()

    def test_a_population_scores_the_same(self) -> None:
        shape = ControllerConfig(latent=4, hidden=0, squash=("argmax", "argmax"))

        class Driver:
            def __init__(self, candidate: np.ndarray) -> None:
                self.controller = LinearController(candidate[None], shape)

            def reset(self, rng: np.random.Generator) -> None:
                pass

            def act(self, observation: np.ndarray) -> int:
                features = torch.from_numpy(observation)[None, None]  # (1, 1, F)
                return int(self.controller.act(features)[0, 0].argmax())

        def fitness(candidate: np.ndarray) -> float:
            return run_episode(gym.make("CartPole-v1"), Driver(candidate), seed=3).total_reward

        def evolved() -> tuple[list[float], np.ndarray]:
            es = CMAES(np.zeros(shape.parameters), CMAESConfig(sigma=0.5, population=8), seed=1)
            best = []
            for _ in range(3):
                candidates = es.ask()
                scores = joblib.Parallel()(joblib.delayed(fitness)(one) for one in candidates)
                es.tell(candidates, -np.array(scores))
                best.append(max(scores))
            return best, es.mean

        there = evolved()
        with joblib.parallel_config("sequential"):
            here = evolved()
        assert there[0] == here[0] and np.array_equal(there[1], here[1])

    def test_the_arena_makes_the_same_rows(self, tmp_path: Path) -> None:
        agents = {**entrants("random"), "world-models": WorldModelsEntrant(TINY)}
        options = {"env_id": "wmlib/PixelCatch-v0", "steps": 40, "seeds": 1, "progress": False}
        there = race(agents, **options, out=tmp_path / "there.json")
        with joblib.parallel_config("sequential"):
            here = race(agents, **options, out=tmp_path / "here.json")
        told = ("agent", "world", "seed", "real_steps", "updates", "evaluations", "parameters")
        assert [[row[name] for name in told] for row in there] == [
            [row[name] for name in told] for row in here
        ]

    def test_an_episode_whose_worker_is_killed_is_driven_elsewhere(self, tmp_path: Path) -> None:
        def once(policy: Any, observation: np.ndarray) -> None:
            if policy.rng.bit_generator.seed_seq.entropy == 42 and not (tmp_path / "x").exists():
                (tmp_path / "x").touch()
                os._exit(1)

        there = collect(balance(once), **CART, progress=False)
        assert (tmp_path / "x").exists()
        with joblib.parallel_config("sequential"):
            here = collect(balance(), **CART, progress=False)
        assert Replay(there).digest() == Replay(here).digest()

    def test_an_episode_that_kills_every_worker_is_named_and_does_not_hang(self) -> None:
        def always(policy: Any, observation: np.ndarray) -> None:
            if policy.rng.bit_generator.seed_seq.entropy == 42:
                os._exit(1)

        with pytest.raises(CollectError, match=r"worker process died; unfinished seeds: ") as told:
            collect(balance(always), **CART, progress=False)
        message, finished = str(told.value), {episode.seed for episode in told.value.finished}
        left = [seed for seed in range(40, 60) if seed not in finished]
        assert 42 in left and f"{left[:16]}" in message and "KilledWorker" in message

    def test_what_cannot_be_sent_is_named(self) -> None:
        policy = balance()
        policy.lock = threading.Lock()
        with pytest.raises(CollectError, match="cannot be sent to a worker process"):
            collect(policy, **CART, progress=False)
