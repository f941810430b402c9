"""Plain records of what a machine is: its chip, its links, its price, and where each number comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from topo.errors import CatalogueError, nearest
from topo.fabric import Fabric

CONFIDENCES = ("datasheet", "paper", "analyst", "estimate", "memory")
"""From a vendor's own number down to one recalled and not verified against a document."""


@dataclass(frozen=True)
class Source:
    """One number of a system and where it comes from.

    Parameters
    ----------
    key : str
        Path in the system's file, such as ``scale_up.link_bandwidth``.
    value : float, tuple of float, bool or str
        In SI units; a tuple where there is one per dimension, or a lowest and a highest.
    unit : str
        The SI unit: ``B/s``, ``s``, ``FLOP/s``, ``B``, ``W``, ``USD``, ``Hz`` or empty for a count.
    source : str
        The document.
    confidence : str
        One of :data:`CONFIDENCES`.
    note : str
        How the number follows from the document, or what contradicts it.
    text : str
        The value as written in the file.
    """

    key: str
    value: float | tuple[float, ...] | bool | str
    unit: str
    source: str
    confidence: str
    note: str = ""
    text: str = ""


@dataclass(frozen=True)
class Chip:
    """What stands on one accelerator of the fabric.

    Parameters
    ----------
    name : str
        What people call it.
    peak_flops : mapping of str to float
        Dense peak FLOP/s by precision (``fp32 bf16 fp8 fp4 int8``); sparsity is not counted.
    memory_bytes : float
        The memory a model lives in (HBM; on-wafer SRAM of a wafer).
    memory_bandwidth : float
        B/s.
    power_w : float or None
        Watts of the chip alone; None where nobody published it.
    """

    name: str
    peak_flops: Mapping[str, float]
    memory_bytes: float
    memory_bandwidth: float
    power_w: float | None = None

    def flops(self, precision: str) -> float:
        """Dense peak FLOP/s at ``precision``.

        Raises
        ------
        CatalogueError
            The chip has no figure for that precision.
        """
        if precision not in self.peak_flops:
            raise CatalogueError(
                f"{self.name} has no peak at {precision}",
                nearest(precision, self.peak_flops) or f"it has {', '.join(self.peak_flops)}",
            )
        return self.peak_flops[precision]


@dataclass(frozen=True)
class ScaleUp:
    """The links inside one scale-up domain, as the vendor and the catalogue count them.

    Parameters
    ----------
    technology : str
        Such as ``NVLink 5``.
    links : int
        Links of one accelerator.
    link_bandwidth : tuple of float
        B/s of one link in one direction; one value, or one per dimension of a grid.
    link_latency : float
        Seconds over one link.  Through one switch data crosses two links.
    accelerator_bandwidth : float
        B/s that one accelerator with all its links can send (and, at the same time, receive).
    domain_size : int
        Accelerators of a full domain.
    marketing_bandwidth : float or None
        B/s per accelerator as advertised.
    convention : str
        What the advertised figure counts: ``both directions``, ``per direction``, ``with scale-out`` (both
        directions, scale-out ports included), ``conflicting``; empty where nothing is advertised.
    effective_share : float or None
        Share of a link that the vendor's library or a measurement reaches.
    multicast, reduce : bool
        Whether the switches copy, and add, data that passes them.
    """

    technology: str
    links: int
    link_bandwidth: tuple[float, ...]
    link_latency: float
    accelerator_bandwidth: float
    domain_size: int
    marketing_bandwidth: float | None = None
    convention: str = ""
    effective_share: float | None = None
    multicast: bool = False
    reduce: bool = False


