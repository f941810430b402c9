"""One point of a sweep: a command, all its inputs, and the address that follows from them."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from topo.errors import SweepError

RECORD_FORMAT = 1
"""Version of what a record holds; it goes up when records of before and after must not be mixed."""
_FILE = re.compile(r"[^,*=();@]+\.(?:ya?ml|json|graphml|xml|csv)\b")
_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Point:
    """A command with all its inputs.

    Parameters
    ----------
    command : str
    inputs : mapping of str to plain value
        Every input, defaults included: text, numbers, booleans, None, or lists of them.
    files : mapping of str to str
        SHA-256 of each file that an input names: another content is another point.

    Raises
    ------
    SweepError
        An input that JSON cannot hold.
    """

    command: str
    inputs: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, command: str, inputs: Mapping[str, Any]) -> Point:
        """The point of some inputs, with the files they name."""
        plain = {name: _plain(name, value) for name, value in inputs.items()}
        named = {text for value in plain.values() for text in _texts(value) for text in _FILE.findall(text)}
        return cls(command, plain, {name: digest for name in sorted(named) if (digest := _digest(name))})

    @cached_property
    def key(self) -> str:
        """The point's address: 32 hexadecimal digits of the SHA-256 of what it is."""
        content = {
            "format": RECORD_FORMAT,
            "command": self.command,
            "inputs": dict(self.inputs),
            "files": dict(self.files),
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(name, entry) for entry in value]
    if not isinstance(value, _PLAIN) or (isinstance(value, float) and not math.isfinite(value)):
        raise SweepError(
            f"{value!r} is no value for parameter {name!r}", "give text, a number, true or false"
        )
    return value


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for entry in value for text in _texts(entry)] if isinstance(value, list) else []


def _digest(name: str) -> str:
    path = Path(name)
    try:
        status = path.stat()
    except (OSError, ValueError):
        return ""
    return _hash(str(path.resolve()), status.st_mtime_ns, status.st_size) if path.is_file() else ""


@lru_cache(maxsize=1024)
def _hash(path: str, changed: int, size: int) -> str:
    """Content of a file; when it changed and its size are asked only to know that it is still the same."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
