"""Options that several commands share, so that they read and behave alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from topo.errors import CollectiveError

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
with_ccl = click.option("--ccl", metavar="NAME", help="Communication library.  [default: the system's own]")


def on_system(example: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option that names the one system of a command."""
    return click.option("--on", "system", metavar="SYSTEM", required=True, help=f"System, such as {example}.")


def echo_json(data: Any) -> None:
    """Print data as JSON; numbers that JSON does not know are refused rather than misspelt."""
    click.echo(json.dumps(data, indent=2, allow_nan=False))


def parse_ranks(text: str | None) -> int | list[int] | None:
    """The group that ``--ranks`` names.

    Parameters
    ----------
    text : str or None
        ``8`` means the first eight; ``0,1,4-7`` or ``3,`` names them.

    Raises
    ------
    CollectiveError
        Anything else.
    """
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) == 1 and parts[0].strip().isdecimal():
        return int(parts[0])
    ranks: list[int] = []
    for part in filter(None, map(str.strip, parts)):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise CollectiveError(
                f"ranks {text!r} cannot be read at {part!r}", "write 8 (the first 8) or 0,1,4-7"
            )
        low, high = int(first), int(last or first)
        if low > high:
            raise CollectiveError(f"ranks {part!r} run downwards", f"write {high}-{low}")
        if high - low > 10_000_000:
            raise CollectiveError(f"ranks {part!r} are too many", "write 8 (the first 8) or 0,1,4-7")
        ranks.extend(range(low, high + 1))
    if not ranks:
        raise CollectiveError(f"ranks {text!r} name nobody", "write 8 (the first 8) or 0,1,4-7")
    return ranks
