"""Every network at its small golden: parity without files from outside, and its gradients."""

import json

import goldens as make
import jax
import numpy as np
import pytest

from rsfusion_jax.models import list_models

_IN_SOFTMAX = ("position/bias", "k/bias")  # the same for every pixel of a window: no effect
ZERO_GRADIENTS = {
    "ddif": ("query_pointwise/bias",),  # the same for a column of a map, inside its softmax
    "mmapp": _IN_SOFTMAX[:1],
    "rsanet": _IN_SOFTMAX,
}
"""Parameters whose gradient is zero in exact arithmetic, by the end of their path."""

FROZEN = {"onesensor": "first/"}
"""Begin the paths of parameters that training leaves as they are."""


@pytest.mark.parametrize("name", list_models())
def test_network_keeps_its_function_and_every_parameter_gets_a_gradient(name):
    """Both at once, because compiling is what takes the time."""
    golden = json.loads((make.FOLDER / f"{name}.json").read_text())
    fused, gradients = make.output_and_gradients(name)
    assert fused.dtype == np.float64
    scale = np.abs(fused).max()
    assert np.abs(fused[0, ::5, ::7].ravel() - golden["pixels"]).max() < 1e-10 * scale
    assert abs(fused.mean() - golden["mean"]) < 1e-10 * scale
    assert abs(fused.std() - golden["std"]) < 1e-10 * scale
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        where = "/".join(key.key for key in path)
        assert np.isfinite(gradient).all(), where
        if where.startswith(FROZEN.get(name, "none")):
            assert np.abs(gradient).max() == 0, where
        elif not any(where.endswith(end) for end in ZERO_GRADIENTS.get(name, ())):
            assert np.abs(gradient).max() > 0, where
