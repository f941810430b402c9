"""Store-and-forward switching: every link of a route is a transfer of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from topo.errors import NetworkError
from topo.fabric import ACCELERATOR, BoolArray, Fabric
from topo.network.program import Program, group, pointer_from


def by_hop(program: Program, fabric: Fabric, tree: BoolArray) -> Program:
    """Cut every row into one row per link, each waiting for the arrival of the links before it.

    Where a route splits, each link carries its share; where it joins, a link waits for all that feed it.

    Parameters
    ----------
    program : Program
    fabric : Fabric
    tree : bool array [rows]
        Rows that are trees through switches: their streams pass no accelerator, though one may be a leaf both
        ways.

    Raises
    ------
    NetworkError
        The program was folded, so that its links are no longer those of the fabric.
    """
    if len(program.capacity) != fabric.links or (program.count != 1).any():
        raise NetworkError("store-and-forward works on programs before folding")
    entries = len(program.route_link)
    row = np.repeat(np.arange(program.rows), np.diff(program.route_pointer))
    begins, ends = fabric.source[program.route_link], fabric.target[program.route_link]
    # A link of a row is fed by the links of the same row that end where it begins.
    start_key, end_key = row * len(fabric.nodes) + begins, row * len(fabric.nodes) + ends
    leaf = tree[row] & (fabric.kind[begins] == ACCELERATOR)
    start_key[leaf] += program.rows * len(fabric.nodes)
    keys, place = np.unique(np.concatenate([start_key, end_key]), return_inverse=True)
    starts_at, ends_at = place[:entries], place[entries:]
    feed_pointer, feeders = group(ends_at, len(keys))
    fed = np.diff(feed_pointer)[starts_at] > 0
    leaves = np.bincount(starts_at, minlength=len(keys))[ends_at] > 0
    # Links that nothing feeds wait for what the row waited for; links that feed nothing deliver.
    heads, tails = np.flatnonzero(~fed), np.flatnonzero(~leaves)
    head_pointer, head_order = group(row[heads], program.rows)
    tail_pointer, tail_order = group(row[tails], program.rows)
    relay = np.unique(starts_at[fed])
    relay_gate = np.full(len(keys), -1)
    relay_gate[relay] = program.gates + np.arange(len(relay))
    wait_row, wait_gate, wait_lag = _copied_waits(program, heads[head_order], head_pointer)
    inner = np.flatnonzero(fed)
    wait_row = np.concatenate([wait_row, inner])
    wait_gate = np.concatenate([wait_gate, relay_gate[starts_at[inner]]])
    wait_lag = np.concatenate([wait_lag, np.zeros(len(inner), dtype=np.int64)])
    order = np.argsort(wait_row, kind="stable")
    member_gate, member_row = _copied_members(
        program, (head_pointer, heads[head_order]), (tail_pointer, tails[tail_order])
    )
    relay_counts = np.diff(feed_pointer)[relay]
    relay_members = feeders[
        np.repeat(feed_pointer[relay] - np.cumsum(relay_counts) + relay_counts, relay_counts)
        + np.arange(int(relay_counts.sum()))
    ]
    member_gate = np.concatenate([member_gate, np.repeat(relay_gate[relay], relay_counts)])
    member_row = np.concatenate([member_row, relay_members])
    gates = program.gates + len(relay)
    member_pointer, member_order = group(member_gate, gates)
    first_of_relay = row[relay_members[np.cumsum(relay_counts) - relay_counts]] if len(relay) else relay
    return replace(
        program,
        bytes=program.bytes[row] * program.route_weight,
        repeat=program.repeat[row],
        latency=fabric.latency[program.route_link],
        step=program.step[row],
        count=np.ones(entries, dtype=np.int64),
        route_pointer=np.arange(entries + 1),
        route_weight=np.ones(entries),
        member_pointer=member_pointer,
        member_row=member_row[member_order],
        gate_on_arrival=np.concatenate([program.gate_on_arrival, np.ones(len(relay), dtype=bool)]),
        gate_repeat=np.concatenate([program.gate_repeat, program.repeat[first_of_relay]]),
        wait_pointer=pointer_from(np.bincount(wait_row, minlength=entries)),
        wait_gate=wait_gate[order],
        wait_lag=wait_lag[order],
    )


def _copied_waits(program: Program, heads: np.ndarray, head_pointer: np.ndarray) -> tuple[np.ndarray, ...]:
    """The waits of each row, given to each of its first links."""
    waits = np.repeat(np.arange(program.rows), np.diff(program.wait_pointer))
    copies = np.diff(head_pointer)[waits]
    entry = np.repeat(np.arange(len(waits)), copies)
    within = np.arange(len(entry)) - np.repeat(np.cumsum(copies) - copies, copies)
    return heads[head_pointer[waits[entry]] + within], program.wait_gate[entry], program.wait_lag[entry]


def _copied_members(
    program: Program, heads: tuple[np.ndarray, np.ndarray], tails: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """A gate on arrivals counts a row's last links, a gate on departures its first ones."""
    gate = np.repeat(np.arange(program.gates), np.diff(program.member_pointer))
    found_gate, found_row = [], []
    for chosen, (pointer, links) in (
        (program.gate_on_arrival[gate], tails),
        (~program.gate_on_arrival[gate], heads),
    ):
        entry = np.flatnonzero(chosen)
        member = program.member_row[entry]
        copies = np.diff(pointer)[member]
        which = np.repeat(np.arange(len(entry)), copies)
        within = np.arange(len(which)) - np.repeat(np.cumsum(copies) - copies, copies)
        found_gate.append(gate[entry[which]])
        found_row.append(links[pointer[member[which]] + within])
    return np.concatenate(found_gate), np.concatenate(found_row)
