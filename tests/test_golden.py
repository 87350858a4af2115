"""Every network against its small golden: parity that needs no files from outside."""

import json

import goldens as make
import numpy as np
import pytest

from rsfusion_jax.models import list_models


@pytest.mark.parametrize("name", list_models())
def test_network_keeps_its_function(name):
    golden = json.loads((make.FOLDER / f"{name}.json").read_text())
    fused = make.output(name)
    assert fused.dtype == np.float64
    scale = np.abs(fused).max()
    assert np.abs(fused[0, ::5, ::7].ravel() - golden["pixels"]).max() < 1e-10 * scale
    assert abs(fused.mean() - golden["mean"]) < 1e-10 * scale
    assert abs(fused.std() - golden["std"]) < 1e-10 * scale
