"""The chapters as an archive that runs wherever `wmlib` is installed: `make notebooks`.

It holds the notebooks, without outputs, and the files that they read: trained weights, rows of
measurements, pictures. Paths lead through `wmlib.artifacts` or stay as they are, since the archive
keeps the folders of the repository. What the text says through Sphinx, it says here in a way that
JupyterLab knows as well. A number of the run: the built book has it from myst-nb; MyST in
JupyterLab asks the kernel (`{eval}`). So `glue` keeps numbers in the notebook. A link to another
page has its title. A work that is cited is named.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import tomllib
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from pybtex.database import parse_file
from pybtex.richtext import Text

ROOT = Path(__file__).resolve().parents[2]
GLUE = "from myst_nb import glue\n"
OWN_GLUE = '''\
class Glue(dict):
    """The numbers of this run for the text, which asks for glue.say("name:.2f")."""

    class Words(str):
        __repr__ = str.__str__

    def __call__(self, name, variable, display=True):
        self[name] = variable

    def say(self, wanted):
        name, _, how = wanted.partition(":")
        return self.Words(format(self[name], how))


glue = Glue()
'''
NUMBER = re.compile(r"\{glue:text\}`([^`]+)`")
PAGE = re.compile(r"\{doc\}`([^`]+)`")
WORKS = re.compile(r"\{cite:([pt])\}`([^`]+)`")
READ_ME = """\
The chapters of "World Models from Scratch" {version}, to run.

    pip install .          (in a clone of the repository, which brings wmlib)
    pip install jupyterlab jupyterlab-myst
    jupyter lab book/

The folders beside book/ hold what the chapters read.
"""
PAGES = {".ipynb", ".md"}
FOLDERS = ("artifacts", "benchmarks/results", "book/images")
DAY = (1980, 1, 1, 0, 0, 0)  # of every file, so that equal contents make equal archives


class Around(NamedTuple):
    """What the text of a page names beside itself."""

    pages: dict[str, tuple[str, str]]
    """by its name, without ending: the title of a page, and its file"""
    works: dict[str, tuple[str, str]]
    """by its key: who wrote a work, and when"""


def around(root: Path) -> Around:
    """The pages of the book, and the works that it cites."""
    pages = {}
    for path in sorted((root / "book").glob("*.*")):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            text = "".join(json.loads(text)["cells"][0]["source"])
        if path.suffix in PAGES:
            pages[path.stem] = (text.partition("\n")[0].removeprefix("# "), path.name)
    works = {}
    for key, entry in parse_file(root / "book" / "references.bib").entries.items():
        names = [
            " ".join(
                str(Text.from_latex(name)) for name in person.prelast_names + person.last_names
            )
            for person in entry.persons["author"]
        ]
        who = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
        works[key] = (who, entry.fields["year"])
    return Around(pages, works)


def prose(text: str, known: Around) -> str:
    """Markdown as JupyterLab reads it, with or without MyST.

    Raises:
        KeyError: it names a page or a work that is not there.
    """

    def page(found: re.Match[str]) -> str:
        title, file = known.pages[found[1]]
        return f"[{title}]({file})"

    def works(found: re.Match[str]) -> str:
        named = [known.works[key.strip()] for key in found[2].split(",")]
        if found[1] == "t":
            return ", ".join(f"{who} [{year}]" for who, year in named)
        return "[" + "; ".join(f"{who}, {year}" for who, year in named) + "]"

    text = NUMBER.sub(r"""{eval}`glue.say("\1")`""", text)
    return WORKS.sub(works, PAGE.sub(page, text))


def chapter(text: str, known: Around) -> str:
    """A notebook (JSON) without outputs, which needs no myst-nb."""
    notebook: dict[str, Any] = json.loads(text)
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
            source = source.replace(GLUE, OWN_GLUE)
        else:
            source = prose(source, known)
        cell["source"] = source.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def contents(root: Path) -> dict[str, bytes]:
    """The files of the archive, by their names in it."""
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    files = {"README.txt": READ_ME.format(version=version["version"]).encode()}
    known = around(root)
    for _, name in known.pages.values():
        text = (root / "book" / name).read_text(encoding="utf-8")
        text = chapter(text, known) if name.endswith(".ipynb") else prose(text, known)
        files[f"book/{name}"] = text.encode()
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file():
                files[path.relative_to(root).as_posix()] = path.read_bytes()
    files["LICENSE"] = (root / "LICENSE").read_bytes()
    return files


def archive(root: Path) -> bytes:
    """The archive (zip), in one folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in contents(root).items():
            entry = zipfile.ZipInfo(f"world-models-from-scratch/{name}", DAY)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            file.writestr(entry, data)
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path, help="the archive to write, a .zip")
    target = parser.parse_args().target
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(archive(ROOT))
    print(f"The notebooks lie in {target}: {target.stat().st_size / 1e6:.1f} MB.")


if __name__ == "__main__":
    main()
