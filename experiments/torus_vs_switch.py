"""Torus against switch: by operation, and where all-to-all turns the table.

Question: With the same bandwidth out of every accelerator, when does a torus keep up with a switch, and what does
a twist of the torus add?

Method: Fabrics of the same number of accelerators and the same total bandwidth per accelerator run each collective with
its fastest algorithm: one big switch, a torus of three dimensions, the same torus with a twist, and a ring.  Links of a
torus with n of them have an n-th of the switch port's bandwidth.

Falsified if: A torus with equal bandwidth per accelerator finishes a large all-to-all as early as a switch, or loses a
large all-reduce by more than its latency explains.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, only, values_of, where
from topo.report.chart import Chart
from topo.units import format_bytes

TWISTABLE = 3
SWITCH = "switch"


def measure(
    fabric: str, shape: str, bandwidth: float, latency: float, operation: str, size: str
) -> Mapping[str, Any]:
    """One collective on one fabric; bandwidth in GB/s out of an accelerator, latency in us a link."""
    dims = [int(part) for part in shape.split("x")]
    chips = prod(dims)
    links = {SWITCH: 1, "ring": 2, "torus": 2 * len(dims), "twisted-torus": 2 * TWISTABLE}[fabric]
    name = {
        SWITCH: f"switch:{chips}",
        "ring": f"ring:{chips}",
        "torus": f"torus:{shape}",
        "twisted-torus": f"twisted-torus:{shape}",
    }[fabric]
    system = f"{name},bandwidth={bandwidth / links:g}GB/s,latency={latency:g}us"
    return {"fabric": fabric, **topo.simulate(system, operation, size, ccl="ideal").record()}


def finding(records: list[Record]) -> Finding:
    """Torus over switch in time, for each operation at the largest size; and what the twist changes."""
    largest = max(values_of(records, "bytes"))
    at_large = where(records, bytes=largest)
    sentences, evidence = [], []
    ratios = {}
    for operation in values_of(at_large, "operation"):
        torus, switch = (only(at_large, operation=operation, fabric=name) for name in ("torus", SWITCH))
        ratios[operation] = torus["time_s"] / switch["time_s"]
        evidence += [torus, switch]
    order = sorted(ratios, key=lambda name: ratios[name])
    said = ", ".join(f"{ratios[name]:.3g} for {name}" for name in order)
    shape = only(at_large, fabric="torus")["system"].split(",")[0]
    sentences.append(
        f"At {format_bytes(largest)} and equal bandwidth out of every accelerator, the time of {shape} over that of "
        f"the switch is {said}."
    )
    turned = [name for name in order if ratios[name] > 1.05]
    sentences.append(
        f"The table is turned by {', '.join(turned)}."
        if turned
        else "No operation turns the table at this size."
    )
    twisted = where(at_large, fabric="twisted-torus")
    if twisted:
        changes = []
        for record in twisted:
            plain = only(at_large, operation=record["operation"], fabric="torus")
            changes.append(f"{plain['time_s'] / record['time_s'] - 1:+.1%} for {record['operation']}")
            evidence.append(record)
        sentences.append(f"The twist changes the torus's speed by {', '.join(changes)}.")
    return Finding("  ".join(sentences), evidence)


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter("fabric", (SWITCH, "torus", "twisted-torus"), "switch, torus, twisted-torus or ring."),
        Parameter(
            "shape", ("2x2x4",), "Shape of the torus; a twist wants axbxc of the form nxnx2n or nx2nx2n."
        ),
        Parameter("bandwidth", (300.0,), "GB/s out of an accelerator, all links together."),
        Parameter("latency", (0.5,), "us of a link."),
        Parameter("operation", ("all-reduce", "all-gather", "all-to-all", "broadcast"), "Collectives."),
        Parameter("size", ("64KiB", "4MiB", "256MiB"), "Sizes, as nccl-tests counts them."),
    ),
    measure=measure,
    finding=finding,
    charts=(
        *(
            Chart(
                f"{operation}: bus bandwidth",
                "bytes",
                "busbw_Bps",
                ("fabric",),
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
        Chart(
            "Distance from the bound",
            "operation",
            "bound_ratio",
            ("fabric",),
            "box",
            y_title="time / lower bound",
        ),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
