"""Bounds as one record, fit for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from topo.bounds import all_bounds
from topo.collective import Collective
from topo.fabric import Fabric, FloatArray


def bound_record(
    collective: Collective,
    fabric: Fabric,
    ranks: Sequence[int] | None = None,
    *,
    exact: bool = True,
    shadow: int = 0,
) -> tuple[dict[str, Any], FloatArray | None]:
    """All bounds of a collective, and the links that bind.

    Parameters
    ----------
    collective : Collective
    fabric : Fabric
    ranks : sequence of int [collective.ranks], optional
        Ranks of the fabric that take part; by default the first ones.
    exact : bool
        Also seek the exact bound.
    shadow : int
        How many cables to name that matter most.

    Returns
    -------
    dict
        ``bound_s``, ``bound_kind``, ``certificate`` of the tightest bound; ``exact``: whether an exact bound
        was found, and ``why`` not; ``data`` behind the certificate; ``bounds``: the best of each kind;
        ``shadow_prices``, where asked for.
    float array [links] or None
        Which links the tightest bound rests on.

    Raises
    ------
    BoundError
        The group does not fit the fabric, or the fabric splits it.
    """
    group = None if ranks is None else np.asarray(ranks, dtype=np.int64)
    found = all_bounds(collective, fabric, group, exact)
    best = found[0]
    data = dict(best.data)
    sought = exact and collective.operation != "barrier"
    record: dict[str, Any] = {
        "ranks": collective.ranks,
        "bytes": collective.bytes,
        "bound_s": best.seconds,
        "bound_kind": best.kind,
        "certificate": best.certificate,
        "exact": bool(data.pop("exact", False)) if sought else None,
    }
    if "why" in data:
        record["why"] = data.pop("why")
    record["data"] = data
    kinds: dict[str, dict[str, Any]] = {}
    for bound in found:
        entry = {"kind": bound.kind, "bound_s": bound.seconds, "certificate": bound.certificate}
        kinds.setdefault(bound.kind, entry)
    record["bounds"] = list(kinds.values())
    if shadow:
        from topo.bounds.shadow import shadow_prices

        prices = shadow_prices(collective, fabric, group, exact)[:shadow]
        record["shadow_prices"] = [
            {
                "cable": f"{price.ends[0]}-{price.ends[1]}",
                "alike": price.alike,
                "binds": price.binds,
                "doubled_s": price.doubled_s,
                # JSON knows no infinity: null where the fabric falls apart.
                "cut_s": price.cut_s if price.cut_s < math.inf else None,
            }
            for price in prices
        ]
    return record, best.lengths
