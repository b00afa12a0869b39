"""The chapters as an archive that runs wherever `wmlib` is installed: `make notebooks`.

It holds the notebooks, without outputs, and the files that they read: trained weights, rows of
measurements, pictures. Paths lead through `wmlib.artifacts` or stay as they are, since the archive
keeps the folders of the repository. One thing is changed. The built book puts the numbers of a run
into its text with myst-nb, which JupyterLab does not have; MyST in JupyterLab asks the kernel for a
number (`{eval}`) where it stands. So `glue` keeps them in the notebook, and the text asks for them.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import tomllib
import zipfile
from pathlib import Path
from typing import Any

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
IN_TEXT = re.compile(r"\{glue:text\}`([^`]+)`")
READ_ME = """\
The chapters of "World Models from Scratch" {version}, to run.

    pip install .          (in a clone of the repository, which brings wmlib)
    pip install jupyterlab jupyterlab-myst
    jupyter lab book/

The folders beside book/ hold what the chapters read.
"""
FOLDERS = ("artifacts", "benchmarks/results", "book/images")
DAY = (1980, 1, 1, 0, 0, 0)  # of every file, so that equal contents make equal archives


def chapter(text: str) -> str:
    """A notebook (JSON) without outputs, which needs no myst-nb."""
    notebook: dict[str, Any] = json.loads(text)
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
            source = source.replace(GLUE, OWN_GLUE)
        else:
            source = IN_TEXT.sub(r"""{eval}`glue.say("\1")`""", source)
        cell["source"] = source.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def contents(root: Path) -> dict[str, bytes]:
    """The files of the archive, by their names in it."""
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    files = {"README.txt": READ_ME.format(version=version["version"]).encode()}
    for path in sorted((root / "book").glob("*.ipynb")):
        files[f"book/{path.name}"] = chapter(path.read_text(encoding="utf-8")).encode()
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
