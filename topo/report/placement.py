"""A plan's placement as text and as a picture: the fabric once for each axis, its groups told apart.

Groups differ in colour and hatching, and their number stands on the accelerators where there is room, so that the
picture reads in grey as well.  Along a pipeline the stages are told apart.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from topo.fabric import ACCELERATOR, Fabric, FloatArray, Grid, IntArray
from topo.report.blocks import set_block
from topo.report.drawing import curves, spacing
from topo.report.layout import Layout, lay_out
from topo.report.style import check_picture, save, styled
from topo.training.placement import domain_grid

if TYPE_CHECKING:
    from topo.training.placement import Placement

WORDS = {
    "tp": "tensor parallel",
    "cp": "context parallel",
    "dp": "data parallel",
    "pp": "pipeline",
    "ep": "expert parallel",
    "shard": "weight shards",
}
"""Axes that are shown, in words."""
MOST_NAMED = 6
"""Groups in a legend."""
_FILLS = ("#ffffff", "#8fc7e8", "#f7cf8f", "#b9b9b9", "#e8a6c9", "#8fd1b6", "#f3a77a", "#f4ec8c")
_HATCHES = ("", "////", "", "....", "\\\\\\\\", "xxx", "---", "+++")
_PANEL = (6.4, 4.6)
_ALONG = 18
"""Squares beside each other in a domain that is no grid."""
_MOST_SQUARES = 2048


def shown_axes(placement: Placement) -> list[str]:
    """Axes with more than one rank in a group; shards only where they are not all data ranks."""
    axes = [axis for axis in ("tp", "cp", "ep", "dp", "pp") if placement.degree(axis) > 1]
    if 1 < placement.degree("shard") < placement.degree("data"):
        axes.append("shard")
    return axes


def placement_record(placement: Placement) -> dict[str, Any]:
    """Where every axis lies, as a record."""
    fabric, words = placement.fabric, placement.words()
    axes = {}
    for axis in shown_axes(placement):
        groups = placement.groups(axis)
        axes[axis] = {
            "groups": len(groups),
            "ranks": placement.degree(axis),
            "domains": placement.spans[axis][0] if axis in placement.spans else 1,
            "where": words.get(axis, ""),
            "first": [str(fabric.nodes[node]) for node in fabric.accelerators[groups[0]].tolist()],
        }
    return {
        "system": fabric.name,
        "accelerators": fabric.ranks,
        "placement": placement.name,
        "axes": axes,
    }


def placement_block(placement: Placement) -> str:
    """Where every axis lies, as text: a line for each axis, and the accelerators with their coordinates."""
    record = placement_record(placement)
    rows = [("placement", placement.name)]
    for axis, found in record["axes"].items():
        first = found["first"]
        named = ", ".join(first[:6]) + (f", ... {first[-1]}" if len(first) > 6 else "")
        rows.append((axis, f"{found['groups']:,} groups: {found['where']}; the first: {named}"))
    if not record["axes"]:
        rows.append(("axes", "none has more than one rank"))
    title = f"Placement on {record['system']}, {record['accelerators']:,} accelerators"
    return set_block(title, rows) + "\n\n" + placement.table()


def draw_placement(placement: Placement, path: Path, title: str = "") -> Path:
    """Draw the fabric once for each axis, every group of the axis (of a pipeline every stage) in a look of its own.

    Where the fabric with its links is too large for a page, each accelerator is a square, domain by domain.

    Parameters
    ----------
    placement : Placement
    path : Path
        ``.svg``, ``.png`` or ``.pdf``.
    title : str

    Raises
    ------
    TopoError
        Another suffix, or a folder that is not there.
    """
    check_picture(path)
    layout = lay_out(placement.fabric)
    linked = bool(layout.drawn[placement.fabric.accelerators].all())
    if not linked:
        layout = squares(placement.fabric)
    axes = shown_axes(placement) or ["dp"]
    columns = 1 if len(axes) == 1 else 2
    rows = math.ceil(len(axes) / columns)
    place = layout.place[layout.drawn]
    across, up = place.max(axis=0) - place.min(axis=0) + 1.0
    scale = min(_PANEL[0] / across, _PANEL[1] / up)
    width, height = max(across * scale, 4.2), max(up * scale, 1.0) + 0.8
    with styled() as pyplot:
        figure, panels = pyplot.subplots(
            rows, columns, figsize=(width * columns, height * rows + 0.5), squeeze=False, layout="constrained"
        )
        for panel, axis in zip(panels.flat, axes, strict=False):
            _draw_fabric(panel, placement.fabric, layout, linked)
            _draw_groups(panel, placement, layout, axis, 72 * scale, linked)
        for panel in list(panels.flat)[len(axes) :]:
            panel.set_axis_off()
        heading = title or f"{placement.fabric.name}: {placement.name}"
        figure.suptitle(heading + (f"\n{layout.note}" if layout.note else ""), fontsize=10)
        return save(figure, path)


def squares(fabric: Fabric) -> Layout:
    """A layout without links: accelerators as squares, domain by domain, the first of them where there are many."""
    inside = fabric.ranks // fabric.domains
    even = fabric.domains > 1 and inside * fabric.domains == fabric.ranks
    if not even:
        inside = fabric.ranks
    shape = (domain_grid(fabric) or Grid((inside,), (False,))).shape
    if len(shape) == 1 or math.prod(shape) != inside:
        rows = math.ceil(inside / _ALONG)
        high, wide = rows, math.ceil(inside / rows)
        position = np.stack(np.divmod(np.arange(inside), wide), axis=1).astype(float)
    else:
        # Planes of a grid of more than two dimensions stand side by side.
        planes, high, wide = math.prod(shape[:-2]), shape[-2], shape[-1]
        plane, row, column = np.unravel_index(np.arange(inside), (planes, high, wide))
        position = np.stack([row, column + plane * (wide + 1)], axis=1).astype(float)
        wide = planes * (wide + 1) - 1
    shown = min(fabric.ranks // inside, max(_MOST_SQUARES // inside, 1))
    along = max(round(math.sqrt(1.5 * shown * (high + 1.6) / (wide + 1))), 1)
    place = np.full((len(fabric.nodes), 2), np.nan)
    boxes = []
    for domain in range(shown):
        y, x = -(domain // along) * (high + 1.6), domain % along * (wide + 1.0)
        mine = position[: _MOST_SQUARES if shown == 1 else inside]
        nodes = fabric.accelerators[domain * inside : domain * inside + len(mine)]
        place[nodes] = np.stack([x + mine[:, 1], y - mine[:, 0]], axis=1)
        if even:
            boxes.append((x - 0.6, y - high + 0.4, x + wide - 0.4, y + 0.6, f"domain {domain}"))
    drawn = int((~np.isnan(place[:, 0])).sum())
    note = f"the first {drawn:,} of {fabric.ranks:,} accelerators" if drawn < fabric.ranks else ""
    return Layout(place, np.zeros(fabric.links), tuple(boxes), note=note)


def _draw_fabric(panel: Any, fabric: Fabric, layout: Layout, linked: bool) -> None:
    from matplotlib.collections import LineCollection

    drawn = layout.drawn
    panel.set_axis_off()
    panel.set_aspect("equal")
    if linked:
        visible = np.flatnonzero(
            drawn[fabric.source] & drawn[fabric.target] & (fabric.source < fabric.target)
        )
        panel.add_collection(
            LineCollection(
                curves(fabric, layout, visible),
                colors="#888888",
                linewidths=float(np.clip(12 / np.sqrt(max(len(visible), 1)), 0.2, 0.9)),
                alpha=0.5,
                zorder=1,
            )
        )
        others = drawn & (fabric.kind != ACCELERATOR)
        panel.scatter(*layout.place[others].T, s=10, marker="s", color="#555555", zorder=2)
    for left, bottom, right, top, label in layout.boxes:
        panel.plot(
            [left, right, right, left, left],
            [bottom, bottom, top, top, bottom],
            color="#999999",
            linewidth=0.7,
        )
        if len(layout.boxes) <= 36:
            panel.text(
                (left + right) / 2, bottom - 0.04, label, fontsize=6, color="#555555", ha="center", va="top"
            )
    place = layout.place[drawn]
    low, high = place.min(axis=0), place.max(axis=0)
    room = max(min(0.7, 0.25 * float((high - low).max(initial=0.4))), 0.65 if not linked else 0.0)
    panel.set_xlim(low[0] - room, high[0] + room)
    panel.set_ylim(low[1] - room, high[1] + room)


def _draw_groups(
    panel: Any, placement: Placement, layout: Layout, axis: str, points: float, linked: bool
) -> None:
    """Accelerators in the look of their group; ``points`` of a unit of the layout."""
    from matplotlib.patches import Patch
    from matplotlib.patheffects import withStroke

    fabric = placement.fabric
    nodes = fabric.accelerators[np.flatnonzero(layout.drawn[fabric.accelerators])]
    place: FloatArray = layout.place[nodes]
    side = float(np.clip((0.66 if linked else 0.8) * points * spacing(place), 2.0, 22.0))
    number_of, count = _numbers(placement, axis)
    mine = number_of[fabric.rank_of_node[nodes]]
    for number in np.unique(mine).tolist():
        look = number % len(_FILLS)
        panel.scatter(
            *place[mine == number].T,
            s=side**2,
            marker="o" if linked else "s",
            facecolor=_FILLS[look],
            edgecolor="#222222",
            hatch=_HATCHES[look],
            linewidth=0.7 if side > 6 else 0.3,
            zorder=3,
        )
    size = min(8.0, 1.1 * side / (len(str(int(mine.max(initial=0)))) + 0.6))
    if size >= 3.5:
        rim = [withStroke(linewidth=1.6, foreground="white")]
        for node, number in zip(nodes.tolist(), mine.tolist(), strict=True):
            at = layout.place[node]
            panel.text(*at, str(number), fontsize=size, ha="center", va="center", zorder=4, path_effects=rim)
    what = "stage" if axis == "pp" else "group"
    repeated = "; looks come round" if count > len(_FILLS) else ""
    size_of = "" if axis == "pp" else f" of {placement.degree(axis)}"
    plural = "" if count == 1 else "s"
    panel.set_title(f"{axis}: {WORDS[axis]}, {count:,} {what}{plural}{size_of}{repeated}", fontsize=8)
    handles = [
        Patch(facecolor=_FILLS[n], edgecolor="#222222", hatch=_HATCHES[n], linewidth=0.7, label=f"{what} {n}")
        for n in range(min(count, MOST_NAMED))
    ]
    panel.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.02),
        ncols=MOST_NAMED // 2,
        fontsize=6,
        columnspacing=1.0,
        handletextpad=0.4,
    )


def _numbers(placement: Placement, axis: str) -> tuple[IntArray, int]:
    """The group of every rank (along ``pp`` its stage), and how many there are."""
    number = np.empty(placement.fabric.ranks, dtype=np.int64)
    groups = placement.groups(axis)
    if axis == "pp":
        number[groups] = np.arange(groups.shape[1])
        return number, int(groups.shape[1])
    number[groups] = np.arange(len(groups))[:, None]
    return number, len(groups)
