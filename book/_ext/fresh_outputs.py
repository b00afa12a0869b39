"""Sphinx extension: no page ever shows an output older than the code that made it.

jupyter-cache keeps a chapter's outputs under a hash of its cells alone. It does not see a change in
``wmlib/``, in the weights of ``artifacts/`` or in the pinned ``requirements.txt``, and would go on
showing what an older library printed. Here a hash of those, and of the results in
``benchmarks/results/`` that chapters draw, is kept beside the cache; when it
differs, the cache is dropped and every chapter runs again.

Sphinx has the same blind spot one floor up: a page that gave a warning is not read again while its
source stays as it is, so the second of two equal builds would pass. After a build with a warning
the record of what has been read is dropped. (Outputs are cached: that costs seconds, not minutes.)
"""

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Any

from sphinx.application import ENV_PICKLE_FILENAME, Sphinx
from sphinx.util import logging

INPUTS = ("artifacts", "benchmarks/results", "wmlib", "requirements.txt")
NOT_INPUTS = {"__pycache__", ".ipynb_checkpoints", ".mypy_cache", ".ruff_cache"}
logger = logging.getLogger(__name__)


def digest(root: Path) -> str:
    """Return one SHA-256 of the names and bytes of all `INPUTS` under `root`, and of the Python."""
    total = hashlib.sha256("{}.{}".format(*sys.version_info[:2]).encode())
    for name in INPUTS:
        top = root / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            relative = path.relative_to(root)
            if path.is_file() and not NOT_INPUTS.intersection(relative.parts):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                total.update(f"{relative.as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def drop_stale_cache(app: Sphinx, config: Any) -> None:
    """Drop the cached outputs, and what was read with them, if any input has changed."""
    build = Path(app.outdir).parent
    cache = Path(config.nb_execution_cache_path or build / ".jupyter_cache")
    record = build / ".inputs-of-cached-outputs"
    now = digest(Path(app.srcdir))
    if cache.exists() and not (record.exists() and record.read_text() == now):
        logger.info("%s: one of them changed, and every chapter runs again", ", ".join(INPUTS))
        shutil.rmtree(cache)
        forget_pages(app)
    build.mkdir(parents=True, exist_ok=True)
    record.write_text(now)


def forget_pages(app: Sphinx) -> None:
    """Make the next build read every page anew."""
    Path(app.doctreedir, ENV_PICKLE_FILENAME).unlink(missing_ok=True)


def forget_pages_after_warning(app: Sphinx, exception: Exception | None) -> None:
    """Let a warning come back in every build until its cause is gone."""
    if exception is not None or app._warncount:
        forget_pages(app)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension (called by Sphinx)."""
    app.connect("config-inited", drop_stale_cache)
    app.connect("build-finished", forget_pages_after_warning)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
