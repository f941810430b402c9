"""Results: one flat record per run, the only thing that sweeps store and plots read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Result:
    """One simulated collective.

    Parameters
    ----------
    operation, system : str
        What ran, and on which system.
    ranks : int
    bytes : float
        nccl-tests' size.
    algorithm : str
        The one that ran (the winner, when ``auto`` was asked).
    detail : str
        What was chosen inside the algorithm.
    chunks : int
        Pieces that the data was pipelined in.
    ccl : str
        Communication library; ``ideal`` adds nothing to the fabric.
    engine, switching : str
    barrier : bool
    time_s : float
    algbw_Bps, busbw_Bps : float
        As nccl-tests defines them, in bytes/s.
    bound_s : float
        A time that no algorithm can beat here.
    bound_kind : str
    bound_certificate : str
        Why, in words that can be checked by hand.
    bound_ratio : float
        time_s / bound_s, 1 at the optimum; infinite when the bound is zero.
    latency_s, serialisation_s, contention_s : float
        How the time comes about: with endless bandwidth; what alone on every link adds; what sharing adds.
    bottleneck : str
        The busiest links, and how busy.
    bottleneck_utilisation : float
        Share of the time that the busiest link is at capacity.
    transfers : int
        Messages of the whole run.
    events : int
        Moments at which the simulation stopped to think.
    wall_s : float
        What the answer took.
    """

    operation: str
    system: str
    ranks: int
    bytes: float
    algorithm: str
    detail: str
    chunks: int
    ccl: str
    engine: str
    switching: str
    barrier: bool
    time_s: float
    algbw_Bps: float
    busbw_Bps: float
    bound_s: float
    bound_kind: str
    bound_certificate: str
    bound_ratio: float
    latency_s: float
    serialisation_s: float
    contention_s: float
    bottleneck: str
    bottleneck_utilisation: float
    transfers: int
    events: int
    wall_s: float

    def record(self) -> dict[str, Any]:
        """A flat dictionary for JSON and tables; whole numbers of bytes are integers."""
        record = asdict(self)
        if float(self.bytes).is_integer():
            record["bytes"] = int(self.bytes)
        if self.bound_ratio == float("inf"):
            record["bound_ratio"] = None
        return record

    def to_json(self) -> str:
        """The record as JSON."""
        return json.dumps(self.record(), indent=2, allow_nan=False)


COLUMNS = tuple(field.name for field in fields(Result))
