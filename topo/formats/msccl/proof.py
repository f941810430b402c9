"""The proof of an MSCCL program: what every place holds, and that no two steps race for one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from topo.errors import ScheduleError
from topo.formats.msccl.order import Order, ordered
from topo.formats.msccl.program import RECEIVING, REDUCING, MscclProgram, Place, Step


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


@dataclass(frozen=True, eq=False)
class _Contents:
    """What every place holds at the end: a set of contributions, as bits ``rank * chunks + chunk``."""

    held: dict[tuple[int, Place], int]
    chunks: int
    """Input chunks of a rank."""
    writer: dict[tuple[int, Place], Step]


def _inputs(program: MscclProgram) -> int:
    return program.share if program.operation == "all-gather" else program.chunks


def _executed(program: MscclProgram, order: Order) -> _Contents:
    chunks = _inputs(program)
    held: dict[tuple[int, Place], int] = {}
    writer: dict[tuple[int, Place], Step] = {}
    for gpu in range(program.ranks):
        for chunk in range(chunks):
            held[gpu, program.home(gpu, Place("i", chunk))] = 1 << (gpu * chunks + chunk)
    sent: dict[int, list[int]] = {}
    for number in order.sequence:
        step = order.steps[number]
        values = [0] * step.count
        if step.type in RECEIVING:
            values = sent[order.sent_by[number]]
        if step.reads:
            own = [_read(program, held, step, place) for place in step.reads]
            values = [_sum(step, one, two) for one, two in zip(values, own, strict=True)]
        if step.type == "re":
            before = [_read(program, held, step, place) for place in step.writes]
            values = [_sum(step, one, two) for one, two in zip(values, before, strict=True)]
        for place, value in zip(step.writes, values, strict=False):
            held[step.gpu, program.home(step.gpu, place)] = value
            writer[step.gpu, program.home(step.gpu, place)] = step
        sent[number] = values
    return _Contents(held, chunks, writer)


def _read(program: MscclProgram, held: dict[tuple[int, Place], int], step: Step, place: Place) -> int:
    value = held.get((step.gpu, program.home(step.gpu, place)), 0)
    if not value:
        raise ScheduleError(f"{step} reads {place}, which holds nothing yet")
    return value


def _sum(step: Step, one: int, two: int) -> int:
    if one & two and step.type in REDUCING:
        raise ScheduleError(f"{step} reduces a contribution twice")
    return one | two


def _root(program: MscclProgram, contents: _Contents) -> int:
    """Whose input a broadcast spreads, or where a reduction ends."""
    chunks = contents.chunks
    if program.operation == "broadcast":
        for gpu in range(program.ranks):
            value = contents.held.get((gpu, program.home(gpu, Place("o", 0))), 0)
            origin = (value.bit_length() - 1) // chunks
            if value and origin != gpu:
                return origin
        return 0
    full = sum(1 << (rank * chunks) for rank in range(program.ranks))
    ends = [g for g in range(program.ranks) if contents.held.get((g, program.home(g, Place("o", 0)))) == full]
    return ends[0] if ends else 0


def _required(program: MscclProgram, chunks: int) -> dict[tuple[int, int], int]:
    """Contributions that each output chunk (gpu, offset) must hold."""
    ranks, share = range(program.ranks), program.share

    def one(rank: int, chunk: int) -> int:
        return 1 << (rank * chunks + chunk)

    def everyone(chunk: int) -> int:
        return sum(one(rank, chunk) for rank in ranks)

    if program.operation == "all-gather":
        return {(d, r * share + j): one(r, j) for d in ranks for r in ranks for j in range(share)}
    if program.operation == "all-to-all":
        return {(d, r * share + j): one(r, d * share + j) for d in ranks for r in ranks for j in range(share)}
    if program.operation == "reduce-scatter":
        return {(d, j): everyone(d * share + j) for d in ranks for j in range(share)}
    if program.operation == "broadcast":
        return {(d, j): one(program.root, j) for d in ranks for j in range(chunks)}
    if program.operation == "reduce":
        return {(program.root, j): everyone(j) for j in range(chunks)}
    return {(d, j): everyone(j) for d in ranks for j in range(chunks)}


def _require_result(program: MscclProgram, contents: _Contents) -> None:
    chunks = contents.chunks
    for (gpu, offset), need in _required(program, chunks).items():
        home = program.home(gpu, Place("o", offset))
        value = contents.held.get((gpu, home), 0)
        if value == need:
            continue
        last = contents.writer.get((gpu, home))
        written = f"last written by {last}" if last else f"gpu {gpu} never writes it"
        lacking = need & ~value
        if lacking:
            rank, chunk = divmod(lacking.bit_length() - 1, chunks)
            what = f"lacks the contribution of gpu {rank} chunk {chunk}"
            what += f" ({(value & need).bit_count()} of {need.bit_count()} there)"
        else:
            rank, chunk = divmod((value & ~need).bit_length() - 1, chunks)
            what = f"also holds gpu {rank} chunk {chunk}, which does not belong there"
        raise ScheduleError(f"at the end gpu {gpu} o[{offset}] {what}; {written}")


def _require_order(program: MscclProgram, order: Order) -> None:
    """Every write must be ordered against every other access of its place."""
    earlier = [0] * len(order.steps)
    access: dict[tuple[int, Place], list[tuple[int, bool]]] = {}
    for number in order.sequence:
        for other in order.before(number):
            earlier[number] |= earlier[other] | 1 << other
        step = order.steps[number]
        touched: dict[Place, bool] = {}
        for place, writing in [*((p, False) for p in step.reads), *((p, True) for p in step.writes)]:
            home = program.home(step.gpu, place)
            touched[home] = touched.get(home, False) or writing
        for home, writing in touched.items():
            users = access.setdefault((step.gpu, home), [])
            for other, wrote in users:
                if (writing or wrote) and not earlier[number] >> other & 1:
                    raise ScheduleError(
                        f"{step} {'writes' if writing else 'reads'} {home} and {order.steps[other]} "
                        f"{'writes' if wrote else 'reads'} it, and nothing says which comes first",
                        "let one wait for the other by depid and deps",
                    )
            users.append((number, writing))
