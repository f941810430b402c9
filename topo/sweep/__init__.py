"""Sweeps: many runs of one command or experiment, one flat record each, kept so that nothing is computed twice.

A :class:`~topo.sweep.design.Block` says which inputs to combine, a :class:`~topo.sweep.point.Point` is one
combination with its address, a :class:`~topo.sweep.store.Store` keeps a record of each point in a folder, and an
executor (:mod:`topo.sweep.local`, :mod:`topo.sweep.cluster`) computes those that are missing.
"""

from topo.sweep.design import Block
from topo.sweep.drive import Summary, sweep
from topo.sweep.point import Point
from topo.sweep.store import Store, read_records

__all__ = ["Block", "Point", "Store", "Summary", "read_records", "sweep"]
