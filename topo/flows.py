"""Raw traffic: flows on named links, shared max-min fairly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from topo.errors import NetworkError, nearest
from topo.network.program import flow_program
from topo.network.solver import run_alone


def simulate_flows(
    links: Mapping[str, float], flows: Sequence[Mapping[str, Any]], *, certify: bool = False
) -> dict[Any, float]:
    """Finish times of flows that share links max-min fairly.

    Parameters
    ----------
    links : mapping
        Link name to bytes/s.
    flows : sequence of mappings
        Each with ``id``, ``size`` (bytes), ``start`` (seconds, 0 by default) and ``path`` (link names).  A flow
        holds all links of its path at one rate; a link named twice carries it twice.
    certify : bool
        Check the max-min certificate after every change of rates.

    Returns
    -------
    dict
        Seconds at which each flow has drained, by its id.

    Raises
    ------
    NetworkError
        A link without capacity, an unknown link, an id used twice, a size or start that is no number.

    Examples
    --------
    >>> simulate_flows({"a": 10e9, "b": 4e9}, [{"id": "x", "size": 1e9, "path": ["a", "b"]}])
    {'x': 0.25}
    """
    names = list(links)
    index = {name: i for i, name in enumerate(names)}
    capacity = np.asarray(
        [_number(links[name], f"link {name!r}: bandwidth", positive=True) for name in names]
    )
    seen: set[Any] = set()
    size, start, path = [], [], []
    for place, flow in enumerate(flows):
        if not isinstance(flow, Mapping):
            raise NetworkError(
                f"flow number {place} is {flow!r}", "give a mapping with id, size, start and path"
            )
        name = flow.get("id")
        where = f"flow {name!r}" if name is not None else f"flow number {place}"
        if name is None:
            raise NetworkError(f"{where} has no id", "give every flow an id of its own")
        if name in seen:
            raise NetworkError(f"{where} is there twice", "give every flow an id of its own")
        seen.add(name)
        unknown = set(flow) - {"id", "size", "start", "path"}
        if unknown:
            raise NetworkError(
                f"{where}: key {sorted(unknown)[0]!r} is unknown", "use id, size, start and path"
            )
        if "size" not in flow or not flow.get("path"):
            raise NetworkError(f"{where} lacks a {'size' if 'size' not in flow else 'path'}")
        size.append(_number(flow["size"], f"{where}: size", positive=False))
        start.append(_number(flow.get("start", 0.0), f"{where}: start", positive=False))
        if isinstance(flow["path"], str) or not isinstance(flow["path"], Sequence):
            raise NetworkError(f"{where}: path {flow['path']!r} is no list", "give a list of link names")
        for link in flow["path"]:
            if link not in index:
                raise NetworkError(
                    f"{where}: link {link!r} is unknown", nearest(str(link), [str(n) for n in names])
                )
        path.append([index[link] for link in flow["path"]])
    if not path:
        return {}
    pointer = np.cumsum([0] + [len(links_of) for links_of in path])
    program = flow_program(
        capacity, np.asarray(size), np.asarray(start), pointer, np.concatenate([np.asarray(p) for p in path])
    )
    job, _ = run_alone(program, certify=certify)
    return {flow["id"]: float(job.row_finish[i]) for i, flow in enumerate(flows)}


def _number(value: Any, what: str, *, positive: bool) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise NetworkError(f"{what} {value!r} is not a number") from None
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        raise NetworkError(
            f"{what} {value!r} is not a {'positive ' if positive else ''}number", "give bytes and seconds"
        )
    return number
