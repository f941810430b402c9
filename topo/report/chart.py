"""A chart as a description over the columns of records; the page and the figures draw the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from topo.errors import ReportError, nearest

KINDS = ("line", "scatter", "pareto", "bar", "stack", "box", "heat")
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Chart:
    """What a chart shows.

    Parameters
    ----------
    title : str
    x, y : str
        Columns: results, or inputs without their ``input_``.  Of a stack, y is what the parts add up to.
    series : tuple of str
        Columns whose values make up the series; of a heat map, the rows.
    kind : str
        ``line`` and ``bar``: the median of the records that share x and series, with the lowest and highest;
        ``scatter``: every record; ``pareto``: the same, with a line through those that no other exceeds in both x
        and y; ``stack``: bars put together of the parts; ``box``: their distribution; ``heat``: the median as a
        colour.
    x_title, y_title : str
        Words on the axes; the column's name by default.
    log_x, log_y : bool
    y_factor : float
        What y is multiplied with, such as 1e-9 for GB/s.
    where : mapping
        Only records that have these values, such as ``{"operation": "all-reduce"}``.
    low, high : str
        Columns that hold the ends of y's interval, where a record has one.
    limit : str
        Column of what y cannot pass, drawn as a thin line beside each series; ``*name`` is y times that column.
    limit_name : str
        What these lines are, for the title.
    parts : tuple of (str, str)
        Of a stack: columns from the bottom up, and what each is called.
    """

    title: str
    x: str
    y: str
    series: tuple[str, ...] = ()
    kind: str = "line"
    x_title: str = ""
    y_title: str = ""
    log_x: bool = False
    log_y: bool = False
    y_factor: float = 1.0
    where: Mapping[str, Any] = field(default_factory=dict)
    low: str = ""
    high: str = ""
    limit: str = ""
    limit_name: str = "no algorithm can pass"
    parts: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ReportError(
                f"chart kind {self.kind!r} is unknown",
                nearest(self.kind, KINDS) or f"one of {', '.join(KINDS)}",
            )

    def to_data(self) -> dict[str, Any]:
        """Plain values for JSON."""
        parts = [list(part) for part in self.parts]
        return asdict(self) | {"series": list(self.series), "where": dict(self.where), "parts": parts}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Chart:
        """What :meth:`to_data` wrote."""
        parts = tuple((column, words) for column, words in data.get("parts", ()))
        return cls(**{**data, "series": tuple(data.get("series", ())), "parts": parts})

    @property
    def heading(self) -> str:
        """The title, and what the thin lines are."""
        return f"{self.title}; thin lines: {self.limit_name}" if self.limit else self.title


@dataclass(frozen=True)
class Spread:
    """The records of one place on the x axis.

    Parameters
    ----------
    x : any
    middle, low, high : float
        Median, lowest and highest of y.
    values : tuple of float
    limit : float, optional
        Median of what y cannot pass.
    """

    x: Any
    middle: float
    low: float
    high: float
    values: tuple[float, ...]
    limit: float | None = None


def gathered(chart: Chart, records: Sequence[Record]) -> dict[str, list[Spread]]:
    """What a chart shows of records: for each series (of a stack, each part) its places on the x axis, in order."""
    found: dict[str, dict[Any, list[tuple[float, float, float, float | None]]]] = {}
    columns = chart.parts if chart.kind == "stack" else ((chart.y, ""),)
    for record in records:
        if any(_value(record, name) != value for name, value in chart.where.items()):
            continue
        x = _value(record, chart.x)
        label = ", ".join(str(_value(record, name)) for name in chart.series)
        for column, words in columns:
            y = _value(record, column)
            if x is None or isinstance(y, (str, bool)) or y is None:
                continue
            found.setdefault(words or label, {}).setdefault(x, []).append(_interval(chart, record, float(y)))
    spreads = {}
    for label, places in found.items():
        numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in places)
        spreads[label] = [_spread(x, places[x]) for x in (sorted(places) if numbers else places)]
    return spreads


def frontier(series: Mapping[str, Sequence[Spread]]) -> list[tuple[float, float]]:
    """The points that no other exceeds in both x and y, by rising x."""
    points = sorted(
        {
            (float(spread.x), value)
            for spreads in series.values()
            for spread in spreads
            for value in spread.values
        },
        reverse=True,
    )
    best: list[tuple[float, float]] = []
    for x, y in points:
        if not best or y > best[-1][1]:
            best.append((x, y))
    return best[::-1]


def _spread(x: Any, found: Sequence[tuple[float, float, float, float | None]]) -> Spread:
    middles = tuple(middle for _, middle, _, _ in found)
    limits = [limit for _, _, _, limit in found if limit is not None]
    return Spread(
        x,
        median(middles),
        min(low for low, _, _, _ in found),
        max(high for _, _, high, _ in found),
        middles,
        median(limits) if limits else None,
    )


def _interval(chart: Chart, record: Record, y: float) -> tuple[float, float, float, float | None]:
    """Low end, middle, high end and limit, as they are drawn."""
    ends = [_value(record, name) if name else None for name in (chart.low, chart.high)]
    low, high = (float(end) if isinstance(end, (int, float)) else y for end in ends)
    limit = _value(record, chart.limit.removeprefix("*")) if chart.limit else None
    limit = float(limit) * chart.y_factor if isinstance(limit, (int, float)) else None
    if limit is not None and chart.limit.startswith("*"):
        limit *= y
    return low * chart.y_factor, y * chart.y_factor, high * chart.y_factor, limit


def _value(record: Record, name: str) -> Any:
    """A result, or the input of that name."""
    return record[name] if name in record else record.get(f"input_{name}")


_RESULTS = (
    ("busbw_Bps", "bus bandwidth (GB/s)", 1e-9, True, "*bound_ratio"),
    ("time_s", "time (s)", 1.0, True, "bound_s"),
    ("step_s", "step time (s)", 1.0, True, ""),
    ("bound_ratio", "time / lower bound", 1.0, False, ""),
)
_MOST_LIMITS = 8
"""Series up to which limits are drawn where nobody asked for them."""
STEP_PARTS = (
    ("compute_s", "compute"),
    ("bubble_s", "pipeline bubble"),
    ("tp_s", "tensor parallel"),
    ("cp_s", "context parallel"),
    ("ep_s", "expert parallel"),
    ("dp_s", "data parallel"),
    ("pp_s", "between stages"),
    ("optimizer_s", "optimizer"),
)
"""Where a training step goes; communication as far as nothing hides it."""
_MOST_PANELS = 6


def default_charts(records: Sequence[Record]) -> list[Chart]:
    """Charts for records of which nothing is known but their columns."""
    if not records:
        return []
    names = list(dict.fromkeys(name for record in records for name in record))
    values = {name: {_hashable(record.get(name)) for record in records} - {None} for name in names}
    numeric = {
        name
        for name in names
        if values[name] and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values[name])
    }
    varied = [name for name in names if len(values[name]) > 1]
    inputs = [name for name in varied if name.startswith("input_") and not name.startswith("input_file.")]
    x = next((name for name in ("bytes", *inputs) if name in varied and name in numeric), "")
    x = x or next(iter(inputs), "") or next(iter(varied), "")
    if not x:
        return []
    texts = {"input_on": "system", "input_operation": "operation", "input_size": "bytes"}
    others = [texts.get(name, name) if texts.get(name) in names else name for name in inputs]
    others = [
        name for name in dict.fromkeys(others) if name not in (x, "input_seed")
    ]  # seeds: a spread, no series
    panel = next((name for name in ("operation",) if name in others), "")
    series = tuple(name for name in others if name != panel)
    shown = [entry for entry in _RESULTS if entry[0] in numeric and entry[0] in varied]
    if not shown:
        skipped = ("point", "seed", "wall_s", "point_wall_s", x)
        results = [n for n in varied if n in numeric and not n.startswith("input_") and n not in skipped]
        shown = [(name, name, 1.0, False, "") for name in results[:3]]
    panels = sorted(map(str, values[panel]))[:_MOST_PANELS] if panel else [""]
    lines = 1
    for name in series:
        lines *= len(values[name])
    return [
        Chart(
            title=f"{words}{f', {part}' if part else ''}",
            x=x,
            y=name,
            series=series,
            kind="line" if x in numeric else "bar",
            y_title=words,
            log_x=x in numeric and _wide(values[x]),
            log_y=log and _wide({r.get(name) for r in records} - {None}),
            y_factor=factor,
            where={panel: part} if part else {},
            limit=limit if limit.removeprefix("*") in numeric and lines <= _MOST_LIMITS else "",
        )
        for name, words, factor, log, limit in shown
        for part in panels
    ]


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, (list, dict)) else value


def _wide(values: set[Any]) -> bool:
    return bool(min(values) > 0 and max(values) / min(values) >= 30)
