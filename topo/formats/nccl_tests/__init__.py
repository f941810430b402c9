"""nccl-tests' output (and rccl-tests'): the text it prints and the JSON of ``-J``, read and written.

>>> from topo.formats import nccl_tests
>>> log = nccl_tests.read("all_reduce.log")          # doctest: +SKIP
>>> [line.bytes for line in log.runs[0].lines]       # doctest: +SKIP

Reading never raises for what a log holds: sound rows are kept, everything else is named line by line.
"""

from os import PathLike
from pathlib import Path

from topo.errors import TopoError
from topo.formats.nccl_tests.json import read_json
from topo.formats.nccl_tests.run import PROGRAMS, Line, Log, LogProblem, Run, Timing
from topo.formats.nccl_tests.text import read_text
from topo.formats.nccl_tests.write import write_json, write_text

__all__ = [
    "PROGRAMS",
    "Line",
    "Log",
    "LogProblem",
    "Run",
    "Timing",
    "read",
    "read_json",
    "read_text",
    "write_json",
    "write_text",
]

LARGEST = 256 * 2**20
"""Bytes of the largest log that is read."""


def read(path: str | PathLike[str]) -> Log:
    """Read a log, text or JSON.

    Raises
    ------
    TopoError
        The file cannot be read at all.
    """
    file = Path(path)
    hint = "give the path of a log of nccl-tests"
    try:
        if file.stat().st_size > LARGEST:
            raise TopoError(f"{file} is larger than {LARGEST >> 20} MiB", hint)
        text = file.read_bytes().decode("utf-8", errors="replace")
    except OSError as problem:
        raise TopoError(f"{file} cannot be read: {problem.strerror}", hint) from None
    begins = text.lstrip("\ufeff \t\r\n")[:1]
    return (read_json if begins in ("{",) else read_text)(text, file.name)
