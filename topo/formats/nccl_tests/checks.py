"""Whether a measured line can be true: times above zero, bandwidths that agree with them, nothing wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from topo.formats.nccl_tests.run import PROGRAMS, Line, Timing, busbw_factor

TOLERANCE = 0.02
"""Relative difference that rounding to the printed digits never makes at bandwidths that are checked."""
LEAST = 1.0
"""GB/s from which bandwidths have enough digits to be checked."""


def check_line(line: Line, operation: str, ranks: int) -> tuple[Line | None, list[str]]:
    """The line without what cannot be true (None when nothing is left), and complaints."""
    complaints = []
    kept: dict[str, Timing | None] = {}
    for name, timing in (("out-of-place", line.out_of_place), ("in-place", line.in_place)):
        complaint = "" if timing is None else _wrong_with(timing, line.bytes, operation, ranks)
        if complaint:
            complaints.append(f"{name}: {complaint}")
        kept[name] = None if complaint else timing
    if not any(kept.values()):
        return None, complaints
    return replace(line, out_of_place=kept["out-of-place"], in_place=kept["in-place"]), complaints


def _wrong_with(timing: Timing, size: int, operation: str, ranks: int) -> str:
    if not (math.isfinite(timing.time_us) and timing.time_us > 0):
        return f"time is {timing.time_us:g}"
    if timing.wrong:
        return f"{timing.wrong} elements came out wrong; a broken run is no measurement"
    expected = size / timing.time_us / 1e3
    if max(timing.algbw, expected) >= LEAST and abs(timing.algbw - expected) > TOLERANCE * expected + 0.006:
        return f"algbw {timing.algbw:g} GB/s is not size / time = {expected:.4g} GB/s"
    if operation and ranks > 1 and timing.algbw >= LEAST:
        bus = timing.algbw * busbw_factor(operation, ranks)
        if abs(timing.busbw - bus) > TOLERANCE * bus + 0.012:
            return (
                f"busbw {timing.busbw:g} GB/s does not fit {operation} among {ranks} ranks, which would give "
                f"{bus:.4g} GB/s"
            )
    return ""


def guess_program(lines: Sequence[Line], ranks: int) -> str:
    """The program, from reduction, root and the ratio of the two bandwidths; empty where several would fit."""
    found = [
        timing.busbw / timing.algbw
        for line in lines
        for timing in (line.out_of_place, line.in_place)
        if timing is not None and timing.algbw >= LEAST
    ]
    if not found or ranks < 2:
        return ""
    ratio = sorted(found)[len(found) // 2]
    first = lines[0]
    fitting = [
        program
        for program, operation in PROGRAMS.items()
        if abs(ratio / busbw_factor(operation, ranks) - 1) <= TOLERANCE
        and (operation in ("broadcast", "reduce")) == (first.root >= 0)
        and (
            operation in ("all-reduce", "reduce-scatter", "reduce")
            or first.redop == "none"
            or operation == "send-recv"
        )
        and (operation not in ("all-reduce", "reduce-scatter", "reduce") or first.redop != "none")
    ]
    return fitting[0] if len(fitting) == 1 else ""
