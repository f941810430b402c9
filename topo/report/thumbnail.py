"""Small pictures of fabrics: a few kilobytes of SVG, without text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from topo.fabric import ACCELERATOR, SWITCH, Fabric, FloatArray, IntArray
from topo.report.layout import lay_out

_WIDTH, _HEIGHT, _EDGE = 320.0, 200.0, 12.0
_MOST_LINKS = 2400
_NARROW = 2
_LOOKS = (("#404040", ""), ("#D55E00", "5 2"), ("#009E73", "2 2"), ("#0072B2", "6 2 1.5 2"))
"""Colour and dashes of each kind of link: the kinds can be told apart in grey."""


def thumbnail(fabric: Fabric, title: str) -> str:
    """A fabric as a small SVG document.

    Parameters
    ----------
    fabric : Fabric
        Laid out as :func:`topo.report.layout.lay_out` does; very large ones in part.
    title : str
        For screen readers.

    Returns
    -------
    str
        Accelerators are circles, switches squares; the colour of a link says which kind of link it is, the
        most frequent kind being grey.
    """
    layout = lay_out(fabric)
    fit = _fitting(layout.place, stretch=_stretch(fabric))
    place = fit(layout.place)
    drawn = layout.drawn
    links = np.flatnonzero(drawn[fabric.source] & drawn[fabric.target] & (fabric.source < fabric.target))
    if len(links) > _MOST_LINKS:
        links = links[np.linspace(0, len(links) - 1, _MOST_LINKS).astype(int)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img">',
        f"<title>{_escaped(title)}</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for number, chosen in enumerate(_kinds(fabric, links)):
        faint = float(np.clip(14 / np.sqrt(len(chosen)), 0.25, 0.9))
        thin = float(np.clip(20 / np.sqrt(len(chosen)), 0.4, 1.4))
        path = _straight(fabric, place, chosen[layout.bend[chosen] == 0])
        path += _bent(fabric, place, chosen[layout.bend[chosen] != 0], layout.bend)
        colour, dashes = _LOOKS[min(number, len(_LOOKS) - 1)]
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        parts.append(
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{thin:.2g}"'
            f' stroke-opacity="{faint:.2g}"{dashed}/>'
        )
    side = float(np.clip(0.45 * _least_distance(place[drawn]), 1.5, 12.0))
    if layout.dots:
        ends = fit(np.asarray(layout.dots).reshape(-1, 2)).reshape(-1, 4)
        path = "".join(f"M{a:.0f} {b:.0f}L{c:.0f} {d:.0f}" for a, b, c, d in ends)
        parts.append(
            f'<path d="{path}" fill="none" stroke="#404040" stroke-width="1.2" stroke-dasharray="1.2 3"/>'
        )
    parts += _nodes(place[drawn & (fabric.kind == ACCELERATOR)], side, "#fff", "#0072B2", "round")
    parts += _nodes(place[drawn & (fabric.kind == SWITCH)], side, "#333", "#333", "square")
    parts += _nodes(place[drawn & (fabric.kind > SWITCH)], side, "#bbb", "#333", "square")
    parts.append("</svg>\n")
    return "\n".join(parts)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _stretch(fabric: Fabric) -> float:
    """How much a picture may be drawn out one way: tiers much, grids a little, circles not."""
    if (fabric.kind == SWITCH).any():
        return 1.8
    if fabric.grid is None:
        return 1.0
    return 4.0 if min(fabric.grid.shape) <= _NARROW and len(fabric.grid.dimensions) == 2 else 1.35


def _fitting(place: FloatArray, stretch: float) -> Callable[[FloatArray], FloatArray]:
    """From places to points on the picture, upside down as SVG counts."""
    low, high = np.nanmin(place, axis=0), np.nanmax(place, axis=0)
    spread = np.maximum(high - low, 1e-9)
    room = np.asarray([_WIDTH - 2 * _EDGE, _HEIGHT - 2 * _EDGE])
    scale = room / spread
    even = np.minimum(scale, stretch * scale.min())
    even = np.where(high - low < 1e-6, 0.0, even)

    def fit(points: FloatArray) -> FloatArray:
        moved = (points - (low + high) / 2) * even * (1, -1)
        return np.asarray(moved + np.asarray([_WIDTH / 2, _HEIGHT / 2]))

    return fit


def _kinds(fabric: Fabric, links: IntArray) -> list[IntArray]:
    """Links by bandwidth of a cable and tier, the most frequent first."""
    table = np.stack(
        [fabric.scale_out[links], np.round(fabric.bandwidth[links] / fabric.cables[links], -8)], axis=1
    )
    found, which, count = np.unique(table, axis=0, return_inverse=True, return_counts=True)
    return [links[which.ravel() == kind] for kind in np.argsort(-count[: len(found)], kind="stable")]


def _straight(fabric: Fabric, place: FloatArray, links: IntArray) -> str:
    """Lines as few and long trails, each a point shorter than its lines drawn one by one."""
    near: dict[int, list[int]] = {}
    for a, b in zip(fabric.source[links].tolist(), fabric.target[links].tolist(), strict=True):
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    gone: set[tuple[int, int]] = set()
    pieces = []
    for start in near:
        while True:
            trail, here = [start], start
            while True:
                while near[here] and (min(here, near[here][-1]), max(here, near[here][-1])) in gone:
                    near[here].pop()
                if not near[here]:
                    break
                onward = near[here].pop()
                gone.add((min(here, onward), max(here, onward)))
                here = onward
                trail.append(here)
            if len(trail) == 1:
                break
            pieces.append("M" + " ".join(f"{x:.0f} {y:.0f}" for x, y in place[trail]))
    return "".join(pieces)


def _bent(fabric: Fabric, place: FloatArray, links: IntArray, bend: FloatArray) -> str:
    """Arcs beside the straight line, by one control point; long ones stay near."""
    pieces = []
    for link in links.tolist():
        a, b = place[fabric.source[link]], place[fabric.target[link]]
        along = b - a
        length = max(float(np.hypot(*along)), 1e-9)
        normal = np.asarray([along[1], -along[0]]) / length
        x, y = (a + b) / 2 + normal * np.sign(bend[link]) * min(0.3 * length, 16.0)
        pieces.append(f"M{a[0]:.0f} {a[1]:.0f}Q{x:.0f} {y:.0f} {b[0]:.0f} {b[1]:.0f}")
    return "".join(pieces)


def _least_distance(place: FloatArray) -> float:
    """Distance between the two nearest nodes."""
    from scipy.spatial import cKDTree

    if len(place) < 2:
        return 20.0
    distance = cKDTree(place).query(place, k=2)[0][:, 1]
    return float(distance[distance > 0.5].min(initial=20.0))


def _nodes(place: FloatArray, side: float, fill: str, edge: str, cap: str) -> list[str]:
    """All nodes of a kind as two paths of dots: the edge, and the filling on top of it."""
    if not len(place):
        return []
    dots = "".join(f"M{x:.0f} {y:.0f}h.01" for x, y in place)
    line = f'fill="none" stroke-linecap="{cap}"'
    inner = max(side - 1.6, 0.6 * side)
    shown = [f'<path d="{dots}" {line} stroke="{edge}" stroke-width="{side:.3g}"/>']
    if fill != edge:
        shown.append(f'<path d="{dots}" {line} stroke="{fill}" stroke-width="{inner:.3g}"/>')
    return shown
