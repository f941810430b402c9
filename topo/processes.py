"""Work shared by processes: outcomes in the order of the tasks, an end to all when one is stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

from topo.errors import TopoError


def mapped(
    work: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    prepare: Callable[..., object] | None = None,
    shared: tuple[Any, ...] = (),
) -> Iterator[Any]:
    """Outcomes of ``work`` for every task, in order.

    Parameters
    ----------
    work : callable
        A function of a module, of one task.
    tasks : sequence
    workers : int
        Processes; with one, the work is done here.
    prepare : callable, optional
        Called once in every process with ``shared``, before any work; a function of a module.
    shared : tuple

    Raises
    ------
    TopoError
        A process died.
    """
    if workers <= 1 or len(tasks) <= 1:
        if prepare is not None:
            prepare(*shared)
        yield from map(work, tasks)
        return
    with pool_of(min(workers, len(tasks)), prepare, shared) as pool:
        yield from pool.map(work, tasks)


@contextmanager
def pool_of(
    workers: int, prepare: Callable[..., object] | None = None, shared: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Processes that end at once when what runs here is stopped.

    Parameters
    ----------
    workers : int
    prepare : callable, optional
        Called once in every process with ``shared``, before any work; a function of a module.
    shared : tuple

    Raises
    ------
    TopoError
        A process died.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import active_children, get_context

    others = set(active_children())
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (prepare, shared))
    try:
        yield pool
    except BrokenProcessPool:
        raise TopoError("a worker process died, perhaps for want of memory", "run with --jobs 1") from None
    except BaseException:
        for child in set(active_children()) - others:
            child.terminate()  # nobody waits for what they still compute
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start(prepare: Callable[..., object] | None, shared: tuple[Any, ...]) -> None:
    as_worker()
    if prepare is not None:
        prepare(*shared)


def as_worker() -> None:
    """Let this process end at any moment without a word.

    Ctrl-C is the parent's to handle.  And tqdm's bars make a semaphore for all processes, which one that is
    terminated would leave behind: bars in a worker go without.
    """
    import signal
    import threading

    from tqdm import tqdm

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.set_lock(threading.RLock())
