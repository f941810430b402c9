"""Writing runs as nccl-tests prints them, and as its ``-J`` does."""

from __future__ import annotations

import json
from typing import Any

from topo.formats.nccl_tests.run import Line, Run, Timing


def write_text(run: Run) -> str:
    """The text of one run, columns as nccl-tests 2.18 sets them."""
    sizes = [line.bytes for line in run.lines]
    names = ("size", "count", "type", "redop", "root")
    lines = [
        f"# Collective test starting: {run.program}",
        f"# nThread 1 nGpus 1 minBytes {min(sizes)} maxBytes {max(sizes)} step: 2(factor) warmup iters: 1 iters: 20 "
        "agg iters: 1 validation: 1 graph: 0 unalign: 0",
        "#",
        "# Using devices",
        *(
            f"#  Rank {rank:2d} Group  0 Pid {4000 + rank:6d} on {host:>10} device {rank % 8:2d} [0000:{rank:02x}:00] "
            f"{run.device}"
            for rank, host in enumerate(run.hosts or ("localhost",) * run.ranks)
        ),
        "#",
        "# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}           out-of-place                       in-place".format(
            *[""] * 5
        ),
        "# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}".format(*names)
        + "  {:>7}  {:>6}  {:>6}  {:>6}".format("time", "algbw", "busbw", "#wrong") * 2,
        "# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}".format("(B)", "(elements)", "", "", "")
        + "  {:>7}  {:>6}  {:>6}  {:>6}".format("(us)", "(GB/s)", "(GB/s)", "") * 2,
        *map(_row, run.lines),
    ]
    if run.complete:
        lines += [
            "# Out of bounds values : 0 OK",
            f"# Avg bus bandwidth    : {_average(run):g} ",
            "#",
            f"# Collective test concluded: {run.program}",
        ]
    return "\n".join(lines) + "\n"


def _row(line: Line) -> str:
    head = f"{line.bytes:12d}  {line.count:12d}  {line.type:>8}  {line.redop:>6}  {line.root:6d}"
    return head + "".join(_group(timing) for timing in (line.out_of_place, line.in_place) if timing)


def _group(timing: Timing) -> str:
    wrong = "   N/A" if timing.wrong is None else f"{timing.wrong:6g}"
    return f"  {_set(timing.time_us, 7)}  {_set(timing.algbw, 6)}  {_set(timing.busbw, 6)}  {wrong}"


def _set(value: float, width: int) -> str:
    """A number as nccl-tests fits it into a column: fewer digits behind the point as it grows."""
    power = 0
    while value >= 10.0**power:
        power += 1
    digits = 2 if power < width - 2 else 1 if power < width - 1 else 0
    return f"{value:{width}.{digits}f}" if power < width + 1 else f"{value:{width}.1e}"


def _average(run: Run) -> float:
    found = [t.busbw for line in run.lines for t in (line.out_of_place, line.in_place) if t is not None]
    return sum(found) / len(found)


def write_json(run: Run) -> str:
    """The JSON of one run, format version 2."""
    data: dict[str, Any] = {
        "version": 2,
        "start_time": "2026-01-01 00:00:00",
        "args": [f"./build/{run.program}"],
        "env": [],
        "nccl_version": int(run.version) if run.version.isdigit() else 0,
        "config": {
            "nthreads": 1,
            "ngpus": 1,
            "minimum_bytes": min(line.bytes for line in run.lines),
            "maximum_bytes": max(line.bytes for line in run.lines),
            "step_factor": 2,
            "devices": [
                {
                    "rank": rank,
                    "group": 0,
                    "pid": 4000 + rank,
                    "hostname": host,
                    "device": rank % 8,
                    "device_hex": f"0000:{rank:02x}:00",
                    "device_info": run.device,
                }
                for rank, host in enumerate(run.hosts or ("localhost",) * run.ranks)
            ],
        },
        "results": [_result(line, run.program) for line in run.lines],
    }
    if run.complete:
        data["out_of_bounds"] = {"count": 0, "okay": "true"}
        data["average_bus_bandwidth"] = {"bandwidth": _average(run), "okay": "unchecked"}
        data["errors"] = []
        data["end_time"] = "2026-01-01 00:01:00"
    return json.dumps(data)


def _result(line: Line, name: str) -> dict[str, Any]:
    groups = {"out_of_place": line.out_of_place, "in_place": line.in_place}
    return {
        "size": line.bytes,
        "count": line.count,
        "type": line.type,
        "redop": line.redop,
        "root": f"{line.root:6d}",
        **{
            key: None
            if timing is None
            else {
                "time": timing.time_us,
                "alg_bw": timing.algbw,
                "bus_bw": timing.busbw,
                "nwrong": timing.wrong,
            }
            for key, timing in groups.items()
        },
        "actual_iterations": 20,
        "experiment_name": name,
    }
