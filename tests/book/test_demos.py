"""The bundles of the demos: those of the sources that are here, and made only of what is whole."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMOS = ROOT / "wmlib" / "demos"
SCRIPT = ROOT / "book" / "_make" / "demos.py"
ESBUILD = ROOT / "book" / "_vendor" / "tools" / "esbuild"
fetched = pytest.mark.skipif(not ESBUILD.exists(), reason="`make setup` fetches esbuild")


def make_demos(*words: str | Path, script: Path = SCRIPT) -> str:
    """What the script complains of."""
    done = subprocess.run([sys.executable, script, *words], capture_output=True, encoding="utf-8")
    assert bool(done.returncode) == bool(done.stderr)
    return done.stderr


def bundles(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.glob("*/bundle.*")
    }  # fmt: skip


@fetched
def test_the_bundles_are_those_of_the_sources(tmp_path: Path) -> None:
    assert make_demos(DEMOS, "--out", tmp_path) == ""
    made, here = bundles(tmp_path), bundles(DEMOS)
    assert len(made) == 17  # two of each demo, and a worker
    old = sorted(name for name in made | here if made.get(name) != here.get(name))
    assert not old, "these are not what their sources say: run make demos"


@fetched
@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('import { horn } from "../page/page.js"; horn();', 'No matching export in "page/page.js"'),
        ('import "./horn.css";', 'Could not resolve "./horn.css"'),
        ('import "./drive.css";', 'Unexpected "}"'),  # a warning, which counts as well
        ("let horn; let horn;", 'symbol "horn" has already been declared'),
    ],
)
def test_what_does_not_fit_together_is_no_bundle(tmp_path: Path, line: str, complaint: str) -> None:
    for name in ("page/page.js", "drive/drive.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(DEMOS / name, tmp_path / name)
    (tmp_path / "drive" / "drive.js").write_text(f"{line}\n", encoding="utf-8")
    (tmp_path / "drive" / "drive.css").write_text(".wm-horn { color: red; }}\n", encoding="utf-8")
    assert complaint in make_demos(tmp_path)


def test_without_esbuild_it_says_what_to_do(tmp_path: Path) -> None:
    script = tmp_path / "book" / "_make" / "demos.py"
    script.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, script)
    assert "run make setup" in make_demos(DEMOS, "--out", tmp_path, script=script)
