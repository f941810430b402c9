"""Wafer reduces: which reduce algorithm of a wafer is best at which vector length.

Question: Which reduce algorithm of a wafer is best at which vector length, and how does that differ from a rack?

Method: On a sub-grid of a wafer's cores star, chain, tree and two-phase run a reduce of each length; the lower bound
stands beside each.  Cores pass words on as they come: the vector is cut into its words, or into 64 segments where it
has more words, which makes long chains look slower than they are and never faster.  A rack's reduce of the same length
is the other side where a rack is given.  What a training step takes on a wafer is the question of wafer_dataflow.

Falsified if: Measured reduce times on a wafer rank the algorithms otherwise, or a longer vector favours the star.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import topo
from topo.experiment import Experiment, Finding, Parameter, Record, values_of, where
from topo.report.chart import Chart
from topo.units import format_bytes, parse_bytes

WORD = 4
"""Bytes that a core passes on at once: a wavelet of 32 bits."""
SEGMENTS = 64
"""The most segments of a vector that are simulated."""
UNCUT = ("wafer-star", "auto")
"""What is not cut here: a star sends straight to its root, and the search cuts by itself."""


def measure(on: str, algorithm: str, operation: str, size: str) -> Mapping[str, Any]:
    """One reduce; on systems that are no wafer a wafer's algorithm is replaced by the best."""
    system = topo.load(on)
    wafer = on.startswith(("wse", "dojo"))
    if not wafer and algorithm != "auto":
        raise topo.TopoError(f"{algorithm} is an algorithm of wafers", f"on {on} take auto")
    words = max(1, int(parse_bytes(size) // WORD))
    chunks = None if algorithm in UNCUT or words == 1 else min(words, SEGMENTS)
    return {
        **topo.simulate(system, operation, size, algorithm=algorithm, chunks=chunks, ccl="ideal").record(),
        "asked": algorithm,
        "wafer": wafer,
    }


def finding(records: list[Record]) -> Finding:
    """The best algorithm by length on each wafer."""
    sentences, evidence = [], []
    for system in values_of([record for record in records if record["wafer"]], "on"):
        here = [record for record in where(records, on=system) if record["asked"] != "auto"]
        spans: list[tuple[str, Record, Record]] = []
        for size in sorted(values_of(here, "bytes")):
            best = min(where(here, bytes=size), key=lambda record: float(record["time_s"]))
            if spans and spans[-1][0] == best["algorithm"]:
                spans[-1] = (spans[-1][0], spans[-1][1], best)
            else:
                spans.append((best["algorithm"], best, best))
        evidence += [last for _, _, last in spans]
        said = ", ".join(
            f"{name} at {format_bytes(first['bytes'])}"
            if first is last
            else f"{name} from {format_bytes(first['bytes'])} to {format_bytes(last['bytes'])}"
            for name, first, last in spans
        )
        worst = max(here, key=lambda record: float(record["bound_ratio"] or 0))
        sentences.append(
            f"On {system} the best {here[0]['operation']} is {said}; the farthest from its bound is "
            f"{worst['algorithm']} at {format_bytes(worst['bytes'])}, {worst['bound_ratio']:.3g} times."
        )
    return Finding("  ".join(sentences), evidence)


EXPERIMENT = Experiment(
    doc=__doc__,
    parameters=(
        Parameter(
            "on", ("wse3:8x8", "wse3:16x16"), "A wafer's sub-grid of cores; or another system, with auto."
        ),
        Parameter("algorithm", ("wafer-star", "wafer-chain", "wafer-tree", "wafer-two-phase"), "Algorithms."),
        Parameter("operation", ("reduce",), "reduce or all-reduce."),
        Parameter("size", ("4B", "16B", "64B", "256B", "4KiB", "64KiB"), "Length of the vector."),
    ),
    measure=measure,
    finding=finding,
    charts=(
        Chart(
            "Time by length",
            "bytes",
            "time_s",
            ("on", "asked"),
            x_title="vector",
            y_title="s",
            log_x=True,
            log_y=True,
            limit="bound_s",
        ),
        Chart(
            "Distance from the bound",
            "bytes",
            "bound_ratio",
            ("on", "asked"),
            x_title="vector",
            y_title="time / lower bound",
            log_x=True,
            log_y=True,
        ),
    ),
)

if __name__ == "__main__":
    from topo.cli.experiment import main

    main(__file__)
