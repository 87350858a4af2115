"""U2Net against the authors' own outputs and gradients, and what is ours: sizes, ratios, bands."""

import parity
import pytest

from rsfusion_jax.models import create_model

CASES = ["wv3", "wv3_48x80", "dim16_head8_32x56", "trained_wv3"]


def _case(shared, name):
    inputs = {"pan": "pan", "ms": "ms"}
    case = parity.read_case(shared / "parity" / "u2net" / name, inputs, loss="l1")
    args = {k: v for k, v in case.record["constructor"].items() if k != "cls"}
    return case, create_model("u2net", num_bands=8, precision="highest", **args)


@pytest.mark.parametrize("name", CASES)
def test_parity_float32(shared, name):
    case, model = _case(shared, name)
    parity.assert_parity_float32(model, case)


@pytest.mark.parametrize("name", CASES)
def test_parity_float64(shared, name):
    case, model = _case(shared, name)
    parity.assert_parity_float64(model, case)


@pytest.mark.parametrize("name", ["wv3", "dim16_head8_32x56", "trained_wv3"])
def test_port_round_trip(shared, name):
    case, model = _case(shared, name)
    parity.assert_round_trip(model, case)
