"""Training at several sites on their network: steps within each, and what crosses the fibre, simulated.

Every site trains its share of the batch.  *In step*, gradients are reduced in every step: within the site each
accelerator ends with a part of them, these parts are reduced across the sites (all at once, over the fibre that they
share), beside what is left of the last micro-batch's backward pass.  *With local steps* (DiLoCo, arXiv:2311.08105)
weights cross only every H steps; *streaming* (arXiv:2501.18512) in fragments, beside the steps that follow.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from topo.errors import TopoError, nearest
from topo.fabric import Fabric, IntArray
from topo.system import System
from topo.training.default_plan import default_plan
from topo.training.model import Model
from topo.training.operation import Operation
from topo.training.part import part_of
from topo.training.placement import Placement
from topo.training.plan import PlanError
from topo.training.step import step
from topo.training.traffic import Traffic

METHODS = ("synchronous", "local", "streaming")
BACKWARD = 2.0 / 3.0
"""Share of a micro-batch's computation that is its backward pass."""
ROUNDING = 1e-9
"""Part of a step below which waiting is rounding."""


class SitesError(TopoError):
    """Sites that cannot train together."""


@dataclass(frozen=True)
class AcrossResult:
    """What a step at several sites takes, on average.

    Parameters
    ----------
    model, system, method, plan : str
        The plan is that of one site.
    sites, accelerators : int
    inner_s : float
        A step within a site, with nothing sent to others.
    exchange_s : float
        One exchange between the sites: of all gradients, all weights, or one fragment.
    exposed_s : float
        What exchanges add to a step, on average.
    step_s : float
    slowdown : float
        ``step_s / inner_s``.
    tokens_per_s : float
        Of all sites.
    exchanged_bytes : float
        Bytes of one exchange, as its size counts.
    fibre_Bps : float
        Bandwidth between two sites, per direction.
    fibre_s : float
        Latency between two sites, one way.
    break_even : float
        The synchronous step over this one: so many times the tokens may local steps need before exchanging gradients
        in every step is faster.  What local steps cost in quality is not simulated.
    wall_s : float
    """

    model: str
    system: str
    method: str
    plan: str
    sites: int
    accelerators: int
    inner_s: float
    exchange_s: float
    exposed_s: float
    step_s: float
    slowdown: float
    tokens_per_s: float
    exchanged_bytes: float
    fibre_Bps: float
    fibre_s: float
    break_even: float
    wall_s: float

    def record(self) -> dict[str, Any]:
        """A flat record: one value a key."""
        return asdict(self)

    def to_json(self) -> str:
        """The record as JSON."""
        return json.dumps(self.record(), indent=2)


def sites_of(fabric: Fabric) -> list[IntArray]:
    """The accelerators of each site, told apart by the names that ``site(...)`` gives: ``s0.``, ``s1.`` ...

    Raises
    ------
    SitesError
        A system that stands at one site.
    """
    heads = [str(fabric.nodes[i]).partition(".")[0] for i in fabric.accelerators.tolist()]
    routers = {str(node).removesuffix(".wan") for node in fabric.nodes if str(node).endswith(".wan")}
    if len(routers) < 2 or not set(heads) <= routers:
        raise SitesError(
            f"{fabric.name} stands at one site", "write site(dgx-h100*8)*2,distance=1000km,bandwidth=1Tb/s"
        )
    names = np.asarray(heads)
    return [np.flatnonzero(names == name) for name in dict.fromkeys(heads)]


