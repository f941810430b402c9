"""Open against proprietary scale-up: one chip behind different links.

Question: What does the same accelerator lose or gain when its scale-up network is UALink, scale-up Ethernet, PCIe or
an xGMI mesh instead of NVLink?

Method: The catalogue gives one chip each technology's links: as many as carry what its own links carry where the
technology leaves that open, its own number where it does not; xGMI and PCIe come as the fabrics that the
catalogue has of them, with as many chips.  Each collective runs by its fastest algorithm with an
ideal library, so that only links, latency and in-network reduction differ.

Falsified if: A measured machine with one of the open technologies reaches a bus bandwidth above the one given here,
or in-network reduction turns out not to explain the all-reduce gap between equal link bandwidths.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, only, values_of, where
from topo.report.chart import Chart
from topo.units import format_bytes

OWN = {"xgmi-mesh": "mi300x", "pcie": "pcie-heap"}
"""Links without a switch of their own kind: the fabric of the catalogue's system that has them, of as many chips."""


def measure(chip: str, technology: str, operation: str, size: str) -> Mapping[str, Any]:
    """One collective on the chip with a technology's links."""
    system = topo.load(OWN.get(technology, f"{chip},scale_up={technology}"))
    return {
        **topo.simulate(system, operation, size, ccl="ideal").record(),
        "accelerator_Bps": float(system.fabric.egress[0]),
    }


def finding(records: list[Record]) -> Finding:
    """Each technology's time over that of the first one, at the largest and the smallest size."""
    first, *others = values_of(records, "technology")
    sentences, evidence = [], []
    sizes = sorted(values_of(records, "bytes"))
    for operation in values_of(records, "operation"):
        for size in (sizes[-1], sizes[0]):
            here = where(records, operation=operation, bytes=size)
            base = only(here, technology=first)
            evidence.append(base)
            said = []
            for name in others:
                found = where(here, technology=name)
                if found:
                    said.append(f"{found[0]['time_s'] / base['time_s']:.3g} by {name}")
                    evidence.append(found[0])
            sentences.append(f"{operation} of {format_bytes(size)} over {first}'s time: {', '.join(said)}.")
    return Finding("  ".join(sentences), evidence)


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter("chip", ("dgx-h100",), "System of the catalogue whose chip it is."),
        Parameter(
            "technology",
            ("nvlink4", "ualink", "sue-ethernet", "xgmi-mesh", "pcie"),
            "Scale-up technologies, the first being what the others are held against.",
        ),
        Parameter("operation", ("all-reduce", "all-to-all"), "Collectives."),
        Parameter("size", ("16KiB", "1MiB", "64MiB", "1GiB"), "Sizes, as nccl-tests counts them."),
    ),
    measure=measure,
    finding=finding,
    charts=tuple(
        Chart(
            f"{operation}: bus bandwidth",
            "bytes",
            "busbw_Bps",
            ("technology",),
            x_title="size",
            y_title="bus bandwidth (GB/s)",
            log_x=True,
            log_y=True,
            y_factor=1e-9,
            limit="*bound_ratio",
            where={"operation": operation},
        )
        for operation in ("all-reduce", "all-to-all")
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
