"""Reading what nccl-tests prints.

Lines may carry the labels of mpirun, srun or a log collector; several runs may follow each other, and several
processes may each print a table of their own (their labels keep them apart).  Lines of others are skipped, but a
line that is meant as a row of the table and cannot be read is named.  Source of the columns: NVIDIA nccl-tests,
src/common.cu and src/util.cu (writeResultHeader, writeBenchmarkLineBody), and their older versions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import pairwise

from topo.formats.nccl_tests.checks import check_line, guess_program
from topo.formats.nccl_tests.run import OTHER_PROGRAMS, PROGRAMS, Line, Log, LogProblem, Run, Timing

_LABELS = (
    re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\s+"),
    re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} +\d+ \d\d:\d\d:\d\d \d{4}\s*(?=\[)"),
    re.compile(r"(?P<who>\[(?:[\w.@-]+,)?\d+\])\s*(?:<std(?:out|err|diag)>)?:?\s?"),
    re.compile(r"(?P<who>\[pod/\S+\])\s"),
    re.compile(r"(?P<who>\d+):\s(?=\s|#)"),
    re.compile(r"(?P<who>[A-Za-z][\w.-]*):\s(?=\s*#|\s+\d)"),
)
"""Time stamps; OpenMPI's [job,rank]<stdout>:; Intel MPI's [rank]; kubectl's pod; srun's rank:; a host."""
_HEADER = re.compile(r"#\s*nThread\s+(\d+)\s+nGpus\s+(\d+)\s+minBytes\s+(\d+)\s+maxBytes\s+(\d+)")
_STEP = re.compile(r"step:\s*(\d+)\((factor|bytes)\)")
_RANK = re.compile(
    r"#\s+Rank\s+(\d+)\s+(?:Group\s+(\d+)\s+)?Pid\s+\d+\s+on\s+(\S+)\s+device\s+\d+\s+\[[^\]]*\]\s*(.*)"
)
_STARTING = re.compile(r"#\s*Collective test starting:\s*(\S+)")
_CONCLUDED = re.compile(r"#\s*(?:Avg bus bandwidth|Collective test concluded)")
_COMMAND = re.compile(
    r"(?:^|[\s/])((?:all_reduce|all_gather|reduce_scatter|alltoallv?|broadcast|reduce|sendrecv|"
    r"gather|scatter|hypercube)_perf)(?:_mpi)?\b"
)
_VERSION = re.compile(r"NCCL version\s+(\S+)|nccl-library=(\d+)")
_COLUMNS = re.compile(r"#\s+size\s+count\s+type\b")
_ROW = re.compile(r"\s*\d+\s+\d+\s+(?:u?int\w*|half|float\w*|double|bfloat\w*|f8\w*|fp8\w*|\w*fp8\w*)\b")
_ALMOST = re.compile(r"\s*\d+\s+\d+\s+[A-Za-z]\w*\s.*\d")
_STAMP = re.compile(r"\s+\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\s*$")
_TYPES = (
    "int8",
    "uint8",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "half",
    "float",
    "double",
    "bfloat16",
    "fp8",
    "f8",
)
_REDUCTIONS = ("none", "sum", "prod", "min", "max", "avg", "mulsum")
_PER_ITERATION = 4
"""Columns that a per-iteration report adds to each group: i_min, i_max, i_p99, i_cv%."""


@dataclass
class _Open:
    """A run that is being read."""

    program: str = ""
    launched: str = ""
    threads: int = 1
    gpus: int = 0
    smallest: int = 0
    largest: int = 0
    step: tuple[str, int] = ("", 0)
    header: int = 0
    ranks: dict[int, str] = field(default_factory=dict)
    device: str = ""
    groups: set[str] = field(default_factory=set)
    version: str = ""
    columns: int = 0
    per_iteration: bool = False
    lines: list[Line] = field(default_factory=list)
    ended: bool = False

    @property
    def started(self) -> bool:
        return bool(self.header or self.columns or self.lines)


class _Stream:
    """The lines that one process printed.

    ``launched`` holds the program that the last command line of the log started, shared by all streams.
    """

    def __init__(self, file: str, launched: list[str]) -> None:
        self.file = file
        self.launched = launched
        self.open = _Open()
        self.runs: list[Run] = []
        self.problems: list[LogProblem] = []

    def blame(self, number: int, message: str) -> None:
        self.problems.append(LogProblem(self.file, number, message))

    def read(self, number: int, line: str) -> None:
        run = self.open
        if line.lstrip().startswith("#"):
            self._comment(number, line.strip())
        elif _ROW.match(line) or (run.columns and not run.ended and _ALMOST.match(line)):
            self._row(number, line)
        elif found := _VERSION.search(line):
            run.version = run.version or found[1] or found[2]
        elif (run.ended or not run.started) and (found := _COMMAND.search(line)):
            self.launched[:] = [found[1]]

    def _comment(self, number: int, line: str) -> None:
        if found := _STARTING.match(line):
            self._begin(number)
            self.open.program = found[1].rpartition("/")[2].removesuffix("_mpi")
        elif found := _HEADER.match(line):
            if self.open.header or self.open.lines:
                self._begin(number)
            run = self.open
            run.header = number
            run.launched = "".join(self.launched)
            run.threads, run.gpus, run.smallest, run.largest = (int(group) for group in found.groups())
            if step := _STEP.search(line):
                run.step = step[2], int(step[1])
        elif found := _RANK.match(line):
            self.open.ranks[int(found[1])] = found[3]
            self.open.groups.add(found[2] or "0")
            self.open.device = self.open.device or found[4].strip()
        elif _COLUMNS.match(line):
            if self.open.columns and self.open.lines:
                self._begin(number)
            self.open.columns = number
            self.open.launched = self.open.launched or "".join(self.launched)
            self.open.per_iteration = "i_min" in line
        elif _CONCLUDED.match(line):
            self.open.ended = True
        elif found := _VERSION.search(line):
            self.open.version = self.open.version or found[1] or found[2]
        elif not self.open.started and (found := _COMMAND.search(line)):
            self.launched[:] = [found[1]]

    def _row(self, number: int, line: str) -> None:
        run = self.open
        if run.ended:
            self.blame(number, "a row after the end of its run; two outputs are mixed")
            return
        if not run.columns and not run.header:
            self.blame(number, "a row of a table whose header is missing; give the whole output of the run")
            return
        found = _parsed(_STAMP.sub("", line).split(), run.per_iteration)
        if isinstance(found, str):
            self.blame(number, found)
            return
        if found.bytes == 0:  # smaller than one element for every rank: nothing moved
            return
        if run.lines and found.bytes <= run.lines[-1].bytes and not _another_kind(found, run.lines):
            same = next((one for one in run.lines if one.bytes == found.bytes), None)
            where = (
                f"size {found.bytes} stands at line {same.number} too" if same else "sizes fall within a run"
            )
            self.blame(number, f"{where}; two outputs are mixed")
            return
        if run.largest and found.bytes > run.largest:
            self.blame(number, f"size {found.bytes} is beyond maxBytes {run.largest}; two outputs are mixed")
            return
        run.lines.append(replace(found, number=number))

    def _begin(self, number: int) -> None:
        """Another run begins."""
        self.close(number)

    def close(self, number: int) -> None:
        """End the run that is being read, if any."""
        run, self.open = self.open, _Open()
        if not run.started:
            self.open.version = run.version
            return
        if not run.lines:
            self.blame(run.header or run.columns, "a run without a single row; it ended before it measured")
            return
        last = run.lines[-1]
        if not run.ended:
            self.blame(
                last.number, "the run ends here, without its last line 'Avg bus bandwidth'; it was cut off"
            )
        elif run.largest and run.step[0] == "factor" and last.bytes * run.step[1] <= run.largest:
            self.blame(last.number, f"sizes end at {last.bytes} of {run.largest}; rows are missing")
        program = run.program or run.launched
        self.runs.append(self._closed(run, program))

    def _closed(self, run: _Open, program: str) -> Run:
        ranks = _ranks(run)
        first = run.lines[0].number
        if len(run.groups) > 1:
            self.blame(
                run.header, f"{len(run.groups)} groups ran at once; only runs of one group can be used"
            )
        if program and program not in PROGRAMS:
            known = program in OTHER_PROGRAMS
            self.blame(
                run.header or first, f"{program} {'has no counterpart here' if known else 'is unknown'}"
            )
        if not program:
            program = guess_program(run.lines, ranks)
            if not program:
                self.blame(first, "the log does not say which operation ran; name it with --operation")
        lines = []
        for line in run.lines:
            sound, complaints = check_line(line, PROGRAMS.get(program, ""), ranks)
            for complaint in complaints:
                self.blame(line.number, complaint)
            if sound is not None:
                lines.append(sound)
        hosts = tuple(run.ranks[rank] for rank in sorted(run.ranks)) if len(run.ranks) == ranks else ()
        return Run(
            self.file,
            program,
            ranks,
            hosts,
            run.device,
            tuple(lines),
            run.version,
            complete=run.ended,
            per_thread=run.gpus if run.header else 0,
        )


def read_text(text: str, file: str = "log") -> Log:
    """Read the text of a log; nothing is raised, what cannot be used is named by line."""
    streams: dict[str, _Stream] = {}
    launched: list[str] = []
    number = 0
    for number, raw in enumerate(text.splitlines(), start=1):
        who, line = _unlabelled(raw)
        streams.setdefault(who, _Stream(file, launched)).read(number, line)
    runs, problems = [], []
    for stream in streams.values():
        stream.close(number)
        runs += stream.runs
        problems += stream.problems
    runs.sort(key=lambda run: run.lines[0].number if run.lines else 0)
    if not runs and not problems:
        problems.append(LogProblem(file, 0, "holds no output of nccl-tests"))
    return Log(tuple(runs), tuple(sorted(problems, key=lambda problem: problem.number)))


def _unlabelled(line: str) -> tuple[str, str]:
    """Who printed a line, and the line without that label; colours of terminals are taken off."""
    line = re.sub(r"\x1b\[[0-9;]*m", "", line).replace("\r", "")
    who = ""
    for pattern in _LABELS:
        if found := pattern.match(line):
            who = found.groupdict().get("who") or who
            line = line[found.end() :]
    return who, line


def _ranks(run: _Open) -> int:
    """Ranks of a run: those listed; in a list of first ranks of processes, those of each too."""
    each = run.threads * run.gpus
    if not run.ranks:
        return each
    listed = sorted(run.ranks)
    apart = min((b - a for a, b in pairwise(listed)), default=each or 1)
    return listed[-1] + (each if each and apart == each else 1)


def _another_kind(line: Line, lines: list[Line]) -> bool:
    """Whether a table goes on with another type, reduction or root (options -d all, -o all, -r all)."""
    kinds = {(one.type, one.redop, one.root) for one in lines}
    return (line.type, line.redop, line.root) not in kinds


def _parsed(words: list[str], per_iteration: bool) -> Line | str:
    """A row, or what is wrong with it."""
    if len(words) < 7:
        return f"a row cut off after {len(words)} columns"
    size, count, kind = words[:3]
    if not any(kind.startswith(name) for name in _TYPES):
        return f"type {kind!r} is unknown; two outputs are mixed in this line"
    rest = words[3:]
    redop = rest.pop(0) if re.fullmatch(r"[A-Za-z]\w*", rest[0]) else "none"
    if redop not in _REDUCTIONS:
        return f"reduction {redop!r} is unknown; two outputs are mixed in this line"
    each = 4 + (_PER_ITERATION if per_iteration else 0)
    root = -1
    if len(rest) % each == 1 and re.fullmatch(r"-?\d+", rest[0]):
        root = int(rest.pop(0))
    if len(rest) not in (each, 2 * each):
        return f"a row of {len(words)} columns: cut off, or two outputs mixed in one line"
    timings = []
    for start in range(0, len(rest), each):
        timing = _timing(rest[start : start + 4])
        if isinstance(timing, str):
            return timing
        timings.append(timing)
    return Line(int(size), int(count), kind, redop, root, timings[0], timings[1] if timings[1:] else None)


def _timing(words: list[str]) -> Timing | str:
    try:
        time, algbw, busbw = (float(word) for word in words[:3])
        wrong = None if words[3].lower() in ("n/a", "nan") else float(words[3])
    except ValueError:
        return f"{' '.join(words)!r} should be time, algbw, busbw and wrong elements; two outputs are mixed"
    # Before 2.11 the last column was the largest difference found, such as 4e-07, not a number of elements.
    return Timing(time, algbw, busbw, None if wrong is None or 0 < wrong < 1 else int(wrong))
