"""What the README and the errata page say was measured is what the committed rows say."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wmlib.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    text = (ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8")
    return list(json.loads(text)["rows"])


def line(begin: str, page: str = "README.md") -> str:
    """The one line of a page that begins so."""
    (found,) = (
        line
        for line in (ROOT / page).read_text(encoding="utf-8").splitlines()
        if line.startswith(begin)
    )
    return found


def bold(row: Row, digits: int = 1) -> str:
    low, high = row["interval95"]
    return f"**{row['mean']:.{digits}f}** [{low:.0f}, {high:.0f}]"


FULL = [row for row in rows("car-racing") if row["variant"] == "full"]


@pytest.mark.parametrize("row", FULL, ids=lambda row: f"seed-{row['seed']}")
def test_full_runs_are_all_told(row: Row) -> None:
    told = line("| C trained in dreams alone, driving and dreaming in turns")
    assert bold(row) in told and f"{round(row['real_steps'], -3):,}" in told
    assert row["seconds"] <= 45 * 60


def test_the_mean_of_the_runs_has_its_interval() -> None:
    means = [row["mean"] for row in FULL]
    centre = sum(means) / len(means)
    variance = sum((mean - centre) ** 2 for mean in means) / (len(means) - 1)
    half = 4.303 * math.sqrt(variance / len(means))  # Student's t, 2 degrees of freedom, 95 %
    told = line("| C trained in dreams alone, driving and dreaming in turns")
    assert len(means) == 3 and f"{centre:.1f} ± {half:.0f}" in told
    spreads = ", ".join(f"{row['sd']:.0f}" for row in FULL)
    assert f"{spreads} between tracks" in told


def maker(row: Row) -> str:
    """Of the processor: AMD or Intel."""
    return str(row["processor"]).split("(")[0].split()[0]


def test_fresh_tracks_and_other_roundings_are_told() -> None:
    found = {(r["agent"], maker(r), r["capability"]): r for r in rows("simd")}
    told = line("| the second of these on 100 tracks")
    wide, other, narrow = (
        found["world-models-car-racing", *key]
        for key in (("AMD", "AVX512"), ("Intel", "AVX512"), ("Intel", "DEFAULT"))
    )
    assert all(len(row["returns"]) == 100 for row in (wide, other, narrow))
    assert bold(wide) in told and f"between tracks {wide['sd']:.0f}" in told
    assert f"another maker {other['mean']:.1f}" in told
    assert f"instructions {narrow['mean']:.1f}" in told
    told = line("| C bred in dreams alone, from random driving")
    means = [r["mean"] for r in rows("simd") if r["agent"] == "world-models-car-racing-random"]
    assert len(means) == 3 and f"{min(means):.0f} to {max(means):.0f}" in told


@pytest.mark.parametrize("row", rows("ppo"), ids=lambda row: f"seed-{row['seed']}")
def test_ppo_is_told(row: Row) -> None:
    assert bold(row, digits=0) in line("| PPO of stable-baselines3")
    assert 22 <= round(row["seconds"] / 60) <= 25


def test_the_errata_page_tells_the_spread_between_tracks() -> None:
    page = (ROOT / "book" / "errata.md").read_text(encoding="utf-8")
    spreads = sorted(round(row["sd"]) for row in FULL)
    assert re.search("ours are {}, {} and {}".format(*spreads), page)


def test_the_kept_drive_is_the_worst_of_its_row() -> None:
    drive, manifest = load_checkpoint(
        ROOT / "artifacts" / "world-models-car-racing" / "worst-drive.safetensors", "drive"
    )
    made = manifest["made"]
    (row,) = (
        row
        for row in rows("simd")
        if (row["agent"], row["tracks"], maker(row), row["capability"])
        == ("world-models-car-racing", "fresh", "AMD", made["capability"])
    )
    worst = min(row["returns"])
    assert manifest["scored"]["return"] == worst == pytest.approx(float(drive["rewards"].sum()))
    assert row["seeds"][row["returns"].index(worst)] == manifest["config"]["seed"]
    assert drive["pictures"].dtype == "uint8" and drive["pictures"].shape[1:] == (64, 64, 3)
    assert len(drive["codes"]) == len(drive["car"]) == len(drive["actions"]) + 1


def test_the_fresh_tracks_are_those_of_the_rule() -> None:
    text = (ROOT / "benchmarks" / "results" / "tracks.json").read_text(encoding="utf-8")
    folder = ROOT / "artifacts" / "world-models-car-racing"
    manifest = json.loads((folder / "controller.json").read_text(encoding="utf-8"))
    rng = np.random.default_rng(int(manifest["sha256"][:16], 16))
    drawn = sorted(int(rng.integers(10**9, 2 * 10**9)) for _ in range(100))
    assert json.loads(text)["seeds"] == drawn and len(set(drawn)) == 100
    for row in rows("simd"):
        listed = drawn if row["tracks"] == "fresh" else FULL[1]["seeds"]
        assert row["seeds"] == listed[: len(row["seeds"])]


def test_the_modern_agents_are_told_with_all_their_seeds() -> None:
    told, found = line("| Dreamer on the pendulum"), rows("dreamer")
    of = {
        agent: [float(np.mean(row["returns"])) for row in found if row["agent"] == agent]
        for agent in ("dreamer", "dreamer without entropy")
    }
    with_it, without = ([f"{mean:.0f}".replace("-", "−") for mean in of[agent]] for agent in of)
    assert f"{', '.join(with_it[:-1])} and {with_it[-1]}, all at the bar of −250" in told
    assert f"{without[0]} and {without[1]} (two seeds)" in told and len(without) == 2
    assert "four seeds" in told and len(with_it) == 4 and min(of["dreamer"]) >= -250
    half = 3.182 * float(np.std(of["dreamer"], ddof=1)) / 2  # Student's t, 3 degrees of freedom
    assert f"**{np.mean(of['dreamer']):.0f}** ± {half:.0f}".replace("-", "−") in told
    updates = {row["agent"]: row["updates"] for row in found}
    assert updates.pop("SAC") == 9900 and set(updates.values()) == {8000}
    assert all(row["real_steps"] == 20_000 for row in found)
    rivals = {row["seed"] for row in found if row["agent"] == "SAC"}
    beside = [
        [f"{np.mean(row['returns']):.0f}".replace("-", "−") for row in found
         if row["agent"] == agent and row["seed"] in rivals]
        for agent in ("SAC", "dreamer")
    ]  # fmt: skip
    theirs, ours = (f"{', '.join(means[:-1])} and {means[-1]}" for means in beside)
    count = {2: "two", 3: "three"}[len(rivals)]
    assert f"9,900 updates: {theirs} ({count} seeds, with which Dreamer has {ours})" in told
    told = line("| DreamerV3 on PixelCatch")
    found = [row for row in rows("dreamerv3") if row["variant"] == "dreamerv3"]
    for scale in ("", " x 0.01", " x 100"):
        of_scale = [row for row in found if row["world"] == f"PixelCatch{scale}"]
        assert sorted(row["seed"] for row in of_scale) == [*range(4)]
        assert all(row["return"] == 1 and row["updates"] == 3000 for row in of_scale)
        assert all(8 <= round(row["cpu_seconds"] / 60) <= 9 for row in of_scale)
    assert len(found) == 12 and "four seeds at each scale" in told and "8 to 9 minutes" in told
    assert "**1.00** at all three scales with every seed" in told
    told = line("| MuZero at tic-tac-toe")
    trained = [row for row in rows("muzero") if row["part"] == "train"]
    assert "three seeds" in told and len(trained) == 3
    for what, words in (("search", "**{} and {} %** of all"), ("network", "{} and {} % by the")):
        *shares, last = (f"{100 * row[f'by_{what}']:.1f}" for row in trained)
        assert words.format(", ".join(shares), last) in told
    for row in trained:
        assert not any(one["losses"] for kind in ("lines", "matches") for one in row[kind].values())
    *lines, last = (sum(sum(side.values()) for side in row["lines"].values()) for row in trained)
    assert f"({', '.join(map(str, lines))} and {last}), 0 lost" in told
    minutes = [row["seconds"] / 60 for row in trained]
    assert f"{min(minutes):.0f} to {max(minutes):.0f} minutes" in told


def of_worlds(name: str) -> tuple[list[Row], list[Row]]:
    """An agent's rows of PixelCatch, five, and of its windy variant, three."""
    calm, windy = (
        [row for row in rows(name) if row["world"] == world]
        for world in ("PixelCatch", "windy PixelCatch")
    )
    assert {row["seed"] for row in calm} == {*range(5)} and len(calm) == 5
    assert {row["seed"] for row in windy} == {*range(3)} and len(windy) == 3
    return calm, windy


