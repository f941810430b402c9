"""What an MSCCL program consists of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from topo.collective import Collective
from topo.errors import ScheduleError
from topo.units import parse_bytes

if TYPE_CHECKING:
    from topo.schedule import Schedule

OPERATIONS = {
    "allreduce": "all-reduce",
    "allgather": "all-gather",
    "reducescatter": "reduce-scatter",
    "alltoall": "all-to-all",
    "broadcast": "broadcast",
    "reduce": "reduce",
}
"""MSCCL's names of the collectives that are simulated."""
SENDING = ("s", "rcs", "rrs", "rrcs")
RECEIVING = ("r", "rcs", "rrs", "rrc", "rrcs")
REDUCING = ("rrs", "rrc", "rrcs", "re")
READING = ("s", "rrs", "rrc", "rrcs", "cpy", "re")
"""Steps that read their source place."""
WRITING = ("r", "rcs", "rrc", "rrcs", "cpy", "re")
"""Steps that write their destination place."""
TYPES = tuple(dict.fromkeys((*SENDING, *RECEIVING, "cpy", "re", "nop")))
NOWHERE = -1


class Place(NamedTuple):
    """A chunk's place in a buffer of a GPU: ``i`` input, ``o`` output, ``s`` scratch."""

    buffer: str
    offset: int

    def __str__(self) -> str:
        return f"{self.buffer}[{self.offset}]"


@dataclass(frozen=True)
class Step:
    """One step of a thread block.

    Parameters
    ----------
    gpu, block, number : int
        Where it stands.
    type : str
        One of :data:`TYPES`.
    source, target : Place or None
        First chunk read, first chunk written.
    count : int
        Chunks.
    after : (block, step) or None
        The step of the same GPU that it waits for, besides the one before it in its block.
    """

    gpu: int
    block: int
    number: int
    type: str
    source: Place | None
    target: Place | None
    count: int
    after: tuple[int, int] | None

    def __str__(self) -> str:
        return f"gpu {self.gpu} tb {self.block} step {self.number}"

    @property
    def reads(self) -> list[Place]:
        """Places read."""
        return _places(self.source, self.count) if self.type in READING else []

    @property
    def writes(self) -> list[Place]:
        """Places written."""
        return _places(self.target, self.count) if self.type in WRITING else []


def _places(first: Place | None, count: int) -> list[Place]:
    return [] if first is None else [Place(first.buffer, first.offset + i) for i in range(count)]


@dataclass(frozen=True)
class Block:
    """A thread block: steps one after the other, at most one peer to send to and one to receive from."""

    gpu: int
    number: int
    send: int
    receive: int
    channel: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Gpu:
    """One rank: the chunks of its buffers and its thread blocks."""

    number: int
    input_chunks: int
    output_chunks: int
    scratch_chunks: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class MscclProgram:
    """A whole program.

    Parameters
    ----------
    name : str
    operation : str
        As this simulator spells it.
    protocol : str
        ``Simple``, ``LL`` or ``LL128``; not timed here.
    channels : int
    chunks : int
        Chunks that the buffer of nccl-tests' size is cut into (``nchunksperloop``).
    in_place : bool
        Whether input and output share memory.
    gpus : tuple of Gpu
        In the order of their numbers.
    root : int
        Of a broadcast or reduce.
    """

    name: str
    operation: str
    protocol: str
    channels: int
    chunks: int
    in_place: bool
    gpus: tuple[Gpu, ...]
    root: int = 0

    @property
    def ranks(self) -> int:
        """Number of GPUs."""
        return len(self.gpus)

    @property
    def share(self) -> int:
        """Chunks of one rank's part of a buffer that belongs to all ranks."""
        split = self.operation in ("all-gather", "reduce-scatter", "all-to-all")
        return self.chunks // self.ranks if split else self.chunks

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Every step, GPU by GPU and block by block."""
        return tuple(step for gpu in self.gpus for block in gpu.blocks for step in block.steps)

    def home(self, gpu: int, place: Place) -> Place:
        """The one name of a place where input and output share memory."""
        if not self.in_place or place.buffer == "s":
            return place
        if self.operation == "all-gather" and place.buffer == "i":
            return Place("o", gpu * self.share + place.offset)
        if self.operation == "reduce-scatter" and place.buffer == "o":
            return Place("i", gpu * self.share + place.offset)
        if self.operation in ("all-gather", "reduce-scatter"):
            return place
        return Place("i", place.offset)

    def collective(self, bytes: float) -> Collective:
        """The collective that it carries out, at nccl-tests' size."""
        return Collective(self.operation, self.ranks, bytes, root=self.root)

    def schedule(self, bytes: float | str | Collective) -> Schedule:
        """The program as a Schedule for a size (a number, or text such as ``64MiB``) or collective.

        Raises
        ------
        ScheduleError
            It carries out another collective than that.
        """
        from topo.formats.msccl.streams import scheduled

        collective = bytes if isinstance(bytes, Collective) else self.collective(parse_bytes(bytes))
        own = (self.operation, self.ranks)
        rooted = self.operation in ("broadcast", "reduce")
        if own != (collective.operation, collective.ranks) or (rooted and collective.root != self.root):
            raise ScheduleError(
                f"{self.name} does {self._deed()}, not {collective.operation} among {collective.ranks} ranks"
                + (f" at root {collective.root}" if rooted else "")
            )
        if collective.matrix is not None:
            raise ScheduleError(
                f"{self.name} has chunks of equal size only", "leave the matrix of block sizes out"
            )
        return scheduled(self, collective)

    def _deed(self) -> str:
        root = f" at root {self.root}" if self.operation in ("broadcast", "reduce") else ""
        return f"{self.operation} among {self.ranks} ranks{root}"
