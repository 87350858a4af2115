"""What devices send each other: one sum of gradients per training step, and nothing to fuse."""

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from cases import slow, slow_but
from collectives import collectives
from platforms import accelerator_branches
from process_losses import NETWORKS, batch_of, prepare

from rsfusion_jax.inference.draw import Diffusion, draw
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.models import abstract_params, create_model, list_models
from rsfusion_jax.ops.adaptive_conv import predicted_kernels
from rsfusion_jax.runs.state import create_state
from rsfusion_jax.training import sharding
from rsfusion_jax.training.objectives import supervised
from rsfusion_jax.training.step import make_train_step

SHORT = {"steps": 20, "sampling_steps": 2}


@pytest.fixture
def mesh():
    """Eight devices; programs are those of accelerators."""
    mesh = sharding.make_mesh(8)
    with jax.set_mesh(mesh), accelerator_branches():
        yield mesh


@pytest.mark.parametrize("network", [slow(name) for name in list_models()])
def test_a_training_step_sums_once(network, mesh):
    step, _, _ = prepare(network, mesh)
    assert collectives(step) in ({"all-reduce": 1}, {"all-reduce": 2})


@pytest.mark.parametrize("network", slow_but("pannet", list_models()))
def test_inference_needs_no_communication(network, mesh):
    """Validation and evaluation fuse by this function too; DDIF draws a sample by it."""
    model = create_model(network, num_bands=4, **NETWORKS.get(network, {}))

    def fuse(variables, pan, ms, lms):
        return Fuser(model, variables, diffusion=SHORT).fuse_unit(pan, ms, lms)

    assert collectives(_compiled(fuse, model, mesh)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"samples": 2}, {"tile": 8}])
def test_diffusion_draws_need_no_communication(options, mesh):
    model = create_model("ddif", num_bands=4, **NETWORKS["ddif"])

    def fuse(variables, pan, ms, lms):
        inputs = model, variables, jax.random.key(0), pan, lms
        return draw(*inputs, diffusion=Diffusion(**SHORT), **options)

    assert collectives(_compiled(fuse, model, mesh)) == {}


class Looped(nn.Module):
    """A network of one loop, in which its parameters are used once per turn."""

    predicts = "fused"

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        weights = self.param("weights", nn.initializers.normal(0.1), (9, 1, 4))
        biases = self.param("biases", nn.initializers.ones, (9, 4))
        return {"fused": predicted_kernels(lms, pan, weights, biases)}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_loops_add_no_sums(accumulate, mesh):
    model, optimizer, key = Looped(), optax.sgd(0.1), jax.random.key(0)
    batch = {name: np.concatenate([x, x[::-1]]) for name, x in batch_of().items()}
    images = batch["pan"], batch["ms"], batch["lms"]
    state = create_state(model.init(key, *images)["params"], optimizer, key, ema=False)
    step = make_train_step(model, supervised("l1"), optimizer, accumulate=accumulate)
    state = jax.device_put(state, sharding.replicated(mesh))
    spread = sharding.put_batch(mesh, batch)
    compiled = jax.jit(step).lower(state, spread).compile()
    assert collectives(compiled) == {"all-reduce": 1}


def _compiled(fuse, model, mesh):
    """The program of `fuse(variables, pan, ms, lms)`, the images spread over the devices."""

    def abstract(tree, placed):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placed), tree)

    variables = abstract({"params": abstract_params(model)}, sharding.replicated(mesh))
    batch = abstract(batch_of(ratio=model.ratio), sharding.batch_sharding(mesh))
    return jax.jit(fuse).lower(variables, batch["pan"], batch["ms"], batch["lms"]).compile()
