"""The map of the catalogue: what each machine has for its size, its money and its watts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from topo.report.style import look, save, styled

Record = Mapping[str, Any]
_SIZE = (9.0, 6.0)


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
    known = [r for r in records if r["scale_up_bandwidth_Bps"]]
    _cloud(axis, known, lambda r: r["accelerators"], lambda r: r["scale_up_bandwidth_Bps"] / 1e9)
    axis.set_xlabel("accelerators of the largest scale-up domain")
    axis.set_ylabel("scale-up bandwidth per accelerator and direction (GB/s)")
    axis.set_title("Scale-up bandwidth against domain size; hollow: estimated or recalled")
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
    return _pair(pyplot, priced, "price_usd", 1e3, "per thousand US dollars", "where a price is sourced")


def _per_watt(pyplot: Any, records: Sequence[Record]) -> Any:
    sold = [r for r in records if r["power_of"] == "machine"]
    return _pair(
        pyplot, sold, "power_w", 1e3, "per kW of the machine", "where the machine's power is sourced"
    )


def _pair(pyplot: Any, records: Sequence[Record], by: str, unit: float, words: str, which: str) -> Any:
    """Memory against memory bandwidth, and FLOP/s against scale-up bandwidth, each by what is paid."""

    def per(key: str, scale: float) -> Callable[[Record], float]:
        return lambda r: r[key] / r[by] * unit / scale

    figure, axes = pyplot.subplots(1, 2, figsize=(_SIZE[0] * 1.2, 5.0))
    _cloud(axes[0], records, per("memory_bytes", 1e9), per("memory_bandwidth_Bps", 1e9), by)
    axes[0].set_xlabel(f"memory (GB) {words}")
    axes[0].set_ylabel(f"memory bandwidth (GB/s) {words}")
    wired = [r for r in records if r["bf16_flops"] and r["scale_up_bandwidth_Bps"]]
    _cloud(axes[1], wired, per("bf16_flops", 1e12), per("scale_up_bandwidth_Bps", 1e9), by)
    axes[1].set_xlabel(f"dense bf16 (TFLOP/s) {words}")
    axes[1].set_ylabel(f"scale-up bandwidth (GB/s, one direction) {words}")
    figure.suptitle(
        f"What comes {words}, {which}; hollow: estimated or recalled", x=0.01, ha="left", fontsize=11
    )
    return figure


def _cloud(
    axis: Any,
    records: Sequence[Record],
    across: Callable[[Record], float],
    up: Callable[[Record], float],
    by: str = "scale_up_bandwidth_Bps",
) -> None:
    """A point a machine on logarithmic axes, coloured by vendor; machines at one place share a label."""
    vendors = sorted({r["vendor"] for r in records})
    places: dict[tuple[float, float], list[str]] = {}
    for r in records:
        style = look(vendors.index(r["vendor"]))
        place = (across(r), up(r))
        axis.plot(
            *place,
            style.marker,
            color=style.color,
            markersize=7,
            fillstyle="none" if by in r["estimated"] else "full",
        )
        places.setdefault((float(f"{place[0]:.2g}"), float(f"{place[1]:.2g}")), []).append(r["name"])
    _plain_log(axis.set_xscale, axis.xaxis)
    _plain_log(axis.set_yscale, axis.yaxis)
    axis.margins(0.12)
    for number, (place, names) in enumerate(sorted(places.items())):
        shown = ", ".join(names[:3]) + (f" +{len(names) - 3}" if len(names) > 3 else "")
        above = number % 2 == 0
        axis.annotate(
            shown, place, (0, 6 if above else -6), textcoords="offset points", fontsize=6, ha="center",
            va="bottom" if above else "top",
        )  # fmt: skip
    for number, vendor in enumerate(vendors):
        axis.plot([], [], look(number).marker, color=look(number).color, label=vendor)
    axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=6)


def _plain_log(set_scale: Callable[[str], Any], axis: Any) -> None:
    """0.1, 1, 10 on a logarithmic axis, not powers of ten."""
    set_scale("log")
    axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.set_minor_formatter(lambda value, _: "")
