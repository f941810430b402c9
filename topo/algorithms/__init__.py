"""Algorithms: functions from a Collective and its site on a Fabric to a Schedule, one family a file."""

from topo.algorithms import bucket, chain, direct, doubling, hierarchical, nvls, ring
from topo.algorithms.registry import ALGORITHMS, Algorithm, Site, algorithm, build, find, fitting, refusal

__all__ = ["ALGORITHMS", "Algorithm", "Site", "algorithm", "build", "find", "fitting", "refusal"]
FAMILIES = (ring, bucket, hierarchical, nvls, direct, doubling, chain)
