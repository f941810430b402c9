"""How fast a chip runs a kernel of a given shape: a roofline under which shapes fill the chip well or badly.

A matrix product is cut into tiles; as many tiles as the chip has units run at once, so the last wave may leave units
idle, tiles at the edge are padded, and each tile pays for filling and draining its inner loop.  What is left is the
share of the peak that the chip holds over a long run, a sourced number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from topo.errors import nearest
from topo.system import Chip
from topo.training.model import BYTES, ModelError
from topo.training.plan import PlanError
from topo.training.yaml_file import read_yaml

FOLDER = Path(__file__).parent / "kernels"
CONFIDENCES = ("datasheet", "paper", "analyst", "estimate", "memory")


@dataclass(frozen=True)
class Rates:
    """What a chip reaches.

    Parameters
    ----------
    chip : str
        Its name.
    peak : mapping of str to float
        FLOP/s by precision, from the catalogue.
    bandwidth : float
        B/s of its memory, from the catalogue.
    units : int
        Tiles that run at once.
    tiles : tuple of pairs of int
        Rows and columns of the tiles that its library offers.
    ramp_k : float
        Columns of the inner loop that the start and the end of a tile cost.
    share : mapping of str to float
        Share of the peak that large products hold, by precision.
    attention_share, softmax, ramp, backward_share : float
        Fused attention: share of the peak (in 16 bits) of its products; columns of a head that the exponentials of
        the scores cost; tokens of a sequence that the start and the diagonal cost; speed of the backward pass over
        the forward pass.
    lanes, block : int
        Columns to whose multiples a head is padded; queries and keys of a tile, of which a sliding window touches
        whole ones (1 and 0: neither).
    kernels_before : mapping of str to float, optional
        Speed of earlier attention kernels over today's, by name.
    memory_share : float
        Share of the memory bandwidth that a plain copy reaches.
    gap : float
        Seconds between two kernels.
    launch : float
        Seconds that the host needs to launch a kernel; hidden where kernels last longer.
    communication_share : float
        Share of the units that a collective takes while it runs beside computation.
    """

    chip: str
    peak: Mapping[str, float]
    bandwidth: float
    units: int = 1
    tiles: tuple[tuple[int, int], ...] = ((1, 1),)
    ramp_k: float = 0.0
    share: Mapping[str, float] | None = None
    attention_share: float = 1.0
    softmax: float = 0.0
    ramp: float = 0.0
    backward_share: float = 1.0
    lanes: int = 1
    block: int = 0
    kernels_before: Mapping[str, float] | None = None
    memory_share: float = 1.0
    gap: float = 0.0
    launch: float = 0.0
    communication_share: float = 0.0

    def flops(self, precision: str) -> float:
        """Peak FLOP/s.

        Raises
        ------
        PlanError
            The chip has no such precision.
        """
        if precision not in self.peak:
            raise PlanError(
                f"{self.chip} has no peak at {precision}",
                nearest(precision, self.peak) or f"it has {', '.join(self.peak)}",
            )
        return self.peak[precision]

    def _share(self, precision: str) -> float:
        return 1.0 if self.share is None else self.share.get(precision, self.share.get("bf16", 1.0))

    def fill(self, m: float, n: float, k: float, count: float = 1.0) -> float:
        """Share of the chip that ``count`` products of m x k by k x n keep busy, with the best tile."""
        best = 0.0
        for rows, columns in self.tiles:
            number = count * math.ceil(m / rows) * math.ceil(n / columns)
            slots = math.ceil(number / self.units) * self.units
            best = max(best, count * m * n / (slots * rows * columns))
        return best * k / (k + self.ramp_k)

    def product(
        self, m: float, n: float, k: float, precision: str, count: float = 1.0, output_bytes: float = 2.0
    ) -> float:
        """Seconds of ``count`` products of m x k by k x n at once.

        Parameters
        ----------
        m, n, k : float
            Rows, columns, and the inner dimension.
        precision : str
        count : float
            Products of that shape in one kernel (experts).
        output_bytes : float
            Bytes moved per value of the result.
        """
        if min(m, n, k, count) <= 0:
            return 0.0
        work = (
            2.0
            * m
            * n
            * k
            * count
            / (self.flops(precision) * self._share(precision) * self.fill(m, n, k, count))
        )
        moved = count * ((m * k + k * n) * BYTES[precision] + m * n * output_bytes)
        return max(work, moved / (self.bandwidth * self.memory_share))

    def attention(
        self,
        tokens: float,
        context: float,
        width: float,
        head: float,
        seq: float,
        backward: bool,
        precision: str,
        generation: str = "current",
    ) -> float:
        """Seconds of fused attention.

        Parameters
        ----------
        tokens : float
            Queries of one head, all sequences together.
        context : float
            Keys that each looks at, on average.
        width : float
            Columns of queries and of values, added, of all heads on this chip.
        head : float
            Width of one head.
        seq : float
            Tokens of one block of queries, which the ramp is paid for.
        backward : bool
            Five products instead of two.
        precision : str
        generation : str
            Which kernels: ``current`` or one of ``kernels_before``.
        """
        peak = self.flops(precision) * self.attention_share / (1.0 + self.softmax / head)
        peak *= (self.kernels_before or {}).get(generation, 1.0)
        peak *= seq / (seq + self.ramp)
        flops = 2.0 * tokens * context * width * math.ceil(head / self.lanes) * self.lanes / head
        if backward:
            return 2.5 * flops / (peak * self.backward_share)
        return flops / peak

    def touched(self, context: float, window: int, whole: float) -> float:
        """Keys that a query's tile goes through, on average, where each query sees ``context`` of them.

        Parameters
        ----------
        context : float
        window : int
            Of a sliding window; 0 for none.
        whole : float
            Keys that a query sees on average without a window.
        """
        if not (window and self.block):
            return context
        return min(max(context, self.block * (1.0 + math.ceil(window / self.block))), whole)

    def memory(self, size: float) -> float:
        """Seconds to read and write ``size`` bytes of memory, together."""
        return size / (self.bandwidth * self.memory_share)

    def kernels(self, seconds: float, count: float, compiled: bool) -> float:
        """Seconds of ``count`` kernels one after the other that compute for ``seconds`` in all.

        The host launches ahead where kernels last; where they are short it is the host that takes the time.
        """
        if compiled:
            return seconds + count * self.gap
        return max(seconds + count * self.gap, count * self.launch)


def ideal_rates(chip: Chip) -> Rates:
    """Rates at the peak, for closed forms and lower bounds."""
    return Rates(chip.name, chip.peak_flops, chip.memory_bandwidth)


@lru_cache(maxsize=1)
def _entries() -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        content = read_yaml(path)
        for entry in content["chips"]:
            for name in entry["names"]:
                if name in found:
                    raise ModelError(f"{path.name} names the chip {name!r} a second time")
                found[name] = entry
    return found


def chip_rates(chip: Chip) -> Rates:
    """What a chip of the catalogue reaches; chips that nobody measured take the entry ``default``."""
    from topo.units import parse_time

    entry = _entries().get(chip.name) or _entries()["default"]
    attention = entry["attention"]
    units = int(entry["units"]["value"])
    return Rates(
        chip=chip.name,
        peak=chip.peak_flops,
        bandwidth=chip.memory_bandwidth,
        units=units,
        tiles=tuple((int(rows), int(columns)) for rows, columns in entry["tiles"]["value"]),
        ramp_k=float(entry["ramp_k"]["value"]),
        share={precision: float(fact["value"]) for precision, fact in entry["share"].items()},
        attention_share=float(attention["share"]),
        softmax=float(attention["softmax"]),
        ramp=float(attention["ramp"]),
        backward_share=float(attention["backward"]),
        lanes=int(attention.get("lanes", 1)),
        block=int(attention.get("block", 128)),
        kernels_before={
            name: float(attention.get(name.replace("-", "_"), 1.0)) for name in ("flash-1", "flash-2")
        },
        memory_share=float(entry["memory_share"]["value"]),
        gap=parse_time(entry["gap"]["value"], allow_zero=True),
        launch=parse_time(entry["launch"]["value"], allow_zero=True),
        communication_share=float(entry["communication_units"]["value"]) / units,
    )


def is_measured(chip: Chip) -> bool:
    """Whether the chip has an entry of its own."""
    return chip.name in _entries()
