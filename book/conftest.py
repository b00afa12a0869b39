"""`pytest --nbmake book/`: the longest chapter first, and the book keeps what has run."""

import sys
import time
from pathlib import Path

import pytest

BOOK = Path(__file__).parent
CACHE = BOOK.parent / "_build" / ".jupyter_cache"  # where `make book` looks

sys.path.insert(0, str(BOOK / "_ext"))


def pytest_configure(config: pytest.Config) -> None:
    """Let nbmake keep each whole run for the build."""
    if not config.getoption("nbmake", False):
        return
    import nbmake.pytest_items
    from fresh_outputs import drop_stale, is_fresh
    from jupyter_cache import get_cache
    from nbmake.nb_result import NotebookResult
    from nbmake.nb_run import NotebookRun
    from run_ahead import keep, one_thread_each

    one_thread_each()
    if not hasattr(config, "workerinput"):  # with xdist: before its workers start
        drop_stale(BOOK.parent, CACHE)

    class KeptRun(NotebookRun):
        def execute(self) -> NotebookResult:
            started = time.monotonic()
            result = super().execute()
            if result.error is None and is_fresh(BOOK.parent, CACHE):
                keep(get_cache(str(CACHE)), self.filename, result.nb, time.monotonic() - started)
            return result

    nbmake.pytest_items.NotebookRun = KeptRun


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A long chapter should not start last."""
    from run_ahead import longest_first

    order = longest_first([item.path for item in items])
    items.sort(key=lambda item: order.index(item.path))
