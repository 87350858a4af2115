"""RSANet against the authors' own outputs and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
from cases import slow_but

from rsfusion_jax.errors import UserError
from rsfusion_jax.models import create_model, rsanet
from rsfusion_jax.porting import rsanet as porting

CASES = ["wv3", "wv3_48x80"]


def _case(shared, name):
    inputs = {"pan": "pan", "lms": "lms"}
    case = parity.read_case(shared / "parity" / "rsanet" / name, inputs, loss="l1")
    return case, create_model("rsanet", num_bands=8)


@pytest.mark.parametrize("name", slow_but("wv3_48x80", CASES))
def test_parity_float32(shared, name):
    case, model = _case(shared, name)
    parity.assert_parity_float32(model, case)


@pytest.mark.parametrize("name", slow_but("wv3_48x80", CASES))
def test_parity_float64(shared, name):
    case, model = _case(shared, name)
    parity.assert_parity_float64(model, case)


def test_port_round_trip(shared):
    case, model = _case(shared, "wv3")
    parity.assert_round_trip(model, case)


@pytest.mark.parametrize(
    ("block", "tensors", "name"),
    [
        (rsanet.SelfAttention, porting.self_attention, "block_sa_5to9_20x28"),
        (functools.partial(rsanet.RSAM, 16), porting.recursive_module, "block_rsam_9to16_20x28"),
    ],
)
def test_blocks(shared, block, tensors, name):
    folder = shared / "parity" / "rsanet" / name
    parity.assert_block_parity(block(), tensors("", ()), folder)


def test_initialisation_is_pytorchs():
    """uniform(+-1/sqrt(fan_in)) for kernels and biases, rates of one half."""
    shape = jax.ShapeDtypeStruct((1, 8, 8, 32), jnp.float32)
    params = rsanet.RSAM(32).lazy_init(jax.random.key(0), shape)["params"]
    kernel = params["kernel"]  # fan-in 9 * 32
    bound = (9 * 32) ** -0.5
    assert np.abs(kernel).max() <= bound
    assert abs(np.std(kernel) * 3**0.5 / bound - 1) < 4 / np.sqrt(kernel.size)
    bias = params["stage2"]["sa"]["q"]["bias"]  # fan-in 9
    assert 0 < np.abs(bias).max() <= 1 / 3
    assert params["stage4"]["sa"]["rate"] == 0.5


def test_images_below_half_a_window_are_refused():
    model = create_model("rsanet", num_bands=2, ratio=1)
    with pytest.raises(UserError, match="at least 4 pixels along a side, found 3x8"):
        jax.eval_shape(
            lambda key: model.init(key, *[jnp.zeros((1, 3, 8, n)) for n in (1, 2, 2)]),
            jax.random.key(0),
        )
