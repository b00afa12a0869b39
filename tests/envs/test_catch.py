"""PixelCatch: against its rules written anew, exact expectations, bsuite, and its vector form."""

import copy
import itertools
import pickle
import time
import warnings
from collections.abc import Callable, Iterator

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import wmlib  # noqa: F401  registers the environments
from wmlib.collecting import collect
from wmlib.envs.catch import Board, PixelCatch, draw, drift, read
from wmlib.envs.catch_vector import PixelCatchVector

IDS = {"wmlib/PixelCatch-v0": 0.0, "wmlib/WindyPixelCatch-v0": 0.1}
LEFT, STAY, RIGHT = range(3)
BOARDS = [Board(*at) for at in itertools.product(range(10), range(5), range(5))]


def game(column: int, actions: list[int]) -> Iterator[tuple[str, float, bool]]:
    """The rules without wind, once more: the board as text, the reward, and the end."""
    paddle = 2
    for row, action in enumerate([STAY, *actions]):  # the first board is there before any move
        if action == LEFT and paddle > 0:
            paddle -= 1
        if action == RIGHT and paddle < 4:
            paddle += 1
        board = [list(".....") for _ in range(10)]
        board[9][paddle] = "_"
        board[row][column] = "o" if board[row][column] == "." else "X"  # X: caught
        reward = 0.0 if row < 9 else 1.0 if board[9][paddle] == "X" else -1.0
        yield "\n".join(map("".join, board)), reward, row == 9


def text(board: Board) -> str:
    """A board as `game` draws it."""
    cells = np.full((10, 5), ".")
    cells[9, board.paddle] = "_"
    cells[board.row, board.column] = "X" if board.row == 9 and board.column == board.paddle else "o"
    return "\n".join(map("".join, cells))


def at_random(values: list[float], column: int, paddle: int) -> float:
    return sum(values) / 3


def chasing(values: list[float], column: int, paddle: int) -> float:
    return values[1 + np.sign(column - paddle)]


def at_best(values: list[float], column: int, paddle: int) -> float:
    return max(values)


def expectation(wind: float, player: Callable[[list[float], int, int], float]) -> float:
    """The exact mean return, by dynamic programming over all boards.

    `player` says what a board is worth from what it is worth after each action, and from the
    columns of the ball and the paddle.
    """
    value = {(c, p): 1.0 if c == p else -1.0 for c in range(5) for p in range(5)}
    for _ in range(9):

        def after(column: int, paddle: int, later: dict = value) -> float:
            left, right = max(column - 1, 0), min(column + 1, 4)
            drifted = later[left, paddle] + later[right, paddle]
            return (1 - wind) * later[column, paddle] + wind / 2 * drifted

        value = {
            (c, p): player([after(c, q) for q in (max(p - 1, 0), p, min(p + 1, 4))], c, p)
            for c, p in value
        }
    return sum(value[c, 2] for c in range(5)) / 5


