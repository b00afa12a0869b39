"""The Makefile, with stubs in place of the programs that it calls: which are called, and where."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ("python", "jupyter-book", "ruff", "mypy")
STUB = '#!/bin/sh\necho "${0##*/} $*" >> "$CALLS"\n'

sys.path.insert(0, str(ROOT / "book" / "_ext"))
try:
    from platforms import complaint
finally:
    sys.path.pop(0)

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout in a folder with spaces, and programs that only say that they were called."""
    folder = tmp_path / "my  dir's"
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in PROGRAMS:
        (programs / name).write_text(STUB, encoding="utf-8")
        (programs / name).chmod(0o755)
    for name in ("book/_ext", "tests", "wmlib"):
        (folder / name).mkdir(parents=True)
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("vendor.py", "platforms.py"):
        shutil.copy(ROOT / "book" / "_ext" / name, folder / "book" / "_ext")
    return folder


def make(folder: Path, *words: str) -> tuple[subprocess.CompletedProcess, list[str]]:
    """Run make in `folder`; returns how it ended, and the programs that were called."""
    calls = folder.parent / "calls"
    calls.unlink(missing_ok=True)
    # `make test` runs this file: the make under test must not take itself for a part of that one.
    outside = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(
        ["make", *words], cwd=folder, capture_output=True, text=True,
        env=outside | {"CALLS": str(calls)},
    )  # fmt: skip
    return done, calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []


def test_every_command_works_in_a_folder_with_spaces(folder: Path) -> None:
    (folder / "_build" / "html" / "book").mkdir(parents=True)
    for page in ("index.html", "book/index.html"):
        (folder / "_build" / "html" / page).touch()
    done, calls = make(folder, f"PYTHON={sys.executable}", "setup")
    assert done.returncode == 0, done.stderr
    assert [call.split()[0] for call in calls] == ["python"] * 4  # pip twice, vendor.py, ipykernel
    assert (folder / ".venv" / ".installed").exists()
    for target, program in (
        ("book", "jupyter-book build . -W -n --keep-going"), ("test", "python -m pytest"),
        ("test-slow", "python -m pytest -m slow"), ("check-site", "python -m pytest -m site"),
        ("serve", "python -m http.server"), ("lint", "ruff check ."),
    ):  # fmt: skip
        done, calls = make(folder, target)
        assert done.returncode == 0, done.stderr
        assert "No such file" not in done.stderr
        assert any(call.startswith(program) for call in calls), calls
    done, _ = make(folder, "help")
    assert all(f"make {target}" in done.stdout for target in ("book", "test", "distclean"))
    assert make(folder, "distclean")[0].returncode == 0
    assert not (folder / ".venv").exists() and not (folder / "_build").exists()


def test_the_programs_of_the_environment_come_first_on_the_path(folder: Path) -> None:
    show = 'all:\n\t@printf "%s" "$$PATH"\n'
    (folder / "show.mk").write_text(f"include Makefile\n{show}", encoding="utf-8")
    done, _ = make(folder, "-f", "show.mk", "all")
    assert done.stdout.split(os.pathsep)[0] == str(folder / ".venv" / "bin")


def test_a_machine_that_cannot_be_served_is_refused_before_anything_is_made(folder: Path) -> None:
    shutil.rmtree(folder / ".venv")
    other = folder.parent / "python-of-another-machine"
    patch = "import platform; platform.system = lambda: 'Linux'; platform.machine = lambda: 'riscv'"
    (folder.parent / "sitecustomize.py").write_text(patch, encoding="utf-8")
    line = f'PYTHONPATH="{folder.parent}" exec "{sys.executable}" "$@"\n'
    other.write_text(f"#!/bin/sh\n{line}", encoding="utf-8")
    other.chmod(0o755)
    done, calls = make(folder, f"PYTHON={other}", "book")
    assert done.returncode != 0
    assert (
        "make: this book needs box2d 2.3.10, which has no wheel for Linux on riscv" in done.stderr
    )
    assert not calls and not (folder / ".venv").exists()


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (("Linux", "x86_64"), ""),
        (("Darwin", "arm64"), ""),
        (("Darwin", "x86_64"), "torch 2.13.0, which has no wheel for macOS on x86_64"),
        (("Linux", "aarch64"), "box2d 2.3.10, which has no wheel for Linux on aarch64"),
        (("Windows", "AMD64"), "does not run on Windows on AMD64"),
    ],
)
def test_machines(machine: tuple[str, str], words: str) -> None:
    for version in ((3, 11), (3, 12), (3, 13)):
        said = complaint(*machine, version)
        assert words in said and bool(words) == bool(said)
    for version in ((2, 7), (3, 10), (3, 14)):
        assert "needs Python 3.11, 3.12 or 3.13, but" in complaint(*machine, version)


def test_the_packages_named_are_the_pinned_ones() -> None:
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    for machine in (("Darwin", "x86_64"), ("Linux", "aarch64")):
        name, version = complaint(*machine, (3, 12)).split("needs ")[1].split(",")[0].split()
        assert f"\n{name}=={version}\n" in pinned
    assert complaint(platform.system(), platform.machine(), sys.version_info[:2]) == ""
