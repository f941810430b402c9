"""Records as columns, packed for a page: words once, what is the same for all apart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
DIGITS = 9
"""Significant digits of numbers on the page."""
FEW = 30
"""Values of a column up to which it can be filtered by."""
_BOOKKEEPING = ("point", "version", "seed", "wall_s", "point_wall_s", "error", "outcome", "command")
_FIRST = (
    *("time_s", "busbw_Bps", "bound_s", "bound_ratio", "algorithm", "bottleneck"),
    *("step_s", "tokens_per_s", "mfu"),
)


def packed(records: Sequence[Record], names: Sequence[str]) -> dict[str, Any]:
    """Columns of records for the page.

    Parameters
    ----------
    records : sequence of mapping
    names : sequence of str
        The columns, in order.

    Returns
    -------
    dict
        ``rows``: their number; ``columns``: those that vary, each with its values, texts as numbers of ``words``;
        ``same``: name and value of those that do not.
    """
    columns, same = [], []
    for name in names:
        values = [_plain(record.get(name)) for record in records]
        kinds = {type(value) for value in values if value is not None}
        if len(records) > 1 and len(set(values)) == 1:
            same.append([name, values[0]])
        elif kinds and kinds <= {int, float}:
            columns.append({"name": name, "values": values})
        else:
            words = list(dict.fromkeys(_text(value) for value in values))
            number = {word: place for place, word in enumerate(words)}
            columns.append(
                {"name": name, "words": words, "values": [number[_text(value)] for value in values]}
            )
    return {"rows": len(records), "columns": columns, "same": same}


def filters(data: Mapping[str, Any]) -> list[str]:
    """Columns that the page lets one filter by: inputs and outcome, of few values."""
    found = []
    for column in data["columns"]:
        name = column["name"]
        if (name.startswith("input_") and not name.startswith("input_file.")) or name == "outcome":
            different = len(column.get("words") or set(column["values"]))
            if different <= FEW:
                found.append(name)
    return found


def foremost(data: Mapping[str, Any]) -> list[str]:
    """Columns that the table shows before one asks for all: what was varied, and the main results."""
    names = [column["name"] for column in data["columns"]]
    inputs = [name for name in names if name.startswith("input_") and not name.startswith("input_file.")]
    known = [name for name in _FIRST if name in names]
    others = [n for n in names if n not in inputs and n not in known and n not in _BOOKKEEPING]
    return [*inputs, *(["outcome"] if "outcome" in names else []), *(known or others[:8])]


def script_safe(data: Any) -> str:
    """JSON that can stand in a script element, whatever names it holds."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    return json.dumps(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def distinct(records: Iterable[Record], name: str) -> list[Any]:
    """The values of a column in the order of their first appearance."""
    return list(dict.fromkeys(record[name] for record in records if record.get(name) is not None))
