"""The records of the packet engine's kernel, and its numbers.

A *channel* is a virtual channel of a link, with the room at its far end.  A *queue* holds packets that came in on
one channel and go on over another, or the streams that accelerators inject into a channel.  A *stream* is what one
accelerator sends of a row over one way.  A *join* is a switch on a tree: it adds what its inputs bring, packet by
packet, and copies the sum to its outputs.
"""

from __future__ import annotations

import numpy as np

NEVER = np.int64(1) << 62
GOLDEN = 0.6180339887498949
WAKE, DEPART, ARRIVE = 0, 1, 2
"""What an event that is no link's and no queue's own may be: a link decides, a stream has left, a row has arrived."""
FINISHED, STUCK, POOL_FULL = 0, 1, 2
# Places in the array of whole numbers that the kernel keeps.
(
    NOW,
    FRESH,
    DIRTY,
    EVENT_LIST,
    EVENTS_USED,
    PACKET_LIST,
    PACKETS_USED,
    EVENTS,
    HOPS,
    UNFINISHED,
    SHIFT,
    FULL,
    SOURCES,
) = range(13)
NUMBERS = 13


def record(wide: str = "", real: str = "", narrow: str = "") -> np.dtype:
    """A record of 8-byte whole numbers, 8-byte real numbers and 4-byte whole numbers."""
    fields = [
        (name, kind) for names, kind in ((wide, "i8"), (real, "f8"), (narrow, "i4")) for name in names.split()
    ]
    return np.dtype(fields, align=True)


EVENT = record("time", narrow="next kind of")
PACKET = record("ready", narrow="next hop repeat short part")
ROW = record(
    "landed packets expected repeat_first started drained arrived injecting repeat latency finish "
    "stream_first stream_last wait_first wait_last gate_first gate_last",
    real="received short_bytes turn",
)
LINK = record(
    "free_at wake_at packet_time latency",
    real="per_byte bytes",
    narrow="head tail parked dirty timed channel_first channel_last",
)
CHANNEL = record("last late", narrow="credits size oldest coming first link head tail")
QUEUE = record(narrow="head tail next channel link back listed injection")
STREAM = record("left", real="share below", narrow="row hop queue next short repeat begins ends")
HOP = record("delay", real="per_byte", narrow="queue row last join passed")
REPEAT = record("time landed")
JOIN = record(narrow="need part_first parts input_first input_last output_first output_last")
PART = record("time", narrow="inputs copies join")
WHEEL = record(narrow="head tail")
GATE = record("level short repeat arrival member_first member_last waiter_first waiter_last")
WAIT = record("gate lag")
