"""Pictures of fabrics: accelerators, switches and links, in a layout that a person recognises."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from topo.fabric import ACCELERATOR, SWITCH, Fabric, FloatArray, IntArray
from topo.report.layout import Layout, lay_out
from topo.report.style import check_picture, save, styled
from topo.units import format_bandwidth, format_time

_SIZE = (9.0, 7.0)
_LOOKS = (  # by kind of node: marker, fill, edge, word, its plural
    ("o", "#ffffff", "#0072B2", "accelerator", "accelerators"),
    ("s", "#333333", "#333333", "switch", "switches"),
    ("D", "#bbbbbb", "#333333", "NIC", "NICs"),
)
_LINKS = (
    ("#404040", "-"),
    ("#D55E00", (0, (4, 1.5))),
    ("#009E73", (0, (1, 1))),
    ("#0072B2", (0, (6, 1.5, 1, 1.5))),
)
_MARK = "#E69F00"
_MOST_LABELS = 80
_CURVE = 24
_ALIKE = 0.1


@dataclass(frozen=True)
class _Class:
    """Links that are alike: bandwidth of a cable, latency, cables; exactly, or about."""

    bandwidth: float
    latency: float
    cables: int
    exact: bool

    @property
    def words(self) -> str:
        about = "" if self.exact else "about "
        parallel = f"{self.cables} cables of " if self.cables > 1 else ""
        return f"{about}{parallel}{format_bandwidth(self.bandwidth)}, {format_time(self.latency)}"


def draw(fabric: Fabric, path: Path, title: str = "", binding: FloatArray | None = None) -> Path:
    """Draw a fabric into an SVG, PNG or PDF file.

    Parameters
    ----------
    fabric : Fabric
    path : Path
    title : str
    binding : float array [links], optional
        Links to be marked where positive, the larger the broader: those that a bound rests on.

    Raises
    ------
    TopoError
        Another suffix, or a folder that is not there.
    """
    check_picture(path)
    layout = lay_out(fabric)
    with styled() as pyplot:
        figure, axis = pyplot.subplots(figsize=_figure_size(layout))
        axis.set_axis_off()
        axis.set_aspect("equal")
        scale = _scale(figure, layout)
        for left, bottom, right, top, label in layout.boxes:
            axis.add_patch(
                pyplot.Rectangle(
                    (left, bottom), right - left, top - bottom, fill=False, color="#999999", linewidth=0.8
                )
            )
            axis.text((left + right) / 2, bottom, label, fontsize=7, color="#555555", ha="center", va="top")
        _draw_links(axis, fabric, layout, scale)
        for x, y, other, level in layout.dots:
            axis.plot([x, other], [y, level], color="#404040", linewidth=1.4, linestyle=(0, (1, 3)), zorder=2)
        if binding is not None:
            _mark_links(axis, fabric, layout, binding)
        _draw_nodes(axis, fabric, layout, scale)
        low, high = np.nanmin(layout.place, axis=0), np.nanmax(layout.place, axis=0)
        room = min(0.7, 0.25 * float((high - low).max(initial=0.4)))
        low, high = low - room, high + room
        axis.set_xlim(low[0], high[0])
        axis.set_ylim(low[1], high[1])
        heading = title or fabric.name
        axis.set_title(heading + (f"\n{layout.note}" if layout.note else ""), fontsize=10)
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3)
        return save(figure, path)


def _extent(layout: Layout) -> FloatArray:
    place = layout.place[layout.drawn]
    spread: FloatArray = place.max(axis=0) - place.min(axis=0) + 1.0
    return spread


def _figure_size(layout: Layout) -> tuple[float, float]:
    width, height = _extent(layout)
    scale = min(_SIZE[0] / width, _SIZE[1] / height)
    return max(4.0, width * scale), max(1.8, height * scale) + 1.0


def _scale(figure: Any, layout: Layout) -> float:
    """Points per unit of the layout, about."""
    width, height = _extent(layout)
    inches = figure.get_size_inches()
    return float(min(inches[0] / width, (inches[1] - 1.0) / height) * 72)


def _draw_nodes(axis: Any, fabric: Fabric, layout: Layout, scale: float) -> None:
    labels = int(layout.drawn.sum()) <= _MOST_LABELS
    side = float(np.clip(0.5 * scale * spacing(layout.place[layout.drawn]), 2.5, 26.0))
    for number, (marker, fill, edge, words, plural) in enumerate(_LOOKS):
        chosen = np.flatnonzero(layout.drawn & (fabric.kind == number))
        if not len(chosen):
            continue
        total = int((fabric.kind == number).sum())
        place = layout.place[chosen]
        name = words if total == 1 else plural
        axis.scatter(
            *place.T, s=side**2, marker=marker, facecolor=fill, edgecolor=edge, linewidth=0.9, zorder=3
        )
        axis.scatter([], [], s=30, marker=marker, facecolor=fill, edgecolor=edge, label=f"{total:,} {name}")
        if labels:
            size = min(7.0, side / 2.4)
            for node in chosen:
                text = str(fabric.nodes[int(node)])
                if number == ACCELERATOR and size >= 4 and len(text) * size * 0.62 < side * 1.05:
                    axis.text(*layout.place[node], text, fontsize=size, ha="center", va="center", zorder=4)
                elif number == SWITCH and len(chosen) <= 24:
                    axis.annotate(
                        text,
                        layout.place[node],
                        (0, side / 2 + 2),
                        textcoords="offset points",
                        fontsize=6,
                        ha="center",
                        va="bottom",
                        rotation=0 if len(chosen) <= 9 else 45,
                        zorder=4,
                    )


def spacing(place: FloatArray) -> float:
    """Smallest distance between two drawn nodes of a kind, about."""
    if len(place) < 2:
        return 1.0
    order = np.lexsort((place[:, 1], place[:, 0]))
    near = [
        float(np.hypot(*(place[order[k:]] - place[order[:-k]]).T).min()) for k in range(1, min(9, len(place)))
    ]
    other = np.lexsort((place[:, 0], place[:, 1]))
    near += [
        float(np.hypot(*(place[other[k:]] - place[other[:-k]]).T).min()) for k in range(1, min(9, len(place)))
    ]
    return min(near)


def _draw_links(axis: Any, fabric: Fabric, layout: Layout, scale: float) -> None:
    from matplotlib.collections import LineCollection

    # A full-duplex cable is drawn once.
    drawn = layout.drawn
    visible = drawn[fabric.source] & drawn[fabric.target]
    backwards = fabric.links_between(fabric.target, fabric.source)
    links = np.flatnonzero(visible & ((fabric.source < fabric.target) | (backwards < 0)))
    if not len(links):
        return
    classes, which = _classes(fabric, links)
    for number, kind in enumerate(classes):
        color, line = _LINKS[min(number, len(_LINKS) - 1)]
        chosen = links[which == number]
        if number < len(_LINKS):
            axis.plot([], [], color=color, linestyle=line, linewidth=1.2, label=kind.words)
        axis.add_collection(
            LineCollection(
                curves(fabric, layout, chosen),
                colors=color,
                linestyles=[line],
                # The few links of a rare kind, such as those between sites, stand out among thousands.
                linewidths=float(np.clip(15 / np.sqrt(len(chosen)), 0.25, 1.4)),
                alpha=float(np.clip(14 / np.sqrt(len(chosen)), 0.2, 0.9)),
                zorder=1,
            )
        )


def _mark_links(axis: Any, fabric: Fabric, layout: Layout, weight: FloatArray) -> None:
    """Broad bands behind links of positive weight, as broad as the weight says."""
    from matplotlib.collections import LineCollection

    marked = np.flatnonzero((weight > 0) & layout.drawn[fabric.source] & layout.drawn[fabric.target])
    broad = float(np.clip(120.0 / np.sqrt(max(len(marked), 1)), 1.5, 6.0))
    axis.add_collection(
        LineCollection(
            curves(fabric, layout, marked),
            colors=_MARK,
            linewidths=broad * np.sqrt(weight[marked] / weight.max()),
            alpha=0.6,
            capstyle="round",
            zorder=0,
        )
    )
    axis.plot([], [], color=_MARK, linewidth=4, alpha=0.6, label=f"{int((weight > 0).sum()):,} links bind")


def _classes(fabric: Fabric, links: IntArray) -> tuple[list[_Class], IntArray]:
    """Links that are alike within a tenth, the most frequent first, and the class of each."""
    table = np.stack([fabric.bandwidth / fabric.cables, fabric.latency, fabric.cables], axis=1)[links]
    found, inverse, count = np.unique(table, axis=0, return_inverse=True, return_counts=True)
    classes: list[_Class] = []
    place = np.empty(len(found), dtype=np.int64)
    for kind in np.argsort(-count, kind="stable"):
        bandwidth, latency, cables = found[kind].tolist()
        for number, known in enumerate(classes):
            if all(
                abs(a - b) <= _ALIKE * max(a, b)
                for a, b in ((bandwidth, known.bandwidth), (latency, known.latency), (cables, known.cables))
            ):
                place[kind] = number
                classes[number] = replace(known, exact=False)
                break
        else:
            place[kind] = len(classes)
            classes.append(_Class(bandwidth, latency, int(cables), True))
    return classes, place[inverse.ravel()]


def curves(fabric: Fabric, layout: Layout, links: IntArray) -> list[FloatArray]:
    """Polylines of links: straight ones of two points, bent ones as flat arcs that rise beside their ends."""
    start, end = layout.place[fabric.source[links]], layout.place[fabric.target[links]]
    t = np.linspace(0.0, 1.0, _CURVE)[:, None]
    lines: list[FloatArray] = []
    for a, b, off in zip(start, end, layout.bend[links], strict=True):
        if not off:
            lines.append(np.stack([a, b]))
            continue
        normal = np.asarray([a[1] - b[1], b[0] - a[0]])
        lift = 4 / 3 * off * normal / np.hypot(*normal)
        inwards = (b - a) * min(0.04, 0.3 / np.hypot(*normal))
        c, d = a + lift + inwards, b + lift - inwards
        lines.append((1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * c + 3 * t**2 * (1 - t) * d + t**3 * b)
    return lines
