"""Reading MSCCL: programs of every shape are proved and timed, broken ones refused by gpu, block and step."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest

from tests.topo.algorithms.examples import cabled, star
from topo.collective import Collective
from topo.errors import AlgorithmError, ScheduleError, TopoError
from topo.fabric import Fabric
from topo.formats import msccl
from topo.simulate import run_schedule

FOLDER = Path(__file__).parents[2] / "data" / "msccl"
FILES = sorted(path.name for path in FOLDER.glob("*.xml"))
A, B = 1e-6, 5e10
"""Latency and bytes/s of the links below."""


def _text(name: str) -> str:
    return (FOLDER / name).read_text()


def _ring(ranks: int) -> Fabric:
    return cabled("ring", range(ranks), [(i, (i + 1) % ranks, 1) for i in range(ranks)], A)


# ------------------------------------------------------------------------------------------------ good ones


@pytest.mark.parametrize("name", FILES)
def test_programs_are_proved_and_carry_out_their_collective(name: str) -> None:
    program = msccl.read(FOLDER / name)
    schedule = program.schedule(8e6)
    schedule.verify()
    assert schedule.collective == Collective(program.operation, program.ranks, 8e6)
    # What must reach each rank at least, in whichever form.
    least = 8e6 * (program.ranks - 1) / program.ranks
    assert (schedule.bytes_received() >= least * (1 - 1e-9)).all()
    assert schedule.bytes_sent().sum() == pytest.approx(schedule.bytes_received().sum())


@pytest.mark.parametrize(
    ("name", "fabric", "seconds"),
    [
        ("pair-allgather-2.xml", cabled("pair", range(2), [(0, 1, 1)], A), A + 4e6 / B),
        ("ring-allreduce-4.xml", _ring(4), 6 * (A + 2e6 / B)),
        ("ring-allreduce-4-op.xml", _ring(4), 6 * (A + 2e6 / B)),
        ("allpairs-allreduce-4.xml", star(4), 2 * (2 * A + 6e6 / B)),
        ("recursive-doubling-allgather-8.xml", star(8), 3 * 2 * A + 7e6 / B),
        ("recursive-doubling-allgather-4-op.xml", star(4), 2 * 2 * A + 6e6 / B),
        # Ring of 4 in the node on S, ring of 2 between the nodes on S/4.
        ("hierarchical-allreduce-2x4.xml", star(8), 6 * (2 * A + 2e6 / B) + 2 * (2 * A + 1e6 / B)),
        # Ring of 2 on S, then of 3 on S/2.
        ("hierarchical-allreduce-3x2-op.xml", star(6), 2 * (2 * A + 4e6 / B) + 4 * (2 * A + 4e6 / 3 / B)),
        # To the rank beside: its own block and those for its two peers; then two rails of two blocks each.
        ("two-step-alltoall-3x2.xml", star(6), 2 * (2 * A) + 3 * 8e6 / 6 / B + 4 * 8e6 / 6 / B),
    ],
)
def test_times_are_those_of_the_formulas(name: str, fabric: Fabric, seconds: float) -> None:
    assert run_schedule(msccl.read(FOLDER / name).schedule(8e6), fabric) == pytest.approx(seconds, rel=1e-9)


def test_both_spellings_of_a_ring_are_the_same_program() -> None:
    one, other = (msccl.read(FOLDER / f"ring-allreduce-4{spelling}.xml") for spelling in ("", "-op"))
    assert one == other


def test_a_program_may_be_bound_to_any_size_but_not_to_another_collective() -> None:
    program = msccl.read(FOLDER / "ring-allreduce-4.xml")
    assert program.schedule(64.0).bytes_sent().tolist() == [96.0] * 4
    assert program.schedule("1KiB").collective.bytes == 1024
    for other in (Collective("all-gather", 4, 64), Collective("all-reduce", 5, 64)):
        with pytest.raises(ScheduleError, match="does all-reduce among 4 ranks"):
            program.schedule(other)


def test_lock_step_and_data_dependencies_agree_on_a_ring() -> None:
    from topo.network.program import compile_program
    from topo.network.solver import run_alone

    schedule = msccl.read(FOLDER / "ring-allreduce-4.xml").schedule(8e6)
    free, locked = (
        run_alone(compile_program(schedule, _ring(4), barrier=barrier))[0].finish for barrier in (False, True)
    )
    assert free == pytest.approx(locked, rel=1e-12)


def _algo(body: str, **changes: object) -> str:
    head = {
        "name": "t",
        "proto": "Simple",
        "nchannels": 1,
        "nchunksperloop": 2,
        "ngpus": 2,
        "coll": "allreduce",
        "inplace": 1,
        **changes,
    }
    return f"<algo {' '.join(f'{key}={str(value)!r}' for key, value in head.items())}>{body}</algo>"


def _gpu(number: int, blocks: str, i: int = 2, o: int = 2, s: int = 0) -> str:
    return f"<gpu id='{number}' i_chunks='{i}' o_chunks='{o}' s_chunks='{s}'>{blocks}</gpu>"


def _tb(number: int, peer: int, *steps: str) -> str:
    numbered = "".join(f"<op step='{i}' {step}/>" for i, step in enumerate(steps))
    return f"<tb id='{number}' send='{peer}' recv='{peer}' chan='0'>{numbered}</tb>"


def test_roots_are_found_where_the_file_does_not_say() -> None:
    one = _gpu(0, _tb(0, 1, "type='r' buf='i' off='0' cnt='2'"))
    two = _gpu(1, _tb(0, 0, "type='s' buf='i' off='0' cnt='2'"))
    spread = msccl.read_text(_algo(one + two, coll="broadcast"))
    assert (spread.operation, spread.root) == ("broadcast", 1)
    one = _gpu(0, _tb(0, 1, "type='rrc' buf='i' off='0' cnt='2'"))
    gathered = msccl.read_text(_algo(one + two, coll="reduce"))
    assert (gathered.operation, gathered.root) == ("reduce", 0)
    assert gathered.schedule(10.0).collective.root == 0


def test_reduce_scatter_in_place_and_out_of_place() -> None:
    def both(added: str) -> str:
        sent = "type='s' buf='i' off='{}'"
        return "".join(_gpu(r, _tb(0, 1 - r, sent.format(1 - r), added.format(r)), o=1) for r in (0, 1))

    inside = both("type='rrc' buf='i' off='{}'")
    assert msccl.read_text(_algo(inside, coll="reducescatter")).operation == "reduce-scatter"
    apart = both("type='rrc' srcbuf='i' srcoff='{}' dstbuf='o' dstoff='0'")
    assert not msccl.read_text(_algo(apart, coll="reducescatter", inplace=0)).in_place
    with pytest.raises(ScheduleError, match="gpu 0 never writes it"):
        msccl.read_text(_algo(inside, coll="reducescatter", inplace=0))


# ---------------------------------------------------------------------------------------------- broken ones


def _broken(name: str, old: str, new: str, count: int = 1) -> str:
    text = _text(name)
    assert old in text
    return text.replace(old, new, count)


RING, PAIRS, DOUBLING = (
    "ring-allreduce-4-op.xml",
    "allpairs-allreduce-4.xml",
    "recursive-doubling-allgather-8.xml",
)
ALL_TO_ALL = "two-step-alltoall-2x2.xml"
RECEIVE, SEND = "type='r' buf='i' off='0'", "type='s' buf='i' off='1'"
SENT = 'type="s" srcbuf="i" srcoff="1" dstbuf="s" dstoff="0" cnt='


@pytest.mark.parametrize(
    ("text", "says"),
    [
        # A cycle across GPUs: both receive first.
        (
            _algo("".join(_gpu(r, _tb(0, 1 - r, RECEIVE, SEND)) for r in (0, 1))),
            r"in a cycle: gpu \d tb 0 step \d after gpu \d tb 0 step \d after",
        ),
        # A cycle inside a GPU.
        (
            _broken(DOUBLING, 'cnt="1" depid="-1" deps="-1" hasdep="1"', 'cnt="1" depid="3" deps="1" hasdep="1"'),
            "in a cycle: gpu 0 tb",
        ),
        (_broken(RING, '<tb id="0" send="1" recv="3" chan="0">', '<tb id="0" send="-1" recv="3" chan="0">'),
         "gpu 0 tb 0 step 0: a s but the thread block has no send peer"),
        (_broken(RING, 'send="2" recv="0"', 'send="2" recv="-1"'),
         "gpu 1 tb 0 step 1: a rrs but the thread block has no recv peer"),
        (_broken(RING, '      <op step="6" type="r" buf="i" off="2"/>\n', ""),
         r"gpu 3 tb 0 step 5 sends to gpu 0 on channel 0, but nothing there receives it; 6 sends and 5 receives"),
        (_broken(RING, 'type="s" buf="i" off="0"', 'type="nop"'),
         r"gpu 1 tb 0 step 6 receives from gpu 0 on channel 0, but nothing there sends it"),
        (_broken(RING, 'step="1" type="rrs" buf="i" off="3"', 'step="1" type="rrs" buf="i" off="4"'),
         r"gpu 0 tb 0 step 1: chunk i\[4\] is out of range; buffer i has 4 chunks"),
        (_broken(DOUBLING, 'dstoff="4" cnt="4"', 'dstoff="6" cnt="4"'),
         r"gpu 0 tb 3 step \d: chunk o\[8\] is out of range"),
        (_broken(PAIRS, 'dstbuf="s" dstoff="2"', 'dstbuf="s" dstoff="999999999999"'),
         r"chunk s\[999999999999\] is out of range"),
        # An unreduced chunk: the last reduction is left out.
        (_broken(PAIRS, 'type="re" srcbuf="s" srcoff="2"', 'type="nop" srcbuf="s" srcoff="2"'),
         r"at the end chunk o\[0\] of gpu 0 is not fully reduced: it lacks the contribution of gpu 3 \(3 of 4 there\); "
         r"last written by gpu 0 tb 0 step 3"),
        (_broken(PAIRS, 'type="re" srcbuf="s" srcoff="2"', 'type="re" srcbuf="s" srcoff="1"'),
         "gpu 0 tb 0 step 4 reduces the contribution of gpu 2 to chunk 0 twice"),
        (_broken(RING, 'step="1" type="rrs" buf="i" off="3"', 'step="1" type="rrs" buf="i" off="2"'),
         "gpu 0 tb 0 step 1 adds chunk 3 to chunk 2"),
        (_broken(ALL_TO_ALL, 'srcoff="1" dstbuf="o" dstoff="0"', 'srcoff="0" dstbuf="o" dstoff="0"'),
         r"at the end chunk o\[0\] of gpu 1 holds chunk 0 of gpu 0 instead of chunk 1 of gpu 0; "
         "last written by gpu 1 tb 1 step"),
        (_broken(DOUBLING, 'type="cpy"', 'type="nop"'),
         r"gpu 0 tb 1 step 0 reads o\[0\], which holds nothing yet"),
        # A race: the dependency of the final send is dropped.
        (_broken(PAIRS, 'depid="0" deps="4"', 'depid="-1" deps="-1"'),
         r"i\[0\] and gpu 0 tb \d step \d (reads|writes) it, and nothing says which comes first"),
        (_broken(PAIRS, '<tb id="1"', '<tb id="0"'), "gpu 0 tb 0 stands twice"),
        (_broken(PAIRS, '<tb id="3"', '<tb id="7"'), "gpu 0 tb 3 is missing"),
        (_broken(PAIRS, '<tb id="1" send="1"', '<tb id="1" send="0"'), "gpu 0 tb 1: send=0 is the GPU itself"),
        (_broken(PAIRS, 'send="1" recv="1"', 'send="1" recv="9"'),
         "gpu 0 tb 1: recv=9 is not a GPU; ngpus=4 means 0 to 3"),
        (_broken(PAIRS, 'send="2" recv="2"', 'send="1" recv="1"'),
         "gpu 0 tb 2: send=1 on channel 0 is already that of tb 1"),
        (_algo(_gpu(0, "") + _gpu(0, "")), "gpu 0 stands 2 times"),
        (_broken(PAIRS, '<gpu id="2"', '<gpu id="4"'), "gpu 4 is out of range"),
        (_broken(PAIRS, 'ngpus="4"', 'ngpus="5"'), "gpu 4 is missing"),
        (_broken(PAIRS, 'type="re"', 'type="rx"'), "gpu 0 tb 0 step 2: type='rx' is unknown"),
        (_broken(PAIRS, 'cnt="1"', 'cnt="one"'), "cnt='one' is not a whole number"),
        (_broken(PAIRS, SENT + '"1"', SENT + '"2"'),
         "gpu 0 tb 1 step 0 sends 2 chunks but gpu 1 tb 1 step 1 receives 1"),
        (_broken(PAIRS, SENT + '"1"', SENT + '"0"'), "gpu 0 tb 1 step 0: cnt=0 moves nothing"),
        (_broken(PAIRS, 'srcbuf="s"', 'srcbuf="q"'), "srcbuf='q' is unknown"),
        (_broken(PAIRS, 'depid="1" deps="1"', 'depid="1" deps="77"'), "waits for tb 1 step 77, which does not exist"),
        (_broken(PAIRS, '<step s="1"', '<step s="3"'), "gpu 0 tb 0: step 3 stands where step 1 should"),
        (_broken(DOUBLING, 'nchunksperloop="8"', 'nchunksperloop="9"'), "cannot be shared evenly among 8 GPUs"),
        (_algo(_gpu(0, _tb(0, 1, "type='cpy' buf='o' off='1'")) + _gpu(1, "")),
         "gpu 0 tb 0 step 0: a cpy needs srcbuf and srcoff"),
        (_algo(_gpu(0, _tb(0, 1, "type='nop' depid='0' deps='0'")) + _gpu(1, "")),
         "waits for step 0 of its own thread block"),
    ],
)  # fmt: skip
def test_broken_programs_name_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ScheduleError, match=says):
        msccl.read_text(text)


def test_files_that_are_no_programs(tmp_path: Path) -> None:
    with pytest.raises(AlgorithmError, match="cannot be read: No such file"):
        msccl.read(tmp_path / "none.xml")
    with pytest.raises(AlgorithmError, match="cannot be read"):
        msccl.read(tmp_path)
    for text, says in (
        ("", "is not XML"),
        ("hello", "is not XML"),
        ("\0\xff", "is not XML"),
        (_text(RING)[:900], "is not XML"),
        ("<graphml/>", r"is not an MSCCL program: it begins with <graphml>; it would be <algo>"),
        (_algo("", coll="gather"), "collective 'gather' is not simulated"),
        (_algo("", coll="allredue"), "did you mean 'allreduce'"),
        (_algo(_gpu(0, "") + _gpu(1, ""), nchunksperloop=10**9), "too many to prove"),
    ):
        path = tmp_path / "file.xml"
        path.write_text(text, encoding="latin-1")
        with pytest.raises(AlgorithmError, match=says):
            msccl.read(path)
    with pytest.raises(ScheduleError, match="sends nothing"):
        _one_that_sends_nothing()


def _one_that_sends_nothing() -> None:
    from dataclasses import replace

    program = msccl.read(FOLDER / "pair-allgather-2.xml")
    idle = tuple(replace(gpu, blocks=()) for gpu in program.gpus)
    replace(program, gpus=idle).schedule(1e6)


@pytest.mark.parametrize(
    "declaration",
    [
        "<!DOCTYPE algo [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;&b;&b;'>]>",
        "<!DOCTYPE algo [<!ENTITY file SYSTEM 'file:///etc/passwd'>]>",
        "<!DOCTYPE algo SYSTEM 'http://localhost/none.dtd'>",
    ],
    ids=["bomb", "file", "network"],
)
def test_entities_and_document_types_are_refused(declaration: str) -> None:
    text = declaration + _text(RING).replace("ring_allreduce", "&c;" if "ENTITY c" in declaration else "r")
    with pytest.raises(AlgorithmError, match="declares a document type or entities"):
        msccl.read_text(text)


def test_no_mutation_of_a_file_breaks_the_reader() -> None:
    """Whatever is done to a file, it is read and proved, or refused in one line."""
    dice = random.Random(11)
    values = ["-1", "0", "1", "3", "7", "99", "x", "", "-5", "1e3", "rrc", "r", "cpy", "i", "o", "9" * 5000]
    read = refused = 0
    for name in FILES:
        text = _text(name)
        attributes = list(re.finditer(r'(\w+)="([^"]*)"', text))
        lines = text.split("\n")
        for _ in range(60):
            spot = dice.choice(attributes)
            changed = text[: spot.start()] + f'{spot[1]}="{dice.choice(values)}"' + text[spot.end() :]
            if dice.random() < 0.3:
                some = lines.copy()
                some.insert(dice.randrange(len(lines)), some.pop(dice.randrange(len(lines))))
                changed = "\n".join(some)
            try:
                msccl.read_text(changed).schedule(1e6)
                read += 1
            except TopoError as problem:
                assert "\n" not in str(problem)
                refused += 1
    assert read > 50
    assert refused > 200


def test_a_proved_program_keeps_what_its_proof_needs() -> None:
    """The schedule of a program that was changed after reading does not verify."""
    from dataclasses import replace

    program = msccl.read(FOLDER / RING)
    schedule = program.schedule(1e6)
    first = program.gpus[0]
    steps = first.blocks[0].steps[:-1]
    shorter = replace(first, blocks=(replace(first.blocks[0], steps=steps),))
    with pytest.raises(ScheduleError, match="nothing there receives it"):
        replace(schedule, program=replace(program, gpus=(shorter, *program.gpus[1:]))).verify()
    assert np.isfinite(run_schedule(schedule, _ring(4)))
