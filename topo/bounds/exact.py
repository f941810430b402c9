"""The exact bound of each operation, where the fabric is small or regular enough for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from topo.bounds.all_reduce_lp import all_reduce_bound
from topo.bounds.all_to_all_lp import all_to_all_bound
from topo.bounds.bound import Bound
from topo.bounds.elementary import elementary_bounds, tightest_first
from topo.bounds.exact_cuts import exact_cut_bound
from topo.bounds.group import Group
from topo.collective import Collective
from topo.errors import BoundError

_SIMPLE = ("ports", "cut", "partition", "exact-cut", "capacity", "latency")
_DECISIVE = {"all-reduce": "all-reduce-lp", "all-to-all": "all-to-all-lp"}
_SAME = 1e-9

_Attempt = Callable[[Collective, Group], Bound]


def bounds_with_exact(collective: Collective, group: Group) -> list[Bound]:
    """Exact and elementary bounds, tightest first; among equals the exact one.

    The first bound's data say under ``exact`` whether an exact bound was found, and under ``why`` what stood in
    the way.  A linear program whose value a simpler bound also gives takes over that bound's certificate, which
    is easier to check; its own numbers are then under ``program``.
    """
    simple = elementary_bounds(collective, group)
    found: list[Bound] = []
    problems: list[str] = []
    if collective.operation == "barrier":
        return simple
    for attempt in _attempts(collective):
        try:
            found.append(attempt(collective, group))
        except BoundError as problem:
            problems.append(str(problem))
    best = tightest_first([*found, *simple], _SAME)
    top = best[0]
    simpler = [one for one in best[1:] if one.kind in _SIMPLE and one.seconds >= top.seconds * (1 - _SAME)]
    if top.kind not in _SIMPLE and simpler:
        top = replace(
            top,
            certificate=f"{simpler[0].certificate}; the linear program proves no more",
            data=simpler[0].data | {"simpler": simpler[0].kind, "program": top.data},
            lengths=simpler[0].lengths,
        )
    # Of an all-reduce the best of all cuts is a bound like others, and only the program is exact.
    decisive = [bound for bound in found if bound.kind == _DECISIVE.get(collective.operation, "exact-cut")]
    notes: dict[str, Any] = {"exact": any(bound.data["exact"] for bound in decisive)}
    reasons = [*problems, *(bound.data["why"] for bound in best[:1] if "why" in bound.data)]
    if reasons:
        notes["why"] = "; ".join(reasons)
    return [replace(top, data=top.data | notes), *best[1:]]


def _attempts(collective: Collective) -> list[_Attempt]:
    if collective.operation == "all-to-all":
        return [all_to_all_bound]
    if collective.operation == "all-reduce":
        return [all_reduce_bound, exact_cut_bound]
    return [exact_cut_bound]
