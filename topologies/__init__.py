"""Fabrics by name: builders of bare topologies, and the catalogue of machines.

>>> from topologies import load
>>> load("torus:4x4x4").fabric.links
384
"""

from topologies.names import load, names

__all__ = ["load", "names"]