@pytest.mark.parametrize(("name", "updates"), [("IRIS", 3000), ("DIAMOND", 2100)])
def test_who_dreams_in_frames_is_told_with_all_seeds(name: str, updates: int) -> None:
    told = line(f"| {name} on PixelCatch")
    calm, windy = of_worlds(name.lower())
    assert "five seeds" in told and "**1.00** with every seed" in told
    assert all(row["return"] == 1 for row in calm)
    wind = [row["return"] for row in windy]
    spread = f"**{np.mean(wind):.2f}** ({min(wind):.2f} to {max(wind):.2f})"
    assert f"With wind (best 0.84), three seeds: {spread}" in told
    for row in (*calm, *windy):
        assert (row["real_steps"], row["updates"]) == (3000, updates)
        assert 5 <= round(row["cpu_seconds"] / 60) <= 6 and "5 to 6 minutes" in told
        assert row.get("one_ball", 1) == 1


def test_the_words_of_iris_are_told() -> None:
    told = line("| IRIS on PixelCatch")
    calm, windy = of_worlds("iris")
    own, random = ([100 * row[what] for row in calm] for what in ("words", "words_at_random"))
    means = f"**{np.mean(own):.1f} %** foretold in its own play and {np.mean(random):.1f} %"
    assert means in told and f"seed {min(own):.1f} and {min(random):.1f} %" in told
    apart, drawn = (
        float(np.mean([row[f"total_variation{what}"] for row in windy]))
        for what in ("", "_of_true_draws")
    )
    assert f"{apart:.3f} from the truth" in told and f"true draws {drawn:.3f}" in told


