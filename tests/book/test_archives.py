"""The archive of the notebooks, and the order of the printed pages."""

import importlib.util
import io
import json
import re
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from pypdf import PdfReader, PdfWriter

ROOT = Path(__file__).parents[2]


def load(name: str) -> ModuleType:
    source = ROOT / "book" / "_make" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_under_test", source)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def archive() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(load("notebooks").archive(ROOT)))


def test_every_chapter_and_what_it_reads_is_there(archive: zipfile.ZipFile) -> None:
    names = {name.partition("/")[2] for name in archive.namelist()}
    assert {f"book/{path.name}" for path in (ROOT / "book").glob("*.ipynb")} <= names
    for folder in ("artifacts", "benchmarks/results", "book/images"):
        paths = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        assert paths
        for path in paths:
            name = path.relative_to(ROOT).as_posix()
            assert archive.read(f"world-models-from-scratch/{name}") == path.read_bytes()
    assert not [name for name in names if name.startswith(("wmlib", "tests", "."))]
    assert load("notebooks").archive(ROOT) == load("notebooks").archive(ROOT)


def test_a_chapter_needs_no_myst_nb(archive: zipfile.ZipFile) -> None:
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        name = f"world-models-from-scratch/book/{path.name}"
        taken, own = json.loads(archive.read(name)), json.loads(path.read_text(encoding="utf-8"))
        assert len(taken["cells"]) == len(own["cells"])
        for cell, ours in zip(taken["cells"], own["cells"], strict=True):
            source = "".join(cell["source"])
            assert cell["id"] == ours["id"] and not cell.get("outputs")
            before = "".join(ours["source"])
            if cell["cell_type"] == "code":
                compile(source, name, "exec")
                assert "myst_nb" not in source
                assert source == before or "glue = Glue()" in source
            else:
                asked = re.sub(r"""\{eval\}`glue\.say\("([^"]*)"\)`""", r"{glue:text}`\1`", source)
                assert asked == before and "{glue" not in source


def test_the_text_asks_for_the_numbers_of_the_run() -> None:
    notebooks = load("notebooks")
    code = notebooks.GLUE + 'glue("mean", 1234.5, display=False)\nglue("word", "more")'
    cells = [
        {"cell_type": "code", "source": code.splitlines(keepends=True)},
        {"cell_type": "markdown", "source": ["It is {glue:text}`mean:,.1f`, {glue:text}`word`."]},
    ]
    run, text = json.loads(notebooks.chapter(json.dumps({"cells": cells})))["cells"]
    expressions = re.findall("{eval}`([^`]*)`", "".join(text["source"]))
    names: dict[str, object] = {}
    exec("".join(run["source"]), names)
    # What JupyterLab shows is the repr that the kernel gives.
    assert [repr(eval(one, names)) for one in expressions] == ["1,234.5", "more"]


def test_the_pages_are_printed_in_the_order_of_the_contents() -> None:
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = load("pdf").order(contents)
    text = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert pages == [line.split()[-1] for line in text.splitlines() if "book/" in line]


def test_pages_are_joined_with_an_outline() -> None:
    def sheet(count: int) -> bytes:
        writer, buffer = PdfWriter(), io.BytesIO()
        for _ in range(count):
            writer.add_blank_page(100, 100)
        writer.write(buffer)
        return buffer.getvalue()

    whole = PdfReader(io.BytesIO(load("pdf").joined([("One", sheet(2)), ("Two", sheet(1))], "T")))
    assert len(whole.pages) == 3 and whole.metadata.title == "T"
    outline = [(one.title, whole.get_destination_page_number(one)) for one in whole.outline]
    assert outline == [("One", 0), ("Two", 2)]
