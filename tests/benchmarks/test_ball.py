"""What V makes of a ball of one pixel: how it is counted, and what was found."""

import json
from pathlib import Path

import numpy as np
from programs import load_program

benchmark = load_program("ball")
ROOT = Path(__file__).parents[2]


def test_a_ball_counts_only_where_it_is_and_alone() -> None:
    frames = np.zeros((4, 10, 10, 4), bool)
    frames[:, 5, 6, benchmark.PLANES.index("ball")] = True
    frames[:, 9, 4, benchmark.PLANES.index("paddle")] = True
    painted = frames.astype(float)
    painted[1, 5, 6, 1] = 0.4  # pale
    painted[2, 2, 2, 1] = 0.6  # and another one
    painted[3, 9, 4, 0] = 0.0  # the paddle is nobody's ball
    assert benchmark.balls(frames, painted).tolist() == [True, False, False, True]


def test_frames_are_written_as_digits() -> None:
    frame = np.zeros((1, 10, 10, 4))
    frame[0, 0, 3, 2], frame[0, 9, 9, 2] = 1, 0.5
    (planes,) = benchmark.digits(frame)
    assert len(planes) == 4 and planes[0] == ["0" * 10] * 10
    assert planes[2][0] == "0009000000" and planes[2][9] == "0000000004"


def test_what_is_known_is_known_to_the_last_pixel() -> None:
    learned = np.arange(12).reshape(3, 2, 2) % 5 == 0
    asked = np.concatenate([learned[[2, 0]], ~learned[:2]])
    assert benchmark.known(asked, learned) == 0.5


def test_rows_hold_what_their_page_reads() -> None:
    path = ROOT / "benchmarks" / "results" / "ball.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    rows = result["rows"]
    assert sorted((row["weight"], row["seed"]) for row in rows) == [
        (weight, seed) for weight in sorted(benchmark.WEIGHTS) for seed in range(benchmark.SEEDS)
    ]
    for row in rows:
        assert sum(one["frames"] for one in row["by_row"]) == row["frames"]
        kept = sum(one["kept"] for one in row["by_row"]) / row["frames"]
        assert abs(kept - row["kept"]) < 1e-9
        assert ("shown" in row) == (row["seed"] == 0)
