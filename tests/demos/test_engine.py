"""The JavaScript forward pass, in Node and in Chromium, held to PyTorch's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.controller import ControllerConfig, LinearController
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig, State
from wmlib.agents.world_models.mixture import sample
from wmlib.agents.world_models.starts import Starts
from wmlib.agents.world_models.vision import VAE, VisionConfig
from wmlib.demos.page.blocks import pack, unpack
from wmlib.demos.page.weights import WeightsConfig, as_packed, pack_models
from wmlib.training import seeded

PARITY = 1e-4
Script = Callable[..., Any]  # the fixture `run`
SMALL = MemoryConfig(
    latent=3, actions=2, hidden=6, mixtures=4, reward="normal", reward_scale=2.0, reward_offset=-0.3
)


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(config: MemoryConfig = SMALL) -> Agent:
    """An agent of odd sizes, with weights large enough to matter."""
    vision = seeded(0, lambda: VAE(VisionConfig(latent=3, channels=(2, 3, 4, 5))))
    memory = seeded(1, lambda: MDNRNN(config))
    shape = ControllerConfig(3, 6, ("tanh", "sigmoid"))
    with torch.no_grad():
        for parameter in [*vision.parameters(), *memory.parameters()]:
            parameter.mul_(3)
    return Agent(
        vision, memory,
        LinearController(np.random.default_rng(2).normal(size=shape.parameters), shape),
    )  # fmt: skip


def largest(ours: Any, theirs: torch.Tensor) -> float:
    """The largest difference between numbers from JavaScript and a tensor."""
    found = torch.tensor(ours, dtype=torch.float64).reshape(theirs.shape)
    assert torch.isfinite(found).all()
    return float((found - theirs).abs().max())


def test_random_numbers_are_those_of_numpy(run: Script) -> None:
    for seed in (0, 1, 4_294_967_295):
        body = """
            const random = new Random(input.seed);
            const draw = (name, n) => Array.from({ length: n }, () => random[name]());
            return [draw("uniform", 700), draw("normal", 701), draw("uniform", 2)];
        """
        uniform, normal, after = run(body, seed=seed)
        theirs = np.random.RandomState(seed)
        assert uniform == theirs.random_sample(700).tolist()
        np.testing.assert_allclose(normal, theirs.standard_normal(701), rtol=1e-14)
        assert after == theirs.random_sample(2).tolist()


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_bytes_are_read_as_python_reads_them(run: Script, bits: int) -> None:
    array = np.random.default_rng(0).normal(size=(7, 19)).astype(np.float32)
    array[3] = 0
    packed = pack({"x": array}, {"x": bits} if bits < 32 else {}, {}, block=16)
    there = run("return unpack(input.bytes).arrays.x", bytes=packed)
    assert there["shape"] == [7, 19]
    values = np.array(there["values"], np.float32)
    np.testing.assert_array_equal(values, unpack(packed)[0]["x"].reshape(-1))


def test_damaged_bytes_are_refused_by_name(run: Script) -> None:
    packed = pack({"x": np.ones((2, 3), np.float32)}, {}, {})
    body = """
        try { unpack(input.bytes); return "read"; } catch (error) { return error.message; }
    """
    assert run(body, bytes=packed) == "read"
    assert "not weights" in run(body, bytes=b"GIF89a" * 3)
    assert "cut short" in run(body, bytes=packed[:-1])
    assert "cut short" in run(body, bytes=packed[:20])
    nan = packed[:-4] + np.float32(np.nan).tobytes()
    assert run(body, bytes=nan) == "x holds NaN or infinity"


def test_another_shape_is_refused_by_name(run: Script) -> None:
    packed = pack_models(small().vision)
    body = """
        const { header, arrays } = unpack(input.bytes);
        try { new Decoder(arrays, { ...header.vision, latent: 4 }); return "made"; }
        catch (error) { return error.message; }
    """
    assert run(body, bytes=packed) == "vision.from_code.weight has shape 20,3, expected 20,4"


@pytest.mark.parametrize("side, k, stride", [(1, 5, 2), (4, 6, 2), (3, 3, 1), (3, 2, 3)])
def test_transposed_convolution(run: Script, side: int, k: int, stride: int) -> None:
    x = torch.relu(torch.randn(1, 4, side, side, generator=noise(1)))
    weight = torch.randn(4, 3, k, k, generator=noise(2))
    bias = torch.randn(3, generator=noise(3))
    theirs = F.conv_transpose2d(x, weight, bias, stride)[0].permute(1, 2, 0)  # (n, n, 3)
    body = """
        const weight = channelsLast(Float32Array.from(input.weight), 4, 3, input.k);
        const out = new Float32Array(input.n ** 2 * 3);
        return convolveTransposed(
          weight, input.bias, input.x, out, input.side, input.k, input.stride);
    """
    ours = run(
        body, x=x[0].permute(1, 2, 0).flatten(), weight=weight.flatten(), bias=bias,
        side=side, k=k, stride=stride, n=len(theirs),
    )  # fmt: skip
    assert largest(ours, theirs) < PARITY


DECODE = """
    const { header, arrays } = unpack(input.bytes);
    const decoder = new Decoder(arrays, header.vision);
    return input.z.map((z) => Array.from(decoder.decode(z)));
