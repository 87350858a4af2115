"""Every network as accelerators compute it: the numbers of CPUs, no call that CPUs alone have."""

import re

import goldens
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import slow_but
from platforms import accelerator_branches

from rsfusion_jax.inference.draw import Diffusion
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.models import abstract_params, create_model, list_models
from rsfusion_jax.runs.state import create_state
from rsfusion_jax.training.objectives import make_objective
from rsfusion_jax.training.step import make_train_step

OBJECTIVES = {"ddif": "diffusion", "mmapp": "deep_supervision"}
KNOWN_CALLS = {"cu_threefry2x32_ffi", "Sharding", "annotate_device_placement"}
"""Custom calls that a program for CUDA may have: random numbers, and where arrays lie."""

TOLERANCE = 1e-9
"""Of the largest; CF2N's random parameters amplify rounding to 2e-11."""

every_network = pytest.mark.parametrize("name", slow_but("pannet", list_models()))


@every_network
def test_accelerators_compute_what_cpus_compute(name):
    """In float64, where rounding hides nothing."""
    expected = goldens.output_and_gradients(name)
    with accelerator_branches():
        ours = goldens.output_and_gradients(name)
    for one, other in zip(ours, expected, strict=True):
        largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(other))
        apart = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), one, other)
        assert max(jax.tree.leaves(apart)) <= TOLERANCE * largest, apart


def _custom_calls(function, *arguments):
    """Custom calls of a program that is lowered for CUDA by this machine."""
    lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",))
    return set(re.findall(r"custom_call @([^\s(]+)", lowered.as_text()))


@every_network
def test_programs_for_gpus_hold_no_call_of_another_platform(name):
    model = create_model(name, num_bands=4, **goldens.SMALL.get(name, {}))
    params = abstract_params(model)
    pan, lms = (
        jax.ShapeDtypeStruct((2, 16, 16, channels), jnp.float32)
        for channels in (model.guide_bands, model.num_bands)
    )
    ms = lms.update(shape=(2, 16 // model.ratio, 16 // model.ratio, 4))

    def fuse(variables, *images):
        diffusion = {"steps": 20, "sampling_steps": 2}
        return Fuser(model, variables, diffusion=diffusion).fuse_unit(*images)

    assert _custom_calls(fuse, {"params": params}, pan, ms, lms) <= KNOWN_CALLS

    optimizer = optax.adam(1e-3)
    objective = make_objective(OBJECTIVES.get(name, "supervised"), "l1", Diffusion())
    state = jax.eval_shape(
        lambda params: create_state(params, optimizer, jax.random.key(0), ema=False), params
    )
    step = make_train_step(model, objective, optimizer)
    batch = {"pan": pan, "ms": ms, "lms": lms, "gt": lms}
    assert _custom_calls(step, state, batch) <= KNOWN_CALLS
