"""The build as `make book` runs it, on a copy of the book with small chapters in place of its own.

A chapter runs again when it or the library changed, and only then; one that fails, fails the build.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
JUPYTER_BOOK = Path(sys.executable).with_name("jupyter-book")


@dataclass
class Book:
    """A copy of the book's house with chapters of one cell."""

    root: Path

    def write(self, chapter: str, code: str) -> None:
        cells = [
            {"cell_type": "markdown", "id": "title", "metadata": {}, "source": f"# {chapter}"},
            {
                "cell_type": "code",
                "id": "cell",
                "metadata": {},
                "source": code,
                "execution_count": None,
                "outputs": [],
            },
        ]
        notebook = {
            "cells": cells,
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        (self.root / "book" / f"{chapter}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")

    def build(self) -> tuple[int, set[str]]:
        """Build, and return the exit code and the chapters that ran."""
        return self.run(JUPYTER_BOOK, "build", ".", "-W", "-n", "--keep-going")

    def test(self) -> tuple[int, set[str]]:
        """Run the chapters with nbmake, and return the exit code and the chapters that ran."""
        return self.run(
            sys.executable, "-m", "pytest", "--nbmake", "-p", "no:cacheprovider", "book"
        )

    def run(self, *command: str | Path) -> tuple[int, set[str]]:
        log = self.root / "ran"
        log.unlink(missing_ok=True)
        result = subprocess.run(
            command,
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": str(self.root), "RAN": str(log)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = result.stdout
        return result.returncode, set(
            log.read_text(encoding="utf-8").split()
        ) if log.exists() else set()

    def page(self, chapter: str) -> str:
        return (self.root / "_build" / "html" / "book" / f"{chapter}.html").read_text(
            encoding="utf-8"
        )


def code(chapter: str, last: str = "") -> str:
    """Return code that notes that it ran, and prints what the library says."""
    return (
        "import os, sys, wmlib\n"
        f"print('{chapter}', file=open(os.environ['RAN'], 'a'))\n"
        f"print(wmlib.WORD)\nprint('prefix', sys.prefix)\n{last}"
    )


@pytest.fixture
def book(tmp_path: Path) -> Book:
    shutil.copytree(ROOT / "book" / "_ext", tmp_path / "book" / "_ext")
    shutil.copytree(ROOT / "book" / "_static", tmp_path / "book" / "_static")
    shutil.copytree(ROOT / "book" / "_vendor", tmp_path / "book" / "_vendor")  # of `make setup`
    shutil.copy(ROOT / "book" / "references.bib", tmp_path / "book")
    shutil.copy(ROOT / "book" / "conftest.py", tmp_path / "book")
    shutil.copy(ROOT / "_config.yml", tmp_path)
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    (tmp_path / "book" / "index.md").write_text(
        "# A book\n\n$x^2$ and {cite:t}`ha2018world`.\n", encoding="utf-8"
    )
    (tmp_path / "book" / "references.md").write_text(
        "# References\n\n```{bibliography}\n```\n", encoding="utf-8"
    )
    chapters = ["book/one", "book/two", "book/references"]
    contents = {"format": "jb-book", "root": "book/index"}
    contents |= {"chapters": [{"file": name} for name in chapters]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(contents), encoding="utf-8")
    (tmp_path / "wmlib").mkdir()
    (tmp_path / "wmlib" / "__init__.py").write_text("WORD = 'first-word'\n", encoding="utf-8")
    book = Book(tmp_path)
    book.write("one", code("one"))
    book.write("two", code("two"))
    return book


def test_only_what_changed_runs_again(book: Book) -> None:
    """Neither by a test nor by a build; what one has run, the other does not run again."""
    book.write("one", code("one", "import os; print('threads', os.environ['OMP_NUM_THREADS'])"))
    book.write("two", code("two", "assert False, 'not-so'"))
    status, ran = book.test()
    assert status == 1 and "not-so" in book.output and ran == {"one", "two"}, book.output

    book.write("two", code("two", "import time\ntime.sleep(0)"))
    status, ran = book.build()
    assert status == 0 and ran == {"two"}, book.output
    assert "first-word" in book.page("one") and "threads 1" in book.page("one")
    # Run by the interpreter that builds, whatever else is on PATH.
    assert "first-word" in book.page("two") and f"prefix {sys.prefix}" in book.page("two")

    book.write("one", code("one", "print('changed')"))
    assert book.build() == (0, {"one"})

    (book.root / "wmlib" / "__init__.py").write_text("WORD = 'second-word'\n", encoding="utf-8")
    assert book.build() == (0, {"one", "two"})
    assert "second-word" in book.page("one") and "first-word" not in book.page("one")

    (book.root / "wmlib" / "__init__.py").write_text("WORD = 'third-word'\n", encoding="utf-8")
    assert book.test()[1] == {"one", "two"}
    assert book.build() == (0, set())
    assert "third-word" in book.page("one") and "third-word" in book.page("two")

    style = book.root / "book" / "_static" / "book.css"
    style.write_text(".new-word { color: red; }", encoding="utf-8")
    assert book.build() == (0, set())
    built = book.root / "_build" / "html" / "_static" / "book.css"
    assert "new-word" in built.read_text(encoding="utf-8")


def test_each_input_counts(book: Book) -> None:
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    try:
        from fresh_outputs import digest
    finally:
        sys.path.pop(0)
    seen = {digest(book.root)}
    for name in (
        "wmlib/new.py",
        "artifacts/weights",
        "requirements.txt",
        "benchmarks/results/a.json",
    ):
        path = book.root / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("changed", encoding="utf-8")
        seen.add(digest(book.root))
    assert len(seen) == 5
    for name in (
        "wmlib/__pycache__/new.pyc", "README.md", "artifacts/.DS_Store", "wmlib/.new.py.swp",
        "wmlib/new.py~", "wmlib/#new.py#", "wmlib/4913", "wmlib/.hidden/new.py",
        "artifacts/Thumbs.db", "artifacts/.weights.x1y2.tmp", "benchmarks/results/shake.json",
    ):  # fmt: skip
        path = book.root / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("of no account", encoding="utf-8")
        assert digest(book.root) in seen


def test_what_is_wrong_fails_every_build_until_it_is_mended(book: Book) -> None:
    book.write("two", code("two", "assert 1 == 2, 'a-claim-that-is-false'"))
    (book.root / "book" / "references.md").write_text(
        "# Gone\n\n{doc}`nowhere`\n", encoding="utf-8"
    )
    for _ in range(2):
        status, _ = book.build()
        assert status != 0
        assert "a-claim-that-is-false" in book.output and "nowhere" in book.output
        # Its traceback has paths of this machine: it is kept, but not among what is served.
        assert not (book.root / "_build" / "html" / "reports").exists()
        assert list((book.root / "_build" / "reports").rglob("*.err.log"))
    book.write("two", code("two"))
    assert book.build()[0] != 0  # one of the two is left
