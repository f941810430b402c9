"""The register of algorithms: which operations each offers, where it fits, and how it is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from topo.algorithms.parameters import Parameter, spelled, split_name, values_of
from topo.collective import Collective
from topo.errors import AlgorithmError, nearest
from topo.fabric import Fabric, Grid, IntArray
from topo.schedule import Schedule


@dataclass(frozen=True, eq=False)
class Site:
    """Where a collective runs: the group's place in the fabric.

    Parameters
    ----------
    fabric : Fabric
    ranks : int array [group]
        The fabric's rank of each rank of the group.
    """

    fabric: Fabric
    ranks: IntArray

    @property
    def whole(self) -> bool:
        """Whether the group is all accelerators in order."""
        return len(self.ranks) == self.fabric.ranks and bool((self.ranks == np.arange(len(self.ranks))).all())

    @property
    def grid(self) -> Grid | None:
        """Coordinates of the group, when it is the whole of a grid."""
        return self.fabric.grid if self.whole else None

    @property
    def domain(self) -> IntArray:
        """Scale-up domain of each rank of the group."""
        return self.fabric.domain[self.ranks]


Build = Callable[..., Schedule]
Fits = Callable[[Collective, Site], str]
ClosedForm = Callable[..., float | None]
Variants = Callable[[Collective, Site], Sequence[str]]


@dataclass(frozen=True)
class Algorithm:
    """One algorithm.

    Parameters
    ----------
    name : str
        With the parameters that were given, if any: ``pat:aggregation=4``.
    operations : tuple of str
    build : callable
        ``build(collective, site, chunks)`` returns the Schedule.
    fits : callable
        ``fits(collective, site)`` returns why it cannot run there, or an empty text.
    pipelines : bool
        Whether more than one chunk makes sense.
    scales : bool
        Whether the number of transfers stays near the number of ranks times a few steps; ``auto`` leaves the
        others out on large groups.
    summary : str
        One line for people.
    parameters : tuple of Parameter
        What may follow the name.
    closed_form : callable, optional
        ``closed_form(collective, site, chunks)`` returns the time in seconds where a formula holds exactly on
        data dependencies, None elsewhere.
    variants : callable, optional
        ``variants(collective, site)`` returns the spellings, beyond the plain name, worth trying there.
    costly : bool
        Whether building it searches for seconds; ``auto`` tries such an algorithm only on small groups, and only
        where the others leave something to gain.
    """

    name: str
    operations: tuple[str, ...]
    build: Build
    fits: Fits
    pipelines: bool
    scales: bool
    summary: str
    parameters: tuple[Parameter, ...] = ()
    closed_form: ClosedForm | None = None
    variants: Variants | None = None
    costly: bool = False


MOST_CHUNKS = 16_384
"""Pieces that data may be pipelined in."""

ALGORITHMS: dict[str, Algorithm] = {}


def anywhere(collective: Collective, site: Site) -> str:
    """Fits every group."""
    return ""


def algorithm(
    name: str,
    operations: tuple[str, ...],
    *,
    fits: Fits = anywhere,
    pipelines: bool = False,
    scales: bool = True,
    parameters: tuple[Parameter, ...] = (),
    closed_form: ClosedForm | None = None,
    variants: Variants | None = None,
    costly: bool = False,
) -> Callable[[Build], Build]:
    """Register the decorated builder; the first line of its docstring is the summary.

    The builder, and the closed form if there is one, get the parameters as keywords.
    """

    def register(build: Build) -> Build:
        summary = (build.__doc__ or name).strip().splitlines()[0]
        ALGORITHMS[name] = _configured(
            Algorithm(
                name,
                operations,
                build,
                fits,
                pipelines,
                scales,
                summary,
                parameters,
                closed_form,
                variants,
                costly,
            ),
            {},
        )
        return build

    return register


def _configured(entry: Algorithm, given: dict[str, str]) -> Algorithm:
    """The entry with its parameters bound."""
    if not entry.parameters and not given:
        return entry
    values = values_of(entry.name, entry.parameters, given)
    form = entry.closed_form
    return replace(
        entry,
        name=spelled(entry.name, given),
        build=partial(entry.build, **values),
        closed_form=None if form is None else partial(form, **values),
    )


def find(name: str) -> Algorithm:
    """The algorithm of that name; parameters may follow it, as in ``pat:aggregation=4``.

    A name that ends in ``.xml`` is the path of an MSCCL program.

    Raises
    ------
    AlgorithmError
        Unknown name, with the nearest ones; unknown parameter or senseless value, with those allowed; a file that
        is not MSCCL XML.
    ScheduleError
        The program in the file is wrong.
    """
    if name.lower().endswith(".xml"):
        from topo.algorithms.from_file import from_file  # which imports this module

        return from_file(name)
    base, given = split_name(name)
    if base not in ALGORITHMS:
        known = [*ALGORITHMS, "auto"]
        raise AlgorithmError(
            f"algorithm {base!r} is unknown", nearest(base, known) or f"one of {', '.join(sorted(known))}"
        )
    return _configured(ALGORITHMS[base], given) if given else ALGORITHMS[base]


def refusal(entry: Algorithm, collective: Collective, site: Site) -> str:
    """Why an algorithm cannot carry out a collective there; empty when it can."""
    if collective.operation not in entry.operations:
        return f"{entry.name} does not do {collective.operation}"
    return entry.fits(collective, site)


def fitting(collective: Collective, site: Site) -> list[Algorithm]:
    """All algorithms that can carry out a collective there, in order of registration."""
    return [entry for entry in ALGORITHMS.values() if not refusal(entry, collective, site)]


def with_variants(entry: Algorithm, collective: Collective, site: Site) -> list[Algorithm]:
    """A fitting algorithm and its spellings with parameters that are worth trying there."""
    others = entry.variants(collective, site) if entry.variants else ()
    return [entry, *(find(name) for name in others)]


def build(name: str, collective: Collective, site: Site, chunks: int = 1) -> Schedule:
    """Build the Schedule of a named algorithm.

    Raises
    ------
    AlgorithmError
        Unknown name, or the algorithm cannot run there; the message says why and which can.
    """
    entry = find(name)
    why = refusal(entry, collective, site)
    if why:
        able = ", ".join(a.name for a in fitting(collective, site)) or "none"
        raise AlgorithmError(
            f"{name} cannot run {collective.operation} on {site.fabric.name}: {why}", f"these can: {able}"
        )
    if chunks < 1:
        raise AlgorithmError(f"{chunks} chunks make no sense", "give 1 or more")
    if chunks > MOST_CHUNKS:
        raise AlgorithmError(
            f"{chunks} chunks are too many", f"give at most {MOST_CHUNKS}; more gain nothing"
        )
    if chunks > 1 and not entry.pipelines:
        able = ", ".join(a.name for a in fitting(collective, site) if a.pipelines) or "none here"
        raise AlgorithmError(f"{name} does not pipeline its data in chunks", f"these do: {able}")
    return entry.build(collective, site, chunks)
