"""Version, address and repository: what a page says and offers."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def edition(extension: Callable[[str], ModuleType]) -> ModuleType:
    return extension("edition")


def test_buttons_need_a_repository(edition: ModuleType, tmp_path: Path) -> None:
    assert edition.repository(tmp_path) == {}
    settings = tmp_path / "_config.yml"
    settings.write_text("repository: {url: ''}", encoding="utf-8")
    without = edition.options({"own": 1}, "1.2", edition.repository(tmp_path))
    assert without["own"] == 1 and "1.2" in without["extra_footer"]
    assert not {*edition.BUTTONS, "repository_url", "launch_buttons"} & set(without)
    address = "https://example.org/a/b"
    settings.write_text(f"repository: {{url: '{address}', branch: next}}", encoding="utf-8")
    with_one = edition.options({"own": 1}, "", edition.repository(tmp_path))
    assert with_one["own"] == 1 and "extra_footer" not in with_one
    assert all(with_one[button] is True for button in edition.BUTTONS)
    assert (with_one["repository_url"], with_one["repository_branch"]) == (address, "next")
    assert with_one["launch_buttons"]["colab_url"].startswith("https://colab.")


@pytest.mark.parametrize("url", ["", "https://github.com/a/b"])
def test_a_notebook_s_page_offers_colab_once_there_is_a_repository(
    tmp_path: Path, url: str
) -> None:
    """By the very theme of the book, in a book of one page."""
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    source.joinpath("conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\n"
        "extensions = ['myst_nb', 'edition']\nroot_doc = 'page'\nnb_execution_mode = 'off'\n"
        "html_theme = 'sphinx_book_theme'\n",
        encoding="utf-8",
    )
    source.joinpath("_config.yml").write_text(f"repository: {{url: '{url}'}}", encoding="utf-8")
    notebook = {
        "cells": [{"cell_type": "markdown", "metadata": {}, "source": ["# A page"]}],
        "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip
    source.joinpath("page.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", source, out]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    page = out.joinpath("page.html").read_text(encoding="utf-8")
    for way in (
        "https://colab.research.google.com/github/a/b/blob/main/page.ipynb",
        "https://github.com/a/b/edit/main/page.ipynb", "https://github.com/a/b/issues/new",
    ):  # fmt: skip
        assert (way in page) == bool(url)
    assert ("colab" in page) == bool(url)


def test_the_version_is_the_library_s(edition: ModuleType, tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert edition.version(ROOT) == project["version"]
    assert edition.version(tmp_path) == ""


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    page = (ROOT / "book" / "references.md").read_text(encoding="utf-8")
    assert f"Version {project['version']}" in page and citation["title"] in page
