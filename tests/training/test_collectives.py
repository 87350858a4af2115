"""What devices send each other: one sum of gradients per training step, and nothing to fuse."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import slow
from collectives import collectives
from platforms import accelerator_branches
from process_losses import NETWORKS, batch_of, prepare

from rsfusion_jax.inference.draw import Diffusion, draw
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.models import abstract_params, create_model, init_params, list_models
from rsfusion_jax.models.network import Network
from rsfusion_jax.ops.adaptive_conv import predicted_kernels
from rsfusion_jax.runs.state import create_state
from rsfusion_jax.training import sharding
from rsfusion_jax.training.objectives import supervised
from rsfusion_jax.training.step import make_train_step

SHORT = {"steps": 20, "sampling_steps": 2}

every_network = [slow(name) for name in list_models()]


@pytest.fixture
def mesh():
    """Eight devices; programs are those of accelerators."""
    mesh = sharding.make_mesh(8)
    with jax.set_mesh(mesh), accelerator_branches():
        yield mesh


class Tiny(Network):
    """A network of what the compiler itself distributes badly.

    These are a loop, whose parameters it sums in every turn, and a Fourier transform, for which it
    gathers the batch.
    """

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        weights = self.param("weights", nn.initializers.normal(0.1), (9, 1, 4))
        biases = self.param("biases", nn.initializers.ones, (9, 4))
        filtered = predicted_kernels(*self.promote(lms, pan, weights, biases))
        frequencies = jnp.fft.rfft2(filtered.astype(jnp.float32), axes=(1, 2))
        return {"fused": jnp.fft.irfft2(frequencies, axes=(1, 2))}


def _tiny_step(mesh, dtype=None, accumulate=1):
    """(training step, its state, a batch of two images per device)."""
    model, optimizer, key = Tiny(num_bands=4, dtype=dtype), optax.sgd(0.1), jax.random.key(0)
    batch = {name: np.concatenate([x, x[::-1]]) for name, x in batch_of().items()}
    state = create_state(init_params(model, key), optimizer, key, ema=False)
    state = jax.device_put(state, sharding.replicated(mesh))
    step = make_train_step(model, supervised("l1"), optimizer, accumulate=accumulate)
    return step, state, sharding.put_batch(mesh, batch)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_training_step_of_loops_sums_once(accumulate, mesh):
    step, state, batch = _tiny_step(mesh, accumulate=accumulate)
    assert collectives(jax.jit(step).lower(state, batch).compile()) == {"all-reduce": 1}


def test_gradients_are_summed_in_float32(mesh):
    step, state, batch = _tiny_step(mesh, dtype=jnp.bfloat16)
    program = str(jax.make_jaxpr(step)(state, batch))
    sums = [line.split(" = psum")[0] for line in program.splitlines() if " = psum" in line]
    assert "bf16" in program and sums
    assert {dtype for summed in sums for dtype in re.findall(r":(\w+)\[", summed)} == {"f32"}


@pytest.mark.parametrize("network", every_network)
def test_a_training_step_sums_once(network, mesh):
    step, _, _ = prepare(network, mesh)
    assert collectives(step) in ({"all-reduce": 1}, {"all-reduce": 2})


@pytest.mark.parametrize("network", ["tiny", *every_network])
def test_inference_needs_no_communication(network, mesh):
    """Validation and evaluation fuse by this function too; DDIF draws a sample by it."""
    model = Tiny(num_bands=4) if network == "tiny" else _model(network)

    def fuse(variables, pan, ms, lms):
        return Fuser(model, variables, diffusion=SHORT).fuse_unit(pan, ms, lms)

    assert collectives(_compiled(fuse, model, mesh)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"samples": 2}, {"tile": 8}])
def test_diffusion_draws_need_no_communication(options, mesh):
    model = _model("ddif")

    def fuse(variables, pan, ms, lms):
        inputs = model, variables, jax.random.key(0), pan, lms
        return draw(*inputs, diffusion=Diffusion(**SHORT), **options)

    assert collectives(_compiled(fuse, model, mesh)) == {}


def _model(network):
    return create_model(network, num_bands=4, **NETWORKS.get(network, {}))


def _compiled(fuse, model, mesh):
    """The program of `fuse(variables, pan, ms, lms)`, the images spread over the devices."""

    def abstract(tree, placed):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placed), tree)

    batch = abstract(batch_of(ratio=model.ratio), sharding.batch_sharding(mesh))
    images = batch["pan"], batch["ms"], batch["lms"]
    variables = abstract({"params": abstract_params(model)}, sharding.replicated(mesh))
    return jax.jit(fuse).lower(variables, *images).compile()
