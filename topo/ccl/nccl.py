"""Calls of NCCL: the rule of choice, then channels, chunks and protocol of the schedule chosen.

Sources: NVIDIA NCCL, src/enqueue.cc (channels, chunk sizes, sends), src/graph/tuning.cc (choice), src/device
(protocols).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from topo.ccl.call import INSIDE, Call, Terms, wired_rings
from topo.ccl.model import CCL, PROTOCOLS, LinkClass
from topo.ccl.place import Place
from topo.ccl.tuner import COLLNET, MICRO, Choice, Communicator, channels_used, choices, in_switch_chunk
from topo.collective import Collective
from topo.errors import AlgorithmError

WIRE = {"LL": 2.0, "LL128": 128 / 120, "Simple": 1.0}
"""Bytes on the wire for one byte of payload: flags take half of an LL line, 8 of 128 bytes in LL128."""
MOST_CHUNKS = 64
"""Pieces simulated; more are merged, their idle time added up."""
MOST_LINKS = 8
"""The same in trees, where every piece costs an event at every rank."""
MOST_PIECES = 512
"""The same along a line of ranks, where pieces stream; more are merged, which only lengthens the line's filling."""
MOST_TRANSFERS = 1 << 24
"""Transfers along lines of ranks beyond which pieces are merged, down to :data:`MOST_LINKS`."""
LINE = 16.0
"""Bytes that one rank at least takes part of a ring's data with (16-byte alignment of chunks, enqueue.cc)."""
SLOT = {"LL": 16384.0, "LL128": 76800.0, "Simple": 524288.0}
"""Bytes of one slot of a channel's buffer, an eighth of it."""
ALGORITHMS = ("ring", "tree", "nvls", "nvls-tree", "pat", "collnet-direct", "collnet-chain")
TREE_CHUNKS = ((8, 131072.0), (4, 65536.0), (1, 32768.0))
"""A tree's chunk in Simple is halved down to so many bytes while there are fewer than so many for each hop."""
SEND_LL = 16384
"""Bytes up to which sends take protocol LL (NCCL_P2P_LL_THRESHOLD)."""
SEND_PART = 32 << 20
"""Bytes of a send that one channel takes before more channels share it (enqueue.cc)."""
SEND_CHANNELS = (2, 16)
"""Fewest and most channels of one send."""


def call(ccl: CCL, collective: Collective, place: Place, algorithm: str = "auto") -> Call:
    """How NCCL would carry out a collective.

    Parameters
    ----------
    algorithm : str
        One of :data:`ALGORITHMS` instead of the library's own choice.

    Raises
    ------
    AlgorithmError
        The library does not offer that algorithm there.
    """
    operation = collective.operation
    if operation in ("all-to-all", "send-recv"):
        return _send(ccl, collective, place)
    if operation in ("broadcast", "reduce"):
        return _chain(ccl, collective, place)
    if operation == "barrier":
        # NCCL has none: programs all-reduce one element.
        return _built(ccl, collective, place, Choice("ring", "LL", 0.0))
    offered = choices(ccl.tuner, operation, collective.bytes, communicator(ccl, place))
    if algorithm != "auto":
        offered = [choice for choice in offered if choice.algorithm == algorithm]
    if place.nodes == 1:
        # Its tree inside one domain is a chain; no table ever prefers it there.
        offered = [choice for choice in offered if choice.algorithm != "tree"] or offered
    if not offered:
        raise AlgorithmError(
            f"{ccl.name} does not offer {algorithm} for {operation} among these {place.ranks} ranks",
            f"it has {', '.join(ALGORITHMS)}",
        )
    return _built(ccl, collective, place, offered[0])


def communicator(ccl: CCL, place: Place) -> Communicator:
    """What the rule of choice looks at."""
    inside = place.links.inside
    return Communicator(
        ranks=place.ranks,
        nodes=place.nodes,
        generation=inside.generation or "volta",
        bandwidth=place.port * inside.tuner_share,
        net_bandwidth=place.nic * place.per_node * float(_table(ccl.tuner, "net_share")),
        channels=inside.channels,
        nvls_channels=inside.nvls_channels,
        nvls=place.switched,
        collnet=ccl.collnet and place.added_between,
        net_latency=place.links.between.plugin_latency,
        nvlink=bool(inside.generation),
        ll128=inside.ll128 and (place.nodes == 1 or place.links.between.ll128),
    )


def _table(tuner: Mapping[str, Any], key: str) -> Any:
    return tuner[key]


def _built(ccl: CCL, collective: Collective, place: Place, choice: Choice) -> Call:
    if choice.algorithm in ("nvls", "nvls-tree"):
        return _in_switch(ccl, collective, place, choice)
    if choice.algorithm in COLLNET:
        return _collnet(ccl, collective, place, choice)
    most = place.links.inside.channels
    channels = channels_used(choice.algorithm, choice.protocol, collective.bytes, place.ranks, most)
    terms = protocol_terms(place, choice.protocol, channels)
    chunks = 1
    schedule = {"ring": _ring(place), "tree": _tree(place), "pat": "pat"}[choice.algorithm]
    if choice.algorithm == "tree":
        chunks = min(_tree_pieces(collective, place, choice.protocol), MOST_LINKS)
        terms = replace(terms, step=_tree_steps(ccl, place, choice.protocol, terms.step))
    elif choice.algorithm == "ring" and choice.protocol == "LL":
        terms = replace(terms, step=(ring_step(collective, place, terms.step[0]), terms.step[1]))
    launch = launch_of(ccl, place, channels)
    return Call(choice.algorithm, schedule, choice.protocol, channels, chunks, launch, terms)


