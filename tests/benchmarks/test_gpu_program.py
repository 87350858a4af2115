"""Programs that are compiled for GPUs are those of the library; here for CPU devices."""

import pytest

from benchmarks.speed.gpu_program import Program, measured
from rsfusion_jax.training.sharding import make_mesh


@pytest.mark.parametrize("mode", ["train", "inference"])
def test_a_program_is_built_and_counted(mode):
    row = measured(Program("pnn", mode, "float32"), make_mesh(8))
    assert row["batch"] == 64
    assert row["argument_bytes"] > 4 * row["batch"] * 64 * 64 * 8  # at least one MS image
    assert row["launches"] > 3  # convolutions
    assert row["collectives"] == ({"all-reduce": 1} if mode == "train" else {})
