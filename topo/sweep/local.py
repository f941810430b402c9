"""Computing points on this machine: in this process, or in several that may die without harm."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from topo.sweep.evaluate import CRASH, Call, Outcome, evaluate
from topo.sweep.piles import Piles, piled
from topo.sweep.point import Point


class Here:
    """Computes in this process, one point after the other."""

    def run(self, call: Call, points: Iterator[Point]) -> Iterator[tuple[Point, Outcome]]:
        """Compute the points, those of one system one after the other."""
        for point in piled(points):
            yield point, evaluate(call, point.command, point.inputs)


@dataclass
class _Worker:
    """A process, our end of its pipe, the point it is at, and the last one that it was given."""

    process: BaseProcess
    pipe: Any
    point: Point | None = None
    last: Point | None = None


class Processes:
    """Computes in processes of this machine.

    One that dies takes only its own point with it, which is tried once more and then recorded as a crash.  All end
    with this process, however it ends.

    Parameters
    ----------
    jobs : int
    preload : sequence of str
        Modules that the processes will need; read once for all of them, where the system can.
    """

    def __init__(self, jobs: int, preload: Sequence[str] = ()) -> None:
        self.jobs = jobs
        kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        self._context: Any = multiprocessing.get_context(kind)
        if kind == "forkserver":
            self._context.set_forkserver_preload(list(preload))

    def run(self, call: Call, points: Iterator[Point]) -> Iterator[tuple[Point, Outcome]]:
        """Compute the points, several at a time; outcomes come in the order in which they are ready."""
        workers: list[_Worker] = []
        again: list[Point] = []
        tried: set[str] = set()
        piles = Piles(points)
        try:
            while True:
                busy = [worker for worker in workers if worker.point is not None]
                while len(busy) < self.jobs:
                    idle = next((worker for worker in workers if worker.point is None), None)
                    others = [worker.point for worker in busy if worker.point is not None]
                    point = again.pop() if again else piles.take(idle.last if idle else None, others)
                    if point is None:
                        break
                    if idle is None:
                        idle = self._start(call)
                        workers.append(idle)
                    idle.point = idle.last = point
                    busy.append(idle)
                    if not _send(idle, point):
                        break
                if not busy:
                    return
                ready = connection.wait([worker.pipe for worker in busy])
                for worker in [worker for worker in busy if worker.pipe in ready]:
                    at = worker.point
                    assert at is not None
                    worker.point = None
                    try:
                        outcome = worker.pipe.recv()
                    except (EOFError, ConnectionError):
                        workers.remove(worker)
                        outcome = _obituary(worker)
                        if at.key not in tried:
                            tried.add(at.key)
                            again.append(at)
                            continue
                    yield at, outcome
        finally:
            _end(workers)

    def _start(self, call: Call) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, call), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)


def _send(worker: _Worker, point: Point) -> bool:
    """Give a worker its point; one that has died meanwhile is found out when it is listened to."""
    try:
        worker.pipe.send((point.command, dict(point.inputs)))
    except (BrokenPipeError, ConnectionError):
        return False
    return True


def _obituary(worker: _Worker) -> Outcome:
    worker.pipe.close()
    worker.process.join()
    code = worker.process.exitcode or 0
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return Outcome(
        CRASH, f"its process died twice, at last {how}; perhaps for want of memory: try fewer jobs"
    )


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.pipe.close()
        if worker.point is not None:  # nobody waits for what it still computes
            worker.process.kill()
    for worker in workers:
        worker.process.join()


def _work(pipe: Any, call: Call) -> None:
    """Life of a worker: points in, outcomes out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to deal with
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            command, inputs = pipe.recv()
            pipe.send(evaluate(call, command, inputs))
        except (EOFError, ConnectionError):
            return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
