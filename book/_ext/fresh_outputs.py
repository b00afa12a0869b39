"""Sphinx extension: no page ever shows an output older than the code that made it.

jupyter-cache keeps a chapter's outputs under a hash of its cells alone. It does not see a change in
``wmlib/``, in the weights of ``artifacts/`` or in the pinned ``requirements.txt``, and would go on
showing what an older library printed. Here a hash of those, and of the results in
``benchmarks/results/`` that chapters draw, is kept beside the cache; when it
differs, the cache is dropped and every chapter runs again. What an editor or a file browser leaves
there is no input: hidden files, backups, and files half written.

Sphinx has the same blind spot one floor up. A page that gave a warning is not read again while its
source stays as it is, so the second of two equal builds would pass; a style that changed is not
copied; a page that was not read again loses its previews of the glossary. So the record of what has
been read is dropped after each build. (Outputs are cached: that costs seconds, not minutes.)

The traceback of a chapter that failed lies among the pages, with paths of this machine: it is moved
beside them, to ``_build/reports``, where nobody serves it.
"""

import hashlib
import shutil
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sphinx.application import ENV_PICKLE_FILENAME, Sphinx
from sphinx.util import logging

INPUTS = ("artifacts", "benchmarks/results", "wmlib", "requirements.txt")
OWN_RECORDS = ("benchmarks/results/shake.json",)  # says how chapters ran; none of them reads it
LEFT_BEHIND = (
    "__pycache__", "*.pyc", "*~", "#*#", "*.bak", "*.orig", "*.rej", "*.sw[a-p]", "*.tmp", "4913",
    "Thumbs.db", "desktop.ini", "Icon\r",
)  # fmt: skip
logger = logging.getLogger(__name__)


def digest(root: Path) -> str:
    """Return one SHA-256 of the names and bytes of all `INPUTS` under `root`, and of the Python."""
    total = hashlib.sha256("{}.{}".format(*sys.version_info[:2]).encode())
    for name in INPUTS:
        top = root / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            relative = path.relative_to(root)
            if path.is_file() and is_input(relative):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                total.update(f"{relative.as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def record(folder: Path) -> Path:
    """Return the file that holds the digest of the inputs of what is in `folder`."""
    return folder.parent / f".inputs-of-{folder.name.strip('._')}"


def is_fresh(root: Path, folder: Path) -> bool:
    """Tell whether what is in `folder` came from the inputs as they are now."""
    path = record(folder)
    return path.exists() and path.read_text(encoding="utf-8") == digest(root)


def renew(root: Path, folder: Path) -> bool:
    """Note that `folder` shall hold what the inputs give now, and tell whether it does not."""
    stale = folder.exists() and not is_fresh(root, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    record(folder).write_text(digest(root), encoding="utf-8")
    return stale


def drop_stale(root: Path, cache: Path) -> bool:
    """Drop the cached outputs if any input has changed, and tell whether there were any."""
    stale = renew(root, cache)
    if stale:
        shutil.rmtree(cache)
    return stale


def is_input(relative: Path) -> bool:
    """Whether a file under `INPUTS` is one that somebody meant to put there."""
    if relative.as_posix() in OWN_RECORDS:
        return False
    return not any(
        part.startswith(".") or any(fnmatchcase(part, pattern) for pattern in LEFT_BEHIND)
        for part in relative.parts
    )


def drop_stale_cache(app: Sphinx, config: Any) -> None:
    """Drop the cached outputs, and what was read with them, if any input has changed."""
    cache = Path(config.nb_execution_cache_path or Path(app.outdir).parent / ".jupyter_cache")
    if drop_stale(Path(app.srcdir), cache):
        logger.info("%s: one of them changed, and every chapter runs again", ", ".join(INPUTS))
    # The cache may be fresh, since chapters were run as tests, and pages not be.
    if renew(Path(app.srcdir), Path(app.doctreedir)):
        forget_pages(app)


def forget_pages(app: Sphinx, exception: Exception | None = None) -> None:
    """Make the next build read every page anew."""
    Path(app.doctreedir, ENV_PICKLE_FILENAME).unlink(missing_ok=True)


def take_reports_away(app: Sphinx, exception: Exception | None) -> None:
    """Move the tracebacks of failed chapters out of what is served."""
    served, kept = Path(app.outdir, "reports"), Path(app.outdir).parent / "reports"
    shutil.rmtree(kept, ignore_errors=True)  # of an earlier build
    if served.exists():
        shutil.move(served, kept)
        logger.info("the tracebacks of chapters that failed lie in %s", kept)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension (called by Sphinx)."""
    app.connect("config-inited", drop_stale_cache)
    app.connect("build-finished", forget_pages)
    app.connect("build-finished", take_reports_away)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
