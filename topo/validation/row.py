"""One measurement, and what may be wrong with a table of them."""

from __future__ import annotations

from dataclasses import dataclass

from topo.collective import Collective

OPERATIONS = {
    "all_reduce": "all-reduce",
    "allreduce": "all-reduce",
    "all_gather": "all-gather",
    "allgather": "all-gather",
    "reduce_scatter": "reduce-scatter",
    "reducescatter": "reduce-scatter",
    "all_to_all": "all-to-all",
    "alltoall": "all-to-all",
    "broadcast": "broadcast",
    "reduce": "reduce",
    "sendrecv": "send-recv",
    "send_recv": "send-recv",
    "barrier": "barrier",
}
"""Spelling of an operation in measurements, dashes read as underscores, to ours."""
NOT_SIMULATED = (
    "gather",
    "scatter",
    "hypercube",
    "alltoallv",
    "permute",
    "sendrecv_bidir",
    "moe_dispatch",
    "moe_combine",
    "moe_dispatch_ll",
    "moe_combine_ll",
    "hop_latency",
    "link_param",
    "model_param",
)
"""Operations of measurements that are known but have no counterpart here."""
BANDS = ("< 64 KiB", "64 KiB-1 MiB", "1-64 MiB", "> 64 MiB")
_EDGES = (2.0**16, 2.0**20, 2.0**26)


def band(size: float) -> str:
    """The size band of a number of bytes; 64 KiB and 1 MiB begin a band, 64 MiB ends one."""
    if size < _EDGES[0]:
        return BANDS[0]
    if size < _EDGES[1]:
        return BANDS[1]
    return BANDS[2] if size <= _EDGES[2] else BANDS[3]


@dataclass(frozen=True)
class Row:
    """One measured collective that can be simulated.

    Parameters
    ----------
    id : str
        Unique in its file.
    file : str
        Name of the file.
    number : int
        Row of the file as a spreadsheet counts them: the header is row 1.
    system : str
        The machine, as its source describes it.
    target : str
        System name to simulate.
    op : str
        The operation as spelled in the file.
    operation : str
        The same, as spelled here.
    ranks : int
    nodes : int or None
        Machines that the ranks were spread over evenly.
    bytes : float
        nccl-tests' size.
    seconds : float
        Measured time.
    in_place : bool or None
    algorithm : str
        The algorithm that the source says ran; empty: the library's own choice.
    source, notes : str
    derived : bool
        Whether the time was computed from a bandwidth.
    timing : str
        How it was timed, one of :data:`topo.validation.timing.TIMINGS`; empty: as the library is mostly timed.
    """

    id: str
    file: str
    number: int
    system: str
    target: str
    op: str
    operation: str
    ranks: int
    nodes: int | None
    bytes: float
    seconds: float
    in_place: bool | None = None
    algorithm: str = ""
    source: str = ""
    notes: str = ""
    derived: bool = False
    timing: str = ""

    @property
    def band(self) -> str:
        """Size band, one of :data:`BANDS`."""
        return band(self.bytes)

    @property
    def busbw(self) -> float:
        """Measured bus bandwidth in bytes/s, as nccl-tests defines it."""
        return self.bytes / self.seconds * Collective(self.operation, self.ranks, self.bytes).busbw_factor


@dataclass(frozen=True)
class LeftOut:
    """A row that is sound but cannot be compared.

    Parameters
    ----------
    id, file : str
    number : int
        Row of the file.
    reason : str
        In words that say what is missing, the same for rows that lack the same.
    """

    id: str
    file: str
    number: int
    reason: str


@dataclass(frozen=True)
class Problem:
    """Something wrong in a file of measurements.

    Parameters
    ----------
    file : str
    number : int
        Row of the file; 0 for the file as a whole.
    column : str
        Empty where no single column is to blame.
    message : str
        What is wrong and what would be right.
    id : str
    """

    file: str
    number: int
    column: str
    message: str
    id: str = ""

    def __str__(self) -> str:
        where = self.file
        if self.number:
            where += f" row {self.number}"
        if self.id:
            where += f" ({self.id})"
        if self.column:
            where += f", column {self.column}"
        return f"{where}: {self.message}"


@dataclass(frozen=True)
class Reading:
    """What files of measurements hold."""

    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...]
    problems: tuple[Problem, ...]