def _tree_steps(ccl: CCL, place: Place, protocol: str, steps: tuple[float, float]) -> tuple[float, float]:
    """Steps of a tree inside and between domains, from those of a ring.

    Inside, a rank adds one neighbour's data or hands it on, with no turn of its own to wait for; between domains the
    proxies of a NIC serve both ways up and down.  In protocol Simple the fence behind a slice outweighs all that.
    """
    if protocol == "Simple":
        return steps
    inside, between = ccl.get(f"tree_step_{protocol}", steps[0]), place.links.between.get(f"step_{protocol}")
    return inside, steps[1] + (ccl.get("tree_between", 1.0) - 1) * between


def ring_step(collective: Collective, place: Place, step: float) -> float:
    """A step of a ring in lines of LL: shorter where there are fewer lines than ranks.

    A rank without a line of its own to add finds what comes at once; with one it first loads and sends its own.
    """
    lines = max(1, min(place.ranks, math.ceil(collective.bytes / LINE)))
    busy = (lines - 1) / (place.ranks - 1) if place.ranks > 1 else 1.0
    return step - (1 - busy) * place.links.inside.get("idle_gain")


def launch_of(ccl: CCL, place: Place, channels: int = 1) -> float:
    """Seconds of a call before anything moves."""
    inside = place.links.inside
    return ccl.get("launch") + inside.get("launch") + inside.get("channel_start") * (channels - 1)


def protocol_terms(place: Place, protocol: str, channels: int = 1) -> Terms:
    """What a protocol does to transfers inside and between domains."""
    inside, between = place.links.inside, place.links.between
    turns = between.get("channel_step") * (channels - 1)
    return Terms(
        step=(inside.get(f"step_{protocol}"), between.get(f"step_{protocol}") + turns),
        factor=(factor(inside, protocol, place.port), factor(between, protocol, place.nic)),
        extra=(0.0, between.get("gap") * place.nic * between.get("reach", 1.0)),
    )


def factor(links: LinkClass, protocol: str, port: float) -> float:
    """Bytes on the wire for one byte of payload, in terms of a link at its full reach."""
    most = links.get(f"rate_{protocol}")
    slowed = port * links.get("reach", 1.0) / most if most else 1.0
    return max(WIRE[protocol], slowed)


def _ring(place: Place) -> str:
    if place.nodes == 1 and wired_rings(place.site) > 1:
        return "rings"
    if place.nodes == 1 or not place.even or place.per_node == 1:
        return "ring"
    return "multi-rail-ring"


def _tree(place: Place) -> str:
    if place.nodes > 1 and place.even and place.per_node > 1:
        return "hierarchical:inside=ring,across=tree"
    return "double-binary-tree"


def _tree_pieces(collective: Collective, place: Place, protocol: str) -> int:
    """Pieces of a tree's pipeline: slots of a channel's buffer, in Simple halved until the line of ranks is filled.

    Source: NCCL, src/enqueue.cc (chunk sizes of trees).
    """
    share, chunk = collective.bytes / place.links.inside.channels, SLOT[protocol]
    if protocol == "Simple":
        depth = place.per_node - 1 + math.log2(place.nodes)
        for times, least in TREE_CHUNKS:
            while share / chunk < depth * times and chunk > least:
                chunk /= 2
    return max(1, round(share / chunk))


def _in_switch(ccl: CCL, collective: Collective, place: Place, choice: Choice) -> Call:
    inside = place.links.inside
    # Every accelerator of the domain heads a part of each channel's loop.
    lanes = inside.nvls_channels * int(place.per_node)
    tables = ccl.tuner
    whole = place.nodes == 1
    kind = "nvls" if whole else "nvls_tree"
    most = math.inf if whole else float(_table(tables, "nvls_tree_most")[place.nodes >= 4])
    chunk = in_switch_chunk(
        _table(tables, f"{kind}_chunks"), _table(tables, f"{kind}_rounds"), collective.bytes, lanes, most
    )
    loops = max(1, math.ceil(collective.bytes / (lanes * chunk)))
    chunks = min(loops, MOST_CHUNKS)
    reach = inside.get("reach", 1.0)
    share = inside.get("nvls_reach", reach)
    if not whole:
        share = inside.get("nvls_reach_tree", share)
    elif collective.operation != "all-reduce":
        share = inside.get("nvls_reach_single", share)
    idle = inside.get("nvls_gap") * loops / chunks
    terms = protocol_terms(place, "Simple")
    terms = Terms(
        step=terms.step,
        factor=terms.factor,
        extra=terms.extra,
        switch_factor=reach / share,
        switch_extra=idle * place.port * reach / place.per_node,
    )
    across = "tree" if choice.algorithm == "nvls-tree" else "sharp"
    schedule = "nvls" if whole else f"hierarchical:inside=nvls,across={across}"
    # Data is copied into the buffer that the switch sees, reduced and spread, and copied out: one loop later each.
    copied = min(collective.bytes, lanes * chunk) / (place.port * share)
    launch = launch_of(ccl, place) + inside.get("nvls_step") + copied
    if across == "sharp" and not whole:
        launch += _through_switches(ccl, "nvls")
    return Call(choice.algorithm, schedule, "Simple", inside.nvls_channels, chunks, launch, terms)


