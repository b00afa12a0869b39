"""Chapters run two at a time, and once: before the build reads its pages, or as tests.

MyST-NB runs one chapter after another, as it reads them. As a Sphinx extension this module runs
those that have to run ahead of that, side by side, and puts them where MyST-NB finds them: in
jupyter-cache, under a hash of the chapter's cells. ``book/conftest.py`` puts there what nbmake has
run, so that `make book` after `make test` runs nothing again.

A kernel gets one thread: two chapters with two threads each would wait for one another.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution
from sphinx.application import Sphinx
from sphinx.util import logging

SIDE_BY_SIDE = max(1, min(os.cpu_count() or 1, 4))
logger = logging.getLogger(__name__)


def one_thread_each() -> None:
    """Give each kernel that starts from here on one thread, unless the caller has said how many."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def longest_first(chapters: list[Path]) -> list[Path]:
    """Sort by the seconds of earlier runs, or else by size: a long one should not start last."""
    seconds: dict[str, float] = {}
    for root in {chapter.parents[1] for chapter in chapters}:
        rows = root / "benchmarks" / "results" / "shake.json"
        if rows.exists():
            for row in json.loads(rows.read_text(encoding="utf-8"))["rows"]:
                seconds[row["chapter"]] = max(row["seconds"], seconds.get(row["chapter"], 0))
    return sorted(chapters, key=lambda path: (-seconds.get(path.stem, 0), -path.stat().st_size))


def is_kept(cache: JupyterCacheAbstract, chapter: Path) -> bool:
    """Tell whether a run of exactly these cells is in the cache."""
    try:
        cache.match_cache_notebook(nbformat.read(chapter, as_version=4))
    except KeyError:
        return False
    return True


def keep(
    cache: JupyterCacheAbstract, chapter: Path, run: nbformat.NotebookNode, seconds: float
) -> None:
    """Put a whole run of `chapter` into the cache."""
    for cell in run.cells:
        cell.metadata.pop("execution", None)  # nbmake's clock readings: no part of a cell's hash
    bundle = CacheBundleIn(run, str(chapter), data={"execution_seconds": seconds})
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def run_ahead(app: Sphinx, env: object, names: list[str]) -> None:
    """Run the chapters among `names`, pages about to be read, of which no run is in the cache."""
    if app.config.nb_execution_mode != "cache":
        return
    folder = app.config.nb_execution_cache_path or Path(app.outdir).parent / ".jupyter_cache"
    cache = get_cache(str(folder))
    pages = (Path(app.env.doc2path(name)) for name in names)
    chapters = longest_first([page for page in pages if page.suffix == ".ipynb"])
    waiting = [chapter for chapter in chapters if not is_kept(cache, chapter)]
    if len(waiting) < 2:
        return  # MyST-NB runs it when it reads it

    def run(chapter: Path) -> ExecutionResult:
        logger.info("%s: running", chapter.stem)
        notebook = nbformat.read(chapter, as_version=4)
        timeout = app.config.nb_execution_timeout
        return single_nb_execution(notebook, str(chapter.parent), timeout, allow_errors=False)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for chapter, result in zip(waiting, pool.map(run, waiting), strict=True):
            if result.err is None:
                keep(cache, chapter, result.nb, result.time)
                logger.info("%s: ran in %.0f seconds", chapter.stem, result.time)
            else:  # counts even if it ends well when MyST-NB runs it again, to show where
                logger.warning("%s failed: %s", chapter.stem, result.err, type="exec")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension (called by Sphinx)."""
    one_thread_each()
    app.connect("env-before-read-docs", run_ahead)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
