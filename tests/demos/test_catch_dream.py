"""Playing Catch in a dream: DreamerV3 in JavaScript, and the game on a page in Chromium."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import traitlets

import wmlib  # noqa: F401 - registers the environments
from wmlib.agents.dreamerv3 import DreamerV3, DreamerV3Config, Spaces, State
from wmlib.demos import CatchDream
from wmlib.demos.catch_dream.weights import as_packed, pack_catcher, starts
from wmlib.demos.page.blocks import unpack
from wmlib.envs.catch import PICTURES, Board, draw, read
from wmlib.nets.heads import expected

PARITY = 1e-4
Opened = Callable[..., AbstractContextManager[Any]]  # the fixture `shown`
Script = Callable[..., Any]  # the fixture `run`
MODULES = ["page/engine.js", "catch_dream/rssm.js"]
MOVES = ("left", "stay", "right")


def spaces(env_id: str) -> Spaces:
    env = gym.make(env_id)
    return Spaces.of(env.observation_space, env.action_space)


@pytest.fixture(scope="module")
def agent() -> DreamerV3:
    """Of the book's sizes, with weights that say something, and a game that goes on."""
    made = DreamerV3(spaces("wmlib/PixelCatch-v0"), DreamerV3Config(), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in (*made.model.parameters(), *made.actor.parameters()):
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
        made.model.reward[-1].bias.copy_(-0.3 * (torch.arange(255) - 127).abs())  # of sane size
        made.model.goes_on[-1].bias.fill_(9.0)
        made.actor.network[-1].weight.mul_(3)
    return made


@pytest.fixture(scope="module")
def rounded(agent: DreamerV3) -> DreamerV3:
    return as_packed(agent)


@pytest.fixture(scope="module")
def widget(agent: DreamerV3) -> CatchDream:
    return CatchDream(agent, seed=7)


@pytest.fixture(params=["in_node", "in_chromium"])
def run(request: pytest.FixtureRequest) -> Script:
    """`run(body, **input)`: what JavaScript beside the model returns, in Node and in Chromium."""
    return partial(request.getfixturevalue(request.param), MODULES)


@torch.no_grad()
def dreamed(agent: DreamerV3, state: State, moves: list[int], uniform: np.ndarray) -> list[Any]:
    """What a page shows after each move: by PyTorch, with these dice."""
    model, told = agent.model, []
    for move, dice in zip(moves, torch.from_numpy(uniform).float(), strict=True):
        state = model.rssm.imagine(state, torch.eye(3)[move][None], dice[None])
        features = state.features
        goes_on = model.expected_continue(features) * model.config.horizon
        told.append((
            state, model.paint(features)[0].clamp(0, 1).numpy(),
            float(model.expected_reward(features)),
            float((goes_on / (model.config.horizon - 1)).clamp(max=1)),
            int(agent.actor.choice(features).argmax()),
        ))  # fmt: skip
    return told


def first(agent: DreamerV3, column: int, seed: int = 0) -> State:
    """Where a page begins: the rounded model never saw it, the whole one did."""
    return State(*(part[column : column + 1] for part in starts(agent, seed)))


# --- in Python


def test_what_does_not_play_catch_is_refused(agent: DreamerV3) -> None:
    other = DreamerV3(spaces("CartPole-v1"))
    with pytest.raises(ValueError, match=r"see pictures \(16, 16, 1\) and choose among 3"):
        CatchDream(other)
    with pytest.raises(TypeError, match="agent must be a DreamerV3, got RSSM"):
        CatchDream(agent.model.rssm)  # type: ignore[arg-type]
    for options, message in (
        ({"start": 5}, r"start must be in \[0, 4\], got 5"),
        ({"seed": -1}, r"seed must be in \[0, 4294967296\), got -1"),
        ({"bits": 4}, "bits must be 8 or 16, got 4"),
    ):
        with pytest.raises(ValueError, match=message):
            CatchDream(agent, **options)
    broken = copy.deepcopy(agent)
    with torch.no_grad():
        broken.model.rssm.cell.mix.weight[1, 2, 3] = torch.nan
    with pytest.raises(ValueError, match=r"rssm\.cell\.mix\.weight holds NaN or infinity"):
        CatchDream(broken)


def test_what_is_set_later_is_checked_too(widget: CatchDream) -> None:
    with pytest.raises(traitlets.TraitError, match=r"start must be in \[0, 4\], got 7"):
        widget.start = 7
    assert widget.start == 0


def test_all_that_a_page_needs_is_there_and_no_more(agent: DreamerV3) -> None:
    packed = pack_catcher(agent)
    assert len(packed) < 1_000_000
    arrays, header = unpack(packed)
    needed = [
        *agent.model.rssm.from_state.parameters(), *agent.model.rssm.from_dice.parameters(),
        *agent.model.rssm.from_action.parameters(), *agent.model.rssm.cell.parameters(),
        *agent.model.rssm.to_prior.parameters(), *agent.model.decoder.parameters(),
        *agent.model.reward.parameters(), *agent.model.goes_on.parameters(),
        *agent.actor.parameters(),
    ]  # fmt: skip
    features = (
        header["rssm"]["deterministic"] + header["rssm"]["variables"] * header["rssm"]["classes"]
    )
    count = sum(weight.numel() for weight in needed) + 5 * features + header["world"]["bins"]
    assert sum(array.size for array in arrays.values()) == count


def test_the_copy_has_the_numbers_of_the_page(agent: DreamerV3, rounded: DreamerV3) -> None:
    arrays, _ = unpack(pack_catcher(agent))
    mix = rounded.model.rssm.cell.mix.weight.detach()
    np.testing.assert_array_equal(mix.mT.numpy(), arrays["rssm.cell.mix.weight"])
    assert not torch.equal(mix, agent.model.rssm.cell.mix.weight)
    assert torch.equal(rounded.model.encoder[0][0].weight, agent.model.encoder[0][0].weight)
    for before, after in zip(agent.actor.parameters(), rounded.actor.parameters(), strict=True):
        torch.testing.assert_close(
            before, after, rtol=0, atol=float(before.detach().abs().max()) / 127
        )
    finer = as_packed(agent, bits=16).model.rssm.cell.mix.weight
    error = (agent.model.rssm.cell.mix.weight - mix).abs().max()
    assert (agent.model.rssm.cell.mix.weight - finer).abs().max() < error / 100


@torch.no_grad()
def test_a_game_begins_as_the_agent_sees_it(agent: DreamerV3) -> None:
    """The states after the first picture are those of the policy that plays."""
    uniform = torch.rand(
        5, agent.model.rssm.config.variables, generator=torch.Generator().manual_seed(4)
    )
    begun = starts(agent, 4)
    for column in range(5):
        seen = torch.from_numpy(draw(Board(0, column, 2)))[None, None]
        states, _ = agent.model.rssm.filter(
            agent.model.encoder(agent.model.numbers(seen)), torch.zeros(1, 1, 3), torch.ones(1, 1),
            uniform[None, column : column + 1],
        )  # fmt: skip
        torch.testing.assert_close(begun.features[column], states.features[0, 0])


# --- in JavaScript

DREAM = """
    const { header, arrays } = unpack(input.bytes);
    const agent = new DreamerV3(arrays, header);
    let state = startsOf(arrays, header)[input.start];
    let at = 0;
    return input.moves.map((move) => {
      state = agent.imagine(state, move, () => input.uniform[at++]);
      return { ...state, ...agent.look(state) };
    });
"""


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("start", [0, 3])
def test_a_page_dreams_as_pytorch_does(
    run: Script, agent: DreamerV3, bits: Any, start: int, record_property: Any
) -> None:
    """States, pictures, rewards, ends and the actor's choice, under the same moves and dice."""
    moves = [0, 2, 1, 1, 2, 0, 0, 2, 1, 2, 2, 0]
    variables = agent.model.rssm.config.variables
    uniform = np.random.RandomState(5).random_sample((len(moves), variables))
    theirs = dreamed(as_packed(agent, bits), first(agent, start), moves, uniform)
    ours = run(
        DREAM, bytes=pack_catcher(agent, bits=bits), start=start, moves=moves,
        uniform=uniform.ravel(),
    )  # fmt: skip
    for step, (state, picture, reward, goes_on, choice) in zip(ours, theirs, strict=True):
        assert step["stochastic"] == state.stochastic[0].tolist()
        for name, number in (
            ("deterministic", state.deterministic[0].numpy()), ("picture", picture),
            ("reward", reward), ("goesOn", goes_on),
        ):  # fmt: skip
            difference = float(np.abs(np.asarray(step[name]) - number).max())
            record_property(name, difference)
            assert difference < PARITY * max(1, np.abs(number).max()), name
        assert step["choice"] == choice
    assert len({step["choice"] for step in ours}) > 1
    assert np.std([step["reward"] for step in ours]) > 0.1
    assert np.std([step["picture"] for step in ours], 0).max() > 0.1


def test_a_new_reward_head_expects_exactly_nothing(run: Script, agent: DreamerV3) -> None:
    """Both languages sum e^20 and its mirror image so that they cancel."""
    silent = copy.deepcopy(agent)
    with torch.no_grad():
        silent.model.reward[-1].weight.zero_()
        silent.model.reward[-1].bias.zero_()
    assert float(expected(torch.zeros(255), agent.model.bins)) == 0
    body = DREAM.replace("return { ...state,", "return {")
    (step,) = run(body, bytes=pack_catcher(silent), start=0, moves=[1], uniform=np.full(99, 0.5))
    assert step["reward"] == 0


def test_a_page_reads_a_picture_as_the_library_does(run: Script, agent: DreamerV3) -> None:
    rng = np.random.default_rng(0)
    pictures = (
        PICTURES[rng.integers(0, 10, 20), rng.integers(0, 5, 20), rng.integers(0, 5, 20)] / 255
    )
    pictures = pictures * 0.8 + 0.3 * rng.random(pictures.shape)
    _, header = unpack(pack_catcher(agent))
    there = run(
        "return input.pictures.map((picture) => read(picture, input.board));",
        pictures=pictures.reshape(20, -1), board=header["board"],
    )  # fmt: skip
    here = read(pictures)
    assert [
        (one["ball"]["row"], one["ball"]["column"], one["paddle"]["column"]) for one in there
    ] == [*zip(*(part.tolist() for part in here), strict=True)]
    assert all(0.5 < one["ball"]["light"] < 1.2 for one in there)


def test_weights_of_another_shape_are_refused_by_name(run: Script, agent: DreamerV3) -> None:
    body = """
        const { header, arrays } = unpack(input.bytes);
        const wrong = [];
        for (const change of [
          () => { header.rssm.units += 1; },
          () => { header.rssm.units -= 1; arrays["starts.stochastic"].shape = [5, 3]; },
          () => { delete arrays["starts.deterministic"]; },
        ]) {
          change();
          try {
            new DreamerV3(arrays, header);
            startsOf(arrays, header);
          } catch (error) { wrong.push(error.message); }
        }
        return wrong;
    """
    units = agent.model.rssm.config.units
    wrong = run(body, bytes=pack_catcher(agent))
    assert wrong[0].startswith(f"rssm.from_state.0.weight has shape {units},")
    assert wrong[1].startswith("starts.stochastic has shape 5,3, expected 5,")
    assert wrong[2] == "there is no moment to start from"


# --- on a page


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def status(page: Any) -> str:
    return page.get_by_role("status").text_content() or ""


def told(page: Any, name: str) -> str:
    """The number behind a name."""
    row = page.locator(".wm-fact").filter(has_text=name)
    return str(row.locator(".wm-value").text_content())


def pixels(page: Any) -> np.ndarray:
    flat = page.evaluate(
        "[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 16, 16).data]"
    )
    return np.array(flat).reshape(16, 16, 4)[..., 0] / 255


def test_the_reader_plays_and_the_page_shows_the_dream(
    shown: Opened, widget: CatchDream, agent: DreamerV3, rounded: DreamerV3
) -> None:
    """The same dice as Python's: pictures, rewards and ends of five moves."""
    moves = [0, 0, 2, 1, 2]
    uniform = np.random.RandomState(7).random_sample((5, agent.model.rssm.config.variables))
    theirs = dreamed(rounded, first(agent, 0, 7), moves, uniform)
    with shown(widget) as it:
        assert it.count("moves") == 0 and told(it.page, "Believed reward") == "–"
        total = 0.0
        for move, (_, picture, reward, goes_on, choice) in zip(moves, theirs, strict=True):
            press(it.page, ("◀ Left", "Stay", "Right ▶")[move])
            total += reward
            assert np.abs(pixels(it.page) - picture.reshape(16, 16)).max() <= 1.5 / 255
            assert told(it.page, "Believed reward") == f"{reward:.2f}".replace("-", "−")
            assert told(it.page, "chance that it goes on") == f"{100 * goes_on:.0f} %"
            assert told(it.page, "The agent would") == ("left", "not", "right")[choice]
            assert status(it.page).startswith(f"You: {MOVES[move]}. ")
        assert it.saved("moves") == moves
        assert it.saved("believed_return") == pytest.approx(total, abs=1e-3)


def test_nothing_moves_before_the_reader_does(shown: Opened, widget: CatchDream) -> None:
    with shown(widget) as it:
        before = pixels(it.page)
        it.page.wait_for_timeout(400)
        assert np.array_equal(pixels(it.page), before)
        assert (it.count("painted"), it.count("moves")) == (1, 0)


def test_the_agent_plays_until_the_reader_takes_over(
    shown: Opened, widget: CatchDream, rounded: DreamerV3
) -> None:
    with shown(widget) as it:
        page = it.page
        page.get_by_label("Moves of the agent in a second").fill("4")
        press(page, "Let the agent play")
        assert status(page) == "The agent plays. A move of yours takes over."
        it.wait("demo.dataset.moves > 2")
        press(page, "Pause")
        rest = it.count("moves")
        assert status(page).startswith("Paused. ")
        assert len(it.saved("moves")) == rest
        page.wait_for_timeout(400)
        assert it.count("moves") == rest
        press(page, "Let the agent play")
        it.wait(f"demo.dataset.moves > {rest}")
        page.keyboard.press("d")
        assert page.locator(".wm-demo").get_attribute("data-running") == "false"
        assert it.saved("moves")[-1] == 2
        assert status(page).startswith("You: right. ")
        press(page, "One move of the agent")
        assert status(page).startswith("The agent: ")


def test_the_agent_on_a_page_does_what_it_does_in_python(
    shown: Opened, widget: CatchDream, agent: DreamerV3, rounded: DreamerV3
) -> None:
    dice = np.random.RandomState(7).random_sample((6, agent.model.rssm.config.variables))
    with torch.no_grad():
        moves = [int(rounded.actor.choice(first(agent, 0, 7).features).argmax())]
    for count in range(1, 6):
        moves.append(dreamed(rounded, first(agent, 0, 7), moves, dice[:count])[-1][-1])
    with shown(widget) as it:
        for _ in moves:
            press(it.page, "One move of the agent")
        assert it.saved("moves") == moves


def test_a_keyboard_alone_plays_and_leaves(shown: Opened, widget: CatchDream) -> None:
    with shown(widget) as it:
        page = it.page
        page.get_by_role("link", name="above").focus()
        page.keyboard.press("ArrowLeft")  # elsewhere, a key plays nothing
        assert it.count("moves") == 0
        order = [it.tab() for _ in range(12)]
        assert order[:9] == [
            "◀ Left", "Stay", "Right ▶", "Let the agent play", "One move of the agent",
            "The same game", "New game", "Moves of the agent in a second", "below",
        ]  # fmt: skip
        page.get_by_role("button", name="Stay").focus()
        for key in ("ArrowLeft", "a", "S", "ArrowRight", "d"):
            page.keyboard.press(key)
        assert it.saved("moves") == [0, 0, 1, 2, 2]
        page.keyboard.press("ArrowDown")  # is the page's
        page.wait_for_function("scrollY > 0")
        page.get_by_role("button", name="Let the agent play").focus()
        page.keyboard.press("Enter")
        assert page.locator(".wm-demo").get_attribute("data-running") == "true"
        page.keyboard.press("Escape")
        assert page.locator(".wm-demo").get_attribute("data-running") == "false"
        slider = page.get_by_label("Moves of the agent in a second")
        slider.focus()
        page.keyboard.press("ArrowRight")
        assert slider.input_value() == "2.5"
        assert len(it.saved("moves")) == 5


def test_the_same_game_and_another(shown: Opened, widget: CatchDream) -> None:
    with shown(widget) as it:

        def three() -> float:
            for _ in range(3):
                press(it.page, "◀ Left")
            return float(it.saved("believed_return"))

        one = three()
        press(it.page, "The same game")
        assert it.saved("moves") == [] and it.saved("start") == 0
        assert three() == one
        press(it.page, "New game")
        assert it.saved("start") == 1
        assert three() != one
        it.page.evaluate("model.set('start', 4)")
        assert it.count("moves") == 0
        press(it.page, "New game")
        assert it.saved("start") == 0


def test_the_dream_ends_when_it_says_so(shown: Opened, agent: DreamerV3) -> None:
    doomed = copy.deepcopy(agent)
    with torch.no_grad():
        doomed.model.goes_on[-1].bias.fill_(-99.0)
    with shown(CatchDream(doomed, start=2)) as it:
        press(it.page, "Stay")
        assert status(it.page).startswith("The dream says that the game is over, after 1 move, and")
        assert told(it.page, "chance that it goes on") == "0 %"
        assert it.count("moves") == 1
        press(it.page, "Stay")  # the next game
        assert (it.count("moves"), it.saved("start")) == (0, 3)
        press(it.page, "Let the agent play")
        it.wait("demo.dataset.running === 'false'")
        press(it.page, "Let the agent play again")
        it.wait("demo.dataset.running === 'false'")
        assert (it.count("moves"), it.saved("start")) == (1, 4)


def test_a_dream_that_never_ends_is_cut(shown: Opened, widget: CatchDream) -> None:
    with shown(widget) as it:
        for _ in range(30):
            it.page.keyboard.press("Escape")
            press(it.page, "Stay")
        assert status(it.page) == "After 30 moves the dream still says that the game goes on."


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_into_320_pixels(shown: Opened, widget: CatchDream, scheme: str) -> None:
    with shown(widget, width=320, color_scheme=scheme) as it:
        assert it.page.evaluate("document.documentElement.scrollWidth") <= 320
        boxes = [one.bounding_box() for one in it.page.locator(".wm-demo button").all()]
        assert all(box and box["height"] >= 44 and box["width"] >= 44 for box in boxes)


def test_stillness_shows_one_picture_a_move(shown: Opened, widget: CatchDream) -> None:
    with shown(widget, reduced_motion="reduce") as it:
        press(it.page, "Let the agent play")
        it.wait("demo.dataset.moves > 1")
        press(it.page, "Pause")
        assert it.count("painted") == it.count("moves") + 1
