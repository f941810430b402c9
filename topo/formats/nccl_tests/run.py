"""What one run of nccl-tests measured."""

from __future__ import annotations

from dataclasses import dataclass

PROGRAMS = {
    "all_reduce_perf": "all-reduce",
    "all_gather_perf": "all-gather",
    "reduce_scatter_perf": "reduce-scatter",
    "alltoall_perf": "all-to-all",
    "broadcast_perf": "broadcast",
    "reduce_perf": "reduce",
    "sendrecv_perf": "send-recv",
}
"""Program to operation; others (gather, scatter, hypercube, alltoallv) have no counterpart here."""
OTHER_PROGRAMS = ("gather_perf", "scatter_perf", "hypercube_perf", "alltoallv_perf")


def busbw_factor(operation: str, ranks: int) -> float:
    """Bus over algorithm bandwidth (nccl-tests, doc/PERFORMANCE.md)."""
    share = (ranks - 1) / ranks
    return {"all-reduce": 2 * share, "all-gather": share, "reduce-scatter": share, "all-to-all": share}.get(
        operation, 1.0
    )


@dataclass(frozen=True)
class Timing:
    """The three numbers of one column group.

    Parameters
    ----------
    time_us : float
    algbw, busbw : float
        In 1e9 bytes/s, as printed.
    wrong : int or None
        Elements that came out wrong; None where that was not checked.
    """

    time_us: float
    algbw: float
    busbw: float
    wrong: int | None = None


@dataclass(frozen=True)
class Line:
    """One size of a run.

    Parameters
    ----------
    bytes : int
    count : int
        Elements, as nccl-tests counts them.
    type, redop : str
        Data type; reduction or ``none``.
    root : int
        -1 where there is none.
    out_of_place, in_place : Timing or None
    number : int
        Line of the file, counted from 1; for JSON the number of the result.
    """

    bytes: int
    count: int
    type: str
    redop: str
    root: int
    out_of_place: Timing | None
    in_place: Timing | None
    number: int = 0


@dataclass(frozen=True)
class Run:
    """One table of nccl-tests.

    Parameters
    ----------
    file : str
    program : str
        Such as ``all_reduce_perf``; empty where the log does not say and it does not follow.
    ranks : int
        0 where the log does not say.
    hosts : tuple of str
        Host of each rank that the log lists, in order of ranks.
    device : str
        What the ranks are, such as ``NVIDIA H100 80GB HBM3``.
    lines : tuple of Line
    version : str
        NCCL's, where it is printed.
    complete : bool
        Whether the run reached its end.
    per_thread : int
        Accelerators that one thread of the host serves (``-g``); 0 where the log does not say.
    """

    file: str
    program: str
    ranks: int
    hosts: tuple[str, ...]
    device: str
    lines: tuple[Line, ...]
    version: str = ""
    complete: bool = True
    per_thread: int = 0

    @property
    def operation(self) -> str:
        """The operation as spelled here; empty where there is none."""
        return PROGRAMS.get(self.program, "")

    @property
    def nodes(self) -> int | None:
        """Machines that the ranks were spread over; None where the log does not say."""
        return len(dict.fromkeys(self.hosts)) or None


@dataclass(frozen=True)
class LogProblem:
    """Something in a log that cannot be used.

    Parameters
    ----------
    file : str
    number : int
        Line of the file; 0 for the file as a whole.
    message : str
    """

    file: str
    number: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}{f':{self.number}' if self.number else ''}: {self.message}"


@dataclass(frozen=True)
class Log:
    """What a file holds."""

    runs: tuple[Run, ...]
    problems: tuple[LogProblem, ...]
