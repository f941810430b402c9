"""Sweeps on a real Dask scheduler and its workers on this machine, some of which are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import calls
import pytest

from topo.errors import SweepError
from topo.sweep import Point, Store, read_records, sweep
from topo.sweep.cluster import KINDS, Cluster, Scheduler
from topo.sweep.local import Here
from topo.sweep.record import TIMINGS

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

# Dask leaves sockets and loops to the garbage collector, which pytest takes for leaks.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "default")
ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(calls.__file__).parent}"}


class Dask:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start(
            "scheduler", "--port", "0", "--scheduler-file", str(folder / "s.json"), "--no-dashboard"
        )
        self._wait((folder / "s.json").exists)
        time.sleep(0.2)
        import json

        self.address: str = json.loads((folder / "s.json").read_text(encoding="utf-8"))["address"]

    def worker(self) -> subprocess.Popen[bytes]:
        """Start one, without the nanny that would start it again."""
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self.folder))
        return self._start("worker", self.address, *options)

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{len(self.processes)}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "distributed.cli.dask_" + words[0], *words[1:]],
            env=ENVIRONMENT,
            stdout=log,
            stderr=log,
        )
        log.close()
        self.processes.append(process)
        return process

    @staticmethod
    def _wait(ready: Any) -> None:
        deadline = time.monotonic() + 60
        while not ready():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    folder = tmp_path / "dask"
    folder.mkdir()
    with contextlib.closing(Dask(folder)) as started:
        yield started


def untimed(folder: Path) -> list[dict[str, Any]]:
    records = sorted(read_records(folder), key=lambda record: record["point"])
    return [{name: value for name, value in record.items() if name not in TIMINGS} for record in records]


def test_a_cluster_gives_the_same_records_though_a_worker_is_killed_in_mid_run(
    dask: Dask, tmp_path: Path
) -> None:
    victim = dask.worker()
    asked = [Point.of("slowly", {"a": value, "seconds": 0.02}) for value in range(150)]
    done = 0

    def kill(outcome: str) -> None:
        nonlocal done
        done += 1
        if done == 30:
            dask.worker()
            victim.send_signal(signal.SIGKILL)

    with Store(tmp_path / "dask-r") as store:
        summary = sweep(asked, store, Scheduler(dask.address), calls.slowly, progress=kill)
    assert (summary.computed, summary.failed) == (150, 0)
    assert victim.wait(10) == -signal.SIGKILL
    with Store(tmp_path / "here") as store:
        sweep(asked, store, Here(), calls.slowly)
    assert untimed(tmp_path / "dask-r") == untimed(tmp_path / "here")


def test_errors_are_recorded_and_a_lost_scheduler_loses_nothing(
    dask: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topo.sweep.cluster.PATIENCE_S", 3)
    dask.worker()
    asked = [Point.of("add", {"a": value}) for value in (1, "no", "bug")]
    with Store(tmp_path / "r") as store:
        assert sweep(asked, store, Scheduler(dask.address), calls.add).failed == 2
    more = [Point.of("slowly", {"a": value, "seconds": 0.02}) for value in range(500)]
    done = 0

    def kill(outcome: str) -> None:
        nonlocal done
        done += 1
        if done == 10:
            dask.scheduler.kill()

    with (
        Store(tmp_path / "r") as store,
        pytest.raises(SweepError, match="was lost; what was computed is kept"),
    ):
        sweep(more, store, Scheduler(dask.address), calls.slowly, progress=kill)
    assert 3 + 10 <= len(read_records(tmp_path / "r")) < 200
    with Store(tmp_path / "r") as store, pytest.raises(SweepError, match="no Dask scheduler answers"):
        sweep(more, store, Scheduler(dask.address), calls.slowly)


def test_a_batch_system_gets_a_script_with_what_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dask_jobqueue", reason="the extra 'cluster' is not installed")
    with pytest.raises(SweepError, match="no 'sbatch'"):
        Cluster("slurm", {}).open()
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    options = {"queue": "gpu", "cores": "2", "memory": "8GB", "walltime": "00:10:00", "account": "lab"}
    with Cluster("slurm", options).open() as cluster:
        script = cluster.job_script()
    for words in ("-p gpu", "--cpus-per-task=2", "--mem=8G", "-t 00:10:00", "-A lab"):
        assert words in script
    with pytest.raises(SweepError, match="does not take these options"):
        Cluster("slurm", {"quue": "gpu"}).open()
    assert set(KINDS) >= {"slurm", "pbs", "lsf", "sge"}


def test_workers_started_by_job_scripts_compute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask_jobqueue", reason="the extra 'cluster' is not installed")
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
    monkeypatch.chdir(tmp_path)
    asked = [Point.of("add", {"a": value}) for value in range(5)]
    with Store(tmp_path / "r") as store:
        cluster = Cluster("local", {"memory": "1GB"}, workers=1)
        assert sweep(asked, store, cluster, calls.add).computed == 5