def test_what_an_update_costs_is_told() -> None:
    told, (row,) = line("| an update of DreamerV3"), rows("dreamerv3-cost")
    ours, theirs = (f"{100 * row['share_of_machine'][who]:.0f} %" for who in ("wmlib", "r2dreamer"))
    assert f"**{row['ratio']:.2f} ×** as fast; {ours} of the machine's" in told
    assert f"r2dreamer {theirs}" in told and f"{row['rounds']} rounds" in told


def test_muzero_on_the_pole_is_told_with_all_its_seeds() -> None:
    told = line("| MuZero on CartPole-v1")
    poles = [row for row in rows("muzero") if row["part"] == "cartpole"]
    assert len(poles) == 4 and "four seeds, 40 fresh episodes each" in told
    ends = [row["curve"][-1]["episodes"] for row in poles]
    usual, alone, most = (
        np.array([np.mean(end[n]) for end in ends]) for n in ("25", "0", "50")
    )  # (4,) each
    *first, last = (f"**{one:.0f}**" for one in usual)
    assert f"{', '.join(first)} and {last}; their mean with its 95 % t-interval" in told
    half = 3.182 * usual.std(ddof=1) / math.sqrt(4)  # 3 degrees of freedom
    assert f"{usual.mean():.0f} ± {half:.0f}" in told
    count = ("none", "one", "two", "three", "all four")[int((usual >= 450).sum())]
    assert f"{count} at the bar of 450, which we had set for three" in told
    *first, last = (f"{one:.0f}" for one in alone)
    assert f"{', '.join(first)} and {last} by the network alone" in told
    gains = most - alone
    half = 3.182 * gains.std(ddof=1) / math.sqrt(4)
    mean, low, high = (f"{gains.mean() + k * half:.1f}".replace("-", "−") for k in (0, -1, 1))
    assert abs(gains.mean()) < half and f"50 simulations less none: {mean} [{low}, {high}]" in told


def test_who_plays_pixelcatch_is_told_with_all_their_seeds() -> None:
    told, found = line("| World Models and MuZero on PixelCatch"), rows("arena")
    begins = {"calm": told.split("With wind")[0], "windy": told.split("With wind")[1]}
    worlds = {"calm": "wmlib/PixelCatch-v0", "windy": "wmlib/WindyPixelCatch-v0"}
    for kind, world in worlds.items():
        of: dict[str, list[float]] = {}
        for row in found:
            if row["world"] == world:
                assert row["real_steps"] == 3000 and len(row["evaluations"][-1]["returns"]) == 100
                scores = of.setdefault(row["agent"], [])
                scores.append(float(np.mean(row["evaluations"][-1]["returns"])))
        means = {agent: f"{np.mean(scores):.2f}".replace("-", "−") for agent, scores in of.items()}
        spread = " and ".join(
            f"**{means[agent]}** ({min(of[agent]):.2f} to {max(of[agent]):.2f})"
            for agent in ("world-models", "muzero")
        ).replace("-", "−")
        assert spread in begins[kind]
        assert len(of["world-models"]) == len(of["muzero"]) == len(of["dqn"]) == 5
        more = " and " if kind == "windy" else ", with 10,000 updates "
        assert f"{means['dqn']}{more}{means['dqn@10000']}, PPO {means['ppo']}" in begins[kind]
        if kind == "calm":
            assert f"random {means['random']}" in told and "five seeds each" in told


