from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topo import units
from topo.errors import UnitError

READ = {
    units.parse_bytes: {
        "512": 512,
        "1B": 1,
        "1KiB": 1024,
        "64MiB": 64 * 2**20,
        "64 MiB": 64 * 2**20,
        " 4GiB ": 4 * 2**30,
        "1kB": 1e3,
        "1KB": 1e3,
        "1GB": 1e9,
        "1.5KiB": 1536,
        ".5GB": 5e8,
        "1e3KiB": 1_024_000,
        "1E-3GB": 1e6,
        "2 bytes": 2,
        "1TiB": 2**40,
        "1EiB": 2**60,
    },
    units.parse_bandwidth: {
        "900GB/s": 900e9,
        "400Gb/s": 50e9,
        "400Gbps": 50e9,
        "400Gbit/s": 50e9,
        "50GBps": 50e9,
        "1GiB/s": 2**30,
        "7.2TB/s": 7.2e12,
        "5B/s": 5,
    },
    units.parse_time: {
        "1us": 1e-6,
        "1µs": 1e-6,
        "250ns": 250e-9,
        "0.5 ms": 5e-4,
        "2s": 2,
        "10min": 600,
        "3h": 10_800,
        "1d": 86_400,
        "80ps": 80e-12,
    },
    units.parse_length: {"1000km": 1e6, "3m": 3, "3 m": 3, "30cm": 0.3, "5mm": 5e-3},
    units.parse_count: {"64": 64, "8k": 8000, "8K": 8000, "8Ki": 8192, "1e6": 1_000_000, "2M": 2_000_000},
}


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [(parse, text, value) for parse, c in READ.items() for text, value in c.items()],
)
def test_reads(parse: Callable[[str], float], text: str, value: float) -> None:
    assert parse(text) == pytest.approx(value, rel=1e-15, abs=0)


def test_whole_decimal_numbers_are_exact() -> None:
    assert units.parse_bytes("1.1GB") == 1_100_000_000
    assert units.parse_bandwidth("112.5GB/s") == 112_500_000_000


def test_counts_are_integers() -> None:
    assert isinstance(units.parse_count("1e3"), int)


def test_any_other_unit() -> None:
    assert units.parse_quantity("989TFLOP/s", "FLOP/s") == 989e12
    assert units.parse_quantity("1.2kW", "W") == 1200
    with pytest.raises(UnitError, match="'GB' is no unit"):
        units.parse_quantity("1GB", "W")


@pytest.mark.parametrize("parse", [*READ, lambda x: units.parse_quantity(x, "W")])
@pytest.mark.parametrize("number", [3, 3.0, np.float64(3), np.int64(3)])
def test_numbers_are_si(parse: Callable[[object], float], number: object) -> None:
    assert parse(number) == 3


WRONG = {
    units.parse_bytes: [
        "64M",
        "8k",
        "64mib",
        "1gb",
        "1Gb",
        "5mB",
        "1us",
        "0x10",
        "B",
        "1 024",
        "1,024",
        "1_024",
    ],
    units.parse_bandwidth: ["50", "5e10", "50GB", "50gb/s", "5mB/s", "50GB/s/s", "GB/s", "100GB/s/25GB/s"],
    units.parse_time: ["1", "5m", "1xs", "1B", "us"],
    units.parse_length: ["1", "5km/s", "5s", "km"],
    units.parse_count: ["1.5", "5m", "8B", "many", "½"],
}
ALWAYS_WRONG = ["", " ", "-1", "nan", "inf", "-inf", "1e400", "--1", "1.2.3", "1e", None, [], True, math.nan]
ALWAYS_WRONG += [math.inf, -math.inf, -1, -1e-30, 10**400, "\uff15"]


@pytest.mark.parametrize(
    ("parse", "text"), [(parse, text) for parse, more in WRONG.items() for text in [*more, *ALWAYS_WRONG]]
)
@pytest.mark.parametrize("allow_zero", [False, True])
def test_refuses(parse: Callable[..., float], text: object, allow_zero: bool) -> None:
    with pytest.raises(UnitError) as caught:
        parse(text, allow_zero=allow_zero)
    message = str(caught.value)
    assert f"{text!r}"[:20] in message or f"{text!s}"[:20] in message, "names the culprit"
    assert caught.value.hint, "says what would be right"
    assert "\n" not in message
    assert len(message) < 150


@pytest.mark.parametrize("zero", [0, 0.0, -0.0, "0", "-0", "0.0"])
@pytest.mark.parametrize("parse", READ)
def test_zero_only_where_it_makes_sense(parse: Callable[..., float], zero: float | str) -> None:
    value = parse(zero, allow_zero=True)
    assert value == 0
    assert math.copysign(1, value) == 1
    with pytest.raises(UnitError, match="not above zero"):
        parse(zero)


