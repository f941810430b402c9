"""All records of a run of the packet engine, made from a program and its ways."""

from __future__ import annotations

import ctypes

import numpy as np

from topo.errors import InternalError
from topo.fabric import ACCELERATOR, Fabric, FloatArray, IntArray, sums
from topo.network import packet_kernel as kernel
from topo.network import packet_records as records
from topo.network.packet_trees import OFF, PATH, UP
from topo.network.packet_ways import Ways
from topo.network.program import Program, group

LEAST_BUFFER = 256
"""Packets of room in a virtual channel however short its link: 1 MiB, deep enough not to shape the traffic."""
PICO = 1e12
BELOW = 1 - 1e-12
"""Rounding of a product that is left out before it is rounded up to whole picoseconds."""


def _picoseconds(seconds: FloatArray) -> IntArray:
    return np.ceil(seconds * (PICO * BELOW)).astype(np.int64)


class State:
    """All records of a run.

    Parameters
    ----------
    program, fabric, ways
        What to run, where, and over which ways.
    packet : float
        Bytes of a packet.
    buffer : int, optional
        Packets of room in each channel.
    seed : int
    pool : int
        Least number of events to have room for.
    """

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
        self.rows = self._rows(p, seed)
        way = np.repeat(np.arange(len(ways.row)), np.diff(ways.pointer))
        begins = fabric.source[ways.order[ways.link]]
        ends = fabric.target[ways.order[ways.link]]
        leaf = fabric.kind == ACCELERATOR
        starts, stops = np.zeros(len(way), dtype=bool), np.zeros(len(way), dtype=bool)
        starts[ways.pointer[:-1]], stops[ways.pointer[1:] - 1] = True, True
        tree = ways.phase != PATH
        starts, stops = np.where(tree, leaf[begins], starts), np.where(tree, leaf[ends], stops)
        self._channels(ways, way, buffer)
        queue = self._queues(ways, way, starts)
        self._streams(ways, way, starts, queue)
        self._hops(ways, way, stops, queue)
        # A switch may be passed on the way up and again on the way down; the root is where the two meet.
        into = (way * len(fabric.nodes) + ends) * 2 + (ways.phase > UP)
        out = (way * len(fabric.nodes) + begins) * 2 + (ways.phase > OFF)
        self._joins(np.where(tree & ~stops, into, -1), np.where(tree & ~starts, out, -1))
        self._arrivals(p, ways, way, stops)
        self._gates(p)
        self._calendar(p, pool)

    def _links(self, p: Program, fabric: Fabric, ways: Ways) -> np.ndarray:
        links = np.zeros(fabric.links, dtype=records.LINK)
        with np.errstate(divide="ignore"):
            links["per_byte"] = PICO * BELOW / p.capacity[ways.order]
        links["packet_time"] = np.where(
            p.capacity[ways.order] > 0, np.ceil(np.minimum(self.packet * links["per_byte"], 1e18)), 0
        )
        links["latency"] = _picoseconds(fabric.latency[ways.order])
        links["wake_at"] = records.NEVER
        links["head"] = links["tail"] = -1
        return links

    def _rows(self, p: Program, seed: int) -> np.ndarray:
        rows = np.zeros(p.rows, dtype=records.ROW)
        rows["repeat"] = p.repeat
        rows["latency"] = _picoseconds(p.latency)
        rows["packets"] = np.maximum(np.ceil(p.bytes / self.packet), 1)
        rows["short_bytes"] = p.bytes - (rows["packets"] - 1) * self.packet
        rows["turn"] = ((np.arange(p.rows) + 1 + seed) * records.GOLDEN) % 1.0
        rows["wait_first"], rows["wait_last"] = p.wait_pointer[:-1], p.wait_pointer[1:]
        return rows

    def _channels(self, ways: Ways, way: IntArray, buffer: int | None) -> None:
        links = self.links
        layers = int(ways.virtual.max(initial=0)) + 1
        keys, self.channel = np.unique(ways.link * layers + ways.virtual, return_inverse=True)
        channels = np.zeros(len(keys), dtype=records.CHANNEL)
        of_link = keys // layers
        links["channel_first"] = np.searchsorted(of_link, np.arange(len(links)))
        links["channel_last"] = np.searchsorted(of_link, np.arange(len(links)), side="right")
        trip = -(-2 * links["latency"] // np.maximum(links["packet_time"], 1)) + 2
        room = np.maximum(2 * trip, LEAST_BUFFER)[of_link] if buffer is None else np.full(len(keys), buffer)
        # No channel needs more room than for all packets that ever pass it.
        row = ways.row[way]
        most = (np.ceil(self.rows["packets"][row] * ways.share[way]) + 1) * self.rows["repeat"][row]
        channels["size"] = np.minimum(room, np.ceil(sums(self.channel, most, len(keys))))
        channels["credits"] = channels["size"]
        channels["first"] = np.cumsum(channels["size"]) - channels["size"]
        channels["head"] = channels["tail"] = -1
        channels["link"], channels["late"] = of_link, links["latency"][of_link]
        self.channels = channels
        self.slots = np.zeros(int(channels["size"].sum()), dtype=np.int64)

    def _queues(self, ways: Ways, way: IntArray, starts: np.ndarray) -> IntArray:
        """One queue for each channel that is injected into or came from; each hop's queue."""
        channels = len(self.channels)
        before = np.concatenate([[-1], self.channel[:-1]])
        before = np.where(ways.phase != PATH, self.channel, before)
        before[starts] = -1
        pairs, queue = np.unique((before + 1) * channels + self.channel, return_inverse=True)
        queues = np.zeros(len(pairs), dtype=records.QUEUE)
        queues["channel"] = pairs % max(channels, 1)
        queues["back"] = pairs // max(channels, 1) - 1
        queues["injection"] = queues["back"] < 0
        queues["link"] = self.channels["link"][queues["channel"]]
        queues["head"] = queues["tail"] = queues["next"] = -1
        self.queues = queues
        return np.asarray(queue)

    def _streams(self, ways: Ways, way: IntArray, starts: np.ndarray, queue: IntArray) -> None:
        hop = np.flatnonzero(starts)
        mine = way[hop]
        streams = np.zeros(len(hop), dtype=records.STREAM)
        streams["row"], streams["hop"], streams["queue"] = ways.row[mine], hop, queue[hop]
        first = np.searchsorted(ways.row, np.arange(len(self.rows) + 1))
        total = np.concatenate([[0.0], np.cumsum(ways.share)])
        before = total[first[ways.row[mine]]]
        streams["below"], streams["share"] = total[mine] - before, total[mine + 1] - before
        streams["begins"] = mine == first[ways.row[mine]]
        streams["ends"] = mine + 1 == first[ways.row[mine] + 1]
        bounds = np.searchsorted(ways.row[mine], np.arange(len(self.rows) + 1))
        self.rows["stream_first"], self.rows["stream_last"] = bounds[:-1], bounds[1:]
        self.streams = streams

    def _hops(self, ways: Ways, way: IntArray, stops: np.ndarray, queue: IntArray) -> None:
        links = self.links
        hops = np.zeros(len(way), dtype=records.HOP)
        hops["row"], hops["queue"], hops["last"], hops["join"] = ways.row[way], queue, stops, -1
        onward = np.concatenate([ways.link[1:], ways.link[-1:]])
        wait = links["packet_time"][ways.link] - links["packet_time"][onward]
        hops["delay"] = links["latency"][ways.link] + np.maximum(wait, 0)
        hops["per_byte"] = links["per_byte"][onward]
        self.hops = hops

    def _joins(self, into: IntArray, out: IntArray) -> None:
        """Switches on trees; ``into`` and ``out`` name the switch of a way that a hop ends at and begins at."""
        hops, links, channels = self.hops, self.links, self.channels
        names = np.unique(into[into >= 0])
        joins = np.zeros(len(names), dtype=records.JOIN)
        ends, leaves = np.flatnonzero(into >= 0), np.flatnonzero(out >= 0)
        of_end, of_leaf = np.searchsorted(names, into[ends]), np.searchsorted(names, out[leaves])
        pointer, order = group(of_end, len(names))
        joins["input_first"], joins["input_last"] = pointer[:-1], pointer[1:]
        joins["need"] = np.diff(pointer)
        self.inputs = self.channel[ends[order]]
        pointer, order = group(of_leaf, len(names))
        joins["output_first"], joins["output_last"] = pointer[:-1], pointer[1:]
        self.outputs = leaves[order]
        np.maximum.at(joins["parts"], of_end, channels["size"][self.channel[ends]])
        joins["part_first"] = np.cumsum(joins["parts"]) - joins["parts"]
        self.parts = np.zeros(int(joins["parts"].sum()), dtype=records.PART)
        self.parts["join"] = np.repeat(np.arange(len(names)), joins["parts"])
        self.joins = joins
        # A packet waits for no output that is slower than the quickest.
        link = channels["link"][self.channel]
        quickest = np.full(len(names), np.inf)
        np.minimum.at(quickest, of_leaf, links["per_byte"][link[leaves]])
        time = np.full(len(names), records.NEVER)
        np.minimum.at(time, of_leaf, links["packet_time"][link[leaves]])
        hops["join"][ends] = of_end
        hops["per_byte"][ends] = quickest[of_end]
        wait = links["packet_time"][link[ends]] - time[of_end]
        hops["delay"][ends] = links["latency"][link[ends]] + np.maximum(wait, 0)
        room = int(channels["size"].sum() + (joins["parts"].astype(np.int64) * np.diff(pointer)).sum())
        self.packets = np.zeros(room + 1, dtype=records.PACKET)

    def _arrivals(self, p: Program, ways: Ways, way: IntArray, stops: np.ndarray) -> None:
        """How many packets come in for each repeat, and where they are counted."""
        rows = self.rows
        number = np.bincount(ways.row, minlength=p.rows)
        tree = np.bincount(ways.row[way][ways.phase != PATH], minlength=p.rows) > 0
        stopping = np.bincount(ways.row[way][stops], minlength=p.rows)
        self.targets = np.maximum(stopping // np.maximum(number, 1), 1)
        rows["expected"] = rows["packets"] * self.targets
        counts = np.where((number > 1) | tree, p.repeat, 0)
        rows["repeat_first"] = np.where(counts > 0, np.cumsum(counts) - counts, -1)
        self.repeats = np.zeros(int(counts.sum()), dtype=records.REPEAT)

    def _gates(self, p: Program) -> None:
        gates = np.zeros(p.gates, dtype=records.GATE)
        gates["repeat"], gates["arrival"] = p.gate_repeat, p.gate_on_arrival
        gates["member_first"], gates["member_last"] = p.member_pointer[:-1], p.member_pointer[1:]
        gates["short"] = np.diff(p.member_pointer)
        gate_pointer, gate_order = group(p.member_row, p.rows)
        self.rows["gate_first"], self.rows["gate_last"] = gate_pointer[:-1], gate_pointer[1:]
        waiter_pointer, waiter_order = group(p.wait_gate, p.gates)
        gates["waiter_first"], gates["waiter_last"] = waiter_pointer[:-1], waiter_pointer[1:]
        self.waits = np.zeros(len(p.wait_gate), dtype=records.WAIT)
        self.waits["gate"], self.waits["lag"] = p.wait_gate, p.wait_lag
        self.gates = gates
        self.row_gates = np.repeat(np.arange(p.gates), np.diff(p.member_pointer))[gate_order]
        self.member_rows = p.member_row.astype(np.int64)
        self.waiter_rows = np.repeat(np.arange(p.rows), np.diff(p.wait_pointer))[waiter_order]
        self.raised = np.zeros(int(np.diff(gate_pointer).max(initial=0)) + 1, dtype=np.int64)

    def _calendar(self, p: Program, pool: int) -> None:
        """Events of links and queues, room for others, and a wheel as long as most of them lie ahead."""
        own = len(self.links) + len(self.queues)
        idle = int(p.repeat[np.diff(p.route_pointer) == 0].sum())
        size = max(own + 3 * len(self.streams) + idle + p.rows + 8 * len(self.links) + 64, pool)
        self.events = np.zeros(size, dtype=records.EVENT)
        used = np.unique(self.channels["link"])
        quickest = int(self.links["packet_time"][used].min(initial=1 << 20))
        shift = max(int(np.log2(max(quickest, 8))) - 2, 0)
        longest = int((2 * self.links["latency"][used] + 2 * self.links["packet_time"][used]).max(initial=1))
        buckets = 1 << min(max((longest >> shift).bit_length() + 1, 6), 18)
        self.wheel = np.zeros(buckets, dtype=records.WHEEL)
        self.wheel["head"] = -1
        self.numbers = np.zeros(records.NUMBERS, dtype=np.int64)
        self.numbers[records.EVENT_LIST] = self.numbers[records.PACKET_LIST] = -1
        self.numbers[records.EVENTS_USED] = own
        self.numbers[records.SHIFT] = shift
        self.numbers[records.UNFINISHED] = p.rows

    def run(self) -> int:
        """Run to the end, or until the room for events is used up."""
        count = len(self.events)
        self.dirty = np.zeros(len(self.links), dtype=np.int64)
        self.fresh, self.current, self.heap = (np.zeros(count, dtype=np.int64) for _ in range(3))
        arrays = [np.ascontiguousarray(getattr(self, name)) for name in kernel.ARRAYS]
        whole = [array for array in arrays if array.dtype.names is None]
        if any(array.dtype != np.int64 for array in whole):
            raise InternalError("an array of the packet engine does not hold 8-byte whole numbers")
        addresses = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        lengths = (ctypes.c_int64 * len(arrays))(*map(len, arrays))
        return int(kernel.compiled()(self.packet, addresses, lengths))
