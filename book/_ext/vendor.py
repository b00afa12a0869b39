"""Browser files, and a tool, that come with no Python package; a script, and a Sphinx extension.

`make setup` runs this file as a script: npm fetches the pinned packages, and the files listed here,
whose SHA-256 must be the one beside them, go to ``book/_vendor/`` (git ignores it). Popper and
tippy.js show what a link points to while a reader hovers over it (`sphinx-tippy`). axe-core is used
by tests alone; esbuild, the tool, by `make demos` and by the test of what that made.

As an extension it looks at the files again before each build, and fetches what is missing. The
built book itself never asks for anything from elsewhere.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

FOLDER = Path(__file__).resolve().parents[1] / "_vendor"
SITE = FOLDER / "site"  # copied to the root of the built book (html_extra_path)
TESTS = FOLDER / "tests"
ESBUILD = FOLDER / "tools" / "esbuild"


class Package(NamedTuple):
    """A package that npm knows, and which of its files are wanted."""

    name: str
    version: str
    files: dict[str, tuple[Path, str]]
    """path in the package -> where it goes, SHA-256"""
    system: str = ""
    """The only system that wants it (`platform.system()`); empty for all."""


PACKAGES = (
    Package("@popperjs/core", "2.11.8", {
        "dist/umd/popper.min.js": (
            SITE / "vendor" / "popper.js",
            "c212f4b505a86352aed62b24a8f16f999f821ecbe6456c7f3c8a04bc87968782",
        ),
    }),
    Package("tippy.js", "6.3.7", {
        "dist/tippy-bundle.umd.min.js": (
            SITE / "vendor" / "tippy.js",
            "3f0fe70eb26ccf28f6887a192e29d38dd7ef7c2f079a73304ad42ddc7bed37de",
        ),
    }),
    Package("axe-core", "4.14.1", {
        "axe.min.js": (
            TESTS / "axe.min.js",
            "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c",
        ),
    }),
    Package("@esbuild/linux-x64", "0.28.2", {
        "bin/esbuild": (
            ESBUILD,
            "e1698a3d5c6c0798fee4fd3b5cc816651f460c63d390a7a26ea4beb0b1884100",
        ),
    }, "Linux"),
    Package("@esbuild/darwin-arm64", "0.28.2", {
        "bin/esbuild": (
            ESBUILD,
            "10b6243df618d374bb2d5c9cfbe7052e1405f6aa4e53a6164f11a91b9f2e1384",
        ),
    }, "Darwin"),
)  # fmt: skip


class VendorError(RuntimeError):
    """A file could not be fetched, or is not the one that is pinned."""


def fetch_all() -> None:
    """Put every file in its place, fetching the packages of those that are not there yet."""
    packages = [one for one in PACKAGES if one.system in ("", platform.system())]
    for package in packages:
        if not all(holds(target, pinned) for target, pinned in package.files.values()):
            fetch(package)
    wanted = {target for package in packages for target, _ in package.files.values()}
    for path in SITE.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()  # of an earlier list: the built book would carry it along


def fetch(package: Package) -> None:
    """Let npm download a package, and put its files in their places."""
    title = f"{package.name} {package.version}"
    npm = shutil.which("npm", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if npm is None:
        raise VendorError(f"npm, which fetches {title} once, is not there: run make setup")
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            [npm, "pack", f"{package.name}@{package.version}", "--pack-destination", folder],
            capture_output=True, encoding="utf-8", cwd=folder,
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
                write(target, data, archive.getmember(f"package/{member}").mode)


def holds(target: Path, pinned: str) -> bool:
    """Whether a file is there, and the one that is pinned."""
    return target.exists() and sha256(target.read_bytes()) == pinned


def write(target: Path, data: bytes, mode: int) -> None:
    """Write a file whole, unless it is there already."""
    if target.exists() and target.read_bytes() == data:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(data)
    part.chmod(mode)
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
