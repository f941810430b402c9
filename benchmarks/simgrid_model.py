"""SimGrid as an opponent: the same schedule, replayed as a graph of communications by a small C++ program.

SimGrid shares links by max-min fairness too, but weights the shares of flows by their round-trip times.  Without
latency all weights are one, so that both solve the same problem: everything here runs at zero latency.  It comes
from the Debian package ``libsimgrid-dev``, is found when it is installed, and nothing depends on it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from topo.fabric import Fabric, IntArray
from topo.network.packet_ways import find_ways
from topo.network.program import Program, pointer_from

SOURCE = Path(__file__).parent / "simgrid_replay.cpp"
HEADERS = (Path("/usr/include/simgrid/s4u.hpp"), Path("/usr/local/include/simgrid/s4u.hpp"))
LARGE = 1e15
"""Bytes that the largest transfer is blown up to: SimGrid takes flows that end within 1e-9 s for one event."""


@dataclass(frozen=True)
class Replay:
    """What SimGrid answers.

    Parameters
    ----------
    finish : float
        Seconds until the last transfer has ended.
    cpu : float
        CPU seconds of the simulation alone, without building platform and graph.
    version : str
    """

    finish: float
    cpu: float
    version: str


def why_not() -> str:
    """Why SimGrid cannot run here; empty when it can."""
    if not any(header.exists() for header in HEADERS):
        return "SimGrid is not installed (Debian: apt install libsimgrid-dev)"
    if shutil.which("c++") is None:
        return "SimGrid is installed, but no C++ compiler (Debian: apt install g++)"
    return ""


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="topo-simgrid-")


@cache
def _built() -> str:
    program = str(Path(_folder().name) / "replay")
    subprocess.run(["c++", "-O2", "-std=c++17", "-o", program, str(SOURCE), "-lsimgrid"], check=True)
    return program


def without_latency(program: Program) -> Program:
    """The program without latency, its bytes whole and large."""
    scale = LARGE / program.bytes.max()
    return replace(program, latency=np.zeros(program.rows), bytes=np.rint(program.bytes * scale))


def _waits(program: Program) -> list[tuple[int, int]]:
    """All pairs of a transfer and one that waits for it; those of a row follow each other."""
    first = np.cumsum(program.repeat) - program.repeat
    pairs: set[tuple[int, int]] = set()
    for row in range(program.rows):
        waits = range(int(program.wait_pointer[row]), int(program.wait_pointer[row + 1]))
        for number in range(int(program.repeat[row])):
            mine = int(first[row]) + number
            if number:
                pairs.add((mine - 1, mine))
            for at in waits:
                gate = int(program.wait_gate[at])
                level = min(max(number - int(program.wait_lag[at]) + 1, 0), int(program.gate_repeat[gate]))
                members = program.member_row[program.member_pointer[gate] : program.member_pointer[gate + 1]]
                if level:
                    pairs |= {(int(first[member]) + level - 1, mine) for member in members.tolist()}
    return sorted(pairs)


def replay(program: Program, fabric: Fabric) -> Replay:
    """Run a program on SimGrid.

    Parameters
    ----------
    program : Program
        Without latency, on undivided routes; small, as every repeat of every row is a communication.
    fabric : Fabric

    Raises
    ------
    ValueError
        The program has what SimGrid lacks: latency, split routes, or two ways between two ranks.
    """
    if program.latency.any() or (program.route_weight != 1).any():
        raise ValueError("SimGrid is asked for flows on one way each, without latency")
    waits = _waits(program)
    lines = [
        f"{fabric.ranks} {fabric.links} {program.transfers} {len(waits)}",
        *map(repr, program.capacity.tolist()),
    ]
    ways: dict[tuple[int, int], list[int]] = {}
    rank_of = fabric.rank_of_node
    for row in range(program.rows):
        links = program.route_link[program.route_pointer[row] : program.route_pointer[row + 1]]
        begins, ends = fabric.source[links].tolist(), fabric.target[links].tolist()
        source = next(node for node in begins if node not in ends)
        target = next(node for node in ends if node not in begins)
        way = (int(rank_of[source]), int(rank_of[target]))
        if ways.setdefault(way, links.tolist()) != links.tolist():
            raise ValueError(f"two ways lead from rank {way[0]} to rank {way[1]}")
        line = (
            f"{way[0]} {way[1]} {int(program.bytes[row])} {len(links)} {' '.join(map(str, links.tolist()))}"
        )
        lines += [line] * int(program.repeat[row])
    lines += [f"{before} {after}" for before, after in waits]
    done = subprocess.run(
        [_built(), "--log=root.thres:warning"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    finish, cpu, version = done.stdout.split()
    return Replay(float(finish), float(cpu), version)


def undivided(program: Program, fabric: Fabric) -> Program:
    """The program with all transfers between two ranks on one way: the first of those that it sprays over."""
    ways = find_ways(program, fabric)
    chosen: dict[tuple[int, int], IntArray] = {}
    routes = []
    for first in np.searchsorted(ways.row, np.arange(program.rows)).tolist():
        links = ways.order[ways.link[ways.pointer[first] : ways.pointer[first + 1]]]
        ends = int(fabric.source[links[0]]), int(fabric.target[links[-1]])
        routes.append(chosen.setdefault(ends, links))
    link = np.concatenate(routes)
    return replace(
        program,
        route_pointer=pointer_from(np.asarray([len(links) for links in routes])),
        route_link=link,
        route_weight=np.ones(len(link)),
    )