def _collnet(ccl: CCL, collective: Collective, place: Place, choice: Choice) -> Call:
    """Inside by direct exchange or along the ring, then up and down the switches between domains, which add."""
    inside = "direct" if choice.algorithm == "collnet-direct" else "ring"
    schedule = "sharp" if place.per_node == 1 else f"hierarchical:inside={inside},across=sharp"
    chunks = min(_tree_pieces(collective, place, "Simple"), MOST_LINKS)
    launch = launch_of(ccl, place) + _through_switches(ccl, choice.algorithm)
    terms = protocol_terms(place, "Simple")
    return Call(choice.algorithm, schedule, "Simple", place.links.inside.channels, chunks, launch, terms)


def _through_switches(ccl: CCL, algorithm: str) -> float:
    """Seconds of the proxies at the ends of a stream through switches between domains, however many these are.

    Nobody published measurements in small sizes, so the number of the library's own rule of choice stands here.
    """
    return MICRO * float(_table(ccl.tuner, "steps")["net"][algorithm][PROTOCOLS.index("Simple")])


def _send(ccl: CCL, collective: Collective, place: Place) -> Call:
    """Sends and receives: few channels a peer until a send is large, and a reach of their own."""
    inside, between = place.links.inside, place.links.between
    peers = place.ranks - 1 if collective.operation == "all-to-all" else 1
    size = collective.bytes / (place.ranks if collective.operation == "all-to-all" else 1)
    protocol = "LL" if size <= SEND_LL else "Simple"
    channels, most = SEND_CHANNELS
    while size / channels > SEND_PART and channels <= most // 2:
        channels *= 2
    plain = protocol_terms(place, protocol)
    slow = list(plain.factor)
    for tier, links in enumerate((inside, between)):
        reach = links.get("reach", 1.0)
        slow[tier] = max(slow[tier], reach / links.get("p2p_reach", reach))
    if inside.has("channel_rate"):
        rate = channels * min(peers, inside.channels // channels) * inside.get("channel_rate")
        slow[0] = max(slow[0], place.port * inside.get("reach", 1.0) / rate)
    terms = Terms(plain.step, (slow[0], slow[1]), plain.extra)
    launch = launch_of(ccl, place) + inside.get("send_launch")
    if place.nodes > 1:
        launch += between.get("send_launch")
    return Call("sends", "direct", protocol, channels, 1, launch, terms)


def _chain(ccl: CCL, collective: Collective, place: Place) -> Call:
    """Broadcast and reduce run along the ring, a slot of every channel's buffer at a time.

    Among even domains every rail is a line of its own.  Inside, each rank passes on what its rail brought: an
    exchange of each with each loads the ports as the line does and streams; what the line's hops take longer is
    part of the launch.
    """
    best = choices(ccl.tuner, collective.operation, collective.bytes, communicator(ccl, place))[0]
    inside = place.links.inside
    channels = channels_used("ring", best.protocol, collective.bytes, place.ranks, inside.channels)
    terms = protocol_terms(place, best.protocol, channels)
    launch = launch_of(ccl, place, channels)
    schedule, transfers = "chain", place.ranks - 1
    if place.nodes > 1 and place.even and place.per_node > 1:
        width = int(place.per_node)
        schedule, transfers = "hierarchical:inside=direct,across=ring", place.ranks * width
        launch += max(width - 2, 0) * (terms.step[INSIDE] + _inside_latency(place))
    pieces = max(1, round(collective.bytes / (channels * SLOT[best.protocol])))
    chunks = min(pieces, MOST_PIECES, max(MOST_LINKS, MOST_TRANSFERS // transfers))
    return Call("ring", schedule, best.protocol, channels, chunks, launch, terms)


def _inside_latency(place: Place) -> float:
    """Seconds over the links from one rank to the next inside a domain, there and through a switch if there is one."""
    fabric = place.site.fabric
    ranks = place.site.ranks[place.site.domain == place.site.domain[0]][:2]
    direct = fabric.links_between(fabric.accelerators[ranks[:1]], fabric.accelerators[ranks[1:]])
    if direct[0] >= 0:
        return float(fabric.latency[direct[0]])
    out = (fabric.source == fabric.accelerators[ranks[0]]) & ~fabric.scale_out
    return 2 * float(fabric.latency[out].min(initial=np.inf)) if out.any() else 0.0
