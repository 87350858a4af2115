"""Programs that are compiled for GPUs are those of the library; here for CPU devices."""

import pytest

from benchmarks.speed.gpu_program import Program, measured
from benchmarks.speed.gpu_programs import cells
from rsfusion_jax.training.sharding import make_mesh


@pytest.mark.parametrize("mode", ["train", "inference"])
def test_a_program_is_built_and_counted(mode):
    row = measured(Program("pnn", mode, "float32"), make_mesh(8))
    assert row["batch"] == 64
    assert row["argument_bytes"] > 4 * row["batch"] * 64 * 64 * 8  # at least one MS image
    assert row["launches"] > 3  # convolutions
    assert row["collectives"] == ({"all-reduce": 1} if mode == "train" else {})


def test_a_line_of_the_table_has_both_dtypes_and_numbers_of_devices():
    def row(dtype, devices, **counts):
        return {"network": "pnn", "mode": "train", "dtype": dtype, "devices": devices, **counts}

    counted = {"batch": 64, "peak_bytes": 4e8, "temporary_bytes": 3e8, "cpu_s": 7.6}
    counted |= {"libraries": {"cuDNN": 8}, "conditionals": 0}
    rows = [
        row("float32", 1, **counted, launches=1046, collectives={}),
        row("float32", 8, **counted, launches=1055, collectives={"all-reduce": 1}),
        row("bfloat16", 8, failed="not compiled within 5 s"),
    ]
    joined = "400, failed", "300, failed", "1,046, 1,055", "-, failed"
    counts = "1 all-reduce; failed", "8 cuDNN; failed", "0; failed", "8, failed"
    assert cells(rows) == ["pnn train", 64, *joined, *counts]
