"""The folder that keeps a sweep's records: a journal that no kill can spoil.

``format.json``
    Which version of topo, and of its records, made the folder.
``journal.jsonl``
    One line a record: a checksum, a space, the record as JSON.  Only ever appended to, a line at a time.
``quarantine/``
    Lines of the journal that could not be read.
``records.parquet``, ``records.csv``
    The journal as tables, made anew at the end of every sweep.
``about.json``
    What a report says about the sweep.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from topo import __version__
from topo.errors import SweepError
from topo.sweep.evaluate import CRASH, ERROR
from topo.sweep.files import disk_in_words, write_through, write_whole
from topo.sweep.point import RECORD_FORMAT
from topo.sweep.record import OUTCOME, POINT

FORMAT, JOURNAL, ABOUT, LOCK, QUARANTINE = "format.json", "journal.jsonl", "about.json", "lock", "quarantine"
SYNC_S = 1.0
"""Seconds between two moments at which the journal is forced to the disk, against loss of power."""


class Store:
    """A folder of records, open for writing by one process.

    Use it as a context manager; :attr:`outcomes` then has the outcome of every point that is recorded.

    Parameters
    ----------
    folder : Path
        Made where it is not there.

    Raises
    ------
    SweepError
        A folder of another version, one that another sweep is writing to, or one that cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.outcomes: dict[str, str] = {}
        self.quarantined = 0
        self._lock: TextIO | None = None
        self._journal = -1
        self._synced = 0.0

    def __enter__(self) -> Store:
        with self._in_words():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            try:
                self._check_format()
                self._recover()
                flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY
                self._journal = os.open(self.folder / JOURNAL, flags, 0o666)
            except BaseException:
                self._release()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def add(self, record: dict[str, Any]) -> None:
        """Keep a record; once this returns, no kill can lose it.

        Raises
        ------
        SweepError
            A full disk: the journal is then as it was before.
        """
        with self._in_words():
            write_through(self._journal, _line(record))
            if time.monotonic() - self._synced > SYNC_S:
                os.fsync(self._journal)
                self._synced = time.monotonic()
        self.outcomes[record[POINT]] = record[OUTCOME]

    def done(self, key: str, retry: bool = False) -> bool:
        """Whether a point needs no computing: it is recorded, and its record is not one to be tried again.

        Parameters
        ----------
        key : str
        retry : bool
            Try again also what failed for its inputs, not only for the machine.
        """
        outcome = self.outcomes.get(key)
        return outcome is not None and outcome != CRASH and not (retry and outcome == ERROR)

    def describe(self, about: dict[str, Any]) -> None:
        """Keep what a report is to say about the sweep."""
        with self._in_words():
            write_whole(self.folder / ABOUT, json.dumps(about, indent=1, allow_nan=False).encode() + b"\n")

    def _in_words(self) -> Any:
        number = len(self.outcomes)
        return disk_in_words(self.folder, f"{number} {'record is' if number == 1 else 'records are'} kept")

    def _take_lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # without POSIX locks one has to see to it oneself
            return
        lock = (self.folder / LOCK).open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise SweepError(
                f"another sweep is writing to {str(self.folder)!r} (process {owner})",
                "wait for its end, or choose another folder",
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _release(self) -> None:
        if self._journal >= 0:
            os.fsync(self._journal)
            os.close(self._journal)
            self._journal = -1
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _check_format(self) -> None:
        if (self.folder / FORMAT).exists():
            check_version(self.folder)
        elif (self.folder / JOURNAL).exists():
            raise SweepError(
                f"results folder {str(self.folder)!r} has records but no {FORMAT}: who made it is unknown",
                "choose another folder",
            )
        else:
            made_by = {"record_format": RECORD_FORMAT, "topo": __version__}
            write_whole(self.folder / FORMAT, json.dumps(made_by).encode() + b"\n")

    def _recover(self) -> None:
        """Read the journal; put aside what cannot be read, and leave a journal of whole lines."""
        for part in self.folder.glob(".*.part"):  # of a file that a killed sweep was writing
            part.unlink(missing_ok=True)
        path = self.folder / JOURNAL
        if not path.exists():
            return
        good: list[bytes] = []
        bad: list[bytes] = []
        with path.open("rb") as file:
            for line in file:
                record = _record(line)
                if record is None:
                    bad.append(line)
                else:
                    good.append(line)
                    self.outcomes[record[POINT]] = record[OUTCOME]
        if bad:
            away = self.folder / QUARANTINE
            away.mkdir(exist_ok=True)
            number = sum(1 for _ in away.iterdir()) + 1
            write_whole(away / f"{number}.jsonl", b"".join(bad))
            write_whole(path, b"".join(good))
            self.quarantined = len(bad)


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return f"{zlib.crc32(text):08x} ".encode() + text + b"\n"


def _record(line: bytes) -> dict[str, Any] | None:
    """The record of a line of the journal, or None where the line is not what was written."""
    checksum, _, text = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != f"{zlib.crc32(text):08x}".encode():
        return None
    record = json.loads(text)
    return record if isinstance(record, dict) and POINT in record and OUTCOME in record else None


def check_version(folder: Path) -> None:
    """Refuse a results folder that another version wrote.

    Raises
    ------
    SweepError
        Another version of topo or of its records, or a folder that is none.
    """
    path = folder / FORMAT
    try:
        made_by = json.loads(path.read_text(encoding="utf-8"))
        record_format, version = made_by["record_format"], made_by["topo"]
    except FileNotFoundError:
        raise SweepError(
            f"{str(folder)!r} is no results folder: it has no {FORMAT}",
            "make one with topo sweep SPEC --results",
        ) from None
    except (ValueError, KeyError, TypeError):
        raise SweepError(f"{str(path)!r} cannot be read", "choose another results folder") from None
    if (record_format, version) != (RECORD_FORMAT, __version__):
        raise SweepError(
            f"results folder {str(folder)!r} was made by topo {version} with records of format {record_format}, and "
            f"this is topo {__version__} with format {RECORD_FORMAT}: their numbers must not be mixed",
            "choose another folder, or delete this one",
        )


def read_records(folder: Path) -> list[dict[str, Any]]:
    """All records of a results folder, one a point, in the order in which they were first kept.

    Also while a sweep is still writing: lines that are not whole are passed over.

    Raises
    ------
    SweepError
        No results folder, or one of another version.
    """
    check_version(folder)
    found: dict[str, dict[str, Any]] = {}
    for record in _journal(folder):
        found[record[POINT]] = record
    return list(found.values())


def _journal(folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / JOURNAL
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                record = _record(line)
                if record is not None:
                    yield record


def read_about(folder: Path) -> dict[str, Any]:
    """What the sweep's report is to say; empty where nothing was kept."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}