def across(
    model: Model | str,
    system: System,
    *,
    method: str = "synchronous",
    inner_steps: int = 100,
    fragments: int = 8,
    overlap_steps: int = 1,
    value_bytes: float | None = None,
    ccl: str | None = None,
    plan: dict[str, Any] | None = None,
) -> AcrossResult:
    """Simulate training at several sites.

    Parameters
    ----------
    model : Model or str
    system : System
        Of the form ``site(...)*N,...``.
    method : str
        One of :data:`METHODS`.
    inner_steps : int
        Steps between two exchanges of the same weights (H), for local steps.
    fragments : int
        Parts that are exchanged in turn (``streaming``).
    overlap_steps : int
        Steps beside which a fragment crosses (``streaming``).
    value_bytes : float, optional
        Bytes of a value between sites; those of the plan's gradients by default.
    ccl : str, optional
    plan : dict, optional
        Fields of the plan of one site that are decided.

    Raises
    ------
    TopoError
        A system at one site, an unknown method, numbers that make no sense, or a model that does not fit a site.
    """
    began = time.perf_counter()
    if method not in METHODS:
        raise SitesError(
            f"method {method!r} is unknown", nearest(method, METHODS) or f"one of {', '.join(METHODS)}"
        )
    if min(inner_steps, fragments, overlap_steps) < 1:
        raise SitesError("inner steps, fragments and overlapped steps are 1 or more")
    if method == "streaming" and fragments > inner_steps:
        raise SitesError(f"{fragments} fragments in {inner_steps} steps", "take at most one fragment a step")
    if isinstance(model, str):
        from topo.training.named_models import load_model

        model = load_model(model)
    sites = sites_of(system.fabric)
    home = part_of(system, sites[0])
    chosen = default_plan(model, home, plan or {})
    inner = step(model, home, chosen, ccl=ccl)
    width = chosen.gradient_bytes if value_bytes is None else value_bytes
    if not width > 0:
        raise PlanError(f"{width} bytes of a value between sites", "give a number above 0")
    whole = float(model.parameters) * width
    beside = BACKWARD * inner.compute_s / chosen.micro_batches
    in_step = exchange_seconds(system, sites, whole, ccl)
    synchronous = inner.step_s + max(in_step - beside, 0.0)
    size, seconds = whole, in_step
    exposed = synchronous - inner.step_s
    if method == "local":
        exposed = seconds / inner_steps
    elif method == "streaming":
        size = whole / fragments
        seconds = exchange_seconds(system, sites, size, ccl)
        exposed = streamed_exposure(inner.step_s, seconds, inner_steps, fragments, overlap_steps)
    taken = inner.step_s + exposed
    far = system.fabric.latency == system.fabric.latency.max()
    return AcrossResult(
        model=model.name,
        system=system.name,
        method=method,
        plan=inner.plan,
        sites=len(sites),
        accelerators=system.accelerators,
        inner_s=inner.step_s,
        exchange_s=seconds,
        exposed_s=exposed,
        step_s=taken,
        slowdown=taken / inner.step_s,
        tokens_per_s=inner.tokens * len(sites) / taken,
        exchanged_bytes=size,
        fibre_Bps=float(system.fabric.bandwidth[far].min()),
        fibre_s=float(system.fabric.latency.max()),
        break_even=synchronous / taken,
        wall_s=time.perf_counter() - began,
    )


def exchange_seconds(system: System, sites: list[IntArray], size: float, ccl: str | None = None) -> float:
    """Seconds to reduce ``size`` bytes across the sites when every accelerator of a site holds an equal part.

    The i-th accelerators of all sites form a group; all groups at once share the fibre.
    """
    import simpy

    each = min(len(site) for site in sites)
    rank = np.stack([site[:each] for site in sites])[None, :, None, :]
    placed = Placement(system.fabric, rank, name="tp,dp")
    traffic = Traffic(simpy.Environment(), system, placed, ccl)
    return traffic.seconds(Operation("dp", "all-reduce", size / each))


def streamed_exposure(
    inner_s: float, fragment_s: float, inner_steps: int, fragments: int, overlap_steps: int
) -> float:
    """Seconds that fragments add to a step, on average, in the steady state.

    Fragment f leaves every ``inner_steps`` steps, evenly spread over them; the fibre carries one after the other;
    training waits where one has not arrived ``overlap_steps`` steps after it left.
    """
    leaves = [fragment * inner_steps // fragments for fragment in range(fragments)]
    now = free = 0.0
    ends: dict[int, float] = {}
    rounds, marks = 4, [0.0]
    for number in range(rounds * inner_steps):
        if number % inner_steps in leaves:
            free = max(free, now) + fragment_s
            ends[number] = free
        now = max(now + inner_s, ends.pop(number - overlap_steps + 1, 0.0))
        if (number + 1) % inner_steps == 0:
            marks.append(now)
    waited = (marks[-1] - marks[-2]) / inner_steps - inner_s
    return waited if waited > ROUNDING * inner_s else 0.0
