"""The map of the catalogue: what each machine has for its size, its money and its watts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from topo.report.style import look, save, styled

Record = Mapping[str, Any]
Places = dict[tuple[float, float], list[str]]
"""Names of the machines at each place of a map."""
_SIZE = (9.0, 6.0)
_LETTER = 3.6  # points, of a label


def write_maps(
    records: Sequence[Record], folder: Path, formats: Sequence[str] = ("svg", "png")
) -> list[Path]:
    """Draw the map into a folder.

    Parameters
    ----------
    records : sequence of mappings
        Of :func:`topologies.catalogue.table.records`: SI units, per accelerator; None where unpublished.
    folder : Path
        Exists.
    formats : sequence of str

    Returns
    -------
    list of Path
        ``scale-up-bandwidth``, ``flop-per-byte``, ``per-dollar`` and ``per-watt``, in each format.
    """
    written = []
    for name, draw in (
        ("scale-up-bandwidth", _bandwidth),
        ("flop-per-byte", _flop_per_byte),
        ("per-dollar", _per_dollar),
        ("per-watt", _per_watt),
    ):
        with styled() as pyplot:
            figure = draw(pyplot, records)
            written += [save(figure, folder / f"catalogue-{name}.{suffix}") for suffix in formats]
    return written


def _bandwidth(pyplot: Any, records: Sequence[Record]) -> Any:
    figure, axis = pyplot.subplots(figsize=_SIZE)
    vendors = _vendors(records)
    known = [r for r in records if r["scale_up_bandwidth_Bps"]]
    cloud = _cloud(
        axis, known, lambda r: r["accelerators"], lambda r: r["scale_up_bandwidth_Bps"] / 1e9, vendors
    )
    _legend(figure, known, vendors)
    axis.set_xlabel("accelerators of the largest scale-up domain")
    axis.set_ylabel("scale-up bandwidth per accelerator and direction (GB/s)")
    axis.set_title("Scale-up bandwidth against domain size; hollow: estimated or recalled")
    _label(figure, [cloud])
    return figure


def _flop_per_byte(pyplot: Any, records: Sequence[Record]) -> Any:
    """Bars: how much arithmetic must be done for each byte sent."""
    known = [r for r in records if r["scale_up_bandwidth_Bps"] and r["bf16_flops"]]
    known.sort(key=lambda r: r["bf16_flops"] / r["scale_up_bandwidth_Bps"])
    figure, axis = pyplot.subplots(figsize=(_SIZE[0], 0.2 * len(known) + 1.2))
    for place, r in enumerate(known):
        inside = r["bf16_flops"] / r["scale_up_bandwidth_Bps"]
        style = look(0)
        axis.plot(inside, place, "o", color=style.color, label="scale-up" if not place else None)
        if r["scale_out_bandwidth_Bps"]:
            outside = r["bf16_flops"] / r["scale_out_bandwidth_Bps"]
            axis.plot([inside, outside], [place, place], color="#bbbbbb", linewidth=0.8, zorder=0)
            axis.plot(outside, place, "s", color=look(1).color, label="_")
    axis.plot([], [], "s", color=look(1).color, label="scale-out")
    axis.set_yticks(range(len(known)), [r["name"] for r in known])
    axis.set_ylim(-1, len(known))
    _plain_log(axis.set_xscale, axis.xaxis)
    axis.set_xlabel("dense bf16 FLOP for each byte that an accelerator can send")
    axis.set_title("FLOP per byte of fabric")
    axis.legend(loc="lower right")
    return figure


def _per_dollar(pyplot: Any, records: Sequence[Record]) -> Any:
    priced = [r for r in records if r["price_usd"]]
    return _pair(
        pyplot,
        priced,
        _vendors(records),
        "price_usd",
        1e3,
        "per thousand US dollars",
        "where a price is sourced",
    )


def _per_watt(pyplot: Any, records: Sequence[Record]) -> Any:
    sold = [r for r in records if r["power_of"] == "machine"]
    return _pair(
        pyplot,
        sold,
        _vendors(records),
        "power_w",
        1e3,
        "per kW of the machine",
        "where the machine's power is sourced",
    )


def _vendors(records: Sequence[Record]) -> list[str]:
    return sorted({r["vendor"] for r in records})


def _pair(
    pyplot: Any,
    records: Sequence[Record],
    vendors: Sequence[str],
    by: str,
    unit: float,
    words: str,
    which: str,
) -> Any:
    """Memory against memory bandwidth, and FLOP/s against scale-up bandwidth, each by what is paid."""

    def per(key: str, scale: float) -> Callable[[Record], float]:
        return lambda r: r[key] / r[by] * unit / scale

    figure, axes = pyplot.subplots(1, 2, figsize=(_SIZE[0] * 1.3, 5.5))
    memory = _cloud(axes[0], records, per("memory_bytes", 1e9), per("memory_bandwidth_Bps", 1e9), vendors, by)
    axes[0].set_xlabel(f"memory (GB) {words}")
    axes[0].set_ylabel(f"memory bandwidth (GB/s) {words}")
    wired = [r for r in records if r["bf16_flops"] and r["scale_up_bandwidth_Bps"]]
    compute = _cloud(axes[1], wired, per("bf16_flops", 1e12), per("scale_up_bandwidth_Bps", 1e9), vendors, by)
    axes[1].set_xlabel(f"dense bf16 (TFLOP/s) {words}")
    axes[1].set_ylabel(f"scale-up bandwidth (GB/s) {words}")
    _legend(figure, records, vendors)
    figure.suptitle(
        f"What comes {words}, {which}; hollow: estimated or recalled", x=0.01, ha="left", fontsize=11
    )
    _label(figure, [memory, compute])
    return figure


def _cloud(
    axis: Any,
    records: Sequence[Record],
    across: Callable[[Record], float],
    up: Callable[[Record], float],
    vendors: Sequence[str],
    by: str = "scale_up_bandwidth_Bps",
) -> tuple[Any, Places]:
    """A point a machine on logarithmic axes, coloured by vendor; machines at one place share a label."""
    places: Places = {}
    for r in records:
        colour, marker = _look(r["vendor"], vendors)
        place = (across(r), up(r))
        filled = "none" if by in r["estimated"] else "full"
        axis.plot(*place, marker, color=colour, markersize=6, fillstyle=filled)
        places.setdefault((float(f"{place[0]:.2g}"), float(f"{place[1]:.2g}")), []).append(r["name"])
    _plain_log(axis.set_xscale, axis.xaxis)
    _plain_log(axis.set_yscale, axis.yaxis)
    axis.margins(0.12)
    axis.autoscale_view()
    return axis, places


def _label(figure: Any, clouds: Sequence[tuple[Any, Places]]) -> None:
    """Names beside the points, to the right or the left, moved up or down until none lies on another or on a point.

    The layout must be final: what else the figure holds is laid out first, and labels do not change it.
    """
    figure.draw_without_rendering()
    points = 72.0 / figure.dpi
    height = _LETTER * 1.9
    for axis, places in clouds:
        dots = {place: axis.transData.transform(place) * points for place in places}
        taken = [(x - 3.5, x + 3.5, y) for x, y in dots.values()]
        edge = axis.get_window_extent().x1 * points
        for place in sorted(places, key=lambda at: (-at[1], at[0])):
            x, y = dots[place]
            text = ", ".join(places[place])
            left, free, to_the_left = _free_place(x, y, _LETTER * len(text), height, edge, taken)
            taken.append((left, left + _LETTER * len(text), free))
            axis.annotate(
                text,
                place,
                (-6 if to_the_left else 6, free - y),
                textcoords="offset points",
                fontsize=6,
                ha="right" if to_the_left else "left",
                va="center",
                arrowprops={
                    "arrowstyle": "-",
                    "color": "#bbbbbb",
                    "linewidth": 0.4,
                    "shrinkA": 0,
                    "shrinkB": 2,
                },
            ).set_in_layout(False)


def _free_place(
    x: float, y: float, width: float, height: float, edge: float, taken: Sequence[tuple[float, float, float]]
) -> tuple[float, float, bool]:
    """Left end and height of a label, and whether it stands to the left of its point."""
    for step in range(60):
        free = y + (step + 1) // 2 * height / 2 * (-1 if step % 2 else 1)
        for left, to_the_left in ((x + 6, False), (x - 6 - width, True)):
            if left + width > edge and not to_the_left:
                continue
            if all(left + width < a or left > b or abs(free - c) >= height for a, b, c in taken):
                return left, free, to_the_left
    return x + 6, y, False


def _look(vendor: str, vendors: Sequence[str]) -> tuple[str, str]:
    """Colour and marker of a vendor; the marker shifts when the colours come round."""
    number = vendors.index(vendor)
    return look(number).color, look(number + 3 * (number // 8)).marker


def _legend(figure: Any, records: Sequence[Record], vendors: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    shown = sorted({r["vendor"] for r in records})
    handles = []
    for vendor in shown:
        colour, marker = _look(vendor, vendors)
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="", label=vendor))
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=7)


def _plain_log(set_scale: Callable[[str], Any], axis: Any) -> None:
    """0.1, 1, 10 on a logarithmic axis, not powers of ten."""
    set_scale("log")
    axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.set_minor_formatter(lambda value, _: "")
