"""Output of nccl-tests: what is sound is read, what is not is named by line, and writing and reading agree."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topo.errors import TopoError
from topo.formats import nccl_tests
from topo.formats.nccl_tests import Line, Log, Run, Timing
from topo.formats.nccl_tests.run import PROGRAMS, busbw_factor

DATA = Path(__file__).parents[2] / "data" / "nccl_tests"


def sample(name: str) -> Log:
    return nccl_tests.read(DATA / name)


def test_a_plain_log() -> None:
    log = sample("all-reduce-8xh100.txt")
    assert log.problems == ()
    (run,) = log.runs
    assert (run.program, run.operation, run.ranks, run.nodes) == ("all_reduce_perf", "all-reduce", 8, 1)
    assert (run.device, run.version, run.complete) == ("NVIDIA H100 80GB HBM3", "2.21.5+cuda12.5", True)
    assert len(run.lines) == 25 and run.lines[0].bytes == 1024 and run.lines[-1].bytes == 2**34
    assert run.lines[10].out_of_place == Timing(27.37, 38.31, 67.04, 0)
    assert run.lines[10].in_place == Timing(26.93, 38.94, 68.14, 0)


def test_labels_of_mpirun_and_messages_of_nccl_are_skipped() -> None:
    log = sample("all-reduce-16xa100-mpirun.txt")
    assert log.problems == ()
    (run,) = log.runs
    assert (run.operation, run.ranks, run.nodes, len(run.lines)) == ("all-reduce", 16, 2, 25)
    assert run.hosts == ("ndv4-0",) * 8 + ("ndv4-1",) * 8


@pytest.mark.parametrize(
    "label",
    [
        "[1,0]<stdout>:",
        "[1,0]<stdout>: ",
        "[prterun-node-1@1,0]<stdout>: ",
        "[0] ",
        "0: ",
        "worker-0: ",
        "[pod/worker-0/main] ",
        "2026-01-05T10:00:00.123Z ",
        "2026-01-05 10:00:00 [1,0]<stdout>:",
        "Mon Jan  5 10:00:00 2026[1,0]<stdout>:",
        "\x1b[32m",
    ],
)
def test_every_label_comes_off(label: str) -> None:
    plain = (DATA / "all-reduce-8xh100.txt").read_text().splitlines()
    log = nccl_tests.read_text("\n".join(label + line for line in plain), "all-reduce-8xh100.txt")
    assert log.problems == ()
    assert [run.lines for run in log.runs] == [run.lines for run in sample("all-reduce-8xh100.txt").runs]


def test_several_runs_in_one_log() -> None:
    log = sample("several.txt")
    assert log.problems == ()
    gather, send = log.runs
    assert (gather.operation, gather.ranks, gather.nodes) == ("all-gather", 8, 2)
    assert (send.operation, send.ranks, send.nodes) == ("send-recv", 4, 1)
    assert [line.bytes for line in send.lines] == [2**20, 2**21, 2**22]
    assert send.lines[0].out_of_place == Timing(30.0, 34.95, 34.95, None)


def test_json() -> None:
    log = sample("alltoall-8xb200.json")
    assert log.problems == ()
    (run,) = log.runs
    assert (run.operation, run.ranks, run.nodes, run.device) == ("all-to-all", 8, 2, "NVIDIA B200")
    assert run.lines[0].out_of_place is not None and run.lines[0].out_of_place.time_us == 24.1
    assert run.lines[0].in_place is None


def test_what_is_broken_is_named_by_line() -> None:
    log = sample("broken.txt")
    said = {problem.number: problem.message for problem in log.problems}
    assert "5 elements came out wrong" in said[9]
    assert "time is 0" in said[10]
    assert "cut off" in said[11]
    assert "mixed" in said[12]
    assert "line 8" in said[13] and "mixed" in said[13]
    assert any("999.85" in p.message for p in log.problems if p.number == 14)
    assert any("cut off" in p.message for p in log.problems if p.number == 14)
    (run,) = log.runs
    assert not run.complete
    kept = {line.bytes: (line.out_of_place is not None, line.in_place is not None) for line in run.lines}
    assert kept == {2**20: (True, True), 2**21: (False, True), 2**22: (True, False), 2**25: (False, True)}


def test_processes_that_each_print_a_table_stay_apart() -> None:
    text = (DATA / "all-reduce-8xh100.txt").read_text().splitlines()
    lines = [f"[1,{rank}]<stdout>:{line}" for line in text for rank in (0, 1)]
    log = nccl_tests.read_text("\n".join(lines))
    assert log.problems == () and len(log.runs) == 2
    assert log.runs[0].lines[3].out_of_place == log.runs[1].lines[3].out_of_place


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no output"),
        ("hello\nworld\n", "no output"),
        (
            "     1048576        262144     float     sum      -1    40.0   26.2   26.2   0\n",
            "header is missing",
        ),
        ("# nThread 1 nGpus 8 minBytes 8 maxBytes 64 step: 2(factor)\n", "without a single row"),
    ],
)
def test_nothing_to_read(text: str, message: str) -> None:
    log = nccl_tests.read_text(text)
    assert log.runs == () and message in str(log.problems[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"version": 2, "results": [', "cut off"),
        ('{"version": 2}', "without 'results'"),
        ('{"version": 2, "results": []}', "without a single result"),
        ('{"version": 9, "results": []}', "version 9"),
        ('{"results": [{"size": 8}]}', "neither out_of_place nor in_place"),
        ('{"results": [{"size": -8}]}', "size is -8"),
        ('{"results": [{"size": 8, "in_place": {"time": "x"}}]}', "in_place.time is 'x'"),
        ('{"results": [4]}', "is no object"),
    ],
)
def test_broken_json_is_named(text: str, message: str) -> None:
    log = nccl_tests.read_json(text)
    assert log.runs == () and any(message in str(problem) for problem in log.problems)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(TopoError, match="cannot be read"):
        nccl_tests.read(DATA / "absent.txt")


def test_the_operation_follows_from_the_numbers_where_only_one_fits() -> None:
    text = (DATA / "all-reduce-8xh100.txt").read_text().partition("\n")[2]
    assert nccl_tests.read_text(text).runs[0].program == "all_reduce_perf"
    gather = (DATA / "several.txt").read_text().splitlines()[3:23]
    log = nccl_tests.read_text("\n".join(gather))
    assert log.runs[0].program == "" and "--operation" in log.problems[0].message


# ------------------------------------------------------------------------------------- writing and reading


@st.composite
def timings(draw: st.DrawFn, size: int, operation: str, ranks: int) -> Timing:
    time = draw(st.floats(max(1.0, size / 1e6), 1e7))  # no link is faster than 1 TB/s
    printed = (
        float(f"{time:.2f}") if time < 1e4 else float(f"{time:.1f}") if time < 1e5 else float(round(time))
    )
    algbw = size / printed / 1e3
    return Timing(printed, algbw, algbw * busbw_factor(operation, ranks), draw(st.sampled_from([0, None])))


@st.composite
def runs(draw: st.DrawFn) -> Run:
    program = draw(st.sampled_from(sorted(PROGRAMS)))
    operation = PROGRAMS[program]
    hosts = draw(st.integers(1, 3))
    each = draw(st.integers(1 if hosts > 1 else 2, 8))
    ranks = hosts * each
    first = draw(st.integers(10, 20))
    sizes = [2**k for k in range(first, first + draw(st.integers(1, 12)))]
    root = 0 if operation in ("broadcast", "reduce") else -1
    redop = "sum" if operation in ("all-reduce", "reduce-scatter", "reduce", "send-recv") else "none"
    lines = tuple(
        Line(
            size,
            size // 4,
            "float",
            redop,
            root,
            draw(timings(size, operation, ranks)),
            draw(timings(size, operation, ranks)),
        )
        for size in sizes
    )
    names = tuple(f"node-{host}" for host in range(hosts) for _ in range(each))
    return Run("log", program, ranks, names, "NVIDIA H100 80GB HBM3", lines, complete=True)


def times(line: Line) -> list[tuple[float, int | None]]:
    return [(t.time_us, t.wrong) for t in (line.out_of_place, line.in_place) if t is not None]


def essence(run: Run) -> tuple[object, ...]:
    """What must survive: bandwidths are rounded in text, times are not."""
    return (
        run.program,
        run.ranks,
        run.hosts,
        run.device,
        run.complete,
        [(line.bytes, line.count, line.type, line.redop, line.root, times(line)) for line in run.lines],
    )


@given(run=runs())
def test_text_survives_the_round_trip(run: Run) -> None:
    log = nccl_tests.read_text(nccl_tests.write_text(run))
    assert log.problems == ()
    assert [essence(one) for one in log.runs] == [essence(run)]
    again = nccl_tests.read_text(nccl_tests.write_text(log.runs[0]))
    assert [run.lines for run in again.runs] == [run.lines for run in log.runs]


@given(run=runs())
def test_json_survives_the_round_trip(run: Run) -> None:
    log = nccl_tests.read_json(nccl_tests.write_json(run))
    assert log.problems == ()
    assert [essence(one) for one in log.runs] == [essence(run)]


@given(first=runs(), second=runs(), label=st.sampled_from(["", "[1,0]<stdout>:", "3: "]))
def test_runs_one_after_the_other(first: Run, second: Run, label: str) -> None:
    both = nccl_tests.write_text(first) + nccl_tests.write_text(second)
    log = nccl_tests.read_text("".join(f"{label}{line}\n" for line in both.splitlines()))
    assert log.problems == ()
    assert [essence(one) for one in log.runs] == [essence(first), essence(second)]


@given(run=runs(), cut=st.floats(0.0, 1.0))
def test_a_log_cut_off_anywhere_never_lies(run: Run, cut: float) -> None:
    """Every timing that is read from a part of a log is one of the whole, and what is missing is said."""
    text = nccl_tests.write_text(run)
    part = text[: int(cut * text.rindex("# Avg"))]
    log = nccl_tests.read_text(part)
    assert log.problems
    whole = {line.bytes: line for line in nccl_tests.read_text(text).runs[0].lines}
    for one in log.runs:
        for line in one.lines[:-1]:
            assert line.out_of_place == whole[line.bytes].out_of_place


@given(junk=st.text(max_size=300))
def test_nothing_makes_the_readers_fail(junk: str) -> None:
    assert isinstance(nccl_tests.read_text(junk), Log)
    assert isinstance(nccl_tests.read_json(junk), Log)