def test_who_plays_breakout_is_told_with_all_their_seeds() -> None:
    told, of = line("| Breakout of MinAtar"), dict[str, list[Row]]()
    for row in rows("arena"):
        if row["world"] == "MinAtar/Breakout-v1":
            assert row["real_steps"] == 100_000
            assert [len(one["returns"]) for one in row["evaluations"]] == [100] * 3
            of.setdefault(row["agent"], []).append(row)
    few = told.split("three seeds of each")[1].partition("|")[0]
    by_updates = {agent: told.split("updates each:")[1] for agent in of}
    by_updates |= {"dqn": told.split("for MinAtar:")[1], "ppo": told.split("for Atari:")[1]}
    for agent, found in of.items():
        kind, scores = agent.partition("@")[0], [
            float(np.mean(row["evaluations"][-1]["returns"])) for row in found
        ]  # fmt: skip
        name = {"world-models": "World Models", "muzero": "MuZero", "dreamerv3": "DreamerV3",
                "iris": "IRIS", "diamond": "DIAMOND", "random": "random"}.get(kind, kind.upper())
        assert agent in told.split("--agents ")[1].split()[0].split(",")
        counted = {1: f"one of {name}", 2: f"two of {name}"}.get(len(scores))
        assert counted in few if counted else len(scores) == 3 and name not in few
        mean = f"{np.mean(scores):.2f}"
        spread = f" ({min(scores):.2f} to {max(scores):.2f})" if len(scores) > 1 else ""
        if agent == "random":
            assert f"random {mean};" in told
            continue
        updates = f", {found[0]['updates']:,} updates," if kind == agent in ("dqn", "ppo") else ""
        assert by_updates[agent].partition(name)[2].startswith(f"{updates} **{mean}**{spread}")
        if not updates:
            assert all(abs(row["updates"] - 12_500) < 100 for row in found)
    for agent, words in {
        "dreamerv3@12500": "DreamerV3 takes {:.0f} minutes", "diamond@12500": "DIAMOND {:.0f},",
        "ppo@12500": "as many updates {:.1f}.",
    }.items():
        minutes = np.median([row["core_minutes"] for row in of[agent]])
        assert words.format(minutes) in told.split("A run of")[1]
    kept = {
        weight: np.mean([row["kept"] for row in rows("ball") if row["weight"] == weight])
        for weight in (1.0, 100.0)
    }
    assert f"in {100 * kept[1.0]:.0f} % of frames of fresh random games" in told
    assert f"in {100 * kept[100.0]:.0f} % at the weight it has here" in told


def seeds(values: list[float], digits: int = 2) -> str:
    """Their mean, the worst and the best, and how many they are."""
    mean, low, high = (f"{f(values):.{digits}f}" for f in (np.mean, min, max))
    spread = f"**{mean}**" if low == high else f"**{mean}** ({low} to {high})"
    return f"{spread} | {len(values)} |".replace("-", "−")


def returns(name: str, **which: Any) -> list[float]:
    """Mean return of each seed, of the rows that are so."""
    return [
        float(np.mean(row["returns"]))
        for row in sorted(rows(name), key=lambda row: row.get("seed", 0))
        if which.items() <= row.items()
    ]


def breakout_of(agent: str) -> list[float]:
    """Mean return of each seed at the end."""
    return [
        float(np.mean(row["evaluations"][-1]["returns"])) for row in rows("arena")
        if (row["agent"], row["world"]) == (agent, "MinAtar/Breakout-v1")
    ]  # fmt: skip


def test_the_first_page_tells_what_each_system_came_to() -> None:
    cells = json.loads((ROOT / "book" / "index.ipynb").read_text(encoding="utf-8"))["cells"]
    told = "".join("".join(cell["source"]) for cell in cells)
    path = ROOT / "benchmarks" / "results" / "dyna.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    (dyna,) = (
        arm for arm in summary["summary"]["arms"] if (arm["learner"], arm["k"]) == ("dyna", 5)
    )
    low, high = dyna["faster_interval"]
    times = f"**{dyna['faster_than_k_0']:.2f}** times as fast as without a model"
    fast = f"{times} [{low:.2f}, {high:.2f}]"
    pets = [
        float(np.mean(row["returns"][7:])) for row in rows("pets") if row.get("kind") == "PE-TSinf"
    ]
    boards = [row for row in rows("muzero") if row["part"] == "train"]
    lost = sum(one["losses"] for row in boards for one in row["lines"].values())
    v3 = {"variant": "dreamerv3"}
    expected = [
        f"lines of play **{lost}** are lost | {len(boards)} |",
        f"{fast} | {len(summary['summary']['seeds'])} |",
        seeds([row["mean"] for row in FULL], 0), seeds(pets, 0),
        seeds(returns("dreamer", agent="dreamer"), 0),
        *(seeds(returns("dreamerv3", world=f"PixelCatch{scale}", **v3))
          for scale in ("", " x 0.01", " x 100")),
        *(seeds(returns(name, world=world)) for name in ("iris", "diamond")
          for world in ("PixelCatch", "windy PixelCatch")),
        *(seeds(breakout_of(agent)) for agent in ("world-models", "diamond@12500")),
    ]  # fmt: skip
    assert [one for one in expected if one not in told] == []
