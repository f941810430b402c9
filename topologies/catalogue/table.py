"""The catalogue as a table: one flat record a machine, from its file alone, without building a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from topologies.catalogue.sane import egress

if TYPE_CHECKING:
    from topologies.catalogue.values import Power, Price, Rent

UNCERTAIN = ("estimate", "memory")


def record(name: str) -> dict[str, Any]:
    """A machine of the catalogue in numbers, per accelerator where the key does not say otherwise.

    Parameters
    ----------
    name : str
        Of the catalogue.

    Returns
    -------
    dict
        SI units; bandwidths per direction, but ``marketing_bandwidth_Bps``, which is as advertised; a value that
        nobody published is None.  ``estimated`` lists the keys that rest on an estimate or a recollection.
        Power is that of the machine as sold where it is sourced, else of the chip alone (``power_of``).
    """
    from topologies import catalogue

    file = catalogue.describe(name)
    up, out, chip = file.scale_up, file.scale_out, file.chip
    # The values of a wafer's file are for all its blocks together: it is one accelerator here.
    domain = 1 if file.wafer else int(up.domain_size.number)
    marketing = up.marketing_bandwidth
    watts, of = _per_accelerator(file.power, domain), "machine"
    if watts is None and chip.power is not None:
        watts, of = chip.power.number, "chip"
    bf16 = chip.peak_flops.get("bf16")
    nic = None
    if out is not None:
        per = out.nic_bandwidth.per
        whole = out.nic_bandwidth.number
        nic = whole / (domain if per == "domain" else per if isinstance(per, int) else 1)
    sourced = {
        "scale_up_bandwidth_Bps": up.link_bandwidth,
        "scale_out_bandwidth_Bps": out.nic_bandwidth if out else None,
        "bf16_flops": bf16,
        "memory_bytes": chip.memory,
        "memory_bandwidth_Bps": chip.memory_bandwidth,
        "power_w": file.power or chip.power,
        "price_usd": file.price,
        "rent_usd_per_hour": file.rent,
    }
    return {
        "name": name,
        "vendor": file.vendor,
        "title": file.title,
        "status": file.status,
        "technology": up.technology,
        "accelerators": domain,
        "scale_up_bandwidth_Bps": None if file.wafer else egress(file),
        "marketing_bandwidth_Bps": marketing.number if marketing else None,
        "convention": marketing.convention if marketing else "",
        "scale_out_bandwidth_Bps": nic,
        "bf16_flops": bf16.number if bf16 else None,
        "memory_bytes": chip.memory.number,
        "memory_bandwidth_Bps": chip.memory_bandwidth.number,
        "power_w": watts,
        "power_of": of if watts is not None else "",
        "price_usd": _per_accelerator(file.price, domain),
        "rent_usd_per_hour": _per_accelerator(file.rent, domain),
        "library": file.library,
        "wafer": file.wafer is not None,
        "estimated": [
            key for key, value in sourced.items() if value is not None and value.confidence in UNCERTAIN
        ],
    }


def records() -> list[dict[str, Any]]:
    """All machines, by name."""
    from topologies import catalogue

    return [record(name) for name in catalogue.system_names()]


def _per_accelerator(value: Power | Price | Rent | None, domain: int) -> float | None:
    """The middle of what is stated, for one accelerator."""
    if value is None:
        return None
    middle = sum(value.value) / len(value.value)
    if value.per == "accelerator":
        return middle
    return middle / (domain if value.per == "domain" else value.per)
