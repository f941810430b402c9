"""Training across sites: data parallelism over long fibres, and local steps between synchronisations.

DiLoCo (arXiv:2311.08105): every site takes H steps by itself, then the sites reduce the change of their weights.
Streaming DiLoCo (arXiv:2501.18512) splits the weights into fragments that are reduced in turn, each hidden behind some
of the next steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from topo.errors import TopoError


class SitesError(TopoError):
    """Sites that cannot train together."""


@dataclass(frozen=True)
class SitesStep:
    """What training across sites comes to.

    Parameters
    ----------
    inner_s : float
        Seconds of a step within a site.
    step_s : float
        Seconds of a step on average, synchronisation included.
    exposed_s : float
        What synchronisation adds to a step, on average.
    sync_bytes : float
        Bytes that a site sends in all synchronisations of a round.
    bytes_per_step : float
        The same on average per step.
    peak_bandwidth : float
        B/s that a site needs so that a fragment is done within its window.
    rounds_s : float
        Seconds from one synchronisation of all weights to the next.
    slowdown : float
        ``step_s / inner_s``.
    """

    inner_s: float
    step_s: float
    exposed_s: float
    sync_bytes: float
    bytes_per_step: float
    peak_bandwidth: float
    rounds_s: float
    slowdown: float


def reduce_seconds(size: float, sites: int, bandwidth: float, latency: float) -> float:
    """Seconds of an all-reduce of ``size`` bytes between sites, the better of two ways.

    A ring: ``2 (R - 1) (size / (R B) + latency)``.  Two shots, each site to all others and back:
    ``2 ((R - 1) size / (R B) + latency)``, which long ways favour; with one exit per site it never loses.
    """
    if sites < 2:
        return 0.0
    share = (sites - 1) / sites * size / bandwidth
    ring = 2 * (share + (sites - 1) * latency)
    two_shots = 2 * (share + latency)
    return min(ring, two_shots)


def local_steps(
    parameters: float,
    inner_s: float,
    *,
    sites: int,
    inner_steps: int = 1,
    bandwidth: float,
    latency: float,
    value_bytes: float = 2.0,
    fragments: int = 1,
    overlap_steps: int = 0,
) -> SitesStep:
    """Steps within sites, and what goes between them.

    Parameters
    ----------
    parameters : float
        Of the model.
    inner_s : float
        Seconds of a step within a site.
    sites : int
    inner_steps : int
        Steps between two synchronisations of the same weights (H); 1 is plain data parallelism across sites.
    bandwidth : float
        B/s that one site can send to the others.
    latency : float
        Seconds of the way between two sites.
    value_bytes : float
        Bytes of a value between sites.
    fragments : int
        Parts of the weights that are synchronised in turn, evenly over the H steps.
    overlap_steps : int
        Steps behind which the reduction of a fragment is hidden (tau); 0 waits for it.

    Raises
    ------
    SitesError
        A number that makes no sense, or fragments whose windows overlap more than the steps allow.
    """
    if sites < 1 or inner_steps < 1 or fragments < 1 or overlap_steps < 0:
        raise SitesError(
            "sites, inner steps and fragments are 1 or more", "overlap_steps 0 waits for each reduction"
        )
    if not (bandwidth > 0 and latency >= 0 and inner_s > 0 and parameters > 0 and value_bytes > 0):
        raise SitesError(
            "bandwidth, parameters, bytes and the inner step are above 0, the latency is not below"
        )
    if fragments > inner_steps:
        raise SitesError(f"{fragments} fragments in {inner_steps} steps", "take at most one fragment a step")
    size = parameters * value_bytes
    part = reduce_seconds(size / fragments, sites, bandwidth, latency)
    window = overlap_steps * inner_s
    apart = inner_steps * inner_s / fragments
    # Reductions share the way out of a site: one must be done before the next begins.
    exposed_each = max(part - window, 0.0)
    if window > 0 and part > apart:
        exposed_each = max(exposed_each, part - apart)
    exposed = fragments * exposed_each / inner_steps
    sent = 2 * (sites - 1) / sites * size
    needed = sent / fragments / window if window > 0 else math.inf if sites > 1 else 0.0
    step = inner_s + exposed
    return SitesStep(
        inner_s, step, exposed, sent, sent / inner_steps, needed, inner_steps * step, step / inner_s
    )


def hierarchical_reduce(
    size: float, *, ranks: int, inside_bandwidth: float, sites: int, bandwidth: float, latency: float
) -> float:
    """Seconds of an all-reduce over sites in three parts: scatter inside, reduce between, gather inside.

    ``2 (n - 1) / n S / b`` inside each site of n ranks with b each, and an all-reduce of S between the sites, whose way
    out of a site all ranks share.
    """
    inside = 2 * (ranks - 1) / ranks * size / inside_bandwidth
    return inside + reduce_seconds(size, sites, bandwidth, latency)
