"""Writing a Schedule as MSCCL XML.

Every rank gets one thread block per peer and direction.  A send is ordered after what its transfer waits for and
after the writes that it reads; a receive after the reads and writes of the places that it overwrites.  All
collectives but all-to-all run in place; blocks that an all-to-all relays pass through scratch.  Routes and
in-network operations have no place in MSCCL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from topo.collective import Chunks
from topo.errors import AlgorithmError
from topo.formats.msccl.program import OPERATIONS, Place
from topo.schedule import LAST, Batch, Schedule

MOST_CHUNKS = 71
"""Largest cnt (MSCCL_MAX_COUNT - 1 of the runtime)."""
MOST_STEPS = 256
MOST_BLOCKS = 216
"""Limits of the runtime on a thread block's steps and a GPU's thread blocks (msccl_struct.h)."""

EVEN = "MSCCL has chunks of one size, and as many for every rank"
Key = tuple[int, int, int]
"""A transfer: batch, repeat, number."""


@dataclass(eq=False)
class _Step:
    type: str
    source: Place
    target: Place
    count: int
    after: list[tuple[int, int]]


@dataclass(eq=False)
class _Block:
    number: int
    send: int
    receive: int
    steps: list[_Step] = field(default_factory=list)
    known: dict[int, int] = field(default_factory=dict)
    """The latest step of every other thread block that is known to have finished."""


@dataclass(eq=False)
class _Gpu:
    blocks: list[_Block] = field(default_factory=list)
    by_peer: dict[tuple[str, int], _Block] = field(default_factory=dict)
    scratch: dict[int, int] = field(default_factory=dict)
    wrote: dict[Place, tuple[int, int]] = field(default_factory=dict)
    read: dict[Place, list[tuple[int, int]]] = field(default_factory=dict)

    def block(self, what: str, peer: int) -> _Block:
        if (what, peer) not in self.by_peer:
            ends = (peer, -1) if what == "send" else (-1, peer)
            self.by_peer[what, peer] = _Block(len(self.blocks), *(ends if what != "local" else (-1, -1)))
            self.blocks.append(self.by_peer[what, peer])
        return self.by_peer[what, peer]

    def add(self, block: _Block, step: _Step, waits: list[tuple[int, int]]) -> tuple[int, int]:
        """Append a step, and before it as many nops as it has waits too many; return where it stands."""
        fresh: dict[int, int] = {}
        for other, number in waits:
            if other != block.number and number > block.known.get(other, -1):
                fresh[other] = max(fresh.get(other, -1), number)
        block.known.update(fresh)
        needed = sorted(fresh.items())
        nowhere = Place("i", -1)
        for one in needed[:-1]:
            block.steps.append(_Step("nop", nowhere, Place("o", -1), 0, [one]))
        step.after = needed[-1:]
        block.steps.append(step)
        return block.number, len(block.steps) - 1


def write(schedule: Schedule, path: str | PathLike[str], name: str = "") -> None:
    """Write a Schedule as an MSCCL program.

    Parameters
    ----------
    schedule : Schedule
    path : path of the file
    name : str
        Name of the program; the algorithm's by default.

    Raises
    ------
    AlgorithmError
        The schedule cannot be said in MSCCL: other collectives, in-network operations, chunks of unequal size,
        more steps or thread blocks than MSCCL allows; or the file cannot be written.
    """
    text = written(schedule, name)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as problem:
        raise AlgorithmError(f"{path} cannot be written: {problem.strerror}", "name another file") from None


def written(schedule: Schedule, name: str = "") -> str:
    """The XML that :func:`write` writes."""
    return _Writer(schedule).text(name or schedule.algorithm)


class _Writer:
    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.collective = schedule.collective
        self.operation = schedule.collective.operation
        names = {ours: theirs for theirs, ours in OPERATIONS.items()}
        if self.operation not in names:
            raise AlgorithmError(f"MSCCL has no {self.operation}", f"it has {', '.join(names)}")
        self.coll = names[self.operation]
        self.batches = [batch.whole() for batch in schedule.batches]
        for batch in self.batches:
            if batch.form != "direct":
                raise AlgorithmError(
                    f"{schedule.algorithm} needs switches that add or copy", "MSCCL has no such step"
                )
        self.chunks = schedule.cutting()
        self.place, self.count = self._places(self.chunks)
        self.gpus = [_Gpu() for _ in range(self.collective.ranks)]
        self.sends: dict[Key, tuple[int, int]] = {}
        self.receives: dict[Key, tuple[int, int]] = {}
        if self.operation == "all-to-all":
            self._keep_own()
        for moment in self._moments():
            self._add(moment)

    # ------------------------------------------------------------------------------------------- places

    def _places(self, chunks: Chunks) -> tuple[list[int], int]:
        """Offset of each chunk in the buffer that all share, and the number of chunks of that buffer."""
        moving = chunks.bytes > 0
        size = chunks.bytes[moving]
        if not len(size) or np.ptp(size) > 1e-9 * size.max():
            raise AlgorithmError(f"{self.schedule.algorithm} cuts its data unevenly", EVEN)
        ranks = self.collective.ranks
        if self.operation not in ("all-gather", "reduce-scatter", "all-to-all"):
            return list(range(len(chunks))), len(chunks)
        owner = {"all-gather": chunks.origin, "reduce-scatter": chunks.target}.get(
            self.operation, chunks.origin * ranks + chunks.target
        )
        seen: dict[int, int] = {}
        within = []
        for key in owner.tolist():
            within.append(seen.get(key, 0))
            seen[key] = within[-1] + 1
        share = len(chunks) // (ranks * ranks if self.operation == "all-to-all" else ranks)
        if any(times != share for times in seen.values()):
            raise AlgorithmError(f"{self.schedule.algorithm} cuts its data unevenly", EVEN)
        if self.operation == "all-to-all":
            return within, share * ranks
        return [key * share + j for key, j in zip(owner.tolist(), within, strict=True)], share * ranks

    def _at(self, rank: int, chunk: int) -> Place:
        """Where a chunk lies at a rank."""
        if self.operation == "all-gather":
            return Place("o", self.place[chunk])
        if self.operation != "all-to-all":
            return Place("i", self.place[chunk])
        share = self.count // self.collective.ranks
        origin, target = int(self.chunks.origin[chunk]), int(self.chunks.target[chunk])
        if rank == origin:
            return Place("i", target * share + self.place[chunk])
        if rank == target:
            return Place("o", origin * share + self.place[chunk])
        scratch = self.gpus[rank].scratch
        return Place("s", scratch.setdefault(chunk, len(scratch)))

    def _keep_own(self) -> None:
        share = self.count // self.collective.ranks
        for rank, gpu in enumerate(self.gpus):
            step = _Step("cpy", Place("i", rank * share), Place("o", rank * share), share, [])
            gpu.add(gpu.block("local", -1), step, [])

    # ------------------------------------------------------------------------------------------- steps

    def _moments(self) -> list[list[tuple[int, int]]]:
        """The (batch, repeat) of each lock-step step, in order."""
        moments: dict[int, list[tuple[int, int]]] = {}
        for number, batch in enumerate(self.batches):
            for repeat in range(batch.repeat):
                moments.setdefault(batch.step + repeat, []).append((number, repeat))
        return [moments[step] for step in sorted(moments)]

    def _add(self, moment: list[tuple[int, int]]) -> None:
        """Add the transfers of one lock-step step: all of them read before any of them writes."""
        arriving: list[tuple[Key, int, int, Place, int, bool]] = []
        for number, repeat in moment:
            batch = self.batches[number]
            pointer, ids = batch.pieces(repeat)
            for i in range(len(batch)):
                source, target = int(batch.source[i]), int(batch.target[i])
                waits = self._awaited(batch, repeat, i)
                key = (number, repeat, i)
                for first, last, count in self._runs(
                    ids[pointer[i] : pointer[i + 1]].tolist(), source, target
                ):
                    self.sends[key] = self._send(source, target, first, count, waits)
                    arriving.append((key, source, target, last, count, batch.reduce))
        for key, source, target, place, count, reduce in arriving:
            self.receives[key] = self._receive(source, target, place, count, reduce)

    def _runs(self, chunks: list[int], source: int, target: int) -> Iterator[tuple[Place, Place, int]]:
        """The chunks of a transfer in runs that lie together at both ends."""
        ends = [(self._at(source, chunk), self._at(target, chunk)) for chunk in chunks]
        ends.sort(key=lambda pair: (pair[0].buffer, pair[0].offset))
        start = 0
        for i in range(1, len(ends) + 1):
            whole = i - start < MOST_CHUNKS and i < len(ends)
            if whole and all(
                one.buffer == two.buffer and two.offset == one.offset + 1
                for one, two in zip(ends[i - 1], ends[i], strict=True)
            ):
                continue
            yield ends[start][0], ends[start][1], i - start
            start = i

    def _send(
        self, rank: int, peer: int, place: Place, count: int, waits: list[tuple[int, int]]
    ) -> tuple[int, int]:
        gpu = self.gpus[rank]
        places = [Place(place.buffer, place.offset + i) for i in range(count)]
        before = waits + [gpu.wrote[p] for p in places if p in gpu.wrote]
        where = gpu.add(gpu.block("send", peer), _Step("s", place, place, count, []), before)
        for one in places:
            gpu.read.setdefault(one, []).append(where)
        return where

    def _receive(self, peer: int, rank: int, place: Place, count: int, reduce: bool) -> tuple[int, int]:
        gpu = self.gpus[rank]
        places = [Place(place.buffer, place.offset + i) for i in range(count)]
        before = [step for p in places for step in gpu.read.pop(p, [])]
        before += [gpu.wrote[p] for p in places if p in gpu.wrote]
        step = _Step("rrc" if reduce else "r", place, place, count, [])
        where = gpu.add(gpu.block("recv", peer), step, before)
        gpu.wrote.update(dict.fromkeys(places, where))
        return where

    def _awaited(self, batch: Batch, repeat: int, transfer: int) -> list[tuple[int, int]]:
        """Steps at the sender that a transfer waits for; what happens elsewhere cannot be said and is left out."""
        rank = int(batch.source[transfer])
        found: list[tuple[int, int]] = []
        for wait in batch.waits:
            other = self.batches[wait.batch]
            until = min(max(repeat - wait.lag + 1, 0), other.repeat) if wait.lag != LAST else other.repeat
            if not until:
                continue
            side, done = (other.target, self.receives) if wait.on == "arrival" else (other.source, self.sends)
            if wait.pairs is None:
                awaited = np.flatnonzero(side == rank)
            else:
                awaited = wait.pairs[1][wait.pairs[0] == transfer]
                awaited = awaited[side[awaited] == rank]
            found += [
                done[wait.batch, until - 1, int(j)]
                for j in awaited
                if (wait.batch, until - 1, int(j)) in done
            ]
        return found

    # ------------------------------------------------------------------------------------------- the file

    def text(self, name: str) -> str:
        """The XML."""
        in_place = self.operation != "all-to-all"
        head: dict[str, object] = {
            "name": name,
            "proto": "Simple",
            "nchannels": 1,
            "nchunksperloop": self.count,
            "ngpus": self.collective.ranks,
            "coll": self.coll,
            "inplace": int(in_place),
            "outofplace": int(not in_place),
            "minBytes": 0,
            "maxBytes": 2**62,
        }
        if self.operation in ("broadcast", "reduce"):
            head["root"] = self.collective.root
        algo = ElementTree.Element("algo", _texts(head))
        share = self.count // self.collective.ranks
        inputs = share if self.operation == "all-gather" else self.count
        outputs = share if self.operation == "reduce-scatter" else self.count
        for rank, gpu in enumerate(self.gpus):
            if len(gpu.blocks) > MOST_BLOCKS:
                raise AlgorithmError(
                    f"rank {rank} talks to so many peers that it needs {len(gpu.blocks)} thread blocks",
                    f"MSCCL has at most {MOST_BLOCKS}",
                )
            box = {"id": rank, "i_chunks": inputs, "o_chunks": outputs, "s_chunks": len(gpu.scratch)}
            element = ElementTree.SubElement(algo, "gpu", _texts(box))
            waited = {wait for block in gpu.blocks for step in block.steps for wait in step.after}
            for block in gpu.blocks:
                self._block(element, rank, block, waited)
        ElementTree.indent(algo, "  ")
        return ElementTree.tostring(algo, encoding="unicode") + "\n"

    def _block(
        self, gpu: ElementTree.Element, rank: int, block: _Block, waited: set[tuple[int, int]]
    ) -> None:
        if len(block.steps) > MOST_STEPS:
            raise AlgorithmError(
                f"rank {rank} needs {len(block.steps)} steps in one thread block, MSCCL has at most {MOST_STEPS}",
                "take fewer chunks",
            )
        element = ElementTree.SubElement(
            gpu, "tb", id=str(block.number), send=str(block.send), recv=str(block.receive), chan="0"
        )
        for number, step in enumerate(block.steps):
            other, awaited = step.after[0] if step.after else (-1, -1)
            values = {
                "s": number,
                "type": step.type,
                "srcbuf": step.source.buffer,
                "srcoff": step.source.offset,
                "dstbuf": step.target.buffer,
                "dstoff": step.target.offset,
                "cnt": step.count,
                "depid": other,
                "deps": awaited,
                "hasdep": int((block.number, number) in waited),
            }
            ElementTree.SubElement(element, "step", _texts(values))


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}
