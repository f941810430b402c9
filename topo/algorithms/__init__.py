"""Algorithms: functions from a Collective and its site on a Fabric to a Schedule, one family a file."""

from topo.algorithms import (
    bruck,
    bucket,
    chain,
    direct,
    dissemination,
    double_tree,
    doubling,
    hierarchical,
    nvls,
    pat,
    ring,
    scatter_allgather,
    swing,
    trees,
    twisted,
)
from topo.algorithms.estimate import estimate
from topo.algorithms.registry import (
    ALGORITHMS,
    Algorithm,
    Site,
    algorithm,
    build,
    find,
    fitting,
    refusal,
    with_variants,
)

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "Site",
    "algorithm",
    "build",
    "estimate",
    "find",
    "fitting",
    "refusal",
    "with_variants",
]
FAMILIES = (
    ring,
    bucket,
    hierarchical,
    nvls,
    direct,
    doubling,
    chain,
    swing,
    bruck,
    pat,
    trees,
    twisted,
    double_tree,
    scatter_allgather,
    dissemination,
)