@dataclass(frozen=True)
class ScaleOut:
    """How domains are joined.

    Parameters
    ----------
    technology : str
        Such as ``InfiniBand NDR 400G``.
    network : str
        The network's name, as ``scale_out=`` takes it.
    nic_bandwidth : float
        B/s per accelerator and direction.
    nic_latency : float
        Seconds from an accelerator over its NIC to the first switch.
    switch_latency : float
        Seconds from switch to switch.
    rails : int or None
        Rails of a rail network; None for one per accelerator of a domain.
    """

    technology: str
    network: str
    nic_bandwidth: float
    nic_latency: float
    switch_latency: float
    rails: int | None = None


@dataclass(frozen=True)
class Wafer:
    """The cores behind an accelerator that is a block of a wafer.

    Parameters
    ----------
    core_grid : tuple of int
        Rows and columns of cores of the whole wafer.
    blocks : tuple of int
        Rows and columns of accelerators into which the cores are grouped.
    core_link_bandwidth : float
        B/s of one core's link to one neighbour, one direction.
    clock_hz : float
        Fabric clock; a core link takes one cycle.
    ramp_cycles : float
        Cycles between a core and its router (T_R of Luczynski et al., arXiv:2404.15888).
    """

    core_grid: tuple[int, ...]
    blocks: tuple[int, ...]
    core_link_bandwidth: float
    clock_hz: float
    ramp_cycles: float


@dataclass(frozen=True)
class OutsideMemory:
    """A memory outside the accelerators of a scale-up domain, from which weights can be streamed.

    Parameters
    ----------
    technology : str
        Such as ``MemoryX behind SwarmX``.
    bandwidth : float
        B/s between it and one domain, per direction.
    shared : bool
        One memory serves all domains: what it sends is copied, and what it takes is added, on the way.
        Else every domain has its own.
    memory_bytes : float or None
        Of one domain's; None where it is built as large as is asked for.
    """

    technology: str
    bandwidth: float
    shared: bool
    memory_bytes: float | None = None


@dataclass(frozen=True)
class System:
    """A fabric with what stands on it.

    Parameters
    ----------
    name : str
        The name it was asked for by.
    fabric : Fabric
        Accelerators, switches, NICs and links.
    chip : Chip or None
        What each accelerator is; None for a bare topology.
    library : str
        Communication library by which its collectives run, one of :func:`topo.ccl.names`.
    power_w : float or None
        Watts of all of it.
    price_usd : float or None
        US dollars of all of it, the middle of ``price_range_usd``.
    price_range_usd : tuple of float or None
        Lowest and highest price found.
    rent_usd_per_hour : float or None
        US dollars an hour on demand, all of it, the middle of ``rent_range_usd_per_hour``.
    rent_range_usd_per_hour : tuple of float or None
        Lowest and highest rent found.
    sources : tuple of Source
        Every number of the catalogue file.
    notes : tuple of str
        Conflicts, choices and assumptions that a reader of results should know.
    title, vendor, status : str
        For tables.
    scale_up, scale_out, wafer : records or None
        What the file says about links; None for a bare topology.
    """

    name: str
    fabric: Fabric
    chip: Chip | None = None
    library: str = "ideal"
    power_w: float | None = None
    price_usd: float | None = None
    sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = ()
    price_range_usd: tuple[float, float] | None = None
    rent_usd_per_hour: float | None = None
    title: str = ""
    vendor: str = ""
    status: str = ""
    scale_up: ScaleUp | None = None
    scale_out: ScaleOut | None = None
    wafer: Wafer | None = None
    extra: Mapping[str, float] = field(default_factory=dict)
    """Other sourced figures of the file, by key, in SI units."""
    rent_range_usd_per_hour: tuple[float, float] | None = None
    outside_memory: OutsideMemory | None = None
    """Where weights can be streamed from, if anywhere."""

    @property
    def accelerators(self) -> int:
        """Accelerators of the whole system."""
        return len(self.fabric.accelerators)

    @property
    def weakest_confidence(self) -> str:
        """The least trustworthy confidence among the sources; empty for a bare topology."""
        found = {source.confidence for source in self.sources}
        return next((c for c in reversed(CONFIDENCES) if c in found), "")
