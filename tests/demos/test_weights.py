"""What of an agent travels to a page, and what the rounding costs."""

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from wmlib.agents.world_models.agent import Agent
from wmlib.agents.world_models.controller import ControllerConfig, LinearController
from wmlib.agents.world_models.memory import MDNRNN, MemoryConfig
from wmlib.agents.world_models.starts import Starts
from wmlib.agents.world_models.vision import VAE, VisionConfig
from wmlib.demos.page.blocks import unpack
from wmlib.demos.page.weights import (
    MOST_STARTS,
    WeightsConfig,
    as_packed,
    pack_models,
    quantisation_cost,
)
from wmlib.episodes import Episode
from wmlib.training import seeded

PAGE = 2_000_000  # bytes that V's decoder and M may take of a page


def silence(memory: MDNRNN, count: int = 1) -> Starts:
    return Starts(torch.zeros(count, memory.config.latent), *memory.initial(count))


def test_a_page_carries_no_more_than_it_may(agent: Agent, starts: Starts) -> None:
    packed = pack_models(agent.vision, agent.memory, agent.controller, starts)
    assert len(packed) * 4 / 3 < PAGE  # a page holds bytes in base64


def test_all_that_a_page_needs_is_there_and_no_more(agent: Agent, starts: Starts) -> None:
    packed = pack_models(agent.vision, agent.memory, agent.controller, starts)
    arrays, header = unpack(packed)
    assert header["vision"]["channels"] == list(agent.vision.config.channels)
    assert header["memory"]["reward_offset"] == agent.memory.config.reward_offset
    assert header["controller"]["squash"] == list(agent.controller.config.squash)
    decoder = sum(
        p.numel() for name, p in agent.vision.named_parameters()
        if name.startswith(("from_code", "deconvolutions"))
    )  # fmt: skip
    order = agent.vision.config.latent  # of the sliders
    parameters = decoder + order + agent.memory.paper_parameters() + 257 * 2 + 867
    assert sum(array.size for array in arrays.values()) == parameters + 3 * (32 + 2 * 256)
    torch.testing.assert_close(torch.tensor(arrays["starts.cell"]), starts.cell, rtol=0, atol=0)
    np.testing.assert_array_equal(
        arrays["controller.weight"].ravel(), agent.controller.parameters[0, :864].numpy()
    )


def test_the_copy_has_the_numbers_of_the_page(agent: Agent) -> None:
    before = copy.deepcopy(agent.vision.state_dict())
    arrays, _ = unpack(pack_models(agent.vision, agent.memory))
    packed = as_packed(agent)
    state = {f"vision.{name}": tensor for name, tensor in packed.vision.state_dict().items()}
    state |= {f"memory.{name}": tensor for name, tensor in packed.memory.state_dict().items()}
    state["memory.lstm.bias"] = state["memory.lstm.bias_ih_l0"] + state["memory.lstm.bias_hh_l0"]
    assert sorted(arrays.pop("latents.order")) == list(range(agent.vision.config.latent))
    for name, array in arrays.items():
        np.testing.assert_array_equal(state[name].numpy(), array)
    for name, tensor in agent.vision.state_dict().items():
        assert torch.equal(tensor, before[name])  # the original is as it was
        rounded = name.startswith(("from_code", "deconvolutions")) and name.endswith("weight")
        assert torch.equal(tensor, packed.vision.state_dict()[name]) != rounded


def test_both_biases_of_the_lstm_travel_as_one() -> None:
    memory = seeded(0, lambda: MDNRNN(MemoryConfig(hidden=8)))
    with torch.no_grad():
        memory.lstm.bias_hh_l0.copy_(torch.linspace(-1, 1, 32))
    arrays, _ = unpack(pack_models(seeded(0, VAE), memory))
    both = (memory.lstm.bias_ih_l0 + memory.lstm.bias_hh_l0).detach().numpy()
    np.testing.assert_array_equal(arrays["memory.lstm.bias"], both)


