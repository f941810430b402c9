"""The packet engine: small cases packet by packet, to judge the fluid model.

Transfers are cut into packets.  A packet goes on as soon as its head has arrived (virtual cut-through), or as late
as is needed for a faster link not to overtake the tail.  A link sends its packets one after the other, in turns
over the queues that wait for it: one for what accelerators inject there, in turns over their transfers, and one
for every link and virtual channel that packets come from.  It sends only to a virtual channel with credit: room
for a whole packet at the far end, given back when the packet has left there and known one link latency later.
A split route is sprayed over its ways in proportion.  Times are whole picoseconds, rounded up.

Rows, repeats and gates mean what they mean in the fluid engine: a transfer is drained when its last packet has
left its accelerator, and has arrived when the last packet has come in whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topo.errors import InternalError, NetworkError
from topo.fabric import Fabric, FloatArray, IntArray, sums
from topo.network import packet_events as events
from topo.network import packet_kernel as kernel
from topo.network.packet_ways import Ways, find_ways
from topo.network.program import Program, group
from topo.units import format_bytes

PACKET = 4096.0
MOST_PACKET_HOPS = 2e8
LEAST_BUFFER = 256
"""Packets of room in a virtual channel however short its link: 1 MiB, deep enough not to shape the traffic."""
PICO = 1e12
BELOW = 1 - 1e-12
"""Rounding of a product that is left out before it is rounded up to whole picoseconds."""

ITEM = np.dtype(
    [("time", "i8"), ("next", "i4"), ("hop", "i4"), ("row", "i4"), ("repeat", "i4"), ("short", "i4")]
)
ROW = np.dtype(
    [
        *(
            (name, "i8")
            for name in ("repeat", "started", "drained", "arrived", "landed", "injecting", "packets")
        ),
        *((name, "i8") for name in ("latency", "finish", "stream_first", "stream_last", "repeat_first")),
        *((name, "i8") for name in ("wait_first", "wait_last", "gate_first", "gate_last")),
        *((name, "f8") for name in ("short_bytes", "turn", "received")),
    ]
)
LINK = np.dtype(
    [
        *((name, "i8") for name in ("free_at", "wake_at", "packet_time", "latency")),
        *((name, "f8") for name in ("per_byte", "bytes")),
        *((name, "i4") for name in ("head", "tail", "parked", "dirty", "channel_first", "channel_last")),
    ]
)
CHANNEL = np.dtype(
    [
        *((name, "i8") for name in ("size", "sent", "released", "first", "last")),
        ("head", "i4"),
        ("tail", "i4"),
    ]
)
QUEUE = np.dtype(
    [(name, "i4") for name in ("head", "tail", "next", "channel", "link", "listed", "injection")]
)
STREAM = np.dtype(
    [
        ("share", "f8"),
        ("left", "i8"),
        *((n, "i4") for n in ("row", "hop", "queue", "next", "short", "repeat")),
    ]
)
HOP = np.dtype([("delay", "i8"), *((name, "i4") for name in ("link", "channel", "queue", "last"))])
REPEAT = np.dtype([("time", "i8"), ("landed", "i8")])
WHEEL = np.dtype([("head", "i4"), ("tail", "i4")])
GATE = np.dtype(
    [
        (name, "i8")
        for name in (
            "level",
            "short",
            "repeat",
            "arrival",
            "member_first",
            "member_last",
            "waiter_first",
            "waiter_last",
        )
    ]
)
WAIT = np.dtype([("gate", "i8"), ("lag", "i8")])


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
        Too many packets, a transfer that is not from one accelerator to one other, a dead link on a route, or a
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
        state = _State(program, fabric, ways, packet, buffer, seed, pool)
        status = state.run()
        if status != events.POOL_FULL:
            break
        pool = 4 * len(state.pool)
    if status == events.STUCK:
        raise InternalError(
            f"{int(state.numbers[events.UNFINISHED])} of {program.rows} transfers never end packet by packet"
        )
    link_bytes = np.zeros(fabric.links)
    link_bytes[ways.order] = state.links["bytes"]
    finish = state.rows["finish"] / PICO
    return PacketOutcome(
        float(finish.max(initial=0.0)),
        finish,
        int(state.numbers[events.EVENTS]),
        int(state.numbers[events.HOPS]),
        int(ways.virtual.max(initial=0)) + 1,
        link_bytes,
        state.rows["received"].copy(),
    )


def _picoseconds(seconds: FloatArray) -> IntArray:
    return np.ceil(seconds * (PICO * BELOW)).astype(np.int64)


class _State:
    """All records of a run."""

    def __init__(
        self,
        program: Program,
        fabric: Fabric,
        ways: Ways,
        packet: float,
        buffer: int | None,
        seed: int,
        pool: int,
    ) -> None:
        p = program
        self.packet = float(packet)
        self.links = self._links(p, fabric, ways)
        self.rows = self._rows(p, ways, seed)
        self._paths(ways, buffer)
        self._gates(p)
        split = np.diff(np.searchsorted(ways.row, np.arange(p.rows + 1))) > 1
        counts = np.where(split, p.repeat, 0)
        self.rows["repeat_first"] = np.where(split, np.cumsum(counts) - counts, -1)
        self.repeats = np.zeros(int(counts.sum()), dtype=REPEAT)
        idle = int(p.repeat[np.diff(p.route_pointer) == 0].sum())
        size = len(self.slots) + 2 * (len(self.streams) + idle + p.rows) + 16 * len(self.links) + 64
        size = max(size, pool)
        self.pool = np.zeros(size, dtype=ITEM)
        self.free = np.arange(size - 1, -1, -1).astype(np.int32)
        self.current = np.zeros(size, dtype=np.int32)
        self.heap = np.zeros(size, dtype=np.int32)
        used = np.unique(self.hops["link"])
        quickest = int(self.links["packet_time"][used].min(initial=1 << 20))
        shift = max(int(np.log2(max(quickest, 8))) - 2, 0)
        longest = int((2 * self.links["latency"][used] + 2 * self.links["packet_time"][used]).max(initial=1))
        buckets = 1 << min(max((longest >> shift).bit_length() + 1, 6), 18)
        self.wheel = np.zeros(buckets, dtype=WHEEL)
        self.wheel["head"] = -1
        self.numbers = np.zeros(events.NUMBERS, dtype=np.int64)
        self.numbers[events.FREE] = size - 1  # item 0 is the dummy
        self.numbers[events.SHIFT] = shift
        self.numbers[events.UNFINISHED] = p.rows

    def _links(self, p: Program, fabric: Fabric, ways: Ways) -> np.ndarray:
        links = np.zeros(fabric.links, dtype=LINK)
        with np.errstate(divide="ignore"):
            links["per_byte"] = PICO * BELOW / p.capacity[ways.order]
        links["packet_time"] = np.where(
            p.capacity[ways.order] > 0, np.ceil(np.minimum(self.packet * links["per_byte"], 1e18)), 0
        )
        links["latency"] = _picoseconds(fabric.latency[ways.order])
        links["wake_at"] = events.NEVER
        links["head"] = links["tail"] = -1
        return links

    def _rows(self, p: Program, ways: Ways, seed: int) -> np.ndarray:
        rows = np.zeros(p.rows, dtype=ROW)
        rows["repeat"] = p.repeat
        rows["latency"] = _picoseconds(p.latency)
        rows["packets"] = np.maximum(np.ceil(p.bytes / self.packet), 1)
        rows["short_bytes"] = p.bytes - (rows["packets"] - 1) * self.packet
        rows["turn"] = ((np.arange(p.rows) + 1 + seed) * events.GOLDEN) % 1.0
        first = np.searchsorted(ways.row, np.arange(p.rows + 1))
        rows["stream_first"], rows["stream_last"] = first[:-1], first[1:]
        rows["wait_first"], rows["wait_last"] = p.wait_pointer[:-1], p.wait_pointer[1:]
        return rows

    def _paths(self, ways: Ways, buffer: int | None) -> None:
        """Channels, queues, streams and hops."""
        links, hops = self.links, np.zeros(len(ways.link), dtype=HOP)
        starts, ends = ways.pointer[:-1], ways.pointer[1:] - 1
        layers = int(ways.virtual.max(initial=0)) + 1
        keys, channel = np.unique(ways.link * layers + ways.virtual, return_inverse=True)
        channels = np.zeros(len(keys), dtype=CHANNEL)
        of_link = keys // layers
        links["channel_first"] = np.searchsorted(of_link, np.arange(len(links)))
        links["channel_last"] = np.searchsorted(of_link, np.arange(len(links)), side="right")
        trip = -(-2 * links["latency"] // np.maximum(links["packet_time"], 1)) + 2
        room = np.maximum(2 * trip, LEAST_BUFFER)[of_link] if buffer is None else np.full(len(keys), buffer)
        # No channel needs more room than for all packets that ever pass it.
        way = np.repeat(np.arange(len(ways.row)), np.diff(ways.pointer))
        row = ways.row[way]
        most = (np.ceil(self.rows["packets"][row] * ways.share[way]) + 1) * self.rows["repeat"][row]
        channels["size"] = np.minimum(room, np.ceil(sums(channel, most, len(keys)))).astype(np.int64)
        channels["first"] = np.cumsum(channels["size"]) - channels["size"]
        channels["head"] = channels["tail"] = -1
        self.slots = np.zeros(int(channels["size"].sum()), dtype=np.int64)
        before = np.concatenate([[-1], channel[:-1]])
        before[starts] = -1
        pairs, queue = np.unique((before + 1) * len(keys) + channel, return_inverse=True)
        queues = np.zeros(len(pairs), dtype=QUEUE)
        queues["channel"] = pairs % max(len(keys), 1)
        queues["injection"] = pairs < len(keys)
        queues["link"] = of_link[queues["channel"]]
        queues["head"] = queues["tail"] = queues["next"] = -1
        hops["link"], hops["channel"], hops["queue"] = ways.link, channel, queue
        hops["last"][ends] = 1
        onward = np.concatenate([ways.link[1:], ways.link[-1:]])
        wait = links["packet_time"][ways.link] - links["packet_time"][onward]
        hops["delay"] = links["latency"][ways.link] + np.maximum(wait, 0)
        streams = np.zeros(len(ways.row), dtype=STREAM)
        streams["row"], streams["hop"], streams["queue"] = ways.row, starts, queue[starts]
        first = self.rows["stream_first"][ways.row]
        total = np.cumsum(ways.share)
        streams["share"] = total - np.concatenate([[0.0], total])[first]
        self.channels, self.queues, self.streams, self.hops = channels, queues, streams, hops

    def _gates(self, p: Program) -> None:
        gates = np.zeros(p.gates, dtype=GATE)
        gates["repeat"], gates["arrival"] = p.gate_repeat, p.gate_on_arrival
        gates["member_first"], gates["member_last"] = p.member_pointer[:-1], p.member_pointer[1:]
        gates["short"] = np.diff(p.member_pointer)
        gate_pointer, gate_order = group(p.member_row, p.rows)
        self.rows["gate_first"], self.rows["gate_last"] = gate_pointer[:-1], gate_pointer[1:]
        waiter_pointer, waiter_order = group(p.wait_gate, p.gates)
        gates["waiter_first"], gates["waiter_last"] = waiter_pointer[:-1], waiter_pointer[1:]
        self.waits = np.zeros(len(p.wait_gate), dtype=WAIT)
        self.waits["gate"], self.waits["lag"] = p.wait_gate, p.wait_lag
        self.gates = gates
        self.row_gates = np.repeat(np.arange(p.gates), np.diff(p.member_pointer))[gate_order]
        self.member_rows = p.member_row.astype(np.int64)
        self.waiter_rows = np.repeat(np.arange(p.rows), np.diff(p.wait_pointer))[waiter_order]
        self.raised = np.zeros(int(np.diff(gate_pointer).max(initial=0)) + 1, dtype=np.int64)

    def run(self) -> int:
        """Run to the end, or until the pool is used up."""
        return int(
            kernel.run(
                self.packet,
                self.rows,
                self.links,
                self.channels,
                self.slots,
                self.queues,
                self.streams,
                self.hops,
                self.repeats,
                self.gates,
                self.waits,
                self.row_gates,
                self.member_rows,
                self.waiter_rows,
                self.raised,
                np.zeros(len(self.links) + 1, dtype=np.int64),
                self.pool,
                self.free,
                self.wheel,
                self.current,
                self.heap,
                self.numbers,
            )
        )
