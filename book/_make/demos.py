"""The script and the style of each demo, bundled: `make demos`.

A widget of anywidget carries one module and one style sheet. For the demo `drive`, esbuild follows
the imports of `drive/drive.js` and writes `drive/bundle.js` and `drive/bundle.css`. Both are
committed, because chapters, pages and an installed `wmlib` have no bundler; a test makes them anew
and compares. A demo that works in a worker, too, has a `worker.js`; a widget carries no second
module, so that is bundled first, into the text `bundle.worker.txt`, which the demo imports.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ESBUILD = Path(__file__).resolve().parents[1] / "_vendor" / "tools" / "esbuild"
MADE = "/* Made by `make demos` from the files beside it and in wmlib/demos/page. */"
OPTIONS = [
    "--bundle", "--target=es2022", "--minify", "--charset=utf8", "--outbase=.",
    f"--banner:js={MADE}", f"--banner:css={MADE}", "--log-level=warning", "--color=false",
]  # fmt: skip
WORKER = ["--format=iife", "--entry-names=[dir]/bundle.worker", "--out-extension:.js=.txt"]
WIDGET = ["--format=esm", "--entry-names=[dir]/bundle"]


class BundleError(RuntimeError):
    """esbuild is not there, or has something to complain of."""


def entries(demos: Path) -> list[str]:
    """The module of each demo: like its widget's in Python, it has the name of its folder."""
    widgets = [path for path in sorted(demos.glob("*/*.py")) if path.stem == path.parent.name]
    return [path.relative_to(demos).with_suffix(".js").as_posix() for path in widgets]


def bundle(demos: Path, target: Path) -> None:
    """Write the bundles of the demos in one folder to the same places in another.

    Raises:
        BundleError: esbuild is missing, or there is an error or a warning.
    """
    if not ESBUILD.exists():
        raise BundleError("esbuild is not there: run make setup")
    workers = [path.relative_to(demos).as_posix() for path in sorted(demos.glob("*/worker.js"))]
    for modules, options in ((workers, WORKER), (entries(demos), WIDGET)):
        if not modules:
            continue
        done = subprocess.run(
            [ESBUILD, *modules, *OPTIONS, *options, f"--outdir={target.resolve()}"],
            cwd=demos, capture_output=True, encoding="utf-8",
        )  # fmt: skip
        if done.returncode or done.stderr:
            raise BundleError(done.stderr.strip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demos", type=Path, help="the folder that holds one folder a demo")
    parser.add_argument("--out", type=Path, help="where the bundles go, if not beside the sources")
    given = parser.parse_args()
    try:
        bundle(given.demos, given.out or given.demos)
    except BundleError as error:
        sys.exit(f"demos: {error}")


if __name__ == "__main__":
    main()
