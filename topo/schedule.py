"""Schedules: transfers with dependencies, kept as templates, and their proof.

A Schedule is a list of batches.  A :class:`Batch` is a set of transfers launched together and repeated: a ring
all-gather among 4,096 ranks is one batch of 4,096 transfers repeated 4,095 times, not 16.8 million objects.
Every transfer is a stream: its repeats run one after the other, each starting when the one before has drained
and when everything it waits for has happened.

What a transfer waits for is said batch by batch (:class:`Wait`): it waits at its own sending rank, for data that
must have arrived there (``arrival``), or for earlier sends of that rank to have left (``drain``).

A Schedule proves itself: :meth:`Schedule.verify` executes it on contribution masks and checks that every
required chunk is complete, that nothing is reduced twice, that the bytes of each transfer are those of the
chunks it carries, and that the dependencies order every read after the writes it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from topo.collective import Chunks, Collective
from topo.errors import ScheduleError
from topo.fabric import FloatArray, Grid, IntArray
from topo.routing import Routes
from topo.translation import shifted

LAST = -(1 << 40)
"""Lag of a wait for the last repeat of a batch."""

MOST_BATCHES = 20_000
"""Batches that a pipelined schedule may have; each costs memory and time, and no pipeline gains by more."""

FORMS = ("direct", "multicast", "reduce", "all-reduce")
Table = tuple[IntArray, IntArray]
Pieces = Callable[[int], Table]


@dataclass(frozen=True, eq=False)
class Wait:
    """What repeat ``t`` of every transfer of a batch waits for.

    Parameters
    ----------
    batch : int
        The batch waited for.
    lag : int
        Its repeat ``t - lag`` must have happened (none if that is negative); :data:`LAST` means its last repeat.
    on : str
        ``arrival``: transfers that deliver to the waiting transfer's sending rank have arrived.
        ``drain``: transfers sent by the waiting transfer's sending rank have left.
    pairs : (int array, int array), optional
        Explicit (waiting transfer, transfer waited for) pairs instead of the rule by rank.
    """

    batch: int
    lag: int = LAST
    on: str = "arrival"
    pairs: tuple[IntArray, IntArray] | None = None


@dataclass(frozen=True, eq=False)
class Batch:
    """Transfers launched together, and repeated.

    Parameters
    ----------
    source, target : int arrays [transfers]
        Sending and receiving ranks.  In the forms below the side that is a set stands in ``fan``.
    bytes : float array [transfers]
        Bytes of one repeat.
    repeat : int
    reduce : bool
        Whether the receiver adds what arrives to what it has, or overwrites it.
    step : int
        Lock-step number of the first repeat; repeat ``t`` belongs to step ``step + t``.
    waits : tuple of Wait
    pieces : callable
        ``pieces(t)`` gives the chunks that each transfer carries in repeat ``t`` as (pointer, chunk numbers).
    form : str
        ``direct``; ``multicast``: switches copy one stream from ``source`` to every rank of the fan;
        ``reduce``: switches add one stream from every rank of the fan on its way to ``target``;
        ``all-reduce``: both at once, from and to the fan.
    fan : (pointer, ranks), optional
    routes : Routes, optional
        Ways to take instead of the fabric's own routing.
    grid : Grid, optional
        When given, the batch looks the same from every rank of this grid: ``source`` is rank 0 throughout, every
        transfer stands for all its translates, and :meth:`whole` spells them out, transfer by transfer and
        within each by the rank that sends.  ``pieces`` speaks of the whole batch.
    """

    source: IntArray
    target: IntArray
    bytes: FloatArray
    repeat: int
    reduce: bool
    step: int
    waits: tuple[Wait, ...]
    pieces: Pieces
    form: str = "direct"
    fan: Table | None = None
    routes: Routes | None = None
    grid: Grid | None = None

    def __len__(self) -> int:
        return len(self.source)

    @property
    def copies(self) -> int:
        """Transfers that each one stands for."""
        return self.grid.size if self.grid is not None else 1

    def whole(self) -> Batch:
        """The batch with all translates spelled out."""
        if self.grid is None:
            return self
        ranks = np.arange(self.grid.size)
        shifts = np.repeat(self.grid.coordinates(self.target), self.grid.size, axis=0)
        source = np.tile(ranks, len(self))
        return replace(
            self,
            source=source,
            target=shifted(self.grid, source, shifts),
            bytes=np.repeat(self.bytes, self.grid.size),
            grid=None,
        )

    def senders(self) -> Table:
        """Sending ranks of each transfer, as (pointer, ranks)."""
        if self.fan is not None and self.form in ("reduce", "all-reduce"):
            return self.fan
        return np.arange(len(self) + 1), self.source

    def receivers(self) -> Table:
        """Receiving ranks of each transfer, as (pointer, ranks)."""
        if self.fan is not None and self.form in ("multicast", "all-reduce"):
            return self.fan
        return np.arange(len(self) + 1), self.target


@dataclass(frozen=True, eq=False)
class Schedule:
    """How an algorithm carries out a collective.

    Parameters
    ----------
    collective : Collective
    algorithm : str
    batches : tuple of Batch
    cutting : callable
        Gives the :class:`~topo.collective.Chunks` that the batches' pieces speak of; called only for the proof.
    detail : str
        What was chosen inside the algorithm, for people ("8 chunks", "4 x 18").
    """

    collective: Collective
    algorithm: str
    batches: tuple[Batch, ...]
    cutting: Callable[[], Chunks]
    detail: str = ""

    @property
    def transfers(self) -> int:
        """Number of transfers, repeats counted."""
        return sum(len(batch) * batch.copies * batch.repeat for batch in self.batches)

    @property
    def steps(self) -> int:
        """Number of lock-step steps."""
        return max((batch.step + batch.repeat for batch in self.batches), default=0)

    def whole(self) -> Schedule:
        """The same schedule with all translates spelled out."""
        if all(batch.grid is None for batch in self.batches):
            return self
        return replace(self, batches=tuple(batch.whole() for batch in self.batches))

    def bytes_sent(self) -> FloatArray:
        """Bytes that each rank sends [ranks]."""
        total = np.zeros(self.collective.ranks)
        for batch in self.whole().batches:
            pointer, ranks = batch.senders()
            np.add.at(total, ranks, np.repeat(batch.bytes * batch.repeat, np.diff(pointer)))
        return total

    def bytes_received(self) -> FloatArray:
        """Bytes that each rank receives [ranks]."""
        total = np.zeros(self.collective.ranks)
        for batch in self.whole().batches:
            pointer, ranks = batch.receivers()
            np.add.at(total, ranks, np.repeat(batch.bytes * batch.repeat, np.diff(pointer)))
        return total

    def verify(self) -> None:
        """Prove the schedule; see :mod:`topo.proof`.

        Raises
        ------
        ScheduleError
            Naming the batch, repeat and transfer that is wrong.
        """
        from topo.proof import prove

        prove(self)

    def pipelined(self, pieces: int) -> Schedule:
        """The same schedule run on ``pieces`` equal parts of the data that follow each other through it.

        Each batch of a part waits until the part before has left the same batch.
        """
        if pieces == 1:
            return self
        if all(batch.repeat == 1 for batch in self.batches):
            return self._repeated(pieces)
        count = len(self.batches)
        if count * pieces > MOST_BATCHES:
            raise ScheduleError(
                f"{self.algorithm} in {pieces} chunks would need {count * pieces:,} batches of transfers",
                f"give at most {MOST_BATCHES // count} chunks",
            )
        ends: dict[tuple[int, int], int] = {}
        batches: list[Batch] = []
        for piece in range(pieces):
            for number, batch in enumerate(self.batches):
                waits = [replace(wait, batch=wait.batch + piece * count) for wait in batch.waits]
                step = max(
                    (ends[piece, wait.batch] for wait in batch.waits if wait.batch < number), default=0
                )
                lagging = [w for w in batch.waits if w.lag != LAST and w.batch != number]
                if lagging:
                    step = max(batches[w.batch + piece * count].step + w.lag + 1 for w in lagging)
                if piece:
                    waits.append(Wait((piece - 1) * count + number, LAST, "drain"))
                    step = max(step, ends[piece - 1, number])
                ends[piece, number] = step + batch.repeat
                batches.append(
                    replace(
                        batch,
                        bytes=batch.bytes / pieces,
                        waits=tuple(waits),
                        step=step,
                        pieces=_part_of(batch.pieces, pieces, piece),
                    )
                )

        return self._recut(tuple(batches), pieces)

    def _repeated(self, pieces: int) -> Schedule:
        """Parts as repeats: every transfer is a stream, part after part."""
        batches = [
            replace(
                batch,
                bytes=batch.bytes / pieces,
                repeat=pieces,
                waits=tuple(replace(wait, lag=0) for wait in batch.waits),
                pieces=_part_by_repeat(batch.pieces, pieces),
            )
            for batch in self.batches
        ]
        return self._recut(tuple(batches), pieces)

    def _recut(self, batches: tuple[Batch, ...], pieces: int) -> Schedule:
        def cutting() -> Chunks:
            whole = self.cutting()
            return Chunks(
                np.repeat(whole.bytes / pieces, pieces),
                np.repeat(whole.origin, pieces),
                np.repeat(whole.target, pieces),
            )

        return replace(self, batches=batches, cutting=cutting, detail=_join(self.detail, f"{pieces} chunks"))


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _part_of(pieces: Pieces, parts: int, part: int) -> Pieces:
    def of_part(repeat: int) -> Table:
        pointer, chunks = pieces(repeat)
        return pointer, chunks * parts + part

    return of_part


def _part_by_repeat(pieces: Pieces, parts: int) -> Pieces:
    def of_repeat(repeat: int) -> Table:
        pointer, chunks = pieces(0)
        return pointer, chunks * parts + repeat

    return of_repeat


def one_each(chunks: IntArray) -> Table:
    """A table that gives each transfer one chunk."""
    return np.arange(len(chunks) + 1), np.asarray(chunks)


def rows_of(table: IntArray) -> Table:
    """A table from a matrix: row i holds the chunks of transfer i."""
    count, width = table.shape
    return np.arange(count + 1) * width, table.ravel()


class ScheduleBuilder:
    """Collects batches; algorithm authors use it.

    Parameters
    ----------
    collective : Collective
    algorithm : str
    cutting : callable
        Gives the Chunks that the pieces of the batches speak of.
    """

    def __init__(
        self, collective: Collective, algorithm: str, cutting: Callable[[], Chunks], detail: str = ""
    ) -> None:
        self.collective = collective
        self.algorithm = algorithm
        self.cutting = cutting
        self.detail = detail
        self.batches: list[Batch] = []

    def add(
        self,
        source: IntArray | Sequence[int],
        target: IntArray | Sequence[int],
        bytes: FloatArray | float,
        pieces: Pieces | Table,
        *,
        repeat: int = 1,
        reduce: bool = False,
        after: Sequence[int] = (),
        pipeline: Sequence[int] = (),
        loop: bool = True,
        waits: Sequence[Wait] = (),
        step: int | None = None,
        form: str = "direct",
        fan: Table | None = None,
        routes: Routes | None = None,
    ) -> int:
        """Add a batch and return its number.

        Parameters
        ----------
        source, target, bytes, repeat, reduce, form, fan, routes
            As in :class:`Batch`; ``bytes`` may be one number for all.
        pieces : callable or table
            Chunks by repeat; a table serves every repeat.
        after : batch numbers
            A rank enters this batch when it has received everything those batches send it, and when its own
            sends of those batches have left.
        pipeline : batch numbers
            Repeat ``t`` starts at a rank when repeat ``t`` of those batches has reached it.
        loop : bool
            Whether repeat ``t`` also waits at its rank for repeat ``t - 1`` of this batch.
        waits : Waits beyond these.
        step : int, optional
            Lock-step number; by default right after what is waited for.
        """
        number = len(self.batches)
        source, target = np.asarray(source, dtype=np.int64), np.asarray(target, dtype=np.int64)
        size = np.broadcast_to(np.asarray(bytes, dtype=float), source.shape).copy()
        where = f"{self.algorithm}: batch {number}"
        if not (np.isfinite(size) & (size >= 0)).all():
            raise ScheduleError(f"{where} moves a negative or endless number of bytes")
        if repeat < 1:
            raise ScheduleError(f"{where} is repeated {repeat} times", "repeat it once at least")
        for ends in (source, target):
            if len(ends) and not (ends.min() >= 0 and ends.max() < self.collective.ranks):
                raise ScheduleError(f"{where} names a rank outside 0 to {self.collective.ranks - 1}")
        all_waits = [Wait(b, LAST, on) for b in after for on in ("arrival", "drain")]
        all_waits += [Wait(b, 0, "arrival") for b in pipeline]
        if repeat > 1 and loop:
            all_waits.append(Wait(number, 1, "arrival"))
        all_waits += list(waits)
        if step is None:
            first = [self.batches[b].step + self.batches[b].repeat for b in after]
            first += [self.batches[b].step + 1 for b in pipeline]
            step = max(first, default=0)
        if form not in FORMS:
            raise ScheduleError(f"form {form!r} is unknown", f"one of {', '.join(FORMS)}")
        if callable(pieces):
            by_repeat: Pieces = pieces
        else:
            table = pieces

            def by_repeat(repeat: int) -> Table:
                return table

        self.batches.append(
            Batch(source, target, size, repeat, reduce, step, tuple(all_waits), by_repeat, form, fan, routes)
        )
        return number

    def add_shifts(
        self,
        grid: Grid,
        shifts: IntArray,
        bytes: FloatArray | float,
        pieces: Pieces | Table,
        **options: Any,
    ) -> int:
        """Add a batch that looks the same from every rank of a grid; options as in :meth:`add`.

        Parameters
        ----------
        shifts : int array [transfers, dimensions]
            Every rank sends one transfer by each of these displacements.
        pieces : callable or table
            Chunks of the whole batch: transfer by transfer, within each by sending rank.
        """
        origin = np.zeros(len(shifts), dtype=np.int64)
        number = self.add(origin, shifted(grid, origin, np.asarray(shifts)), bytes, pieces, **options)
        self.batches[number] = replace(self.batches[number], grid=grid)
        return number

    def build(self) -> Schedule:
        """The finished Schedule."""
        return Schedule(self.collective, self.algorithm, tuple(self.batches), self.cutting, self.detail)
