"""Some accelerators of a system as a system by themselves."""

from __future__ import annotations

from dataclasses import replace

from topo.fabric import IntArray
from topo.system import System
from topo.training.choice import own_part


def part_of(system: System, ranks: IntArray) -> System:
    """The system that some of its accelerators form, with the links and switches that join them.

    Parameters
    ----------
    system : System
    ranks : int array
        Accelerators, in the order that they get.

    Returns
    -------
    System
        Power, price and rent are the accelerators' share.
    """
    if len(ranks) == system.accelerators:
        return system
    share = len(ranks) / system.accelerators

    def shared(value: float | None) -> float | None:
        return None if value is None else value * share

    def both(values: tuple[float, float] | None) -> tuple[float, float] | None:
        return None if values is None else (values[0] * share, values[1] * share)

    return replace(
        system,
        name=f"{len(ranks)} of {system.name}",
        fabric=own_part(system.fabric, ranks).fabric,
        power_w=shared(system.power_w),
        price_usd=shared(system.price_usd),
        price_range_usd=both(system.price_range_usd),
        rent_usd_per_hour=shared(system.rent_usd_per_hour),
        rent_range_usd_per_hour=both(system.rent_range_usd_per_hour),
    )
