"""Computing points on a Dask cluster: one that runs, or one that a batch system starts for the sweep."""

from __future__ import annotations

import inspect
import logging
import os
import shutil
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import topo
from topo.errors import SweepError, nearest
from topo.sweep.evaluate import CRASH, Call, Outcome, evaluate
from topo.sweep.piles import piled
from topo.sweep.point import Point

KINDS = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "htcondor": "HTCondorCluster",
    "oar": "OARCluster",
    "local": "local.LocalCluster",
}
"""Batch systems, and their classes in dask-jobqueue; ``local`` starts the same scripts on this machine."""
DEFAULTS = {"cores": "1", "memory": "4GB"}
AHEAD = 2
"""Points given to each thread of the cluster ahead of time."""
LEAST_AHEAD = 8
PATIENCE_S = 30
"""Seconds to connect, and to wait for a first worker before saying that there is none."""
_INSTALL = "pip install 'topo-fabric-sim[cluster]'"


class Scheduler:
    """Computes on the workers of a Dask scheduler.

    The workers need this version of topo, and the files that the inputs name under the same paths.  A worker that is
    lost costs only time: its points go to others.

    Parameters
    ----------
    address : str
        Such as ``tcp://host:8786``.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def run(self, call: Call, points: Iterator[Point]) -> Iterator[tuple[Point, Outcome]]:
        """Compute the points; outcomes come in the order in which they are ready.

        Raises
        ------
        SweepError
            No scheduler at the address, one that is lost on the way, or workers of another version of topo.
        """
        with _client(self.address) as client:
            yield from _computed(client, self.address, call, piled(points))


class Cluster:
    """Computes on Dask workers that a batch system starts, and that end with the sweep.

    Parameters
    ----------
    kind : str
        One of :data:`KINDS`.
    options : mapping of str to str
        As dask-jobqueue's class takes them: ``queue``, ``account``, ``cores``, ``memory``, ``walltime`` ...
    workers : int
        Jobs to be started.
    """

    def __init__(self, kind: str, options: Mapping[str, str], workers: int = 1) -> None:
        if kind not in KINDS:
            raise SweepError(
                f"cluster {kind!r} is unknown", nearest(kind, KINDS) or f"one of {', '.join(KINDS)}"
            )
        self.kind, self.options, self.workers = kind, dict(options), workers

    def open(self) -> Any:
        """The dask-jobqueue cluster, without any workers yet.

        Raises
        ------
        SweepError
            dask-jobqueue is not installed, or refuses the options.
        """
        try:
            import dask_jobqueue
            import dask_jobqueue.local
        except ImportError:
            raise SweepError(f"--cluster {self.kind} needs dask-jobqueue", _INSTALL) from None
        made: Any = dask_jobqueue
        for name in KINDS[self.kind].split("."):
            made = getattr(made, name)
        submit = (made.job_cls.submit_command or "sh").split()[0]
        if shutil.which(submit) is None:
            raise SweepError(
                f"this machine has no {submit!r}, by which {self.kind} starts jobs", "sweep from a login node"
            )
        options = {
            name: int(text) if text.isdecimal() else text for name, text in (DEFAULTS | self.options).items()
        }
        known = _parameters(made) | _parameters(made.job_cls)
        for name in options:
            if name not in known:
                raise SweepError(
                    f"{self.kind} does not take these options: {name!r} is unknown",
                    nearest(name, sorted(known)) or "write --cluster-option queue=gpu",
                )
        try:
            return made(**options)
        except (TypeError, ValueError) as problem:
            raise SweepError(
                f"{self.kind} does not take these options: {problem}", "write --cluster-option queue=gpu"
            ) from None

    def run(self, call: Call, points: Iterator[Point]) -> Iterator[tuple[Point, Outcome]]:
        """Start the workers, and compute as :meth:`Scheduler.run` does."""
        with _quiet(), self.open() as cluster:
            cluster.scale(jobs=self.workers)
            yield from Scheduler(cluster.scheduler_address).run(call, points)


def _parameters(made: type) -> set[str]:
    """What a class and those that it comes from take; a class half made for a wrong one would warn when it goes."""
    inits = (
        vars(part)["__init__"] for part in made.__mro__ if "__init__" in vars(part) and part is not object
    )
    return {name for init in inits for name in inspect.signature(init).parameters} - {"self"}


@contextmanager
def _quiet() -> Iterator[None]:
    """Dask reports in its log what is said here in one line."""
    loggers = [logging.getLogger(name) for name in ("distributed", "asyncio", "tornado")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError:
        raise SweepError("a Dask scheduler needs dask[distributed]", _INSTALL) from None
    with _quiet():
        try:
            client = Client(address, timeout=PATIENCE_S, set_as_default=False)
        except (OSError, ValueError) as problem:
            reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
            raise SweepError(
                f"no Dask scheduler answers at {address!r} ({reason})", "start one with: dask scheduler"
            ) from None
        try:
            yield client
        finally:
            with suppress(Exception):  # a scheduler that is gone cannot take leave
                client.close(timeout=5)


def _computed(
    client: Any, address: str, call: Call, points: Iterator[Point]
) -> Iterator[tuple[Point, Outcome]]:
    from distributed import as_completed

    _say_when_alone(client, address)
    run = uuid.uuid4().hex[:8]
    sent: dict[str, Point] = {}
    ready = as_completed(loop=client.loop, raise_errors=False)

    def send(number: int) -> None:
        while len(sent) < number and (point := next(points, None)) is not None:
            key = f"topo-{run}-{point.key}"
            sent[key] = point
            arguments = (call, point.command, dict(point.inputs), topo.__version__, str(Path.cwd()))
            ready.add(client.submit(_task, *arguments, key=key, pure=False))

    send(_ahead(client))
    for future in ready:
        if future.status not in ("finished", "error"):
            raise SweepError(
                f"the Dask scheduler at {address!r} was lost; what was computed is kept",
                "start it, and give the same command again",
            )
        point = sent.pop(future.key)
        outcome = future.result() if future.status == "finished" else _failure(future.exception())
        future.release()
        yield point, outcome
        if len(sent) < LEAST_AHEAD or len(sent) % LEAST_AHEAD == 0:
            send(_ahead(client))


def _ahead(client: Any) -> int:
    """Points to be on their way at a time; workers come and go."""
    known = client.scheduler_info(n_workers=-1).get("workers", {}) if client.status == "running" else {}
    threads = sum(int(worker.get("nthreads", 1)) for worker in known.values())
    return max(LEAST_AHEAD, AHEAD * threads)


def _say_when_alone(client: Any, address: str) -> None:
    import sys

    try:
        client.wait_for_workers(1, timeout=PATIENCE_S)
    except TimeoutError:
        print(f"topo: {address} has no workers yet; the sweep waits for them", file=sys.stderr)


def _failure(problem: BaseException) -> Outcome:
    """The outcome of a task that gave none: its worker died, several times.

    Raises
    ------
    SweepError
        No point can be computed there.
    """
    from distributed.scheduler import KilledWorker

    if isinstance(problem, SweepError):
        raise problem
    if isinstance(problem, KilledWorker):
        return Outcome(CRASH, "its workers died one after the other, perhaps for want of memory")
    raise SweepError(
        f"the cluster's workers cannot compute: {type(problem).__name__}: {problem}",
        f"install topo {topo.__version__} on them",
    )


def _task(call: Call, command: str, inputs: Mapping[str, Any], version: str, folder: str) -> Outcome:
    """Life of a point on a worker."""
    if topo.__version__ != version:
        raise SweepError(
            f"a worker has topo {topo.__version__} and this is {version}",
            "install the same version on the workers",
        )
    if Path.cwd() != Path(folder) and Path(folder).is_dir():
        os.chdir(folder)  # inputs may name files beside the spec
    return evaluate(call, command, inputs)
