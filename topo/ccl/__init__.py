"""Communication libraries: which algorithm a call takes, and what its launch, steps and protocol cost.

A library acts by causes only: links at the share that payload reaches, time per step, bytes on the wire, idle time
between messages, a launch.  The time of a call comes from simulating the schedule that these act on.
"""

from topo.ccl.call import Acted, Call, Terms, acted, reached
from topo.ccl.choose import offered
from topo.ccl.files import load, meanings, names, technologies, with_value
from topo.ccl.model import CCL, Constant, LinkClass
from topo.ccl.place import Links, Place, adding_between, links_of, place_of
from topo.ccl.scale import Sized, sized
from topo.ccl.trust import guessed

__all__ = [
    "CCL",
    "Acted",
    "Call",
    "Constant",
    "LinkClass",
    "Links",
    "Place",
    "Sized",
    "Terms",
    "acted",
    "adding_between",
    "guessed",
    "links_of",
    "load",
    "meanings",
    "names",
    "offered",
    "place_of",
    "reached",
    "sized",
    "technologies",
    "with_value",
]
