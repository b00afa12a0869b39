"""Work side by side, wherever joblib takes it: processes here, or those of a cluster.

`with joblib.parallel_config(backend=...)` says where; without it, processes of this machine.
"""

from __future__ import annotations

import functools
import itertools
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

import joblib
from joblib.externals.loky.process_executor import BrokenProcessPool
from joblib.parallel import SequentialBackend, get_active_backend
from pydantic import Field

from wmlib.typed import PositiveInt

Task = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""from `joblib.delayed`"""

Jobs = Annotated[int, Field(le=-1)] | PositiveInt | None
"""workers, as joblib counts them: 1 needs none, -1 takes all cores; None: what
`joblib.parallel_config` says, or 1"""

ROUND = 4
"""tasks for each worker of a backend that gives its results all at once"""


class WorkerLost(RuntimeError):
    """A worker process died, or could not begin a task; the message is the backend's."""


def results(tasks: Iterable[Task], n_jobs: int | None, batch_size: int | str = "auto") -> Iterator:
    """What the tasks return, each as soon as it is there, in any order.

    A backend that hands out its results in the end only (Ray's, "multiprocessing") gets the tasks
    in rounds.

    Args:
        tasks: from `joblib.delayed`.
        n_jobs: joblib's, see `Jobs`.
        batch_size: tasks that a worker takes at once, see `joblib.Parallel`.

    Raises:
        WorkerLost: a worker process died, or could not begin.
        PicklingError: a task cannot be sent to a worker.
        Exception: a task's own.
    """
    backend, _ = get_active_backend()
    if type(backend).__name__ == "DaskDistributedBackend":
        tasks = _tell_what_dask_loses(backend, tasks)
    try:
        if backend.supports_return_generator or isinstance(backend, SequentialBackend):
            parallel = joblib.Parallel(
                n_jobs, return_as="generator_unordered", batch_size=batch_size
            )
            yield from parallel(tasks)
            return
        tasks = iter(tasks)
        with joblib.Parallel(n_jobs, batch_size=batch_size) as parallel:
            size = ROUND * backend.effective_n_jobs(parallel.n_jobs)
            while some := list(itertools.islice(tasks, size)):
                yield from parallel(some)
    except BrokenProcessPool as error:
        raise WorkerLost(str(error)) from error


def _tell_what_dask_loses(backend: Any, tasks: Iterable[Task]) -> Iterable[Task]:
    """Let Dask's backend report what joblib 1.6 waits for in vain, for ever.

    That is a task whose worker died more often than `distributed.scheduler.allowed-failures`, and
    one that cannot be sent or unpacked: its future fails, and the callback is never called.
    """
    import cloudpickle  # which Dask needs itself

    if "submit" not in vars(backend):
        submit, retrieve = backend.submit, backend.retrieve_result_callback

        def submit_and_tell(func: Any, callback: Callable[[Any], None]) -> Any:
            future = submit(func, callback)

            def tell(done: Any) -> None:
                if not done.cancelled() and (error := done.exception()) is not None:
                    callback(WorkerLost(f"{type(error).__name__}: {error}"))

            future.add_done_callback(tell)
            return future

        def retrieve_or_raise(out: Any) -> Any:
            if isinstance(out, WorkerLost):
                raise out
            return retrieve(out)

        backend.submit, backend.retrieve_result_callback = submit_and_tell, retrieve_or_raise
    tasks = iter(tasks)
    first = list(itertools.islice(tasks, 1))
    try:
        cloudpickle.dumps(first)  # the others are like it
    except Exception as error:
        raise pickle.PicklingError(str(error)) from error
    return itertools.chain(first, tasks)


@functools.cache  # one thread in each worker
def end_with(parent: int, worker: int) -> None:
    """Let a worker of the process `parent` end when that is gone, however it went."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if os.getppid() == parent:  # else it is no process of its own, or that of another machine
        threading.Thread(target=watch, daemon=True).start()
