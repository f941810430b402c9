"""Reading what nccl-tests writes with ``-J``.

Source: NVIDIA nccl-tests, src/util.cu (jsonOutputInit, writeDeviceReport, writeBenchmarkLineBody): one object with
``version``, ``args``, ``env``, ``nccl_version``, ``config`` (with ``devices``), ``results`` (``size count type redop
root out_of_place in_place``, each of the last two ``time alg_bw bus_bw nwrong``), ``average_bus_bandwidth``.
Several such objects may stand one after the other in a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from topo.formats.nccl_tests.checks import check_line, guess_program
from topo.formats.nccl_tests.run import OTHER_PROGRAMS, PROGRAMS, Line, Log, LogProblem, Run, Timing

VERSIONS = (1, 2)
"""Of the JSON format; version 2 renamed nothing that is read here."""


def read_json(text: str, file: str = "log") -> Log:
    """Read the JSON of one or several runs; nothing is raised, what cannot be used is named by line."""
    runs: list[Run] = []
    problems: list[LogProblem] = []
    decoder = json.JSONDecoder()
    at = 0
    while (at := _next(text, at)) < len(text):
        line = text.count("\n", 0, at) + 1
        try:
            data, at = decoder.raw_decode(text, at)
        except ValueError as problem:
            where = getattr(problem, "lineno", line)
            problems.append(
                LogProblem(file, where, "the JSON is cut off or broken here; nothing after it was read")
            )
            break
        _read_run(data, file, line, runs, problems)
    if not runs and not problems:
        problems.append(LogProblem(file, 0, "holds no output of nccl-tests"))
    return Log(tuple(runs), tuple(problems))


def _next(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n,\ufeff":
        at += 1
    return at


def _read_run(data: Any, file: str, number: int, runs: list[Run], problems: list[LogProblem]) -> None:
    def blame(message: str) -> None:
        problems.append(LogProblem(file, number, message))

    if isinstance(data, list):
        for entry in data:
            _read_run(entry, file, number, runs, problems)
        return
    if not isinstance(data, dict) or not isinstance(data.get("results"), list):
        blame("an object without 'results'; nccl-tests -J writes them")
        return
    if data.get("version") not in (*VERSIONS, None):
        blame(
            f"format version {data['version']} is unknown (known: {', '.join(map(str, VERSIONS))}); read all the same"
        )
    config = data.get("config")
    ranks, hosts, device = _devices(config if isinstance(config, dict) else {})
    lines: list[Line] = []
    for place, entry in enumerate(data["results"], start=1):
        found = _line(entry, place)
        if isinstance(found, str):
            blame(f"result {place}: {found}")
        elif found.bytes > 0:
            lines.append(found)
    if not lines:
        blame("a run without a single result")
        return
    complete = "average_bus_bandwidth" in data
    if not complete:
        blame("the run has no 'average_bus_bandwidth': it was cut off after its last result")
    program = _program(data) or guess_program(lines, ranks)
    if program not in PROGRAMS:
        known = program in OTHER_PROGRAMS
        what = f"{program} {'has no counterpart here' if known else 'is unknown'}"
        blame(what if program else "the log does not say which operation ran; name it with --operation")
    sound = []
    for line in lines:
        kept, complaints = check_line(line, PROGRAMS.get(program, ""), ranks)
        for complaint in complaints:
            blame(f"result {line.number}: {complaint}")
        if kept is not None:
            sound.append(kept)
    version = str(data.get("nccl_version", ""))
    each = _whole(config.get("ngpus"), 0) if isinstance(config, dict) else 0
    runs.append(Run(file, program, ranks, hosts, device, tuple(sound), version, complete, each))


def _program(data: Mapping[str, Any]) -> str:
    args = data.get("args")
    first = str(args[0]) if isinstance(args, list) and args else ""
    return first.rpartition("/")[2].removesuffix("_mpi")


def _devices(config: Mapping[str, Any]) -> tuple[int, tuple[str, ...], str]:
    """Ranks, host of each, and what they are.  Only the first rank of every process is listed."""
    each = _whole(config.get("nthreads"), 1) * _whole(config.get("ngpus"), 1)
    listed = [
        d for d in config.get("devices") or [] if isinstance(d, dict) and isinstance(d.get("rank"), int)
    ]
    listed.sort(key=lambda d: int(d["rank"]))
    if not listed:
        return each, (), ""
    numbers = [int(d["rank"]) for d in listed]
    apart = min((b - a for a, b in pairwise(numbers)), default=each)
    per_entry = each if apart == each else 1
    hosts = tuple(str(d.get("hostname", "")) for d in listed for _ in range(per_entry))
    return numbers[-1] + per_entry, hosts, str(listed[0].get("device_info", ""))


def _whole(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and value > 0 else otherwise


def _line(entry: Any, place: int) -> Line | str:
    if not isinstance(entry, dict):
        return "is no object"
    size, count = entry.get("size"), entry.get("count")
    if not isinstance(size, int) or size < 0:
        return f"size is {size!r}"
    groups = []
    for name in ("out_of_place", "in_place"):
        found = _timing(entry.get(name), name)
        if isinstance(found, str):
            return found
        groups.append(found)
    if groups == [None, None]:
        return "has neither out_of_place nor in_place"
    try:
        root = int(str(entry.get("root", "-1")).strip() or -1)
    except ValueError:
        return f"root is {entry.get('root')!r}"
    return Line(
        size,
        count if isinstance(count, int) else 0,
        str(entry.get("type", "")),
        str(entry.get("redop", "none")),
        root,
        groups[0],
        groups[1],
        place,
    )


def _timing(entry: Any, name: str) -> Timing | str | None:
    if entry is None:
        return None
    if not isinstance(entry, dict):
        return f"{name} is no object"
    values = []
    for key in ("time", "alg_bw", "bus_bw"):
        value = entry.get(key, entry.get("cpu_time") if key == "time" else None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{name}.{key} is {value!r}"
        values.append(float(value))
    wrong = entry.get("nwrong")
    time, algbw, busbw = values
    return Timing(time, algbw, busbw, int(wrong) if isinstance(wrong, int | float) else None)
