"""The packet engine: small cases packet by packet, to judge the fluid model.

Transfers are cut into packets.  A packet goes on as soon as its head has arrived (virtual cut-through), or as late
as is needed for a faster link not to overtake the tail.  A link sends its packets one after the other, in turns
over the queues that wait for it: one for what accelerators inject there, in turns over their transfers, and one
for every link and virtual channel that packets come from.  It sends only to a virtual channel with credit: room
for a whole packet at the far end, given back when the packet has left there and known one link latency later.
A split route is sprayed over its ways in proportion.  Times are whole picoseconds, rounded up.

Where switches add and copy, a transfer takes one tree for each switch that joins all of its ranks.  A switch on the
way up sends a packet on when the packets of the same number have come from all its inputs, added as they come in;
on the way down it copies each packet to all outputs.  What a packet is made of keeps its room until the last copy
has left.

Rows, repeats and gates mean what they mean in the fluid engine: a transfer is drained when its last packet has
left its accelerator, and has arrived when the last packet has come in whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topo.errors import InternalError, NetworkError
from topo.fabric import Fabric, FloatArray, sums
from topo.network.packet_records import EVENTS, HOPS, POOL_FULL, STUCK, UNFINISHED
from topo.network.packet_state import PICO, State
from topo.network.packet_ways import find_ways
from topo.network.program import Program
from topo.schedule import Schedule
from topo.units import format_bytes

PACKET = 4096.0
MOST_PACKET_HOPS = 2e8
MOST_STREAMS = 2_000_000
"""Streams of transfers that are spelled out, some GB of them."""


@dataclass(frozen=True, eq=False)
class PacketOutcome:
    """What became of a program run packet by packet.

    Parameters
    ----------
    finish : float
        Seconds.
    row_finish : float array [rows]
        When the last repeat of each row arrived.
    events : int
    packet_hops : int
        Packets times links.
    virtual_channels : int
        Most virtual channels of a link.
    link_bytes : float array [links]
        Bytes that each link carried.
    row_bytes : float array [rows]
        Bytes that arrived, all repeats together.
    """

    finish: float
    row_finish: FloatArray
    events: int
    packet_hops: int
    virtual_channels: int
    link_bytes: FloatArray
    row_bytes: FloatArray


def packet_hops(program: Program, packet: float = PACKET) -> float:
    """Packets times links that a run comes to."""
    row = np.repeat(np.arange(program.rows), np.diff(program.route_pointer))
    links = sums(row, program.route_weight, program.rows)
    return float((links * program.repeat * np.maximum(np.ceil(program.bytes / packet), 1)).sum())


def require_few_streams(schedule: Schedule) -> None:
    """Refuse a schedule that could not be spelled out, before that is tried.

    Raises
    ------
    NetworkError
        With the number of streams.
    """
    streams = sum(len(batch) * batch.copies for batch in schedule.batches)
    if streams > MOST_STREAMS:
        raise NetworkError(
            f"the packet engine runs every transfer by itself, and {schedule.algorithm} "
            f"{schedule.collective.operation} among {schedule.collective.ranks:,} ranks has {streams:,} streams of "
            f"them, more than {MOST_STREAMS:,}",
            "take fewer ranks, another algorithm, or the fluid engine",
        )


def require_few_packets(program: Program, packet: float = PACKET, size: float | None = None) -> None:
    """Refuse what would take too long packet by packet.

    Parameters
    ----------
    size : float, optional
        Bytes of the collective, to name the size that fits.

    Raises
    ------
    NetworkError
        With the estimate and the size that fits.
    """
    hops = packet_hops(program, packet)
    if hops <= MOST_PACKET_HOPS:
        return
    least = packet_hops(program, np.inf)
    if least > MOST_PACKET_HOPS / 2:
        hint = "take a smaller system or the fluid engine"
    elif size:
        fits = 2.0 ** np.floor(np.log2(size * (MOST_PACKET_HOPS - least) / hops))
        hint = f"a size of {format_bytes(fits)} fits; or take larger packets, or the fluid engine"
    else:
        hint = f"packets of {format_bytes(np.ceil(packet * hops / (MOST_PACKET_HOPS - least)))} fit"
    raise NetworkError(
        f"packets of {format_bytes(packet)} would make about {hops:.2g} packet-hops, "
        f"more than {MOST_PACKET_HOPS:.0e}",
        hint,
    )


def run_packets(
    program: Program, fabric: Fabric, *, packet: float = PACKET, buffer: int | None = None, seed: int = 0
) -> PacketOutcome:
    """Run a program packet by packet.

    Parameters
    ----------
    program : Program
        Not folded.
    fabric : Fabric
    packet : float
        Bytes of a packet.
    buffer : int, optional
        Packets of room in each virtual channel of each link; by default twice what a link needs to never wait
        for credit.
    seed : int
        Shifts which way of a split route gets the packets that do not divide evenly.

    Raises
    ------
    NetworkError
        Too many packets, a route that is neither paths nor trees, a dead link on a route, or a
        packet or buffer that is none.
    """
    if not (np.isfinite(packet) and packet >= 1):
        raise NetworkError(f"a packet of {packet:g} bytes", "give at least one byte, such as 4KiB")
    if buffer is not None and buffer < 1:
        raise NetworkError(f"buffers of {buffer} packets", "give room for at least one packet")
    require_few_packets(program, packet)
    dead = np.flatnonzero(program.capacity[program.route_link] <= 0)
    if len(dead):
        raise NetworkError(
            f"a route leads over the dead link {fabric.link_label(program.route_link[dead[0]])}"
        )
    ways = find_ways(program, fabric)
    pool = 0
    while True:
        state = State(program, fabric, ways, packet, buffer, seed, pool)
        status = state.run()
        if status != POOL_FULL:
            break
        pool = 4 * len(state.events)
    if status == STUCK:
        raise InternalError(
            f"{int(state.numbers[UNFINISHED])} of {program.rows} transfers never end packet by packet"
        )
    link_bytes = np.zeros(fabric.links)
    link_bytes[ways.order] = state.links["bytes"]
    finish = state.rows["finish"] / PICO
    return PacketOutcome(
        float(finish.max(initial=0.0)),
        finish,
        int(state.numbers[EVENTS]),
        int(state.numbers[HOPS]),
        int((state.links["channel_last"] - state.links["channel_first"]).max(initial=0)),
        link_bytes,
        state.rows["received"] / state.targets,
    )
