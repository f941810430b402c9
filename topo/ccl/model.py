"""Plain records of a communication library: its constants by link technology, and how it may act."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from topo.errors import CatalogueError, nearest

PROTOCOLS = ("LL", "LL128", "Simple")
"""NCCL's protocols: 8-byte lines with flags, 128-byte lines, plain data with a flag behind."""


@dataclass(frozen=True)
class Constant:
    """One number of a library or of a link technology.

    Parameters
    ----------
    key : str
        Its name; :data:`topo.ccl.files.MEANINGS` says what it means.
    value : float
        In SI units.
    unit : str
        ``s``, ``B/s`` or empty for a share.
    source : str
        The document, or how it was fitted.
    confidence : str
        As in :data:`topo.system.CONFIDENCES`, or ``fit``.
    standard_error : float or None
        Of a fitted value, in the same unit.
    note : str
    """

    key: str
    value: float
    unit: str
    source: str
    confidence: str
    standard_error: float | None = None
    note: str = ""


@dataclass(frozen=True)
class LinkClass:
    """A link technology as a communication library meets it.

    Parameters
    ----------
    name, title : str
    matches : tuple of str
        Words of a system's own description of its links that name this technology.
    level : str
        ``scale-up`` or ``scale-out``.
    rates : tuple of float
        Scale-out only: bytes/s per accelerator and direction at which it is sold; none means any.
    generation : str
        Row of the library's tables for accelerators with these links; empty where there is none.
    tuner_share : float
        Share of the line rate that the library's own cost model counts on.
    channels, nvls_channels : int
        Thread blocks that a call may use: for rings and trees; for in-switch calls.
    ll128 : bool
        Whether lines of 128 bytes arrive whole and in order, which protocol LL128 needs.
    adds : bool
        Scale-out only: whether its switches can add (SHARP).
    plugin_latency : float
        Scale-out only: seconds of a message that the network's driver tells the library's rule of choice.
    constants : mapping of str to Constant
    """

    name: str
    title: str
    matches: tuple[str, ...]
    level: str
    rates: tuple[float, ...] = ()
    generation: str = ""
    tuner_share: float = 1.0
    channels: int = 1
    nvls_channels: int = 0
    ll128: bool = True
    adds: bool = False
    plugin_latency: float = 0.0
    constants: Mapping[str, Constant] = field(default_factory=dict)

    def get(self, key: str, otherwise: float = 0.0) -> float:
        """The value of a constant, or what to take where the technology has none."""
        found = self.constants.get(key)
        return otherwise if found is None else found.value

    def has(self, key: str) -> bool:
        """Whether the technology has that constant."""
        return key in self.constants


@dataclass(frozen=True)
class CCL:
    """A communication library.

    Parameters
    ----------
    name, title : str
    family : str
        Which rules choose algorithm and protocol: ``ideal``, ``nccl`` or ``generic``.
    constants : mapping of str to Constant
        Those that do not depend on the links.
    technologies : mapping of str to LinkClass
        All that it knows, by name.
    tuner : mapping
        Tables of its rule of choice.
    collnet : bool
        Whether it lets the switches between domains add, where they can (NCCL_COLLNET_ENABLE).
    """

    name: str
    title: str
    family: str
    constants: Mapping[str, Constant] = field(default_factory=dict)
    technologies: Mapping[str, LinkClass] = field(default_factory=dict)
    tuner: Mapping[str, object] = field(default_factory=dict)
    collnet: bool = False

    @property
    def ideal(self) -> bool:
        """Whether it adds nothing to the fabric."""
        return self.family == "ideal"

    def get(self, key: str, otherwise: float = 0.0) -> float:
        """The value of a constant of the library itself."""
        found = self.constants.get(key)
        return otherwise if found is None else found.value

    def technology(self, words: str, level: str, rate: float = 0.0) -> LinkClass:
        """The technology that a system's description names first, and most exactly; ``generic`` where none is known.

        Parameters
        ----------
        words : str
            Such as ``NVLink 4, four NVSwitch gen 3``.
        level : str
            ``scale-up`` or ``scale-out``.
        rate : float
            Scale-out only: bytes/s per accelerator.  Where the named technology is not sold at that rate (the
            user changed the NIC), the one that is takes its place.
        """
        level_of = [entry for entry in self.technologies.values() if entry.level == level]
        named = [(words.find(word), entry) for entry in level_of for word in entry.matches if word in words]
        found = min(named, key=lambda pair: pair[0])[1] if named else None
        if level == "scale-out" and rate > 0 and (found is None or not _sold_at(found, rate)):
            found = next((entry for entry in level_of if entry.rates and _sold_at(entry, rate)), found)
        return found or self.technologies[f"generic-{level}"]

    def with_constants(self, technology: str, values: Mapping[str, Constant]) -> CCL:
        """The same library with other constants of one technology.

        Raises
        ------
        CatalogueError
            The library knows no such technology.
        """
        if technology not in self.technologies:
            raise CatalogueError(
                f"{self.name} knows no link technology {technology!r}", nearest(technology, self.technologies)
            )
        entry = self.technologies[technology]
        changed = replace(entry, constants={**entry.constants, **values})
        return replace(self, technologies={**self.technologies, technology: changed})


def _sold_at(entry: LinkClass, rate: float) -> bool:
    return not entry.rates or any(abs(rate - one) <= 0.02 * one for one in entry.rates)
