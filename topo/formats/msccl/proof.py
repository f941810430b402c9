"""The proof of an MSCCL program: what every place holds, and that no two steps race for one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from topo.errors import ScheduleError
from topo.formats.msccl.order import Order, ordered
from topo.formats.msccl.program import RECEIVING, MscclProgram, Place, Step


def proved(program: MscclProgram) -> MscclProgram:
    """Prove a program; return it, with the root found out where it has one.

    Raises
    ------
    ScheduleError
        Naming the gpu, thread block and step, or the output chunk, that is wrong.
    """
    order = ordered(program)
    _require_order(program, order)
    contents = _executed(program, order)
    if program.operation in ("broadcast", "reduce") and program.root < 0:
        program = replace(program, root=_root(program, contents))
    elif program.root < 0:
        program = replace(program, root=0)
    _require_result(program, contents)
    return program


Value = tuple[int, int]
"""What a place holds: a chunk of the input buffers, and the ranks whose contribution to it is there, as bits."""


@dataclass(frozen=True, eq=False)
class _Contents:
    """What every place holds at the end, and the step that wrote it."""

    held: dict[tuple[int, Place], Value]
    writer: dict[tuple[int, Place], Step]


def _inputs(program: MscclProgram) -> int:
    return program.share if program.operation == "all-gather" else program.chunks


def _executed(program: MscclProgram, order: Order) -> _Contents:
    held: dict[tuple[int, Place], Value] = {}
    writer: dict[tuple[int, Place], Step] = {}
    for gpu in range(program.ranks):
        for chunk in range(_inputs(program)):
            held[gpu, program.home(gpu, Place("i", chunk))] = (chunk, 1 << gpu)
    sent: dict[int, list[Value]] = {}
    for number in order.sequence:
        step = order.steps[number]
        terms = [[_read(program, held, step, place) for place in step.reads]] if step.reads else []
        if step.type in RECEIVING:
            terms.append(sent[order.sent_by[number]])
        if step.type == "re":
            terms.append([_read(program, held, step, place) for place in step.writes])
        values = terms[0] if terms else []
        for more in terms[1:]:
            values = [_sum(step, one, two) for one, two in zip(values, more, strict=True)]
        for place, value in zip(step.writes, values, strict=False):
            held[step.gpu, program.home(step.gpu, place)] = value
            writer[step.gpu, program.home(step.gpu, place)] = step
        sent[number] = values
    return _Contents(held, writer)


def _read(program: MscclProgram, held: dict[tuple[int, Place], Value], step: Step, place: Place) -> Value:
    value = held.get((step.gpu, program.home(step.gpu, place)))
    if value is None:
        raise ScheduleError(f"{step} reads {place}, which holds nothing yet")
    return value


def _sum(step: Step, one: Value, two: Value) -> Value:
    if one[0] != two[0]:
        raise ScheduleError(f"{step} adds chunk {two[0]} to chunk {one[0]}")
    if one[1] & two[1]:
        rank = (one[1] & two[1]).bit_length() - 1
        raise ScheduleError(f"{step} reduces the contribution of gpu {rank} to chunk {one[0]} twice")
    return one[0], one[1] | two[1]


def _root(program: MscclProgram, contents: _Contents) -> int:
    """Whose input a broadcast spreads, or where a reduction ends."""
    first = [contents.held.get((g, program.home(g, Place("o", 0))), (0, 0))[1] for g in range(program.ranks)]
    if program.operation == "broadcast":
        foreign = [ranks.bit_length() - 1 for gpu, ranks in enumerate(first) if ranks and ranks != 1 << gpu]
        return foreign[0] if foreign else 0
    return max(range(program.ranks), key=lambda gpu: first[gpu].bit_count())


def _required(program: MscclProgram) -> dict[tuple[int, int], Value]:
    """What each output chunk (gpu, offset) must hold."""
    ranks, share = range(program.ranks), program.share
    everyone = (1 << program.ranks) - 1
    if program.operation == "all-gather":
        return {(d, r * share + j): (j, 1 << r) for d in ranks for r in ranks for j in range(share)}
    if program.operation == "all-to-all":
        return {
            (d, r * share + j): (d * share + j, 1 << r) for d in ranks for r in ranks for j in range(share)
        }
    if program.operation == "reduce-scatter":
        return {(d, j): (d * share + j, everyone) for d in ranks for j in range(share)}
    if program.operation == "broadcast":
        return {(d, j): (j, 1 << program.root) for d in ranks for j in range(share)}
    ends = [program.root] if program.operation == "reduce" else ranks
    return {(d, j): (j, everyone) for d in ends for j in range(share)}


def _require_result(program: MscclProgram, contents: _Contents) -> None:
    for (gpu, offset), (chunk, ranks) in _required(program).items():
        home = program.home(gpu, Place("o", offset))
        held = contents.held.get((gpu, home))
        if held == (chunk, ranks):
            continue
        last = contents.writer.get((gpu, home))
        written = f"last written by {last}" if last else f"gpu {gpu} never writes it"
        if held is None:
            what = "holds nothing"
        elif held[0] != chunk or not held[1] & ranks:
            what = f"holds chunk {held[0]} of gpu {held[1].bit_length() - 1} instead of chunk {chunk} of gpu "
            what += str(ranks.bit_length() - 1) if ranks.bit_count() == 1 else "0 and the others"
        elif ranks & ~held[1]:
            lacking = (ranks & ~held[1]).bit_length() - 1
            what = f"is not fully reduced: it lacks the contribution of gpu {lacking}"
            what += f" ({(held[1] & ranks).bit_count()} of {ranks.bit_count()} there)"
        else:
            what = f"also holds the contribution of gpu {(held[1] & ~ranks).bit_length() - 1}"
        raise ScheduleError(f"at the end chunk o[{offset}] of gpu {gpu} {what}; {written}")


def _require_order(program: MscclProgram, order: Order) -> None:
    """Every write must be ordered against every other access of its place.

    Against the write before and the reads since it: those are ordered against all that came earlier.
    """
    earlier = [0] * len(order.steps)
    wrote: dict[tuple[int, Place], int] = {}
    read: dict[tuple[int, Place], list[int]] = {}
    for number in order.sequence:
        for other in order.before(number):
            earlier[number] |= earlier[other] | 1 << other
        step = order.steps[number]
        writes = {(step.gpu, program.home(step.gpu, place)) for place in step.writes}
        reads = {(step.gpu, program.home(step.gpu, place)) for place in step.reads} - writes
        for place in (*reads, *writes):
            against = [(wrote[place], True)] if place in wrote else []
            if place in writes:
                against += [(reader, False) for reader in read.pop(place, [])]
            for other, writing in against:
                if not earlier[number] >> other & 1:
                    raise ScheduleError(
                        f"{step} {'writes' if place in writes else 'reads'} {place[1]} and {order.steps[other]} "
                        f"{'writes' if writing else 'reads'} it, and nothing says which comes first",
                        "let one wait for the other by depid and deps",
                    )
        wrote.update(dict.fromkeys(writes, number))
        for place in reads:
            read.setdefault(place, []).append(number)