@pytest.mark.parametrize(
    ("parse", "text", "hint"),
    [
        (units.parse_bytes, "64M", "write 64MB (powers of 1000) or 64MiB (powers of 1024)"),
        (units.parse_bytes, "64mib", "write 64MiB"),
        (units.parse_bytes, "1Gb", "write 1GB"),
        (units.parse_bandwidth, "50GB", "write 50GB/s (bytes) or 50Gb/s (bits)"),
        (units.parse_bandwidth, "1.5gb/s", "write 1.5GB/s (bytes) or 1.5Gb/s (bits)"),
        (units.parse_time, "5m", "for example 1us"),
    ],
)
def test_hints_spell_it_right(parse: Callable[[str], float], text: str, hint: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse(text)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (64 * 2**20, "64MiB"),
        (2**60, "1EiB"),
        (1e9, "1GB"),
        (1e3, "1kB"),
        (1023, "1023B"),
        (1024, "1KiB"),
        (1536, "1.5KiB"),
        (512, "512B"),
        (0.5, "0.5B"),
        (0, "0B"),
        (1_234_567, "1.177MiB"),
    ],
)
def test_format_bytes(size: float, text: str) -> None:
    assert units.format_bytes(size) == text


@pytest.mark.parametrize(
    ("bandwidth", "text"), [(900e9, "900GB/s"), (12.5e9, "12.5GB/s"), (999.99e9, "1TB/s"), (0, "0B/s")]
)
def test_format_bandwidth(bandwidth: float, text: str) -> None:
    assert units.format_bandwidth(bandwidth) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1e-6, "1us"),
        (1.23456e-6, "1.235us"),
        (0.5, "500ms"),
        (0, "0s"),
        (119, "119s"),
        (120, "2min"),
        (7200, "2h"),
        (3 * 86_400, "3d"),
        (36_500 * 86_400, "36500d"),
    ],
)
def test_format_time(seconds: float, text: str) -> None:
    assert units.format_time(seconds) == text


@given(st.floats(1e-12, 1e15))
def test_what_is_written_can_be_read(value: float) -> None:
    for write, read in (
        (units.format_bytes, units.parse_bytes),
        (units.format_bandwidth, units.parse_bandwidth),
        (units.format_time, units.parse_time),
    ):
        if read is units.parse_time or value >= 1:
            assert read(write(value)) == pytest.approx(value, rel=5.01e-4)


@given(st.integers(0, 30), st.integers(1, 999))
def test_round_sizes_are_written_exactly(power: int, factor: int) -> None:
    size = factor * 2**power
    text = units.format_bytes(size)
    assert abs(units.parse_bytes(text) - size) <= 5e-4 * size
    if factor < 1000 and power % 10 == 0:
        assert units.parse_bytes(text) == size


def test_size_range_doubles() -> None:
    sizes = units.size_range("1KiB..4GiB")
    assert sizes == [2.0**k for k in range(10, 33)]


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("1KiB..4GiB*4", [4.0**k for k in range(5, 17)]),
        ("1KiB..3KiB", [1024, 2048]),
        ("1kB..1MB*10", [1e3, 1e4, 1e5, 1e6]),
        ("64MiB", [64 * 2**20]),
        ("7..7", [7]),
        ("1KiB, 64, 1KiB..4KiB", [1024, 64, 2048, 4096]),
    ],
)
def test_size_range(text: str, sizes: list[float]) -> None:
    assert units.size_range(text) == sizes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "size '' cannot be read"),
        ("1KiB,,2KiB", "size '' cannot be read"),
        ("..", "size '' cannot be read"),
        ("1KiB..", "size '' cannot be read"),
        ("4KiB..1KiB", "run downwards; write 1KiB..4KiB"),
        ("1KiB..4KiB*1", "factor '1' is not above 1"),
        ("1KiB..4KiB*-2", "factor '-2' is not above 1"),
        ("1KiB..4KiB*", "factor '' is not above 1"),
        ("1KiB..4KiB*nan", "factor 'nan' is not above 1"),
        ("0..4KiB", "size '0' is not above zero"),
        ("1B..1EiB*1.0001", "more than 1000"),
    ],
)
def test_size_range_refuses(text: str, message: str) -> None:
    with pytest.raises(UnitError) as caught:
        units.size_range(text)
    assert message in str(caught.value)


@given(st.integers(1, 2**40), st.floats(1.5, 100), st.integers(0, 12))
def test_size_range_reaches_its_last_size(start: int, factor: float, steps: int) -> None:
    sizes = units.size_range(f"{start}..{start * factor**steps!r}*{factor!r}")
    assert len(sizes) == steps + 1
    assert sizes == sorted(sizes)
    assert sizes[-1] == pytest.approx(start * factor**steps)


def test_importing_is_light() -> None:
    program = "import sys; from topo import units; print(*{'numpy', 'networkx', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
