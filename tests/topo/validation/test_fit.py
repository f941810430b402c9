"""Fits find constants that were hidden; calibration and leaving out use them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from topo.ccl import load, with_value
from topo.errors import CatalogueError, TopoError
from topo.formats import nccl_tests
from topo.validation import errors, load_rows
from topo.validation.calibrate import calibrate, guess_target, rows_of, to_yaml
from topo.validation.constants import Free, free_constants
from topo.validation.evaluate import Evaluator
from topo.validation.fit import fit
from topo.validation.leave_out import leave_one_out, leave_out_data, name_of
from topo.validation.left_record import read_left_one_out, record_of, table_of, write_left_one_out

DATA = Path(__file__).parents[2] / "data" / "nccl_tests"


def test_hidden_constants_are_found() -> None:
    sizes = np.geomspace(1e3, 1e9, 40)
    truth = 7e-6 + sizes / 50e9
    free = (Free("", "x", "launch", 3e-6, 0.0, 1e-4, "s"), Free("", "x", "rate", 90e9, 1e9, 1e12, "B/s"))
    found = fit(free, lambda v: np.log((v[0] + sizes / v[1]) / truth), rounds=12)
    assert found.values == pytest.approx([7e-6, 50e9], rel=0.02)
    assert np.abs(found.after).max() < 0.02 < np.abs(found.before).max()
    assert all(c.determined and c.standard_error < 0.02 * c.value for c in found.constants)


def test_what_the_rows_say_nothing_about_stays() -> None:
    free = (Free("", "x", "launch", 3e-6, 0.0, 1e-4, "s"), Free("", "x", "gap", 1e-6, 0.0, 1e-4, "s"))
    found = fit(free, lambda v: np.log(np.full(5, v[0] / 4e-6)))
    assert found.values[1] == 1e-6 and not found.constants[1].determined
    assert found.values[0] == pytest.approx(4e-6, rel=1e-2)


def test_one_bad_row_moves_little() -> None:
    free = (Free("", "x", "launch", 3e-6, 0.0, 1e-4, "s"),)
    times = np.array([5e-6] * 20 + [5e-4])
    found = fit(free, lambda v: np.log(v[0] / times), rounds=12)
    assert found.values[0] == pytest.approx(5e-6, rel=0.1)


def test_the_evaluator_agrees_with_the_comparison() -> None:
    rows = [
        row for row in load_rows() if row.target in ("dgx-h100", "mi300x") and row.bytes in (2**12, 2**26)
    ]
    libraries = {"nccl": load("nccl"), "rccl": load("rccl")}
    free = free_constants(libraries, ["nvlink4", "xgmi"], fitted_only=False)
    evaluator = Evaluator(rows, free)
    values = np.array([constant.value for constant in free])
    assert evaluator.errors(values) == pytest.approx(errors(rows))
    number = next(i for i, constant in enumerate(free) if constant.name == "nccl.launch")
    values[number] *= 2
    changed = {"nccl": with_value(libraries["nccl"], "", "launch", float(values[number]))}
    assert evaluator.errors(values) == pytest.approx(errors(rows, changed | {"rccl": libraries["rccl"]}))


def test_calibration_finds_a_changed_cluster(tmp_path: Path) -> None:
    """Measurements made by the simulator with other constants are met, and the file written gives them back."""
    other = with_value(with_value(load("nccl"), "", "launch", 20e-6), "nvlink4", "nvls_reach", 0.6)
    rows = [
        replace(row, seconds=row.seconds * (1 + error), nodes=1)
        for row in rows_of(nccl_tests.read(DATA / "all-reduce-8xh100.txt").runs, "dgx-h100")
        if not row.in_place
        for error in errors([row], {"nccl": other})
    ]
    found = calibrate(rows, "dgx-h100")
    assert np.median(np.abs(found.after)) < 0.03 < np.median(np.abs(found.before))
    values = {c.constant.name: c.value for c in found.determined}
    assert values["nvlink4.nvls_reach"] == pytest.approx(0.6, rel=0.05)
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(found, "mine"), encoding="utf-8")
    assert errors(rows, load(path)) == pytest.approx(found.after, abs=2e-3)


def test_the_system_follows_from_the_devices() -> None:
    names = ["dgx-a100", "dgx-h100", "gb200-nvl36", "gb200-nvl72", "hgx-b200", "ring"]
    h100 = nccl_tests.read(DATA / "all-reduce-8xh100.txt").runs
    a100 = nccl_tests.read(DATA / "all-reduce-16xa100-mpirun.txt").runs
    assert guess_target(h100, names) == "dgx-h100"
    assert guess_target(a100, names) == "dgx-a100*2"
    with pytest.raises(CatalogueError, match="several accelerators"):
        guess_target([*h100, *a100], names)
    with pytest.raises(CatalogueError, match="--on"):
        guess_target([replace(h100[0], device="NVIDIA GB200")], names)
    with pytest.raises(CatalogueError, match="--on"):
        guess_target([replace(h100[0], device="")], names)


def test_a_calibration_that_cannot_be() -> None:
    runs = nccl_tests.read(DATA / "all-reduce-8xh100.txt").runs
    with pytest.raises(TopoError, match="too few"):
        calibrate(rows_of(runs, "dgx-h100")[:2], "dgx-h100")
    with pytest.raises(TopoError, match="no constants"):
        calibrate(rows_of(runs, "switch:8"), "switch:8")
    with pytest.raises(TopoError, match="8 ranks"):
        calibrate(rows_of(runs, "dgx-h100"), "tpu-v5e:2x2")


def test_leaving_one_system_out(tmp_path: Path) -> None:
    rows = [row for row in load_rows() if row.target in ("hgx-h200", "dgx-h100", "mi300x")]
    rows = [row for row in rows if row.bytes in (2**18, 2**26, 2**30)]
    found = {left.name: left for left in leave_one_out(rows)}
    assert set(found) == {"hgx-h200", "dgx-h100", "mi300x"}
    assert sum(len(left.rows) for left in found.values()) == len(rows)
    assert any(name.startswith("nvlink4.") for name in found["hgx-h200"].refitted)
    assert all(name.startswith(("xgmi.", "rccl.")) for name in found["mi300x"].borrowed)
    assert found["mi300x"].refitted == ()
    for left in found.values():
        assert list(left.fitted) == pytest.approx(errors(left.rows))
    lines = table_of({name: record_of(left) for name, left in found.items()}, "system")
    assert lines[-1][:2] == ("all", str(len(rows))) and len(leave_out_data(list(found.values()))) == 3
    path = tmp_path / "left.json"
    for name, left in found.items():
        write_left_one_out([left], "system", keep=True, path=path)
        assert name in read_left_one_out(path)["system"]
    assert table_of(read_left_one_out(path)["system"], "system")[-1] == lines[-1]
    (again,) = leave_one_out(rows, only=["mi300x"])
    assert again.without == found["mi300x"].without


def test_names_under_which_rows_are_left_out() -> None:
    row = next(row for row in load_rows() if row.target == "dgx-a100*2,nic=6.25GB/s")
    assert name_of(row, "system") == "dgx-a100" and name_of(row, "machine") == row.system
