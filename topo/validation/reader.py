"""Reading measurements of collectives, strictly: what is wrong is named by row and column, the rest is kept.

Columns as in the packaged files, nccl-tests' conventions: ``bytes`` is the size that nccl-tests prints, ``time_us``
microseconds, ``algbw_GBs`` and ``busbw_GBs`` 1e9 bytes/s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from topo.collective import Collective
from topo.errors import nearest
from topo.units import parse_bytes
from topo.validation.cores import target_by_cores
from topo.validation.row import NOT_SIMULATED, OPERATIONS, LeftOut, Reading, Row
from topo.validation.table import Table, number_in, read_table
from topo.validation.timing import TIMINGS, timing_of

REQUIRED = ("id", "devices", "op", "bytes", "time_us", "target")
COLUMNS = (
    "id",
    "system",
    "devices",
    "nodes",
    "op",
    "bytes",
    "time_us",
    "algbw_GBs",
    "busbw_GBs",
    "in_place",
    "notes",
    "source",
    "target",
    "algorithm",
    "timing",
)
MEASURED = Path(__file__).parent / "measured"
TRAINING = "training_steps.csv"
_RANGE = re.compile(r"(?P<low>[\d.]+)-(?P<high>[\d.]+)\s*(?P<unit>[KMGT]iB|[kMGT]B)")
DISAGREEMENT = 1.25
"""Factor between a printed bandwidth and the one that bytes and time give beyond which one has another unit."""


def packaged() -> list[Path]:
    """The files of collectives that come with the package."""
    return sorted(path for path in MEASURED.glob("*.csv") if path.name != TRAINING)


def read_rows(files: Sequence[str | Path] | None = None) -> Reading:
    """Read files of measurements; the packaged ones by default.

    Nothing is raised: whatever is wrong is in ``problems``, by row and column.
    """
    rows: list[Row] = []
    left_out: list[LeftOut] = []
    problems = []
    names: dict[str, Path] = {}
    for path in map(Path, packaged() if files is None else files):
        name = path.name if names.setdefault(path.name, path) == path else str(path)
        table = read_table(path, name, REQUIRED, COLUMNS)
        found, out = _rows(table)
        rows += found
        left_out += out
        problems += table.problems
    return Reading(tuple(rows), tuple(left_out), tuple(problems))


def _rows(table: Table) -> tuple[list[Row], list[LeftOut]]:
    rows: list[Row] = []
    left_out: list[LeftOut] = []
    ids: dict[str, int] = {}
    contents: dict[tuple[str, ...], int] = {}
    for number, cells in table.records:
        identity = cells.get("id", "")
        if not identity:
            if "id" in table.columns:
                table.blame(number, "id", "is blank; give every row a name of its own")
            identity = f"{table.file}:{number}"
        if identity in ids:
            table.blame(number, "id", f"is that of row {ids[identity]} too; every row has its own", identity)
            continue
        ids[identity] = number
        content = tuple(text for column, text in sorted(cells.items()) if column != "id")
        if content in contents and cells.get("time_us"):
            table.blame(number, "", f"repeats row {contents[content]}; keep one", identity)
            continue
        contents[content] = number
        outcome = _row(table, number, identity, cells)
        if isinstance(outcome, Row):
            rows.append(outcome)
        elif outcome is not None:
            left_out.append(LeftOut(identity, table.file, number, outcome))
    return rows, left_out


def _row(table: Table, number: int, identity: str, cells: dict[str, str]) -> Row | str | None:
    """A Row, or why it is left out, or None when something was wrong."""
    before = len(table.problems)
    target, op = cells.get("target", ""), cells.get("op", "")
    if not target:
        return "names no system to simulate" if "target" in table.columns else None
    operation = _operation(table, number, identity, op)
    size = _middle_of_range(cells)
    if size is None:
        size = _number(table, number, identity, cells, "bytes", allow_zero=operation == "barrier")
    ranks = _whole(table, number, identity, cells, "devices")
    nodes = _whole(table, number, identity, cells, "nodes")
    time = _number(table, number, identity, cells, "time_us")
    algbw = _number(table, number, identity, cells, "algbw_GBs", allow_zero=True)
    busbw = _number(table, number, identity, cells, "busbw_GBs", allow_zero=True)
    in_place = _flag(table, number, identity, cells)
    timing = cells.get("timing", "") or timing_of(cells.get("source", ""), cells.get("notes", ""))
    if timing and timing not in TIMINGS:
        table.blame(number, "timing", f"{timing!r} is not {', '.join(TIMINGS)} or blank", identity)
    if ranks == 1:
        table.blame(number, "devices", "is 1; a collective needs at least two ranks", identity)
    if nodes is not None and ranks is not None and nodes > ranks:
        table.blame(
            number, "nodes", f"is {nodes}, more than the {ranks} devices; exchange or mend them", identity
        )
    if len(table.problems) > before:
        return None
    if operation == "":
        return f"operation {op} is not simulated" if op else None
    if any(column not in table.columns for column in ("devices", "bytes")):
        return None
    if size is None:
        return "gives no size"
    if ranks is None:
        return "gives no number of ranks"
    collective = Collective(operation, ranks, size)
    derived = time is None
    if time is None:
        speed = algbw or (busbw or 0.0) / collective.busbw_factor
        if not speed:
            return "gives neither time nor bandwidth"
        time = size / speed / 1e3
    elif algbw is not None and size:
        _check_bandwidth(table, number, identity, cells["algbw_GBs"], "algbw_GBs", size / time / 1e3)
        if len(table.problems) > before:
            return None
    return Row(
        id=identity,
        file=table.file,
        number=number,
        system=cells.get("system", ""),
        target=target_by_cores(target, cells.get("system", ""), ranks),
        op=op,
        operation=operation,
        ranks=ranks,
        nodes=nodes,
        bytes=size,
        seconds=time * 1e-6,
        in_place=in_place,
        algorithm=cells.get("algorithm", ""),
        source=cells.get("source", ""),
        notes=cells.get("notes", ""),
        derived=derived,
        timing=timing,
    )


def _operation(table: Table, number: int, identity: str, op: str) -> str:
    """Our spelling; empty where there is none, which is a problem unless the operation is known."""
    plain = op.lower().replace("-", "_")
    if plain in OPERATIONS or plain in NOT_SIMULATED:
        return OPERATIONS.get(plain, "")
    if "op" in table.columns:
        hint = nearest(plain, [*OPERATIONS, *NOT_SIMULATED]) or f"one of {', '.join(OPERATIONS)}"
        table.blame(number, "op", f"{op!r} is no known operation; {hint}" if op else "is blank", identity)
    return ""


def _middle_of_range(cells: dict[str, str]) -> float | None:
    """The geometric middle of a range of sizes such as ``2-4GiB``, over which only a bandwidth is given.

    Where the bandwidth is flat, so is the relative error of the time at any size of the range.
    """
    found = _RANGE.fullmatch(cells.get("bytes", ""))
    if found is None or cells.get("time_us"):
        return None
    low, high = (parse_bytes(f"{found[end]}{found['unit']}") for end in ("low", "high"))
    return float(round(math.sqrt(low * high))) if low < high else None


def _number(
    table: Table, number: int, identity: str, cells: dict[str, str], column: str, *, allow_zero: bool = False
) -> float | None:
    text = cells.get(column, "")
    if not text:
        return None
    value = number_in(text)
    unit = {"bytes": "bytes", "time_us": "microseconds"}.get(column, "GB/s (1e9 bytes/s)")
    if value is None:
        found = re.fullmatch(r"[-+.\deE]+\s*([A-Za-z/%]+)", text)
        what = f"{text!r} has a unit of its own" if found else f"{text!r} is no number"
        table.blame(number, column, f"{what}; give plain {unit}", identity)
    elif value < 0 or (value == 0 and not allow_zero):
        table.blame(number, column, f"{text} is not above zero; give {unit}, or leave it blank", identity)
    else:
        return value
    return None


def _whole(table: Table, number: int, identity: str, cells: dict[str, str], column: str) -> int | None:
    text = cells.get(column, "")
    if not text:
        return None
    value = number_in(text)
    if value is None or value != int(value) or value < 1:
        table.blame(number, column, f"{text!r} is no whole number above zero", identity)
        return None
    return int(value)


def _flag(table: Table, number: int, identity: str, cells: dict[str, str]) -> bool | None:
    text = cells.get("in_place", "")
    known = {"": None, "0": False, "1": True, "false": False, "true": True}
    if text.lower() not in known:
        table.blame(number, "in_place", f"{text!r} is not 0 (out-of-place), 1 (in-place) or blank", identity)
        return None
    return known[text.lower()]


def _check_bandwidth(
    table: Table, number: int, identity: str, text: str, column: str, expected: float
) -> None:
    """Refuse a row whose bandwidth and time cannot both be in their units."""
    given = float(text)
    digits = len(text.partition(".")[2]) if "e" not in text.lower() else 0
    rounding = 0.5001 * 10.0**-digits if "e" not in text.lower() else 0.0
    low, high = max(given - rounding, 0.0), given + rounding
    if low / DISAGREEMENT <= expected <= high * DISAGREEMENT:
        return
    factor = given / expected if expected else 0.0
    units = {8.0: "Gbit/s", 1e3: "MB/s, or the time in ms", 1e-3: "TB/s", 1e6: "kB/s, or the time in s"}
    guess = next((name for value, name in units.items() if abs(factor / value - 1) < 0.2), "")
    because = f"it looks like {guess}" if guess else "one of the three has another unit"
    table.blame(
        number,
        column,
        f"{text} does not agree with bytes / time_us, which give {expected:.4g} GB/s; {because}",
        identity,
    )
