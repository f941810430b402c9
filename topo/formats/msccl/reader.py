"""Reading MSCCL XML, in both spellings of a step.

``<step s type srcbuf srcoff dstbuf dstoff cnt depid deps hasdep>`` is what the runtimes read;
``<op step type buf off cnt depid deps hasdep>``, of newer compilers, names one place and leaves out what is default.
"""

from __future__ import annotations

from collections import Counter
from os import PathLike
from pathlib import Path
from typing import Any

from topo.errors import AlgorithmError, ScheduleError, nearest
from topo.formats.msccl.program import (
    NOWHERE,
    OPERATIONS,
    READING,
    RECEIVING,
    SENDING,
    TYPES,
    WRITING,
    Block,
    Gpu,
    MscclProgram,
    Place,
    Step,
)

LARGEST = 256 * 2**20
"""Bytes of the largest file that is read."""
MOST_PLACES = 1 << 20
"""Chunks times GPUs of the largest program that is read."""
WANTED = "give the path of an MSCCL XML file"
PROTOCOLS = ("Simple", "LL", "LL128")
BUFFERS = ("i", "o", "s")


def read(path: str | PathLike[str]) -> MscclProgram:
    """Read and prove an MSCCL program.

    Parameters
    ----------
    path : path of an XML file

    Raises
    ------
    AlgorithmError
        No such file, or it is not MSCCL XML.
    ScheduleError
        The program is wrong; the message names the gpu, thread block and step.
    """
    file = Path(path)
    try:
        if file.stat().st_size > LARGEST:
            raise AlgorithmError(f"{file} is larger than {LARGEST >> 20} MiB", "that is no MSCCL program")
        text = file.read_bytes()
    except OSError as problem:
        raise AlgorithmError(f"{file} cannot be read: {problem.strerror}", WANTED) from None
    return read_text(text, str(file))


def read_text(text: str | bytes, name: str = "MSCCL program") -> MscclProgram:
    """As :func:`read`, from the XML itself; ``name`` stands in messages."""
    from topo.formats.msccl.proof import proved

    return proved(_program(_root(text, name), name))


def _root(text: str | bytes, name: str) -> Any:
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root = fromstring(text, forbid_dtd=True)
    except DefusedXmlException:
        raise AlgorithmError(
            f"{name} declares a document type or entities, which an MSCCL program never does",
            "it may be an attack; do not trust the file",
        ) from None
    except (ParseError, ValueError) as problem:
        raise AlgorithmError(f"{name} is not XML: {problem}", WANTED) from None
    if root.tag != "algo":
        raise AlgorithmError(
            f"{name} is not an MSCCL program: it begins with <{root.tag}>", "it would be <algo>"
        )
    return root


