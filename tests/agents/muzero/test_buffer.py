"""What a batch teaches, against loops over whole games."""

import numpy as np
import pytest

from wmlib.agents.muzero import Buffer, Played

A = 3


def games(rng: np.random.Generator, count: int) -> list[Played]:
    """Games of 1 to 7 steps, of which no two steps look alike; one in three is cut off."""
    made = []
    for number in range(count):
        T = int(rng.integers(1, 8))
        made.append(Played(
            rng.random((T, 2), dtype=np.float32), np.ones((T, A), bool), rng.integers(A, size=T),
            rng.normal(size=T).astype(np.float32),
            rng.dirichlet(np.ones(A), T).astype(np.float32),
            rng.normal(size=T).astype(np.float32), np.arange(T, 0, -1),
            np.full(T, number % 3 == 0),
        ))  # fmt: skip
    return made


def target(game: Played, t: int, discount: float, horizon: int | None) -> float:
    """A value target by a plain loop; nothing is worth anything past the end.

    Where a game was cut off, its last search says what would have come.
    """
    total, end = 0.0, len(game.actions)
    known = end - 1 if game.cut[0] else end
    last = known if horizon is None else min(known, t + horizon)
    for step in range(t, last):
        total += discount ** (step - t) * float(game.rewards[step])
    if last < end:
        total += discount ** (last - t) * float(game.values[last])
    return total


@pytest.mark.parametrize("horizon", [None, 1, 3])
@pytest.mark.parametrize("discount", [0.9, -0.9])
def test_a_batch_is_what_a_loop_over_games_says(discount: float, horizon: int | None) -> None:
    rng, K = np.random.default_rng(1), 5
    played = games(rng, 40)
    buffer = Buffer(1000, discount, horizon)
    for game in played:
        buffer.extend(game)
    where = {tuple(row): (game, t) for game in played for t, row in enumerate(game.observations)}
    batch, past = buffer.draw(rng, 300, K), 0
    for b in range(300):
        game, t = where[tuple(batch.observations[b])]
        end = len(game.actions)
        for k in range(K + 1):
            if t + k < end:
                expected = target(game, t + k, discount, horizon)
                assert batch.values[b, k] == pytest.approx(expected, abs=1e-5)
                np.testing.assert_array_equal(batch.policies[b, k], game.policies[t + k])
            else:  # absorbing: worth nothing, and nothing is asked of the policy
                past += 1
                assert batch.values[b, k] == 0 and (batch.policies[b, k] == 0).all()
            assert batch.known[b, k] == (t + k < end or not game.cut[0])
            if k < K:
                alive = t + k < end
                assert batch.rewards[b, k] == (game.rewards[t + k] if alive else 0)
                assert not alive or batch.actions[b, k] == game.actions[t + k]
    assert past > 300
    assert set(batch.actions.ravel()) == set(range(A))


def test_what_a_search_says_beyond_the_support_counts_as_its_end() -> None:
    played = games(np.random.default_rng(0), 30)
    buffer = Buffer(1000, -1.0, 1, reach=0.5)
    for game in played:
        buffer.extend(game._replace(rewards=np.zeros_like(game.rewards)))
    batch = buffer.draw(np.random.default_rng(0), 200, 2)
    assert np.abs(batch.values).max() == 0.5


def test_the_oldest_steps_make_way_and_a_game_that_is_cut_keeps_its_end() -> None:
    rng = np.random.default_rng(3)
    played = games(rng, 60)
    buffer = Buffer(50, 0.9, None)
    for game in played:
        buffer.extend(game)
    assert len(buffer) == 50 and buffer.total == sum(len(game.actions) for game in played)
    rows = [(game, t) for game in played for t in range(len(game.actions))][-50:]
    where = {tuple(game.observations[t]): target(game, t, 0.9, None) for game, t in rows}
    batch = buffer.draw(rng, 500, 1)
    assert {tuple(row) for row in batch.observations} == set(where)
    for row, value in zip(batch.observations, batch.values[:, 0], strict=True):
        assert value == pytest.approx(where[tuple(row)], abs=1e-5)


def test_a_new_search_takes_the_place_of_an_old_one() -> None:
    buffer = Buffer(20, 0.9, 1)
    for game in games(np.random.default_rng(0), 12):
        buffer.extend(game)
    steps = buffer.anywhere(np.random.default_rng(0), 5)
    assert ((steps >= buffer.total - 20) & (steps < buffer.total)).all()
    buffer.refresh(steps, np.full((5, A), 1 / 3), np.full(5, 7.0))
    assert (buffer.kept.values[steps % 20] == 7).all() and (buffer.kept.values == 7).sum() <= 5


def test_a_buffer_is_kept_and_restored() -> None:
    for count in (4, 40):
        buffer, again = Buffer(50, 0.9, 2), Buffer(50, 0.9, 2)
        for game in games(np.random.default_rng(0), count):
            buffer.extend(game)
        again.restore(buffer.state())
        more = games(np.random.default_rng(1), 3)
        for game in more:
            buffer.extend(game)
            again.extend(game)
        one, other = (b.draw(np.random.default_rng(5), 30, 3) for b in (buffer, again))
        for part, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, same)
