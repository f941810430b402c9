"""Files that are whole or not there at all, and errors of the disk in words."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from topo.errors import SweepError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_in_words(folder: Path, kept: str) -> Iterator[None]:
    """Turn errors of the disk into a SweepError that says what is kept.

    Parameters
    ----------
    folder : Path
    kept : str
        What is safe, such as ``12 records are kept``.
    """
    try:
        yield
    except OSError as problem:
        if problem.errno in _FULL:
            raise SweepError(
                f"the disk of {str(folder)!r} is full; {kept}", "make room and give the same command again"
            ) from problem
        raise SweepError(
            f"{problem.filename or folder}: {problem.strerror or problem}; {kept}",
            "check the folder and its permissions",
        ) from problem


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that at every instant either the old or the new one is there, complete.

    Parameters
    ----------
    path : Path
    content : bytes
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_through(handle: int, line: bytes) -> None:
    """Append bytes to an open file, all of them or, when the disk refuses, none."""
    before = os.fstat(handle).st_size
    try:
        written = 0
        while written < len(line):
            written += os.write(handle, line[written:])
    except OSError:
        os.ftruncate(handle, before)
        raise