"""


@pytest.mark.parametrize("which", ["small", "shipped"])
@torch.no_grad()
def test_decoder(run: Script, agent: Agent, which: str, record_property: Any) -> None:
    origin = small() if which == "small" else agent
    z = 2 * torch.randn(4, origin.vision.config.latent, generator=noise())
    theirs = as_packed(origin).vision.reconstruct(z).permute(0, 2, 3, 1)  # (4, 64, 64, 3)
    ours = run(DECODE, bytes=pack_models(origin.vision), z=z)
    assert theirs.std() > 0.02
    difference = largest(ours, theirs)
    record_property("largest_difference", float(difference))
    assert difference < PARITY


STEP = """
    const { header, arrays } = unpack(input.bytes);
    const memory = new Memory(arrays, header.memory);
    return input.z.map((z, i) => {
      const hidden = Float32Array.from(input.hidden[i]);
      const cell = Float32Array.from(input.cell[i]);
      memory.step(hidden, cell, z, input.action[i]);
      const { mixture, reward, end } = memory.predict(hidden);
      const next = new Float32Array(z.length);
      memory.sample(mixture, input.temperature, input.uniform[i], input.normal[i], next);
      return { hidden, cell, mixture: Array.from(mixture), reward, end, next };
    });
"""


@pytest.mark.parametrize(
    "which, temperature", [("small", 0.1), ("small", 2.0), ("poisson", 1.0), ("shipped", 1.15)]
)
@torch.no_grad()
def test_memory(
    run: Script, agent: Agent, which: str, temperature: float, record_property: Any
) -> None:
    other = MemoryConfig(latent=3, actions=2, hidden=6, mixtures=4, log_sigma_range=(-0.5, 0.5))
    origin = {"small": small(), "poisson": small(other), "shipped": agent}[which]
    cfg, memory = origin.memory.config, as_packed(origin).memory
    z = torch.randn(16, cfg.latent, generator=noise(1))
    action = torch.rand(16, cfg.actions, generator=noise(2))
    hidden, cell = torch.randn(2, 16, cfg.hidden, generator=noise(3)).tanh()
    state = memory.step(z, action, State(hidden, cell))
    prediction = memory.predict(state.hidden)
    generator = noise(4)  # `sample` draws in this order
    uniform = torch.rand(16, cfg.latent, generator=generator)
    normal = torch.randn(16, cfg.latent, generator=generator)
    expected = {
        "hidden": state.hidden,
        "cell": state.cell,
        "mixture": memory.mixture(state.hidden),
        "reward": memory.expected_reward(prediction),
        "end": torch.sigmoid(prediction.end),
        "next": sample(prediction, temperature, noise(4)),
    }
    ours = run(
        STEP, bytes=pack_models(origin.vision, origin.memory), z=z, hidden=hidden, cell=cell,
        action=action, uniform=uniform, normal=normal, temperature=temperature,
    )  # fmt: skip
    for name, theirs in expected.items():
        difference = largest([step[name] for step in ours], theirs)
        record_property(name, float(difference))
        assert difference < PARITY, name


@torch.no_grad()
def test_controller(run: Script, agent: Agent) -> None:
    for origin in (small(), agent):
        cfg = origin.controller.config
        features = torch.randn(1, 9, cfg.features, generator=noise())
        body = """
            const { header, arrays } = unpack(input.bytes);
            const controller = new Controller(arrays, header.controller);
            return input.features.map((x) => {
              const row = Float32Array.from(x);
              const { latent } = header.controller;
              return Array.from(controller.act(row.subarray(0, latent), row.subarray(latent)));
            });
        """
        packed = pack_models(origin.vision, origin.memory, origin.controller)
        ours = run(body, bytes=packed, features=features[0])
        assert largest(ours, origin.controller.act(features)[0]) < PARITY


def plain_dream(
    agent: Agent, start: Starts, steps: int, seed: int, temperature: float
) -> dict[str, list[torch.Tensor]]:
    """The dream that a page dreams with this seed: PyTorch, with the noise of NumPy."""
    draws = np.random.RandomState(seed)
    z, state = start.z, State(start.hidden, start.cell)
    kept: dict[str, list[torch.Tensor]] = {"z": [], "action": [], "reward": [], "end": []}
    for _ in range(steps):
        features = torch.cat([z, state.hidden], 1)[None]
        action = agent.controller.act(features)[0]  # (1, A)
        state = agent.memory.step(z, action, state)
        prediction = agent.memory.predict(state.hidden)
        uniform = torch.from_numpy(draws.random_sample(z.shape))
        normal = torch.from_numpy(draws.standard_normal(z.shape))
        share = torch.softmax(prediction.log_pi / temperature, 1).cumsum(1)  # (1, K, Z)
        chosen = (share[:, :-1] < uniform[:, None]).sum(1, keepdim=True)  # (1, 1, Z)
        mean, sigma = (
            part.gather(1, chosen)[:, 0] for part in (prediction.mean, prediction.log_sigma.exp())
        )
        z = (mean + sigma * temperature**0.5 * normal).float()
        draws.random_sample()  # for the end
        kept["z"].append(z[0])
        kept["action"].append(action[0])
        kept["reward"].append(agent.memory.expected_reward(prediction)[0])
        kept["end"].append(torch.sigmoid(prediction.end)[0])
    return kept


@torch.no_grad()
def test_a_whole_dream(run: Script, agent: Agent, starts: Starts, record_property: Any) -> None:
    config = WeightsConfig(vision_bits=16, memory_bits=16)
    rounded = as_packed(agent, config)
    body = """
        const { header, arrays } = unpack(input.bytes);
        const memory = new Memory(arrays, header.memory);
        const controller = new Controller(arrays, header.controller);
        const start = startsOf(arrays, header.memory)[1];
        const dream = new Dream(memory, start, new Random(input.seed));
        const kept = { z: [], action: [], reward: [], end: [] };
        for (let t = 0; t < 60; t++) {
          const action = controller.act(dream.z, dream.hidden);
          const { reward, end } = dream.step(action, 1.15);
          kept.z.push(Array.from(dream.z));
          kept.action.push(Array.from(action));
          kept.reward.push(reward);
          kept.end.push(end);
        }
        return kept;
    """
    packed = pack_models(agent.vision, agent.memory, agent.controller, starts, config)
    ours = run(body, bytes=packed, seed=5)
    theirs = plain_dream(rounded, starts.take(slice(1, 2)), 60, 5, 1.15)
    for name, numbers in theirs.items():
        difference = largest(ours[name], torch.stack(numbers))
        record_property(name, float(difference))
        assert difference < PARITY, name
