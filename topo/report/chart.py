"""A chart as a description over the columns of records; the page and the figures draw the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from topo.errors import ReportError, nearest

KINDS = ("line", "scatter", "bar", "box", "heat")
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Chart:
    """What a chart shows.

    Parameters
    ----------
    title : str
    x, y : str
        Columns: results, or inputs without their ``input_``.
    series : tuple of str
        Columns whose values make up the series; of a heat map, the rows.
    kind : str
        ``line`` and ``bar``: the median of the records that share x and series, with the lowest and highest;
        ``scatter``: every record; ``box``: their distribution; ``heat``: the median as a colour.
    x_title, y_title : str
        Words on the axes; the column's name by default.
    log_x, log_y : bool
    y_factor : float
        What y is multiplied with, such as 1e-9 for GB/s.
    where : mapping
        Only records that have these values, such as ``{"operation": "all-reduce"}``.
    low, high : str
        Columns that hold the ends of y's interval, where a record has one.
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

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ReportError(
                f"chart kind {self.kind!r} is unknown",
                nearest(self.kind, KINDS) or f"one of {', '.join(KINDS)}",
            )

    def to_data(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"series": list(self.series), "where": dict(self.where)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Chart:
        """What :meth:`to_data` wrote."""
        return cls(**{**data, "series": tuple(data.get("series", ()))})


@dataclass(frozen=True)
class Spread:
    """The records of one place on the x axis.

    Parameters
    ----------
    x : any
    middle, low, high : float
        Median, lowest and highest of y.
    values : tuple of float
    """

    x: Any
    middle: float
    low: float
    high: float
    values: tuple[float, ...]


def gathered(chart: Chart, records: Sequence[Record]) -> dict[str, list[Spread]]:
    """What a chart shows of records: for each series its places on the x axis, in order."""
    found: dict[str, dict[Any, list[tuple[float, float, float]]]] = {}
    for record in records:
        x, y = _value(record, chart.x), _value(record, chart.y)
        if x is None or isinstance(y, (str, bool)) or y is None:
            continue
        if any(_value(record, name) != value for name, value in chart.where.items()):
            continue
        label = ", ".join(str(_value(record, name)) for name in chart.series)
        found.setdefault(label, {}).setdefault(x, []).append(_interval(chart, record, float(y)))
    spreads = {}
    for label, places in found.items():
        numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in places)
        spreads[label] = [
            Spread(
                x,
                median(middle for _, middle, _ in places[x]),
                min(low for low, _, _ in places[x]),
                max(high for _, _, high in places[x]),
                tuple(middle for _, middle, _ in places[x]),
            )
            for x in (sorted(places) if numbers else places)
        ]
    return spreads


def _interval(chart: Chart, record: Record, y: float) -> tuple[float, float, float]:
    """Low end, middle and high end, as they are drawn."""
    ends = [_value(record, name) if name else None for name in (chart.low, chart.high)]
    low, high = (float(end) if isinstance(end, (int, float)) else y for end in ends)
    return low * chart.y_factor, y * chart.y_factor, high * chart.y_factor


def _value(record: Record, name: str) -> Any:
    """A result, or the input of that name."""
    return record[name] if name in record else record.get(f"input_{name}")


_RESULTS = (
    ("busbw_Bps", "bus bandwidth (GB/s)", 1e-9, True),
    ("time_s", "time (s)", 1.0, True),
    ("step_s", "step time (s)", 1.0, True),
    ("bound_ratio", "time / lower bound", 1.0, False),
)
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
        shown = [(name, name, 1.0, False) for name in results[:3]]
    panels = sorted(map(str, values[panel]))[:_MOST_PANELS] if panel else [""]
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
        )
        for name, words, factor, log in shown
        for part in panels
    ]


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, (list, dict)) else value


def _wide(values: set[Any]) -> bool:
    return bool(min(values) > 0 and max(values) / min(values) >= 30)