def test_the_head_for_a_cost_stays_behind() -> None:
    memory, vision = seeded(0, lambda: MDNRNN(MemoryConfig(hidden=8, cost_weight=1.0))), VAE()
    arrays, _ = unpack(pack_models(vision, memory))
    assert "memory.end.weight" in arrays and not any(".cost." in name for name in arrays)
    agent = Agent(vision, memory, LinearController(np.zeros(3 * 41), ControllerConfig(hidden=8)))
    packed = as_packed(agent).memory
    assert packed.cost is not None and memory.cost is not None
    assert torch.equal(packed.cost.weight, memory.cost.weight)


def test_rounding_costs_little_and_more_bits_cost_less(
    agent: Agent, episodes: list[Episode]
) -> None:
    eight = quantisation_cost(agent, episodes, horizon=20)
    sixteen = quantisation_cost(agent, episodes, WeightsConfig(16, 16), horizon=20)
    for name, (original, rounded) in eight.items():
        fine = sixteen[name]
        assert fine[0] == original
        assert abs(fine[1] - original) < 2e-4 * max(1, abs(original)), name
        assert abs(rounded - original) < 0.03 * max(1, abs(original)), name
        assert rounded != original
    # The same by hand, for V: the error of a batch of frames, decoded from their means.
    frames = np.concatenate([np.asarray(episode.observations) for episode in episodes])
    with torch.no_grad():
        x = agent.vision.images(frames)
        z = agent.vision.posterior(x)[0]
        for module, value in zip((agent, as_packed(agent)), eight["squared_error"], strict=True):
            error = (module.vision.reconstruct(z) - x).square().sum() / len(frames)
            assert float(error) == pytest.approx(value, rel=1e-4)


def test_weights_that_are_not_finite_are_refused_by_name(agent: Agent) -> None:
    broken = as_packed(agent)
    with torch.no_grad():
        broken.memory.mixture.weight[3, 4] = torch.nan
    with pytest.raises(ValueError, match=r"memory\.mixture\.weight holds NaN or infinity"):
        pack_models(broken.vision, broken.memory)
    with torch.no_grad():
        broken.vision.from_code.bias[0] = torch.inf
    with pytest.raises(ValueError, match=r"vision\.from_code\.bias holds NaN"):
        pack_models(broken.vision)
    with pytest.raises(ValueError, match=r"starts\.z holds NaN"):
        bad = silence(agent.memory)
        pack_models(agent.vision, agent.memory, starts=bad._replace(z=bad.z * torch.nan))


def test_parts_that_do_not_fit_are_refused(agent: Agent) -> None:
    vision, memory, controller = agent.vision, agent.memory, agent.controller
    other = seeded(0, lambda: VAE(VisionConfig(latent=16, channels=(4, 4, 4, 4))))
    narrow = seeded(0, lambda: MDNRNN(MemoryConfig(hidden=8)))
    many = LinearController(np.zeros((2, 867)))
    two = LinearController(np.zeros(578), ControllerConfig(squash=("tanh", "tanh")))
    wrong: list[tuple[tuple[Any, ...], str]] = [
        ((other, memory), "V's latents must be 32, got 16"),
        ((vision, narrow, controller), "hidden numbers of C must be 8, got 256"),
        ((vision, memory, many), "controllers that drive must be 1, got 2"),
        ((vision, memory, two), r"actions of C must be \(32, 3\), got \(32, 2\)"),
        ((vision, memory, controller, silence(narrow)), "starts.hidden must be"),
        ((vision, memory, None, silence(memory, 0)), r"starts.z must be .* got .* \(0, 32\)"),
        ((vision, memory, None, silence(memory, MOST_STARTS + 1)), r"starts must be in .*, got 65"),
        ((vision, None, controller), "need their M"),
    ]
    for parts, message in wrong:
        with pytest.raises(ValueError, match=message):
            pack_models(*parts)


@pytest.mark.parametrize("field, value", [("vision_bits", 4), ("memory_bits", 32), ("block", 0)])
def test_the_config_refuses_other_numbers(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(WeightsConfig(), **{field: value})
