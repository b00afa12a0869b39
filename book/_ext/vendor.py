"""The browser files that a page with a demo needs; a script, and a Sphinx extension.

A widget in a page without a kernel is drawn by require.js and the Jupyter project's html-manager.
`make setup` runs this file as a script: npm fetches the pinned packages, and the files listed here,
whose SHA-256 must be the one beside them, go to ``book/_vendor/`` (git ignores it). anywidget
ships its own part in its wheel; the copy gives a widget more time to start. axe-core, which the
tests of the built book use, comes with them.

As an extension it looks at the files again before each build, and fetches what is missing. The
built book itself never asks for anything from elsewhere.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any, NamedTuple

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

FOLDER = Path(__file__).resolve().parents[1] / "_vendor"
SITE = FOLDER / "site"  # copied to the root of the built book (html_extra_path)
TESTS = FOLDER / "tests"


class Package(NamedTuple):
    """A package that npm knows, and which of its files are wanted."""

    name: str
    version: str
    files: dict[str, tuple[Path, str]]
    """path in the package -> where it goes, SHA-256"""


# html-manager's style sheets ask for their icon fonts beside the page, and pages lie in book/. One
# of them asks here, and the other, which comes late or not at all, two folders further up.
FONTS = SITE / "book" / "@jupyter-widgets" / "html-manager" / "dist"
PACKAGES = (
    Package("requirejs", "2.3.8", {
        "require.js": (
            SITE / "vendor" / "require.js",
            "c1fc6b1d53af7522f78d664922abb32acac64ed0ecccb8f907f1e6fc7262563a",
        ),
    }),
    Package("@jupyter-widgets/html-manager", "1.0.15", {
        "dist/embed-amd.js": (
            SITE / "vendor" / "embed-amd.js",
            "ca87dff57c70ffb2658794fde0eab0e27e5f5472a1f5df7ab2b08e1039fc4b72",
        ),
        "dist/1551f4f60c37af51121f.woff2": (
            FONTS / "1551f4f60c37af51121f.woff2",
            "9834b82ad26e2a37583d22676a12dd2eb0fe7c80356a2114d0db1aa8b3899537",
        ),
        "dist/7a3337626410ca2f4071.woff2": (
            FONTS / "7a3337626410ca2f4071.woff2",
            "e42a88444448ac3d60549cc7c1ff2c8a9cac721034c073d80a14a44e79730cca",
        ),
        "dist/d878b0a6a1144760244f.woff2": (
            FONTS / "d878b0a6a1144760244f.woff2",
            "8ea8791754915a898a3100e63e32978a6d1763be6df8e73a39d3a90d691cdeef",
        ),
    }),
    Package("axe-core", "4.14.1", {
        "axe.min.js": (
            TESTS / "axe.min.js",
            "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c",
        ),
    }),
)  # fmt: skip

ANYWIDGET = "share/jupyter/nbextensions/anywidget/index.js"  # in its wheel
# A widget that has not started after two seconds is an error to anywidget. On a busy machine a page
# with megabytes of weights needs longer, and then draws it all the same.
IMPATIENT, PATIENT = b"AbortSignal.timeout(2e3)", b"AbortSignal.timeout(6e4)"
# Where require.js finds anywidget, from whichever page: beside this script.
PATHS = """\
require.config({
  paths: { anywidget: new URL("anywidget", document.currentScript.src).href },
});
"""


class VendorError(RuntimeError):
    """A file could not be fetched, or is not the one that is pinned."""


def fetch_all() -> None:
    """Put every file in its place, fetching the packages of those that are not there yet."""
    for package in PACKAGES:
        if not all(holds(target, pinned) for target, pinned in package.files.values()):
            fetch(package)
        for target, _ in package.files.values():
            if target.parent == FONTS:
                write(FONTS.parents[1] / target.name, target.read_bytes())
    wheel = distribution("anywidget")
    shipped = next(path for path in wheel.files or [] if path.as_posix().endswith(ANYWIDGET))
    script = Path(str(wheel.locate_file(shipped))).read_bytes()
    write(SITE / "vendor" / "anywidget.js", patient(script))
    write(SITE / "vendor" / "paths.js", PATHS.encode())


def fetch(package: Package) -> None:
    """Let npm download a package, and put its files in their places."""
    title = f"{package.name} {package.version}"
    npm = shutil.which("npm", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if npm is None:
        raise VendorError(f"npm, which fetches {title} once, is not there: run make setup")
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            [npm, "pack", f"{package.name}@{package.version}", "--pack-destination", folder],
            capture_output=True, text=True, cwd=folder,
        )  # fmt: skip
        archives = list(Path(folder).glob("*.tgz"))
        if result.returncode or len(archives) != 1:
            raise VendorError(f"npm could not fetch {title}:\n{result.stderr.strip()}")
        with tarfile.open(archives[0]) as archive:
            for member, (target, pinned) in package.files.items():
                file = archive.extractfile(f"package/{member}")
                data = file.read() if file else b""
                if sha256(data) != pinned:
                    raise VendorError(
                        f"{member} of {title} has SHA-256 {sha256(data)}, pinned is {pinned}"
                    )
                write(target, data)


def patient(script: bytes) -> bytes:
    """anywidget's script with a minute for a widget to start, in place of two seconds."""
    if script.count(IMPATIENT) != 1:
        raise VendorError(
            f"anywidget {version('anywidget')} no longer says {IMPATIENT.decode()} in one place"
        )
    return script.replace(IMPATIENT, PATIENT)


def holds(target: Path, pinned: str) -> bool:
    """Whether a file is there, and the one that is pinned."""
    return target.exists() and sha256(target.read_bytes()) == pinned


def write(target: Path, data: bytes) -> None:
    """Write a file whole, unless it is there already."""
    if target.exists() and target.read_bytes() == data:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(data)
    part.replace(target)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def before_build(app: Sphinx, config: Any) -> None:
    """Stop the build where a file is missing and cannot be fetched."""
    try:
        fetch_all()
    except VendorError as error:
        raise ExtensionError(str(error)) from error


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension (called by Sphinx)."""
    app.connect("config-inited", before_build)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    try:
        fetch_all()
    except VendorError as error:
        sys.exit(f"vendor: {error}")
