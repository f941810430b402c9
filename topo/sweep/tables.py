"""Records as tables: Parquet and CSV, the same bytes for the same records but for their timings."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topo.sweep.files import disk_in_words, write_whole
from topo.sweep.record import COMMAND, FAULT, INPUT, OUTCOME, POINT, SEED, TIMINGS, VERSION

if TYPE_CHECKING:
    import polars

PARQUET, CSV = "records.parquet", "records.csv"
_FIRST = (POINT, COMMAND, OUTCOME)
_LAST = (FAULT, VERSION, SEED, *TIMINGS)


def columns(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of all columns: what the point is, its inputs, its results, and at last how it was made."""
    names = dict.fromkeys(name for record in records for name in record)
    inputs = sorted(name for name in names if name.startswith(INPUT))
    special = {*_FIRST, *_LAST, *inputs}
    results = [name for name in names if name not in special]
    return [*_FIRST, *inputs, *results, *_LAST] if names else []


def frame(records: Sequence[Mapping[str, Any]]) -> polars.DataFrame:
    """Records as a polars frame; a column of values of several kinds becomes text."""
    import polars

    return polars.DataFrame(
        {name: _column([record.get(name) for record in records]) for name in columns(records)}, strict=False
    )


def _column(values: list[Any]) -> polars.Series:
    import polars

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool}:
        dtype: Any = polars.Boolean
    elif kinds <= {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        dtype = polars.Int64
    elif kinds <= {int, float}:
        dtype = polars.Float64
    else:
        dtype = polars.String
        values = [
            value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True)
            for value in values
        ]
    return polars.Series(values=values, dtype=dtype, strict=False)


def in_order(records: Iterable[Mapping[str, Any]], keys: Iterable[str] = ()) -> list[Mapping[str, Any]]:
    """Records in an order that does not depend on who computed them when.

    Parameters
    ----------
    records : iterable of mapping
    keys : iterable of str
        Points in the order of the sweep; records of other points follow, by their address.
    """
    place = {key: number for number, key in enumerate(keys)}
    return sorted(records, key=lambda record: (place.get(record[POINT], len(place)), record[POINT]))


def write_tables(folder: Path, records: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write ``records.parquet`` and ``records.csv``, whole or not at all."""
    table = frame(records)
    parquet, csv = folder / PARQUET, folder / CSV
    content = io.BytesIO()
    table.write_parquet(content)  # not to the disk: polars has no plain word for a full one
    with disk_in_words(folder, "the journal is complete"):
        write_whole(parquet, content.getvalue())
        write_whole(csv, table.write_csv().encode())
    return [parquet, csv]
