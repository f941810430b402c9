"""Which fabric for this job, and why: collective communication on accelerator fabrics, simulated and bounded.

Everything public is here and is imported only when it is asked for, so that ``import topo`` costs nothing.

>>> import topo
>>> result = topo.simulate("torus:4x4x4", "all-reduce", "64MiB")
>>> result.time_s >= result.bound_s
True
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, SupportsFloat

if TYPE_CHECKING:
    from topo.collective import Collective
    from topo.errors import TopoError
    from topo.fabric import Fabric
    from topo.flows import simulate_flows
    from topo.network.network import Network
    from topo.results import Result
    from topo.schedule import Schedule
    from topo.system import System
    from topo.training.plan import Plan
    from topo.training.step import StepResult
    from topologies import load

__version__ = "0.1.0"
KEPT = 4
"""Systems asked for by name that are kept for the next time."""
__all__ = [
    "Collective",
    "Fabric",
    "Network",
    "Result",
    "Schedule",
    "System",
    "TopoError",
    "__version__",
    "load",
    "schedule",
    "simulate",
    "simulate_flows",
    "step",
]

_HOME = {
    "Collective": "topo.collective",
    "Fabric": "topo.fabric",
    "Network": "topo.network.network",
    "Result": "topo.results",
    "Schedule": "topo.schedule",
    "System": "topo.system",
    "TopoError": "topo.errors",
    "load": "topologies",
    "simulate_flows": "topo.flows",
}


def simulate(
    system: str | System | Fabric,
    operation: str,
    size: str | SupportsFloat = 0,
    *,
    algorithm: str = "auto",
    ccl: str | None = None,
    ranks: int | Sequence[int] | None = None,
    chunks: int | None = None,
    barrier: bool = False,
    switching: str = "cut-through",
    routing: str = "auto",
    seed: int = 0,
    engine: str = "fluid",
    certify: bool = False,
    root: int = 0,
    peer: int = -1,
    exact: bool = False,
    packet: str | SupportsFloat | None = None,
    buffers: int | None = None,
) -> Result:
    """Simulate one collective on one system.

    Parameters
    ----------
    system : str, System or Fabric
        A name as the command line takes it, or what :func:`load` or :meth:`Fabric.from_networkx` returned.
    operation : str
        ``all-reduce all-gather reduce-scatter all-to-all broadcast reduce send-recv barrier``.
    size : text or number
        nccl-tests' size: bytes, or text such as ``64MiB``.  A barrier needs none.
    algorithm : str
        A registered name, or ``auto``: simulate those that fit and take the fastest.
    ccl : str, optional
        Communication library, or its file; the system's own by default (``ideal`` for bare topologies).
    ranks : int or sequence of int, optional
        The first so many accelerators, or those named; all by default.
    chunks : int, optional
        Pieces to pipeline the data in; the best number by default.
    barrier : bool
        Lock-step steps instead of data dependencies.
    switching : str
        ``cut-through`` or ``store-and-forward``.
    routing : str
        ``auto`` (the fabric's own), ``shortest``, ``dimension-order`` or ``ecmp``.
    seed : int
        For every random choice, as ECMP's.
    engine : str
        ``fluid``, or ``packet`` for small cases packet by packet.
    certify : bool
        Prove the schedule, and check the max-min certificate after every change of rates.
    root : int
        Root of a broadcast or reduce, sender of a send-recv.
    peer : int
        Receiver of a send-recv; -1 means the last rank.
    exact : bool
        Give the exact bound where the system is small or regular enough for one, else the best elementary bound.
    packet : text or number, optional
        Bytes of a packet, for the packet engine; 4 KiB by default.
    buffers : int, optional
        Packets of room in each virtual channel, for the packet engine; plenty by default.

    Raises
    ------
    TopoError
        Anything that cannot be, said in one line.

    Examples
    --------
    >>> round(simulate("ring:8,bandwidth=10GB/s,latency=1us", "send-recv", "1MB", peer=1).time_s * 1e6)
    101
    """
    from topo.choose import Options
    from topo.simulate import simulate as run
    from topo.units import parse_bytes

    found = _system(system)
    group, collective = _collective(found, operation, size, ranks, root, peer)
    return run(
        found,
        collective,
        algorithm=algorithm,
        ccl=ccl,
        engine=engine,
        ranks=group,
        chunks=chunks,
        options=Options(barrier, switching, routing, seed, certify),
        exact=exact,
        packet=None if packet is None else parse_bytes(packet),
        buffers=buffers,
    )


def schedule(
    system: str | System | Fabric,
    operation: str,
    size: str | SupportsFloat = 0,
    *,
    algorithm: str,
    ranks: int | Sequence[int] | None = None,
    chunks: int = 1,
    root: int = 0,
    peer: int = -1,
) -> Schedule:
    """The transfers by which an algorithm carries out a collective; parameters as in :func:`simulate`.

    Raises
    ------
    TopoError
        Anything that cannot be, said in one line.

    Examples
    --------
    >>> plan = schedule("ring:8", "all-reduce", "1MiB", algorithm="ring")
    >>> plan.verify()
    >>> plan.transfers
    112
    """
    from topo.algorithms import Site, build

    found = _system(system)
    group, collective = _collective(found, operation, size, ranks, root, peer)
    return build(algorithm, collective, Site(found.fabric, group), chunks)


def step(
    model: str,
    system: str | System,
    plan: Plan | None = None,
    *,
    ccl: str | None = None,
    contention: str = "full",
    placement: str | None = None,
    timeline: bool = False,
    ideal_kernels: bool = False,
    check_memory: bool = True,
    input_s: float = 0.0,
    **choices: Any,
) -> StepResult:
    """Simulate one training step of a model on a system.

    Parameters
    ----------
    model : str
        A name such as ``llama3-70b``, a Hugging Face ``config.json``, or ``layers=..,hidden=..,heads=..``.
    system : str or System
    plan : Plan, optional
        The whole plan; or give some of its fields as ``choices``, and the rest is chosen so that it fits.
    ccl : str, optional
        Communication library; the system's own by default.
    contention : str
        ``full``, or ``isolated``: every collective takes what it takes with nothing else running.
    placement : str, optional
        Axes from the inside out, as in ``tp,cp,dp,pp`` or ``tp=x.y,dp=z``.
    timeline : bool
        Keep what every stream did, in ``spans`` of the result.
    ideal_kernels : bool
        Kernels at the chip's peak.
    check_memory : bool
        Refuse a plan that does not fit.
    input_s : float
        Seconds that a step waits for its data.

    Raises
    ------
    TopoError
        Anything that cannot be, said in one line.

    Examples
    --------
    >>> result = step("llama3-8b", "dgx-h100", zero=3, global_batch=16)
    >>> result.step_s >= result.bound_s
    True
    """
    from topo.errors import TopoError
    from topo.training.default_plan import default_plan
    from topo.training.named_models import load_model
    from topo.training.step import step as run

    found, read = _system(system), load_model(model)
    if plan is not None and choices:
        raise TopoError(f"a plan is given, and {', '.join(choices)} beside it", "give one of them")
    return run(
        read,
        found,
        default_plan(read, found, choices, check_memory) if plan is None else plan,
        ccl=ccl,
        contention=contention,
        placement=placement,
        timeline=timeline,
        ideal_kernels=ideal_kernels,
        check_memory=check_memory,
        input_s=input_s,
    )


def _system(system: str | System | Fabric) -> System:
    from topo.errors import CatalogueError
    from topo.fabric import Fabric
    from topo.system import System

    if isinstance(system, str):
        return _loaded(system, _stamps(system))
    if isinstance(system, Fabric):
        return System(name=system.name, fabric=system)
    if isinstance(system, System):
        return system
    raise CatalogueError(
        f"a {type(system).__name__} is no system",
        "give a name such as 'torus:4x4x4', a System, or a Fabric (of a networkx graph: Fabric.from_networkx)",
    )


@lru_cache(maxsize=KEPT)
def _loaded(name: str, stamps: tuple[object, ...]) -> System:
    """A system asked for by name again has what was worked out about its fabric: routes, trees, programs."""
    from topologies import load

    return load(name)


def _stamps(name: str) -> tuple[object, ...]:
    """What tells whether the files that a name holds are still the same: where they are, when changed, how long."""
    if "." not in name:
        return ()
    found: list[object] = []
    for part in re.split(r"[,*=();]|:(?![/\\])", name):
        with suppress(OSError, ValueError):
            status = os.stat(part.strip())
            found.append((os.path.abspath(part.strip()), status.st_mtime_ns, status.st_size))
    return tuple(found)


def _collective(
    system: System,
    operation: str,
    size: str | SupportsFloat,
    ranks: int | Sequence[int] | None,
    root: int,
    peer: int,
) -> tuple[Any, Collective]:
    from topo.collective import Collective
    from topo.simulate import group_of
    from topo.units import parse_bytes

    group = group_of(system.fabric, ranks)
    # Zero passes here and is judged by the Collective, which knows the operations without data.
    return group, Collective(operation, len(group), parse_bytes(size, allow_zero=True), root, peer)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'topo' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """This package: importing the module ``topo.simulate`` leaves the function of that name in its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
