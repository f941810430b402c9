"""What commands that sweep share: their options, their executor, their progress and their last words."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from topo.errors import SweepError

if TYPE_CHECKING:
    from topo.sweep.drive import Executor
    from topo.sweep.evaluate import Call
    from topo.sweep.point import Point
    from topo.sweep.store import Store

MANY = 100_000
"""Points above which a sweep wants to be meant."""
PRELOAD = ("topo.cli.run", "topo.simulate", "topologies")
LINE_S = 60.0
"""Seconds between lines of progress where there is no terminal to draw a bar on."""
_SHOWN = 3


def executor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where points are computed."""
    for option in reversed(
        (
            click.option(
                "--jobs",
                type=click.IntRange(min=1),
                metavar="N",
                help="Processes.  [default: one a processor]",
            ),
            click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler, such as tcp://host:8786."),
            click.option(
                "--cluster",
                metavar="KIND",
                help="Start Dask workers through slurm, pbs, sge, lsf, htcondor, oar or local.",
            ),
            click.option(
                "--cluster-option",
                metavar="KEY=VALUE",
                multiple=True,
                help="For the cluster: queue=gpu, cores=8, memory=16GB, walltime=01:00:00.",
            ),
            click.option(
                "--workers", type=click.IntRange(min=1), default=1, metavar="N", help="Jobs of the cluster."
            ),
        )
    ):
        command = option(command)
    return command


def processors() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def open_executor(
    jobs: int | None,
    scheduler: str | None,
    cluster: str | None,
    cluster_options: tuple[str, ...],
    workers: int,
    points: int,
) -> Executor:
    """The executor that the options ask for.

    Raises
    ------
    SweepError
        Options that contradict each other.
    """
    if scheduler and cluster:
        raise SweepError("--scheduler and --cluster are two ways to the same", "give one of them")
    if jobs and (scheduler or cluster):
        raise SweepError("--jobs is for this machine", "give --workers with --cluster, or leave it out")
    if cluster_options and not cluster:
        raise SweepError("--cluster-option is for a cluster", "add --cluster slurm")
    if scheduler:
        from topo.sweep.cluster import Scheduler

        return Scheduler(scheduler)
    if cluster:
        from topo.sweep.cluster import Cluster

        return Cluster(cluster, dict(_pair(text) for text in cluster_options), workers)
    from topo.sweep.local import Here, Processes

    jobs = min(jobs or processors(), max(points, 1))
    return Here() if jobs == 1 else Processes(jobs, PRELOAD)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise SweepError(f"cluster option {text!r} cannot be read", "write queue=gpu")
    return key.strip().replace("-", "_"), value.strip()


def require_few(points: int, yes: bool) -> None:
    """Ask back before very many points are computed.

    Raises
    ------
    SweepError
        Too many to be an accident, and not confirmed.
    """
    if points > MANY and not yes:
        raise SweepError(
            f"the sweep has {points:,} points; at 50 ms each that is {points * 0.05 / 3600:.1f} hours of computing",
            "give --yes if it is meant, or take design: random with a count",
        )


class _Progress:
    """A bar with rate and time left on a terminal, a line a minute elsewhere."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=total, unit="point", disable=None, leave=False, smoothing=0.05)
        self.total, self.done, self.fresh, self.failed = total, 0, 0, 0
        self.began = self.said = time.monotonic()

    def __call__(self, outcome: str) -> None:
        self.done += 1
        self.fresh += outcome != ""
        self.failed += outcome not in ("", "ok")
        if self.bar.disable:
            now = time.monotonic()
            if now - self.said > LINE_S:
                self.said = now
                self._line(now)
        else:
            if self.failed:
                self.bar.set_postfix_str(f"{self.failed} failed", refresh=False)
            self.bar.update()

    def _line(self, now: float) -> None:
        rate = self.fresh / (now - self.began)
        left = f"{(self.total - self.done) / rate / 60:.0f} minutes left" if rate > 0 else "no rate yet"
        failed = f", {self.failed} failed" if self.failed else ""
        click.echo(f"{self.done} of {self.total} points{failed}, {rate:.3g} a second, {left}", err=True)


def report_sweep(
    points: Iterable[Point],
    total: int,
    store: Store,
    executor: Executor,
    call: Call,
    *,
    retry: bool = False,
) -> tuple[dict[str, Any], list[str]]:
    """Run a sweep, write its tables and say what came of it.

    Returns
    -------
    dict and list of str
        Counts for ``--json``, and the tables' paths.
    """
    from topo.sweep.drive import sweep
    from topo.sweep.store import read_records
    from topo.sweep.tables import in_order, write_tables

    if store.quarantined:
        where = store.folder / "quarantine"
        click.echo(
            f"topo: {store.quarantined} lines of the journal could not be read; they are in {where} and their points "
            "are computed again",
            err=True,
        )
    progress = _Progress(total)
    began = time.monotonic()
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        summary = sweep(points, store, executor, call, retry=retry, progress=progress)
    except KeyboardInterrupt:
        progress.bar.close()
        click.echo(
            f"topo: {progress.done} of {total} points are kept in {store.folder}; the same command goes on from there",
            err=True,
        )
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        progress.bar.close()
    records = in_order(read_records(store.folder), summary.keys)
    files = write_tables(store.folder, records)
    if summary.failed:
        _report_failures(records, set(summary.keys), summary.failed)
    seconds = time.monotonic() - began
    click.echo(
        f"{summary.points} points: {summary.computed} computed in {seconds:.1f} s, {summary.kept} known before, "
        f"{summary.failed} failed",
        err=True,
    )
    counts = {"points": summary.points, "computed": summary.computed, "kept": summary.kept}
    return counts | {"failed": summary.failed, "wall_s": seconds}, [str(path) for path in files]


def _stop(number: int, frame: Any) -> None:
    """A batch system's SIGTERM ends a sweep as Ctrl-C does."""
    raise KeyboardInterrupt


def _report_failures(records: Iterable[Any], keys: set[str], failed: int) -> None:
    messages: dict[str, int] = {}
    for record in records:
        if record["point"] in keys and record["error"]:
            messages[record["error"]] = messages.get(record["error"], 0) + 1
    shown = sorted(messages.items(), key=lambda entry: -entry[1])[:_SHOWN]
    for message, number in shown:
        click.echo(f"topo: {number} of {failed} failed points: {message}", err=True)
    if len(messages) > _SHOWN:
        click.echo(f"topo: and {len(messages) - _SHOWN} other errors; see the column error", err=True)
    sys.stderr.flush()