class _Attributes:
    """The attributes of an element, and where it stands, for messages."""

    def __init__(self, element: Any, where: str) -> None:
        self.element, self.where = element, where

    def text(self, name: str, default: str | None = None) -> str:
        value = self.element.attrib.get(name, default)
        if value is None:
            raise ScheduleError(f"{self.where} has no attribute {name}")
        return str(value)

    def number(self, name: str, default: int | None = None, low: int = 0) -> int:
        text = self.text(name, None if default is None else str(default))
        try:
            value = int(text)
        except ValueError:
            raise ScheduleError(f"{self.where}: {name}={text!r} is not a whole number") from None
        if value < low:
            raise ScheduleError(f"{self.where}: {name}={value} is too small", f"give {low} or more")
        return value

    def word(self, name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        text = self.text(name, default=default)
        if text not in allowed:
            raise ScheduleError(
                f"{self.where}: {name}={text!r} is unknown",
                nearest(text, allowed) or f"one of {', '.join(allowed)}",
            )
        return text


def _program(root: Any, name: str) -> MscclProgram:
    algo = _Attributes(root, f"{name}: <algo>")
    coll = algo.text("coll")
    if coll not in OPERATIONS:
        raise AlgorithmError(
            f"{name}: collective {coll!r} is not simulated",
            nearest(coll, OPERATIONS) or f"one of {', '.join(OPERATIONS)}",
        )
    ranks = algo.number("ngpus", low=2)
    found = [_gpu(element, ranks) for element in root if element.tag == "gpu"]
    numbers = Counter(gpu.number for gpu in found)
    for number in range(ranks):
        if numbers[number] != 1:
            what = "is missing" if not numbers[number] else f"stands {numbers[number]} times"
            raise ScheduleError(
                f"{name}: gpu {number} {what}", f"ngpus={ranks} means one for each of 0 to {ranks - 1}"
            )
    gpus = tuple(sorted(found, key=lambda gpu: gpu.number))
    widest = max(max(gpu.input_chunks, gpu.output_chunks) for gpu in gpus)
    program = MscclProgram(
        name=algo.text("name", default=name),
        operation=OPERATIONS[coll],
        protocol=algo.word("proto", PROTOCOLS, "Simple"),
        channels=algo.number("nchannels", default=1, low=1),
        chunks=algo.number("nchunksperloop", default=widest, low=1),
        in_place=bool(algo.number("inplace", default=0)),
        gpus=gpus,
        root=algo.number("root", default=NOWHERE, low=NOWHERE),
    )
    if program.operation in ("all-gather", "reduce-scatter", "all-to-all") and program.chunks % ranks:
        raise ScheduleError(
            f"{name}: {program.chunks} chunks cannot be shared evenly among {ranks} GPUs",
            "nchunksperloop is a multiple of ngpus for this collective",
        )
    if ranks * program.chunks > MOST_PLACES:
        raise AlgorithmError(
            f"{name}: {program.chunks} chunks on {ranks} GPUs are too many to prove",
            f"at most {MOST_PLACES} in all",
        )
    if program.root >= ranks:
        raise ScheduleError(f"{name}: root {program.root} is not among {ranks} GPUs")
    for gpu in gpus:
        for block in gpu.blocks:
            _check_block(program, gpu, block)
    return program


def _gpu(element: Any, ranks: int) -> Gpu:
    attributes = _Attributes(element, "a <gpu>")
    number = attributes.number("id")
    attributes.where = f"gpu {number}"
    if number >= ranks:
        raise ScheduleError(f"gpu {number} is out of range", f"ngpus={ranks} means 0 to {ranks - 1}")
    blocks = [_block(tb, number, ranks) for tb in element if tb.tag == "tb"]
    twice = [block for block, times in Counter(block.number for block in blocks).items() if times > 1]
    if twice:
        raise ScheduleError(f"gpu {number} tb {twice[0]} stands twice", "give every thread block its own id")
    missing = set(range(len(blocks))) - {block.number for block in blocks}
    if missing:
        raise ScheduleError(
            f"gpu {number} tb {min(missing)} is missing", "thread blocks are numbered without gaps"
        )
    return Gpu(
        number,
        attributes.number("i_chunks"),
        attributes.number("o_chunks"),
        attributes.number("s_chunks", default=0),
        tuple(sorted(blocks, key=lambda block: block.number)),
    )


def _block(element: Any, gpu: int, ranks: int) -> Block:
    attributes = _Attributes(element, f"gpu {gpu}: a <tb>")
    number = attributes.number("id")
    where = attributes.where = f"gpu {gpu} tb {number}"
    peers = {name: attributes.number(name, default=NOWHERE, low=NOWHERE) for name in ("send", "recv")}
    for name, peer in peers.items():
        if peer == gpu:
            raise ScheduleError(
                f"{where}: {name}={peer} is the GPU itself", "use a cpy step for data that stays"
            )
        if peer >= ranks:
            raise ScheduleError(
                f"{where}: {name}={peer} is not a GPU", f"ngpus={ranks} means 0 to {ranks - 1}, or -1"
            )
    steps = [
        _step(step, gpu, number, i) for i, step in enumerate(e for e in element if e.tag in ("step", "op"))
    ]
    for i, step in enumerate(steps):
        if step.number != i:
            raise ScheduleError(
                f"{where}: step {step.number} stands where step {i} should", "number them from 0"
            )
    channel = attributes.number("chan", default=0, low=NOWHERE)
    return Block(gpu, number, peers["send"], peers["recv"], channel, tuple(steps))


def _step(element: Any, gpu: int, block: int, position: int) -> Step:
    attributes = _Attributes(element, f"gpu {gpu} tb {block} step {position}")
    number = attributes.number("s" if "s" in element.attrib else "step")
    attributes.where = f"gpu {gpu} tb {block} step {number}"
    kind = attributes.word("type", TYPES)
    blocks = attributes.number("depid", default=NOWHERE, low=NOWHERE)
    after = (blocks, attributes.number("deps")) if blocks != NOWHERE else None
    count = attributes.number("cnt", default=0 if kind == "nop" else 1)
    if kind == "nop":
        return Step(gpu, block, number, kind, None, None, 0, after)
    if not count:
        raise ScheduleError(f"{attributes.where}: cnt=0 moves nothing", "give 1 or more, or make it a nop")
    places = {"src": _place(attributes, "src"), "dst": _place(attributes, "dst")}
    one = _place(attributes, "")
    if kind not in ("cpy", "re"):
        # The one place of an op is where a send reads and a receive writes.
        places = {side: place or one for side, place in places.items()}
    if kind in ("rrc", "rrcs"):
        places = {"src": places["src"] or places["dst"], "dst": places["dst"] or places["src"]}
    source = places["src"] if kind in READING else None
    target = places["dst"] or (one if kind in ("cpy", "re") else None) if kind in WRITING else None
    for place, needed, side in ((source, READING, "src"), (target, WRITING, "dst")):
        if kind in needed and place is None:
            raise ScheduleError(f"{attributes.where}: a {kind} needs {side}buf and {side}off")
    return Step(gpu, block, number, kind, source, target, count, after)


def _place(attributes: _Attributes, side: str) -> Place | None:
    """A place by its buffer and offset; None where it is left out or the offset is -1."""
    if f"{side}buf" not in attributes.element.attrib:
        return None
    buffer = attributes.word(f"{side}buf", BUFFERS)
    offset = attributes.number(f"{side}off", default=NOWHERE, low=NOWHERE)
    return Place(buffer, offset) if offset != NOWHERE else None


def _check_block(program: MscclProgram, gpu: Gpu, block: Block) -> None:
    size = _buffer_sizes(program, gpu)
    for step in block.steps:
        for kind, peer, name in ((SENDING, block.send, "send"), (RECEIVING, block.receive, "recv")):
            if step.type in kind and peer == NOWHERE:
                raise ScheduleError(f"{step}: a {step.type} but the thread block has no {name} peer")
        for place in (step.source, step.target):
            if place is not None and place.offset + step.count > size[place.buffer]:
                first = Place(place.buffer, max(place.offset, size[place.buffer]))
                raise ScheduleError(
                    f"{step}: chunk {first} is out of range",
                    f"buffer {place.buffer} has {size[place.buffer]} chunks",
                )
        if step.after is not None:
            other, number = step.after
            if other >= len(gpu.blocks) or number >= len(gpu.blocks[other].steps):
                raise ScheduleError(f"{step} waits for tb {other} step {number}, which does not exist")
            if other == block.number and number >= step.number:
                raise ScheduleError(
                    f"{step} waits for step {number} of its own thread block, which is not earlier"
                )


def _buffer_sizes(program: MscclProgram, gpu: Gpu) -> dict[str, int]:
    """Chunks of each buffer; what the collective says, where the file allows itself more or fewer."""
    whole, share = program.chunks, program.share
    size = {
        "all-gather": (share, whole),
        "reduce-scatter": (whole, share),
    }.get(program.operation, (whole, whole))
    for given, need, name in (
        (gpu.input_chunks, size[0], "i_chunks"),
        (gpu.output_chunks, size[1], "o_chunks"),
    ):
        if given > need:
            raise ScheduleError(
                f"gpu {gpu.number}: {name}={given} is more than the collective has", f"it has {need}"
            )
    return {"i": size[0], "o": size[1], "s": gpu.scratch_chunks}