@pytest.mark.parametrize(("name", "wind"), IDS.items())
def test_gymnasium_finds_nothing_wrong(name: str, wind: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(name, render_mode="rgb_array")
        check_env(env.unwrapped)
    assert env.observation_space == gym.spaces.Box(0, 255, (16, 16, 1), np.uint8)
    assert env.action_space == gym.spaces.Discrete(3)
    assert env.unwrapped.wind == wind
    assert env.spec is not None and env.spec.max_episode_steps is None
    assert gym.make(name, wind=0.7, scale=100).unwrapped.wind == 0.7


def test_games_are_those_of_the_rules() -> None:
    env, rng = PixelCatch(), np.random.default_rng(0)
    outcomes = set()
    for _ in range(200):
        picture, info = env.reset(seed=int(rng.integers(2**31)))
        column = env.board.column
        actions = [int(action) for action in rng.integers(0, 3, 9)]
        expected = game(column, actions)
        assert (text(read(picture)), 0.0, False) == next(expected)
        assert info == {}
        for action, following in zip(actions, expected, strict=True):
            picture, reward, terminated, truncated, info = env.step(action)
            assert (text(read(picture)), reward, terminated) == following
            assert env.board == read(picture)
            assert (truncated, info) == (False, {})
        outcomes.add((column, reward))
    assert outcomes == set(itertools.product(range(5), (-1.0, 1.0)))


def test_games_are_those_of_bsuite() -> None:
    """Against the original, where it is installed: it needs far more packages than we do."""
    original = pytest.importorskip("bsuite.environments.catch", exc_type=ImportError)
    theirs, ours, rng = original.Catch(seed=0), PixelCatch(), np.random.default_rng(0)
    seeds = {}  # of ours, by the column in which the ball starts
    for seed in range(100):
        ours.reset(seed=seed)
        seeds[ours.board.column] = seed

    def same(picture: np.ndarray, board: np.ndarray) -> bool:
        seen, expected = read(picture), np.zeros((10, 5))
        expected[seen.row, seen.column] = expected[9, seen.paddle] = 1
        return np.array_equal(expected, board)

    for _ in range(1000):
        step = theirs.reset()
        picture, _ = ours.reset(seed=seeds[int(step.observation[0].argmax())])
        assert same(picture, step.observation)
        ended = False
        while not ended:
            action = int(rng.integers(3))
            step = theirs.step(action)
            picture, reward, ended, _, _ = ours.step(action)
            assert same(picture, step.observation)
            assert (reward, ended) == (step.reward, step.last())


def test_pictures_are_drawn_as_described() -> None:
    for board in BOARDS:
        row, column, paddle = board
        expected = np.zeros((16, 16, 1), np.uint8)
        for y, x in itertools.product(range(16), range(16)):
            touches = y + 1 > 1.5 * row and y < 1.5 * (row + 1)
            if (y <= 14 and touches and x // 3 == column) or (y == 15 and x // 3 == paddle):
                expected[y, x] = 255
        picture = draw(board)
        assert picture.dtype == np.uint8 and np.array_equal(picture, expected)
        assert (picture > 0).sum() == 6 + 3  # nothing is hidden


def test_every_picture_is_read_back() -> None:
    for board in BOARDS:
        assert read(draw(board)) == board
    grid = Board(*np.indices((10, 5, 5)))
    pictures = draw(grid)
    assert pictures.shape == (10, 5, 5, 16, 16, 1)
    assert len(np.unique(pictures.reshape(250, -1), axis=0)) == 250
    assert all(map(np.array_equal, read(pictures), grid))
    draw(BOARDS[0])[:] = 7  # a copy
    assert np.array_equal(draw(BOARDS[0]), pictures[0, 0, 0])


def test_other_pictures_are_read_as_the_nearest_drawing() -> None:
    rng = np.random.default_rng(0)
    drawings = np.stack([draw(board) for board in BOARDS]).reshape(250, -1) / 255
    true = rng.integers(250, size=200)
    blurred = 0.4 * drawings[true] + rng.normal(0, 0.3, (200, 256))
    nearest = [int(np.square(drawings - picture).sum(1).argmin()) for picture in blurred]
    assert 20 < np.sum(nearest != true) < 180  # the noise is of a size that matters
    found = read(blurred.reshape(200, 16, 16, 1))
    assert list(zip(*found, strict=True)) == [BOARDS[i] for i in nearest]


def play(env: PixelCatch, seed: int, actions: list[int]) -> list:
    first, _ = env.reset(seed=seed)
    return [first.tobytes(), *((p.tobytes(), r) for p, r, *_ in map(env.step, actions))]


@pytest.mark.parametrize("wind", [0.0, 0.5])
def test_a_seed_decides_the_game(wind: float) -> None:
    actions = [int(action) for action in np.random.default_rng(0).integers(0, 3, 9)]
    games = [play(PixelCatch(wind), seed, actions) for seed in range(20)]
    assert games == [play(PixelCatch(wind), seed, actions) for seed in range(20)]
    assert len(set(map(str, games))) == (5 if wind == 0 else 20)
    calm = [play(PixelCatch(), seed, actions)[0] for seed in range(20)]
    assert [moves[0] for moves in games] == calm  # the wind does not change where balls start

    env = PixelCatch(wind)
    env.reset(seed=3)
    env.step(LEFT)
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    rest = [env.step(STAY)[0].tobytes() for _ in range(8)] + [env.reset()[0].tobytes()]
    for twin in twins:
        assert [twin.step(STAY)[0].tobytes() for _ in range(8)] + [
            twin.reset()[0].tobytes()
        ] == rest


def test_the_ball_can_always_be_caught_without_wind() -> None:
    assert expectation(0.0, at_best) == 1
    env = PixelCatch()
    for seed in range(200):
        picture, _ = env.reset(seed=seed)
        total, terminated = 0.0, False
        while not terminated:
            _, ball, paddle = read(picture)
            picture, reward, terminated, _, _ = env.step(1 + np.sign(ball - paddle))
            total += reward
        assert total == 1.0


@pytest.mark.parametrize("player", [at_random, chasing])
@pytest.mark.parametrize("wind", [0.0, 0.1, 0.8])
def test_players_score_what_they_must(wind: float, player: Callable) -> None:
    """4 standard errors: a true environment fails once in 16,000 seeds, and the seed is fixed."""
    n, episodes = 500, 20
    envs, rng = PixelCatchVector(n, wind), np.random.default_rng(1)
    picture, _ = envs.reset(seed=10_000)
    total = 0.0
    for _ in range(10 * episodes - 1):
        if player is chasing:
            _, ball, paddle = read(picture)
            actions = 1 + np.sign(ball - paddle)
        else:
            actions = rng.integers(0, 3, n)
        picture, rewards, *_ = envs.step(actions)
        total += rewards.sum()
    exact = expectation(wind, player)
    error = np.sqrt((1 - exact**2) / (n * episodes))  # of a mean of +1s and -1s
    assert abs(total / (n * episodes) - exact) <= 4 * error


def test_scores_that_are_known() -> None:
    """bsuite scores Catch against a random agent's regret of 1.6 an episode: a return of -0.6."""
    for wind in (0.0, 0.1, 1.0):  # ball and paddle are independent, and the ball anywhere
        assert expectation(wind, at_random) == pytest.approx(-0.6)
    assert expectation(0.1, at_best) == pytest.approx(0.84)


@pytest.mark.parametrize("wind", [0.0, 0.1, 0.7, 1.0])
def test_the_wind_blows_as_stated(wind: float) -> None:
    """5 standard errors, because 130 frequencies are looked at: one seed in 13,000 fails."""
    n = 400
    envs = PixelCatchVector(n, wind)
    counts = np.zeros((9, 5, 5))  # step, from, to
    envs.reset(seed=0)
    for _ in range(20):
        envs.reset()
        for step in range(9):
            before = envs.board.column
            envs.step(np.full(n, STAY))
            np.add.at(counts, (step, before, envs.board.column), 1)
    chances = drift(wind)
    assert chances.sum(1) == pytest.approx(1)
    for seen in (*counts, counts.sum(0)):  # the last step is as windy as the first
        left = seen.sum(1, keepdims=True)
        error = np.sqrt(left * chances * (1 - chances))
        assert (np.abs(seen - left * chances) <= 5 * error + 1e-9).all()


def test_the_stated_distribution_of_the_wind() -> None:
    assert np.array_equal(drift(0), np.eye(5))
    assert drift(0.1)[0] == pytest.approx([0.95, 0.05, 0, 0, 0])
    assert drift(0.1)[2] == pytest.approx([0, 0.05, 0.9, 0.05, 0])
    assert drift(1.0)[4] == pytest.approx([0, 0, 0, 0.5, 0.5])


@pytest.mark.parametrize("scale", [0.01, 1, 100])
def test_rewards_are_scaled(scale: float) -> None:
    env = PixelCatch(scale=scale)
    envs = PixelCatchVector(5, scale=scale)
    envs.reset(seed=0)
    seen = set()
    for seed in range(5):
        env.reset(seed=seed)
        rewards = [env.step(STAY)[1] for _ in range(9)]
        assert rewards[:8] == [0] * 8
        seen.add(rewards[8])
    assert seen == {-scale, scale}
    assert set(np.concatenate([envs.step([STAY] * 5)[1] for _ in range(9)])) == {-scale, 0, scale}


@pytest.mark.parametrize(
    ("name", "n"), [*zip(IDS, (7, 3), strict=True), ("wmlib/PixelCatch-v0", 1)]
)
def test_the_vector_form_is_many_single_ones(name: str, n: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = gym.make_vec(name, num_envs=n)
    theirs = gym.make_vec(name, num_envs=n, vectorization_mode="sync")
    assert isinstance(ours, PixelCatchVector) and isinstance(theirs, SyncVectorEnv)
    assert ours.metadata == theirs.metadata
    assert ours.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    for space in ("observation_space", "action_space"):
        assert getattr(ours, space) == getattr(theirs, space)
        assert getattr(ours, f"single_{space}") == getattr(theirs, f"single_{space}")
    rng = np.random.default_rng(0)
    for seed, steps in [(5, 64), (None, 13), (None, 40), (6, 3)]:  # also in mid-episode
        for mine, other in zip(ours.reset(seed=seed), theirs.reset(seed=seed), strict=True):
            assert np.array_equal(mine, other)
        for _ in range(steps):
            actions = rng.integers(0, 3, n)
            for mine, other in zip(ours.step(actions), theirs.step(actions), strict=True):
                assert np.array_equal(mine, other)
                assert getattr(mine, "dtype", None) == getattr(other, "dtype", None)
    assert ours.np_random_seed == theirs.np_random_seed == tuple(range(6, 6 + n))
    assert [a.random() for a in ours.np_random] == [b.random() for b in theirs.np_random]


def test_pictures_may_be_painted_over() -> None:
    env = PixelCatch()
    before = play(env, 0, [STAY] * 9)
    env.reset(seed=0)[0][:] = 7
    for _ in range(9):
        env.step(STAY)[0][:] = 7
    assert play(env, 0, [STAY] * 9) == before


def test_the_vector_form_keeps_no_hold_on_what_it_gave() -> None:
    envs = PixelCatchVector(3, wind=0.5)
    given = [envs.reset(seed=0)[0]]
    kept = [given[0].copy()]
    for _ in range(12):
        for array in envs.step([LEFT, STAY, RIGHT])[:4]:
            given.append(array)
            kept.append(array.copy())
    assert all(map(np.array_equal, given, kept))
    for one, other in itertools.combinations(given, 2):
        assert not np.shares_memory(one, other)


def test_the_vector_form_is_fast() -> None:
    """A fifth of the million frames a second that it must make on an idle core."""
    envs, actions = PixelCatchVector(64, wind=0.1), np.ones(64, np.int64)
    envs.reset(seed=0)
    rates = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(200):
            envs.step(actions)
        rates.append(200 * 64 / (time.process_time() - start))
    assert max(rates) > 200_000


def test_pictures_for_people() -> None:
    env, envs = PixelCatch(render_mode="rgb_array"), PixelCatchVector(3, render_mode="rgb_array")
    small, _ = env.reset(seed=0)
    large = env.render()
    assert large.shape == (256, 256, 3) and large.dtype == np.uint8
    assert np.array_equal(large[8::16, 8::16], np.repeat(small, 3, axis=2))
    assert np.array_equal(large, np.kron(small, np.ones((16, 16, 3), np.uint8)))
    envs.reset(seed=0)
    pictures = envs.render()
    assert isinstance(pictures, tuple) and len(pictures) == 3
    assert np.array_equal(pictures[0], large)
    assert PixelCatch().render() is None and PixelCatchVector(2).render() is None


class Sampled:
    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def act(self, observation: np.ndarray) -> int:
        return int(self._rng.integers(3))


def test_episodes_are_collected_as_any_others() -> None:
    for episode in collect(
        Sampled(), "wmlib/WindyPixelCatch-v0", episodes=3, seed=0, progress=False
    ):
        assert episode.observations.shape == (10, 16, 16, 1)
        assert episode.observations.dtype == np.uint8
        assert episode.actions.dtype == np.int64 and episode.terminated
        assert read(episode.observations).row.tolist() == list(range(10))


def test_wrong_calls_are_refused() -> None:
    env, envs = PixelCatch(), PixelCatchVector(2)
    env.reset(seed=0)
    envs.reset(seed=0)
    for call, words in [
        (lambda: env.step(3), "action must be 0, 1 or 2, got 3"),
        (lambda: env.step(-1), "action must be 0, 1 or 2, got -1"),
        (lambda: env.step(1.0), "action must be 0, 1 or 2, got 1.0"),
        (lambda: env.step(None), "action must be 0, 1 or 2, got None"),
        (lambda: env.step(np.array([0, 1])), "action must be 0, 1 or 2, got array"),
        (lambda: envs.step([0, 3]), r"actions must be 2 of 0, 1 and 2, got \[0, 3\]"),
        (lambda: envs.step([-1, 0]), "actions must be 2 of 0, 1 and 2"),
        (lambda: envs.step([0]), "actions must be 2 of 0, 1 and 2"),
        (lambda: envs.step([0.0, 1.0]), "actions must be 2 of 0, 1 and 2"),
        (lambda: envs.step([[0], [0, 1]]), "actions must be 2 of 0, 1 and 2"),
        (lambda: envs.step(None), "actions must be 2 of 0, 1 and 2, got None"),
        (lambda: envs.reset(options={"reset_mask": np.array([True, False])}), "no reset_mask"),
        (lambda: PixelCatch(wind=1.1), r"wind must be in \[0, 1\], got 1.1"),
        (lambda: PixelCatch(wind=-0.1), r"wind must be in \[0, 1\], got -0.1"),
        (lambda: PixelCatch(wind=float("nan")), r"wind must be in \[0, 1\], got nan"),
        (lambda: PixelCatch(wind="0.1"), "wind must be a number, got '0.1'"),
        (lambda: PixelCatchVector(2, wind=2), r"wind must be in \[0, 1\], got 2"),
        (lambda: drift(2), r"wind must be in \[0, 1\], got 2"),
        (lambda: PixelCatch(scale=0), "scale must be a positive number, got 0"),
        (lambda: PixelCatch(scale=float("inf")), "scale must be a positive number, got inf"),
        (lambda: PixelCatchVector(2, scale=-1), "scale must be a positive number, got -1"),
        (lambda: PixelCatch(render_mode="human"), "render_mode must be 'rgb_array' or None, got"),
        (lambda: PixelCatchVector(0), "num_envs must be at least 1, got 0"),
        (lambda: PixelCatchVector(2.5), "num_envs must be a whole number, got 2.5"),
        (lambda: draw(Board(10, 0, 0)), "row must be whole numbers from 0 to 9, got 10"),
        (lambda: draw(Board(0, -1, 0)), "column must be whole numbers from 0 to 4, got -1"),
        (lambda: draw(Board(0, 0, 0.5)), "paddle must be whole numbers from 0 to 4, got 0.5"),
        (
            lambda: read(np.zeros((16, 16))),
            r"pictures must be .* \(..., 16, 16, 1\) of real .*, got .* \(16, 16\)",
        ),
        (
            lambda: read(np.full((16, 16, 1), np.nan)),
            r"pictures must be finite, got nan at \[0, 0, 0\]",
        ),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
    assert env.board.row == 0 and envs.board.row == 0  # what was refused moved nothing


def test_an_episode_must_have_begun_and_not_ended() -> None:
    words = "there is no episode, or it has ended: call reset first"
    env, envs = PixelCatch(render_mode="rgb_array"), PixelCatchVector(2, render_mode="rgb_array")
    for call in (
        lambda: env.step(STAY), env.render, lambda: envs.step([STAY, STAY]), envs.render
    ):  # fmt: skip
        with pytest.raises(ResetNeeded, match=words):
            call()
    env.reset(seed=0)
    for _ in range(9):
        env.step(STAY)
    with pytest.raises(ResetNeeded, match=words):
        env.step(STAY)
    env.render()  # the last picture can still be seen
    env.reset()
    env.step(STAY)
