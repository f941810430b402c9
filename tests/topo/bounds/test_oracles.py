"""The reference cases of bounds, each to its tolerance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.topo.bounds.graphs import oracle_graph
from topo.bounds import all_bounds, lower_bound
from topo.collective import Collective
from topo.fabric import Fabric

CASES = [
    case
    for case in json.loads((Path(__file__).parents[2] / "data" / "collectives.json").read_text())["cases"]
    if case["group"] in ("bounds", "a2a_bound")
]
KINDS = {"all_reduce": "all-reduce-lp", "all_gather": "exact-cut", "all_to_all": "all-to-all-lp"}


def test_there_are_cases() -> None:
    assert len(CASES) == 19


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["id"]))
def test_case(case: dict[str, Any]) -> None:
    fabric = Fabric.from_networkx(oracle_graph(case))
    collective = Collective(case["collective"].replace("_", "-"), fabric.ranks, case["message_bytes"])
    assert fabric.in_network == bool(case["topology"].get("switch_multicast"))
    bound = lower_bound(collective, fabric, exact=True)
    assert bound.seconds == pytest.approx(case["expected_seconds"], rel=case["tolerance_rel"])
    assert bound.kind == KINDS[case["collective"]]
    assert bound.data["exact"] is True
    # No elementary bound claims more than the optimum.
    for one in all_bounds(collective, fabric):
        assert one.seconds <= case["expected_seconds"] * (1 + case["tolerance_rel"])
