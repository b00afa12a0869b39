"""The archive of the notebooks, and the order of the printed pages."""

import importlib.util
import io
import json
import re
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import Link

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
                pieces = re.split(r"\{(?:glue:text|doc|cite:[pt])\}`[^`]*`", before)
                assert not re.search(r"\{(glue|doc|cite)", source)
                assert re.fullmatch(".*?".join(map(re.escape, pieces)), source, re.DOTALL)


def test_the_text_asks_for_the_numbers_of_the_run() -> None:
    notebooks = load("notebooks")
    code = notebooks.GLUE + 'glue("mean", 1234.5, display=False)\nglue("word", "more")'
    cells = [
        {"cell_type": "code", "source": code.splitlines(keepends=True)},
        {"cell_type": "markdown", "source": ["It is {glue:text}`mean:,.1f`, {glue:text}`word`."]},
    ]
    known = notebooks.Around({}, {})
    run, text = json.loads(notebooks.chapter(json.dumps({"cells": cells}), known))["cells"]
    expressions = re.findall("{eval}`([^`]*)`", "".join(text["source"]))
    names: dict[str, object] = {}
    exec("".join(run["source"]), names)
    # What JupyterLab shows is the repr that the kernel gives.
    assert [repr(eval(one, names)) for one in expressions] == ["1,234.5", "more"]


def test_the_text_names_pages_and_works() -> None:
    notebooks = load("notebooks")
    known = notebooks.around(ROOT)
    assert notebooks.prose("{doc}`errata`, {doc}`05a-906`", known) == (
        "[Errata](errata.md), [906, Entirely in Dreams](05a-906.ipynb)"
    )
    text = notebooks.prose("{cite:t}`ha2018world` {cite:p}`chua2018deep,sutton1991dyna`", known)
    assert text == "Ha and Schmidhuber [2018] [Chua et al., 2018; Sutton, 1991]"
    with pytest.raises(KeyError, match="nowhere"):
        notebooks.prose("{doc}`nowhere`", known)


def test_the_pages_are_printed_in_the_order_of_the_contents() -> None:
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = load("pdf").order(contents)
    text = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert pages == [line.split()[-1] for line in text.splitlines() if "book/" in line]


def sheets(count: int, links: tuple[str, ...] = ()) -> bytes:
    """A PDF of blank sheets; on the first are links, in the second stands the place "far"."""
    writer, buffer = PdfWriter(), io.BytesIO()
    for _ in range(count):
        writer.add_blank_page(100, 100)
    if count > 1:
        writer.add_named_destination("/far", 1)
    for link in links:
        writer.add_annotation(0, Link(rect=(0, 0, 9, 9), url=link))
    writer.write(buffer)
    return buffer.getvalue()


def test_pages_are_joined_with_an_outline() -> None:
    pdf = load("pdf")
    parts = [pdf.Part("file:///1", "One", sheets(2)), pdf.Part("file:///2", "Two", sheets(1))]
    assert [part.sheets() for part in parts] == [2, 1]
    whole = PdfReader(io.BytesIO(pdf.joined(sheets(1), parts, "T", sheets(3))))
    assert len(whole.pages) == 4 and whole.metadata.title == "T"
    outline = [(one.title, whole.get_destination_page_number(one)) for one in whole.outline]
    assert outline == [("One", 1), ("Two", 3)]


def test_headings_stand_below_their_page_in_the_outline() -> None:
    pdf, parts = load("pdf"), []
    for name in ("One", "Two"):
        writer, buffer = PdfWriter(), io.BytesIO()
        for _ in range(3):
            writer.add_blank_page(100, 100)
        # As Chromium prints a page: its title, and the headings below it.
        title = writer.add_outline_item(title=name, page_number=0)
        section = writer.add_outline_item(title=f"{name}.1", page_number=1, parent=title)
        writer.add_outline_item(title=f"{name}.1.1", page_number=2, parent=section)
        writer.add_outline_item(title=f"{name}.2", page_number=2, parent=title)
        writer.write(buffer)
        parts.append(pdf.Part(f"file:///{name}", name, buffer.getvalue()))
    whole = PdfReader(io.BytesIO(pdf.joined(sheets(1), parts, "T")))

    def told(items: list[Any]) -> list[Any]:
        return [
            told(one) if isinstance(one, list)
            else (one.title, whole.get_destination_page_number(one)) for one in items
        ]  # fmt: skip

    assert told(whole.outline) == [
        ("One", 1), [("One.1", 2), [("One.1.1", 3)], ("One.2", 3)],
        ("Two", 4), [("Two.1", 5), [("Two.1.1", 6)], ("Two.2", 6)],
    ]  # fmt: skip


def test_links_between_pages_stay_in_the_book() -> None:
    pdf = load("pdf")
    ways = ("file:///2#far", "file:///2", "file:///2#lost", "file:///3", "https://a.org/")
    parts = [
        pdf.Part("file:///1", "One", sheets(2, ways)),
        pdf.Part("file:///2", "Two", sheets(2)),
    ]
    front = sheets(1, ("file:///2",))
    whole = PdfReader(io.BytesIO(pdf.joined(front, parts, "T")))
    numbers = {page.indirect_reference.idnum: n for n, page in enumerate(whole.pages)}

    def leads(sheet: int) -> list[object]:
        notes = [note.get_object() for note in whole.pages[sheet]["/Annots"]]
        return [
            numbers[note["/Dest"][0].idnum] if "/Dest" in note else note.get("/A", {}).get("/URI")
            for note in notes
        ]

    assert leads(0) == [3]
    assert leads(1) == [4, 3, 3, None, "https://a.org/"]


def test_the_first_sheet_says_where_each_page_begins() -> None:
    pdf = load("pdf")
    parts = [pdf.Part("file:///1", "One", sheets(2)), pdf.Part("file:///2", "Two", sheets(1))]
    front = pdf.cover("T & U", "Version 1", parts)
    assert "T &amp; U" in front
    assert re.findall(r"(\w+)</a><span>(\d+)", front) == [("One", "2"), ("Two", "4")]
    assert re.findall(r"(\w+) · (\d)", "".join(pdf.footers(parts))) == [
        ("One", "2"), ("One", "3"), ("Two", "4"),
    ]  # fmt: skip
