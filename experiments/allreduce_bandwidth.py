"""All-reduce bandwidth: every fabric, every size, its best algorithm.

Question: Which bandwidth does an all-reduce reach on each fabric at each size, by which algorithm, and how far is that
from what no algorithm can beat?

Method: Every algorithm that fits the fabric is simulated and the fastest is kept; its bus bandwidth, as
nccl-tests counts it, stands beside the lower bound of the same fabric.  The communication library is ideal unless
another is named, so that fabrics are compared and not their software.

Falsified if: An algorithm is found that beats a bound, or measurements of a machine with its own library lie above the
bandwidth reported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, values_of, where
from topo.report.chart import Chart
from topo.units import format_bandwidth, format_bytes

NEAR = 0.9
"""Share of the bound that counts as near it."""


def measure(on: str, size: str, operation: str, ccl: str) -> Mapping[str, Any]:
    """One collective on one system."""
    return topo.simulate(on, operation, size, ccl=ccl).record()


def finding(records: list[Record]) -> Finding:
    """Who is fastest at the largest and smallest size, and where a fabric is far from its bound."""
    sizes = sorted(values_of(records, "bytes"))
    largest, smallest = where(records, bytes=sizes[-1]), where(records, bytes=sizes[0])
    best, worst = max(largest, key=_busbw), min(largest, key=_busbw)
    quickest = min(smallest, key=lambda record: float(record["time_s"]))
    middle = min(records, key=lambda record: _share(record))
    near = [record for record in records if _share(record) >= NEAR]
    algorithms = len({record["algorithm"] for record in records})
    text = (
        f"At {format_bytes(sizes[-1])} the widest is {best['system']} with {format_bandwidth(_busbw(best))} of "
        f"bus bandwidth by {best['algorithm']}, {_busbw(best) / _busbw(worst):.3g} times that of {worst['system']}; at "
        f"{format_bytes(sizes[0])} the quickest is {quickest['system']} with {quickest['time_s'] * 1e6:.3g} us by "
        f"{quickest['algorithm']}.  {len(near)} of {len(records)} runs reach {NEAR:.0%} of their lower bound or more; "
        f"the farthest from it is {middle['system']} at {format_bytes(middle['bytes'])} with {_share(middle):.0%}.  "
        f"It takes {algorithms} different algorithms to be the fastest everywhere."
    )
    return Finding(text, [best, worst, quickest, middle])


def _busbw(record: Record) -> float:
    return float(record["busbw_Bps"])


def _share(record: Record) -> float:
    return float(record["bound_s"]) / float(record["time_s"])


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter(
            "on",
            ("dgx-h100", "mi300x", "gaudi3", "trn2", "tpu-v5e:4x4", "ring:16", "torus:4x4", "switch:16"),
            "Systems.",
        ),
        Parameter("size", ("16KiB", "256KiB", "4MiB", "64MiB", "1GiB"), "Sizes, as nccl-tests counts them."),
        Parameter("operation", ("all-reduce",), "Collectives."),
        Parameter("ccl", ("ideal",), "Communication libraries; ideal adds nothing to the fabric."),
    ),
    measure=measure,
    finding=finding,
    charts=(
        Chart(
            "Bus bandwidth by size",
            "bytes",
            "busbw_Bps",
            ("system",),
            x_title="size",
            y_title="bus bandwidth (GB/s)",
            log_x=True,
            log_y=True,
            y_factor=1e-9,
            limit="*bound_ratio",
        ),
        Chart(
            "Distance from the bound",
            "bytes",
            "bound_ratio",
            ("system",),
            x_title="size",
            y_title="time / lower bound",
            log_x=True,
        ),
        Chart(
            "Time by size",
            "bytes",
            "time_s",
            ("system",),
            x_title="size",
            y_title="s",
            log_x=True,
            log_y=True,
            limit="bound_s",
        ),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
